# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The encoder and decoder of the DCGAN family.

Radford, Metz and Chintala, "Unsupervised Representation Learning with Deep
Convolutional Generative Adversarial Networks", ICLR 2016 (arXiv 1511.06434), in
the form that GANomaly and its relatives share: 4x4 kernels without bias, down
to 4x4 pixels and then to one, and back. A discriminator is an encoder of one
output.
"""

import flax.linen as nn

from jaxad.errors import InputError
from jaxad.layers.batch_norm import BatchNorm, around_one
from jaxad.layers.conv import Conv, ConvTranspose

# How DCGANs start: N(0, 0.02) kernels, N(1, 0.02) scales of the norms.
kernel_init = nn.initializers.normal(0.02)
scale_init = around_one(0.02)
# Of their leaky ReLUs, and of their norms.
SLOPE = 0.2
EPSILON = 1e-5


def conv(
  features, kernel_size=4, stride=2, padding=1, use_bias=False, name=None
):
  return Conv(
    features,
    kernel_size,
    stride,
    padding,
    use_bias=use_bias,
    kernel_init=kernel_init,
    name=name,
  )


def conv_transpose(
  features, kernel_size=4, stride=2, padding=1, use_bias=False, name=None
):
  return ConvTranspose(
    features,
    kernel_size,
    stride,
    padding,
    use_bias=use_bias,
    kernel_init=kernel_init,
    name=name,
  )


def batch_norm(epsilon, name=None):
  """PyTorch's."""
  return BatchNorm(epsilon, unbiased=True, scale_init=scale_init, name=name)


class Encoder(nn.Module):
  """Images to codes; halves the image until it has 4x4 pixels.

  Attributes:
    out: length of the code.
    width: channels of the first convolution; they double each time.
    extra_layers: 3x3 convolutions after the first one.
    slope: of the leaky ReLU.
    epsilon: of the norms.
    widest: the most channels that a convolution may have; None sets no limit.
  """

  out: int
  width: int = 64
  extra_layers: int = 0
  slope: float = SLOPE
  epsilon: float = EPSILON
  widest: int | None = None

  @nn.compact
  def __call__(self, x, train: bool):
    """[B, S, S, C] to (code [B, out], features [B, 4, 4, F]).

    The features are what enters the last, linear layer.
    """
    act = lambda x: nn.leaky_relu(x, self.slope)
    norm = lambda name: batch_norm(self.epsilon, name)
    x = act(conv(self.width, name="conv_0")(x))
    for k in range(self.extra_layers):
      x = conv(self.width, 3, 1, 1, name=f"extra_{k}")(x)
      x = act(norm(f"extra_norm_{k}")(x, train))
    level = 1
    while x.shape[1] > 4:
      features = min(2 * x.shape[-1], self.widest or 2 * x.shape[-1])
      x = conv(features, name=f"conv_{level}")(x)
      x = act(norm(f"norm_{level}")(x, train))
      level += 1
    code = conv(self.out, 4, 1, 0, name="conv_out")(x)
    return code.reshape(code.shape[0], self.out), x


class Decoder(nn.Module):
  """Codes to images: an encoder backwards, with ReLU, and tanh at the end.

  Attributes:
    side: S of the images, a power of two and at least 16.
    channels: C of the images.
    width: channels at half the side; they double towards the code.
    extra_layers: 3x3 convolutions before the last layer.
    epsilon: of the norms.
  """

  side: int
  channels: int
  width: int = 64
  extra_layers: int = 0
  epsilon: float = EPSILON

  @nn.compact
  def __call__(self, z, train: bool):
    """[B, nz] to [B, S, S, C] in (-1, 1)."""
    norm = lambda name: batch_norm(self.epsilon, name)
    features = self.width * self.side // 8
    x = z[:, None, None, :]
    x = conv_transpose(features, 4, 1, 0, name="conv_0")(x)
    x = nn.relu(norm("norm_0")(x, train))
    level = 1
    while x.shape[1] < self.side // 2:
      x = conv_transpose(x.shape[-1] // 2, name=f"conv_{level}")(x)
      x = nn.relu(norm(f"norm_{level}")(x, train))
      level += 1
    for k in range(self.extra_layers):
      x = conv(x.shape[-1], 3, 1, 1, name=f"extra_{k}")(x)
      x = nn.relu(norm(f"extra_norm_{k}")(x, train))
    return nn.tanh(conv_transpose(self.channels, name="conv_out")(x))


def check_images(shape: tuple[int, ...], smallest: int) -> None:
  """Checks that [B, S, S, C] can be halved down to one pixel.

  Raises:
    InputError: no images, not square, or S is no power of two or below
      `smallest`.
  """
  if len(shape) != 4:
    raise InputError(f"x of the shape {tuple(shape)}: expected [B, S, S, C].")
  side, width = shape[1:3]
  if side != width or side < smallest or side & (side - 1):
    raise InputError(
      f"image_size={side}x{width}: expected square images whose side is a "
      f"power of two, {smallest} or more.",
      "image_size",
    )
