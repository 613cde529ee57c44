# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Isolation forests of scikit-learn as arrays of one shape.

Liu, Ting and Zhou, "Isolation Forest", ICDM 2008.

No tree is deeper than `depth`, so each fits into a whole one: node i has the
children 2 i + 1 and 2 i + 2, the first `2**depth - 1` cut and the others end.
"""

import jax
import jax.numpy as jnp
import numpy as np

# Nothing is above it.
_NEVER = np.finfo(np.float32).max


def depth_of(n: int) -> int:
  """The most cuts on the way to an end, in trees of n rows."""
  return int(np.ceil(np.log2(n)))


def blank(key: jax.Array, n_trees: int, depth: int, dim: int) -> dict:
  """Arrays of the shapes of `arrays_of`, of cuts at 0 that tell nothing."""
  cuts, ends = 2**depth - 1, 2**depth
  return {
    "feature": jax.random.randint(key, (n_trees, cuts), 0, dim),
    "threshold": jnp.zeros((n_trees, cuts)),
    "length": jnp.zeros((n_trees, ends)),
    "expected": jnp.ones(()),
  }


def arrays_of(trees: list, n_rows: int, depth: int) -> dict:
  """A forest as arrays.

  Args:
    trees: the attributes `tree_` of its estimators.
    n_rows: that each was made of.
    depth: of the whole trees.

  Returns:
    `feature` and `threshold` of the cuts, `length` of the way to each end, and
    the `expected` one.
  """
  cuts, ends = 2**depth - 1, 2**depth
  feature = np.zeros((len(trees), cuts), np.int32)
  threshold = np.full((len(trees), cuts), _NEVER)
  length = np.zeros((len(trees), ends))

  def fill(k, tree, node, at, level):
    """Puts what is below a node of a tree below `at` of the whole one."""
    if tree.children_left[node] < 0:
      # From here the way leads left.
      end = (at + 1) * 2 ** (depth - level) - 1 - cuts
      length[k, end] = level + expected_length(tree.n_node_samples[node])
      return
    feature[k, at] = tree.feature[node]
    # The largest float32 that is not above it: float32 rows compare alike.
    cut = np.float32(tree.threshold[node])
    if cut > tree.threshold[node]:
      cut = np.nextafter(cut, np.float32(-np.inf))
    threshold[k, at] = cut
    fill(k, tree, tree.children_left[node], 2 * at + 1, level + 1)
    fill(k, tree, tree.children_right[node], 2 * at + 2, level + 1)

  for k, tree in enumerate(trees):
    fill(k, tree, 0, 0, 0)
  return {
    "feature": feature,
    "threshold": threshold,
    "length": length,
    "expected": max(expected_length(n_rows), 1e-12),
  }


def expected_length(n: int) -> float:
  """Mean depth at which a random tree of n rows sets one apart."""
  if n <= 2:
    return float(n == 2)
  return 2 * (np.log(n - 1) + np.euler_gamma) - 2 * (n - 1) / n


def isolation(arrays: dict, y: jax.Array) -> jax.Array:
  """2 to the minus mean depth, in units of what is expected: [B] of [B, D]."""
  feature, threshold, length, expected = (
    arrays[name] for name in ("feature", "threshold", "length", "expected")
  )
  n_trees, cuts = feature.shape
  trees = jnp.arange(n_trees)
  at = jnp.zeros((y.shape[0], n_trees), jnp.int32)
  for _ in range(depth_of(cuts + 1)):
    value = jnp.take_along_axis(y, feature[trees, at], axis=1)
    at = 2 * at + 1 + (value > threshold[trees, at])
  return 2 ** (-length[trees, at - cuts].mean(-1) / expected)
