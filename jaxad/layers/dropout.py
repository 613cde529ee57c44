# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Dropout by masks that are drawn outside of the network.

Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from
Overfitting", JMLR 2014. A network reads its masks from the collection
"dropout", so that a training step has no randomness of its own:

    masks = draw_masks(key, 0.2, network, x)
    y, written = apply_train(network, params, x, collections=masks)
"""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp

DROPOUT = "dropout"


class Dropout(nn.Module):
  """Sets what its mask leaves out to 0, and divides the rest by 1 - rate.

  Attributes:
    rate: the share that is left out.
  """

  rate: float

  @nn.compact
  def __call__(self, x, train: bool):
    """Any shape to the same; in training by the mask `keep`, bool, like x."""
    if self.is_initializing() or (train and self.rate):
      keep = self.variable(DROPOUT, "keep", jnp.ones, x.shape, bool)
    if not train or not self.rate:
      return x
    return jnp.where(keep.value, x / (1 - self.rate), 0)


def draw_masks(key: jax.Array, rate: float, network: nn.Module, *args) -> dict:
  """The masks of one forward pass.

  Args:
    key: typed PRNG key.
    rate: of all `Dropout` layers of the network.
    network: it takes `train` by name.
    *args: its inputs, or their shapes (`jax.ShapeDtypeStruct`).

  Returns:
    {"dropout": masks}, a collection for `apply_train`; each entry is True with
    the probability 1 - rate.
  """
  init = lambda *args: network.init(jax.random.key(0), *args, train=False)
  shapes, structure = jax.tree.flatten(
    jax.eval_shape(init, *args).get(DROPOUT, {})
  )
  # One draw: each by itself would take XLA:CPU a second to compile.
  ends = list(itertools.accumulate(leaf.size for leaf in shapes))
  keep = jax.random.bernoulli(key, 1 - rate, (sum(ends[-1:]),))
  masks = [
    part.reshape(leaf.shape)
    for part, leaf in zip(jnp.split(keep, ends[:-1]), shapes, strict=False)
  ]
  return {DROPOUT: structure.unflatten(masks)}
