# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The file formats of MNIST and CIFAR-10: from one file to arrays."""

import gzip
import io
import math
import pathlib
import pickle
import zlib

import numpy as np

from jaxad import foreign, unpickler
from jaxad.errors import InputError


def idx(path: pathlib.Path, rank: int) -> np.ndarray:
  """The uint8 array of `rank` axes in an idx file, plain or gzipped.

  Raises:
    InputError: the file cannot be read, is another one, or is cut short.
  """
  content = _content(path)
  magic, header = 0x800 + rank, 4 + 4 * rank
  if len(content) < header or int.from_bytes(content[:4], "big") != magic:
    raise InputError(
      f"{path} is not an idx file of {rank} axes: it starts with "
      f"{content[:4].hex() or 'nothing'}, expected {magic:08x}; get it again"
    )
  axes = [int(n) for n in np.frombuffer(content, ">u4", rank, 4)]
  if len(content) - header != math.prod(axes):
    raise InputError(
      f"{path} has {len(content) - header} bytes after its header; expected "
      f"{' * '.join(map(str, axes))}: get it again"
    )
  return np.frombuffer(content, np.uint8, offset=header).reshape(axes)


def records(path: pathlib.Path, length: int) -> tuple[np.ndarray, np.ndarray]:
  """Pixels [N, length] and labels [N], uint8, of rows of label and pixels.

  Raises:
    InputError: the file cannot be read, or is cut short.
  """
  content = _content(path)
  if not content or len(content) % (1 + length):
    raise InputError(
      f"{path} has {len(content)} bytes; expected a multiple of {1 + length}: "
      "get it again"
    )
  rows = np.frombuffer(content, np.uint8).reshape(-1, 1 + length)
  return rows[:, 1:], rows[:, 0]


def pickled(path: pathlib.Path, length: int) -> tuple[np.ndarray, np.ndarray]:
  """Pixels uint8 [N, length] and labels [N] of a pickled dict.

  Nothing in the pickle is executed.

  Raises:
    InputError: the file cannot be read, or is another one.
  """
  with _opened(path) as file:
    try:
      batch = _Unpickler(file, encoding="latin1").load()
    except MemoryError:
      raise
    except Exception as error:  # Broken pickles raise nearly anything.
      said = foreign.reason(error)
      raise InputError(
        f"{path} is not a batch of CIFAR-10 ({said}); get it again"
      ) from None
  if not isinstance(batch, dict):
    batch = {}
  # Strings of Python 2, or bytes.
  x, label = (
    batch.get(key, batch.get(key.encode())) for key in ("data", "labels")
  )
  x, label = (
    v.array if isinstance(v, _Array) else np.asarray(v) for v in (x, label)
  )
  if x.dtype != np.uint8 or x.ndim != 2 or x.shape[1] != length:
    raise InputError(
      f"{path} holds {x.dtype} data {x.shape}; expected uint8 [N, {length}]: "
      "get it again"
    )
  if label.shape != x.shape[:1]:
    raise InputError(
      f"{path} holds {x.shape[0]} images and labels {label.shape}; expected "
      "as many: get it again"
    )
  return x, label


def _encode(text, encoding):
  """`codecs.encode` as pickles need it to hold bytes."""
  if encoding != "latin1":
    raise pickle.UnpicklingError(f"it encodes by {encoding!r}")
  return text.encode("latin1")


class _Dtype:
  """What a pickle says of the numbers of an array."""

  def __init__(self, name, *_):
    if name not in ("u1", "i1", "i2", "i4", "i8"):
      raise pickle.UnpicklingError(f"an array of {name!r}")
    self.dtype = np.dtype(name)

  def __setstate__(self, state):
    self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
  """An array that a pickle says; NumPy's own ends the process at a false one.

  Attributes:
    array: of integers.
  """

  array = np.empty(0)

  def __init__(self, *_):
    pass

  def __setstate__(self, state):
    *_, shape, dtype, in_columns, data = state
    if isinstance(data, str):  # of Python 2
      data = data.encode("latin1")
    array = np.frombuffer(data, dtype.dtype)
    self.array = array.reshape(shape, order="F" if in_columns else "C")


class _Unpickler(unpickler.Unpickler):
  """Makes arrays and plain values; a pickle could else run any program."""

  _ALLOWED = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("_codecs", "encode"): _encode,
  }

  def find_class(self, module, name):
    if (module, name) not in self._ALLOWED:
      return super().find_class(module, name)
    return self._ALLOWED[module, name]


def _opened(path):
  try:
    foreign.check_plain(path)
    return path.open("rb")
  except OSError as error:
    raise InputError(
      f"{path} cannot be read ({error.strerror}); get the complete data set"
    ) from None


def _content(path):
  """The bytes of a file, unpacked if it is gzipped."""
  with _opened(path) as file:
    content = file.read()
  if content[:2] != b"\x1f\x8b":
    return content
  try:
    with gzip.open(io.BytesIO(content)) as file:
      most = max(foreign.SMALL, foreign.RATIO * len(content))
      unpacked = file.read(most + 1)
    foreign.check_unpacked(len(unpacked), len(content))
    return unpacked
  except (OSError, EOFError, ValueError, zlib.error) as error:
    raise InputError(
      f"{path} is a broken gzip file ({foreign.reason(error)}); get it again"
    ) from None
