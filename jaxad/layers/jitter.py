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
  brightness, contrast, saturation = (
    factors[..., i, None, None, None] for i in range(3)
  )
  grey = lambda x: (x * LUMA).sum(-1, keepdims=True)
  blend = lambda x, other, factor: jnp.clip(
    factor * x + (1 - factor) * other, min=0, max=1
  )
  x = blend(x, 0.0, brightness)
  x = blend(x, grey(x).mean((-3, -2), keepdims=True), contrast)
  return blend(x, grey(x), saturation)
