# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Winograd's form of a 3x3 convolution, see `jaxad.layers.cpu.conv`.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016
(arXiv 1509.09308).
"""

import math

import jax.numpy as jnp
import numpy as np
from jax import lax

# From so many channels (in and out) and tiles (over the batch) on, 3x3 kernels
# go through Winograd's transform on a CPU: with fewer channels the transforms
# cost what the products save, with fewer tiles that of the kernel does. The
# tiles may be this much larger than the output that they cover.
LEAST_CHANNELS = 128
LEAST_TILES = 192
MOST_WASTE = 1.5


def _toom_cook(points, outputs, taps):
  """Matrices A, G, B with correlation(d, g) = A^T [(G g) * (B^T d)].

  d has outputs + taps - 1 entries, one for every point and one for infinity:
  Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016
  (arXiv 1509.09308).
  """
  points = np.asarray(points)
  others = [np.delete(points, i) for i in range(len(points))]
  scale = np.array(
    [np.prod(p - o) for p, o in zip(points, others, strict=True)]
  )
  last = lambda n: np.eye(n)[-1:]
  a = np.concatenate([np.vander(points, outputs, True), last(outputs)])
  g = np.concatenate(
    [np.vander(points, taps, True) / scale[:, None], last(taps)]
  )
  b = [[*np.poly(o)[::-1], 0.0] for o in others] + [np.poly(points)[::-1]]
  return a.T.tolist(), g.tolist(), np.asarray(b).tolist()


# Outputs of 4x4 pixels. These points round five times better in float32 than
# the usual 0, 1, -1, 2, -2: to 3e-6 of the largest value, the plain form to
# 8e-7 (256 channels).
TILE = 4
OUTPUT, KERNEL, INPUT = _toom_cook((0, 3 / 4, -3 / 4, 4 / 3, -4 / 3), TILE, 3)


def pays(x, kernel, padding):
  """Whether a 3x3 kernel of stride 1 should take `convolve`."""
  if x.dtype not in (jnp.float32, jnp.float64):
    return False
  if min(kernel.shape[2:]) < LEAST_CHANNELS:
    return False
  size = [n + sum(p) - 2 for n, p in zip(x.shape[1:3], padding, strict=True)]
  tiles = math.prod(-(-n // TILE) for n in size)
  if TILE**2 * tiles > MOST_WASTE * math.prod(size):
    return False
  return len(x) * tiles >= LEAST_TILES


def convolve(x, kernel, padding):
  """`conv.plain` of a 3x3 kernel with a quarter of the multiplications.

  Tiles of 6x6 pixels, four apart, and the kernel are transformed so that every
  4x4 pixels of output take 36 products of matrices, not 144. Everything is
  split and stacked, not indexed: the transposes then are as fast.
  """
  batch, *size, channels = x.shape
  features = kernel.shape[-1]
  out = [n + sum(p) - 2 for n, p in zip(size, padding, strict=True)]
  rows, columns = (-(-n // TILE) for n in out)
  # One tile more than of output, for the two pixels that reach over.
  pads = [
    (p[0], TILE * (tiles + 1) - n - p[0], 0)
    for n, p, tiles in zip(size, padding, (rows, columns), strict=True)
  ]
  x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *pads, (0, 0, 0)])
  x = x.reshape(batch, rows + 1, TILE, columns + 1, TILE, channels)
  x = jnp.stack(_combine(INPUT, _overlapping(x, 1)))
  x = jnp.stack(_combine(INPUT, _overlapping(x, 3)), axis=1)
  points = len(INPUT)
  transform = np.kron(KERNEL, KERNEL).astype(kernel.dtype)
  kernel = transform @ kernel.reshape(9, -1)
  y = x.reshape(points**2, -1, channels) @ kernel.reshape(
    points**2, channels, features
  )
  y = y.reshape(points, points, batch, rows, columns, features)
  y = jnp.stack(_combine(OUTPUT, _unstack(y, 1)), axis=4)
  y = jnp.stack(_combine(OUTPUT, _unstack(y, 0)), axis=2)
  y = y.reshape(batch, TILE * rows, TILE * columns, features)
  return y[:, : out[0], : out[1]]


def _combine(matrix, arrays):
  return [
    sum(c * a for c, a in zip(row, arrays, strict=True) if c) for row in matrix
  ]


def _unstack(x, axis):
  parts = lax.split(x, (1,) * x.shape[axis], axis)
  return [jnp.squeeze(part, axis) for part in parts]


def _overlapping(x, axis):
  """Pixels 0 to TILE + 1 of every tile but the last, [.., tiles, TILE, ..]."""
  parts = _unstack(x, axis + 1)
  tiles = x.shape[axis] - 1
  return [lax.slice_in_dim(p, 0, tiles, axis=axis) for p in parts] + [
    lax.slice_in_dim(p, 1, None, axis=axis) for p in parts[:2]
  ]
