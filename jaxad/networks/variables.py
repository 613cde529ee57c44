# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Making and applying networks whose variables are kept by name.

Parameters and running statistics of all networks of a method are two dicts with
one entry a network, the first of which an optimiser wants by itself.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax


def initialize(key: jax.Array, networks: dict) -> tuple[dict, dict]:
  """Draws the variables of several networks.

  Args:
    key: typed PRNG key.
    networks: {name: (module, its inputs ...)}; a module takes `train` by name.

  Returns:
    (params, batch_stats), two dicts by name.
  """
  params, batch_stats = {}, {}
  for name, (module, *args) in networks.items():
    key, draw_key = jax.random.split(key)
    variables = _init(module)(draw_key, *args)
    params[name] = variables["params"]
    batch_stats[name] = variables.get("batch_stats", {})
  return params, batch_stats


def _init(module):
  @jax.jit
  def init(key, *args):
    # By XLA's own generator: that of JAX, unrolled once for each array, takes
    # XLA:CPU several seconds to compile (6.1 -> 1.7 s for GANomaly).
    data = jnp.tile(jax.random.key_data(key), 2)
    key = jax.random.wrap_key_data(data, impl="rbg")
    return module.init(key, *args, train=False)

  return init


def apply_train(module: nn.Module, params, *args):
  """Applies a network in training mode.

  Returns:
    (its output, the statistics of the batch, for `running_average`).
  """
  y, written = module.apply(
    {"params": params}, *args, train=True, mutable=["batch_stats"]
  )
  return y, written.get("batch_stats", {})


def apply_eval(module: nn.Module, params, running, *args):
  """Applies a network by its running statistics; rows do not interact."""
  variables = {"params": params, "batch_stats": running}
  return module.apply(variables, *args, train=False)


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
    _init(module)(key, *args)["params"], old
  )
  return jax.lax.cond(condition, draw, lambda old: old, params)
