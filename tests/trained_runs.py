# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Runs of every method as a folder, without training."""

import zlib

import jax
import numpy as np
from test_detector import CASES, SIZE, plan_of

from jaxad import config as configs
from jaxad import fields, trained
from jaxad.data.examples import Examples
from jaxad.preprocess import Preprocess

BATCH = 4


def config_of(method, **changes):
  """The configuration of a small model; keywords as of the method."""
  config = configs.base(method)
  config.eval.batch_size = BATCH
  config.eval.threshold = "quantile"
  config.data.image_size = side_of(method)
  for name, value in (CASES[method].keywords | changes).items():
    if fields.is_group(type(value)):
      for field in value._fields:
        config.detector[name][field] = getattr(value, field)
    else:
      config.detector[name] = value
  return config


def side_of(method):
  return CASES[method].normal(1, 0).shape[1]


def disturbed(state):
  """Fresh parameters are often zeros; these are not, but for the same ones."""
  arrays = {}
  for name, value in trained.arrays_of(state).items():
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    value = np.asarray(value)
    if value.dtype == np.uint8:
      value = rng.integers(0, 256, value.shape, np.uint8)
    elif not np.issubdtype(value.dtype, np.floating):
      pass  # numbers of columns
    elif name.endswith("var"):
      value = np.float32(rng.uniform(0.5, 2, value.shape))
    elif np.issubdtype(value.dtype, np.floating):
      value = value + np.float32(rng.normal(0, 0.05, value.shape))
    arrays[name] = value
  return trained.with_arrays(state, arrays)


def examples_of(x):
  n = len(x)
  return Examples(
    x,
    np.zeros(n, np.int32),
    tuple(f"train/good/{k}.png" for k in range(n)),
    ("good",) * n,
    None,
  )


def write_run(folder, method, **changes):
  """Makes the folder of a run; returns the images of its threshold."""
  config = config_of(method, **changes)
  detector = configs.build_detector(config)
  x = CASES[method].normal(BATCH, 0)
  batch = {"x": x, "label": np.zeros(BATCH, np.int32)}
  state = detector.init(jax.random.key(1), batch, plan_of(detector))
  for phase in detector.phases:
    if phase.step is None:  # what was not fitted may say the same of all
      rows = batch | {
        "x": CASES[method].odd(BATCH, 1),
        "weight": np.ones(BATCH),
      }
      state = phase.fit(state, iter([rows]))
  folder.mkdir(parents=True, exist_ok=True)
  trained.save(
    folder,
    config=config.to_dict(),
    state=disturbed(state),
    preprocess=Preprocess(x.shape[1:3]),
    normal=examples_of(x),
    scores=np.float32([0.1, 0.4, 0.2, 0.3]),
    threshold=0.385,
    source="held-out images",
    key=jax.random.key(2),
    fingerprint={"data": {}, "weights": None},
  )
  return x


def images_of(n, seed=0):
  """Images of other sizes than a detector's."""
  rng = np.random.default_rng(seed)
  return [
    rng.integers(0, 256, (SIZE + 2 * k, SIZE + 5, 3), np.uint8)
    for k in range(n)
  ]


def damaged(blob, seed):
  """The bytes of a file, cut off somewhere or with one of them changed."""
  rng = np.random.default_rng(seed)
  at = int(rng.integers(len(blob)))
  if seed % 2:
    return blob[:at]
  changed = bytearray(blob)
  changed[at] ^= int(rng.integers(1, 256))
  return bytes(changed)
