# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Files of named arrays that others wrote: NumPy's .npz and .npy, and MATLAB's.

Neither NumPy's reader nor SciPy's is given a file as it comes: the one makes
room for whatever a header says, and both unpack without an end. Here nothing is
made that the bytes of the file do not fill.
"""

import io
import math
import pathlib
import zipfile
import zlib
from collections.abc import Collection

import numpy as np

from jaxad import foreign

_COMPRESSED = 15  # MATLAB's number of an element that is packed

# Classes of MATLAB that are arrays of numbers.
_NUMBERS = ("double", "single", "logical", "int8", "uint8", "int16", "uint16")
_NUMBERS += ("int32", "uint32", "int64", "uint64")


def read(
  path: pathlib.Path, names: Collection[str] | None = None
) -> dict[str, np.ndarray]:
  """Reads the arrays of a file, of which no pickle is run.

  Args:
    path: of a file .npz, .npy (whose array is named "") or .mat.
    names: those that are wanted; None for all. Of MATLAB files only arrays of
      numbers are.

  Returns:
    {name: array in the byte order of the machine, possibly read-only}.

  Raises:
    ValueError: it is no such file, a damaged one, or unpacks to far more than
      its size; the message is one line.
    OSError: the file cannot be read.
  """
  suffix = path.suffix.lower()
  blob = foreign.read_bytes(path)
  try:
    if suffix == ".mat":
      return _matlab(blob, names)
    if suffix == ".npy":
      return {"": _npy(memoryview(blob))}
    return _npz(blob, names)
  except (MemoryError, ValueError):
    raise
  # Readers of damaged bytes raise nearly anything.
  except Exception as error:
    raise ValueError(foreign.reason(error)) from error


def _npz(blob, names):
  with zipfile.ZipFile(io.BytesIO(blob)) as archive:
    found = {}
    for entry in archive.infolist():
      name = entry.filename.removesuffix(".npy")
      if names is None or name in names:
        found[name] = entry
    foreign.check_unpacked(sum(e.file_size for e in found.values()), len(blob))
    return {
      name: _npy(memoryview(archive.read(entry)))
      for name, entry in found.items()
    }


def _npy(blob):
  """The array of an .npy file, as a view of its bytes where it can be."""
  file = io.BytesIO(blob[: 2**16])  # a header is short
  first = np.lib.format.read_magic(file) == (1, 0)
  read_header = (
    np.lib.format.read_array_header_1_0
    if first
    else np.lib.format.read_array_header_2_0
  )
  shape, in_columns, dtype = read_header(file)
  data = blob[file.tell() :]
  if dtype.hasobject or min(shape, default=0) < 0:
    raise ValueError(f"an array of {dtype} and shape {shape}")
  if len(data) != math.prod(shape) * dtype.itemsize:
    raise ValueError(f"{len(data)} bytes for {dtype} of shape {shape}")
  array = np.frombuffer(data, dtype)
  array = array.reshape(shape[::-1]).T if in_columns else array.reshape(shape)
  return array.astype(dtype.newbyteorder("="), copy=False)


def _matlab(blob, names):
  from scipy import io as of_matlab

  file = io.BytesIO(_unpacked(blob))
  size = len(file.getbuffer())
  try:
    there = of_matlab.whosmat(file)
  except NotImplementedError as error:
    raise ValueError(
      "version 7.3; save it with -v7, or as .npz, to have it read"
    ) from error
  wanted = [
    name
    for name, shape, kind in there
    # Each number takes a byte at least.
    if kind in _NUMBERS and (names is None or name in names)
    if min(shape, default=0) >= 0 and math.prod(shape) <= size
  ]
  file.seek(0)
  found = of_matlab.loadmat(file, variable_names=wanted)
  arrays = {k: v for k, v in found.items() if isinstance(v, np.ndarray)}
  return {
    name: array.astype(array.dtype.newbyteorder("="), copy=False)
    for name, array in arrays.items()
  }


def _unpacked(blob):
  """A MATLAB file with its elements unpacked, in bounded memory."""
  order = {b"IM": "little", b"MI": "big"}.get(blob[126:128])
  if order is None:  # of version 4, which packs nothing
    return blob
  number = lambda at: int.from_bytes(blob[at : at + 4], order)
  parts, at, size = [blob[:128]], 128, 0
  while at < len(blob):
    end = at + 8 + number(at + 4)
    part = blob[at:end]
    if number(at) == _COMPRESSED:
      unpack = zlib.decompressobj()
      room = max(foreign.SMALL, foreign.RATIO * len(blob)) - size
      part = unpack.decompress(part[8:], max(room, 0) + 1)
      size += len(part)
      foreign.check_unpacked(size, len(blob))
    parts.append(part)
    at = end
  return b"".join(parts)
