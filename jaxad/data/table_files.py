# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Files that hold a table: CSV, MATLAB, NumPy or Parquet."""

import collections
import csv
import io
import pathlib
from typing import NamedTuple

import numpy as np

from jaxad import foreign, named_arrays
from jaxad.errors import InputError

SUFFIXES = (".csv", ".tsv", ".mat", ".npz", ".parquet")

MOST_COLUMNS = 2**16

# Of a Parquet file, whose columns of few values shrink to a hundredth.
MOST_UNPACKED = 2**29

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
    ".mat": _arrays,
    ".npz": _arrays,
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
  for name, values in table.columns.items():
    if values.dtype != object and np.isinf(values).any():
      row = table.line[np.argmax(np.isinf(values))]
      raise InputError(
        f"{path}: {name} of row {row} is no finite number; correct it, or "
        "leave it empty"
      )
  return table


def _csv(path):
  try:
    text = foreign.read_bytes(path).decode("utf-8-sig")
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
  _check_width(path, len(names))
  for name, count in collections.Counter(names).items():
    if not name or count > 1:
      raise InputError(f"{path}: line 1: the name {name!r}; {said}")


def _check_width(path, n):
  if n > MOST_COLUMNS:
    raise InputError(
      f"{path}: {n:,} columns; expected {MOST_COLUMNS:,} or less"
    )


def _is_number(text):
  try:
    _number(text)
  except ValueError:
    return False
  return True


def _number(text):
  """As `float`, which would also take 12_34, a number of a part."""
  if "_" in text:
    raise ValueError(text)
  return float(text)


def _column(values):
  """float64 where all that is there is numbers, else texts."""
  values = [value.strip() for value in values]
  there = [None if v.lower() in MISSING else v for v in values]
  try:
    return np.float64([np.nan if v is None else _number(v) for v in there])
  except ValueError:
    return np.array(there, object)


def _arrays(path):
  try:
    arrays = named_arrays.read(path, (ROWS, LABELS))
  except ValueError as error:
    raise InputError(f"{path}: not a file of arrays ({error})") from error
  x, y = arrays.get(ROWS), arrays.get(LABELS)
  if x is None or x.ndim != 2 or x.dtype.kind not in "fiub":
    raise InputError(
      f"{path}: expected an array {ROWS} [rows, columns] of numbers, and "
      f"{LABELS} [rows], 1 for anomalies"
    )
  _check_width(path, x.shape[1])
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
    from pyarrow import ArrowException, parquet, types
  except ImportError as error:
    raise InputError(
      f"{path}: Parquet is read by pyarrow, which is not installed; pip "
      "install pyarrow, or save it as .csv"
    ) from error
  try:
    foreign.check_plain(path)
    with parquet.ParquetFile(path) as file:
      about, schema = file.metadata, file.schema_arrow
      _check_width(path, about.num_columns)
      size = 8 * about.num_rows * about.num_columns
      for k in range(about.num_row_groups):
        size += max(about.row_group(k).total_byte_size, 0)
      if size > max(MOST_UNPACKED, foreign.RATIO * path.stat().st_size):
        raise InputError(
          f"{path}: {path.stat().st_size:,} bytes that unpack to {size:,} or "
          "more; save it as .csv, or as .npz without compression, if that is "
          "right"
        )
    # A long text need not stand in the memory once for each of its rows.
    texts = [f.name for f in schema if types.is_string(f.type)]
    with parquet.ParquetFile(path, read_dictionary=texts) as file:
      table = file.read()
    table.validate(full=True)
    columns = {
      name: _arrow_column(column)
      for name, column in zip(table.column_names, table.columns, strict=True)
    }
  except InputError:
    raise
  except (ArrowException, ValueError, OSError) as error:
    if getattr(error, "strerror", None):  # of the file system
      raise
    said = foreign.reason(error)
    raise InputError(f"{path}: not a sound Parquet file ({said})") from error
  return Table(columns, np.arange(1, table.num_rows + 1))


def _values(column):
  """Of a column; equal texts are one object."""
  found = []
  for chunk in column.chunks:
    if not hasattr(chunk, "dictionary"):
      found += chunk.to_pylist()
      continue
    words = chunk.dictionary.to_pylist()
    numbers = chunk.indices.to_pylist()
    found += [None if k is None else words[k] for k in numbers]
  return found


def _arrow_column(column):
  """float64, NaN where a value is missing; of what is no number, texts."""
  values = _values(column)
  try:
    return np.float64([np.nan if v is None else v for v in values])
  except (TypeError, ValueError):
    return np.array([None if v is None else str(v) for v in values], object)
