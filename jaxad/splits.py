# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What a run trains on, holds out and takes its threshold from."""

import sys

import numpy as np

from jaxad import data
from jaxad.data.examples import Dataset, Examples
from jaxad.detector import Balance, Detector
from jaxad.errors import InputError


def load(config, detector: Detector) -> tuple[Dataset, Examples | None]:
  """The data set, and the normal training images held out (or None).

  Raises:
    InputError: the data cannot be read, or are not what the method needs.
  """
  fields = config.data.to_dict()
  fraction = fields.pop("holdout")
  balance = balance_of(detector)
  if balance is None:
    # What is not learnt from need not be read.
    _check_no_outliers(config)
  dataset = data.load(**fields, seed=config.seed)
  if balance is None:
    dataset = _normal_alone(config, dataset)
  else:
    _check_labelled(config, balance, dataset)
  return _held_out(config, dataset, fraction) if fraction else (dataset, None)


def balance_of(detector: Detector) -> Balance | None:
  """How the detector mixes its batches; None if it sees normal images alone."""
  return detector.phases[0].balance


def _check_no_outliers(config):
  if config.data.outlier_root:
    raise InputError(
      f"config.data.outlier_root={config.data.outlier_root}: {config.method} "
      "learns from normal images alone; leave it out."
    )


def _normal_alone(config, dataset):
  normal = np.flatnonzero(dataset.train.label == 0)
  if left_out := len(dataset.train.label) - len(normal):
    print(
      f"leaving out {left_out} labelled anomalies: {config.method} learns from "
      "normal images alone",
      file=sys.stderr,
    )
    dataset = dataset._replace(train=dataset.train.take(normal))
  return dataset


def _check_labelled(config, balance, dataset):
  takes = balance.outlier_share > 0 or balance.n_outliers > 0
  if dataset.outliers is None and balance.outlier_share > 0:
    raise InputError(
      f"{config.method} with config.detector.pseudo=outliers takes images of "
      "another data set for anomalies: say where they are with "
      "config.data.outlier_root."
    )
  if dataset.outliers is not None and not takes:
    raise InputError(
      f"config.data.outlier_root={config.data.outlier_root}: {config.method} "
      "does not use such images as it is configured; leave it out"
      + (
        ", or set config.detector.pseudo=outliers."
        if "pseudo" in config.detector
        else "."
      )
    )
  if not (dataset.train.label == 1).any():
    remedy = (
      "draw some from the test with config.data.n_anomalies=10, or put them "
      "into train/<kind>/ of a folder."
    )
    if balance.needs_anomalies:
      raise InputError(
        f"{config.method} learns from labelled anomalies, and there are none: "
        f"{remedy}"
      )
    print(f"NOTE: there are no labelled anomalies; {remedy}", file=sys.stderr)


def _held_out(config, dataset, fraction):
  normal = np.flatnonzero(dataset.train.label == 0)
  n = len(normal)
  n_held = max(1, round(n * fraction))
  if n_held >= n:
    raise InputError(
      f"config.data.holdout={fraction} leaves nothing of the {n} normal "
      "training images; lower it."
    )
  order = np.random.default_rng(config.seed).permutation(n)
  held = np.sort(normal[order[:n_held]])
  rest = np.setdiff1d(np.arange(len(dataset.train.label)), held)
  train, held = dataset.train.take(rest), dataset.train.take(held)
  return dataset._replace(train=train), held


def first_batch(detector: Detector, train: Examples, seed: int) -> dict:
  """What `init` looks at: one image, and the references that a state keeps."""
  batch = {"x": train.x[:1]}
  balance = balance_of(detector)
  if balance is not None and balance.n_kept:
    normal = np.flatnonzero(train.label == 0)
    order = np.random.default_rng(seed).permutation(normal)
    # A set may have fewer images than are asked for.
    rows = np.resize(order, balance.n_kept)
    batch["reference"] = train.x[rows]
  return batch


def threshold_examples(
  config, train: Examples, holdout: Examples | None
) -> Examples:
  """Normal examples whose scores set the threshold."""
  if holdout is not None:
    return holdout
  normal = np.flatnonzero(train.label == 0)
  order = np.random.default_rng(config.seed).permutation(len(normal))
  return train.take(np.sort(normal[order[: config.eval.threshold_images]]))
