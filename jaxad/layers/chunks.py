# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Applying a function to a long axis piece by piece, in bounded memory."""

from collections.abc import Callable
from typing import Any

import jax

from jaxad.layers.cpu import concrete, on_cpu, unrolled_map


def map_chunks(fn: Callable, xs: Any, at_once: int):
  """Stacks fn over consecutive pieces of the leading axis of xs.

  A loop on accelerators, unrolled on a CPU.

  Args:
    fn: maps [k, ...] to a pytree of arrays, with the same k in every call.
    xs: [n, ...], or a pytree of such arrays.
    at_once: the most rows that one call may get; the pieces are the largest
      equal ones that this allows, and single rows where a shape is symbolic.

  Returns:
    The pytree with leading axes [n / k, ...], one row a call.
  """
  arrays = jax.tree.leaves(xs)
  n = arrays[0].shape[0]
  sizes = range(1, min(at_once, n) + 1) if concrete(*arrays) else [1]
  k = max(d for d in sizes if n % d == 0)
  pieces = jax.tree.map(lambda x: x.reshape((n // k, k) + x.shape[1:]), xs)
  unrolled = lambda pieces: unrolled_map(fn, pieces)
  if concrete(*arrays) and n == k:
    return unrolled(pieces)
  return on_cpu(unrolled, lambda pieces: jax.lax.map(fn, pieces), pieces)
