# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Scenes and images as rows: the spectrum of each pixel."""

import math

import jax

from jaxad.layers.images import unit_range

# Of the pixels of a scene, or of an image, these are in its score.
TOP = 0.01


def spectra(x) -> jax.Array:
  """Scenes [N, H, W, B], images [N, H, W, C] or rows [n, B] to rows [n, B].

  Bytes come to [0, 1]; what is float is as it is.
  """
  x = unit_range(x)
  return x.reshape(-1, x.shape[-1])


def n_top(h: int, w: int) -> int:
  """How many pixels make up the score of h x w of them."""
  return max(1, math.ceil(TOP * h * w))


def top_mean(maps: jax.Array) -> jax.Array:
  """The mean of the highest hundredth of the pixels: [N, H, W] to [N]."""
  n = n_top(*maps.shape[1:])
  flat = maps.reshape(maps.shape[0], -1)
  return jax.lax.top_k(flat, n)[0].mean(-1)
