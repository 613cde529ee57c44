# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Losses that several methods share."""

from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxad.fields import Range, Weight


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


def norm(v: jax.Array, degree: int, batch_axes: int = 1) -> jax.Array:
  """L1 or L2 norm of each row.

  Args:
    v: [B, ...].
    degree: 1 or 2. The gradient of either is 0 where v is.
    batch_axes: how many axes are before those of a row.

  Returns:
    [B], or of the shape of so many axes.
  """
  v = v.reshape(*v.shape[:batch_axes], -1)
  if degree == 1:
    return (v * jnp.sign(v)).sum(-1)  # the derivative of jnp.abs at 0 is 1
  return optax.safe_norm(v, 0.0, axis=-1)


def critic_loss(
  score: Callable[[jax.Array], jax.Array],
  high: jax.Array,
  low: jax.Array,
  alpha: jax.Array,
  gp_weight: float,
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """What a Wasserstein critic with a gradient penalty descends.

  E C(low) - E C(high) + gp_weight E (|grad C(u)| - 1)^2, where u = high + alpha
  (low - high). Gulrajani et al., "Improved Training of Wasserstein GANs",
  NeurIPS 2017 (arXiv 1704.00028).

  Args:
    score: C, of rows [B, ...] to [B], each by itself.
    high: [B, ...] what it learns to score high.
    low: likewise low.
    alpha: [B] in [0, 1], where between them its slope is taken.
    gp_weight: of the penalty.

  Returns:
    (loss, its terms with the mean slope).
  """
  axes = tuple(range(1, high.ndim))
  between = high + jnp.expand_dims(alpha, axes) * (low - high)
  gradient = jax.grad(lambda u: score(u).sum())(between)
  slopes = jnp.sqrt((gradient**2).sum(axes))
  wasserstein = score(low).mean() - score(high).mean()
  penalty = ((slopes - 1) ** 2).mean()
  loss = wasserstein + gp_weight * penalty
  return loss, {
    "loss": loss,
    "wasserstein": wasserstein,
    "gradient_penalty": penalty,
    "slope": slopes.mean(),
  }


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
    name: "deviation" of DevNet and DRA; "weighted_deviation"; the binary cross
      entropy "bce"; or "focal".
    margin: deviations that an anomaly should have at least, in the first two.
    prior_size: draws from their prior in a call; None is 5000 for "deviation"
      and the number of scores for "weighted_deviation".
    alpha: factor of the focal loss.
    gamma: its exponent.
  """

  name: Literal["deviation", "weighted_deviation", "bce", "focal"] = "deviation"
  margin: Weight = 5.0
  prior_size: Annotated[int, Range(2, 2**20)] | None = None
  alpha: Weight = 1.0
  gamma: Annotated[float, Range(0, 100)] = 2.0

  def loss(self, scores, targets, mean, std) -> jax.Array:
    """[...] of scores and targets [...], by the statistics of the prior."""
    if self.name == "deviation":
      return deviation(scores, targets, mean, std, self.margin)
    if self.name == "weighted_deviation":
      return weighted_deviation(scores, targets, mean, std, self.margin)
    if self.name == "bce":
      return optax.sigmoid_binary_cross_entropy(scores, targets)
    return focal(scores, targets, self.alpha, self.gamma)

  def draw(self, key: jax.Array, n: jax.Array, most: int):
    """Statistics of the prior for calls with n scores each.

    Args:
      key: typed PRNG key.
      n: [...] int, the number of scores of each call; may be traced.
      most: an upper bound of n.

    Returns:
      (mean, std), each like n; (0, 1) for a loss that knows no prior.
    """
    if self.name in ("bce", "focal"):
      return jnp.zeros(n.shape), jnp.ones(n.shape)
    size = self.prior_size
    if size is None and self.name == "deviation":
      size = 5000
    reference = jax.random.normal(key, n.shape + (size or most,))
    return prior_statistics(reference, size or n)
