# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Files of named arrays that others wrote: NumPy's .npz and .npy, and MATLAB's.

NumPy's reader makes room for whatever a header says, and unpacks without end.
Here nothing is made that the bytes of the file do not fill.
"""

import io
import math
import pathlib
import zipfile
from collections.abc import Collection

import numpy as np

from jaxad import foreign, matlab_file


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
      found = matlab_file.read(blob)
      found = {k: v for k, v in found.items() if names is None or k in names}
    elif suffix == ".npy":
      found = {"": _npy(memoryview(blob))}
    else:
      found = _npz(blob, names)
  except MemoryError:
    raise
  # Readers of damaged bytes raise nearly anything.
  except Exception as error:
    raise ValueError(foreign.reason(error)) from error
  return {
    name: array.astype(array.dtype.newbyteorder("="), copy=False)
    for name, array in found.items()
  }


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
  return array.reshape(shape, order="F" if in_columns else "C")
