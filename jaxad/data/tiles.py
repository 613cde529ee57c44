# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Parts of files that read like image files of their own: tiles and arrays.

A `Tile` or an `Array` stands where an `Item` has the path of an image, until
its bytes go into the records of a prepared set.
"""

import dataclasses
import functools
import io
import os
import pathlib

import numpy as np
from PIL import Image

from jaxad import named_arrays
from jaxad.data.decode import FORMATS
from jaxad.errors import InputError


@dataclasses.dataclass(frozen=True)
class Tile:
  """A part of an image file; reads like a file that holds it as PNG.

  Attributes:
    path: the file.
    box: (left, top, right, bottom) in pixels.
  """

  path: pathlib.Path
  box: tuple[int, int, int, int]

  def read_bytes(self) -> bytes:
    return _png(_opened(self.path).crop(self.box))

  def stat(self) -> os.stat_result:
    return self.path.stat()


@dataclasses.dataclass(frozen=True)
class Array:
  """An .npy file; reads like a PNG of its first three channels.

  Attributes:
    path: of an array [H, W, 3 or more] of 0 to 255.
  """

  path: pathlib.Path

  def read_bytes(self) -> bytes:
    try:
      values = named_arrays.read(self.path)[""]
    except (OSError, ValueError) as error:
      raise unreadable(self.path, error) from None
    if (
      values.ndim != 3 or values.shape[2] < 3 or values.dtype.kind not in "uif"
    ):
      raise InputError(
        f"{self.path} holds {values.dtype} {list(values.shape)}; expected an "
        "array [H, W, 3 or more] of 0 to 255: get it again"
      )
    return _png(Image.fromarray(values[..., :3].astype(np.uint8)))

  def stat(self) -> os.stat_result:
    return self.path.stat()


def mask_of(path: pathlib.Path, image: pathlib.Path) -> np.ndarray:
  """Whether a pixel of the mask of an image is not black, bool [H, W].

  Raises:
    InputError: no such file, an unreadable one, or of another size.
  """
  if not path.is_file():
    raise InputError(
      f"{image} has no mask; expected {path}: get the complete data set"
    )
  mask = np.asarray(_opened(path).convert("L")) > 0
  width, height = size_of(image)
  if mask.shape != (height, width):
    raise InputError(
      f"{path} is of {mask.shape[1]} x {mask.shape[0]} pixels, its image of "
      f"{width} x {height}; expected the same: get them again"
    )
  return mask


def size_of(path: pathlib.Path) -> tuple[int, int]:
  """(width, height) of an image, without decoding it.

  Raises:
    InputError: no such file, or no image.
  """
  try:
    with Image.open(path, formats=FORMATS) as image:
      return image.size
  except Exception as error:  # Pillow's readers raise nearly anything.
    raise unreadable(path, error) from None


def _opened(path):
  """The decoded image."""
  if not path.is_file():
    raise InputError(f"{path} is missing; get the complete data set")
  return _decoded(path, path.stat().st_mtime_ns)


# The tiles of an image follow each other.
@functools.lru_cache(maxsize=1)
def _decoded(path, changed):
  del changed  # Part of the key: a file may be replaced.
  try:
    with Image.open(path, formats=FORMATS) as image:
      image.load()
      return image
  except Exception as error:  # Pillow's readers raise nearly anything.
    raise unreadable(path, error) from None


def unreadable(path: pathlib.Path, error: Exception) -> InputError:
  """The error to raise for a file that cannot be read."""
  reason = getattr(error, "strerror", None) or " ".join(str(error).split())
  return InputError(f"{path} cannot be read ({reason}); get it again")


def _png(image):
  file = io.BytesIO()
  image.save(file, "png", compress_level=1)
  return file.getvalue()


def mask_png(mask: np.ndarray) -> bytes:
  """A bool mask [H, W] as a PNG of 0 and 255."""
  return _png(Image.fromarray(mask.astype(np.uint8) * np.uint8(255)))
