# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The convolutional trunk of AlexNet, without the classifier.

Krizhevsky, "One weird trick for parallelizing convolutional neural networks"
(arXiv 1404.5997), as in torchvision's `alexnet().features`: no local response
normalisation, no groups. Modules bear torchvision's names.
"""

import flax.linen as nn

from jaxad.layers.conv import Conv
from jaxad.layers.pool import max_pool

# (index in `features`, channels, kernel, stride, padding); a ReLU follows each.
CONVOLUTIONS = (
  (0, 64, 11, 4, 2),
  (3, 192, 5, 1, 2),
  (6, 384, 3, 1, 1),
  (8, 256, 3, 1, 1),
  (10, 256, 3, 1, 1),
)
POOLS = (2, 5, 12)

LAYERS = tuple(f"features.{k}" for k in range(13))


class AlexNet(nn.Module):
  """AlexNet up to `layer`; 2,469,696 parameters in the whole trunk.

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
      x: images; 63 pixels or more for the whole trunk.
      train: no effect, here for the sake of a common signature.

    Returns:
      [B, h, w, C] float32; for the whole trunk and 448 (224) pixels
      [B, 13, 13, 256] ([B, 6, 6, 256]).
    """
    del train
    convolutions = {index: settings for index, *settings in CONVOLUTIONS}
    for index, name in enumerate(LAYERS):
      if index in convolutions:
        features, kernel, stride, padding = convolutions[index]
        x = Conv(features, kernel, stride, padding, name=name)(x)
      elif index in POOLS:
        x = max_pool(x, 3, 2)
      else:
        x = nn.relu(x)
      if name == self.layer:
        break
    return x
