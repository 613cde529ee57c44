# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Pickles that others wrote, of which nothing is called that has no name here.

The fast unpickler makes room for whatever number a pickle puts a value at: 36
bytes take 18 GB. The one in Python keeps what there is.
"""

import os
import pickle
from typing import BinaryIO

_DEEPEST = 1000


class Unpickler(pickle._Unpickler):
  """Makes plain values, and what `find_class` of a subclass gives names to.

  Args:
    file: of known size; behind the pickle it is left where that ends.
    keywords: of `pickle.Unpickler`.
  """

  def __init__(self, file: BinaryIO, **keywords):
    super().__init__(_Bounded(file), **keywords)

  def find_class(self, module, name):
    raise pickle.UnpicklingError(f"it asks for {module}.{name}, refused")

  # A key of tuples in tuples, each twice in the next, is hashed without end.

  dispatch = pickle._Unpickler.dispatch.copy()

  def load_setitem(self):
    check_keys(self.stack[-2:-1])
    super().load_setitem()

  def load_setitems(self):
    check_keys(self.stack[::2])
    super().load_setitems()

  def load_dict(self):
    check_keys(self.stack[::2])
    super().load_dict()

  # Values in values, of which state dicts and arrays have a few.

  def load_mark(self):
    if len(self.metastack) >= _DEEPEST:
      raise pickle.UnpicklingError("it is nested too deep")
    super().load_mark()

  dispatch[pickle.MARK[0]] = load_mark
  dispatch[pickle.SETITEM[0]] = load_setitem
  dispatch[pickle.SETITEMS[0]] = load_setitems
  dispatch[pickle.DICT[0]] = load_dict
  # Made at the length that the pickle claims, or of no use here.
  for _code in (
    pickle.BYTEARRAY8,
    pickle.EMPTY_SET,
    pickle.ADDITEMS,
    pickle.FROZENSET,
  ):
    del dispatch[_code[0]]


def check_keys(keys) -> None:
  """Whether keys are texts or numbers.

  Raises:
    pickle.UnpicklingError: they are not.
  """
  for key in keys:
    if not isinstance(key, str | bytes | int | float | None):
      raise pickle.UnpicklingError(f"a key that is a {type(key).__name__}")


class _Bounded:
  """A file of which no more is asked for than it has."""

  def __init__(self, file):
    self._file = file
    at = file.tell()
    self._end = file.seek(0, os.SEEK_END)
    file.seek(at)

  def read(self, n):
    if n > self._end - self._file.tell():
      raise EOFError("the pickle ends early")
    return self._file.read(n)

  def readline(self):
    line = self._file.readline()
    if not line.endswith(b"\n"):
      raise EOFError("the pickle ends early")
    return line
