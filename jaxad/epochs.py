# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What a run computes on its test set after epochs, and what it chooses by it.

To choose by the test set is optimistic. It is done only where it was asked for,
and under a name of its own.
"""

import json
import pathlib
from collections.abc import Callable

import numpy as np
from sklearn.metrics import f1_score

from jaxad import metrics, report
from jaxad.checkpoints import Checkpoints
from jaxad.evaluation import min_max

# On min-max scaled scores; of GANomaly's paper and code.
OFFICIAL_THRESHOLD = 0.2


class EpochEvaluations:
  """Evaluates every few epochs; keeps the best state where that is asked for.

  Args:
    config: of the run.
    workdir: its folder.
    label: [N] of the test split.
    score: state to [N] image scores of the test split.
    official_score: the same as the authors' test code has it; called only
      with `config.eval.protocol` "official", then after every epoch.
  """

  def __init__(
    self,
    config,
    workdir: pathlib.Path,
    label: np.ndarray,
    score: Callable,
    official_score: Callable,
  ):
    self._every, self._workdir, self._label = config.eval.every, workdir, label
    self._score, self._official_score = score, official_score
    self._official = config.eval.protocol == "official"
    self._best, self._checkpoints = None, None
    if config.eval.select == "best_on_test":
      self._checkpoints = Checkpoints(workdir / "best_on_test", keep=1)

  def on_epoch(self, state, epoch: int) -> dict | None:
    """Figures for `metrics.jsonl` after an epoch, or None."""
    row = {}
    if self._official:
      row["official_image_auroc"] = self._auroc(self._official_score(state))
    if self._every and epoch % self._every == 0:
      auroc = row["test_image_auroc"] = self._auroc(self._score(state))
      if self._checkpoints:
        self._keep_best(state, auroc)
    return row or None

  def selected(self, state):
    """The state to report: the last one, or the best if that was asked for."""
    if self._checkpoints and self._checkpoints.latest_step() is not None:
      state, _ = self._checkpoints.restore(state)
      self._checkpoints.close()
    return state

  def official_results(self, last, ids) -> dict:
    """Figures under the official protocol; writes `scores_official.csv`.

    Args:
      last: the state after training.
      ids: [N] names of the test examples.
    """
    score = self._official_score(last)
    predicted = min_max(score) >= OFFICIAL_THRESHOLD
    report.write_scores(
      self._workdir / "scores_official.csv", ids, self._label, score, predicted
    )
    rows = (self._workdir / "metrics.jsonl").read_text().splitlines()
    epochs = {
      row["epoch"]: row["official_image_auroc"]
      for row in map(json.loads, rows)
      if "official_image_auroc" in row
    }
    last_auroc = self._auroc(score)
    best = max(epochs, key=epochs.get, default=None)
    return {
      "official_image_auroc": epochs.get(best, last_auroc),
      "official_best_epoch": best,
      "official_image_auroc_last_epoch": last_auroc,
      "official_f1": float(f1_score(self._label, predicted)),
    }

  def _auroc(self, score):
    return metrics.image_auroc(self._label, score)

  def _keep_best(self, state, auroc):
    if self._best is None and self._checkpoints.latest_step() is not None:
      self._best = self._checkpoints.restore(state)[1]["test_image_auroc"]
    if self._best is None or auroc > self._best:
      self._best = auroc
      self._checkpoints.save(state, {"test_image_auroc": auroc})
