# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Rendered surfaces with defects: a small inspection task without a download.

Each image is one surface under a camera: threads, grain or relief are drawn
from noise in the frequency domain, the defect is painted on it, and then light,
white balance and sensor noise come on top. Those vary from image to image much
more than a defect changes the mean or the deviation of the pixels, so neither
tells good from bad. A defective image equals its defect-free twin (same
generator) exactly outside the mask.

Lengths in this file are in pixels of a 256 px image and scale with the size.
Colours are linear-ish RGB around 0.1 to 0.9.
"""

import functools
import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

from jaxad import seeding
from jaxad.data.examples import Item

# Part of the fingerprint of a prepared set; to be raised when pixels change.
VERSION = 3

# Below this, threads are thinner than two pixels.
MIN_SIZE = 32

# Light comes from the upper left: the direction (y, x) towards it.
_LIGHT = (-0.8, -0.6)


def render(
  surface: str, defect: str, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
  """Draws one image.

  Args:
    surface: one of `SURFACES`.
    defect: one of `DEFECTS[surface]`, or "good".
    size: side in pixels, at least `MIN_SIZE`.
    rng: decides everything.

  Returns:
    (image uint8 [size, size, 3], mask uint8 [size, size], 1 on the defect).
  """
  surface_rng, defect_rng, camera_rng = rng.spawn(3)
  if surface == "fabric":
    rgb, mask = _fabric(surface_rng, size, defect, defect_rng)
  else:
    rgb, mask = _SURFACES[surface](surface_rng, size), None
  # One precision, with a defect and without, for the same rounding.
  rgb = rgb.astype(np.float32)
  if defect in _PAINTERS:
    painted, mask = _PAINTERS[defect](defect_rng, rgb)
    rgb = np.where(mask[..., None], painted.astype(np.float32), rgb)
  if mask is None:
    mask = np.zeros((size, size), bool)
  return _camera(camera_rng, rgb), mask.astype(np.uint8)


def items(
  subset: str,
  split: str,
  *,
  size: int,
  seed: int,
  n_good: int,
  n_defect: int,
) -> Iterator[Item]:
  """Renders one split; each image depends on (seed, split, number) alone.

  Args:
    subset: one of `SUBSETS`; "all" takes the surfaces in turn.
    split: "train" or "test".
    size: side in pixels.
    seed: of the whole set.
    n_good: how many normal images.
    n_defect: how many defective ones; the kinds of defect come in turn.

  Yields:
    Items with PNG bytes.
  """
  surfaces = tuple(SURFACES) if subset == "all" else (subset,)
  for number in range(n_good + n_defect):
    turn, which = divmod(number, len(surfaces))
    surface = surfaces[which]
    kind = "good"
    if number >= n_good:
      kind = DEFECTS[surface][turn % len(DEFECTS[surface])]
    # The surface is part of the key: seeds do not repeat across subsets.
    key = (seed, ("train", "test").index(split), list(SURFACES).index(surface))
    rng = seeding.generator("texture", *key, number)
    image, mask = render(surface, kind, size, rng)
    yield Item(
      split=split,
      id=f"{split}/{kind}/{number:05d}.png",
      kind=kind,
      image=_png(image),
      mask=None if kind == "good" else _png(mask * np.uint8(255)),
    )


def _png(array):
  file = io.BytesIO()
  Image.fromarray(array).save(file, "png", compress_level=1)
  return file.getvalue()


# Building blocks.


@functools.lru_cache(maxsize=32)
def _frequencies(size):
  fy = np.fft.fftfreq(size).astype(np.float32)[:, None]
  fx = np.fft.rfftfreq(size).astype(np.float32)[None, :]
  return fy, fx


def _noise(rng, size, sigma_y, sigma_x=None, angle=0.0):
  """Smooth noise [size, size], float32, mean 0 and deviation 1.

  Gaussian filtered white noise; sigmas in pixels of a 256 px image, along axes
  turned by `angle` radians.
  """
  sigma_x = sigma_y if sigma_x is None else sigma_x
  fy, fx = _frequencies(size)
  c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
  along, across = c * fy + s * fx, c * fx - s * fy
  scale = np.float32(2 * np.pi**2 * (size / 256) ** 2)
  power = np.square(along * np.float32(sigma_y))
  power = power + np.square(across * np.float32(sigma_x))
  white = rng.standard_normal((size, size), np.float32)
  spectrum = np.fft.rfft2(white) * np.exp(-scale * power)
  spectrum[0, 0] = 0
  field = np.fft.irfft2(spectrum, s=(size, size))
  return field / field.std()


def _grid(size):
  """Pixel rows and columns [size, 1], [1, size] in pixels of a 256 px image."""
  axis = np.arange(size, dtype=np.float32) * np.float32(256 / size)
  return axis[:, None], axis[None, :]


def _relief(height):
  """Brightness of a height field under the light, around 1."""
  dy, dx = np.gradient(height)
  return 1 - (_LIGHT[0] * dy + _LIGHT[1] * dx) * np.float32(
    height.shape[0] / 256
  )


def _colour(rng, rgb, spread):
  """A colour near `rgb`."""
  return np.asarray(rgb, np.float32) * rng.normal(1, spread, 3).astype(
    np.float32
  )


def _mix(low, high, share):
  """Colours between two, [size, size, 3]; `share` [size, size] is clipped."""
  share = np.clip(share, 0, 1)[..., None]
  return low + (high - low) * share


def _step(x, width):
  """0 to 1 around x = 0, over about `width`."""
  return 1 / (1 + np.exp(np.clip(-4 * x / width, -30, 30)))


# Surfaces: (rng, size) to float32 [size, size, 3].


def _fabric(rng, size, defect, defect_rng):
  """A 2/2 twill of two yarns; also draws the faults of the weave.

  Returns:
    (colours, mask [size, size] bool or None where `defect` is no weave fault).
  """
  period = max(rng.uniform(9.0, 9.6), 4.5 * 256 / size)
  y, x = _grid(size)
  angle = rng.uniform(-0.06, 0.06)
  c, s = np.cos(angle), np.sin(angle)
  drift = 0.25 * period
  u = (c * x + s * y + drift * _noise(rng, size, 45)) / period + rng.uniform(
    0, 4
  )
  v = (c * y - s * x + drift * _noise(rng, size, 45)) / period + rng.uniform(
    0, 4
  )
  # Thread numbers start at a multiple of 4, the repeat of the weave.
  u, v = u + 40, v + 40
  i, j = u.astype(np.int32), v.astype(np.int32)
  diagonal = i + j
  fault = gone = None
  if defect == "weave":
    # In a patch the diagonal runs the other way.
    fault = _patch(defect_rng, i, j)
    diagonal = np.where(fault, i - j + 1, diagonal)
  if defect == "thread":
    gone = _strand(defect_rng, i, j)
    fault = gone
  over = diagonal % 4 < 2
  if gone is not None:
    over = over & ~gone
  fu, fv = u - i, v - j
  tones = 1 + 0.06 * rng.standard_normal((2, 256), np.float32)
  warp = tones[0][i % 256] * np.sqrt(np.clip(1 - (2 * fu - 1) ** 2, 0, 1))
  weft = tones[1][j % 256] * np.sqrt(np.clip(1 - (2 * fv - 1) ** 2, 0, 1))
  # A thread bulges in the middle of where it lies on top.
  lies = (diagonal + np.where(over, fv, fu)) % 2
  bulge = 0.68 + 0.32 * np.sin(np.pi / 2 * lies)
  warp *= 1 + 0.10 * _noise(rng, size, 2.5, 0.7, angle)
  weft *= 1 + 0.10 * _noise(rng, size, 0.7, 2.5, angle)
  if gone is not None:
    # The weft sinks into the gap.
    weft = np.where(gone, weft * 0.52, weft)
  yarns = (
    _colour(rng, (0.50, 0.53, 0.57), 0.015),
    _colour(rng, (0.74, 0.72, 0.66), 0.015),
  )
  shade = bulge * (0.35 + 0.65 * np.where(over, warp, weft))
  colour = np.where(over[..., None], *yarns)
  return colour * shade[..., None].astype(np.float32), fault


def _patch(rng, i, j):
  """Some threads each way, [size, size] bool."""
  most = max(2, int(i.max() - i.min()) // 3)
  wide, high = np.minimum((rng.integers(6, 11), rng.integers(5, 10)), most)
  i0 = rng.integers(i.min() + 1, max(i.max() - wide, i.min() + 2))
  j0 = rng.integers(j.min() + 1, max(j.max() - high, j.min() + 2))
  return (i >= i0) & (i < i0 + wide) & (j >= j0) & (j < j0 + high)


def _strand(rng, i, j):
  """A part of one warp thread, [size, size] bool."""
  rows = j.max() - j.min()
  length = max(4, round(rows * rng.uniform(0.3, 0.7)))
  i0 = rng.integers(i.min() + 2, max(i.max() - 1, i.min() + 3))
  j0 = rng.integers(j.min() + 1, max(j.max() - length, j.min() + 2))
  return (i == i0) & (j >= j0) & (j < j0 + length)


def _leather(rng, size):
  """A pebbled hide: cells between creases, in relief."""
  grain = rng.uniform(0.9, 1.15)
  creases = np.exp(-np.square(_noise(rng, size, 3.6 * grain) / 0.30))
  fine = np.exp(-np.square(_noise(rng, size, 2.2 * grain) / 0.25))
  height = -2.1 * creases - 1.1 * fine + 0.5 * _noise(rng, size, 1.1)
  height += 1.5 * _noise(rng, size, 9)
  shade = 1 + 0.30 * (_relief(height) - 1) - 0.16 * creases - 0.07 * fine
  tone = 1 + 0.05 * _noise(rng, size, 30)
  colour = _colour(rng, (0.47, 0.33, 0.24), 0.03)
  return colour * np.clip(shade * tone, 0.1, 2)[..., None]


def _metal(rng, size):
  """Brushed steel: long streaks and a broad highlight across them."""
  angle = rng.uniform(-0.05, 0.05)
  streaks = 0.045 * _noise(rng, size, 0.45, 70, angle)
  streaks += 0.035 * _noise(rng, size, 0.5, 14, angle)
  streaks += 0.030 * _noise(rng, size, 2.2, 130, angle)
  y, x = _grid(size)
  wave = np.cos(2 * np.pi * (x / rng.uniform(300, 420) + rng.uniform()))
  shine = 1 + 0.13 * wave + 0.02 * np.cos(y / 40 + rng.uniform(0, 6))
  colour = _colour(rng, (0.58, 0.59, 0.60), 0.015)
  return colour * (shine * (1 + streaks))[..., None]


def _tile(rng, size):
  """A stone-grained ceramic: dark and light grains in a cloudy ground."""
  ground = 0.5 + 0.25 * _noise(rng, size, 5) + 0.2 * _noise(rng, size, 28)
  low = _colour(rng, (0.60, 0.57, 0.53), 0.02)
  high = _colour(rng, (0.70, 0.68, 0.65), 0.02)
  rgb = _mix(low, high, ground)
  dark = _step(_noise(rng, size, 1.8) - 1.35, 0.5)
  rgb = _mix(rgb, _colour(rng, (0.33, 0.31, 0.30), 0.03), 0.8 * dark)
  light = _step(_noise(rng, size, 2.6) - 1.45, 0.4)
  rgb = _mix(rgb, _colour(rng, (0.84, 0.82, 0.79), 0.02), 0.8 * light)
  rust = _step(_noise(rng, size, 1.5) - 1.7, 0.5)
  rgb = _mix(rgb, _colour(rng, (0.58, 0.44, 0.33), 0.03), 0.8 * rust)
  return rgb * (1 + 0.02 * _noise(rng, size, 0.6))[..., None]


def _wood(rng, size):
  """Planed pine: growth rings cut lengthways, fibres and pores."""
  y, x = _grid(size)
  lean = rng.uniform(-0.08, 0.08)
  across = x + lean * y + 9 * _noise(rng, size, 90, 22)
  across = across + 1.2 * _noise(rng, size, 30, 5)
  rings = across / rng.uniform(17, 24) + 0.35 * np.sin(across / 31)
  phase = (rings + rng.uniform()) % 1
  # The late wood darkens slowly and ends abruptly.
  late = phase**2.5 * _step(0.96 - phase, 0.08)
  fibre = _noise(rng, size, 26, 0.6, -lean)
  pores = _step(_noise(rng, size, 7, 0.6, -lean) - 2.0, 0.4)
  low = _colour(rng, (0.78, 0.60, 0.40), 0.03)
  high = _colour(rng, (0.58, 0.38, 0.22), 0.03)
  rgb = _mix(low, high, 0.15 + 0.75 * late + 0.10 * fibre)
  tone = 1 + 0.03 * _noise(rng, size, 60, 25) - 0.22 * pores
  return rgb * (tone + 0.02 * _noise(rng, size, 0.6))[..., None]


_SURFACES = {
  "metal": _metal,
  "wood": _wood,
  "tile": _tile,
  "leather": _leather,
}


# Defects: (rng, colours) to (colours, mask [size, size] bool); only the colours
# within the mask count.


def _place(rng, margin=0.15):
  """A point (y, x) away from the border, in pixels of a 256 px image."""
  return 256 * rng.uniform(margin, 1 - margin, 2)


def _depth(size, points, widths):
  """How deep each pixel lies inside a stroke, float32 [size, size].

  Args:
    size: side in pixels.
    points: [n, 2] the (y, x) of a line, in pixels of a 256 px image.
    widths: [n] half the width of the stroke there, the same unit.

  Returns:
    Pixels to the edge of the stroke: positive inside, at least -2 outside.
  """
  scale = size / 256
  points, widths = points * scale, np.maximum(widths * scale, 0.35)
  depth = np.full((size, size), -2, np.float32)
  reach = widths.max() + 2
  for a, b, width in zip(points[:-1], points[1:], widths[1:], strict=True):
    low = np.maximum(np.floor(np.minimum(a, b) - reach), 0).astype(int)
    high = np.minimum(np.ceil(np.maximum(a, b) + reach) + 1, size).astype(int)
    if np.any(high <= low):
      continue
    y, x = np.ogrid[low[0] : high[0], low[1] : high[1]]
    y, x = y - a[0], x - a[1]
    dy, dx = b - a
    along = np.clip((y * dy + x * dx) / (dy * dy + dx * dx + 1e-6), 0, 1)
    inside = width - np.hypot(y - along * dy, x - along * dx)
    view = depth[low[0] : high[0], low[1] : high[1]]
    np.maximum(view, inside, out=view)
  return depth


def _walk(rng, start, heading, steps, step, turn, pull=0.0):
  """A line that turns at random, [steps + 1, 2]; `pull` damps the turning."""
  turns = rng.normal(0, turn, steps)
  angles = np.zeros(steps)
  for k in range(1, steps):
    angles[k] = (1 - pull) * angles[k - 1] + turns[k]
  angles += heading
  moves = step * np.stack([np.sin(angles), np.cos(angles)], axis=1)
  return np.concatenate([start[None], start + np.cumsum(moves, axis=0)])


def _cover(depth):
  """Share of each pixel that a stroke covers, 0 to 1."""
  return np.clip(depth + 0.5, 0, 1)


def _scratch(rng, rgb):
  """A tool mark: a bright groove with a dark lip, or the other way round."""
  size = rgb.shape[0]
  length = rng.uniform(110, 190)
  heading = rng.uniform(0, 2 * np.pi)
  centre = _place(rng, 0.25)
  start = centre - length / 2 * np.array([np.sin(heading), np.cos(heading)])
  line = _walk(rng, start, heading, 24, length / 24, 0.03)
  taper = np.sin(np.pi * np.linspace(0.08, 0.92, 25)) ** 0.5
  width = rng.uniform(1.2, 2.0)
  groove = _cover(_depth(size, line, width * taper))
  side = np.array([-np.cos(heading), np.sin(heading)]) * (width + 0.6)
  lip = _cover(_depth(size, line + side, 0.8 * width * taper))
  strength = rng.uniform(0.40, 0.60) * rng.choice([-1, 1])
  gain = 1 + strength * groove - 0.7 * strength * lip * (1 - groove)
  return rgb * gain[..., None], np.maximum(groove, lip) > 0.25


def _crack(rng, rgb):
  """A dark, jagged line with a branch or two that thins out."""
  size = rgb.shape[0]
  heading = rng.uniform(0, 2 * np.pi)
  steps = int(rng.integers(34, 60))
  main = _walk(rng, _place(rng, 0.2), heading, steps, 3.2, 0.55, 0.25)
  width = rng.uniform(1.3, 2.1)
  depth = _depth(size, main, width * np.linspace(1, 0.3, steps + 1))
  for _ in range(rng.integers(1, 3)):
    at = int(rng.integers(steps // 4, 3 * steps // 4))
    off = heading + rng.choice([-1, 1]) * rng.uniform(0.5, 1.1)
    twig = _walk(rng, main[at], off, steps // 3, 3, 0.5, 0.25)
    widths = 0.7 * width * np.linspace(1, 0.3, len(twig))
    depth = np.maximum(depth, _depth(size, twig, widths))
  cover = _cover(depth)
  gain = 1 - rng.uniform(0.45, 0.65) * cover
  return rgb * gain[..., None], cover > 0.25


def _blob(rng, size, radius, rough):
  """1 - r / R of an irregular spot: 1 in its centre, 0 on its edge."""
  y, x = _grid(size)
  cy, cx = _place(rng)
  angle, squash = rng.uniform(0, np.pi), rng.uniform(0.65, 1)
  c, s = np.cos(angle), np.sin(angle)
  dy, dx = y - cy, x - cx
  r = np.hypot(c * dx + s * dy, (c * dy - s * dx) / squash) / radius
  return 1 - r - rough * _noise(rng, size, radius / 3) * np.minimum(r, 1)


def _dent(rng, rgb):
  """A round hollow, lit on the far side and shaded on the near one."""
  size = rgb.shape[0]
  radius = rng.uniform(14, 26)
  inside = np.clip(_blob(rng, size, radius, 0.04), 0, 1)
  r = 1 - inside
  # Height -(1 - r^2)^2: flat in the middle and at the edge.
  height = -rng.uniform(0.26, 0.42) * radius * np.square(1 - r * r)
  shade = np.clip(1 + 1.1 * (_relief(height) - 1), 0.35, 1.65)
  shade = shade - 0.06 * np.sqrt(inside)
  # Where light and floor cancel, the hollow is there all the same.
  return rgb * shade[..., None], inside > 0


def _stain(rng, rgb):
  """A dried spill: a tint that is stronger along its edge."""
  size = rgb.shape[0]
  inside = _blob(rng, size, rng.uniform(26, 46), 0.16)
  rim = np.exp(-np.square((inside - 0.12) / 0.10))
  amount = _step(inside - 0.04, 0.10) * (0.75 + 0.4 * rim)
  strength = rng.uniform(0.28, 0.42)
  tint = strength * rng.uniform((0.4, 0.7, 0.9), (0.8, 1, 1.3))
  if rng.uniform() < 0.4:
    # A bleached spot rather than a dark one.
    tint = -0.8 * tint
  gain = 1 - amount[..., None] * tint.astype(np.float32)
  return rgb * gain, inside > 0


def _fibre(rng, rgb):
  """A curled hair or lint on the surface, with its shadow."""
  size = rgb.shape[0]
  steps = int(rng.integers(36, 60))
  bend = rng.uniform(-0.09, 0.09)
  line = _walk(rng, _place(rng, 0.25), rng.uniform(0, 6.3), steps, 3, 0.16)
  turned = np.cumsum(np.full(steps + 1, bend))
  c, s = np.cos(turned), np.sin(turned)
  moves = np.diff(line, axis=0, prepend=line[:1])
  moves = np.stack(
    [c * moves[:, 0] + s * moves[:, 1], c * moves[:, 1] - s * moves[:, 0]], 1
  )
  line = line[0] + np.cumsum(moves, axis=0)
  width = rng.uniform(1.0, 1.6)
  widths = np.full(steps + 1, width)
  fibre = _cover(_depth(size, line, widths))
  shadow = _cover(_depth(size, line + np.array([1.8, 1.4]), 1.1 * widths))
  colours = (0.16, 0.15, 0.16), (0.88, 0.87, 0.84), (0.62, 0.20, 0.18)
  colour = _colour(rng, colours[rng.integers(3)], 0.08)
  rgb = rgb * (1 - 0.3 * shadow)[..., None]
  painted = _mix(rgb, colour, 0.8 * fibre)
  return painted, np.maximum(fibre, shadow) > 0.25


_PAINTERS = {
  "crack": _crack,
  "dent": _dent,
  "fibre": _fibre,
  "scratch": _scratch,
  "stain": _stain,
}

SURFACES = (*_SURFACES, "fabric")

DEFECTS = {surface: tuple(_PAINTERS) for surface in _SURFACES} | {
  "fabric": ("fibre", "stain", "thread", "weave")
}

# The first is the default. They are in the order of difficulty: rendered metal
# is easy even for random features, fabric hard for trained ones.
SUBSETS = (*SURFACES, "all")


def _camera(rng, rgb):
  """Light, white balance and sensor noise; uint8 [size, size, 3]."""
  size = rgb.shape[0]
  y, x = (axis / 128 - 1 for axis in _grid(size))
  slope = rng.uniform(-0.06, 0.06, 2).astype(np.float32)
  light = 1 + slope[0] * y + slope[1] * x
  light = light - np.float32(rng.uniform(0.02, 0.06)) * (y * y + x * x)
  balance = rng.normal(1, 0.012, 3).astype(np.float32)
  gain = np.float32(rng.uniform(0.90, 1.08))
  contrast = np.float32(rng.uniform(0.94, 1.06))
  # About a constant: the image's mean would carry a defect beyond its mask.
  rgb = np.float32(0.5) + contrast * (rgb - np.float32(0.5))
  rgb = rgb * (gain * light)[..., None] * balance
  noise = rng.standard_normal((size, size, 3), np.float32)
  rgb = rgb + np.float32(rng.uniform(0.006, 0.012)) * noise
  return (np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8)
