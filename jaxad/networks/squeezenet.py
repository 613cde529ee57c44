# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The trunk of SqueezeNet 1.1, without the classifier.

Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters
and <0.5MB model size" (arXiv 1602.07360), version 1.1 as in torchvision's
`squeezenet1_1().features`. Modules bear torchvision's names.
"""

import flax.linen as nn
import jax.numpy as jnp

from jaxad.layers.conv import Conv
from jaxad.layers.pool import max_pool

# index in `features`: channels of (squeeze, expand1x1 and expand3x3 each)
FIRES = {
  3: (16, 64),
  4: (16, 64),
  6: (32, 128),
  7: (32, 128),
  9: (48, 192),
  10: (48, 192),
  11: (64, 256),
  12: (64, 256),
}
POOLS = (2, 5, 8)

LAYERS = tuple(f"features.{k}" for k in range(13))


class SqueezeNet(nn.Module):
  """SqueezeNet 1.1 up to `layer`; 722,496 parameters in the whole trunk.

  The kernels start He-normal (fan-in) and the biases at zero: a frozen random
  trunk must hand the signal on at its scale, and torchvision's own
  initialisation shrinks it at every layer.

  Attributes:
    layer: the last layer to compute, "features.0" to "features.12"; those after
      it have no parameters.
  """

  layer: str = "features.12"

  @nn.compact
  def __call__(self, x, train=False):
    """ImageNet-normalised [B, H, W, 3] float32 to the map of `layer`.

    Args:
      x: images; 17 pixels or more for the whole trunk.
      train: no effect, here for the sake of a common signature.

    Returns:
      [B, h, w, C] float32; for the whole trunk and 448 (224) pixels
      [B, 27, 27, 512] ([B, 13, 13, 512]).
    """
    del train
    for index, name in enumerate(LAYERS):
      if index == 0:
        x = Conv(64, 3, stride=2, padding=0, name=name)(x)
      elif index == 1:
        x = nn.relu(x)
      elif index in POOLS:
        x = max_pool(x, 3, 2, ceil_mode=True)
      else:
        x = self._fire(x, *FIRES[index], name)
      if name == self.layer:
        break
    return x

  def _fire(self, x, squeeze, expand, name):
    x = nn.relu(Conv(squeeze, 1, name=f"{name}.squeeze")(x))
    narrow = Conv(expand, 1, name=f"{name}.expand1x1")(x)
    wide = Conv(expand, 3, padding=1, name=f"{name}.expand3x3")(x)
    return nn.relu(jnp.concatenate([narrow, wide], axis=-1))
