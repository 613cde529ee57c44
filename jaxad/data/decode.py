# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""From image files to arrays of their own size, and from masks to defects."""

import io
import itertools
import math
import os
import pathlib
import warnings
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps
from scipy import ndimage

from jaxad import foreign
from jaxad.errors import InputError

# Pillow's readers of these alone: others, of PostScript, run programs.
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")

Source = pathlib.Path | str | bytes

# Pillow warns of images that are refused here, see `_most_pixels`.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

_TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)


class _TooLarge(Exception):
  """An image has more pixels than these."""


# Pixels that are copied at once, out of Pillow's memory into an array: copies
# of all of a large image would take several times its size.
_PART = 2**20


def is_image(path: pathlib.Path) -> bool:
  """Whether the name is that of an image file, and not a hidden one."""
  return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


class Header(NamedTuple):
  """What a file says of its image before it is decoded.

  Attributes:
    size: (h, w) in pixels, upright.
    deep: whether its grey values may have more than 8 bits.
  """

  size: tuple[int, int]
  deep: bool


def read_header(source: Source) -> Header:
  """Reads the header of an image file.

  Raises:
    InputError: it has none.
  """
  with _Reading(source, whole=False) as opened:
    width, height = opened.size
    # Orientations 5 to 8 lie on their side.
    if opened.getexif().get(0x0112, 1) >= 5:
      width, height = height, width
    return Header((height, width), _is_deep(opened))


def decode(source: Source) -> np.ndarray:
  """Reads an image, upright.

  Grey, 1-bit, palette and CMYK images become RGB. (Pillow itself reads 16-bit
  RGB as 8-bit.) Transparency is dropped, not blended.

  Args:
    source: a path, or the bytes of an image file.

  Returns:
    uint8 [h, w, 3]; or [h, w], as it is, of grey values of more than 8 bits.

  Raises:
    InputError: the image is unreadable, or has values that are no numbers; the
      message does not name it where `source` is bytes.
  """
  with _Reading(source, whole=True) as opened:
    _check_whole(opened)
    values = _pixels(opened, None if _is_deep(opened) else "RGB")
  if values.dtype.kind == "f" and not np.isfinite(values).all():
    raise InputError(f"{_where(source)}pixels that are not finite numbers")
  return values


# JPEG blurs what is drawn, so small values beside a defect are no part of it.
_LOSSY = ("JPEG", "WEBP")


def decode_mask(source: Source, threshold: float | None = None) -> np.ndarray:
  """Reads a mask: whatever is not black is a defect.

  Labelling tools write 255, 1, or the number of a class.

  Args:
    source: a path, or the bytes of an image file of any mode.
    threshold: what the largest channel of a pixel must exceed; None is 0, and
      for JPEG and WebP, which blur edges, half of 255.

  Returns:
    bool [h, w].

  Raises:
    InputError: the mask is unreadable.
  """
  with _Reading(source, whole=True) as opened:
    lossy = opened.format in _LOSSY
    plain = _is_deep(opened) or opened.mode in ("L", "1")
    if plain:
      values = _pixels(opened, None)
    else:
      values = _pixels(opened, "RGB", _brightest)
  if values.dtype == bool:
    return values
  if threshold is None:
    threshold = 127 if lossy else 0
  return values > threshold


def defects_at(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """A mask at another size, by its nearest pixels, without losing a defect.

  A region that falls between them all keeps the pixels that it touches: else
  figures would count its place as normal.

  Args:
    mask: bool [h, w].
    size: (H, W).

  Returns:
    uint8 [H, W] of 0 and 1.
  """
  if not mask.any():
    return np.zeros(size, np.uint8)
  # Which pixel becomes which, by Pillow's own rounding.
  numbers = np.arange(mask.size, dtype=np.int32).reshape(mask.shape)
  picked = Image.fromarray(numbers).resize(size[::-1], Image.Resampling.NEAREST)
  picked = np.asarray(picked)
  found = np.uint8(mask.ravel()[picked])
  if picked.size < mask.size:
    regions, count = ndimage.label(mask, np.ones((3, 3)))
    lost = np.ones(count + 1, bool)
    lost[regions.ravel()[picked]] = False
    y, x = np.nonzero(mask & lost[regions])
    found[y * size[0] // mask.shape[0], x * size[1] // mask.shape[1]] = 1
  return found


def _pixels(opened, mode, of=lambda part: part):
  """A function of the image upright and in a mode; None is its own."""
  ImageOps.exif_transpose(opened, in_place=True)
  # Pillow would warn of it, or blend it in.
  opened.info.pop("transparency", None)
  w, h = opened.size
  rows, columns = max(1, _PART // w), min(w, _PART)
  found = None
  for y, x in itertools.product(range(0, h, rows), range(0, w, columns)):
    part = opened.crop((x, y, min(x + columns, w), min(y + rows, h)))
    part = of(np.asarray(part if mode is None else part.convert(mode)))
    if found is None:
      found = np.empty((h, w, *part.shape[2:]), part.dtype)
    found[y : y + rows, x : x + columns] = part
  return found


def _brightest(rgb):
  """The largest channel; a `max` over the last axis takes ten times as long."""
  return np.maximum(np.maximum(rgb[..., 0], rgb[..., 1]), rgb[..., 2])


def _most_pixels():
  """Of an image: Pillow's limit, or that which the environment sets."""
  text = os.environ.get("JAXAD_MEGAPIXELS")
  if text is not None:
    try:
      Image.MAX_IMAGE_PIXELS = int(1e6 * float(text))
      if Image.MAX_IMAGE_PIXELS <= 0:
        raise ValueError
    except (ValueError, OverflowError) as error:
      raise InputError(
        f"JAXAD_MEGAPIXELS={text}: expected a number, such as 500."
      ) from error
  return Image.MAX_IMAGE_PIXELS or math.inf


def _check_whole(opened):
  """Whether Pillow would read all there is of an image.

  Raises:
    InputError: it would take the upper 8 of 16 bits, or one of many pages.
  """
  raw = [str(tile[3]) for tile in opened.tile]
  if not _is_deep(opened) and any(";16" in mode for mode in raw):
    raise InputError(
      "colour, or grey with alpha, of 16 bits a channel; save it with 8 bits, "
      "or as grey without alpha"
    )
  if opened.format == "TIFF" and opened.n_frames > 1:
    size, pages = opened.size, opened.n_frames
    opened.seek(1)
    alike = opened.size == size  # else it is a thumbnail
    opened.seek(0)
    if alike:
      raise InputError(f"{pages} pages; save each as a file of its own")


class _Reading:
  """Opens an image; what Pillow raises in the block is an `InputError`.

  Args:
    source: of the image.
    whole: whether all of the file will be read: then it is at once, since
      Pillow makes room for whatever length a damaged file claims of a part.
  """

  def __init__(self, source, whole):
    self._source, self._whole = source, whole

  def __enter__(self):
    source, most = self._source, _most_pixels()
    try:
      if isinstance(source, bytes):
        file = io.BytesIO(source)
      elif self._whole:
        file = io.BytesIO(foreign.read_bytes(source))
      else:
        foreign.check_plain(source)
        file = source
      self._image = Image.open(file, formats=FORMATS)
      # WebP is unpacked as a whole, and then copied twice.
      if self._image.format == "WEBP":
        most /= 2
      if math.prod(self._image.size) > most:
        raise _TooLarge(most)
    except Exception as error:  # Pillow's readers raise nearly anything.
      self._raise(error)
    return self._image

  def __exit__(self, kind, error, trace):
    self._image.close()
    if isinstance(error, Exception):
      self._raise(error)

  def _raise(self, error):
    if isinstance(error, MemoryError) and self._whole:
      raise error
    reason = foreign.reason(error)
    if isinstance(error, Image.UnidentifiedImageError):
      reason = "empty file" if _is_empty(self._source) else "not an image file"
    elif isinstance(error, (_TooLarge, *_TOO_LARGE)):
      most = error.args[0] if isinstance(error, _TooLarge) else _most_pixels()
      reason = (
        f"more than {most / 1e6:.0f} megapixels; cut it into smaller images, "
        "or raise "
        "the environment variable JAXAD_MEGAPIXELS"
      )
    elif isinstance(error, OSError) and error.strerror:
      reason = error.strerror
    raise InputError(_where(self._source) + reason) from None


def _is_deep(image):
  """Whether the pixels are grey of more than 8 bits."""
  return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _where(source):
  return "" if isinstance(source, bytes) else f"{source}: "


def _is_empty(source):
  if isinstance(source, bytes):
    return not source
  return pathlib.Path(source).stat().st_size == 0
