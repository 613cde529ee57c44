# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Losses that several methods share."""

import jax
import jax.numpy as jnp
import optax


def binary_cross_entropy(logits: jax.Array, target: float) -> jax.Array:
  """Mean of -log p where the target is 1, -log(1 - p) where it is 0.

  Args:
    logits: any shape; p is their sigmoid.
    target: the one of all entries: 1 for "real", 0 for "generated".

  Returns:
    A scalar, in nats.
  """
  targets = jnp.full_like(logits, target)
  return optax.sigmoid_binary_cross_entropy(logits, targets).mean()
