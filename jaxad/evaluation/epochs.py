# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What a run computes after epochs, and what it chooses by it.

To choose by the test set is optimistic. It is done only where it was asked for,
and under a name of its own. Each of these is the `call` of an `EveryEpochs`.
"""

import operator
import pathlib
from collections.abc import Callable

import numpy as np
from sklearn.metrics import f1_score

from jaxad import hosts
from jaxad.callbacks import Log
from jaxad.checkpoints import Checkpoints
from jaxad.data.examples import Examples
from jaxad.detector import Detector, State
from jaxad.evaluation.metrics import image_auroc
from jaxad.loop import Moment
from jaxad.report import tables

Score = Callable[[State], np.ndarray]


class Selection:
  """Writes a figure of the state into the log; keeps the best if asked to.

  Args:
    name: of the figure, in the log.
    figure: of a state.
    better: (new, old) to whether the new figure is the better one.
    log: where the figure goes.
    best: where the state of the best figure is kept, or None.
  """

  def __init__(
    self,
    name: str,
    figure: Callable[[State], float | None],
    better: Callable[[float, float], bool],
    log: Log,
    best: Checkpoints | None = None,
  ):
    self._name, self._figure, self._better = name, figure, better
    self._log, self._checkpoints, self._best = log, best, None

  def __call__(self, moment: Moment) -> None:
    """Evaluates the moment's state."""
    figure = self._figure(moment.state)
    head = {"step": moment.step, "epoch": moment.epoch}
    self._log.write(head | {self._name: figure})
    if self._checkpoints is None:
      return
    if self._best is None and self._checkpoints.latest_step() is not None:
      _, kept = self._checkpoints.restore(moment.state)
      self._best = kept[self._name]
    if self._best is None or self._better(figure, self._best):
      self._best = figure
      self._checkpoints.save(moment.state, {self._name: figure})

  def selected(self, state: State) -> State:
    """The state to report: the last one, or the best if that was kept."""
    kept = self._checkpoints
    if kept is not None and kept.latest_step() is not None:
      state, _ = kept.restore(state)
      kept.close()
    return state


def by_test_auroc(
  score: Score, test: Examples, log: Log, best: Checkpoints | None = None
) -> Selection:
  """By the AUROC on the test set.

  Args:
    score: state to [N] image scores of the test.
    test: the test split.
    log: where the figure goes.
    best: where the state of the highest is kept, or None.
  """
  figure = lambda state: image_auroc(test.label, score(state))
  return Selection("test_image_auroc", figure, operator.gt, log, best)


def by_held_out(nll: Score, log: Log, best: Checkpoints) -> Selection:
  """By the likelihood of held-out normal examples; no label is needed.

  Args:
    nll: state to [N] negative log-likelihoods of these examples.
    log: where their mean goes.
    best: where the state of the lowest is kept.
  """
  figure = lambda state: float(np.mean(nll(state)))
  return Selection("held_out_nll", figure, operator.lt, log, best)


class Patience:
  """Ends a phase when held-out normal examples no longer score lower.

  What it has seen stands in the log, so a run that is continued ends where it
  would have ended.

  Args:
    score: state to [N] scores of these examples.
    epochs: without a new lowest mean before the phase ends.
    log: where the mean of an epoch goes.
  """

  def __init__(self, score: Score, epochs: int, log: Log):
    self._score, self._epochs, self._log = score, epochs, log

  def __call__(self, moment: Moment) -> bool:
    """Evaluates the moment's state; True ends the phase."""
    mean = float(np.mean(self._score(moment.state)))
    head = {"step": moment.step, "epoch": moment.epoch}
    self._log.write(head | {"held_out_score": mean})
    means = [
      line["held_out_score"]
      for line in self._log.lines()
      if "held_out_score" in line
      and line["step"] > moment.plan.start(moment.number)
    ]
    return len(means) - 1 - np.argmin(means) >= self._epochs


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
    if hosts.first():
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
