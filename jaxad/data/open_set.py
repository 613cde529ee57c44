# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Protocols of open-set supervised detection: a few anomalies are labelled.

They are drawn from the test side and leave it. The rules "general" and "hard"
are those of Ding, Pang and Shen, "Catching Both Gray and Black Swans", CVPR
2022 (DRA, arXiv 2203.14506), as in the authors' code; "open" is for a set with
kinds that appear only at test, in one figure beside those that were seen.
"""

import dataclasses
import typing
from typing import Annotated, Literal

import numpy as np

from jaxad.data.examples import Dataset, Examples
from jaxad.errors import InputError
from jaxad.fields import CountOrZero, Range, check

Setting = Literal["general", "hard", "open"]

# Every generator of NumPy takes these.
Seed = Annotated[int, Range(0, 1e9)]

Contamination = Annotated[float, Range(0, 0.99)]


@dataclasses.dataclass(frozen=True)
class Rule:
  """Which anomalies move from the test into training.

  The anomalies of the test are put in order, by kind and then by id, and
  shuffled by `numpy.random.RandomState(split_seed)`. The first are trained on.

  Attributes:
    setting: from where they are drawn:
      "general": from all kinds.
      "hard": from the one kind `known_class`; what is left of it is dropped,
        so that all anomalies of the test are of unseen kinds.
      "open": from the kinds `known_class`; what is left of them is tested
        together with the kinds that were not seen.
    known_class: a kind; for "open" one or several with commas between them, or
      None for the first half of all kinds in the order of their names, rounded
      up.
    n_anomalies: how many are labelled.
    pool: how many leave the test; None is as many as are trained on. One-shot
      runs of the paper have n_anomalies=1 and pool=10, and so the test of
      runs with ten. Without effect in the setting "hard".
    contamination: share of further anomalies among the training images called
      normal, 0 to 0.99. They follow the labelled ones in the shuffled order,
      have label 0, and keep their kind. Unlike in the official code, which
      tests on them too, they always leave the test.
    split_seed: of the shuffle; not that of the run.

  Raises:
    InputError: a value that no data set could satisfy.
  """

  setting: Setting = "general"
  known_class: str | None = None
  n_anomalies: CountOrZero = 0
  pool: CountOrZero | None = None
  contamination: Contamination = 0.0
  split_seed: Seed = 42

  def __post_init__(self):
    kinds = typing.get_type_hints(Rule, include_extras=True)
    for name, kind in kinds.items():
      check(name, getattr(self, name), kind)
    if self.pool is not None and self.pool < self.n_anomalies:
      raise InputError(
        f"pool={self.pool}: expected {self.n_anomalies}, the n_anomalies, or "
        "more, because what is trained on cannot be tested",
        "pool",
      )
    if self.setting == "general" and self.known_class:
      raise InputError(
        f"known_class={self.known_class!r}: expected None, because "
        "setting=general draws from all kinds; set setting to hard or open",
        "known_class",
      )
    if self.setting == "hard" and not self.known_class:
      raise InputError(
        "known_class=None: expected the kind of anomaly that is trained on, "
        "which setting=hard needs",
        "known_class",
      )

  @property
  def is_idle(self) -> bool:
    """Whether it moves nothing."""
    return self == Rule(split_seed=self.split_seed)

  def apply(self, dataset: Dataset) -> Dataset:
    """Moves the anomalies.

    Args:
      dataset: as it was read.

    Returns:
      The data set with the drawn examples in `train`, whose mask is then None,
      and without them in `test`. The same object where there is nothing to do.

    Raises:
      InputError: an unknown kind, or too few anomalies to draw from.
    """
    if self.is_idle:
      return dataset
    train, test = dataset
    if test.pixels is not None:
      raise InputError(
        f"n_anomalies={self.n_anomalies}: a scene is trained on whole, and "
        "without labels; leave n_anomalies, pool, contamination and setting "
        "out",
        "n_anomalies",
      )
    rows = np.flatnonzero(test.label == 1).tolist()
    rows.sort(key=lambda row: (test.kind[row], test.id[row]))
    if not rows:
      raise InputError(
        "there are no anomalous test images to draw from; leave n_anomalies, "
        "pool, contamination and setting out, or put anomalies into "
        "train/<kind>/"
      )
    known = self._known(sorted({test.kind[row] for row in rows}))
    drawn = [row for row in rows if test.kind[row] in known]
    np.random.RandomState(self.split_seed).shuffle(drawn)
    n_normal = int((train.label == 0).sum())
    # As in the official code, to the last bit.
    n_hidden = int(n_normal / (1 - self.contamination) * self.contamination)
    moved = drawn[: self.n_anomalies + n_hidden]
    if self.setting == "hard":
      gone = drawn
    else:
      gone = drawn[: max(self.pool or 0, len(moved))]
    self._check_enough(len(drawn), n_hidden)
    if moved:
      label = np.zeros(len(moved), np.int32)
      label[: self.n_anomalies] = 1
      extra = dataclasses.replace(test.take(np.array(moved)), label=label)
      train = train.joined(extra)
    kept = np.setdiff1d(np.arange(len(test.label)), gone)
    return dataclasses.replace(dataset, train=train, test=test.take(kept))

  def _known(self, kinds):
    """The kinds from which anomalies are drawn."""
    if self.setting == "general":
      return kinds
    if len(kinds) < 2:
      raise InputError(
        f"setting={self.setting!r}: it keeps kinds of anomalies from training, "
        f"but this set has one kind alone, {kinds[0]}; set it to general",
        "setting",
      )
    if not self.known_class:
      return kinds[: (len(kinds) + 1) // 2]
    known = [self.known_class]
    if self.setting == "open":
      known = [name.strip() for name in self.known_class.split(",")]
    for name in known:
      if name not in kinds:
        raise InputError(
          f"known_class={self.known_class!r}: {name!r} is not a kind of "
          f"anomaly of this set; expected {', '.join(kinds)}",
          "known_class",
        )
    if set(known) == set(kinds):
      raise InputError(
        f"known_class={self.known_class!r}: all kinds of this set, which "
        "leaves none for the test alone; name fewer, or set setting=general",
        "known_class",
      )
    return known

  def _check_enough(self, n, n_hidden):
    """Whether n anomalies are enough to draw from."""
    if self.setting == "hard":
      if self.n_anomalies + n_hidden > n:
        raise InputError(
          f"n_anomalies={self.n_anomalies}: with {n_hidden} by contamination "
          f"more than the {n} anomalies of known_class={self.known_class}; "
          "lower them",
          "n_anomalies",
        )
      return
    if 2 * self.n_anomalies > n:
      raise InputError(
        f"n_anomalies={self.n_anomalies}: more than half of the {n} anomalies "
        "to draw from, and too few would be left to test on; lower it to "
        f"{n // 2} or less",
        "n_anomalies",
      )
    gone = max(self.pool or 0, self.n_anomalies + n_hidden)
    if gone >= n:
      # As many as half of the anomalies alone always fit.
      name = "pool" if (self.pool or 0) >= n else "contamination"
      raise InputError(
        f"{name}={getattr(self, name)}: {gone} of the {n} anomalies would "
        f"leave the test, {n_hidden} by contamination; lower it",
        name,
      )


def seen_kinds(train: Examples) -> tuple[str, ...]:
  """The kinds of the labelled anomalies of a training split, sorted.

  All other kinds of anomaly in the test are unseen.
  """
  labelled = zip(train.kind, train.label, strict=True)
  return tuple(sorted({kind for kind, label in labelled if label == 1}))


def three_to_one(n: int, seed: int = 42) -> tuple[np.ndarray, np.ndarray]:
  """Splits n normal images as the authors of DRA do.

  Equals scikit-learn's `train_test_split(test_size=0.25, random_state=seed)`.

  Returns:
    (train, test): int64 rows; test has ceil(n / 4) of them.
  """
  order = np.random.RandomState(seed).permutation(n)
  cut = -(-n // 4)
  return order[cut:], order[:cut]
