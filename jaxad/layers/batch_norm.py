# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Batch normalisation, and running statistics as each framework keeps them.

Ioffe and Szegedy, "Batch Normalization", ICML 2015 (arXiv 1502.03167).

In training mode `BatchNorm` writes the statistics of its batch, and nothing
else, into the collection "batch_stats"; the caller folds them into the running
statistics with `running_average`, in the order and as many times as its
reference does:

    y, written = apply_train(network, params, x)  # networks/variables.py
    collections = running_average(collections, written, momentum=0.9)

                        momentum           unbiased  epsilon
    PyTorch             0.9 (its "0.1")    yes       1e-5
    TensorFlow, fused   0.99 (tf.layers)   yes       1e-3
    TensorFlow, Keras   0.99               no        1e-3
    MXNet               0.9                no        1e-5 (Gluon)

`momentum` is the weight of the old value. The table holds the defaults; a
method states its own.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp


def around_one(std: float) -> nn.initializers.Initializer:
  """N(1, std), for scales."""
  normal = nn.initializers.normal(std)
  return lambda *args: 1 + normal(*args)


class Counted(NamedTuple):
  """In place of `train=True`: rows that the statistics count.

  Attributes:
    weight: [B] float32, 1 or 0.
    rows: how many ones.
  """

  weight: jax.Array
  rows: int


class BatchNorm(nn.Module):
  """Normalises each channel over all other axes.

  Parameters `scale` and `bias`, statistics `mean` and `var`, all [C] float32.
  The arithmetic is in float32 or better; the result has the dtype of the input.

  Attributes:
    epsilon: added to the variance.
    unbiased: whether `var` is the batch's variance times n / (n - 1), n values
      a channel; the normalisation itself always uses the biased one.
    scale_init: initialiser of the scale.
    var_init: the running variance at the start.
  """

  epsilon: float = 1e-5
  unbiased: bool = True
  scale_init: nn.initializers.Initializer = nn.initializers.ones
  var_init: float = 1.0

  @nn.compact
  def __call__(self, x, train: bool | Counted):
    """[..., C] to the same shape.

    Args:
      x: activations.
      train: normalise by the statistics of the batch, or of the rows of it that
        are counted, and write these to "batch_stats" if that is mutable; else
        by the running ones.
    """
    shape = x.shape[-1:]
    scale = self.param("scale", self.scale_init, shape, jnp.float32)
    bias = self.param("bias", nn.initializers.zeros, shape, jnp.float32)
    filled = lambda value: jnp.full(shape, value, jnp.float32)
    running_mean = self.variable("batch_stats", "mean", filled, 0.0)
    running_var = self.variable("batch_stats", "var", filled, self.var_init)
    dtype, x = x.dtype, x.astype(jnp.promote_types(x.dtype, jnp.float32))
    if train:
      axes = tuple(range(x.ndim - 1))
      n, mean_of = x.size // x.shape[-1], lambda x: x.mean(axes)
      if isinstance(train, Counted):
        weight = train.weight.reshape(-1, *(1,) * (x.ndim - 1))
        n = n // len(x) * train.rows
        mean_of = lambda x: (weight * x).sum(axes) / n
      mean = mean_of(x)
      var = mean_of((x - mean) ** 2)
      if (
        self.is_mutable_collection("batch_stats") and not self.is_initializing()
      ):
        running_mean.value = mean
        running_var.value = var * (n / max(n - 1, 1)) if self.unbiased else var
    else:
      mean, var = running_mean.value, running_var.value
    factor = scale * jax.lax.rsqrt(var + self.epsilon)
    return ((x - mean) * factor + bias).astype(dtype)


def running_average(collections: dict, *passes: dict, momentum: float) -> dict:
  """Folds the statistics of batches into running ones, one after another.

  Args:
    collections: of one network, {"batch_stats": ..., ...}.
    *passes: what forward passes in training mode wrote, likewise.
    momentum: weight of the old value; 1 - momentum is that of the new one.

  Returns:
    The collections with new averages in "batch_stats"; every other one is that
    of the last pass.
  """
  fold = lambda old, new: momentum * old + (1 - momentum) * new
  for written in jax.lax.stop_gradient(passes):
    new = collections | written
    if "batch_stats" in written:
      old = collections["batch_stats"]
      new["batch_stats"] = jax.tree.map(fold, old, written["batch_stats"])
    collections = new
  return collections
