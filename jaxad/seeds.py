# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Runs of one configuration under several seeds, and their mean."""

import contextlib
import json
import pathlib
import tempfile
from collections.abc import Callable, Sequence

import jax
import numpy as np

from jaxad import report
from jaxad.errors import InputError

# What stands in the summary, if the runs have it.
FIGURES = (
  "image_auroc",
  "image_auroc_seen",
  "image_auroc_unseen",
  "image_average_precision",
  "f1_max",
  "pixel_auroc",
  "pixel_aupro",
  "train_seconds",
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
  if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
    raise InputError(
      f"--seeds {text}: expected different whole numbers with commas between "
      "them, such as 0,1,2."
    )
  return seeds


def run_seeds(
  run: Callable[..., dict],
  config,
  seeds: Sequence[int],
  workdir: pathlib.Path,
  resume: bool = False,
) -> dict:
  """Runs a configuration once a seed, in `workdir/seed-N`.

  Args:
    run: `(config, workdir, resume) -> results`.
    config: of the runs, but for the seed.
    seeds: of the runs.
    workdir: made if missing; must be empty, unless runs are resumed.
    resume: keep runs that are finished, and go on with one that was stopped.

  Returns:
    What stands in `workdir/seeds.json`: {figure: {"mean", "std", "values"}};
    the deviation is that of the population, as in the tables of papers.

  Raises:
    InputError: as `run`, or the workdir is not empty.
  """
  if not resume and workdir.exists() and any(workdir.iterdir()):
    raise InputError(
      f"--workdir {workdir} is not empty; continue its runs with --resume, or "
      "choose another folder."
    )
  found = []
  with _shared_compilations():
    for seed in seeds:
      folder = workdir / f"seed-{seed}"
      config.seed = seed
      done = folder / "results.json"
      if resume and done.is_file():
        found.append(json.loads(done.read_text()))
        continue
      print(f"seed {seed}")
      started = (folder / "config.json").is_file()
      found.append(run(config, folder, resume and started))
  summary = {}
  for name in FIGURES:
    values = [results.get(name) for results in found]
    if None not in values:
      summary[name] = {
        "mean": float(np.mean(values)),
        "std": float(np.std(values)),
        "values": values,
      }
  summary["seeds"] = list(seeds)
  report.write_json(workdir / "seeds.json", summary)
  rows = {
    name: f"{entry['mean']:.4f} +- {entry['std']:.4f}"
    for name, entry in summary.items()
    if name != "seeds"
  }
  print(f"mean and deviation of {len(seeds)} seeds")
  print(report.results_table(rows))
  return summary


@contextlib.contextmanager
def _shared_compilations():
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
