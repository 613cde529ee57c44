# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The five networks of OCGAN (arXiv 1903.08550): 5x5 kernels, no padding.

`depth` convolutions of stride 2 and one more bring an image of side 61 (depth
3), 29 (depth 2) or 13 (depth 1) down to one pixel.
"""

import flax.linen as nn

from jaxad.errors import InputError
from jaxad.layers.batch_norm import BatchNorm
from jaxad.networks.dcgan import (
  conv,
  conv_transpose,
  kernel_init,
  leaky_relu,
  scale_init,
)

KERNEL, STRIDE = 5, 2
# Dropout follows the norm of this convolution, where a decoder has so many.
DROPOUT_AFTER = 2


def norm(name):
  """MXNet's: the running variance is the biased one."""
  return BatchNorm(1e-5, unbiased=False, scale_init=scale_init, name=name)


class Encoder(nn.Module):
  """Images to codes.

  Attributes:
    depth: convolutions before the last one.
    width: channels of the first; they double each time.
    latent_dim: channels of the code.
    bounded: tanh at the end, else leaky ReLU.
  """

  depth: int
  width: int
  latent_dim: int
  bounded: bool

  @nn.compact
  def __call__(self, x, train: bool):
    """[B, S, S, C] to [B, s, s, latent_dim]; s is 1 for the smallest S."""
    for n in range(self.depth):
      x = _conv(self.width * 2**n, use_bias=n == 0, name=f"conv_{n}")(x)
      x = leaky_relu(norm(f"norm_{n}")(x, train) if n else x)
    x = _conv(self.latent_dim, use_bias=False, name="conv_out")(x)
    return nn.tanh(x) if self.bounded else leaky_relu(x)


class Decoder(nn.Module):
  """Codes to images, an encoder backwards; dropout after its third norm."""

  depth: int
  width: int
  channels: int

  @nn.compact
  def __call__(self, z, keep, train: bool):
    """[B, s, s, latent_dim] to [B, S, S, C] in (-1, 1).

    Args:
      z: codes.
      keep: dropout mask of 0 and 1, see `dropout_shape`; only in training, and
        None where there is no dropout.
      train: see `BatchNorm`.
    """
    x = z
    for n in range(self.depth):
      features = self.width * 2 ** (self.depth - 1 - n)
      x = _conv_transpose(features, use_bias=False, name=f"conv_{n}")(x)
      x = norm(f"norm_{n}")(x, train)
      if n == DROPOUT_AFTER and train:
        x = 2 * keep * x
      x = nn.relu(x)
    x = _conv_transpose(self.channels, use_bias=True, name="conv_out")(x)
    return nn.tanh(x)


class ImageDiscriminator(nn.Module):
  """D_v and C: images to a map of logits."""

  depth: int
  width: int

  @nn.compact
  def __call__(self, x, train: bool):
    """[B, S, S, C] to [B, s, s, 1]."""
    for n in range(self.depth):
      x = _conv(self.width * 2**n, use_bias=n == 0, name=f"conv_{n}")(x)
      x = leaky_relu(norm(f"norm_{n}")(x, train) if n else x)
    return _conv(1, use_bias=True, name="conv_out")(x)


class LatentDiscriminator(nn.Module):
  """D_l: codes to one logit, or as released to 16 sigmoids."""

  one_logit: bool

  @nn.compact
  def __call__(self, z, train: bool):
    """[B, s, s, latent_dim] to [B, 1] or [B, 16]."""
    del train
    dense = lambda n, k: nn.Dense(
      n, kernel_init=kernel_init, bias_init=kernel_init, name=f"dense_{k}"
    )
    h = z.reshape(z.shape[0], -1)
    for k, width in enumerate((128, 64, 32)):
      h = nn.relu(dense(width, k)(h))
    return (
      dense(1, "out")(h) if self.one_logit else nn.sigmoid(dense(16, "out")(h))
    )


def _conv(features, use_bias, name):
  return conv(features, KERNEL, STRIDE, 0, use_bias, name)


def _conv_transpose(features, use_bias, name):
  return conv_transpose(features, KERNEL, STRIDE, 0, use_bias, name)


def make_networks(depth, latent_dim, width, width_d, paper, channels) -> dict:
  """The modules by the names of their players."""
  return {
    "encoder": Encoder(depth, width, latent_dim, bounded=paper),
    "decoder": Decoder(depth, width, channels),
    "visual": ImageDiscriminator(depth, width_d),
    "latent": LatentDiscriminator(one_logit=paper),
    "classifier": ImageDiscriminator(depth, width),
  }


def feature_sides(side: int, depth: int) -> list[int]:
  """Sides of the maps of an encoder, from the image's to the code's.

  Raises:
    InputError: a decoder would not come back to this side.
  """
  sides = [side]
  for _ in range(depth + 1):
    rest = sides[-1] - KERNEL
    if rest < 0 or rest % STRIDE:
      smallest = 2 ** (depth + 3) - 3
      raise InputError(
        f"images of side {side}: OCGAN of depth {depth} needs {smallest}, or "
        f"any multiple of {2 ** (depth + 1)} more; set image_size or depth."
      )
    sides.append(rest // STRIDE + 1)
  return sides
