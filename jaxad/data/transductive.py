# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Transductive protocols: what is trained on, outliers and all, is tested.

Of Lai, Zou and Lerman, "Robust Subspace Recovery Layer for Unsupervised Anomaly
Detection", ICLR 2020 (arXiv 1904.00152). Nothing is drawn, and training sees no
label: all its examples have 0.
"""

import dataclasses
from typing import Literal

import numpy as np

from jaxad.columns import Columns
from jaxad.data.examples import Dataset, Examples
from jaxad.data.tables import scaled
from jaxad.errors import InputError

# Of which splits the examples are.
Protocol = Literal["contaminated", "contaminated_test"]
PROTOCOLS: dict[str, tuple[str, ...]] = {
  "contaminated": ("train", "test"),
  "contaminated_test": ("test",),
}


def mixed(dataset: Dataset, protocol: str, contamination: float) -> Dataset:
  """The normal examples and the first anomalous ones, to train on and to test.

  Args:
    dataset: as it was read.
    protocol: one of `PROTOCOLS`: "contaminated" takes both splits,
      "contaminated_test" the test split alone.
    contamination: c, of n normal examples int(c * n) anomalous ones, the first
      in the order of their names, which in a file of images is theirs.

  Returns:
    The data set; both of its splits are these examples, with their labels in
    `test` and with 0 in `train`.

  Raises:
    InputError: there are not so many, or c asks for none.
  """
  found = dataset.test
  if found.pixels is not None:
    raise InputError(
      f"protocol={protocol}: a scene is trained on and tested whole as it is; "
      "leave it out.",
      "protocol",
    )
  if PROTOCOLS[protocol] == ("train", "test"):
    train = dataset.train
    found = train.take(np.flatnonzero(train.label == 0)).joined(found)
  normal, odd = (np.flatnonzero(found.label == label) for label in (0, 1))
  n = int(contamination * len(normal))
  if not 0 < n <= len(odd):
    asked = "no anomalies" if not n else f"{n} anomalies, and there are fewer"
    raise InputError(
      f"contamination={contamination}: of {len(normal)} normal examples it "
      f"makes {asked}; protocol={protocol} takes some and has {len(odd)}.",
      "contamination",
    )
  names = sorted(odd, key=found.id.__getitem__)
  rows = np.concatenate([normal, names[:n]])
  test = found.take(sorted(rows, key=found.id.__getitem__))
  columns, train = dataset.preprocess, hidden(test)
  if isinstance(columns, Columns):
    columns, (train, test) = scaled(columns, train, test)
  return dataset._replace(train=train, test=test, preprocess=columns)


def hidden(examples: Examples) -> Examples:
  """The same without what is known of them."""
  label = np.zeros_like(examples.label)
  return dataclasses.replace(examples, label=label, mask=None)
