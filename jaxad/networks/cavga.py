# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Networks of CAVGA: a trunk of strided convolutions, maps of codes, decoders.

Venkataramanan et al., ECCV 2020 (arXiv 1911.08616). A code has a place: mu and
the log-variance are maps, and so is z. Two decoders lead from there back to the
image: the residual one of BigGAN (Brock et al., ICLR 2019, arXiv 1809.11096),
and that of DCGAN.
"""

import functools

import flax.linen as nn

from jaxad.errors import InputError, one_of
from jaxad.layers.batch_norm import BatchNorm
from jaxad.layers.conv import Conv, pytorch_dense, pytorch_uniform
from jaxad.networks.dcgan import (
  EPSILON,
  SLOPE,
  batch_norm,
  conv,
  conv_transpose,
)
from jaxad.networks.wgan import doubled

# Of the DCGAN trunk, in order.
LAYERS = ("conv_0", "conv_1", "conv_2", "conv_3")


def pytorch_conv(features, kernel_size, x, name):
  """A convolution with bias that keeps the size of x, as PyTorch starts it."""
  init = pytorch_uniform(kernel_size**2 * x.shape[-1])
  make = functools.partial(Conv, kernel_init=init, bias_init=init)
  return make(features, kernel_size, 1, kernel_size // 2, name=name)(x)


class DcganTrunk(nn.Module):
  """The first four levels of a DCGAN's discriminator; each halves the image.

  Attributes:
    width: channels of the first level; they double each time.
    layer: the last level to compute, one of `LAYERS`.
    after: a level whose map is given in place of images.
    slope: of the leaky ReLU.
    epsilon: of the norms.
  """

  width: int = 64
  layer: str = LAYERS[-1]
  after: str | None = None
  slope: float = SLOPE
  epsilon: float = EPSILON

  @nn.compact
  def __call__(self, x, train: bool):
    """[B, S, S, C] to the map of `layer`; [B, S / 16, S / 16, 8 width] of all.

    There is no norm behind the first convolution.
    """
    done = LAYERS.index(self.after) + 1 if self.after else 0
    for level in range(done, LAYERS.index(self.layer) + 1):
      x = conv(self.width * 2**level, name=f"conv_{level}")(x)
      if level:
        x = batch_norm(self.epsilon, f"norm_{level}")(x, train)
      x = nn.leaky_relu(x, self.slope)
    return x


def parted(
  trunk: nn.Module, layers: tuple[str, ...], at: str | None
) -> tuple[nn.Module, nn.Module | None]:
  """A trunk up to a layer, and what is behind it, None for nothing.

  Args:
    trunk: its last layer is `trunk.layer`.
    layers: of it, in order.
    at: one of them, None for the last.

  Raises:
    InputError: there is no such layer, or the trunk cannot be entered there.
  """
  if at is None or at == trunk.layer:
    return trunk, None
  one_of("cam_layer", at, layers[: layers.index(trunk.layer) + 1])
  if not hasattr(trunk, "after"):
    raise InputError(
      f"cam_layer={at!r}: a {type(trunk).__name__} cannot be entered there; "
      "leave it out, or end the trunk at this layer with trunk.layer.",
      "cam_layer",
    )
  return trunk.clone(layer=at), trunk.clone(after=at)


def levels_between(side: int, code_side: int) -> int:
  """How often the side of a map of codes doubles to that of an image.

  Raises:
    InputError: it does not.
  """
  levels = (side // code_side).bit_length() - 1
  if code_side << levels != side:
    raise InputError(
      f"trunk.name: its map of {code_side}x{code_side} cannot be doubled to "
      f"the images' {side} pixels; take resnet18, vgg16 or efficientnet_lite0.",
      "trunk.name",
    )
  return levels


class Latent(nn.Module):
  """Features to the maps of mu and log-variance, by 1x1 convolutions.

  Attributes:
    features: channels of either.
  """

  features: int

  @nn.compact
  def __call__(self, x, train: bool = False):
    """[B, h, w, F] to (mu, log-variance), both [B, h, w, features]."""
    del train
    layers = "conv_mu", "conv_logvar"
    return tuple(pytorch_conv(self.features, 1, x, name) for name in layers)


class UpBlock(nn.Module):
  """Doubles a map: relu(norm(up(1x1)) + norm(3x3(relu(norm(up(3x3))))).

  Attributes:
    features: channels of the output.
    epsilon: of the norms.
  """

  features: int
  epsilon: float = EPSILON

  @nn.compact
  def __call__(self, x, train: bool):
    """[B, h, w, F] to [B, 2 h, 2 w, features]."""
    layer = functools.partial(pytorch_conv, self.features)
    norm = lambda name, x: BatchNorm(self.epsilon, name=name)(x, train)
    beside = norm("norm_skip", doubled(layer(1, x, "conv_skip")))
    y = nn.relu(norm("norm_1", doubled(layer(3, x, "conv_1"))))
    y = norm("norm_2", layer(3, y, "conv_2"))
    return nn.relu(y + beside)


class ResidualDecoder(nn.Module):
  """Maps of codes to logits of images, by blocks that double the side.

  Attributes:
    channels: of the images.
    levels: how often the side doubles.
    width: channels at the size of the codes; half as many each time, and never
      less than two.
    epsilon: of the norms.
  """

  channels: int
  levels: int
  width: int
  epsilon: float = EPSILON

  @nn.compact
  def __call__(self, z, train: bool):
    """[B, h, w, nz] to [B, h * 2^levels, w * 2^levels, channels]."""
    width = self.width
    x = pytorch_conv(width, 1, z, "conv_in")
    for level in range(self.levels):
      width = max(width // 2, 2)
      x = UpBlock(width, self.epsilon, name=f"up_{level}")(x, train)
    return pytorch_conv(self.channels, 3, x, "conv_out")


class DcganDecoder(nn.Module):
  """The same by transposed convolutions, as in a DCGAN's generator.

  Attributes: as of `ResidualDecoder`; the width may fall to one.
  """

  channels: int
  levels: int
  width: int
  epsilon: float = EPSILON

  @nn.compact
  def __call__(self, z, train: bool):
    """[B, h, w, nz] to [B, h * 2^levels, w * 2^levels, channels]."""
    width = self.width
    x = pytorch_conv(width, 1, z, "conv_in")
    for level in range(self.levels - 1):
      width = max(width // 2, 1)
      x = conv_transpose(width, name=f"up_conv_{level}")(x)
      x = nn.relu(batch_norm(self.epsilon, f"up_norm_{level}")(x, train))
    return conv_transpose(self.channels, use_bias=True, name="conv_out")(x)


class Classifier(nn.Module):
  """A map of codes to the logits of normal and anomalous, [B, 2].

  Attributes:
    pooled: whether it is linear in the mean over places, which takes few
      labels wherever a defect is; else in all values of the map.
  """

  pooled: bool = False

  @nn.compact
  def __call__(self, z, train: bool = False):
    """[B, h, w, nz] to [B, 2]."""
    del train
    z = z.mean((1, 2)) if self.pooled else z.reshape(z.shape[0], -1)
    return pytorch_dense(2, z, "logits")(z)
