# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Rotation of images on the device, and the smoothing of maps.

`rotate_nearest` gives what Pillow's `Image.rotate(degrees, NEAREST)` gives;
`rotate_cubic` and `gaussian_smooth` give what SciPy's `ndimage.rotate(order=3,
reshape=False)` and `ndimage.gaussian_filter` give. Positive angles turn
counter-clockwise. The two filters of SciPy are linear along an axis, so they
are matrices here: one product an axis, fast on every platform.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np


def rotate_nearest(image: jax.Array, degrees: jax.Array) -> jax.Array:
  """Rotates about the centre; pixels that come from outside are 0.

  Source positions are 16.16 fixed-point numbers, as in Pillow, so that both
  pick the same pixel.

  Args:
    image: [H, W, C], any dtype.
    degrees: scalar float32; a NumPy constant is taken in float64.

  Returns:
    [H, W, C] of the image's dtype.
  """
  height, width = image.shape[:2]
  xp = np if isinstance(degrees, np.ndarray) else jnp
  radians = -xp.deg2rad(degrees)
  cos, sin = xp.cos(radians), xp.sin(radians)
  fixed = lambda v: xp.floor(v * 65536 + 0.5).astype(xp.int32)
  # Where the first pixel comes from; the half takes pixel centres to pixel
  # centres.
  skew = sin * ((width - height) / 2)
  x0 = fixed(width / 2 + (cos + sin) * (0.5 - width / 2) + skew)
  y0 = fixed(height / 2 + (cos - sin) * (0.5 - height / 2) + skew)
  row = np.arange(height, dtype=np.int32)[:, None]
  column = np.arange(width, dtype=np.int32)
  x = (x0 + fixed(cos) * column + fixed(sin) * row) >> 16
  y = (y0 - fixed(sin) * column + fixed(cos) * row) >> 16
  inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
  source = xp.where(inside, y * width + x, 0).reshape(-1)
  pixels = image.reshape(height * width, -1)[source].reshape(image.shape)
  return jnp.where(inside[..., None], pixels, 0).astype(image.dtype)


def rotate_each(x: jax.Array, degrees: jax.Array | None) -> jax.Array:
  """Images [B, H, W, C] turned by [B] degrees; None leaves them as they are."""
  return x if degrees is None else jax.vmap(rotate_nearest)(x, degrees)


def draw_rotation(key, n: int, most: float) -> jax.Array | None:
  """[n] degrees from U(-most, most); None for a most of 0."""
  if not most:
    return None
  return jax.random.uniform(key, (n,), minval=-most, maxval=most)


def rotate_cubic(image: jax.Array, degrees: np.ndarray) -> jax.Array:
  """Rotates by cubic spline interpolation; 0 outside.

  Args:
    image: [H, W, C] floating point.
    degrees: a NumPy scalar or a traced scalar.

  Returns:
    [H, W, C] of the image's dtype.
  """
  height, width = image.shape[:2]
  coefficients = _along_axes(
    _spline_prefilter(height), _spline_prefilter(width), image
  )
  radians = jnp.deg2rad(jnp.asarray(degrees, image.dtype))
  cos, sin = jnp.cos(radians), jnp.sin(radians)
  offset = lambda n: jnp.arange(n, dtype=image.dtype) - (n - 1) / 2
  row, column = offset(height)[:, None], offset(width)
  y = cos * row + sin * column + (height - 1) / 2
  x = cos * column - sin * row + (width - 1) / 2
  # A quarter turn must not lose its border to the rounding of the cosine.
  slack = max(height, width) * jnp.finfo(image.dtype).eps
  in_range = lambda v, n: (v >= -slack) & (v <= n - 1 + slack)
  flat = coefficients.reshape(height * width, -1)
  out = 0.0
  for i, wy in _cubic_taps(y, height):
    for j, wx in _cubic_taps(x, width):
      out += (wy * wx)[..., None] * flat[i * width + j]
  inside = in_range(y, height) & in_range(x, width)
  return jnp.where(inside[..., None], out, 0)


def _cubic_taps(v, size):
  """The four (index, weight) of the cubic B-spline around positions v."""
  base = jnp.floor(v)
  t = v - base
  weights = (
    (1 - t) ** 3 / 6,
    (4 - 6 * t**2 + 3 * t**3) / 6,
    (4 - 6 * (1 - t) ** 2 + 3 * (1 - t) ** 3) / 6,
    t**3 / 6,
  )
  for k, weight in enumerate(weights):
    index = jnp.abs(base.astype(jnp.int32) + (k - 1))  # mirrored about 0 ...
    index = jnp.minimum(index, 2 * (size - 1) - index)  # ... and size - 1
    yield jnp.clip(index, min=0, max=size - 1), weight


@functools.cache
def _spline_prefilter(size: int) -> np.ndarray:
  """[size, size] float64: samples to cubic spline coefficients, mirrored."""
  basis = (
    np.diag(np.full(size, 4.0))
    + np.diag(np.ones(size - 1), 1)
    + np.diag(np.ones(size - 1), -1)
  )
  basis[0, 1] = basis[-1, -2] = 2  # the mirror image of the neighbour
  return np.linalg.inv(basis / 6)


def gaussian_smooth(
  image: jax.Array, sigma: float, truncate: float = 4.0
) -> jax.Array:
  """Gaussian filter of both image axes, reflected at the border.

  Args:
    image: [..., H, W, C] floating point.
    sigma: standard deviation in pixels.
    truncate: how many of them the kernel reaches to either side.

  Returns:
    [..., H, W, C] of the image's dtype.
  """
  return _along_axes(
    *(_gaussian_matrix(n, sigma, truncate) for n in image.shape[-3:-1]), image
  )


def _along_axes(rows: np.ndarray, columns: np.ndarray, image: jax.Array):
  """Each column of images [..., H, W, C] by one matrix, each row by another."""
  rows, columns = (jnp.asarray(m, image.dtype) for m in (rows, columns))
  return jnp.einsum(
    "iy,jx,...yxc->...ijc", rows, columns, image, precision="highest"
  )


@functools.cache
def _gaussian_matrix(size: int, sigma: float, truncate: float) -> np.ndarray:
  """[size, size] float64, one Gaussian a row, its tails folded back in."""
  radius = int(truncate * sigma + 0.5)
  offsets = np.arange(-radius, radius + 1)
  weights = np.exp(-0.5 * (offsets / sigma) ** 2)
  weights /= weights.sum()
  matrix = np.zeros((size, size))
  for i in range(size):
    source = (i + offsets) % (2 * size)
    source = np.where(source < size, source, 2 * size - 1 - source)
    np.add.at(matrix[i], source, weights)
  return matrix
