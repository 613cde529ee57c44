# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""From pixel maps to heat that can be compared: one scale for all images.

A colour scale for each image by itself would give every normal one a bright
spot. Here what is usual for normal images is cold, 0; what hardly any of their
pixels reaches is a third, `EDGE`; and three times as far off is hot, 1.
"""

from typing import NamedTuple

import numpy as np

EDGE = 1 / 3

# How much of the picture the hottest colour covers.
_OPACITY = 0.75


class Scale(NamedTuple):
  """What is cold and what is hot.

  Attributes:
    pixels: (cold, hot) values of a map; None takes those of each by itself, its
      least and its 99th percentile, where maps cannot be compared: see
      `Detector.relative_maps`.
    images: (cold, hot) scores of images, by which the heat is then weighted;
      else None.
  """

  pixels: tuple[float, float] | None
  images: tuple[float, float] | None = None

  def heat(self, maps, scores) -> np.ndarray:
    """The heat of maps.

    Args:
      maps: float [..., h, w]; NaN where nobody looked.
      scores: float [...], of the images.

    Returns:
      float32 [..., h, w] in [0, 1]; NaN where the map is.
    """
    maps, pixels = np.float32(maps), self.pixels
    if pixels is None:
      ends = np.nanquantile(maps, (0, 0.99), axis=(-2, -1), keepdims=True)
      pixels = np.float32(ends)
    heat = _share(maps, pixels)
    if self.images is not None:
      heat = heat * _share(np.float32(scores), self.images)[..., None, None]
    return heat


def scale_of(
  maps, scores, relative: bool = False, scene: bool = False
) -> Scale | None:
  """The scale by which normal images stay cold; None of no maps.

  Args:
    maps: float [n, h, w], of normal images, or None.
    scores: float [N], of normal images.
    relative: whether maps cannot be compared, see `Detector.relative_maps`.
    scene: whether the map is that of a scene, of whose pixels one in a hundred
      may be anomalous.
  """
  if maps is None:
    return None
  if relative and not scene:
    return Scale(None, score_limits(scores))
  return Scale(_limits(maps, 0.99 if scene else 0.999))


def score_limits(scores) -> tuple[float, float]:
  """(cold, hot) scores of images, by those of normal ones, float [N].

  One in twenty is at `EDGE`, which is about where a threshold lies.
  """
  return _limits(scores, 0.95)


def _limits(values, high):
  """The median, and what gives the `high` quantile the heat `EDGE`."""
  usual, extreme = np.nanquantile(np.float64(values), (0.5, high))
  return float(usual), float(usual + (extreme - usual) / EDGE)


def _share(values, between):
  """Where values lie between two, 0 to 1."""
  low, high = between
  # Where normal ones are all the same, what is above them is hot.
  span = np.where(np.greater(high, low), np.subtract(high, low), 1e-30)
  return np.float32(np.clip((np.float64(values) - low) / span, 0, 1))


def colours(grain: int = 256) -> np.ndarray:
  """The colours of heat from 0 to 1 and how far they cover: [grain, 4].

  Cold covers nothing, so that what is not anomalous stays as it is.
  """
  import matplotlib

  share = np.linspace(0, 1, grain)
  # Below it there is nothing but black, which would look like a shadow.
  table = matplotlib.colormaps["inferno"](0.25 + 0.72 * share)
  table[:, 3] = _OPACITY * np.minimum(1, share / (2 * EDGE)) ** 1.5
  return table


def heated(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
  """An image under its heat.

  Args:
    image: uint8 [h, w, 1 or 3].
    heat: float [h, w] in [0, 1]; NaN where nobody looked, which is dark.

  Returns:
    uint8 [h, w, 3].
  """
  seen = np.isfinite(heat)
  grain = np.uint8(np.where(seen, heat, 0) * 255 + 0.5)
  table = np.float32(colours())
  cover = table[:, 3:]
  mixed = (1 - cover)[grain] * image + (255 * cover * table[:, :3])[grain]
  mixed = np.where(seen[..., None], mixed, mixed / 3)
  return np.uint8(mixed + 0.5)


def bar_colours(grain: int = 64) -> np.ndarray:
  """The colours of heat from 0 to 1 over a grey, uint8 [grain, 3]."""
  middle = np.full((1, grain, 1), 160, np.uint8)
  return heated(middle, np.linspace(0, 1, grain)[None])[0]


def grey(image: np.ndarray) -> np.ndarray:
  """uint8 [h, w, 1] of [h, w, 1 or 3], so that all colour is heat."""
  return np.uint8(image.mean(-1, keepdims=True) + 0.5)


def outlines(area: np.ndarray, level: float = 0.5) -> list[np.ndarray]:
  """The lines around what is above a level; a frame of zeros closes them.

  Args:
    area: [h, w] float or bool.

  Returns:
    Lines [n, 2] of (x, y), in pixels from the middle of the first; the longest
    first.
  """
  import contourpy

  height, width = area.shape
  generator = contourpy.contour_generator(
    np.arange(-1, width + 1),
    np.arange(-1, height + 1),
    np.pad(np.nan_to_num(np.float64(area)), 1),
  )
  return sorted(generator.lines(level), key=len, reverse=True)
