# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""A few rows more in a batch that several devices share.

Rows that normalise together are one array. Put in front of a batch, a few rows
would push the rows of every device on to the next one, in and out of every
layer that looks at rows; so each device has its part of both.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxad.distributed import shares
from jaxad.layers.batch_norm import Counted


def together(
  few: jax.Array, x: jax.Array
) -> tuple[jax.Array, bool | Counted, Callable]:
  """Two batches as one, equally shared by the devices.

  Args:
    few: [R, ...] float32, rows that every device has.
    x: [B, ...] float32, rows that the devices share.

  Returns:
    (rows [R' + B, ...] in some order, R' - R of them zeros so that the devices
    have as many each; `train` of networks, by which norms leave these out; and
    a function that takes what has become of the rows, [R' + B, ...], to the
    mean of the few [...] and the others [B, ...]).
  """
  parts = shares(x)
  n, r = len(parts), len(few)
  each = -(-r // n)
  few = jnp.pad(few, [(0, n * each - r)] + [(0, 0)] * (few.ndim - 1))
  rows = jnp.concatenate([few.reshape(n, each, *few.shape[1:]), parts], axis=1)
  real = (jnp.arange(n * each) < r).astype(jnp.float32).reshape(n, each)
  train: bool | Counted = True
  if n * each > r:
    others = jnp.ones(parts.shape[:2], jnp.float32)
    weight = jnp.concatenate([real, others], axis=1).reshape(-1)
    train = Counted(weight, r + len(x))

  def apart(y):
    y = y.reshape(n, -1, *y.shape[1:])
    first = y[:, :each] * real.reshape(n, each, *(1,) * (y.ndim - 2))
    return first.sum((0, 1)) / r, y[:, each:].reshape(-1, *y.shape[2:])

  return rows.reshape(-1, *x.shape[1:]), train, apart
