# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""From the rows of a table as they come to those that a detector sees.

What `Preprocess` is for images: one `Columns` goes with a run from its data to
its predictions and into the file that is deployed. It needs NumPy alone.
"""

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from jaxad.errors import InputError
from jaxad.fields import check

SCALES = ("standard", "min_max", "none")

# In units of the scale: float32 has no squares of what may lie beyond.
_FARTHEST = 1e6


@dataclasses.dataclass(frozen=True)
class Columns:
  """What happens to a row of a table between its file and the detector.

  A column of numbers is one value of a row. A column of texts is one value for
  each text that training saw, 1 for the one that stands there and else 0.

  Attributes:
    names: of the columns, K of them, in the order of an unnamed row.
    texts: of each column, the texts that training saw; () for numbers.
    scale: what `fitted` brings each column of numbers to: "standard" is mean 0
      and deviation 1, "min_max" is [0, 1], "none" leaves them.
    missing: what it puts in the place of a missing value: the "median" of the
      column; or none may be missing, "error".
    shift: what is taken off each of the D values; () before `fitted`.
    factor: by which it is then multiplied.
    fill: what stands in the place of a missing value; () for "error".
  """

  names: tuple[str, ...]
  texts: tuple[tuple[str, ...], ...]
  scale: Literal[SCALES] = "standard"
  missing: Literal["error", "median"] = "error"
  shift: tuple[float, ...] = ()
  factor: tuple[float, ...] = ()
  fill: tuple[float, ...] = ()

  def __post_init__(self):
    kinds = typing.get_type_hints(type(self), include_extras=True)
    for name, kind in kinds.items():
      check(name, getattr(self, name), kind)
    lengths = len(self.shift), len(self.factor), len(self.fill)
    alike = len(self.names) == len(self.texts)
    d = len(self.of_values) if alike and self.shift else 0
    filled = d if self.missing == "median" else 0
    if not alike or lengths != (d, d, filled):
      raise InputError("columns: their lists differ in length.")

  @property
  def of_values(self) -> tuple[str, ...]:
    """The column of each of the D values."""
    counts = (len(texts) or 1 for texts in self.texts)
    pairs = zip(self.names, counts, strict=True)
    return tuple(name for name, n in pairs for _ in range(n))

  def fitted(self, rows: np.ndarray) -> "Columns":
    """The same columns, scaled by the rows that are trained on.

    Values of texts stay 0 or 1, and columns that are constant keep their unit.

    Args:
      rows: float64 [N, D], of `encoded`.
    """
    fill = ()
    if self.missing == "median":
      has = ~np.isnan(rows).all(0)
      fill = np.zeros(rows.shape[1])
      fill[has] = np.nanmedian(rows[:, has], 0)
      rows = np.where(np.isnan(rows), fill, rows)
    if self.scale == "standard":
      shift, unit = rows.mean(0), rows.std(0)
    elif self.scale == "min_max":
      shift, unit = rows.min(0), np.ptp(rows, 0)
    else:
      shift, unit = np.zeros(rows.shape[1]), np.ones(rows.shape[1])
    flags = np.array([bool(t) for t in self.texts for _ in t or ("",)])
    shift = np.where(flags, 0.0, shift)
    # Rounding leaves a deviation to equal values.
    constant = unit <= 1e-12 * np.abs(shift)
    factor = 1 / np.where(flags | constant, 1.0, unit)
    plain = lambda v: tuple(np.asarray(v).tolist())
    return dataclasses.replace(
      self, shift=plain(shift), factor=plain(factor), fill=plain(fill)
    )

  def encoded(self, columns: Mapping[str, Sequence]) -> np.ndarray:
    """Columns by name to float64 [N, D], NaN where a value is missing.

    Args:
      columns: numbers, or texts where training saw some; of a missing one None,
        NaN or "". Others than those of `names` are left alone.

    Raises:
      InputError: a column is missing, or has no number where one is due.
    """
    lacking = [name for name in self.names if name not in columns]
    if lacking:
      raise InputError(
        f"there is no column {', '.join(lacking)}; there are "
        f"{', '.join(columns)}."
      )
    values = []
    for name, texts in zip(self.names, self.texts, strict=True):
      if texts:
        given = [_text(value) for value in columns[name]]
        for text in texts:
          flags = [np.nan if t is None else float(t == text) for t in given]
          values.append(np.float64(flags))
      else:
        values.append(_numbers(name, columns[name]))
    return np.stack(values, axis=1)

  def seen(self, rows: np.ndarray) -> np.ndarray:
    """Rows [N, D] of `encoded` as the detector sees them: float32 [N, D].

    Raises:
      InputError: a value is missing that may not be.
    """
    if self.fill:
      rows = np.where(np.isnan(rows), self.fill, rows)
    for row in rows[np.isnan(rows).any(1)]:
      raise InputError(f"{self.lacking(row)}; train with missing=median.")
    with np.errstate(over="ignore"):
      x = (rows - np.array(self.shift)) * np.array(self.factor)
    return np.float32(np.clip(x, -_FARTHEST, _FARTHEST))

  def lacking(self, row: np.ndarray) -> str | None:
    """What keeps a row [D] of `encoded` from being seen, or None."""
    gap = np.isnan(row)
    if self.fill or not gap.any():
      return None
    column = self.of_values[int(np.argmax(gap))]
    return f"the column {column} has no value, and all had one in training"

  def views(self, row) -> tuple[np.ndarray, None]:
    """A row of K values as the detector sees it, float32 [1, D].

    It has the order of `names`; or it is a dict by name.

    Raises:
      InputError: it is no such row.
    """
    if not isinstance(row, Mapping):
      if np.ndim(row) != 1 or len(row) != len(self.names):
        raise InputError(
          f"a row of shape {list(np.shape(row))}: expected "
          f"{len(self.names)} values, {_some(self.names)}."
        )
      row = dict(zip(self.names, row, strict=True))
    one = {name: [value] for name, value in row.items()}
    return self.seen(self.encoded(one)), None

  def to_json(self) -> dict:
    """Plain values, for `from_json`."""
    return dataclasses.asdict(self)

  @classmethod
  def from_json(cls, values: Mapping) -> "Columns":
    """The inverse of `to_json`, also after JSON has made lists of tuples.

    Raises:
      InputError: a value is missing, unknown, or not what it may be.
    """
    known = {field.name for field in dataclasses.fields(cls)}
    if not isinstance(values, Mapping) or set(values) != known:
      raise InputError(f"columns: expected {', '.join(sorted(known))}.")
    return cls(**{name: _tuples(value) for name, value in values.items()})


def _tuples(value):
  return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _text(value):
  """None where it is missing."""
  if value is None or (isinstance(value, float) and np.isnan(value)):
    return None
  return str(value).strip() or None


def _numbers(name, values):
  try:
    found = np.float64([np.nan if v in (None, "") else v for v in values])
  except (TypeError, ValueError) as error:
    raise InputError(
      f"the column {name}: {error}; training had numbers in it."
    ) from error
  if np.isinf(found).any():
    raise InputError(f"the column {name} has an infinite value.")
  return found


def _some(names):
  return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
