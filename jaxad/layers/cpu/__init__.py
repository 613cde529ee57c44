# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Forms of layers that are faster on XLA:CPU, and the one switch to them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def concrete(*arrays: Any) -> bool:
  """Whether all shapes are numbers; a `jax.export` may have symbols in them."""
  return all(
    isinstance(n, int) for array in jax.tree.leaves(arrays) for n in array.shape
  )


def on_cpu(form: Callable, plain: Callable, *arrays: Any):
  """form(*arrays) where the program runs on a CPU, else plain(*arrays).

  The program decides when it is compiled for a platform, so an export for
  several has both. Forms depend on the shapes: where those are symbolic, the
  program is plain on every platform, and `form` is not called.

  Args:
    form: equal to `plain` up to float rounding, for concrete shapes.
    plain: for all platforms and shapes.
    *arrays: their arguments, arrays or pytrees of them.
  """
  if not concrete(*arrays):
    return plain(*arrays)
  return lax.platform_dependent(*arrays, cpu=form, default=plain)


def unrolled_map(fn: Callable, pieces: Any):
  """`lax.map(fn, pieces)` without a loop.

  Convolutions inside an XLA:CPU loop lose their threaded kernels and take ten
  times as long.
  """
  results = []
  for k in range(len(jax.tree.leaves(pieces)[0])):
    piece = jax.tree.map(lambda p, k=k: p[k], pieces)
    if results:
      # One after the other, so that they share their memory.
      piece, results[-1] = lax.optimization_barrier((piece, results[-1]))
    results.append(fn(piece))
  return jax.tree.map(lambda *r: jnp.stack(r), *results)
