# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The five networks of OCGAN (arXiv 1903.08550): 5x5 kernels, no padding.

`depth` convolutions of stride 2 and one more bring an image of side 61 (depth
3), 29 (depth 2) or 13 (depth 1) down to one pixel.
"""

import flax.linen as nn

from jaxad.errors import InputError
from jaxad.layers.batch_norm import BatchNorm
from jaxad.networks.dcgan import (
  EPSILON,
  SLOPE,
  conv,
  conv_transpose,
  kernel_init,
  scale_init,
)

KERNEL, STRIDE = 5, 2
# Dropout follows the norm of this convolution, where a decoder has so many.
DROPOUT_AFTER = 2


def norm(epsilon, name):
  """MXNet's: the running variance is the biased one."""
  return BatchNorm(epsilon, unbiased=False, scale_init=scale_init, name=name)


class Encoder(nn.Module):
  """Images to codes.

  Attributes:
    depth: convolutions before the last one.
    width: channels of the first; they double each time.
    latent_dim: channels of the code.
    bounded: tanh at the end, else leaky ReLU.
    slope: of leaky ReLU.
    epsilon: of the norms.
  """

  depth: int
  width: int
  latent_dim: int
  bounded: bool
  slope: float = SLOPE
  epsilon: float = EPSILON

  @nn.compact
  def __call__(self, x, train: bool):
    """[B, S, S, C] to [B, s, s, latent_dim]; s is 1 for the smallest S."""
    x = _descent(x, train, self.depth, self.width, self.slope, self.epsilon)
    x = _conv(self.latent_dim, use_bias=False, name="conv_out")(x)
    return nn.tanh(x) if self.bounded else nn.leaky_relu(x, self.slope)


class Decoder(nn.Module):
  """Codes to images, an encoder backwards; dropout after its third norm.

  Attributes:
    depth: convolutions before the last one.
    width: channels before the last one; they halve each time.
    channels: of the image.
    dropout: the part that is dropped.
    epsilon: of the norms.
  """

  depth: int
  width: int
  channels: int
  dropout: float = 0.5
  epsilon: float = EPSILON

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
      x = norm(self.epsilon, f"norm_{n}")(x, train)
      if n == DROPOUT_AFTER and train:
        x = keep * x / (1 - self.dropout)
      x = nn.relu(x)
    x = _conv_transpose(self.channels, use_bias=True, name="conv_out")(x)
    return nn.tanh(x)


class ImageDiscriminator(nn.Module):
  """D_v and C: images to a map of logits; fields as of the encoder."""

  depth: int
  width: int
  slope: float = SLOPE
  epsilon: float = EPSILON

  @nn.compact
  def __call__(self, x, train: bool):
    """[B, S, S, C] to [B, s, s, 1]."""
    x = _descent(x, train, self.depth, self.width, self.slope, self.epsilon)
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


def _descent(x, train, depth, width, slope, epsilon):
  """Convolutions that halve the side, of a module that calls this."""
  for n in range(depth):
    x = _conv(width * 2**n, use_bias=n == 0, name=f"conv_{n}")(x)
    x = norm(epsilon, f"norm_{n}")(x, train) if n else x
    x = nn.leaky_relu(x, slope)
  return x


def _conv(features, use_bias, name):
  return conv(features, KERNEL, STRIDE, 0, use_bias, name)


def _conv_transpose(features, use_bias, name):
  return conv_transpose(features, KERNEL, STRIDE, 0, use_bias, name)


def make_networks(
  depth: int,
  latent_dim: int,
  width: int,
  width_d: int,
  paper: bool,
  channels: int,
  depth_d: int | None = None,
  dropout: float = 0.5,
  slope: float = SLOPE,
  epsilon: float = EPSILON,
) -> dict:
  """The modules by the names of their players; see `methods/ocgan.py`."""
  depth_d = depth if depth_d is None else depth_d
  how = (slope, epsilon)
  return {
    "encoder": Encoder(depth, width, latent_dim, paper, *how),
    "decoder": Decoder(depth, width, channels, dropout, epsilon),
    "visual": ImageDiscriminator(depth_d, width_d, *how),
    "latent": LatentDiscriminator(one_logit=paper),
    "classifier": ImageDiscriminator(depth_d, width, *how),
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
        f"image_size={side}: OCGAN of depth {depth} needs {smallest}, or any "
        f"multiple of {2 ** (depth + 1)} more; set it, or depth.",
        "image_size",
      )
    sides.append(rest // STRIDE + 1)
  return sides
