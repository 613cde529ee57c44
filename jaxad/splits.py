# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What a run trains on, holds out and takes its threshold from."""

import dataclasses
import sys

import numpy as np

from jaxad import data
from jaxad.columns import Columns
from jaxad.data.examples import Dataset, Examples
from jaxad.data.tables import scaled
from jaxad.detector import Detector
from jaxad.errors import InputError
from jaxad.seeding import generator


@dataclasses.dataclass(frozen=True)
class Splits:
  """The data of a run.

  Attributes:
    data: training split, test split and outliers.
    normal: normal examples whose scores set the threshold.
    held_out: whether training goes without them.
  """

  data: Dataset
  normal: Examples
  held_out: bool

  def by_name(self) -> dict[str, Examples | None]:
    """All that makes up the data, for a fingerprint."""
    return {
      "train": self.data.train,
      "test": self.data.test,
      "outliers": self.data.outliers,
      "held_out": self.normal if self.held_out else None,
    }


def load(
  fields: dict, holdout: float, threshold_images: int, detector: Detector
) -> Splits:
  """Reads the data and divides them; the seed of all draws is the data's own.

  Args:
    fields: keywords of `data.load`.
    holdout: share of the normal training images that is kept from training.
    threshold_images: the most training images whose scores set the threshold
      where none are held out.
    detector: which knows what rows it reads.

  Raises:
    InputError: the data cannot be read, or are not what the method reads.
  """
  kinds = learnt(detector)
  if fields.get("outlier_root") and "outliers" not in kinds:
    # What is not learnt from need not be read.
    raise InputError(
      f"outlier_root={fields['outlier_root']}: the method, as it is "
      "configured, learns nothing from images of another data set; leave it "
      "out.",
      "outlier_root",
    )
  found = data.load(**fields)
  normal = np.flatnonzero(found.train.label == 0)
  anomalous = len(found.train.label) - len(normal)
  if anomalous and not kinds & {"anomalous", "all"}:
    print(
      f"leaving out {anomalous} labelled anomalies: the method learns from "
      "normal images alone",
      file=sys.stderr,
    )
    found = found._replace(train=found.train.take(normal))
  if not anomalous and "anomalous" in kinds:
    print(
      "NOTE: there are no labelled anomalies; draw some from the test with "
      "n_anomalies=10, or put them into train/<kind>/ of a folder",
      file=sys.stderr,
    )
  of_scene = found.test.pixels is not None
  if holdout and of_scene:
    raise InputError(
      f"holdout={holdout}: a scene is trained on whole; set it to 0.", "holdout"
    )
  if holdout and found.transductive:
    raise InputError(
      f"holdout={holdout}: what is tested is what is trained on, and who is "
      "normal in it is not known, so none can be held out; set it to 0.",
      "holdout",
    )
  if holdout:
    return held_out(found, holdout, fields["seed"])
  # Of a scene all pixels are taken for normal, whatever the truth says.
  source = found.test if of_scene else found.train
  normal = np.arange(len(source.label))
  if not of_scene:
    normal = normal[source.label == 0]
  order = generator("threshold", fields["seed"]).permutation(len(normal))
  chosen = normal[np.sort(order[:threshold_images])]
  return _splits(found, found.train, source.take(chosen), held_out=False)


def learnt(detector: Detector, needed: bool = False) -> set[str]:
  """The rows that the steps of a detector read, see `Stream.rows`.

  Args:
    detector: any.
    needed: only those without which it has nothing to learn.
  """
  return {
    stream.rows
    for phase in detector.phases
    if phase.step is not None
    for stream in phase.streams
    if stream.required or not needed
  }


def held_out(found: Dataset, holdout: float, seed: int) -> Splits:
  """Keeps a share of the normal training examples from training.

  Raises:
    InputError: it leaves nothing to train on.
  """
  normal = np.flatnonzero(found.train.label == 0)
  n = len(normal)
  n_held = max(1, round(n * holdout))
  if n_held >= n:
    raise InputError(
      f"holdout={holdout}: it leaves nothing of the {n} normal training "
      "images; lower it.",
      "holdout",
    )
  order = generator("holdout", seed).permutation(n)
  held = np.sort(normal[order[:n_held]])
  rest = np.setdiff1d(np.arange(len(found.train.label)), held)
  train, held = found.train.take(rest), found.train.take(held)
  return _splits(found, train, held, held_out=True)


def _splits(found, train, normal, held_out):
  """What is trained on are tiles, where there are any, and not images."""
  outliers, test, columns = found.outliers, found.test, found.preprocess
  if isinstance(columns, Columns):
    columns, (train, test, normal) = scaled(columns, train, test, normal)
  found = found._replace(
    train=train.flat(),
    test=test,
    outliers=outliers and outliers.flat(),
    preprocess=columns,
  )
  return Splits(found, normal, held_out)
