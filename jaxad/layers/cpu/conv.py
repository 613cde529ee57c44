# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Convolution: faster forms for XLA:CPU.

The form for a shape is chosen here and nowhere else; all are equal up to float
rounding. Milliseconds in float32 on two cores, jax 0.10.2 (and 0.12):

    1x1 kernels: a matrix product
      [24, 55, 55, 128] to 64 channels      34 -> 6    (14 -> 6)
    gradient by the pixels, stride > 1 on few channels: space-to-depth
      [24, 448, 448, 3], 11x11, stride 4   450 -> 102  (504 -> 103)
      [24, 224, 224, 3], 7x7, stride 2     151 -> 79   (150 -> 115)
      [24, 448, 448, 3], 3x3, stride 2     148 -> 99   (155 -> 119)

    outputs of up to 2x2 pixels: a matrix product of gathered windows
      [64, 2, 2, 512] to 512, 4x4, stride 2: forward 665 -> 11,
      by the pixels 114 -> 6, by the kernel 20 -> 5
      [64, 4, 4, 256] to 512, 4x4, stride 2: 21 -> 10, 949 -> 14, 18 -> 10
      [64, 4, 4, 256] to 100, 4x4: 1.5 -> 0.9, 6.8 -> 0.6, 1.2 -> 0.9

(The last group under other load; from 4x4 pixels on it loses.)

    gradient by a kernel of up to 3x3 on few channels: the same product (jax
    0.10.2, other load)
      [24, 127, 127, 3] to 64, 3x3, stride 2: 100 -> 34
      [24, 31, 31, 16] to 64, 3x3: 130 -> 25
      [24, 15, 15, 32] to 128, 3x3: 15 -> 13

    kernels of GANs, stride 2: forward and both gradients (CPU time of both
    cores, jax 0.10.2, freed memory kept as by `jaxad.runtime`, other load; in
    brackets PyTorch's)
      5x5, no padding: windows, gathered once for two of the three products
        [64, 29, 29, 64] to 128              231 -> 154 (110)
        [64, 13, 13, 128] to 256             109 ->  79  (91)
      the same, transposed: the gradients of a convolution
        [64, 13, 13, 128] to 64              247 -> 160 (110)
        [64, 5, 5, 256] to 128               114 ->  79  (91)
      4x4, padding 1, transposed
        [64, 8, 8, 128] to 64                 41 ->  31
        [64, 4, 4, 256] to 128                34 ->  28
    gradient by the pixels of such 4x4 kernels: the product of a transposed
    convolution (CPU time of one core)
      [64, 14, 14, 64] to 64                 17 -> 10
      [64, 16, 16, 64] to 128                23 -> 20

Space-to-depth does not pay in the forward pass of the first of those (163 ->
380, 85 -> 109) nor in its gradient by the kernel; and on 64 input channels it
gains nothing anywhere.

Two more forms are for training large trunks (jax 0.10.2 alone, other load):

    3x3 kernels on many channels, stride 1: Winograd's F(4x4, 3x3)
                                        forward     by pixels   by the kernel
      [16, 56, 56, 128] to 128         162 -> 129  168 -> 138   498 -> 170
      [16, 28, 28, 256] to 256         159 ->  89  158 ->  92   259 -> 116
      [16, 14, 14, 512] to 512         159 -> 101  160 -> 105   162 -> 110
      [16, 28, 28, 128] to 128          38 ->  18   38 ->  20    46 ->  41
      [16, 14, 14, 256] to 256          39 ->  20   40 ->  20    40 ->  25
    gradient by the kernel over many pixels: a sum over blocks
      [16, 112, 112, 64] to 64                                  494 -> 221
      [16, 112, 112, 64] to 128, stride 2                       381 -> 263
      [16, 448, 448, 3] to 64, 7x7, stride 2                    618 -> 310

Winograd gains nothing on 64 channels, and F(2x2, 3x3) gains less than it at
batch 8 to 24. Slower gradients by the kernel than the plain one, on 64
channels: tiles of pixels taken for channels, products of gathered windows, and
above all a `lax.scan` over the blocks (fifty times slower than unrolled).
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax

from jaxad.distributed import shares
from jaxad.layers.cpu import concrete, on_cpu, winograd

# Up to here the gradient by a strided convolution's input is faster through
# space-to-depth (measured at 3 and 64 channels).
FEW_CHANNELS = 4

# From so many pixels of output of a batch on, see FEW_CHANNELS.
MANY_PIXELS = 100_000

# Up to so many pixels of output, windows are gathered on a CPU.
FEW_PIXELS = 4

# The longest side of a kernel whose windows are gathered, see _shares_windows.
MOST_TAPS = 5

# Up to so many channels, the gradient by a 3x3 kernel is a matrix product of
# gathered windows on a CPU.
NARROW_CHANNELS = 32

# The gradient by the kernel sums over blocks of up to about so many pixels of
# output on a CPU, since XLA's product runs out of the caches on larger ones.
# Blocks of an eighth are faster by 5 to 35 per cent, but compile far longer.
BLOCK_PIXELS = 25088


def convolve(
  x: jax.Array,
  kernel: jax.Array,
  stride: int,
  padding: tuple[tuple[int, int], tuple[int, int]],
) -> jax.Array:
  """`plain`, in the fastest form where the program runs on a CPU.

  Args:
    x: [B, H, W, C_in], where padded not smaller than the kernel.
    kernel: [k, k, C_in, C_out].
    stride: step in both directions.
    padding: zeros, ((top, bottom), (left, right)).

  Returns:
    [B, h, w, C_out].
  """
  if not concrete(x, kernel):
    return plain(x, kernel, stride, padding)
  window = kernel.shape[:2]
  if window == (1, 1) and padding == ((0, 0), (0, 0)):
    form = lambda x, k: _product(x[:, ::stride, ::stride], k[0, 0])
  elif math.prod(_size(x, kernel, stride, padding)) <= FEW_PIXELS:
    form = lambda x, k: _gathered(x, k, stride, padding)
  elif (stride, *window) == (1, 3, 3) and winograd.pays(x, kernel, padding):
    form = lambda x, k: winograd.convolve(x, k, padding)
  else:
    form = lambda x, k: _down(x, k, stride, padding)
  return on_cpu(form, lambda x, k: plain(x, k, stride, padding), x, kernel)


def convolve_transposed(
  x: jax.Array,
  kernel: jax.Array,
  stride: int,
  padding: tuple[tuple[int, int], tuple[int, int]],
) -> jax.Array:
  """See `jaxad.layers.conv.convolve_transposed`; something is left of it."""
  folded = lambda x, k: _folded(x, k, stride, padding)
  if not concrete(x, kernel) or math.prod(x.shape[1:3]) <= FEW_PIXELS:
    return folded(x, kernel)
  size = tuple(
    stride * (n - 1) + k - sum(pads)
    for n, k, pads in zip(x.shape[1:3], kernel.shape, padding, strict=False)
  )
  form = lambda x, k: _up(x, k.swapaxes(2, 3), stride, padding, size)
  return on_cpu(form, folded, x, kernel)


def plain(x, kernel, stride, padding):
  """The convolution of accelerators, see `jaxad.layers.conv.convolve`."""
  return lax.conv_general_dilated(
    x,
    kernel,
    window_strides=(stride, stride),
    padding=padding,
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )


def _gathered(x, kernel, stride, padding):
  """`plain` as one product: windows times the kernel."""
  windows = _windows(x, stride, padding, kernel.shape[:2])
  return _product(windows, kernel.reshape(-1, kernel.shape[-1]))


def _windows(x, stride, padding, window):
  """What each pixel of the output sees, [B, h, w, k^2 C]."""
  x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
  rows, columns = (
    [slice(a, n - k + a + 1, stride) for a in range(k)]
    for n, k in zip(x.shape[1:3], window, strict=True)
  )
  return jnp.concatenate(
    [x[:, row, column] for row in rows for column in columns], axis=-1
  )


def _product(x, matrix):
  """x [B, h, w, C] @ matrix, whose gradient is slow unless x has two axes."""
  y = x.reshape(-1, x.shape[-1]) @ matrix
  return y.reshape(*x.shape[:-1], matrix.shape[-1])


def _space_to_depth(x, kernel, stride, padding):
  """`plain` as a stride-1 convolution over blocks of stride x stride pixels.

  The image becomes [B, rows, cols, stride^2 C_in] and the kernel, filled up
  with zeros to a multiple of the stride, [k', k', stride^2 C_in, C_out].
  """
  batch, *size, channels = x.shape
  *window, _, features = kernel.shape
  taps = [-(-k // stride) for k in window]
  blocks = [
    (n + sum(pad) - k) // stride + tap
    for n, pad, k, tap in zip(size, padding, window, taps, strict=True)
  ]
  # The last pads are negative where the stride leaves pixels unused.
  pads = [
    (pad[0], stride * block - n - pad[0], 0)
    for n, pad, block in zip(size, padding, blocks, strict=True)
  ]
  x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *pads, (0, 0, 0)])
  x = x.reshape(batch, blocks[0], stride, blocks[1], stride, channels)
  x = x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, *blocks, -1)
  kernel = jnp.pad(
    kernel,
    [
      (0, stride * taps[0] - window[0]),
      (0, stride * taps[1] - window[1]),
      (0, 0),
      (0, 0),
    ],
  )
  kernel = kernel.reshape(taps[0], stride, taps[1], stride, channels, features)
  kernel = kernel.transpose(0, 2, 1, 3, 4, 5).reshape(*taps, -1, features)
  return plain(x, kernel, 1, ((0, 0), (0, 0)))


# A convolution x, k -> y is bilinear, and so are its gradients by the pixels,
# y, k -> x, and by the kernel, x, y -> k. The gradients of each of the three
# are the other two: each has its own form, and derivatives of every order.


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _down(x, kernel, stride, padding):
  """`plain`."""
  if _shares_windows(x, kernel, stride, padding):
    return _gathered(x, kernel, stride, padding)
  return plain(x, kernel, stride, padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _up(y, kernel, stride, padding, size):
  """The gradient of `plain` by pixels of a size [B, *size, C_in]."""
  x = jax.ShapeDtypeStruct((len(y), *size, kernel.shape[2]), y.dtype)
  form = plain
  if _folds(x, kernel, stride, padding):
    return _folded(y, kernel.swapaxes(2, 3), stride, padding)
  if stride > 1 and x.shape[-1] <= FEW_CHANNELS and _pixels(y) > MANY_PIXELS:
    form = _space_to_depth
  down = lambda x: form(x, kernel, stride, padding)
  return jax.linear_transpose(down, x)(y)[0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _across(x, y, stride, padding, window):
  """The gradient of `plain` by a kernel [*window, C_in, C_out]."""
  few, channels = _pixels(y) <= BLOCK_PIXELS, x.shape[-1]
  kernel = jax.ShapeDtypeStruct((*window, channels, y.shape[-1]), x.dtype)
  if (max(window) <= 3 and channels <= NARROW_CHANNELS) or _shares_windows(
    x, kernel, stride, padding
  ):
    return _product_of_windows(x, y, stride, padding, window)
  if few:
    down = lambda kernel: plain(x, kernel, stride, padding)
  else:
    size = y.shape[1:3]
    down = lambda kernel: _by_blocks(x, kernel, stride, padding, size)
  return jax.linear_transpose(down, kernel)(y)[0]


_down.defvjp(
  lambda x, kernel, *how: (_down(x, kernel, *how), (x, kernel)),
  lambda stride, padding, kept, y: (
    _up(y, kept[1], stride, padding, kept[0].shape[1:3]),
    _across(kept[0], y, stride, padding, kept[1].shape[:2]),
  ),
)
_up.defvjp(
  lambda y, kernel, *how: (_up(y, kernel, *how), (y, kernel)),
  lambda stride, padding, size, kept, x: (
    _down(x, kept[1], stride, padding),
    _across(x, kept[0], stride, padding, kept[1].shape[:2]),
  ),
)
_across.defvjp(
  lambda x, y, *how: (_across(x, y, *how), (x, y)),
  lambda stride, padding, window, kept, kernel: (
    _up(kept[1], kernel, stride, padding, kept[0].shape[1:3]),
    _down(kept[0], kernel, stride, padding),
  ),
)


def _shares_windows(x, kernel, stride, padding):
  """Whether one array of windows is for `_down` and `_across`.

  XLA makes it once for both. Of kernels of many taps, as AlexNet's first of
  11x11, to compile it takes minutes.
  """
  pixels = len(x) * math.prod(_size(x, kernel, stride, padding))
  taps = kernel.shape[:2]
  large = stride > 1 and 2 * stride < min(taps) and max(taps) <= MOST_TAPS
  return large and pixels <= BLOCK_PIXELS


def _product_of_windows(x, y, stride, padding, window):
  """`_across` as one product of gathered windows."""
  windows = _windows(x, stride, padding, window)
  shape = (*window, x.shape[-1], y.shape[-1])
  windows = windows.reshape(-1, windows.shape[-1])
  y = y.reshape(-1, y.shape[-1])
  if windows.shape[-1] < y.shape[-1]:
    return (windows.T @ y).reshape(shape)
  # Faster than the other way round, which XLA would make of it.
  kernel = lax.optimization_barrier(y.T @ windows)
  return kernel.T.reshape(shape)


def _by_blocks(x, kernel, stride, padding, size):
  """`plain` to `size`, by blocks of images or of rows of an image."""
  images = max(1, BLOCK_PIXELS // math.prod(size))
  count = -(-math.prod(size) // BLOCK_PIXELS)
  step = -(-size[0] // count)
  (top, _), sides = padding
  parts = shares(x)
  blocks = []
  for i in range(0, parts.shape[1], images):
    part = parts[:, i : i + images]
    part = part.reshape(-1, *x.shape[1:])
    rows = []
    for first in range(0, size[0], step):
      # The rows of x under the kernel, the first and last perhaps outside it.
      low = stride * first - top
      last = min(first + step, size[0]) - 1
      high = stride * last + len(kernel) - top
      pad = (max(-low, 0), max(high - x.shape[1], 0))
      block = part[:, max(low, 0) : high]
      rows.append(plain(block, kernel, stride, (pad, sides)))
    rows = jnp.concatenate(rows, axis=1)
    blocks.append(rows.reshape(len(parts), -1, *rows.shape[1:]))
  y = jnp.concatenate(blocks, axis=1)
  return y.reshape(len(x), *y.shape[2:])


def _pixels(x):
  """Of all images [B, H, W, C]."""
  return math.prod(x.shape[:3])


def _size(x, kernel, stride, padding):
  """Rows and columns of the output of `plain`."""
  return [
    (n + sum(p) - k) // stride + 1
    for n, p, k in zip(x.shape[1:3], padding, kernel.shape, strict=False)
  ]


# Transposed convolutions, which gradients by the pixels are.


def _folded(x, kernel, stride, padding):
  """A transposed convolution as one product, whose blocks are added up."""
  batch, *size, channels = x.shape
  *window, _, features = kernel.shape
  kept = [
    slice(before, stride * (n - 1) + k - after)
    for n, k, (before, after) in zip(size, window, padding, strict=True)
  ]
  y = x.reshape(-1, channels) @ kernel.transpose(2, 0, 1, 3).reshape(
    channels, -1
  )
  if size == [1, 1]:
    y = y.reshape(batch, *window, features)
    return y[:, *kept]
  # Every pixel gives taps x taps blocks of stride x stride pixels, the last
  # ones filled up with zeros; blocks of neighbours are added where they meet.
  taps = [-(-k // stride) for k in window]
  fill = [(0, stride * t - k) for t, k in zip(taps, window, strict=True)]
  y = y.reshape(batch, *size, *window, features)
  y = jnp.pad(y, [(0, 0)] * 3 + fill + [(0, 0)])
  y = y.reshape(batch, *size, taps[0], stride, taps[1], stride, features)
  zero = jnp.zeros((), y.dtype)
  whole = (0, 0, 0)
  y = sum(
    lax.pad(
      y[:, :, :, u, :, v],
      zero,
      [whole, (u, taps[0] - 1 - u, 0), (v, taps[1] - 1 - v, 0)] + [whole] * 3,
    )
    for u in range(taps[0])
    for v in range(taps[1])
  )
  rows, cols = y.shape[1:3]
  y = y.transpose(0, 1, 3, 2, 4, 5)
  y = y.reshape(batch, stride * rows, stride * cols, features)
  return y[:, *kept]


def _folds(x, kernel, stride, padding):
  """Whether the gradient by the pixels is a faster `_folded`."""
  size = _size(x, kernel, stride, padding)
  return (
    stride > 1
    and kernel.shape[:2] == (2 * stride, 2 * stride)
    and padding == ((stride // 2,) * 2,) * 2
    and list(x.shape[1:3]) == [stride * n for n in size]
    and len(x) * math.prod(size) <= BLOCK_PIXELS
  )
