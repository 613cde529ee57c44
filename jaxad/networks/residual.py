# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The residual auto-encoder of the constrained AAE.

Chen and Konukoglu, MIDL 2018 (arXiv 1806.04972), as in the official code, where
the side of an image is halved four times and doubled four times. A block is

    3x3 of stride 2, 3x3   +   3x3 of stride 2

with a norm and a leaky ReLU behind each convolution, before the sum.
"""

import functools

import flax.linen as nn

from jaxad.errors import InputError
from jaxad.layers.batch_norm import BatchNorm, around_one
from jaxad.layers.conv import Conv, ConvTranspose

conv_init = nn.initializers.truncated_normal(0.02)
dense_init = nn.initializers.truncated_normal(0.1)


class Block(nn.Module):
  """Halves the image and doubles the channels, or the other way.

  Two 3x3 convolutions, the first of stride 2, plus one of stride 2 beside them,
  each with a norm and a leaky ReLU before the sum.

  Attributes:
    features: channels between the two convolutions.
    up: whether they are transposed.
    slope: of leaky ReLU.
    epsilon: of the norms.
  """

  features: int
  up: bool
  slope: float
  epsilon: float

  @nn.compact
  def __call__(self, x, train: bool):
    """[B, H, W, C] to [B, 2 H, 2 W, F / 2] or [B, H / 2, W / 2, 2 F]."""
    kind = ConvTranspose if self.up else Conv

    def layer(x, features, stride, k):
      # As TensorFlow pads an even side: nothing before, one behind.
      padding = ((0, 1), (0, 1)) if stride == 2 else 1
      conv = kind(
        features, 3, stride, padding, kernel_init=conv_init, name=f"conv_{k}"
      )
      norm = BatchNorm(
        self.epsilon,
        unbiased=False,
        scale_init=around_one(0.02),
        name=f"norm_{k}",
      )
      return nn.leaky_relu(norm(conv(x), train), self.slope)

    out = self.features // 2 if self.up else 2 * self.features
    inner = layer(layer(x, self.features, 2, 1), out, 1, 2)
    return inner + layer(x, out, 2, 3)


class Encoder(nn.Module):
  """Images to codes.

  Attributes:
    latent_dim: length of the codes.
    width: channels at full size; they double with each block.
    blocks: how often the image is halved.
    slope: of leaky ReLU.
    epsilon: of the norms.
  """

  latent_dim: int
  width: int
  blocks: int
  slope: float
  epsilon: float

  @nn.compact
  def __call__(self, x, train: bool):
    """[B, H, W, C] to [B, latent_dim]."""
    act = lambda x: nn.leaky_relu(x, self.slope)
    x = act(Conv(self.width, 3, 1, 1, kernel_init=conv_init, name="input")(x))
    norm = BatchNorm(
      self.epsilon, unbiased=False, scale_init=around_one(0.01), name="norm"
    )
    x = act(norm(x, train))
    for k in range(self.blocks):
      block = Block(
        self.width * 2**k, False, self.slope, self.epsilon, name=f"block_{k}"
      )
      x = block(x, train)
    dense = nn.Dense(self.latent_dim, kernel_init=dense_init, name="code")
    return dense(x.reshape(x.shape[0], -1))


class Decoder(nn.Module):
  """Codes to images.

  Attributes:
    shape: (H, W, C) of the images.
    width: see `Encoder`, whose blocks lead back, to width / 2 channels.
    blocks: likewise.
    slope: of leaky ReLU.
    epsilon: of the norms.
  """

  shape: tuple[int, int, int]
  width: int
  blocks: int
  slope: float
  epsilon: float

  @nn.compact
  def __call__(self, z, train: bool):
    """[B, latent_dim] to [B, H, W, C], not bounded."""
    act = lambda x: nn.leaky_relu(x, self.slope)
    *size, channels = self.shape
    height, width = (n // 2**self.blocks for n in size)
    widest = self.width * 2**self.blocks
    dense = nn.Dense(
      height * width * widest, kernel_init=dense_init, name="input"
    )
    x = act(dense(z)).reshape(z.shape[0], height, width, widest)
    conv = functools.partial(Conv, kernel_init=conv_init)
    x = act(conv(widest // 2, 3, 1, 1, name="conv")(x))
    for k in range(self.blocks):
      features = self.width * 2 ** (self.blocks - 1 - k)
      block = Block(features, True, self.slope, self.epsilon, name=f"block_{k}")
      x = block(x, train)
    return conv(channels, 3, 1, 1, name="output")(x)


def check_size(shape: tuple[int, ...], blocks: int) -> None:
  """Checks that images [B, H, W, C] can be halved so often.

  Raises:
    InputError: no images, or a side that is not a multiple of 2^blocks.
  """
  if len(shape) != 4:
    raise InputError(f"x of the shape {tuple(shape)}: expected [B, H, W, C].")
  height, width = shape[1:3]
  if height % 2**blocks or width % 2**blocks:
    raise InputError(
      f"image_size={height}x{width}: expected multiples of {2**blocks}, which "
      f"{blocks} blocks can halve; change it, or take fewer blocks.",
      "image_size",
    )
