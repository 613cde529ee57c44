# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Arrays of numbers in MATLAB files of versions 4 to 7.

SciPy's reader trusts the file: one byte may end the process. A file is a header
of 128 bytes and elements, each a type, a size and so many bytes, in which an
array is again such elements: flags, shape, name and numbers. Version 4 has no
header, and a matrix is five numbers, a name and its own numbers.
"""

import math
import zlib

import numpy as np

from jaxad import foreign

# NumPy's name of the types of elements that hold numbers; and two others.
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4"}
_TYPES |= {7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_MATRIX, _COMPRESSED = 14, 15

# Classes of arrays, from double to uint64, and a bit of their flags.
_REAL, _COMPLEX = range(6, 16), 0x800

_TYPES_4 = ("f8", "f4", "i4", "i2", "u2", "u1")


def read(blob: bytes) -> dict[str, np.ndarray]:
  """The real, full arrays of numbers in a file, by name.

  They have the dtype in which they are stored, and any order of axes and bytes;
  texts, cells, structures, and sparse or complex arrays are left out.

  Raises:
    ValueError: it is no such file, or a damaged one.
  """
  if len(blob) < 20:
    raise ValueError("it is cut short")
  if not all(blob[:4]):
    return _version_4(memoryview(blob))
  order = {b"IM": "<", b"MI": ">"}.get(blob[126:128])
  if order is None:
    raise ValueError("it does not begin like a MATLAB file")
  if blob[124:126] in (b"\0\2", b"\2\0"):
    raise ValueError("version 7.3; save it with -v7, or as .npz, to read it")
  found, unpacked = {}, 0
  for kind, data in _elements(memoryview(blob)[128:], order):
    if kind == _COMPRESSED:
      data = _unpacked(data, len(blob), unpacked)
      unpacked += len(data)
      ((kind, data),) = _elements(data, order, 1)
    if kind == _MATRIX:
      found |= _array(data, order)
  return found


def _elements(data, order, most=math.inf):
  """(type, bytes) of the elements that follow each other, so many of them."""
  found, at = [], 0
  while at < len(data) and len(found) < most:
    if len(data) - at < 8:
      raise ValueError("it is cut short")
    kind, size = np.frombuffer(data[at : at + 8], f"{order}u4").tolist()
    at += 8
    if kind >> 16:  # a small one, with its bytes in place of the size
      kind, size, at = kind & 0xFFFF, kind >> 16, at - 4
    if size > len(data) - at:
      raise ValueError("it is cut short")
    found.append((kind, data[at : at + size]))
    at += size
    if kind != _COMPRESSED:
      at += -at % 8
  return found


def _unpacked(data, packed, before):
  unpack = zlib.decompressobj()
  try:
    room = max(foreign.SMALL, foreign.RATIO * packed) - before
    found = unpack.decompress(data, max(room, 0) + 1)
  except zlib.error as error:
    raise ValueError(foreign.reason(error)) from error
  foreign.check_unpacked(before + len(found), packed)
  return memoryview(found)


def _array(data, order):
  """{name: array}, or {} for what is none of numbers."""
  (_, flags), *more = _elements(data, order, 4)
  flags = int.from_bytes(flags[:4], {"<": "little", ">": "big"}[order])
  if flags & 0xFF not in _REAL or flags & _COMPLEX:
    return {}
  if len(more) < 3:
    raise ValueError("an array without numbers")
  (_, shape), (_, name), (kind, numbers) = more
  if kind not in _TYPES or len(shape) % 4:
    raise ValueError(f"an array of numbers of type {kind}")
  shape = np.frombuffer(shape, f"{order}i4").tolist()
  return {_name(name): _full(numbers, order + _TYPES[kind], shape)}


def _full(data, dtype, shape):
  """Numbers column by column to an array."""
  dtype = np.dtype(dtype)
  if min(shape, default=0) < 0 or len(shape) > 32:
    raise ValueError(f"an array of shape {shape}")
  if len(data) != math.prod(shape) * dtype.itemsize:
    raise ValueError(f"{len(data)} bytes for {dtype} of shape {shape}")
  return np.frombuffer(data, dtype).reshape(shape, order="F")


def _name(data):
  return bytes(data).rstrip(b"\0").decode("latin1")


def _version_4(data):
  found, at = {}, 0
  # The first number is below 5000 in the right order.
  order = "<" if int.from_bytes(data[:4], "little") < 5000 else ">"
  while at < len(data):
    head = np.frombuffer(data[at : at + 20], f"{order}i4").tolist()
    if len(head) < 5:
      raise ValueError("it is cut short")
    layout, rows, columns, is_complex, length = head
    digits = f"{layout:04d}"
    if len(digits) != 4 or digits[:2] not in ("00", "10") or digits[2] > "5":
      raise ValueError("it does not begin like a MATLAB file")
    dtype = np.dtype(order + _TYPES_4[int(digits[2])])
    begin = at + 20 + length
    if min(rows, columns, length) < 0:
      raise ValueError("a matrix of negative size")
    end = begin + rows * columns * dtype.itemsize * (2 if is_complex else 1)
    if end > len(data):
      raise ValueError("it is cut short")
    if digits[3] == "0" and not is_complex:
      name = _name(data[at + 20 : begin])
      found[name] = _full(data[begin:end], dtype, [rows, columns])
    at = end
  return found
