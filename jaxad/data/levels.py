# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Images of more than 8 bits: which of their values are black and white."""

import dataclasses
import pathlib

from jaxad.data.decode import decode, read_header
from jaxad.data.parallel import in_parallel

# Bits of a grey value that there are cameras, or else files, of.
_CAMERAS = (8, 10, 12, 14, 16, 32)


def headers(items, preprocess, rows):
  """{row: header} of the images where it matters before they are decoded."""
  tiled = preprocess.tile is not None
  if not tiled and preprocess.levels is not None:
    return {}
  wanted = (item for item in items() if tiled or _may_be_deep(item.image))
  read_one = lambda item: read_header(item.image)
  return {
    rows[item.split, item.id]: header
    for item, header, error in in_parallel(read_one, wanted, None)
    if error is None
  }


def _may_be_deep(source):
  """Whether the format has images of more than 8 bits."""
  if isinstance(source, bytes):
    return source[:3] != b"\xff\xd8\xff"
  return pathlib.Path(source).suffix.lower() in (".png", ".tif", ".tiff")


def with_levels(items, preprocess, headers, rows):
  """The preprocessing with its `levels`, and what is to be said of them.

  Cameras of 10, 12 or 14 bits write files of 16, so the range is that of the
  camera of fewest bits that holds all training images; of floating point it is
  [0, 1], or the range of the training images.
  """
  deep = {row for row, header in headers.items() if header.deep}
  if preprocess.levels is not None or not deep:
    return preprocess, None
  chosen = (item for item in items() if rows[item.split, item.id] in deep)
  chosen = (item for item in chosen if item.split == "train")
  bounds = lambda item: _bounds(decode(item.image))
  found = [
    bound
    for _, bound, error in in_parallel(bounds, chosen, None)
    if error is None
  ]
  if not found:
    return preprocess, None
  low = min(bound[0] for bound in found)
  high = max(bound[1] for bound in found)
  if all(bound[2] for bound in found) and low >= 0:
    bits = next(bits for bits in _CAMERAS if high < 2**bits)
    levels, what = (0.0, float(2**bits - 1)), f"of {bits} bits"
  elif low >= 0 and high <= 1:
    levels, what = (0.0, 1.0), "in [0, 1]"
  else:
    levels, what = (low, high), f"from {low:g} to {high:g}"
  if levels[0] == levels[1]:
    levels = (levels[0], levels[0] + 1)
  note = (
    f"grey values {what}: {levels[0]:g} is black and {levels[1]:g} white, in "
    "all images of this run; another range is set by levels"
  )
  return dataclasses.replace(preprocess, levels=levels), note


def _bounds(x):
  """(lowest, highest, whether they are whole numbers) of an image."""
  return float(x.min()), float(x.max()), x.dtype.kind in "iu"
