# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Reference arrays in the layouts of Flax, and states made of them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def channels_last(x):
  """[..., C, H, W] to [..., H, W, C]."""
  return np.moveaxis(x, -3, -1)


def channels_first(x):
  """[..., H, W, C] to [..., C, H, W]."""
  return np.moveaxis(x, -1, -3)


def unit_range(x):
  """Images in [-1, 1], NCHW, to [0, 1], NHWC."""
  return (channels_last(x) + 1) / 2


def conv_kernel(w):
  """(out, in, h, w) to (h, w, in, out)."""
  return w.transpose(2, 3, 1, 0)


def conv_transpose_kernel(w):
  """(in, out, h, w) to (h, w, in, out); neither side flips the kernel."""
  return w.transpose(2, 3, 0, 1)


def recorded_state(detector, batch, params, collections, precision, plan=None):
  """A state before the first step, with these parameters; nothing is drawn."""
  shapes = jax.eval_shape(
    lambda key, batch: detector.init(key, batch, plan), jax.random.key(0), batch
  )
  zeros = lambda v: jnp.zeros(v.shape, precision if v.ndim else v.dtype)
  return shapes.replace(
    step=jnp.zeros((), jnp.int32),
    key=jax.random.key(0),
    params=params,
    collections=collections,
    opt_state=jax.tree.map(zeros, shapes.opt_state),
  )


def adam_gradient(mu, b1):
  """What Adam got in its first step, where its first moment is (1 - b1) g."""
  return jax.tree.map(lambda m: np.asarray(m) / (1 - b1), mu)


def first_gradient(opt_state, player, b1):
  """What a player's Adam got in its first step."""
  state = opt_state.players.inner_states[player]
  return adam_gradient(optax.tree.get(state, "mu")[player], b1)
