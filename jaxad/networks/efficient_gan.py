# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The networks of EGBAD and of its authors' AnoGAN.

Zenati et al., "Efficient GAN-Based Anomaly Detection", arXiv 1802.06222. Those
of images are of TensorFlow 1: kernels start as N(0, 0.02), padding is SAME,
norms of feature maps keep the unbiased variance of a batch, those of dense
layers the biased one.
"""

import flax.linen as nn
import jax.numpy as jnp

from jaxad.errors import InputError
from jaxad.layers.batch_norm import BatchNorm
from jaxad.layers.conv import Conv, same_padding
from jaxad.layers.dropout import Dropout
from jaxad.layers.images import check_square
from jaxad.networks.dcgan import conv_transpose, kernel_init
from jaxad.networks.mlp import MLP

SLOPE = 0.1
EPSILON = 1e-3
MOMENTUM = 0.99


def conv(x, features, kernel_size, stride, name):
  """Convolution with a bias and SAME padding."""
  layer = Conv(
    features,
    kernel_size,
    stride,
    same_padding(x, kernel_size, stride),
    kernel_init=kernel_init,
    name=name,
  )
  return layer(x)


def dense(x, features, name):
  return nn.Dense(features, kernel_init=kernel_init, name=name)(x)


def norm(x, epsilon, train, name):
  """TensorFlow's: fused for feature maps, plain for rows."""
  return BatchNorm(epsilon, unbiased=x.ndim == 4, name=name)(x, train)


class Generator(nn.Module):
  """Codes to images: two dense layers, and two that double the side.

  Attributes:
    side: S of the images, a multiple of 4.
    channels: C of the images.
    widths: of the first dense layer; of the maps at S / 4 and at S / 2.
    epsilon: of the norms.
  """

  side: int
  channels: int
  widths: tuple[int, int, int] = (1024, 128, 64)
  epsilon: float = EPSILON

  @nn.compact
  def __call__(self, z, train: bool):
    """[B, nz] to [B, S, S, C] in (-1, 1)."""
    act = lambda x, name: nn.relu(norm(x, self.epsilon, train, name))
    double = lambda features, name: conv_transpose(
      features, use_bias=True, name=name
    )
    hidden, deep, shallow = self.widths
    quarter = self.side // 4
    x = act(dense(z, hidden, "dense_1"), "norm_1")
    x = act(dense(x, quarter**2 * deep, "dense_2"), "norm_2")
    x = x.reshape(-1, quarter, quarter, deep)
    x = act(double(shallow, "conv_3")(x), "norm_3")
    return nn.tanh(double(self.channels, "conv_4")(x))


class Discriminator(nn.Module):
  """Of images: two convolutions and two dense layers.

  Attributes:
    widths: of the convolutions and of the features f.
    slope: of leaky ReLU.
    epsilon: of the norms.
  """

  widths: tuple[int, int, int] = (64, 64, 1024)
  slope: float = SLOPE
  epsilon: float = EPSILON

  @nn.compact
  def __call__(self, x, train: bool):
    """[B, S, S, C] to (logit [B], f [B, F])."""
    act = lambda x: nn.leaky_relu(x, self.slope)
    normed = lambda x, name: act(norm(x, self.epsilon, train, name))
    x = act(conv(x, self.widths[0], 4, 2, "conv_1"))
    x = normed(conv(x, self.widths[1], 4, 2, "conv_2"), "norm_2")
    x = x.reshape(x.shape[0], -1)
    f = normed(dense(x, self.widths[2], "dense_3"), "norm_3")
    return dense(f, 1, "dense_4")[:, 0], f


class Encoder(nn.Module):
  """Images to codes.

  Attributes:
    out: length of the code.
    widths: of the three convolutions, at S, S / 2 and S / 4.
    slope: of leaky ReLU.
    epsilon: of the norms.
  """

  out: int
  widths: tuple[int, int, int] = (32, 64, 128)
  slope: float = SLOPE
  epsilon: float = EPSILON

  @nn.compact
  def __call__(self, x, train: bool):
    """[B, S, S, C] to [B, nz]."""
    act = lambda x: nn.leaky_relu(x, self.slope)
    x = act(conv(x, self.widths[0], 3, 1, "conv_1"))
    for k in (2, 3):
      x = conv(x, self.widths[k - 1], 3, 2, f"conv_{k}")
      x = act(norm(x, self.epsilon, train, f"norm_{k}"))
    return dense(x.reshape(x.shape[0], -1), self.out, "dense_4")


class PairDiscriminator(nn.Module):
  """Pairs of an image or row and its code.

  Attributes:
    widths: of the layers that see x alone: two convolutions, or any number of
      dense layers.
    code_width: of the layer that sees z alone.
    joint_width: of the layer that sees both, the features f.
    dropout: share that is left out behind each layer.
    slope: of leaky ReLU.
    epsilon: of the norm.
  """

  widths: tuple[int, ...]
  code_width: int
  joint_width: int
  dropout: float
  slope: float = SLOPE
  epsilon: float = EPSILON

  @nn.compact
  def __call__(self, x, z, train: bool):
    """([B, S, S, C] or [B, D], [B, nz]) to (logit [B, 1], f [B, F])."""
    of_images = x.ndim == 4
    start = {"kernel_init": kernel_init} if of_images else {}
    mlp = lambda hidden, out, name: MLP(
      hidden, out, self.slope, self.dropout, name=name, **start
    )
    if of_images:
      act = lambda x, name: Dropout(self.dropout, name=name)(
        nn.leaky_relu(x, self.slope), train
      )
      x = act(conv(x, self.widths[0], 4, 2, "conv_1"), "dropout_1")
      x = conv(x, self.widths[1], 4, 2, "conv_2")
      x = act(norm(x, self.epsilon, train, "norm_2"), "dropout_2")
      x = x.reshape(x.shape[0], -1)
    else:
      _, x = mlp(self.widths, None, "x")(x, train)
    _, z = mlp((self.code_width,), None, "z")(z, train)
    both = jnp.concatenate([x, z], axis=-1)
    return mlp((self.joint_width,), 1, "joint")(both, train)


def check_images(shape: tuple[int, ...]) -> None:
  """Checks that [B, S, S, C] are images that a `Generator` can draw.

  Raises:
    InputError: no images, not square, or S is no multiple of 4.
  """
  if len(shape) != 4:
    raise InputError(f"x of the shape {tuple(shape)}: expected [B, S, S, C].")
  check_square(shape)
  if shape[1] < 4 or shape[1] % 4:
    raise InputError(
      f"image_size={shape[1]}: expected a multiple of 4, since the generator "
      "doubles the side twice; set it to 28 or 32.",
      "image_size",
    )
