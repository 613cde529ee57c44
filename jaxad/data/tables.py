# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Tables as data: rows of numbers, of which some are anomalous."""

import dataclasses
import pathlib
import sys
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from jaxad.columns import SCALES, Columns
from jaxad.data import names, table_files
from jaxad.data.examples import Dataset, Examples
from jaxad.data.table_files import Table
from jaxad.errors import InputError
from jaxad.fields import ProperShare
from jaxad.seeding import generator

LABELS = ("label", "y", "class", "target", "anomaly", "outlier", "kind")

# What says that a row is normal, beside the words of folders.
_NORMAL = ("0", "false", "inlier", "benign")

# More texts in a column are names of things, and not kinds.
_MOST_TEXTS = 64


class TableOptions(NamedTuple):
  """How a table is read and divided.

  Attributes:
    label: name of the column that says which rows are anomalous; None takes
      label, y, class, target, anomaly, outlier or kind, and without one all
      rows are normal. See `normal`.
    ignore: names of columns that are no features, such as a serial number.
    scale: of the columns: "standard" brings the normal rows that are trained on
      to mean 0 and deviation 1, "min_max" to [0, 1], "none" changes nothing.
    missing: what to do with a missing value: "error", put the "median" of the
      training rows in its place, or "skip" the row.
    text: what to do with a column of texts: "error", "one_hot" makes a column
      for each of them, "drop" leaves it out.
    constant: what to do with a column that has one value in training: "keep",
      "drop" or "error".
    divide: where the file has no column split: "normal" tests on
      `test_fraction` of the normal rows and on all anomalies; "first" and
      "last" likewise, on the first and on the last normal rows of the file in
      place of drawn ones; "all" on that part of all rows, and leaves out the
      anomalies of the rest.
    test_share: the share of anomalies that the test gets; more are left out.
      None takes all.
  """

  label: str | None = None
  ignore: tuple[str, ...] = ()
  scale: Literal[SCALES] = "standard"
  missing: Literal["error", "median", "skip"] = "error"
  text: Literal["error", "one_hot", "drop"] = "error"
  constant: Literal["keep", "drop", "error"] = "keep"
  divide: Literal["normal", "first", "last", "all"] = "normal"
  test_share: ProperShare | None = None


def _breast_cancer():
  """569 tumours, benign and malignant (Street et al. 1993)."""
  from sklearn.datasets import load_breast_cancer

  return load_breast_cancer(), ("benign",)


def _wine():
  """178 wines of three growers (Aeberhard and Forina 1991)."""
  from sklearn.datasets import load_wine

  return load_wine(), ("class_0", "class_1", "class_2")


# Tables that scikit-learn brings along, and their kinds that may be normal.
EMBEDDED: dict[str, Callable] = {
  "breast_cancer": _breast_cancer,
  "wine": _wine,
}

NAMES = ("table", *EMBEDDED)


def load_file(
  path: pathlib.Path,
  normal: str | tuple[str, ...] | None,
  test_fraction: float,
  seed: int,
  options: TableOptions,
) -> Dataset:
  """Reads a table file.

  Args:
    path: see `table_files.read`.
    normal: the labels of normal rows; None for 0 and the usual words.
    test_fraction: share of the rows that are held out for the test.
    seed: of that draw.
    options: see there.

  Raises:
    InputError: a column, label or value is not what it may be.
  """
  table = table_files.read(path)
  return _dataset(table, path.name, normal, test_fraction, seed, options)


def load_embedded(
  name: str,
  subset: str | None,
  test_fraction: float,
  seed: int,
  options: TableOptions,
) -> Dataset:
  """One of `EMBEDDED`; the subset is its normal kind, the first if None.

  Raises:
    InputError: there is no such kind.
  """
  found, kinds = EMBEDDED[name]()
  normal = subset or kinds[0]
  if normal not in kinds:
    raise InputError(
      f"subset={subset!r}: expected the normal kind of {name}, one of "
      f"{', '.join(kinds)}",
      "subset",
    )
  features = zip(found.feature_names, found.data.T, strict=True)
  columns = {str(n).replace(" ", "_"): np.float64(v) for n, v in features}
  columns["label"] = np.array(found.target_names, object)[found.target]
  table = Table(columns, np.arange(1, len(found.target) + 1))
  return _dataset(table, name, normal, test_fraction, seed, options)


def scaled(
  columns: Columns, train: Examples, *others: Examples
) -> tuple[Columns, list[Examples]]:
  """Fits the columns to the normal rows of `train`, and applies them to all.

  Returns:
    The columns, and all the examples, `train` first.
  """
  columns = columns.fitted(train.raw[train.label == 0])
  see = lambda one: dataclasses.replace(one, x=columns.seen(one.raw))
  return columns, [see(one) for one in (train, *others)]


def _dataset(table, said, normal, test_fraction, seed, options):
  """The splits of a table."""
  notes = []
  label_name, kinds = _kinds(table, normal, options)
  features = {
    name: column
    for name, column in table.columns.items()
    if name not in (label_name, _split_name(table), *options.ignore)
  }
  for name in options.ignore:
    if name not in table.columns:
      raise InputError(
        f"table.ignore: there is no column {name}; there are "
        f"{_some(table.columns)}",
        "table.ignore",
      )
  features = _texts(features, options, notes)
  kept, note = _complete(features, table, options)
  notes += note
  splits = _splits(table, kinds, kept, test_fraction, seed, options)
  is_normal = np.array([kind == "good" for kind in kinds])
  trained = splits == "train"
  if not (trained & is_normal).any():
    raise InputError(
      f"{said}: no normal rows to train on; the labels are "
      f"{_some(dict.fromkeys(kinds))}; name the normal one with normal",
      "root",
    )
  features = _constant(features, trained & is_normal, options, notes)
  if not features:
    raise InputError(f"{said}: it has no columns of features", "root")
  one_hot = lambda v: tuple(sorted({t for t in v[trained] if t is not None}))
  columns = Columns(
    names=tuple(features),
    texts=tuple(
      one_hot(v) if v.dtype == object else () for v in features.values()
    ),
    scale=options.scale,
    missing="median" if options.missing == "median" else "error",
  )
  raw = columns.encoded(features)
  ids = table.ids

  def of(split):
    rows = np.flatnonzero(splits == split)
    return Examples(
      x=raw[rows],
      label=np.int32(~is_normal[rows]),
      id=tuple(ids[i] for i in rows),
      kind=tuple(kinds[i] for i in rows),
      mask=None,
      raw=raw[rows],
    )

  columns, (train, test) = scaled(columns, of("train"), of("test"))
  lines = [f"jaxad: {len(kinds)} rows of {len(features)} columns in {said}"]
  labelled = f"by the column {label_name}" if label_name else "all are normal"
  lines.append(f"  labels: {labelled}")
  for name, split in (("train", train), ("test", test)):
    good = int((split.label == 0).sum())
    lines.append(f"  {name}: {good} normal, {len(split.id) - good} anomalous")
  print(*lines, *(f"NOTE: {n}" for n in notes), sep="\n", file=sys.stderr)
  return Dataset(train, test, preprocess=columns)


def _split_name(table):
  return next((n for n in table.columns if n.casefold() == "split"), None)


def _kinds(table, normal, options):
  """(name of the label column or None, the kind of each row)."""
  there = {name.casefold(): name for name in reversed(table.columns)}
  name = options.label
  if name is None:
    name = next((there[n] for n in LABELS if n in there), None)
  elif name not in table.columns:
    raise InputError(
      f"table.label={name!r}: there is no such column; there are "
      f"{_some(table.columns)}",
      "table.label",
    )
  if name is None:
    return None, ["good"] * len(table.line)
  column = table.columns[name]
  numeric = column.dtype != object
  missing = np.isnan(column) if numeric else np.equal(column, None)
  if missing.any():
    line = table.line[np.argmax(missing)]
    raise InputError(f"line {line}: it has no label in the column {name}")
  texts = [f"{v:g}" if numeric else v for v in column]
  words = names.Normal.of(normal)
  words.check(dict.fromkeys(texts))
  usual = lambda text: text.casefold() in _NORMAL and not words.names
  binary = numeric and set(texts) <= {"0", "1"}
  kind = lambda text: (
    "good"
    if words.holds(text) or usual(text)
    else "anomaly"
    if binary
    else text
  )
  return name, [kind(text) for text in texts]


def _texts(features, options, notes):
  """Without the columns of texts, or with those that may be encoded."""
  found = {}
  for name, column in features.items():
    if column.dtype == object:
      texts = set(column) - {None}
      example = next(iter(sorted(texts)), "")
      if options.text == "error":
        raise InputError(
          f"the column {name} has texts ({example!r}); encode it with "
          "table.text=one_hot, leave it out with table.ignore, or all such "
          "with table.text=drop",
        )
      if options.text == "drop":
        notes.append(f"the column {name} has texts ({example!r}): left out")
        continue
      if len(texts) > _MOST_TEXTS:
        raise InputError(
          f"the column {name} has {len(texts)} different texts ({example!r}), "
          f"more than {_MOST_TEXTS}; leave it out with table.ignore",
        )
    found[name] = column
  return found


def _complete(features, table, options):
  """(bool [N], the rows that are used; notes)."""
  gap = lambda v: np.equal(v, None) if v.dtype == object else np.isnan(v)
  gaps = {name: gap(column) for name, column in features.items()}
  gaps = {name: where for name, where in gaps.items() if where.any()}
  kept = np.ones(len(table.line), bool)
  if not gaps:
    return kept, []
  n = sum(int(where.sum()) for where in gaps.values())
  name, where = next(iter(gaps.items()))
  said = f"{n} values are missing, in {_some(gaps)}"
  if options.missing == "error":
    line = table.line[np.argmax(where)]
    raise InputError(
      f"{said} (first: {name}, line {line}); fill them with the median of "
      "training by table.missing=median, or leave such rows out by "
      "table.missing=skip",
    )
  if options.missing == "median":
    return kept, [f"{said}: filled with the median of training"]
  for where in gaps.values():
    kept &= ~where
  return kept, [f"{said}: {int((~kept).sum())} rows are left out"]


def _splits(table, kinds, kept, test_fraction, seed, options):
  """ "train", "test" or "" of each row."""
  normal = np.array([kind == "good" for kind in kinds])
  split = np.full(len(kinds), "", object)
  name = _split_name(table)
  if name is not None:
    for row, text in enumerate(table.columns[name]):
      split[row] = names.split_of(str(text))
      if split[row] is None:
        raise InputError(
          f"line {table.line[row]}: split {str(text)!r}; expected train or test"
        )
    split[~kept] = ""
  else:
    rows = np.flatnonzero(kept if options.divide == "all" else kept & normal)
    if options.divide in ("normal", "all"):
      rows = generator("table", seed).permutation(rows)
    elif options.divide == "last":
      rows = rows[::-1]
    n_test = max(1, round(test_fraction * len(rows)))
    split[rows[n_test:]] = "train"
    split[rows[:n_test]] = "test"
    if options.divide == "all":
      split[(split == "train") & ~normal] = ""
    else:
      split[kept & ~normal] = "test"
  if options.test_share is not None:
    odd = np.flatnonzero((split == "test") & ~normal)
    n_normal = int(((split == "test") & normal).sum())
    share = options.test_share
    most = int(n_normal * share / (1 - share))
    order = generator("table anomalies", seed).permutation(odd)
    split[order[most:]] = ""
  return split


def _constant(features, rows, options, notes):
  """Without the columns of one value, where these are to be dropped."""
  constant = [
    name
    for name, column in features.items()
    if column.dtype != object and np.ptp(column[rows]) == 0
  ]
  if not constant:
    return features
  said = f"one value alone in the normal training rows: {_some(constant)}"
  if options.constant == "error":
    raise InputError(
      f"{said}; leave them out with table.constant=drop",
    )
  if options.constant == "drop":
    notes.append(f"{said}; left out")
    return {n: v for n, v in features.items() if n not in constant}
  notes.append(f"{said}; kept, in their own unit")
  return features


def _some(columns):
  columns = list(columns)
  more = f" and {len(columns) - 5} more" if len(columns) > 5 else ""
  return ", ".join(columns[:5]) + more
