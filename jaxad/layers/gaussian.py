# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Gaussians with a diagonal covariance, as variational auto-encoders have them.

They are given by their mean and the logarithm of their variance, [..., D]; what
is a number for each of them is [...]. Densities leave the constant
(2 pi)^(-D / 2) out.
"""

import jax
import jax.numpy as jnp


def draw_noise(keys: jax.Array, *shape: int) -> jax.Array:
  """Standard normal noise [B, *shape], of each example from its own key."""
  draw = lambda key: jax.random.normal(key, shape)
  return jax.vmap(draw)(keys)


def sample(mean, log_var, noise) -> jax.Array:
  """Draws, as a function of standard normal noise."""
  return mean + jnp.exp(log_var / 2) * noise


def kl_divergence(mean, log_var, mean_2=0.0, log_var_2=0.0) -> jax.Array:
  """KL(N(mean, exp(log_var)) || N(mean_2, exp(log_var_2))); of N(0, 1)."""
  ratio = (jnp.exp(log_var) + (mean - mean_2) ** 2) * jnp.exp(-log_var_2)
  return (ratio - 1 + log_var_2 - log_var).sum(-1) / 2


def log_density(x, mean=0.0, log_var=0.0) -> jax.Array:
  """log p(x) + D / 2 log(2 pi) of N(mean, exp(log_var)); of N(0, 1)."""
  squares = (x - mean) ** 2 * jnp.exp(-log_var)
  return -(squares + log_var).sum(-1) / 2


def log_mean_exp(v: jax.Array, axis: int = 0) -> jax.Array:
  """log(mean(exp(v))), which neither overflows nor vanishes."""
  return jax.nn.logsumexp(v, axis) - jnp.log(v.shape[axis])
