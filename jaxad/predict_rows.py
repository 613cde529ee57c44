# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Decisions on the rows of a new table, by a run that was trained on one.

`scores.csv` has a row for each: its line in the file, its texts of the columns
that are no features (a serial number), score, predicted (1 is anomalous), the
parts of the score, and error where a value is missing. `scores.json` says which
run and threshold it is of.
"""

import csv
import itertools
import pathlib

import jax
import numpy as np

from jaxad import drift, trained
from jaxad.data import table_files
from jaxad.data.examples import Examples
from jaxad.errors import InputError
from jaxad.evaluation.scoring import Scorer
from jaxad.predictions import TABLE, held, number, write_summary
from jaxad.report import tables


def predict_rows(
  run: trained.Run,
  path: pathlib.Path,
  output: pathlib.Path,
  *,
  threshold: dict,
  batch_size: int | None = None,
) -> dict:
  """Scores a table into a folder, whose `scores.csv` is replaced as a whole.

  Args:
    run: what scores.
    path: of the table, with the columns that the run was trained on.
    output: the folder; new, or with predictions of the same run.
    threshold: {"value": a score above it is anomalous, "rule", "rule_value"}.
    batch_size: rows scored at once; None is that of the run.

  Returns:
    What stands in `scores.json`.

  Raises:
    InputError: the table has other columns, or the folder holds something else.
  """
  table, columns = table_files.read(path), run.preprocess
  try:
    raw = columns.encoded(table.columns)
  except InputError as error:
    raise InputError(f"{path}: {error}") from error
  errors = np.array([columns.lacking(row) for row in raw], object)
  whole = np.equal(errors, None)
  examples = Examples(
    x=columns.seen(raw[whole]),
    label=np.zeros(whole.sum(), np.int32),
    id=tuple(itertools.compress(table.ids, whole)),
    kind=("",) * int(whole.sum()),
    mask=None,
  )
  scorer = Scorer(run.detector, batch_size or run.batch_size, run.key)
  with run.precision():
    scores = scorer.scores(run.state, examples)
  # A comparison with what is no number would call a row normal.
  finite = np.isfinite(scores.image)
  errors[np.flatnonzero(whole)[~finite]] = "its score is not finite"
  good = scores.image[finite]
  limit, digest = threshold["value"], run.description["weights_sha256"]
  shifts, warnings = drift.compare(
    run.normal.score, None, good, np.zeros(0), limit
  )
  summary = {
    "n_rows": len(raw),
    "n_errors": len(raw) - len(good),
    "n_anomalous": int((good > limit).sum()),
    "drift": {name: one and one._asdict() for name, one in shifts.items()},
    "warnings": warnings,
  }
  with held(output, digest):
    write_summary(output, digest, threshold, {})
    found = jax.tree.map(lambda v: v[finite], (scores.image, scores.parts))
    _write(output / TABLE, table, columns.names, *found, errors, limit)
    write_summary(output, digest, threshold, summary)
  return {**summary, "output": str(output)}


def _write(path, table, seen, score, parts, errors, limit):
  beside = [name for name in table.columns if name not in seen]
  head = ["line", *beside, "score", "predicted"]
  head += [*(f"part_{name}" for name in sorted(parts)), "error"]
  found = zip(score, *(parts[name] for name in sorted(parts)), strict=True)
  with tables.replacing(path, "w", encoding="utf-8", newline="") as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(head)
    for k, error in enumerate(errors):
      values = [""] * (len(parts) + 2)
      if error is None:
        one, *others = next(found)
        values = [number(one), int(one > limit), *map(number, others)]
      texts = (_text(table.columns[name][k]) for name in beside)
      writer.writerow([table.line[k], *texts, *values, error or ""])


def _text(value):
  """As it stood in the file, or nearly."""
  if isinstance(value, float):
    return "" if np.isnan(value) else f"{value:.17g}"
  return "" if value is None else value
