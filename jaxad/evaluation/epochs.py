# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What a run computes on its test set after epochs, and what it chooses by it.

To choose by the test set is optimistic. It is done only where it was asked for,
and under a name of its own. Each of these is the `call` of an `EveryEpochs`.
"""

import pathlib
from collections.abc import Callable

import numpy as np
from sklearn.metrics import f1_score

from jaxad.callbacks import Log
from jaxad.checkpoints import Checkpoints
from jaxad.data.examples import Examples
from jaxad.detector import Detector, State
from jaxad.evaluation.metrics import image_auroc
from jaxad.loop import Moment
from jaxad.report import tables

Score = Callable[[State], np.ndarray]


class TestAuroc:
  """Writes the test AUROC into the log; keeps the best state if asked to.

  Args:
    score: state to [N] image scores of the test.
    test: the test split.
    log: where the figure goes.
    best: where the state of the best figure is kept, or None.
  """

  __test__ = False  # not a test of pytest's

  def __init__(
    self,
    score: Score,
    test: Examples,
    log: Log,
    best: Checkpoints | None = None,
  ):
    self._score, self._label, self._log = score, test.label, log
    self._checkpoints, self._best = best, None

  def __call__(self, moment: Moment) -> None:
    """Evaluates the moment's state."""
    auroc = image_auroc(self._label, self._score(moment.state))
    head = {"step": moment.step, "epoch": moment.epoch}
    self._log.write(head | {"test_image_auroc": auroc})
    if self._checkpoints is None:
      return
    if self._best is None and self._checkpoints.latest_step() is not None:
      _, kept = self._checkpoints.restore(moment.state)
      self._best = kept["test_image_auroc"]
    if self._best is None or auroc > self._best:
      self._best = auroc
      self._checkpoints.save(moment.state, {"test_image_auroc": auroc})

  def selected(self, state: State) -> State:
    """The state to report: the last one, or the best if that was kept."""
    kept = self._checkpoints
    if kept is not None and kept.latest_step() is not None:
      state, _ = kept.restore(state)
      kept.close()
    return state


class OfficialProtocol:
  """The figures of the authors' test code, after every epoch and at the end.

  Args:
    detector: has `official`.
    score: state to [N] scores of the test by `official.score`.
    test: the test split.
    log: where the figure of an epoch goes.
  """

  def __init__(
    self, detector: Detector, score: Score, test: Examples, log: Log
  ):
    self._predict = detector.official.predict
    self._score, self._test, self._log = score, test, log

  def __call__(self, moment: Moment) -> None:
    """Evaluates the moment's state."""
    auroc = image_auroc(self._test.label, self._score(moment.state))
    head = {"step": moment.step, "epoch": moment.epoch}
    self._log.write(head | {"official_image_auroc": auroc})

  def figures(self, last: State, workdir: pathlib.Path) -> dict:
    """Of the last state and the best epoch; writes `scores_official.csv`."""
    score, label = self._score(last), self._test.label
    predicted = self._predict(score) if self._predict else None
    tables.write_scores(
      workdir / "scores_official.csv", self._test.id, label, score, predicted
    )
    epochs = {
      line["epoch"]: line["official_image_auroc"]
      for line in self._log.lines()
      if "official_image_auroc" in line
    }
    last_auroc = image_auroc(label, score)
    best = max(epochs, key=epochs.get, default=None)
    found = {
      "official_image_auroc": epochs.get(best, last_auroc),
      "official_best_epoch": best,
      "official_image_auroc_last_epoch": last_auroc,
    }
    if predicted is not None:
      found["official_f1"] = float(f1_score(label, predicted))
    return found
