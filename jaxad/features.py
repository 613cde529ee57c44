# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Frozen features in place of images, computed once for a whole run."""

import dataclasses
import pathlib
import sys

import numpy as np

from jaxad import hosts
from jaxad.detector import State
from jaxad.evaluation.scoring import Scorer
from jaxad.report import tables
from jaxad.splits import Splits


def cached(
  scorer: Scorer, state: State, splits: Splits, views: int, folder: pathlib.Path
) -> Splits:
  """The data of a run with features [N, V, D] for images.

  Training rows are seen as a training step sees them, in so many random views;
  the test and the normal rows for the threshold as scoring sees them.

  Args:
    scorer: of the detector.
    state: its state before training.
    splits: images.
    views: of each training example.
    folder: of the run; what lies there already is read again.
  """

  def features(name, examples, views=None):
    path = folder / f"features_{name}.npy"
    if hosts.of_first(path.is_file):
      [x] = hosts.arrays_of_first(lambda: [np.load(path)])
      return dataclasses.replace(examples, x=x)
    print(f"computing the features of {name} images", file=sys.stderr)
    found = scorer.embed(state, examples, views)
    if hosts.first():
      tables.write_array(path, found.x)
    return found

  data = splits.data._replace(
    train=features("train", splits.data.train, views),
    test=features("test", splits.data.test),
  )
  return dataclasses.replace(
    splits, data=data, normal=features("normal", splits.normal)
  )
