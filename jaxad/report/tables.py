# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Tables and arrays of a run, as files and on the screen.

Every file is written beside its place and then moved there: an interrupted run
leaves the old file or the new one, never half of one.
"""

import contextlib
import csv
import json
import os
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

from jaxad.errors import InputError

# Titles of the metrics on the screen; they are shares and get four decimals.
TITLES = {
  "image_auroc": "image AUROC",
  "image_auroc_seen": "image AUROC, kinds seen in training",
  "image_auroc_unseen": "image AUROC, unseen kinds",
  "image_average_precision": "average precision",
  "f1_max": "F1-max",
  "official_image_auroc": "official image AUROC",
  "official_image_auroc_last_epoch": "official image AUROC, last epoch",
  "official_f1": "official F1",
  "pixel_auroc": "pixel AUROC",
  "pixel_aupro": "AUPRO",
  "pixel_iou_at_half": "IoU above 0.5",
  "pixel_iou_max": "best IoU",
  "true_positive_rate": "true positive rate",
  "false_positive_rate": "false positive rate",
  "threshold_precision": "precision at the threshold",
  "threshold_f1": "F1 at the threshold",
  "expected_false_positive_rate": "expected false positive rate",
  "contamination": "share that is called anomalous",
  "contamination_precision": "precision at that share",
  "contamination_recall": "recall at that share",
  "contamination_f1": "F1 at that share",
  "nearest_neighbour_auroc": "nearest neighbour AUROC",
}


@contextlib.contextmanager
def replacing(path, mode, **kwargs):
  path = os.fspath(path)
  temporary = f"{path}.{os.getpid()}.tmp"
  try:
    with open(temporary, mode, **kwargs) as file:
      yield file
    os.replace(temporary, path)
  finally:
    with contextlib.suppress(FileNotFoundError):
      os.remove(temporary)


def write_json(path, obj) -> None:
  """Sorted, indented JSON; NumPy and JAX values become plain ones.

  Raises:
    ValueError: a number is NaN or infinite, which JSON does not have; nothing
      is written.
  """
  text = json.dumps(
    obj, indent=2, sort_keys=True, allow_nan=False, default=_plain
  )
  with replacing(path, "w", encoding="utf-8", newline="\n") as file:
    file.write(text + "\n")


def _plain(value):
  if hasattr(value, "tolist"):
    return value.tolist()
  raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def write_array(path, array) -> None:
  """A NumPy or JAX array as an .npy file, of any name."""
  with replacing(path, "wb") as file:
    np.save(file, np.asarray(array), allow_pickle=False)


def write_scores(path, ids, labels, scores, predicted=None) -> None:
  """A CSV table with one row per example: id, label, score, predicted.

  Scores have all their digits: reading them gives the same numbers.

  Args:
    path: file to write, UTF-8 with "\\n" line ends.
    ids: [N] str.
    labels: [N] int, 0 normal and 1 anomalous.
    scores: [N] float.
    predicted: [N] int or bool, 1 where `score > threshold`; None leaves the
      column out, where there is no threshold.

  Raises:
    InputError: the columns differ in length.
  """
  columns = {"id": ids, "label": labels, "score": scores}
  if predicted is not None:
    columns["predicted"] = predicted
  check_lengths(", ".join(columns), columns.values())
  # File names need not be valid UTF-8; their bytes go through as they are.
  with replacing(
    path, "w", encoding="utf-8", errors="surrogateescape", newline=""
  ) as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for name, label, score, *flag in zip(*columns.values(), strict=True):
      row = (name, int(label), repr(float(score)), *map(int, flag))
      writer.writerow(row)


def results_table(results) -> str:
  """Results as lines of "name  value", for the screen.

  Args:
    results: {name: value}. None becomes "-"; entries that are neither a number
      nor a string (a nested dict, a list) are left out.
  """
  rows = []
  for name, value in results.items():
    if value is None:
      text = "-"
    elif isinstance(value, str | bool | int | np.bool_ | np.integer):
      text = str(value)
    elif isinstance(value, float | np.floating):
      text = f"{value:.4f}" if name in TITLES else f"{value:.6g}"
    else:
      continue
    rows.append((title(name), text))
  left = max((len(name) for name, _ in rows), default=0)
  right = max((len(text) for _, text in rows), default=0)
  return "\n".join(f"{name:<{left}}  {text:>{right}}" for name, text in rows)


def title(name: str) -> str:
  """What a reader calls a figure of `results.json`."""
  return TITLES.get(name, name.replace("_", " "))


def markdown(titles: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
  """A table in Markdown."""
  rows = [titles, ["---"] * len(titles), *lines]
  escaped = ([printable(c).replace("|", "\\|") for c in row] for row in rows)
  return "\n".join(f"| {' | '.join(row)} |" for row in escaped)


def printable(text: str) -> str:
  """Text with a replacement sign for each character that cannot be shown."""
  if text.isprintable():
    return text
  return "".join(
    c
    if c.isprintable() or c in "\n\t" or unicodedata.category(c) == "Zs"
    else "\N{REPLACEMENT CHARACTER}"
    for c in text
  )


def check_lengths(names, columns):
  lengths = [len(column) for column in columns]
  if len(set(lengths)) > 1:
    raise InputError(f"{names}: expected equal lengths, got {lengths}")
