# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Runs of one configuration under several seeds, and their mean."""

import contextlib
import pathlib
import tempfile
from collections.abc import Sequence

import jax
import numpy as np

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


def summarize(
  workdir: pathlib.Path, found: Sequence[dict], seeds: Sequence[int]
) -> dict:
  """Mean and deviation of the figures of several runs.

  Args:
    workdir: gets `seeds.json`.
    found: what the runs found, see `results.json`.
    seeds: of the runs.

  Returns:
    {figure: {"mean", "std", "values"}}; the deviation is that of the
    population, as in the tables of papers.
  """
  summary = {}
  for name in FIGURES:
    values = [results.get(name) for results in found]
    if None not in values:
      summary[name] = {
        "mean": float(np.mean(values)),
        "std": float(np.std(values)),
        "values": values,
      }
  table = {
    name: f"{entry['mean']:.4f} +- {entry['std']:.4f}"
    for name, entry in summary.items()
  }
  summary["seeds"] = list(seeds)
  tables.write_json(workdir / "seeds.json", summary)
  print(f"mean and deviation of {len(seeds)} seeds")
  print(tables.results_table(table))
  return summary


@contextlib.contextmanager
def shared_compilations():
  """The runs compile the same programs; JAX's disk cache compiles them once."""
  names = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
  )
  before = {name: getattr(jax.config, name) for name in names}
  if before["jax_compilation_cache_dir"] is not None:
    yield  # The user's own does the same.
    return
  with tempfile.TemporaryDirectory() as folder:
    try:
      for name, value in zip(names, (folder, 0.5), strict=True):
        jax.config.update(name, value)
      yield
    finally:
      for name, value in before.items():
        jax.config.update(name, value)
