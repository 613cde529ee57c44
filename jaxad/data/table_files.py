# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Files that hold a table: CSV, MATLAB, NumPy or Parquet."""

import csv
import io
import pathlib
from typing import NamedTuple

import numpy as np

from jaxad.errors import InputError

SUFFIXES = (".csv", ".tsv", ".mat", ".npz", ".parquet")

# What stands in a CSV file where there is no value.
MISSING = ("", "?", "na", "n/a", "nan", "null", "none", "-")

# The names that the public outlier sets have in arrays.
ROWS, LABELS = "X", "y"


class Table(NamedTuple):
  """A table in memory.

  Attributes:
    columns: by name, in the order of the file: float64 [N], NaN where a value
      is missing; or texts, object [N], None where one is missing.
    line: int [N], the number of each row in its file, from 1; of a CSV file
      that of its line.
  """

  columns: dict[str, np.ndarray]
  line: np.ndarray

  @property
  def ids(self) -> tuple[str, ...]:
    """The numbers as texts, which sort as they do."""
    width = len(str(self.line.max()))
    return tuple(f"{line:0{width}d}" for line in self.line)


def read(path: pathlib.Path) -> Table:
  """Reads a table.

  CSV files have a line of names first; of MATLAB and NumPy files the array `X`
  gives the columns x0, x1, ..., and `y`, if there is one, the column y.

  Raises:
    InputError: it cannot be read, or is no table; the message begins with the
      path.
  """
  readers = {
    ".csv": _csv,
    ".tsv": _csv,
    ".mat": _mat,
    ".npz": _npz,
    ".parquet": _parquet,
  }
  reader = readers.get(path.suffix.lower())
  if reader is None:
    raise InputError(f"{path}: expected a table ({' '.join(SUFFIXES)})")
  try:
    table = reader(path)
  except OSError as error:
    raise InputError(
      f"{path}: cannot be read ({error.strerror or error}); mend it"
    ) from error
  if not len(table.line):
    raise InputError(f"{path}: it has no rows")
  return table


def _csv(path):
  try:
    text = path.read_bytes().decode("utf-8-sig")
  except UnicodeDecodeError as error:
    raise InputError(
      f"{path}: not UTF-8 ({error.reason}, byte {error.start}); save it so"
    ) from error
  first = text.partition("\n")[0]
  # A German Excel writes semicolons.
  delimiter = max(",;\t", key=first.count)
  lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
  rows, numbers = [], []
  try:
    names = [name.strip() for name in next(lines, [])]
    _check_names(path, names)
    for values in lines:
      if not values:
        continue
      if len(values) != len(names):
        raise InputError(
          f"{path}: line {lines.line_num}: {len(values)} values for "
          f"{len(names)} columns; mend it"
        )
      rows.append(values)
      numbers.append(lines.line_num)
  except csv.Error as error:
    raise InputError(
      f"{path}: line {lines.line_num}: {error}; mend it"
    ) from error
  columns = zip(*rows, strict=True) if rows else ((),) * len(names)
  found = {
    name: _column(values) for name, values in zip(names, columns, strict=True)
  }
  return Table(found, np.array(numbers, int))


def _check_names(path, names):
  said = "expected a first line of different names, as age,weight,label"
  if not any(names):
    raise InputError(f"{path}: line 1 is empty; {said}")
  if any(map(_is_number, names)):
    raise InputError(f"{path}: line 1 has numbers; {said}")
  for name in names:
    if not name or names.count(name) > 1:
      raise InputError(f"{path}: line 1: the name {name!r}; {said}")


def _is_number(text):
  try:
    float(text)
  except ValueError:
    return False
  return True


def _column(values):
  """float64 where all that is there is numbers, else texts."""
  values = [value.strip() for value in values]
  there = [None if v.lower() in MISSING else v for v in values]
  try:
    return np.float64([np.nan if v is None else float(v) for v in there])
  except ValueError:
    return np.array(there, object)


def _mat(path):
  from scipy import io as of_matlab

  try:
    arrays = of_matlab.loadmat(path)
  except NotImplementedError as error:
    raise InputError(
      f"{path}: a MATLAB file of version 7.3; save it with -v7, or as .npz"
    ) from error
  except ValueError as error:
    raise InputError(f"{path}: not a MATLAB file ({error})") from error
  return _of_arrays(path, arrays)


def _npz(path):
  try:
    with np.load(path, allow_pickle=False) as file:
      arrays = {k: file[k] for k in (ROWS, LABELS) if k in file}
  except (ValueError, KeyError, TypeError) as error:
    raise InputError(f"{path}: not an archive of arrays ({error})") from error
  return _of_arrays(path, arrays)


def _of_arrays(path, arrays):
  x, y = arrays.get(ROWS), arrays.get(LABELS)
  if x is None or x.ndim != 2 or x.dtype.kind not in "fiub":
    raise InputError(
      f"{path}: expected an array {ROWS} [rows, columns] of numbers, and "
      f"{LABELS} [rows], 1 for anomalies"
    )
  columns = {f"x{k}": np.float64(column) for k, column in enumerate(x.T)}
  if y is not None:
    y = np.asarray(y).reshape(-1)
    if len(y) != len(x) or y.dtype.kind not in "fiub":
      raise InputError(
        f"{path}: {LABELS} has {y.size} values of {y.dtype} for {len(x)} rows; "
        "expected a number for each"
      )
    columns[LABELS] = np.float64(y)
  return Table(columns, np.arange(1, len(x) + 1))


def _parquet(path):
  try:
    from pyarrow import ArrowException, parquet
  except ImportError as error:
    raise InputError(
      f"{path}: Parquet is read by pyarrow, which is not installed; pip "
      "install pyarrow, or save it as .csv"
    ) from error
  try:
    table = parquet.read_table(path)
  except ArrowException as error:
    raise InputError(f"{path}: not a Parquet file ({error})") from error
  columns = {}
  for name, values in zip(table.column_names, table.columns, strict=True):
    values = values.to_pylist()
    try:
      columns[name] = np.float64([np.nan if v is None else v for v in values])
    except (TypeError, ValueError):
      there = [None if v is None else str(v) for v in values]
      columns[name] = np.array(there, object)
  return Table(columns, np.arange(1, table.num_rows + 1))
