# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The U-Net generator of image-to-image GANs, without dropout.

Isola et al., "Image-to-Image Translation with Conditional Adversarial
Networks", CVPR 2017 (arXiv 1611.07004).
"""

import flax.linen as nn
import jax.numpy as jnp

from jaxad.networks.dcgan import (
  EPSILON,
  SLOPE,
  batch_norm,
  conv,
  conv_transpose,
)


class UNet(nn.Module):
  """Halves an image down to one pixel and back, with skips at every level.

  Attributes:
    width: channels of the first level; they double up to eight times it.
    slope: of the leaky ReLU on the way down.
    epsilon: of the norms.
  """

  width: int = 64
  slope: float = SLOPE
  epsilon: float = EPSILON

  @nn.compact
  def __call__(self, x, train: bool):
    """[B, S, S, C] to the same shape in (-1, 1); S is a power of two."""
    channels, levels = x.shape[-1], x.shape[1].bit_length() - 1
    widths = [self.width * min(2**i, 8) for i in range(levels)]
    norm = lambda name: batch_norm(self.epsilon, name)
    down = [conv(widths[0], name="down_0")(x)]
    for i in range(1, levels):
      x = nn.leaky_relu(down[-1], self.slope)
      x = conv(widths[i], name=f"down_{i}")(x)
      if i < levels - 1:  # one pixel has no statistics worth having
        x = norm(f"down_norm_{i}")(x, train)
      down.append(x)
    for i in reversed(range(1, levels)):
      x = conv_transpose(widths[i - 1], name=f"up_{i}")(nn.relu(x))
      x = norm(f"up_norm_{i}")(x, train)
      x = jnp.concatenate([down[i - 1], x], axis=-1)
    x = conv_transpose(channels, use_bias=True, name="up_0")(nn.relu(x))
    return nn.tanh(x)
