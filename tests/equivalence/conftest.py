# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Recordings of the reference implementations, and how closely to match them.

Without an option the tests replay the recordings in `goldens/`; with
`--goldens DIR` those in `DIR/<method>/*.npz`, which have the same keys and may
have other sizes.
"""

import pathlib

import chex
import jax
import numpy as np
import pytest

COMMITTED = pathlib.Path(__file__).parent / "goldens"


class Golden(dict):
  """The arrays of one method's recording by key, floats in one precision."""

  def group(self, prefix):
    """The arrays below a prefix, by the rest of their keys."""
    found = Golden(
      {k[len(prefix) :]: v for k, v in self.items() if k.startswith(prefix)}
    )
    assert found, f"the recording has no arrays below {prefix!r}"
    return found


@pytest.fixture(params=["float32", "float64"])
def precision(request):
  """Runs a test in both precisions; yields the one that is on."""
  with jax.enable_x64(request.param == "float64"):
    yield request.param


@pytest.fixture
def close(precision):
  """Asserts |got - want| <= rel * max |want|; ten times tighter in float64.

  With `together`, gradients of one loss: what cancels out in one of them is not
  known better than to the rounding of the largest of all.
  """

  def assert_close(got, want, rel, together=False):
    tolerance = rel * (0.1 if precision == "float64" else 1.0)
    leaves = lambda tree: jax.tree.map(np.asarray, tree)
    got, want = leaves(got), leaves(want)
    chex.assert_trees_all_equal_shapes(got, want)
    largest = max(np.abs(w).max() for w in jax.tree.leaves(want))
    floor = float(np.finfo(precision).eps * largest) if together else 0.0
    jax.tree.map(
      lambda g, w: chex.assert_trees_all_close(
        g, w, rtol=0, atol=max(tolerance * float(np.abs(w).max()), floor)
      ),
      got,
      want,
    )

  return assert_close


@pytest.fixture
def load_golden(request, precision):
  """Returns a function from a method's name to its `Golden`."""

  def load(method):
    chosen = request.config.getoption("--goldens")
    folder = (pathlib.Path(chosen) if chosen else COMMITTED) / method
    files = sorted(folder.glob("*.npz"))
    assert files, f"no recording (*.npz) in {folder}"
    golden = Golden()
    for file in files:
      with np.load(file) as arrays:
        for key in arrays:
          value = arrays[key]
          floating = np.issubdtype(value.dtype, np.floating)
          golden[key] = value.astype(precision) if floating else value
    return golden

  return load
