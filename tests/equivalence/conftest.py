# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Recordings of the reference implementations, and their comparison.

Without an option the tests replay the recordings in `goldens/`; with
`--goldens DIR` those in `DIR/<method>/*.npz`, which have the same keys and may
have other sizes and other hyper-parameters. Sizes are read off the arrays,
hyper-parameters from the entries `hp/...`; what a recording lacks is skipped.
"""

import pathlib

import chex
import jax
import numpy as np
import pytest
from recording import COMMITTED, read

# In the names of tests that compile training steps.
STEPS = ("step", "gradient", "test_gan", "test_encoder")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
  """Steps are replayed in float64; in float32, which is less close, as whole.

  A step compiles for long, and CI has both.
  """
  for item in items:
    params = item.callspec.params if hasattr(item, "callspec") else {}
    if params.get("precision") == "float32":
      if any(word in item.name for word in STEPS):
        item.add_marker(pytest.mark.whole)


@pytest.fixture(params=["float32", "float64"])
def precision(request):
  """Runs a test in both precisions; yields the one that is on."""
  with jax.enable_x64(request.param == "float64"):
    yield request.param


@pytest.fixture
def close(precision):
  """Asserts |got - want| <= tolerance * max |want|, see `recording.Tolerance`.

  With `together`, gradients of one loss: what cancels out in one of them is not
  known better than to the rounding of the largest of all.
  """

  def assert_close(got, want, tolerance, together=False):
    rel = getattr(tolerance, precision)
    leaves = lambda tree: jax.tree.map(np.asarray, tree)
    got, want = leaves(got), leaves(want)
    chex.assert_trees_all_equal_shapes(got, want)
    largest = max(np.abs(w).max() for w in jax.tree.leaves(want))
    floor = float(np.finfo(precision).eps * largest) if together else 0.0
    jax.tree.map(
      lambda g, w: chex.assert_trees_all_close(
        g, w, rtol=0, atol=max(rel * float(np.abs(w).max()), floor)
      ),
      got,
      want,
    )

  return assert_close


@pytest.fixture
def load_golden(request, precision):
  """Returns a function from a method's name to its `Golden`."""
  chosen = request.config.getoption("--goldens")
  folder = pathlib.Path(chosen) if chosen else COMMITTED
  return lambda method: read(folder / method, precision)
