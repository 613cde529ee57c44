# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The residual networks of WGAN-GP, for images of 4 * 2^n pixels a side.

Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017 (arXiv
1704.00028); its networks for 64 pixels, n = 4. A block halves or doubles the
image:

    down  x -> mean pool, 1x1  +  norm, relu, 3x3, norm, relu, 3x3, mean pool
    up    x -> double, 1x1     +  norm, relu, double, 3x3, norm, relu, 3x3

n blocks down lead from `width` channels at full size to 4x4 pixels of width *
min(2^n, 8) channels, each doubling them up to there; n blocks up lead back.
A critic is an encoder of one output that normalises by layers, not by batches.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxad.layers.conv import Conv, convolve_transposed

# Uniform, of a variance of 2 / fan and 1 / fan, where a fan is the mean of
# inputs and outputs.
he_init = nn.initializers.variance_scaling(2.0, "fan_avg", "uniform")
glorot_init = nn.initializers.glorot_uniform()


class LayerNorm(nn.Module):
  """Normalises each example over pixels and channels.

  Ba, Kiros and Hinton, "Layer Normalization", 2016 (arXiv 1607.06450), with a
  `scale` and a `bias` for each channel [C].

  Attributes:
    epsilon: added to the variance.
    constant_mean: whether the mean inside the variance is a constant, as in
      TensorFlow 1. First derivatives are the same, second ones are not.
  """

  epsilon: float = 1e-5
  constant_mean: bool = False

  @nn.compact
  def __call__(self, x, train: bool):
    """[B, H, W, C] to the same; `train` makes no difference."""
    del train
    shape = x.shape[-1:]
    scale = self.param("scale", nn.initializers.ones, shape, jnp.float32)
    bias = self.param("bias", nn.initializers.zeros, shape, jnp.float32)
    mean = x.mean((1, 2, 3), keepdims=True)
    center = jax.lax.stop_gradient(mean) if self.constant_mean else mean
    var = ((x - center) ** 2).mean((1, 2, 3), keepdims=True)
    return (x - mean) * jax.lax.rsqrt(var + self.epsilon) * scale + bias


class ResampledConv(nn.Module):
  """A 3x3 convolution before a mean pool, or behind a doubling of the image.

  Either is a convolution of stride 2 with a 4x4 kernel, [k0, k0 + k1, k1 + k2,
  k2] / 2 in each direction for the pool: 16 products for 36.

  Attributes:
    features: number of output channels.
    up: double, else pool.
    use_bias: whether to add a bias.
  """

  features: int
  up: bool
  use_bias: bool = True

  @nn.compact
  def __call__(self, x):
    """[B, H, W, C] to [B, 2 H, 2 W, features] or [B, H / 2, W / 2, features]"""
    shape = (3, 3, x.shape[-1], self.features)
    kernel = self.param("kernel", he_init, shape, jnp.float32).astype(x.dtype)
    if self.up:
      y = convolve_transposed(x, widened(kernel[::-1, ::-1]), 2, 1)
    else:
      y = halving_convolution(x, widened(kernel) / 4)
    if self.use_bias:
      zeros = nn.initializers.zeros
      y = y + self.param("bias", zeros, (self.features,), jnp.float32)
    return y


def widened(kernel):
  """[3, 3, ...] to [4, 4, ...], the sum of its four places there."""
  rest = [(0, 0)] * (kernel.ndim - 2)
  return sum(
    jnp.pad(kernel, [(i, 1 - i), (j, 1 - j), *rest])
    for i in range(2)
    for j in range(2)
  )


def halving_convolution(x, kernel):
  """x [B, H, W, C] with a kernel [4, 4, C, F], stride 2 and padding 1.

  A matrix product of 2x2 blocks of 2x2 pixels. The second derivatives of
  strided convolutions, which the penalty needs, are slow on XLA:CPU: for
  [32, 32, 32, 16] to 32 channels they take 38 ms so, 196 ms otherwise.
  """
  batch, *size, channels = x.shape
  rows, columns = (n // 2 for n in size)
  x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  x = x.reshape(batch, rows + 1, 2, columns + 1, 2, channels)
  blocks = [
    x[:, i : i + rows, a, j : j + columns, b]
    for i in range(2)
    for a in range(2)
    for j in range(2)
    for b in range(2)
  ]
  windows = jnp.concatenate(blocks, axis=-1).reshape(-1, 16 * channels)
  y = windows @ kernel.reshape(16 * channels, -1)
  return y.reshape(batch, rows, columns, -1)


def mean_pool(x):
  """[B, H, W, C] to [B, H / 2, W / 2, C]."""
  batch, height, width, channels = x.shape
  x = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
  return x.mean((2, 4))


def doubled(x):
  """[B, H, W, C] to [B, 2 H, 2 W, C]; pixels are repeated."""
  return x.repeat(2, axis=1).repeat(2, axis=2)


class Block(nn.Module):
  """A residual block that halves or doubles the image.

  Attributes:
    features: channels of the output.
    up: double, else halve.
    norm: makes a norm `(x, train) -> x` of a name.
  """

  features: int
  up: bool
  norm: Callable[..., nn.Module]

  @nn.compact
  def __call__(self, x, train: bool):
    """[B, H, W, C] to [B, 2 H, 2 W, features] or [B, H / 2, W / 2, features]"""
    conv = functools.partial(Conv, kernel_init=he_init)
    resampled = functools.partial(ResampledConv, self.features, self.up)
    # A 1x1 convolution and a doubling may change places.
    shortcut = Conv(self.features, 1, kernel_init=glorot_init, name="shortcut")
    beside = doubled(shortcut(x)) if self.up else shortcut(mean_pool(x))
    y = nn.relu(self.norm(name="norm_1")(x, train))
    if self.up:
      y = resampled(use_bias=False, name="conv_1")(y)
    else:
      y = conv(x.shape[-1], 3, 1, 1, use_bias=False, name="conv_1")(y)
    y = nn.relu(self.norm(name="norm_2")(y, train))
    if self.up:
      y = conv(self.features, 3, 1, 1, name="conv_2")(y)
    else:
      y = resampled(name="conv_2")(y)
    return beside + y


class Encoder(nn.Module):
  """Images to codes, by blocks down to 4x4 pixels.

  Attributes:
    out: length of the code.
    width: channels at full size.
    norm: see `Block`.
  """

  out: int
  width: int
  norm: Callable[..., nn.Module]

  @nn.compact
  def __call__(self, x, train: bool):
    """[B, S, S, C] to (code [B, out], features [B, 16 F]).

    The features are what enters the last, linear layer.
    """
    widths = channels_of(x.shape[1], self.width)
    x = Conv(widths[0], 3, 1, 1, kernel_init=glorot_init, name="input")(x)
    for k, features in enumerate(widths[1:], 1):
      x = Block(features, False, self.norm, name=f"block_{k}")(x, train)
    x = x.reshape(x.shape[0], -1)
    dense = nn.Dense(self.out, kernel_init=glorot_init, name="output")
    return dense(x), x


class Generator(nn.Module):
  """Codes to images: an encoder backwards, with tanh at the end.

  Attributes:
    side: S of the images.
    channels: C of the images.
    width: channels at full size.
    norm: see `Block`.
  """

  side: int
  channels: int
  width: int
  norm: Callable[..., nn.Module]

  @nn.compact
  def __call__(self, z, train: bool):
    """[B, nz] to [B, S, S, C] in (-1, 1)."""
    *widths, widest = channels_of(self.side, self.width)
    dense = nn.Dense(16 * widest, kernel_init=glorot_init, name="input")
    x = dense(z).reshape(-1, 4, 4, widest)
    for k, features in enumerate(reversed(widths), 1):
      x = Block(features, True, self.norm, name=f"block_{k}")(x, train)
    x = nn.relu(self.norm(name="norm_out")(x, train))
    x = Conv(self.channels, 3, 1, 1, kernel_init=he_init, name="output")(x)
    return nn.tanh(x)


def channels_of(side: int, width: int) -> list[int]:
  """Channels of an encoder's maps, from full size down to 4x4 pixels."""
  n = (side // 4).bit_length() - 1
  return [width * min(2**k, 8) for k in range(n + 1)]
