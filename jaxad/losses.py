# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Losses that several methods share."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxad.errors import InputError, one_of


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


# Losses of scores p that are high for anomalies (target 1) and low for normal
# images (target 0), one value an example.


def deviation(scores, targets, mean, std, margin: float = 5.0) -> jax.Array:
  """Deviation loss: normal scores at the mean of a prior, others far above.

  With d = (p - mean) / std, |d| where the target is 0, max(0, margin - d) where
  it is 1. Pang, Shen and van den Hengel, "Deep Anomaly Detection with Deviation
  Networks", KDD 2019 (arXiv 1911.08623).

  Args:
    scores: [...] p.
    targets: like them, 0 or 1.
    mean: of reference scores drawn from the prior N(0, 1).
    std: their unbiased standard deviation.
    margin: deviations that an anomaly should have at least.

  Returns:
    [...], 0 or more.
  """
  d = (scores - mean) / std
  return jnp.where(targets == 1, nn.relu(margin - d), jnp.abs(d))


def weighted_deviation(
  scores, targets, mean, std, margin: float = 5.0
) -> jax.Array:
  """`deviation` with squared terms, weighted by |target - 1/2|.

  From a reproduction of DRA on KolektorSDD. As targets are 0 or 1 the weights
  are all 1/2; what differs are the squares, and that its prior is sampled as
  often as there are scores (`prior_statistics`).
  """
  weight = jnp.abs(targets - 0.5)
  return weight * deviation(scores, targets, mean, std, margin) ** 2


def focal(scores, targets, alpha: float = 1.0, gamma: float = 2.0) -> jax.Array:
  """Cross entropy that easy examples hardly feel: alpha (1 - q)^gamma (-log q).

  q is the probability of the target. Lin et al., "Focal Loss for Dense Object
  Detection", ICCV 2017 (arXiv 1708.02002); there alpha is 0.25 for target 1 and
  0.75 for target 0, here one for both.
  """
  entropy = optax.sigmoid_binary_cross_entropy(scores, targets)
  return alpha * (1 - jnp.exp(-entropy)) ** gamma * entropy


def prior_statistics(
  reference: jax.Array, n: jax.Array | int
) -> tuple[jax.Array, jax.Array]:
  """Mean and unbiased deviation of the first n of reference scores.

  Args:
    reference: [..., N] draws from N(0, 1).
    n: [...] how many count; may be traced.

  Returns:
    ([...], [...]). Of fewer than two draws the deviation is 1, and it is never
    below `SMALLEST_STD`: of two it may be anything.
  """
  n = jnp.asarray(n, reference.dtype)
  counts = jnp.arange(reference.shape[-1]) < n[..., None]
  mean = (counts * reference).sum(-1) / jnp.maximum(n, 1)
  squares = counts * (reference - mean[..., None]) ** 2
  std = jnp.sqrt(squares.sum(-1) / jnp.maximum(n - 1, 1))
  return mean, jnp.where(n < 2, 1.0, jnp.maximum(std, SMALLEST_STD))


# Of ten draws or more, one in 10^8 would have less.
SMALLEST_STD = 0.1


class Criterion(NamedTuple):
  """A loss of scores, and the prior that it compares them with.

  Attributes:
    loss: `(scores, targets, mean, std) -> [...]`.
    prior_size: draws from the prior in a call; None for as many as there are
      scores, 0 where the loss knows no prior.
  """

  loss: Callable
  prior_size: int | None

  def draw(self, key: jax.Array, n: jax.Array, most: int):
    """Statistics of the prior for calls with n scores each.

    Args:
      key: typed PRNG key.
      n: [...] int, the number of scores of each call; may be traced.
      most: an upper bound of n.

    Returns:
      (mean, std), each like n.
    """
    if self.prior_size == 0:
      return jnp.zeros(n.shape), jnp.ones(n.shape)
    size = self.prior_size or most
    reference = jax.random.normal(key, n.shape + (size,))
    return prior_statistics(reference, n if self.prior_size is None else size)


CRITERIA = ("deviation", "weighted_deviation", "bce", "focal")


def criterion(
  name: str, margin: float = 5.0, prior_size: int | None = None
) -> Criterion:
  """The criteria of DRA and DevNet.

  Args:
    name: one of `CRITERIA`.
    margin: of the deviation losses.
    prior_size: draws from the prior; None is 5000 for "deviation" and the
      number of scores for "weighted_deviation".

  Raises:
    InputError: an unknown name, or a size below 2.
  """
  one_of("criterion", name, CRITERIA)
  if prior_size is not None and prior_size < 2:
    raise InputError(f"prior_size={prior_size}: expected 2 or more.")
  if name == "deviation":
    loss = functools.partial(deviation, margin=margin)
    return Criterion(loss, prior_size or 5000)
  if name == "weighted_deviation":
    loss = functools.partial(weighted_deviation, margin=margin)
    return Criterion(loss, prior_size)
  plain = {"bce": optax.sigmoid_binary_cross_entropy, "focal": focal}[name]
  return Criterion(lambda scores, targets, mean, std: plain(scores, targets), 0)
