# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Max pooling with PyTorch's padding, its ceil mode and its rule for ties.

`lax.reduce_window` is slow on XLA:CPU, its gradient most of all, so there the
maximum is taken over shifted, strided slices. Milliseconds for a 3x3 window and
stride 2 in float32 on two cores, jax 0.10.2 (and 0.12):

                          forward             gradient
    [24, 111, 111, 64]    33 -> 4 (14 -> 5)   418 -> 38 (263 -> 66)
    [24, 55, 55, 192]     12 -> 3 (12 -> 4)   176 -> 30 (194 -> 50)
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from jaxad.errors import InputError


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

  slices = lambda x: _max_of_taps(x, window, stride, tuple(outputs))
  return lax.platform_dependent(x, cpu=slices, default=reduce_window)


def _outputs(size, window, stride, padding, ceil_mode):
  """Number of windows along one side, as PyTorch counts them."""
  extra = stride - 1 if ceil_mode else 0
  count = (size + 2 * padding - window + extra) // stride + 1
  if ceil_mode and (count - 1) * stride >= size + padding:
    count -= 1
  return count


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2, 3))
def _max_of_taps(x, window, stride, outputs):
  """The maximum over the taps of windows that all lie inside x."""
  return functools.reduce(jnp.maximum, _strided(x, window, stride, outputs))


@_max_of_taps.defjvp
def _max_of_taps_jvp(window, stride, outputs, primals, tangents):
  """The tangent is that of the first maximum, found once and kept."""
  best, *others = _strided(primals[0], window, stride, outputs)
  first = jnp.zeros(best.shape, jnp.uint8)
  for k, y in enumerate(others, 1):
    stays = (best >= y) | jnp.isnan(best)
    best, first = jnp.where(stays, best, y), jnp.where(stays, first, k)
  # Else XLA finds it anew for each tap.
  best, first = lax.optimization_barrier((best, first))
  moved = [
    jnp.where(first == k, y, 0)
    for k, y in enumerate(_split(tangents[0], window, stride, outputs))
  ]
  return best, sum(moved)


def _strided(x, window, stride, outputs):
  """[B, h, w, C] for each tap of a window, row by row."""
  return [
    x[:, i::stride, j::stride][:, : outputs[0], : outputs[1]]
    for i in range(window)
    for j in range(window)
  ]


def _split(x, window, stride, outputs):
  """`_strided`, whose transpose is slow, by other means.

  Pixels are split by their place in blocks of stride x stride, not indexed: the
  transpose of an index is a dilated pad.
  """
  batch, *size, channels = x.shape
  blocks = [n + (window - 1) // stride for n in outputs]
  # Negative where the stride leaves pixels unused.
  pads = [
    (0, stride * block - n, 0) for n, block in zip(size, blocks, strict=True)
  ]
  x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *pads, (0, 0, 0)])
  x = x.reshape(batch, blocks[0], stride, blocks[1], stride * channels)
  places = [
    lax.split(row[:, :, 0], (channels,) * stride, axis=3)
    for row in lax.split(x, (1,) * stride, axis=2)
  ]
  taps = []
  for i in range(window):
    for j in range(window):
      (row, u), (column, v) = divmod(i, stride), divmod(j, stride)
      y = lax.slice_in_dim(places[u][v], row, row + outputs[0], axis=1)
      taps.append(lax.slice_in_dim(y, column, column + outputs[1], axis=2))
  return taps
