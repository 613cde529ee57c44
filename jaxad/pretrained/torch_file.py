# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Reads a PyTorch state dict without PyTorch and without running its pickle.

`torch.save` writes one of two formats, both read here:

zip (since 1.6)   <name>/data.pkl, a pickle whose tensors refer to storages;
                  <name>/data/<key>, the bytes of each storage;
                  <name>/byteorder, "little" or "big", may be missing
legacy            five pickles in a row: a magic number, the protocol version,
                  system information, the object, the list of storage keys;
                  then for each key an int64 number of elements and the bytes

A pickle is a program that may call whatever it can name. This reader knows the
few names that a state dict needs, and builds records from them; any other name
is refused.
"""

import collections
import io
import os
import struct
import zipfile
from typing import NamedTuple

import ml_dtypes
import numpy as np

from jaxad import unpickler
from jaxad.errors import InputError

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001

_STORAGES = {
  "DoubleStorage": np.dtype("<f8"),
  "FloatStorage": np.dtype("<f4"),
  "HalfStorage": np.dtype("<f2"),
  "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
  "LongStorage": np.dtype("<i8"),
  "IntStorage": np.dtype("<i4"),
  "ShortStorage": np.dtype("<i2"),
  "CharStorage": np.dtype("i1"),
  "ByteStorage": np.dtype("u1"),
  "BoolStorage": np.dtype("?"),
}

_STATE_DICT_KEYS = ("state_dict", "model")


class _Storage(NamedTuple):
  """A stretch of `numel` elements from `start` on in the storage `key`."""

  dtype: np.dtype
  key: str
  start: int
  numel: int


class _Tensor(NamedTuple):
  """A view of a storage; offset and strides count elements."""

  storage: _Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]


class _Damaged(Exception):
  """What is wrong with the file; `read_torch_file` adds the path."""


class _Forbidden(Exception):
  """The name of a global that no state dict needs."""


class _Unpickler(unpickler.Unpickler):
  """An unpickler to which nothing but tensors has a name.

  Attributes:
    storages: (dtype, number of elements) of all that the pickle refers to.
  """

  def __init__(self, file):
    super().__init__(file)
    self.storages = {}

  def find_class(self, module, name):
    # Fresh lambdas and plain strings, because a pickle may also set attributes
    # on what it gets: this file's own functions stay out of its reach.
    if module == "torch" and name in _STORAGES:
      return name
    if module == "torch._utils":
      if name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
        return lambda storage, offset, shape, strides, *_: _tensor(
          storage, offset, shape, strides
        )
      if name == "_rebuild_parameter":
        return lambda tensor, *_: tensor
    if (module, name) == ("torch", "Size"):
      return tuple
    if (module, name) == ("collections", "OrderedDict"):
      return lambda items=(): _ordered(items)
    raise _Forbidden(f"{module}.{name}")

  def persistent_load(self, pid):
    """('storage', type, key, location, numel[, view]) to a `_Storage`."""
    if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
      raise _Damaged("a reference to something other than a storage")
    _, kind, key, _, numel, *view = pid
    if kind not in _STORAGES or not isinstance(key, str) or not _is_size(numel):
      raise _Damaged("a malformed reference to a storage")
    self.storages[key] = _STORAGES[kind], numel
    start = 0
    if view and view[0] is not None:
      _, start, count = view[0]
      if not _is_size(start) or not _is_size(count) or start + count > numel:
        raise _Damaged(f"a view outside of storage {key}")
      numel = count
    return _Storage(_STORAGES[kind], key, start, numel)


def _ordered(items):
  items = list(items)  # as Python 2 wrote them
  unpickler.check_keys(key for key, _ in items)
  return collections.OrderedDict(items)


def _is_size(value):
  return type(value) is int and value >= 0


def _tensor(storage, offset, shape, strides):
  shape, strides = tuple(shape), tuple(strides)
  if (
    not isinstance(storage, _Storage)
    or len(shape) != len(strides)
    or not all(_is_size(n) for n in (offset, *shape, *strides))
  ):
    raise _Damaged("a malformed tensor")
  last = offset + sum(
    (n - 1) * stride for n, stride in zip(shape, strides, strict=True)
  )
  if 0 not in shape and last >= storage.numel:
    raise _Damaged(
      f"a tensor that reaches beyond the {storage.numel} elements of storage "
      f"{storage.key}"
    )
  return _Tensor(storage, offset, shape, strides)


def read_torch_file(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Reads the tensors of a file that `torch.save(model.state_dict())` wrote.

  Args:
    path: the file. A dictionary that holds the state dict under "state_dict" or
      "model" will do too.

  Returns:
    Tensors by name, as read-only views of the storages that they share in the
    file. What is not a tensor is left out.

  Raises:
    InputError: not such a file, truncated, damaged, or with a pickle that names
      anything but tensors.
    OSError: the file cannot be read.
  """
  try:
    with open(path, "rb") as file:
      is_zip = file.read(4) == b"PK\x03\x04"
      file.seek(0)
      state, storages = _read_zip(file) if is_zip else _read_legacy(file)
    return {
      name: _view(tensor, storages[tensor.storage.key])
      for name, tensor in state.items()
    }
  except _Forbidden as error:
    raise InputError(
      f"weights={path}: the pickle in it names {error}, which a state dict "
      "does not need, and was not run; save the state dict alone with "
      "torch.save(model.state_dict(), path)",
      "weights",
    ) from None
  except _Damaged as error:
    raise InputError(
      f"weights={path}: not a PyTorch state dict, or a damaged one "
      f"({' '.join(str(error).split())}); fetch the file again, or save it "
      "with torch.save(model.state_dict(), path)",
      "weights",
    ) from None


def _read_zip(file):
  """State dict of `_Tensor`, and the little-endian bytes of each storage."""
  try:
    with zipfile.ZipFile(file) as archive:
      names = set(archive.namelist())
      roots = [n.removesuffix("data.pkl") for n in names if _is_pickle(n)]
      if len(roots) != 1:
        raise _Damaged("the archive has no data.pkl")
      read = lambda name: _read_entry(archive, roots[0] + name)
      order = b"little"
      if roots[0] + "byteorder" in names:
        order = read("byteorder")
      pickled = _Unpickler(io.BytesIO(read("data.pkl")))
      state = _state_dict(_load(pickled))
      storages = {}
      for key in {tensor.storage.key for tensor in state.values()}:
        dtype, numel = pickled.storages[key]
        content = read(f"data/{key}")
        if len(content) != numel * dtype.itemsize:
          raise _Damaged(f"storage {key} has {len(content)} bytes")
        storages[key] = _little_endian(content, dtype, order == b"little")
  except (
    zipfile.BadZipFile,
    EOFError,
    NotImplementedError,
    OverflowError,
    ValueError,
    struct.error,
  ) as error:
    raise _Damaged(str(error) or "the archive ends early") from error
  return state, storages


def _is_pickle(name):
  return name.count("/") == 1 and name.endswith("/data.pkl")


def _read_entry(archive, name):
  try:
    entry = archive.getinfo(name)
  except KeyError:
    raise _Damaged(f"the archive has no {name}") from None
  # torch.save never compresses, so that no entry is larger than the file and
  # no small file unpacks to a huge one. Bit 0 is encryption.
  if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
    raise _Damaged(f"{name} is compressed or encrypted")
  if entry.compress_size > os.fstat(archive.fp.fileno()).st_size:
    raise _Damaged(f"{name} is larger than the file")
  return archive.read(entry)


def _read_legacy(file):
  """As `_read_zip`, from the format before PyTorch 1.6."""
  if _load(_Unpickler(file)) != MAGIC_NUMBER:
    raise _Damaged("it does not begin like one")
  if _load(_Unpickler(file)) != PROTOCOL_VERSION:
    raise _Damaged("an unknown protocol version")
  system = _load(_Unpickler(file))
  if not isinstance(system, dict):
    raise _Damaged("malformed system information")
  pickled = _Unpickler(file)
  state = _state_dict(_load(pickled))
  keys = _load(_Unpickler(file))
  if not isinstance(keys, list) or set(keys) != set(pickled.storages):
    raise _Damaged("the list of storages does not match the tensors")
  end = os.fstat(file.fileno()).st_size
  storages = {}
  little = bool(system.get("little_endian", True))
  for key in keys:
    dtype, numel = pickled.storages[key]
    stored = int.from_bytes(file.read(8), "little" if little else "big")
    size = numel * dtype.itemsize
    if stored != numel or size > end - file.tell():
      raise _Damaged(f"storage {key} is cut short or of another size")
    storages[key] = _little_endian(file.read(size), dtype, little)
  return state, storages


def _load(pickled):
  try:
    return pickled.load()
  except (_Damaged, _Forbidden, MemoryError):
    raise
  except Exception as error:
    # Damaged bytes can make an unpickler raise almost anything.
    raise _Damaged(f"unreadable pickle: {error}") from error


def _state_dict(value):
  """The tensors of a state dict, or of the one inside a checkpoint, by name."""
  if isinstance(value, dict):
    for key in _STATE_DICT_KEYS:
      if isinstance(value.get(key), dict):
        value = value[key]
        break
    tensors = {k: v for k, v in value.items() if isinstance(v, _Tensor)}
    if tensors and all(isinstance(name, str) for name in tensors):
      return tensors
  raise _Damaged("it holds no named tensors")


def _little_endian(content, dtype, is_little):
  if is_little:
    return content
  elements = np.frombuffer(content, np.uint8).reshape(-1, dtype.itemsize)
  return elements[:, ::-1].tobytes()


def _view(tensor, content):
  """The tensor as a read-only view of the bytes of its storage.

  A view, because strides of zero may spread a few bytes over a huge array.
  """
  dtype = tensor.storage.dtype
  try:
    if 0 in tensor.shape:
      return np.empty(tensor.shape, dtype)
    return np.ndarray(
      tensor.shape,
      dtype,
      content,
      (tensor.storage.start + tensor.offset) * dtype.itemsize,
      [stride * dtype.itemsize for stride in tensor.strides],
    )
  except (ValueError, OverflowError) as error:
    raise _Damaged(f"a tensor of shape {tensor.shape}") from error
