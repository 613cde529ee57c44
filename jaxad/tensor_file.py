# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Named arrays in one file of the safetensors format, read by NumPy alone.

The file is the length of a header, 8 bytes, little endian; the header, JSON
that names each array with its dtype, shape and place; and the arrays' bytes.
"""

import hashlib
import json
import math

import numpy as np

from jaxad import foreign
from jaxad.errors import InputError

DTYPES = {
  "BOOL": np.bool_,
  "U8": np.uint8,
  "I8": np.int8,
  "U16": np.uint16,
  "I16": np.int16,
  "U32": np.uint32,
  "I32": np.int32,
  "U64": np.uint64,
  "I64": np.int64,
  "F16": np.float16,
  "F32": np.float32,
  "F64": np.float64,
}
METADATA = "__metadata__"


def canonical(value) -> bytes:
  """Plain values as JSON that is the same wherever they are equal."""
  text = json.dumps(
    value, sort_keys=True, separators=(",", ":"), allow_nan=False
  )
  return text.encode("ascii")


def sha256(*parts: bytes | memoryview | np.ndarray) -> str:
  """The SHA-256 of these bytes end to end, 64 hexadecimal digits."""
  found = hashlib.sha256()
  for part in parts:
    found.update(part)
  return found.hexdigest()


def packed(arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> bytes:
  """The content of a file."""
  import safetensors.numpy

  whole = {name: np.asarray(v, order="C") for name, v in arrays.items()}
  return safetensors.numpy.save(whole, metadata)


def divided(blob: bytes) -> tuple[dict, memoryview]:
  """The content of a file to its header and the bytes behind that.

  Raises:
    ValueError: it has no header.
  """
  length = int.from_bytes(blob[:8], "little")
  if not 0 < length <= len(blob) - 8:
    raise ValueError("it is cut off, or no file of this kind")
  header = foreign.parse_json(blob[8 : 8 + length])
  if not isinstance(header, dict):
    raise ValueError("its header is damaged")
  return header, memoryview(blob)[8 + length :]


def unpacked(blob: bytes, name) -> tuple[dict[str, np.ndarray], dict]:
  """The inverse of `packed`; arrays share the memory of `blob`.

  Args:
    blob: the content of a file.
    name: of the file, for the message.

  Raises:
    InputError: it is no such file, or a damaged one.
  """
  try:
    header, data = divided(blob)
    metadata = header.pop(METADATA, {})
    return {key: _array(entry, data) for key, entry in header.items()}, metadata
  except (ValueError, LookupError, TypeError, RecursionError) as error:
    raise InputError(
      f"{name}: it cannot be read ({error}); take a whole copy of it."
    ) from error


def _array(entry, data):
  dtype, shape = np.dtype(DTYPES[entry["dtype"]]), entry["shape"]
  begin, end = entry["data_offsets"]
  if not all(type(n) is int and n >= 0 for n in (*shape, begin, end)):
    raise ValueError("its header is damaged")
  if end > len(data) or end - begin != math.prod(shape) * dtype.itemsize:
    raise ValueError("its arrays are cut off")
  return np.frombuffer(data[begin:end], dtype).reshape(shape)
