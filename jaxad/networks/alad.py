# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The networks of ALAD, for images and for rows of tables.

Zenati et al., "Adversarially Learned Anomaly Detection", ICDM 2018 (arXiv
1812.02288). As `networks/mlp.py`, which are the others of a table, all return
their output and the features that enter its layer.
"""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from jaxad.errors import InputError
from jaxad.fields import Count, DropoutRate
from jaxad.layers.batch_norm import BatchNorm
from jaxad.layers.conv import Conv, ConvTranspose, same_padding
from jaxad.layers.dropout import Dropout
from jaxad.layers.images import check_square
from jaxad.networks.mlp import MLP

# Of the networks of images; those of tables start as `MLP` does.
kernel_init = nn.initializers.normal(0.01)


class Layers(NamedTuple):
  """Sizes of the five networks; the defaults are those of CIFAR-10 and SVHN.

  Attributes:
    latent_dim: length of the codes.
    encoder: widths of E's hidden layers; of images each halves the side, down
      to 4.
    generator: of G's; of images each but the first doubles the side, and so
      does the last layer.
    xz_data: of the branch of D_xz that reads x.
    xz_code: of the branch that reads z.
    xz_joint: of its layers behind both.
    xx: of D_xx; the last of them are the features of the score.
    zz: of D_zz.
    xz_dropout: share that is left out in D_xz, but for the branch of x.
    xx_dropout: in D_xx.
    zz_dropout: in D_zz.
    spectral_norm: whether E and the discriminators have spectrally normalised
      kernels, but for their last layers.
  """

  latent_dim: Count = 100
  encoder: tuple[Count, ...] = (128, 256, 512)
  generator: tuple[Count, ...] = (512, 256, 128)
  xz_data: tuple[Count, ...] = (128, 256, 512)
  xz_code: tuple[Count, ...] = (512, 512)
  xz_joint: tuple[Count, ...] = (1024,)
  xx: tuple[Count, ...] = (64, 128)
  zz: tuple[Count, ...] = (64, 32)
  xz_dropout: DropoutRate = 0.2
  xx_dropout: DropoutRate = 0.2
  zz_dropout: DropoutRate = 0.2
  spectral_norm: bool = True


IMAGES = Layers()
KDD = Layers(
  latent_dim=32,
  encoder=(64,),
  generator=(64, 128),
  xz_data=(128,),
  xz_code=(128,),
  xz_joint=(128,),
  xx=(128,),
  zz=(32,),
  xz_dropout=0.5,
  spectral_norm=False,
)
ARRHYTHMIA = KDD._replace(
  latent_dim=64,
  encoder=(256, 128),
  generator=(128, 256),
  xz_joint=(256,),
  xx=(256, 128),
  zz=(64, 32),
)


def conv(features, kernel_size, stride, padding, name):
  return Conv(
    features,
    kernel_size,
    stride,
    padding,
    kernel_init=kernel_init,
    name=name,
  )


def conv_transpose(features, stride, padding, name):
  return ConvTranspose(
    features, 4, stride, padding, kernel_init=kernel_init, name=name
  )


class Encoder(nn.Module):
  """Images to codes, by convolutions of stride 2.

  Attributes:
    widths: channels of the convolutions.
    out: length of the code.
    slope: of leaky ReLU.
    epsilon: of the norms.
  """

  widths: tuple[int, ...]
  out: int
  slope: float
  epsilon: float

  @nn.compact
  def __call__(self, x, train: bool):
    """[B, S, S, C] to (code [B, out], features [B, 4, 4, F])."""
    for k, width in enumerate(self.widths):
      x = conv(width, 4, 2, same_padding(x, 4, 2), f"conv_{k}")(x)
      x = BatchNorm(self.epsilon, name=f"norm_{k}")(x, train)
      x = nn.leaky_relu(x, self.slope)
    return conv(self.out, 4, 1, 0, "conv_out")(x)[:, 0, 0], x


class Generator(nn.Module):
  """Codes to images, by transposed convolutions.

  Attributes:
    widths: channels of the hidden layers.
    channels: of the images.
    epsilon: of the norms.
  """

  widths: tuple[int, ...]
  channels: int
  epsilon: float

  @nn.compact
  def __call__(self, z, train: bool):
    """[B, nz] to (x [B, S, S, C] in (-1, 1), features [B, S/2, S/2, F])."""
    z = z[:, None, None]
    for k, width in enumerate(self.widths):
      stride, padding = (2, 1) if k else (1, 0)  # first from one pixel to 4x4
      z = conv_transpose(width, stride, padding, f"conv_{k}")(z)
      z = nn.relu(BatchNorm(self.epsilon, name=f"norm_{k}")(z, train))
    return nn.tanh(conv_transpose(self.channels, 2, 1, "conv_out")(z)), z


class PairXZ(nn.Module):
  """D_xz, of data and a code.

  Attributes:
    data: widths of the layers that read x.
    code: of those that read z.
    joint: of those behind both.
    slope: of leaky ReLU.
    epsilon: of the norms.
    dropout: share that is left out behind the layers of z and of both.
  """

  data: tuple[int, ...]
  code: tuple[int, ...]
  joint: tuple[int, ...]
  slope: float
  epsilon: float
  dropout: float

  @nn.compact
  def __call__(self, x, z, train: bool):
    """x [B, S, S, C] or [B, D] and z [B, nz] to (logit [B, 1], features)."""
    image = x.ndim == 4
    init = kernel_init if image else nn.initializers.glorot_uniform()
    for k, width in enumerate(self.data):
      if image:
        x = conv(width, 4, 2, same_padding(x, 4, 2), f"conv_{k}")(x)
      else:
        x = nn.Dense(width, kernel_init=init, name=f"dense_{k}")(x)
      if k or not image:
        # TensorFlow's fused norm, of images alone, has the unbiased variance.
        norm = BatchNorm(self.epsilon, unbiased=image, name=f"norm_{k}")
        x = norm(x, train)
      x = nn.leaky_relu(x, self.slope)
    dense = (self.slope, self.dropout, init)
    _, z = MLP(self.code, None, *dense, name="code")(z, train)
    xz = jnp.concatenate([x.reshape(x.shape[0], -1), z], 1)
    return MLP(self.joint, 1, *dense, name="joint")(xz, train)


class PairXX(nn.Module):
  """D_xx, of two images one below the other.

  Attributes:
    widths: channels of the convolutions.
    slope: of leaky ReLU.
    dropout: share that is left out behind each.
  """

  widths: tuple[int, ...]
  slope: float
  dropout: float

  @nn.compact
  def __call__(self, xx, train: bool):
    """[B, 2 S, S, C] to (logit [B, 1], features [B, F])."""
    for k, width in enumerate(self.widths):
      xx = conv(width, 5, 2, same_padding(xx, 5, 2), f"conv_{k}")(xx)
      xx = nn.leaky_relu(xx, self.slope)
      xx = Dropout(self.dropout, name=f"dropout_{k}")(xx, train)
    xx = xx.reshape(xx.shape[0], -1)
    return nn.Dense(1, kernel_init=kernel_init, name="dense_out")(xx), xx


def make_networks(
  layers: Layers, shape: tuple[int, ...], slope: float, epsilon: float
) -> dict[str, nn.Module]:
  """The five networks by name: encoder, generator, xz, xx and zz.

  D_xx and D_zz take their pair as one array, the second half behind the first
  along axis 1.

  Args:
    layers: their sizes.
    shape: of x, [B, S, S, C] or [B, D].
    slope: of leaky ReLU.
    epsilon: of the norms.

  Raises:
    InputError: neither images nor rows, or images that the layers do not fit.
  """
  of_xz = (layers.xz_data, layers.xz_code, layers.xz_joint)
  found = {"xz": PairXZ(*of_xz, slope, epsilon, layers.xz_dropout)}
  of_xx, of_zz = (
    (widths, 1, slope, dropout)
    for widths, dropout in (
      (layers.xx, layers.xx_dropout),
      (layers.zz, layers.zz_dropout),
    )
  )
  if len(shape) == 2:
    return found | {
      "encoder": MLP(layers.encoder, layers.latent_dim, slope),
      "generator": MLP(layers.generator, shape[1]),
      "xx": MLP(*of_xx),
      "zz": MLP(*of_zz),
    }
  check_images(layers, shape)
  return found | {
    "encoder": Encoder(layers.encoder, layers.latent_dim, slope, epsilon),
    "generator": Generator(layers.generator, shape[-1], epsilon),
    "xx": PairXX(layers.xx, slope, layers.xx_dropout),
    "zz": MLP(*of_zz, kernel_init),
  }


def check_images(layers: Layers, shape: tuple[int, ...]) -> None:
  """Whether E makes 4x4 pixels of images, and G such images of those.

  Raises:
    InputError: they do not.
  """
  if len(shape) != 4:
    raise InputError(
      f"x of the shape {tuple(shape)}: expected images [B, S, S, C] or rows "
      "[B, D]."
    )
  check_square(shape)
  for name in ("encoder", "generator"):
    widths = getattr(layers, name)
    side = 4 * 2 ** len(widths)
    if not widths or shape[1] != side:
      raise InputError(
        f"image_size={shape[1]}: {len(widths)} layers of the {name} make it "
        f"{side}; take that, or for 8, 16, 32, 64, ... pixels give "
        f"images.{name} 1, 2, 3, 4, ... widths.",
        "image_size",
      )
