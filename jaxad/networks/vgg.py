# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The convolutional trunk of VGG-16, without the classifier.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
Recognition", ICLR 2015 (arXiv 1409.1556), configuration D without batch
normalisation, as in torchvision's `vgg16().features`. Modules bear
torchvision's names.
"""

import flax.linen as nn

from jaxad.layers.conv import Conv
from jaxad.layers.pool import max_pool

# Channels of the 3x3 convolutions of each block. A ReLU follows every one of
# them, a 2x2 max pool every block.
BLOCKS = (
  (64, 64),
  (128, 128),
  (256, 256, 256),
  (512, 512, 512),
  (512, 512, 512),
)

LAYERS = tuple(f"features.{k}" for k in range(31))

# The max pools that end the blocks.
BLOCK_ENDS = tuple(f"features.{k}" for k in (4, 9, 16, 23, 30))


class VGG16(nn.Module):
  """VGG-16 up to `layer`; 14,714,688 parameters in the whole trunk.

  The kernels start He-normal (fan-in) and the biases at zero, as torchvision's
  do but for the fan: a frozen random trunk must hand the signal on at its
  scale.

  Attributes:
    layer: the last layer to compute, "features.0" to "features.30"; those after
      it have no parameters.
    blocks: channels of the convolutions, five tuples as long as in `BLOCKS`.
  """

  layer: str = "features.30"
  blocks: tuple[tuple[int, ...], ...] = BLOCKS

  def __call__(self, x, train=False):
    """ImageNet-normalised [B, H, W, 3] float32 to the map of `layer`.

    Args:
      x: images; 32 pixels or more for the whole trunk.
      train: no effect, here for the sake of a common signature.

    Returns:
      [B, h, w, C] float32; for the whole trunk and 224 (128) pixels
      [B, 7, 7, 512] ([B, 4, 4, 512]).
    """
    del train
    return self.maps(x, (self.layer,))[0]

  @nn.compact
  def maps(self, x, layers: tuple[str, ...]):
    """The maps of several layers, none behind `layer`, in one pass.

    Args:
      x: images, see `__call__`.
      layers: names from `LAYERS`, in order.

    Returns:
      A list of [B, h, w, C], one a layer.
    """
    found = []
    for name, module in zip(LAYERS, _modules(self.blocks), strict=True):
      if module == "relu":
        x = nn.relu(x)
      elif module == "pool":
        x = max_pool(x, 2, 2)
      else:
        x = Conv(module, 3, padding=1, name=name)(x)
      if name in layers:
        found.append(x)
      if name == self.layer:
        break
    return found


def _modules(blocks):
  """The number of channels for a convolution, else "relu" or "pool"."""
  for block in blocks:
    for channels in block:
      yield channels
      yield "relu"
    yield "pool"
