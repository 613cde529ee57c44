# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Pillow's antialiased bilinear resize, also where Pillow is not installed.

Both ways give the same bytes, so a deployed scorer that has NumPy alone sees
the pixels that training saw.
"""

import math

import numpy as np

try:
  from PIL import Image
except ImportError:  # beside a deployed scorer
  Image = None

# Pillow's fixed-point weights: 32 bits less 8 of the pixel and 2 for the sum.
_PRECISION = 32 - 8 - 2


def resized(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """Resizes an image to (H, W).

  Args:
    x: uint8 [h, w, C] or float32 [h, w].
    size: (H, W) in pixels.

  Returns:
    Of x's dtype, [H, W, C] or [H, W].
  """
  if x.shape[:2] == tuple(size):
    return x
  if Image is None:
    return by_numpy(x, size)
  return by_pillow(x, size)


def by_pillow(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """As `resized`, by Pillow."""
  grey = x.ndim == 3 and x.shape[2] == 1
  image = Image.fromarray(x[..., 0] if grey else np.ascontiguousarray(x))
  image = image.resize(size[::-1], Image.Resampling.BILINEAR)
  return np.asarray(image).reshape(*size, *x.shape[2:])


def by_numpy(x: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """As `resized`, by NumPy: first along the width, then along the height."""
  for axis in (1, 0):
    if x.shape[axis] != size[axis]:
      x = _along(x, size[axis], axis)
  return x


def _along(x, length, axis):
  first, weights = _triangles(x.shape[axis], length)
  x = np.moveaxis(x, axis, 0)
  exact = x.dtype == np.uint8
  if exact:
    # Half away from zero, as in C; the weights are not negative.
    weights = np.floor(weights * (1 << _PRECISION) + 0.5).astype(np.int64)
  total = np.zeros((length, *x.shape[1:]), weights.dtype)
  for k in range(weights.shape[1]):
    # A weight of 0 stands where a window has ended.
    rows = np.minimum(first + k, len(x) - 1)
    total += weights[:, k].reshape(-1, *[1] * (x.ndim - 1)) * x[rows]
  if exact:
    total = np.clip((total + (1 << (_PRECISION - 1))) >> _PRECISION, 0, 255)
  return np.moveaxis(total.astype(x.dtype), 0, axis)


def _triangles(n, length):
  """Where the window of each output pixel starts, and its weights.

  Returns:
    int [length] and float64 [length, widest window].
  """
  scale = n / length
  reach = max(scale, 1.0)
  widest = 2 * math.ceil(reach) + 1
  first = np.zeros(length, np.int64)
  weights = np.zeros((length, widest))
  for i in range(length):
    centre = (i + 0.5) * scale
    low = max(int(centre - reach + 0.5), 0)
    high = min(int(centre + reach + 0.5), n)
    k = np.arange(high - low)
    window = np.maximum(1 - np.abs((k + low - centre + 0.5) / reach), 0)
    first[i], weights[i, : len(k)] = low, window / window.sum()
  return first, weights
