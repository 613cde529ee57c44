# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Grad-CAM: what a network looks at, as a function to be differentiated.

Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via
Gradient-based Localization", ICCV 2017 (arXiv 1610.02391).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp


def grad_cam(fn, features: jax.Array):
  """What numbers depend on in a feature map; differentiable.

  Args:
    fn: features to (numbers [B, n], whatever else), in which no row depends on
      another.
    features: [B, h, w, F].

  Returns:
    (A [n, B, h, w] in (0, 1), the numbers, whatever else).
  """
  numbers, pull, rest = jax.vjp(fn, features, has_aux=True)

  def attention(chosen):
    # Of the sum over the batch: each row has the gradient of its own number.
    (gradient,) = pull(jnp.broadcast_to(chosen, numbers.shape))
    alpha = gradient.mean((1, 2), keepdims=True)
    return nn.sigmoid((alpha * features).sum(-1))

  each = jnp.eye(numbers.shape[-1], dtype=numbers.dtype)
  return jnp.stack([attention(chosen) for chosen in each]), numbers, rest
