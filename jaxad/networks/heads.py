# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Scores of feature maps, for methods that learn them from image labels."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxad.layers.batch_norm import BatchNorm
from jaxad.layers.conv import Conv, pytorch_dense, pytorch_uniform


def top_k_mean(z: jax.Array, rate: float) -> jax.Array:
  """Mean of the largest of n values: of max(int(n * rate), 1).

  Multiple-instance learning: an image is as anomalous as its most anomalous
  places.

  Args:
    z: [B, h, w, C], n = h * w; each channel is for itself.
    rate: in [0, 1]; 0 takes the mean of all.

  Returns:
    [B, C].
  """
  z = z.reshape(z.shape[0], -1, z.shape[-1])
  if rate == 0:
    return z.mean(1)
  k = max(int(z.shape[1] * rate), 1)
  # Sorted, since lax.top_k would gather the rows of all devices. Backwards, so
  # that of equal values the first ones count, as there; NaN is the largest.
  backwards = z.swapaxes(1, 2)[..., ::-1]
  return jax.lax.sort(backwards)[..., : -k - 1 : -1].mean(-1)


class PatchHead(nn.Module):
  """Scores each place of a map by a 1x1 convolution, the image by the highest.

  Attributes:
    top_k: rate of `top_k_mean`.
    features: number of scores.
    absolute: whether places are compared by their absolute value; not with a
      top_k of 0.
  """

  top_k: float
  features: int = 1
  absolute: bool = True

  @nn.compact
  def __call__(self, y, train: bool = False):
    """[B, h, w, C] to (scores [B, features], of places [B, h, w, features]).

    `train` has no effect, here for the sake of a common signature.
    """
    del train
    init = pytorch_uniform(y.shape[-1])
    z = Conv(
      self.features, 1, kernel_init=init, bias_init=init, name="scoring"
    )(y)
    if self.absolute and self.top_k > 0:
      z = jnp.abs(z)
    return top_k_mean(z, self.top_k), z


HEADS = ("holistic", "seen", "pseudo", "composite")


class Heads(nn.Module):
  """The four heads of DRA on a feature map of one scale.

  Attributes:
    top_k: share of the patches whose mean is a score.
    epsilon: of the composite head's norm.
    hidden: of the holistic head.
  """

  top_k: float
  epsilon: float = 1e-5
  hidden: int = 256

  @nn.compact
  def __call__(self, y, reference, train: bool):
    """Scores a batch.

    Args:
      y: [B, h, w, C].
      reference: [R, h, w, C], maps of normal images.
      train: whether the composite head's norm normalises by the batch.

    Returns:
      (scores [4, B] by `HEADS`, patch scores [3, B, h, w] of the last three).
    """
    channels = y.shape[-1]
    pooled = y.mean((1, 2))
    hidden = nn.relu(pytorch_dense(self.hidden, pooled, "fc1")(pooled))
    scores, patches = [jnp.abs(pytorch_dense(1, hidden, "fc2")(hidden))], []

    init = pytorch_uniform(9 * channels)
    residual = Conv(
      channels,
      3,
      padding=1,
      kernel_init=init,
      bias_init=init,
      name="conv",
    )(reference.mean(0) - y)
    residual = nn.relu(BatchNorm(self.epsilon, name="norm")(residual, train))

    for name, z in (("seen", y), ("pseudo", y), ("composite", residual)):
      score, places = PatchHead(self.top_k, name=name)(z)
      scores.append(score)
      patches.append(jnp.abs(places[..., 0]))
    return jnp.stack(scores)[..., 0], jnp.stack(patches)


def enlarged_mean(maps: list, size: tuple[int, int]) -> jax.Array:
  """Mean of maps of several scales at the size of the image.

  Args:
    maps: [B, h, w] each, for any h and w.
    size: (H, W) of the image.

  Returns:
    [B, H, W], bilinear.
  """
  shape = (maps[0].shape[0], *size)
  return sum(jax.image.resize(z, shape, "bilinear") for z in maps) / len(maps)
