# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Heat maps of the gradient of a score at the pixels."""

import jax
import jax.numpy as jnp

from jaxad.layers.rotation import gaussian_smooth

# Of the brightest pixels, this part saturates.
PERCENTILE = 99.0


def saliency(gradient: jax.Array) -> jax.Array:
  """Magnitude of a gradient, from its minimum to its 99th percentile.

  Args:
    gradient: [B, S, S, C] at the pixels.

  Returns:
    [B, S, S] in [0, 1]; zeros for an image where the percentile is the minimum.
  """
  magnitude = jnp.abs(gradient).sum(-1)
  low = magnitude.min((1, 2), keepdims=True)
  high = jnp.percentile(magnitude, PERCENTILE, axis=(1, 2), keepdims=True)
  span = high - low
  scaled = (magnitude - low) / jnp.where(span > 0, span, 1)
  return jnp.where(span > 0, jnp.clip(scaled, min=0, max=1), 0)


def gradient_map(gradient: jax.Array, sigma: float) -> jax.Array:
  """The smoothed saliency.

  Args:
    gradient: [B, S, S, C] at the pixels.
    sigma: of the smoothing, in pixels.

  Returns:
    [B, S, S] in [0, 1].
  """
  return gaussian_smooth(saliency(gradient)[..., None], sigma)[..., 0]
