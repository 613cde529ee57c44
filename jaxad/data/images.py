# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""From image files to uint8 arrays, once."""

import concurrent.futures
import contextlib
import io
import math
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from PIL import Image, ImageOps

from jaxad.data.examples import Dataset, Examples, Item
from jaxad.errors import InputError
from jaxad.fields import Range, check

Side = Annotated[int, Range(1, 2**14)]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")

# The decoded set may take this share of the memory; the rest is for the program
# and for a run's own.
_SHARE = 0.75

# How many images are decoded at once, at most.
_THREADS = 16

# How many names a message lists.
_SHOWN = 3


def is_image(path: pathlib.Path) -> bool:
  """Whether the name is that of an image file, and not a hidden one."""
  return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def side(image_size) -> int:
  """Checks `image_size`, an int or two equal ones, and returns the int.

  Raises:
    InputError: it is no such number, or not a square.
  """
  if not isinstance(image_size, tuple):
    check("image_size", image_size, Side)
    return int(image_size)
  check("image_size", image_size, tuple[Side, ...])
  if len(image_size) != 2 or image_size[0] != image_size[1]:
    raise InputError(
      f"image_size={image_size}: expected one number or two equal ones, such "
      "as 256, because image pyramids and rotations need a square",
      "image_size",
    )
  return int(image_size[0])


def check_memory(n: int, image_size: int, channels: int = 3) -> None:
  """Refuses a decoded set that the memory cannot hold.

  Args:
    n: number of images.
    image_size: side of an image in pixels.
    channels: bytes of a pixel.

  Raises:
    InputError: the images would take more than three quarters of the memory.
  """
  memory = _memory()
  need = n * image_size**2 * channels
  if need > _SHARE * memory:
    fits = math.isqrt(int(_SHARE * memory) // (n * channels))
    raise InputError(
      f"image_size={image_size}: {n} images of this size take {need / 1e9:.2f} "
      f"GB, and the memory has {memory / 1e9:.2f}; expected {fits} or less",
      "image_size",
    )


def _memory():
  """Bytes of the machine, or of its container; infinite where not known."""
  sizes = [math.inf]
  if hasattr(os, "sysconf"):
    sizes.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
  for path in ("memory.max", "memory/memory.limit_in_bytes"):
    # No control groups, or "max", no limit.
    with contextlib.suppress(OSError, ValueError):
      sizes.append(int(pathlib.Path("/sys/fs/cgroup", path).read_text()))
  return min(sizes)


def decode(source: pathlib.Path | str | bytes, image_size: int) -> np.ndarray:
  """Reads an image as RGB and resizes it to a square.

  Grey, 1-bit, palette, CMYK and 16-bit grey images become 8-bit RGB; 16 bits
  are scaled by 1/257, with rounding. (Pillow itself reads 16-bit RGB as 8-bit.)
  Transparency is dropped, not blended. The orientation of the EXIF data is
  applied. The resize is Pillow's antialiased bilinear one; the aspect ratio is
  not kept.

  Args:
    source: a path, or the bytes of an image file.
    image_size: side of the result in pixels.

  Returns:
    uint8 [image_size, image_size, 3].

  Raises:
    InputError: the image is unreadable; the message does not name it where
      `source` is bytes.
  """
  image = _open(source, "RGB")
  if image.mode != "RGB":
    values = (np.asarray(image).astype(np.uint32) + 128) // 257
    image = Image.fromarray(values.astype(np.uint8)).convert("RGB")
  size = (image_size, image_size)
  return np.asarray(image.resize(size, Image.Resampling.BILINEAR))


def decode_mask(
  source: pathlib.Path | str | bytes, image_size: int
) -> np.ndarray:
  """Reads a mask: 1 where its grey value exceeds 127, or is 1 of {0, 1}.

  Args:
    source: a path, or the bytes of an image file of any mode.
    image_size: side of the result in pixels; the resize is nearest-neighbour.

  Returns:
    uint8 [image_size, image_size] of 0 and 1.

  Raises:
    InputError: the mask is unreadable.
  """
  values = np.asarray(_open(source, "L"))
  top = values.max(initial=0)
  # A 16-bit file may hold 8-bit values.
  threshold = 0 if top <= 1 else 127 if top <= 255 else 127 * 257
  mask = Image.fromarray((values > threshold).astype(np.uint8))
  size = (image_size, image_size)
  return np.asarray(mask.resize(size, Image.Resampling.NEAREST))


def _open(source, mode):
  """A loaded, upright image of `mode`, or one of 16-bit grey."""
  try:
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    with Image.open(file) as opened:
      image = ImageOps.exif_transpose(opened)
    # Pillow would warn of it, or blend it in.
    image.info.pop("transparency", None)
    if image.mode != mode and not _is_deep(image):
      image = image.convert(mode)
  except MemoryError:
    raise
  except Exception as error:  # Pillow's readers raise nearly anything.
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, Image.UnidentifiedImageError):
      reason = "empty file" if _is_empty(source) else "not an image file"
    raise InputError(_where(source) + reason) from None
  if _is_deep(image):
    low, high = np.asarray(image).min(), np.asarray(image).max()
    if image.mode == "F" or low < 0 or high > 65535:
      raise InputError(
        f"{_where(source)}pixels of mode {image.mode!r} from {low} to {high}; "
        "expected 8 or 16 bits a channel"
      )
  return image


def _is_deep(image):
  """Whether the pixels are grey of more than 8 bits."""
  return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _where(source):
  return "" if isinstance(source, bytes) else f"{source}: "


def _is_empty(source):
  if isinstance(source, bytes):
    return not source
  return pathlib.Path(source).stat().st_size == 0


def read(items: Sequence[Item], image_size: int, unreadable: str) -> Dataset:
  """Decodes all items, in parallel, and sorts them by split and id.

  Args:
    items: in any order.
    image_size: side of the decoded images in pixels.
    unreadable: "error", or "skip" to go on without the images that cannot be
      read, with one line on stderr. An unreadable mask is always an error: to
      go on without it would falsify the pixel measures.

  Returns:
    The data set; `mask` of a split is None where none of its items has one.

  Raises:
    InputError: an image or a mask is unreadable, and the first one is named;
      nothing is left to train on, or of the test; or the memory cannot hold
      the images.
  """
  items = sorted(items, key=lambda item: (item.split, item.id))
  masked = any(item.mask is not None for item in items)
  check_memory(len(items), image_size, 4 if masked else 3)
  shape = (len(items), image_size, image_size)
  x = np.empty((*shape, 3), np.uint8)
  masks = np.zeros(shape if masked else (0, 0, 0), np.uint8)

  def fill(row):
    """What is wrong with the image of a row, and with its mask."""
    item = items[row]
    try:
      x[row] = decode(item.image, image_size)
    except InputError as error:
      return error, None
    try:
      if item.mask is not None:
        masks[row] = decode_mask(item.mask, image_size)
    except InputError as error:
      return None, error
    return None, None

  skipped = set()
  # Pillow decodes outside of Python's lock.
  threads = min(_THREADS, os.cpu_count() or 1)
  with (
    concurrent.futures.ThreadPoolExecutor(threads) as pool,
    contextlib.closing(pool.map(fill, range(len(items)))) as problems,
  ):
    for row, (image_error, mask_error) in enumerate(problems):
      name = items[row].id
      if mask_error:
        raise InputError(
          f"the mask of {name} is unreadable ({mask_error}); replace it, or "
          "move the folder of masks away to go without"
        )
      if image_error and unreadable == "error":
        raise InputError(
          f"image {name} is unreadable ({image_error}); replace it, or go on "
          "without with unreadable=skip"
        )
      if image_error:
        skipped.add(row)
  rows = [row for row in range(len(items)) if row not in skipped]
  kept = [items[row] for row in rows]
  if skipped:
    _tell_skipped([items[row].id for row in sorted(skipped)], len(items))
    for array in (x, masks)[: 1 + masked]:
      # Within the array: there may be no memory for another.
      for target, source in enumerate(rows):
        array[target] = array[source]
  _check_left(items, kept)
  # "test" sorts before "train".
  cut = sum(item.split == "test" for item in kept)
  train = _examples(kept, x, masks, slice(cut, len(kept)))
  return Dataset(train, _examples(kept, x, masks, slice(cut)))


def _tell_skipped(names, n):
  shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
  print(
    f"jaxad: skipped {len(names)} unreadable of {n} images: {shown}",
    file=sys.stderr,
  )


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


def _examples(items, x, masks, rows):
  items = items[rows]
  return Examples(
    x=x[rows],
    label=np.array([item.label for item in items], np.int32),
    id=tuple(item.id for item in items),
    kind=tuple(item.kind for item in items),
    mask=masks[rows] if any(item.mask is not None for item in items) else None,
  )
