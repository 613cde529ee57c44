# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Max pooling with PyTorch's padding, its ceil mode and its rule for ties."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxad.errors import InputError
from jaxad.layers.cpu import on_cpu
from jaxad.layers.cpu.pool import max_of_taps


def max_pool(
  x: jax.Array,
  window: int,
  stride: int,
  padding: int = 0,
  ceil_mode: bool = False,
) -> jax.Array:
  """Maximum over window x window pixels of x [B, H, W, C].

  Padding is with -inf. Where several pixels of a window are equal, the gradient
  goes to the first one, row by row, on every platform and as in PyTorch. NaN
  anywhere in a window gives NaN.

  Args:
    x: feature maps, NHWC, floating point.
    window: side of the window.
    stride: step in both directions.
    padding: -inf on all four sides, at most half the window.
    ceil_mode: whether a last window may reach over the right and lower edge, as
      long as it begins inside the image.

  Returns:
    [B, h, w, C].

  Raises:
    InputError: the image is too small for one window.
  """
  outputs = [
    _outputs(n, window, stride, padding, ceil_mode) for n in x.shape[1:3]
  ]
  if min(outputs) < 1 or min(x.shape[1:3]) < 1:
    raise InputError(
      f"max_pool: a feature map of {x.shape[1]}x{x.shape[2]} is too small for "
      f"a {window}x{window} window; use larger images"
    )
  # Negative where the stride leaves pixels unused.
  pads = [
    (padding, (out - 1) * stride + window - n - padding, 0)
    for n, out in zip(x.shape[1:3], outputs, strict=True)
  ]
  if any(pad != (0, 0, 0) for pad in pads):
    lowest = jnp.array(-jnp.inf, x.dtype)
    x = lax.pad(x, lowest, [(0, 0, 0), *pads, (0, 0, 0)])

  def reduce_window(x):
    return lax.reduce_window(
      x,
      -jnp.inf,
      lax.max,
      window_dimensions=(1, window, window, 1),
      window_strides=(1, stride, stride, 1),
      padding="VALID",
    )

  slices = lambda x: max_of_taps(x, window, stride, tuple(outputs))
  return on_cpu(slices, reduce_window, x)


def _outputs(size, window, stride, padding, ceil_mode):
  """Number of windows along one side, as PyTorch counts them."""
  extra = stride - 1 if ceil_mode else 0
  count = (size + 2 * padding - window + extra) // stride + 1
  if ceil_mode and (count - 1) * stride >= size + padding:
    count -= 1
  return count
