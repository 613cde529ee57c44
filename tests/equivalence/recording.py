# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""A recording of a reference implementation, and how closely to match it."""

import pathlib
from typing import NamedTuple

import numpy as np
import pytest

COMMITTED = pathlib.Path(__file__).parent / "goldens"


class Tolerance(NamedTuple):
  """Largest difference, relative to the largest entry of the array compared.

  Recordings are stored in float32, so nothing is known better than to 6e-8.
  """

  float32: float
  float64: float


FORWARD = Tolerance(1e-5, 1e-6)
GRADIENT = Tolerance(1e-4, 1e-6)
# What follows from training steps.
STEPS = Tolerance(1e-3, 1e-6)
# What is computed from parameters that were stored after some steps: float64
# starts from their rounding.
STORED = Tolerance(1e-3, 1e-5)
# FORWARD, GRADIENT and STEPS of codes that ran in float32: their rounding is in
# the recording, so float64 is compared as closely, no closer.
IN_SINGLE = tuple(Tolerance(rel, rel) for rel in (1e-5, 1e-4, 1e-3))

# Keywords of factories, and the names that recordings have for them.
ADAM = {"learning_rate": "learning_rate", "b1": "b1", "b2": "b2"}
ADAM |= {"eps": "adam_eps"}
NORMS = {"norm_epsilon": "bn_eps", "norm_momentum": "bn_momentum"}


class Golden(dict):
  """The arrays of one method's recording by key, floats in one precision."""

  def __init__(self, arrays, prefix=""):
    super().__init__(arrays)
    self._prefix = prefix

  def __missing__(self, key):
    raise KeyError(f"the recording has no array {self._prefix + key!r}")

  def group(self, prefix):
    """The arrays below a prefix, by the rest of their keys.

    Where there are none, the test is skipped.
    """
    n = len(prefix)
    found = {k[n:]: v for k, v in self.items() if k.startswith(prefix)}
    full = self._prefix + prefix
    if not found:
      pytest.skip(f"the recording has no arrays below {full!r}")
    return Golden(found, full)

  def cfg(self, name):
    """One of the numbers that are stored as arrays, in float32: 0.7, not
    0.699999988."""
    return self.single(f"input/cfg_{name}")

  def single(self, key):
    """A number that is stored in float32, as it was written."""
    return float(str(np.float32(self[key])))

  def hp(self, name):
    """A hyper-parameter as a Python scalar, exactly as it was stored."""
    return self[f"hp/{name}"].item()

  def keywords(self, **names):
    """{ours: the hyper-parameter of that name}, for a factory."""
    return {ours: self.hp(theirs) for ours, theirs in names.items()}


def read(folder, precision):
  """The recording in a folder."""
  files = sorted(folder.glob("*.npz"))
  if not files and folder.parent != COMMITTED and folder.parent.is_dir():
    pytest.skip(f"no recording (*.npz) in {folder}")
  assert files, f"no recording (*.npz) in {folder}"
  golden = Golden({})
  for file in files:
    with np.load(file) as arrays:
      for key in arrays:
        value = arrays[key]
        floating = np.issubdtype(value.dtype, np.floating)
        if floating and not key.startswith("hp/"):
          value = value.astype(precision)
        golden[key] = value
  return golden
