# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Hyperspectral scenes as data: what is trained on is also what is searched.

The spectra of all pixels are the training split, unlabelled, and the scene as a
whole is the test, of which each pixel is an example.
"""

import pathlib
import re
import sys
from typing import Literal, NamedTuple

import numpy as np

from jaxad.bands import SCALES, Bands
from jaxad.data import scene_files
from jaxad.data.examples import Dataset, Examples, Pixels
from jaxad.data.scene_files import Scene
from jaxad.errors import InputError
from jaxad.fields import Share
from jaxad.seeding import generator

NAMES = ("scene",)

# Of the rendered scene: its side, bands, materials and targets.
SIDE, N_BANDS, N_MATERIALS, N_TARGETS = 64, 60, 4, 12

# Of pixels, that are black and white in a picture.
_STRETCH = (0.02, 0.98)


class SceneOptions(NamedTuple):
  """How a scene is read, and which of its bands are seen.

  Attributes:
    variable: name of the scene's array in a MATLAB or NumPy file; None takes
      the only one of three axes, or data, scene, cube, image, hsi or x.
    truth: name of the array that is not 0 on anomalies, or path of a file with
      it, from the folder of the scene; None takes map, truth, ground_truth, gt,
      mask, label or y, and without one there is no AUROC.
    bands: which bands to see, from 1, with ranges: 1-60,70; () takes all, but
      for those that an ENVI header calls bad.
    drop: which of them to leave out, likewise.
    max_noise: leaves bands out of which more than this share of the variance is
      noise, by the differences of neighbours on a line; None leaves out none.
    scale: "cube" brings all values together to [0, 1], "band" each band,
      "standard" each band to mean 0 and deviation 1, "none" changes nothing.
  """

  variable: str | None = None
  truth: str | None = None
  bands: tuple[str, ...] = ()
  drop: tuple[str, ...] = ()
  max_noise: Share | None = None
  scale: Literal[SCALES] = "cube"


def load_file(path: pathlib.Path, options: SceneOptions) -> Dataset:
  """Reads a scene from a file.

  Args:
    path: see `scene_files.read`.
    options: see there.

  Raises:
    InputError: it is no scene, or has no such bands.
  """
  scene = scene_files.read(path, options.variable, options.truth)
  return _dataset(scene, path.name, options)


def load_rendered(seed: int, options: SceneOptions) -> Dataset:
  """The embedded scene, see `rendered`."""
  for name in ("variable", "truth"):
    if getattr(options, name) is not None:
      raise InputError(
        f"scene.{name}: the rendered scene has no file; name one with root",
        f"scene.{name}",
      )
  return _dataset(rendered(seed), "the rendered scene", options)


def rendered(seed: int) -> Scene:
  """A scene of 64 x 64 pixels and 60 bands, with small targets in it.

  Each pixel is a mixture of a few materials whose shares vary smoothly, with
  some shade; each material has a smooth spectrum. Targets of one to nine pixels
  are of another material, mixed with what is around them. Sensors see some
  bands worse: there is noise in all of them, and more in some.
  """
  from scipy import ndimage

  rng = generator("scene", seed)
  wave = np.linspace(0, 1, N_BANDS)

  def spectrum():
    """A few broad bumps on a slope."""
    centre, width = rng.uniform(0, 1, 4), rng.uniform(0.08, 0.3, 4)
    height = rng.uniform(-0.25, 0.35, 4)
    bumps = height * np.exp(-(((wave[:, None] - centre) / width) ** 2) / 2)
    slope = rng.uniform(-0.2, 0.2) * (wave - 0.5)
    return np.clip(rng.uniform(0.3, 0.6) + slope + bumps.sum(1), 0.02, 1)

  materials = np.stack([spectrum() for _ in range(N_MATERIALS)])
  smooth = [
    ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), 6, mode="wrap")
    for _ in range(N_MATERIALS)
  ]
  shares = np.stack([4 * field / field.std() for field in smooth], -1)
  shares = np.exp(shares - shares.max(-1, keepdims=True))
  shares /= shares.sum(-1, keepdims=True)
  shade = ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), 3)
  cube = shares @ materials * (1 + 0.1 * shade / shade.std())[..., None]

  truth, target = np.zeros((SIDE, SIDE), bool), spectrum()
  for _ in range(N_TARGETS):
    top, left = rng.integers(3, SIDE - 6, 2)
    height, width = rng.integers(1, 4, 2)
    part = np.s_[top : top + height, left : left + width]
    share = rng.uniform(0.3, 0.9)
    cube[part] = share * target + (1 - share) * cube[part]
    truth[part] = True
  noise = np.where(rng.random(N_BANDS) < 0.1, 0.05, 0.01)
  cube += noise * rng.standard_normal(cube.shape)
  return Scene(np.float32(cube), truth)


def _dataset(scene, said, options):
  """Its spectra to train on, and the scene itself."""
  cube = scene.cube
  h, w, total = cube.shape
  chosen = _chosen(scene, said, options)
  bands = Bands(total, chosen, options.scale).fitted(cube)
  x = bands.seen(cube)[None]
  n, width = h * w, len(str(max(h, w)))
  ids = tuple(
    f"{line:0{width}d},{sample:0{width}d}"
    for line in range(1, h + 1)
    for sample in range(1, w + 1)
  )
  truth = np.zeros(n, bool) if scene.truth is None else scene.truth.reshape(-1)
  train = Examples(
    x=x.reshape(n, -1),
    label=np.zeros(n, np.int32),
    id=ids,
    kind=("good",) * n,
    mask=None,
  )
  test = Examples(
    x=x,
    label=np.int32(truth),
    id=ids,
    kind=tuple(np.where(truth, "target", "good").tolist()),
    mask=None if scene.truth is None else np.uint8(scene.truth)[None],
    raw=cube[None],
    pixels=Pixels("scene", np.arange(n), picture(scene)),
  )
  lines = [f"jaxad: {h} x {w} pixels of {total} bands in {said}"]
  if len(chosen) < total:
    lines.append(f"  {len(chosen)} of these bands are seen")
  if scene.truth is None:
    lines.append("  no truth: there will be no AUROC")
  else:
    lines.append(f"  {int(truth.sum())} anomalous pixels")
  print(*lines, sep="\n", file=sys.stderr)
  return Dataset(train, test, preprocess=bands)


def picture(scene: Scene) -> np.ndarray:
  """A scene in false colours, uint8 [h, w, 3].

  They are the three bands that the file names, or the middles of the thirds of
  the spectrum, long waves in red, each of its own brightness.
  """
  total = scene.cube.shape[-1]
  thirds = tuple(int(total * part) for part in (5 / 6, 1 / 2, 1 / 6))
  x = np.float64(scene.cube[..., list(scene.colours or thirds)])
  low, high = np.quantile(x, _STRETCH, axis=(0, 1))
  x = (x - low) / np.where(high > low, high - low, 1)
  return np.uint8(255 * np.clip(x, 0, 1) + 0.5)


def _chosen(scene, said, options):
  """The bands that are seen, from 0."""
  total = scene.cube.shape[-1]
  found = _numbers("scene.bands", options.bands, total)
  if not found:
    found = [k for k in range(total) if k not in scene.bad]
  gone = set(_numbers("scene.drop", options.drop, total))
  found = [k for k in found if k not in gone]
  if options.max_noise is not None:
    share = noise_share(scene.cube)
    found = [k for k in found if share[k] <= options.max_noise]
  if not found:
    raise InputError(
      f"{said}: no band of its {total} is left; choose others with "
      "scene.bands, scene.drop or scene.max_noise",
      "scene.bands",
    )
  return tuple(found)


def noise_share(cube: np.ndarray) -> np.ndarray:
  """What share of each band's variance is noise, [K]; 1 where it has none.

  Neighbours on a line differ by what varies smoothly, which is little, and by
  their noise, whose variance the difference has twice.
  """
  share = np.ones(cube.shape[-1])
  for k in range(len(share)):
    band = np.float64(cube[..., k])
    if band.shape[1] > 1 and (variance := band.var()) > 0:
      share[k] = np.diff(band, axis=1).var() / (2 * variance)
  return np.minimum(share, 1)


def _numbers(name, given, total):
  """[k] from 0, of numbers and ranges from 1."""
  found = []
  for text in given:
    match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", text)
    first = int(match[1]) if match else 0
    last = int(match[2] or first) if match else 0
    if not 1 <= first <= last <= total:
      raise InputError(
        f"{name}={','.join(given)}: {text!r} is not a band or range of bands "
        f"of 1 to {total}, such as 1-60",
        name,
      )
    found += range(first - 1, last)
  return list(dict.fromkeys(found))
