# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Applying a function to a long axis piece by piece, in bounded memory."""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def map_chunks(fn: Callable, xs: jax.Array, at_once: int):
  """Stacks fn over consecutive pieces of the leading axis of xs.

  A loop on accelerators; unrolled on CPU, where convolutions inside an XLA
  loop lose their threaded kernels and take ten times as long.

  Args:
    fn: maps [k, ...] to a pytree of arrays, with the same k in every call.
    xs: [n, ...].
    at_once: the most rows that one call may get; the pieces are the largest
      equal ones that this allows.

  Returns:
    The pytree with leading axes [n / k, ...], one row a call.
  """
  n = xs.shape[0]
  k = max(d for d in range(1, min(at_once, n) + 1) if n % d == 0)
  pieces = xs.reshape((n // k, k) + xs.shape[1:])

  def unrolled(pieces):
    results = []
    for piece in pieces:
      if results:
        # One after the other, so that they share their memory.
        piece, results[-1] = jax.lax.optimization_barrier((piece, results[-1]))
      results.append(fn(piece))
    return jax.tree.map(lambda *r: jnp.stack(r), *results)

  if n == k:
    return unrolled(pieces)
  loop = lambda pieces: jax.lax.map(fn, pieces)
  return jax.lax.platform_dependent(pieces, cpu=unrolled, default=loop)
