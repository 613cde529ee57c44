# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Scores of images as they come, of any size, one by one or in arrays.

It needs jax and NumPy alone, and Pillow where there are files to read.
"""

import abc
import collections
import itertools
import os
import pathlib
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxad.bands import Bands
from jaxad.columns import Columns
from jaxad.described import Described
from jaxad.errors import InputError
from jaxad.fields import Count, check
from jaxad.preprocess import Preprocess

# Batches on their way at a time; what is on the devices is bounded by it.
IN_FLIGHT = 2

# The number of the keys for scoring, in pixels or in features.
SCORING = 0


class ImageScore(NamedTuple):
  """What there is to say of one image; higher = more anomalous.

  Attributes:
    score: of the image.
    parts: named terms of the score.
    map: float32 [h, w], the score of each pixel, of the image's own size and
      NaN where none looked; None where it was not asked for.
    brightness: mean of the uint8 pixels that the detector saw; None for rows of
      features and for scenes.
  """

  score: np.float32
  parts: dict[str, np.float32]
  map: np.ndarray | None
  brightness: float | None


class ImageScores(NamedTuple):
  """The same of N images.

  Attributes:
    image: float32 [N].
    map: N maps, each of its image's own size; None without.
    parts: named terms of the score, float32 [N].
  """

  image: np.ndarray
  map: list[np.ndarray] | None
  parts: dict[str, np.ndarray]


class ImageScorer(abc.ABC):
  """Scores images of any size, in batches of one shape.

  What may be scored: an array [N, h, w, C] or [N, h, w]; an iterable of images
  [h, w] or [h, w, C] of any sizes, of such arrays, or of paths of image files,
  which may be a generator: no more than a few batches are held at a time. See
  `Preprocess.views` for dtypes and channels. Where the detector was trained on
  rows: rows [N, D], or dicts by column, see `Columns.views`. Where it was on a
  scene: scenes [N, h, w, K], or an iterable of scenes [h, w, K] and of paths.

  What is drawn for an image comes from its id alone, by default its number. Its
  score does not depend on the other images, to rounding.

  Attributes:
    preprocess: from images, rows of a table, or scenes, to what the detector
      sees; None for rows of features.
    threshold: a score above it is called anomalous.
    batch_size: how many are scored at once where nothing else is said.
    shape: of what the detector sees, [H, W, C] or [D]; scenes may have other
      sides.
    dtype: of it.
  """

  preprocess: Preprocess | Columns | Bands | None
  threshold: float
  batch_size: int
  shape: tuple[int, ...]
  dtype: np.dtype

  def _describe(self, description: Mapping, where: str | os.PathLike) -> None:
    """Takes the attributes from what a file says of itself.

    Raises:
      InputError: that is not what it may say; the message begins with `where`.
    """
    try:
      known = Described.of(description)
    except InputError as error:
      raise InputError(f"{where}: {error}") from error
    self.shape, self.dtype = known.shape, np.dtype(known.dtype)
    self.preprocess, self.threshold = known.preprocess, float(known.threshold)
    self.batch_size = known.batch_size

  @abc.abstractmethod
  def _dispatch(self, x, names, with_maps: bool) -> Any:
    """Scores one batch [B, ...], given the checksums [B] of the ids."""

  @abc.abstractmethod
  def _fetch(self, scores: Any) -> dict[str, Any]:
    """ "image" [B], "map" [B, H, W] or None and "parts", as NumPy arrays."""

  def stream(
    self,
    images: Any,
    ids: Iterable[str] | None = None,
    with_maps: bool = False,
    batch_size: int | None = None,
  ) -> Iterator[ImageScore]:
    """Scores images one after the other, in their order.

    Args:
      images: see above.
      ids: of the images; None numbers them, "0", "1", ...
      with_maps: also localise.
      batch_size: views scored at once.

    Raises:
      InputError: no such image, or another number of ids.
    """
    batch_size = self.batch_size if batch_size is None else batch_size
    check("batch_size", batch_size, Count)
    if with_maps and len(self.shape) == 1:
      raise InputError("with_maps: rows have none.")
    if self._of_scenes:
      batch_size = 1  # each may have a size of its own
    seen: collections.deque[_Seen] = collections.deque()
    views = self._views(images, ids, seen)
    batches = _batches(views, self._rounded(batch_size))
    rows: collections.deque[dict] = collections.deque()
    for scores, n in self._scored(batches, with_maps):
      if not with_maps:
        scores["map"] = None
      elif scores["map"] is None:
        raise InputError("with_maps: the detector makes no maps of such data.")
      rows += [jax.tree.map(lambda v, i=i: v[i], scores) for i in range(n)]
      while seen and len(rows) >= seen[0].n:
        image = seen.popleft()
        yield self._together([rows.popleft() for _ in range(image.n)], image)

  def score(
    self,
    images: Any,
    with_maps: bool = False,
    batch_size: int | None = None,
    ids: Iterable[str] | None = None,
  ) -> ImageScores:
    """The scores of all images; see `stream`."""
    found = list(self.stream(images, ids, with_maps, batch_size))
    column = lambda values: np.array(values, np.float32)
    maps = [one.map for one in found if one.map is not None]
    parts = found[0].parts if found else {}
    return ImageScores(
      column([one.score for one in found]),
      maps if with_maps else None,
      {name: column([one.parts[name] for one in found]) for name in parts},
    )

  def predict(
    self,
    images: Any,
    batch_size: int | None = None,
    ids: Iterable[str] | None = None,
  ) -> np.ndarray:
    """bool [N], which images are anomalous; see `stream`.

    Raises:
      InputError: a score is not finite, so nothing can be said of its image.
    """
    score = self.score(images, batch_size=batch_size, ids=ids).image
    if not np.isfinite(score).all():
      raise InputError(
        f"the score of image {np.flatnonzero(~np.isfinite(score))[0]} is not "
        "finite."
      )
    return score > self.threshold

  @property
  def _of_scenes(self):
    return isinstance(self.preprocess, Bands)

  def _rounded(self, batch_size):
    """To what the devices can share."""
    return batch_size

  def _views(self, images, ids, seen):
    """(view, checksum) of all images; what is known of those goes to `seen`."""
    names = map(str, itertools.count()) if ids is None else iter(ids)
    if self._of_scenes:
      each = _each_scene(images)
    else:
      each = _each(images, len(self.shape) == 1)
    for image in each:
      name = next(names, None)
      if name is None:
        raise InputError("ids: fewer than images.")
      try:
        views, layout = self._seen_as(image)
      except InputError as error:
        noun = "row" if len(self.shape) == 1 else "image"
        noun = "scene" if self._of_scenes else noun
        raise InputError(f"{noun} {name}: {error}") from error
      brightness = None if layout is None else float(views.mean(dtype=float))
      seen.append(_Seen(len(views), layout, brightness))
      for view in views:
        yield view, checksum(name)
    if ids is not None and next(names, None) is not None:
      raise InputError("ids: more than images.")

  def _seen_as(self, image):
    """The views [n, ...] of an image, and their layout."""
    if self.preprocess is not None:
      return self.preprocess.views(image)
    if image.shape != self.shape or image.dtype.kind not in "fui":
      raise InputError(
        f"a row of shape {list(image.shape)} and {image.dtype}: expected "
        f"{list(self.shape)} numbers."
      )
    return image[None].astype(self.dtype), None

  def _scored(self, batches, with_maps):
    """(scores, how many of their rows count) of each batch, in order."""
    waiting = collections.deque()
    for x, names, n in batches:
      waiting.append((self._dispatch(x, names, with_maps), n))
      if len(waiting) > IN_FLIGHT:
        scores, n = waiting.popleft()
        yield self._fetch(scores), n
    for scores, n in waiting:
      yield self._fetch(scores), n

  def _together(self, rows, image):
    """The scores of an image from those of its views."""
    rows = jax.tree.map(lambda *parts: np.stack(parts), *rows)
    if image.layout is None:
      of = lambda v: v[0]
      pixel_map = None if rows["map"] is None else rows["map"][0]
    else:
      of = self.preprocess.of_tiles
      pixel_map = rows["map"]
      if pixel_map is not None:
        pixel_map = self.preprocess.assembled(pixel_map, image.layout)
    parts = {name: of(part) for name, part in rows["parts"].items()}
    return ImageScore(of(rows["image"]), parts, pixel_map, image.brightness)


class _Seen(NamedTuple):
  """An image on its way: its number of views, `Layout` and brightness."""

  n: int
  layout: Any
  brightness: float | None


def checksum(name: str) -> int:
  """Of an id; file names need not be valid UTF-8."""
  return zlib.crc32(name.encode(errors="surrogateescape"))


def example_keys(key: jax.Array, names: jax.Array) -> jax.Array:
  """[B] keys of examples, from the checksums [B] of their ids."""
  return jax.vmap(jax.random.fold_in, (None, 0))(key, names)


def _each(images, rows):
  """The images, or rows, of all that may hold some."""
  if isinstance(images, str | os.PathLike):
    images = [images]
  if hasattr(images, "ndim"):
    if images.ndim not in ((2,) if rows else (3, 4)):
      expected = "rows [N, D]" if rows else "images [N, h, w] or [N, h, w, C]"
      raise InputError(
        f"an array of shape {list(images.shape)}: expected {expected}; a "
        "single one goes into a list."
      )
    if images.ndim == 3 and images.shape[-1] in (3, 4):
      raise InputError(
        f"an array of shape {list(images.shape)}: one image, or grey ones of "
        f"{images.shape[-1]} columns? Give a list of images."
      )
  for image in images:
    if isinstance(image, str | os.PathLike):
      yield _read(image)
      continue
    if isinstance(image, Mapping):
      yield image
      continue
    image = np.asarray(image)
    if image.ndim == (2 if rows else 4):
      yield from image
    else:
      yield image


def _each_scene(scenes):
  """The scenes of all that may hold some."""
  if isinstance(scenes, str | os.PathLike):
    scenes = [scenes]
  if getattr(scenes, "ndim", 4) != 4:
    raise InputError(
      f"an array of shape {list(scenes.shape)}: expected scenes [N, h, w, K]; "
      "a single one goes into a list."
    )
  for scene in scenes:
    if isinstance(scene, str | os.PathLike):
      from jaxad.data import scene_files

      scene = scene_files.read(pathlib.Path(scene)).cube
    yield np.asarray(scene)


def _read(path):
  try:
    from jaxad.data.decode import decode
  except ImportError as error:
    raise InputError(
      f"{path}: image files are read by {error.name}, which is not installed; "
      "install it, or give arrays."
    ) from error
  return decode(path)


def _batches(rows, size):
  """(x [size, ...], checksums [size], how many count) of (view, checksum)."""
  rows = iter(rows)
  while part := list(itertools.islice(rows, size)):
    n = len(part)
    # Rows do not depend on each other: any will do for padding.
    part += part[:1] * (size - n)
    x, names = zip(*part, strict=True)
    yield np.stack(x), np.uint32(names), n
