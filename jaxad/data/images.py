# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""From image files to the views that a detector sees, once.

Small sets are decoded into memory, larger ones into a file of the cache, where
the next run of the same images finds them.
"""

import contextlib
import dataclasses
import hashlib
import math
import os
import pathlib
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from jaxad.data import levels
from jaxad.data.arrays import FileArray, Rows
from jaxad.data.decode import decode, decode_mask, defects_at
from jaxad.data.decoded import Decoded
from jaxad.data.examples import Dataset, Examples, Item, Tiles
from jaxad.data.parallel import in_parallel
from jaxad.errors import InputError
from jaxad.preprocess import Preprocess, window

# Of the machine's memory, for decoded images; what is larger goes into a file.
MEMORY_SHARE = 1 / 24

# Tiled images are shown, and their maps compared with masks, in this size.
OVERVIEW = (512, 512)

# How many names a message lists.
_SHOWN = 3

# A mask that marks more is told: it may be black where others are white.
_NEARLY_ALL = 0.9

# A mask whose aspect differs from its image's by more is told.
_ASPECT = 0.02


class Reading(NamedTuple):
  """How images are read.

  Attributes:
    preprocess: what a detector sees of them; without `levels` they are found,
      if there are images of more than 8 bits.
    unreadable: "error", or "skip" to go on without the images that cannot be
      read, with one line on stderr. An unreadable mask is always an error: to
      go on without it would falsify the pixel measures.
    mask_threshold: see `decode_mask`.
  """

  preprocess: Preprocess
  unreadable: str = "error"
  mask_threshold: float | None = None


class _Known(NamedTuple):
  """An item without its bytes, and a digest of all there is of it."""

  split: str
  id: str
  kind: str
  masked: bool
  digest: str

  @property
  def label(self):
    return int(self.kind != "good")


def read(items: Callable[[], Iterable[Item]], reading: Reading) -> Dataset:
  """Decodes all items, in parallel, and sorts them by split and id.

  Args:
    items: gives them, always the same and in the same order; called a few
      times, so that files which it holds as bytes need not all be in memory.
    reading: how.

  Returns:
    The data set with its `preprocess`; `mask` of a split is None where none of
    its items has one.

  Raises:
    InputError: an image or a mask is unreadable, and the first one is named;
      nothing is left to train on, or of the test; the images are of more bits
      than a range was found for; or the disk cannot hold them.
  """
  known = sorted(map(_known, items()))
  rows = {(one.split, one.id): row for row, one in enumerate(known)}
  facts = [known, reading.preprocess.to_json(), reading.mask_threshold]
  copy = Decoded(facts)
  # "test" sorts before "train".
  cut = sum(one.split == "test" for one in known)
  splits = {"test": slice(cut), "train": slice(cut, len(known))}
  found = copy.found()
  if found is None:
    found = _decoded(items, reading, known, rows, copy)
  arrays, beside = found
  preprocess = Preprocess.from_json(beside["preprocess"])
  for line in beside["notes"]:
    print(f"jaxad: {line}", file=sys.stderr)
  skipped = set(beside["skipped"])
  _check_left(known, [one for k, one in enumerate(known) if k not in skipped])
  whole = _examples(known, arrays, preprocess, beside)
  return Dataset(
    **{
      split: _kept(whole, known[where], where, skipped)
      for split, where in splits.items()
    },
    preprocess=preprocess,
  )


def _known(item):
  state = hashlib.blake2b(digest_size=8)
  for source in (item.image, item.mask):
    if isinstance(source, bytes):
      state.update(source)
    elif source is not None:
      stat = source.stat()
      text = f"{source} {stat.st_size} {stat.st_mtime_ns}"
      state.update(os.fsencode(text))
  masked = item.mask is not None
  return _Known(item.split, item.id, item.kind, masked, state.hexdigest())


def _examples(known, arrays, preprocess, beside):
  """All items as one split."""
  tiles = None
  if preprocess.tile is not None:
    layouts = tuple(preprocess.layout(tuple(size)) for size in beside["sizes"])
    defective = arrays["defective"][:].astype(bool)
    tiles = Tiles(preprocess, layouts, defective, arrays["pictures"])
  return Examples(
    x=arrays["x"],
    label=np.array([one.label for one in known], np.int32),
    id=tuple(one.id for one in known),
    kind=tuple(one.kind for one in known),
    mask=arrays.get("mask"),
    tiles=tiles,
  )


def _kept(whole, known, where, skipped):
  """The examples of one split, without those that were skipped."""
  rows = np.arange(len(whole.id))[where]
  examples = whole.take([row for row in rows if row not in skipped])
  if any(one.masked for one in known):
    return examples
  return dataclasses.replace(examples, mask=None)


# Decoding.


def _decoded(items, reading, known, rows, copy):
  """As `Decoded.found`, made anew."""
  headers = levels.headers(items, reading.preprocess, rows)
  preprocess, note = levels.with_levels(
    items, reading.preprocess, headers, rows
  )
  sizes = [
    headers[k].size if k in headers else (1, 1) for k in range(len(known))
  ]
  target = _Target(preprocess, sizes, any(one.masked for one in known))
  arrays = target.arrays = allocate(target.shapes, copy)

  def fill(item):
    """Decodes an item into its rows; what is to be said of it, or None."""
    row = rows[item.split, item.id]
    layout = target.put_image(row, decode(item.image))
    if item.mask is None:
      target.put_label(row, item.label)
      return None
    try:
      mask = decode_mask(item.mask, reading.mask_threshold)
    except InputError as error:
      raise _MaskError(str(error)) from error
    return _mask_fault(mask, layout), target.put_mask(row, mask, layout)

  faults, skipped = {}, []
  for item, found, error in in_parallel(fill, items(), len(known)):
    if isinstance(error, _MaskError):
      raise InputError(
        f"the mask of {item.id} is unreadable ({error}); replace it, or move "
        "the folder of masks away to go without"
      )
    if error is not None and reading.unreadable == "error":
      raise InputError(
        f"image {item.id} is unreadable ({error}); replace it, or go on "
        "without with unreadable=skip"
      )
    if error is not None:
      skipped.append(rows[item.split, item.id])
    elif found is not None and found[0]:
      faults.setdefault(found[0], []).append(item.id)
  notes = [note] if note else []
  notes += [f"{fault}: {_few(sorted(ids))}" for fault, ids in faults.items()]
  if skipped:
    names = [known[row].id for row in sorted(skipped)]
    notes.append(
      f"skipped {len(names)} unreadable of {len(known)} images: {_few(names)}"
    )
  beside = {
    "preprocess": preprocess.to_json(),
    "sizes": sizes,
    "notes": notes,
    "skipped": sorted(skipped),
  }
  if isinstance(arrays["x"], FileArray):
    copy.complete(beside)
  return arrays, beside


class _MaskError(InputError):
  """It is the mask that cannot be read."""


class _Target:
  """The arrays of a set, and where in them its images belong."""

  def __init__(self, preprocess, sizes, masked):
    self._preprocess, self._tiled = preprocess, preprocess.tile is not None
    counts = [
      len(preprocess.layout(size).boxes) if self._tiled else 1 for size in sizes
    ]
    self._cuts = np.cumsum([0, *counts])
    n, m = len(sizes), int(self._cuts[-1])
    self._grid = OVERVIEW if self._tiled else preprocess.size
    shapes = {"x": (m, *preprocess.size, preprocess.channels)}
    if masked:
      shapes["mask"] = (n, *self._grid)
    if self._tiled:
      shapes["pictures"] = (n, *OVERVIEW, preprocess.channels)
      shapes["defective"] = (m,)
    self.shapes = shapes

  def put_image(self, row, image):
    views, layout = self._preprocess.views(image)
    first, end = self._cuts[row : row + 2]
    if len(views) != end - first:
      raise InputError("it is of another size than its header said")
    for k, view in enumerate(views):
      self.arrays["x"][first + k] = view
    if self._tiled:
      self.arrays["pictures"][row] = self._preprocess.overview(image, OVERVIEW)
    return layout

  def put_label(self, row, label):
    """Of an image without a mask: its tiles are all as it is."""
    if self._tiled:
      for k in range(*self._cuts[row : row + 2]):
        self.arrays["defective"][k] = np.uint8(label)

  def put_mask(self, row, mask, layout):
    if mask.shape != layout.size:
      mask = defects_at(mask, layout.size)
    seen = mask if self._tiled else window(mask, layout.boxes[0])
    self.arrays["mask"][row] = defects_at(seen > 0, self._grid)
    if self._tiled:
      for k, box in enumerate(layout.boxes):
        hit = window(mask, box).any()
        self.arrays["defective"][self._cuts[row] + k] = np.uint8(hit)


def allocate(
  shapes: dict[str, tuple], copy: Decoded | None = None
) -> dict[str, Rows]:
  """Arrays of zeros, uint8: in memory, or in a file where they are too large.

  Args:
    shapes: by name.
    copy: which the files belong to; None for files of this process alone.

  Raises:
    InputError: neither memory nor disk can hold them.
  """
  if sum(map(math.prod, shapes.values())) > MEMORY_SHARE * memory():
    return (copy or Decoded(None)).start(shapes)
  return {name: np.zeros(shape, np.uint8) for name, shape in shapes.items()}


def _mask_fault(mask, layout):
  """What is odd about a mask, to be told; None where nothing is."""
  if not mask.any():
    return "masks without a defect"
  if mask.mean() > _NEARLY_ALL:
    return "masks that mark nearly the whole image"
  (h, w), (mask_h, mask_w) = layout.size, mask.shape
  if abs(mask_w * h / (mask_h * w) - 1) > _ASPECT:
    return "masks of another aspect than their images"
  return None


def memory() -> float:
  """Bytes of the machine, or of its container; infinite where not known."""
  sizes = [math.inf]
  if hasattr(os, "sysconf"):
    sizes.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
  for path in ("memory.max", "memory/memory.limit_in_bytes"):
    # No control groups, or "max", no limit.
    with contextlib.suppress(OSError, ValueError):
      sizes.append(int(pathlib.Path("/sys/fs/cgroup", path).read_text()))
  return min(sizes)


def _few(names: Sequence[str]) -> str:
  shown = ", ".join(names[:_SHOWN])
  more = len(names) - _SHOWN
  return f"{shown} and {more} more" if more > 0 else shown


def _check_left(items, kept):
  """Whether there are normal images to train on, and images to test on."""
  for what, belongs in (
    ("normal training", lambda i: i.split == "train" and not i.label),
    ("test", lambda i: i.split == "test"),
  ):
    wanted = [item for item in items if belongs(item)]
    if wanted and not any(map(belongs, kept)):
      raise InputError(
        f"none of the {len(wanted)} {what} images could be read, such as "
        f"{wanted[0].id}; replace them"
      )
