# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Runs of one configuration under several seeds, and their mean."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from jaxad import hosts
from jaxad.errors import InputError
from jaxad.fields import Seed, check
from jaxad.report import tables

# What stands in the summary, if the runs have it.
FIGURES = (
  "image_auroc",
  "image_auroc_seen",
  "image_auroc_unseen",
  "image_average_precision",
  "f1_max",
  "true_positive_rate",
  "false_positive_rate",
  "threshold_precision",
  "threshold_f1",
  "contamination_precision",
  "contamination_recall",
  "contamination_f1",
  "pixel_auroc",
  "pixel_aupro",
  "pixel_iou_at_half",
  "pixel_iou_max",
  "train_seconds",
  "ms_per_image",
)


def parse_seeds(text: str) -> list[int]:
  """ "0,1,2" to [0, 1, 2].

  Raises:
    InputError: no such list, or a seed twice.
  """
  try:
    seeds = [int(part) for part in text.split(",")]
  except ValueError:
    seeds = []
  if not seeds or len(set(seeds)) < len(seeds):
    raise InputError(
      f"--seeds {text}: expected different whole numbers with commas between "
      "them, such as 0,1,2."
    )
  for seed in seeds:
    check("--seeds", seed, Seed)
  return seeds


def aggregate(found: Sequence[Mapping]) -> dict[str, dict]:
  """Mean and deviation of the figures that several runs have.

  Args:
    found: what the runs found, see `results.json`.

  Returns:
    {figure: {"mean", "std", "n", "values"}}; the deviation is that of the
    sample, with n - 1, and None for a single run. A figure that one of them
    lacks is left out.
  """
  summary = {}
  for name in FIGURES:
    values = [results.get(name) for results in found]
    if values and None not in values:
      summary[name] = {
        "mean": float(np.mean(values)),
        "std": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "n": len(values),
        "values": values,
      }
  return summary


def shown(entry: Mapping, digits: int = 4) -> str:
  """Mean and deviation of an entry of `aggregate`, as "0.9786 +- 0.0021"."""
  text = f"{entry['mean']:.{digits}f}"
  deviation = entry["std"]
  return text if deviation is None else f"{text} +- {deviation:.{digits}f}"


def seeds_table(summary: Mapping) -> str:
  """What `summarize` returns, for the screen."""
  figures = {name: summary[name] for name in FIGURES if name in summary}
  table = {name: shown(entry) for name, entry in figures.items()}
  head = f"mean and sample deviation, n = {len(summary['seeds'])}"
  return f"{head}\n{tables.results_table(table)}"


def summarize(
  workdir: pathlib.Path, found: Sequence[Mapping], seeds: Sequence[int]
) -> dict:
  """Writes `seeds.json`: what `aggregate` returns, and the seeds.

  Args:
    workdir: where to.
    found: what the runs found, see `results.json`.
    seeds: of the runs.

  Returns:
    What it wrote.
  """
  summary = aggregate(found) | {"seeds": list(seeds)}
  if hosts.first():
    tables.write_json(workdir / "seeds.json", summary)
  return summary
