# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Filters of a single image that look for what is small; on the host.

They sort, label and sum over windows, which compiled programs are no better at.
"""

import numpy as np


def min_max(x: np.ndarray, eps: float) -> np.ndarray:
  """(x - min) / (max - min + eps)."""
  return (x - x.min()) / (x.max() - x.min() + eps)


def area_opening(image: np.ndarray, area: int) -> np.ndarray:
  """Takes off what is brighter than all around it and smaller than an area.

  The value of a pixel becomes the highest t for which the pixels of t or more
  that are connected with it, by their sides, are so many. Vincent, "Grayscale
  Area Openings and Closings, their Efficient Implementation and Applications",
  1993.

  Args:
    image: [h, w] integers, 0 or more.
    area: in pixels.

  Returns:
    The same shape and dtype.
  """
  from scipy import ndimage

  levels = np.unique(image)
  opened = np.full_like(image, levels[0] if image.size >= area else 0)
  for level in levels[1:]:
    regions, _ = ndimage.label(image >= level)
    large = np.bincount(regions.ravel()) >= area
    large[0] = False
    kept = large[regions]
    if not kept.any():
      break
    opened[kept] = level
  return opened


def attribute_profile(image: np.ndarray, area: int) -> np.ndarray:
  """What the opening and the closing by an area take off, together.

  Args:
    image: int [h, w] of 0..255.
    area: in pixels.
  """
  opened = area_opening(image, area)
  closed = 255 - area_opening(255 - image, area)
  return (image - opened) + (closed - image)


def guided_filter(image: np.ndarray, radius: int, eps: float) -> np.ndarray:
  """Smooths an image but for its edges, guided by itself.

  He, Sun and Tang, "Guided Image Filtering", TPAMI 2013: in each window it is
  the image times v / (v + eps), v its variance there, plus a constant; a pixel
  gets the mean over the windows that hold it. At the border windows end.

  Args:
    image: float [h, w].
    radius: windows are of 2 radius + 1 pixels.
    eps: variance below which a window is flat, in squared units of the image.
  """
  mean = _window_mean(image, radius)
  # Rounding may leave a flat window a little less than nothing.
  variance = np.maximum(_window_mean(image**2, radius) - mean**2, 0)
  factor = variance / (variance + eps)
  rest = mean - factor * mean
  return _window_mean(factor, radius) * image + _window_mean(rest, radius)


def _window_mean(image, radius):
  """The mean of the part of each window that lies within the image."""
  total, count = np.float64(image), np.ones(image.shape)
  for axis in (0, 1):
    total, count = (_window_sum(v, radius, axis) for v in (total, count))
  return total / count


def _window_sum(v, radius, axis):
  n = v.shape[axis]
  sums = np.cumsum(v, axis)
  sums = np.concatenate([np.zeros_like(v.take([0], axis)), sums], axis)
  last = np.minimum(np.arange(n) + radius + 1, n)
  first = np.maximum(np.arange(n) - radius, 0)
  return sums.take(last, axis) - sums.take(first, axis)
