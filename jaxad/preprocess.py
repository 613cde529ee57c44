# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""From images as they come to the pixels that a detector sees, and back.

One `Preprocess` goes with a run from its data to its predictions and into the
file that is deployed, so that none of them can see other pixels than training
did. It needs NumPy alone.
"""

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np

from jaxad.bands import Bands
from jaxad.columns import Columns
from jaxad.errors import InputError
from jaxad.fields import Count, Range, check
from jaxad.resize import resized

Side = Annotated[int, Range(1, 2**14)]
Overlap = Annotated[float, Range(0, 0.9)]

Fit = Literal["squash", "pad", "crop"]
Rule = Literal["max", "mean"]


class Layout(NamedTuple):
  """Which parts of an image its views show.

  Attributes:
    size: (h, w) of the image in pixels.
    boxes: int [n, 4], the top, left, bottom and right of each view in pixels of
      the image; beyond its border there is black.
  """

  size: tuple[int, int]
  boxes: np.ndarray


@dataclasses.dataclass(frozen=True)
class Preprocess:
  """What happens to an image between its file and the detector.

  Raises `InputError` where a value is not what it may be.

  Attributes:
    size: (H, W) of what the detector sees, in pixels.
    channels: 3 (RGB), or 1 (grey, by luma).
    fit: how an image of another aspect gets there: "squash" (the aspect is not
      kept), "pad" (with black) or "crop" (the middle).
    levels: the values that become black and white in images of more than 8 bits
      a channel; None where there were none.
    tile: side in pixels of the squares that an image is cut into, each of which
      is seen by itself; None for whole images.
    overlap: the share of a tile that it has in common with the next, at least.
    rule: of an image's score, from those of its tiles: "max" or "mean".
  """

  size: tuple[Side, Side]
  channels: Literal[1, 3] = 3
  fit: Fit = "squash"
  levels: tuple[float, float] | None = None
  tile: Count | None = None
  overlap: Overlap = 0.25
  rule: Rule = "max"

  def __post_init__(self):
    kinds = typing.get_type_hints(type(self), include_extras=True)
    for name, kind in kinds.items():
      check(name, getattr(self, name), kind)
    if self.levels is not None and not self.levels[0] < self.levels[1]:
      raise InputError(
        f"levels={self.levels}: expected black below white.", "levels"
      )

  def views(self, image: np.ndarray) -> tuple[np.ndarray, Layout]:
    """An image as the detector sees it, whole or in tiles.

    Args:
      image: [h, w], [h, w, 1], RGB [h, w, 3] or RGBA, whose alpha is dropped:
        uint8; float in [0, 1]; or grey values of any range where there are
        `levels`.

    Returns:
      uint8 [n, H, W, C] and where they lie.

    Raises:
      InputError: it is no such image.
    """
    x = self.eight_bits(image)
    layout = self.layout(x.shape[:2])
    cut = (resized(window(x, box), self.size) for box in layout.boxes)
    return np.stack(
      [_with_channels(view, self.channels) for view in cut]
    ), layout

  def overview(self, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The whole image, squashed to a size: uint8 [H, W, C]."""
    x = resized(self.eight_bits(image), size)
    return _with_channels(x, self.channels)

  def layout(self, size: tuple[int, int]) -> Layout:
    """Where the views of an image of this size (h, w) lie."""
    h, w = size
    if self.tile is not None:
      tops, lefts = (_starts(n, self.tile, self.overlap) for n in size)
      boxes = [
        (y, x, y + self.tile, x + self.tile) for y in tops for x in lefts
      ]
    elif self.fit == "squash":
      boxes = [(0, 0, h, w)]
    else:
      larger = self.fit == "pad"
      # The sides of a box of the aspect H : W around the image, or within it.
      height = _round(w * self.size[0] / self.size[1])
      if (height > h) == larger:
        box_h, box_w = height, w
      else:
        box_h, box_w = h, _round(h * self.size[1] / self.size[0])
      top, left = (h - box_h) // 2, (w - box_w) // 2
      boxes = [(top, left, top + box_h, left + box_w)]
    return Layout((h, w), np.array(boxes))

  def assembled(self, maps: np.ndarray, layout: Layout) -> np.ndarray:
    """The map of an image from those of its views, of the image's own size.

    Args:
      maps: float32 [n, H', W'], of any resolution.
      layout: of the views.

    Returns:
      float32 [h, w], the mean where views overlap, NaN where none looked.
    """
    h, w = layout.size
    total = np.zeros(layout.size, np.float32)
    count = np.zeros(layout.size, np.float32)
    for view, (top, left, bottom, right) in zip(
      maps, layout.boxes, strict=True
    ):
      size = bottom - top, right - left
      view = resized(np.asarray(view, np.float32), size)
      rows = slice(max(top, 0), min(bottom, h))
      cols = slice(max(left, 0), min(right, w))
      total[rows, cols] += view[
        rows.start - top : rows.stop - top, cols.start - left : cols.stop - left
      ]
      count[rows, cols] += 1
    with np.errstate(invalid="ignore"):
      return total / np.where(count, count, np.nan).astype(np.float32)

  def of_tiles(self, scores: np.ndarray) -> np.ndarray:
    """An image's score from those of its views, [n, ...] to [...]."""
    return scores.max(0) if self.rule == "max" else scores.mean(0)

  def eight_bits(self, image: np.ndarray) -> np.ndarray:
    """An image as uint8 [h, w, 1 or 3], see `views`."""
    x = np.asarray(image)
    if x.ndim == 2:
      x = x[..., None]
    if x.ndim != 3 or x.shape[2] not in (1, 3, 4) or not x.size:
      raise InputError(
        f"an image of shape {list(np.shape(image))}: expected [h, w], or "
        "[h, w, C] with 1, 3 or 4 channels."
      )
    x = x[..., :3]
    if x.dtype == np.uint8:
      return x
    if x.dtype == bool:
      return to_levels(x, (0, 1))
    if x.dtype.kind not in "uif" or not np.isfinite(x).all():
      raise InputError(
        f"an image of {x.dtype} with values that are not finite numbers."
      )
    in_unit_range = x.dtype.kind == "f" and 0 <= x.min() and x.max() <= 1
    if in_unit_range and not self._levels_of_floats():
      return to_levels(x, (0, 1))
    if self.levels is not None:
      return to_levels(x, self.levels)
    raise InputError(
      f"an image of {x.dtype} from {x.min()} to {x.max()}: expected uint8, or "
      "floating point in [0, 1], as no image of more than 8 bits was seen in "
      "training."
    )

  def _levels_of_floats(self):
    """Whether the levels are of floating point, and not those of a camera."""
    if self.levels is None:
      return False
    low, high = self.levels
    return not (low == 0 and float(np.log2(high + 1)).is_integer())

  def to_json(self) -> dict:
    """Plain values, for `from_json`."""
    return dataclasses.asdict(self)

  @classmethod
  def from_json(cls, values: Mapping) -> "Preprocess":
    """The inverse of `to_json`, also after JSON has made lists of tuples.

    Raises:
      InputError: a value is missing, unknown, or not what it may be.
    """
    known = {field.name for field in dataclasses.fields(cls)}
    if not isinstance(values, Mapping) or set(values) != known:
      raise InputError(f"preprocess: expected {', '.join(sorted(known))}.")
    plain = lambda v: tuple(v) if isinstance(v, list) else v
    given: dict[str, Any] = {name: plain(v) for name, v in values.items()}
    return cls(**given)


def preprocessing(
  values: Mapping | None,
) -> Preprocess | Columns | Bands | None:
  """The inverse of `to_json`: of images, a table, a scene, or none of them.

  Raises:
    InputError: as `from_json`.
  """
  if values is None:
    return None
  has = lambda name: isinstance(values, Mapping) and name in values
  kind = Columns if has("names") else Bands if has("chosen") else Preprocess
  return kind.from_json(values)


def to_levels(x: np.ndarray, levels: tuple[float, float]) -> np.ndarray:
  """Grey values to uint8: the first of the levels is 0, the second 255."""
  low, high = levels
  scaled = (np.float64(x) - low) * (255 / (high - low))
  return np.clip(np.floor(scaled + 0.5), 0, 255).astype(np.uint8)


def _round(length):
  return max(1, round(length))


def _starts(n, tile, overlap):
  """Where tiles begin on an axis of n pixels: the last one ends with it."""
  if n <= tile:
    return [(n - tile) // 2]
  stride = max(1, int(tile * (1 - overlap)))
  count = -(-(n - tile) // stride) + 1
  return np.linspace(0, n - tile, count).round().astype(int).tolist()


def window(x: np.ndarray, box: Sequence[int]) -> np.ndarray:
  """A part of an image or mask; black where that lies beyond the border.

  Args:
    x: [h, w, ...].
    box: its top, left, bottom and right in pixels.
  """
  top, left, bottom, right = box
  h, w = x.shape[:2]
  inside = x[max(top, 0) : min(bottom, h), max(left, 0) : min(right, w)]
  before = max(-top, 0), max(-left, 0)
  after = max(bottom - h, 0), max(right - w, 0)
  if any(before + after):
    pad = [*zip(before, after, strict=True), *[(0, 0)] * (x.ndim - 2)]
    inside = np.pad(inside, pad)
  return inside


def _with_channels(x, channels):
  """[H, W, 1 or 3] with so many channels: grey is the luma, RGB copies."""
  if x.shape[-1] == channels:
    return x
  if channels == 3:
    return np.repeat(x, 3, axis=-1)
  # The weights of ITU-R 601-2, as Pillow has them.
  r, g, b = np.moveaxis(np.uint32(x), -1, 0)
  luma = (19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16
  return np.uint8(luma)[..., None]
