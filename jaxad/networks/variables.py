# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Making and applying networks whose variables are kept by name.

Parameters, and all other Flax collections, of the networks of a method are two
dicts with one entry a network, the first of which an optimiser wants by itself.
"""

import functools

import flax.core
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxad.layers.batch_norm import Counted
from jaxad.layers.dropout import DROPOUT


def initialize(key: jax.Array, networks: dict) -> tuple[dict, dict]:
  """Draws the variables of several networks.

  Args:
    key: typed PRNG key.
    networks: {name: (module, its inputs ...)}; a module takes `train` by name.

  Returns:
    (params, collections), two dicts by name; see `divided`.
  """
  params, collections = {}, {}
  for name, (module, *args) in networks.items():
    key, draw_key = jax.random.split(key)
    params[name], collections[name] = divided(_init(module, draw_key, *args))
  return params, collections


def divided(variables) -> tuple[dict, dict]:
  """Flax variables of a network to (params, all other collections).

  The masks of `layers/dropout.py` are no state, and left out.
  """
  return variables["params"], {
    name: value
    for name, value in variables.items()
    if name not in ("params", DROPOUT)
  }


@functools.partial(jax.jit, static_argnums=0)
def _init(module, key, *args):
  # By XLA's own generator: that of JAX, unrolled once for each array, takes
  # XLA:CPU several seconds to compile (6.1 -> 1.7 s for GANomaly).
  data = jnp.tile(jax.random.key_data(key), 2)
  key = jax.random.wrap_key_data(data, impl="rbg")
  return module.init(key, *args, train=False)


def apply_train(
  module: nn.Module,
  params,
  *args,
  collections=None,
  train: bool | Counted = True,
):
  """Applies a network in training mode.

  Args:
    module: the network.
    params: of it.
    *args: its inputs.
    collections: its other collections, where it reads them in training. (A
      `BatchNorm` does not.)
    train: which rows its norms count.

  Returns:
    (its output, the collections that it wrote, for `running_average`).
  """
  return module.apply(
    {"params": params, **(collections or {})},
    *args,
    train=train,
    mutable=flax.core.DenyList(("params", DROPOUT)),
  )


def apply_eval(module: nn.Module, params, collections, *args):
  """Applies a network by its running statistics; rows do not interact."""
  return module.apply({"params": params, **collections}, *args, train=False)


def redraw_if(condition: jax.Array, module: nn.Module, params, key, *args):
  """New parameters where the condition holds, else the old ones.

  Args:
    condition: bool scalar, may be traced.
    module: the network.
    params: the old parameters.
    key: typed PRNG key.
    *args: inputs of the network, for their shapes.
  """
  draw = lambda old: optax.tree.cast_like(
    _init(module, key, *args)["params"], old
  )
  return jax.lax.cond(condition, draw, lambda old: old, params)
