# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Colour jitter of image views, on the device."""

import jax
import jax.numpy as jnp
import numpy as np

# Luma of ITU-R 601, which Pillow and torchvision use for grey.
LUMA = np.float32([0.299, 0.587, 0.114])


def draw_jitter(key, shape, brightness, contrast, saturation):
  """Draws factors from [1 - strength, 1 + strength], never below 0.

  Args:
    key: PRNG key.
    shape: of the views.
    brightness, contrast, saturation: strengths, 0 for none.

  Returns:
    [*shape, 3] float32 in this order, or None where all strengths are 0.
  """
  strengths = np.float32([brightness, contrast, saturation])
  if not strengths.any():
    return None
  low = np.maximum(0, 1 - strengths)
  return jax.random.uniform(key, shape + (3,), minval=low, maxval=1 + strengths)


def color_jitter(x: jax.Array, factors: jax.Array | None) -> jax.Array:
  """Brightness, then contrast, then saturation, as torchvision defines them.

  (torchvision draws the order of the three as well; here it is fixed.)

  Args:
    x: [..., H, W, 3] uint8, or float in [0, 1].
    factors: [..., 3] from `draw_jitter`; None leaves x as it is.

  Returns:
    [..., H, W, 3] float32 in [0, 1]; x itself where factors is None.
  """
  if factors is None:
    return x
  if x.dtype == jnp.uint8:
    x = x / jnp.float32(255)
  by_brightness, by_contrast, by_saturation = (
    factors[..., i, None, None, None] for i in range(3)
  )
  x = brightness(x, by_brightness)
  x = contrast(x, by_contrast)
  return saturation(x, by_saturation)


# One change each, as Pillow's `ImageEnhance` and torchvision make them, of
# images [..., H, W, 3] in [0, 1] by factors that broadcast against them.


def brightness(x: jax.Array, factor) -> jax.Array:
  """Away from black."""
  return _blend(x, 0.0, factor)


def contrast(x: jax.Array, factor, weight=None) -> jax.Array:
  """Away from the mean grey of the pixels with a weight, by default of all."""
  axes = (-3, -2)
  if weight is None:
    mean = _grey(x).mean(axes, keepdims=True)
  else:
    total = (weight * _grey(x)).sum(axes, keepdims=True)
    mean = total / weight.sum(axes, keepdims=True)
  return _blend(x, mean, factor)


def saturation(x: jax.Array, factor) -> jax.Array:
  """Away from grey."""
  return _blend(x, _grey(x), factor)


def hue(x: jax.Array, shift) -> jax.Array:
  """Turns the hue of HSV; 1 is the whole circle."""
  value, low = x.max(-1), x.min(-1)
  chroma = value - low
  r, g, b = (x[..., i] for i in range(3))
  safe = jnp.where(chroma > 0, chroma, 1)
  sector = jnp.where(
    value == r,
    (g - b) / safe,
    jnp.where(value == g, 2 + (b - r) / safe, 4 + (r - g) / safe),
  )
  # Channel c falls from value to low between 1 and 2 sectors from its own hue.
  turned = sector[..., None] + 6 * shift
  distance = jnp.abs((turned - np.float32([0, 2, 4]) + 3) % 6 - 3)
  falls = jnp.clip(distance - 1, min=0, max=1)
  return value[..., None] - chroma[..., None] * falls


def _grey(x):
  return (x * LUMA).sum(-1, keepdims=True)


def _blend(x, other, factor):
  return jnp.clip(factor * x + (1 - factor) * other, min=0, max=1)
