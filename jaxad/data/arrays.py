# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Arrays of examples, in memory where they are small and else in a file.

A `FileArray` is read row by row into memory of its own, and not mapped: what
has been read of a mapped file counts as memory of the process.
"""

import io
import math
import threading
import weakref

import numpy as np


class _File:
  """An open file that threads share; closed when nobody has it."""

  def __init__(self, raw: io.RawIOBase):
    self.raw, self.lock = raw, threading.Lock()
    weakref.finalize(self, raw.close)


class FileArray:
  """Rows of an array that lies in a file; `x[rows]` reads them.

  Threads may share it.

  Args:
    file: unbuffered, of the array in C order and nothing else.
    shape: of the whole array.
    dtype: of it.
    rows: which of its rows these are, in which order; None for all.
  """

  def __init__(self, file: io.RawIOBase | _File, shape, dtype, rows=None):
    self._file = file if isinstance(file, _File) else _File(file)
    self._rows = np.arange(shape[0]) if rows is None else rows
    self.dtype = np.dtype(dtype)
    self.shape = (len(self._rows), *shape[1:])

  @property
  def ndim(self) -> int:
    return len(self.shape)

  @property
  def nbytes(self) -> int:
    return math.prod(self.shape) * self.dtype.itemsize

  def __len__(self):
    return len(self._rows)

  def __getitem__(self, index) -> np.ndarray:
    """Reads rows: a number, a slice, or an array of numbers or booleans."""
    rows = self._rows[index]
    found = np.empty((*np.shape(rows), *self.shape[1:]), self.dtype)
    size = self._row_bytes
    if not found.size:
      return found
    data = memoryview(found.reshape(-1).view(np.uint8))
    for k, row in enumerate(np.ravel(rows)):
      self._read(data[k * size : (k + 1) * size], int(row) * size)
    return found

  @property
  def _row_bytes(self):
    return math.prod(self.shape[1:]) * self.dtype.itemsize

  def _read(self, data, at):
    file = self._file.raw
    with self._file.lock:
      file.seek(at)
      while len(data):
        count = file.readinto(data)
        if not count:
          raise OSError(f"{file.name} has been cut short; start again")
        data = data[count:]

  def __setitem__(self, row: int, value: np.ndarray):
    """Writes one row."""
    value = np.asarray(value, self.dtype, order="C")
    if value.shape != self.shape[1:]:
      raise ValueError(f"{value.shape}: expected {self.shape[1:]}")
    data = memoryview(value.reshape(-1).view(np.uint8))
    with self._file.lock:
      self._file.raw.seek(int(self._rows[row]) * self._row_bytes)
      while len(data):
        data = data[self._file.raw.write(data) :]

  def __array__(self, dtype=None, copy=None):
    del copy  # It is always one.
    return self[:] if dtype is None else self[:].astype(dtype)

  def is_whole(self) -> bool:
    """Whether the file is as long as the array."""
    length = self._file.raw.seek(0, io.SEEK_END)
    return length == len(self) * self._row_bytes

  def take(self, rows, axis: int = 0) -> "FileArray":
    """These rows, still in the file, as `np.ndarray.take` has them."""
    if axis != 0:
      raise ValueError("only whole rows can be taken")
    return self._view(self._rows[np.asarray(rows, int)])

  def joined(self, other: "FileArray") -> "FileArray | None":
    """The rows of both where they lie in one file, else None."""
    if self._file is not other._file:
      return None
    return self._view(np.concatenate([self._rows, other._rows]))

  def _view(self, rows):
    shape = (len(rows), *self.shape[1:])
    return FileArray(self._file, shape, self.dtype, rows)


Rows = np.ndarray | FileArray


def part(x: Rows, rows: slice | np.ndarray) -> Rows:
  """Rows of an array, which stay where they are."""
  if isinstance(x, FileArray):
    return x.take(np.arange(len(x))[rows])
  return x[rows]


def joined(x: Rows, y: Rows) -> Rows:
  """The rows of x and then those of y."""
  both = isinstance(x, FileArray) and isinstance(y, FileArray)
  if both and (found := x.joined(y)) is not None:
    return found
  return np.concatenate([x[:], y[:]])
