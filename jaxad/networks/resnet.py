# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""ResNet-18 without the classifier.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016 (arXiv
1512.03385), as in torchvision's `resnet18`. Modules bear torchvision's names.
"""

import flax.linen as nn

from jaxad.layers.batch_norm import BatchNorm
from jaxad.layers.conv import Conv
from jaxad.layers.pool import max_pool

# Channels of layer1, doubled from layer to layer, and the blocks of each.
WIDTH = 64
BLOCKS = (2, 2, 2, 2)

LAYERS = (
  "conv1",
  "bn1",
  "relu",
  "maxpool",
  *(f"layer{k}" for k in range(1, len(BLOCKS) + 1)),
)


class ResNet18(nn.Module):
  """ResNet-18 up to `layer`; 11,176,512 parameters in the whole trunk.

  The kernels start He-normal by fan-in, as in the other trunks (torchvision
  takes the fan-out; the norms make the scale irrelevant at the start). No
  convolution has a bias.

  Attributes:
    layer: the last layer to compute, one of `LAYERS`; those after it have no
      parameters.
    width: channels of the first convolution and of layer1; 64 is ResNet-18.
    blocks: basic blocks of layer1 to layer4; two each are ResNet-18.
    epsilon: of the norms.
    after: a layer whose map is given in place of images; those up to it have no
      parameters.
  """

  layer: str = "layer4"
  width: int = WIDTH
  blocks: tuple[int, ...] = BLOCKS
  epsilon: float = 1e-5
  after: str | None = None

  @nn.compact
  def __call__(self, x, train=False):
    """ImageNet-normalised [B, H, W, 3] float32 to the map of `layer`.

    Args:
      x: images of any size.
      train: whether the norms use the statistics of the batch and, if the
        collection "batch_stats" is mutable, write them there; they are to be
        folded into the running ones, see `layers/batch_norm.py`.

    Returns:
      [B, h, w, C] float32; for the whole trunk and 448 (224) pixels
      [B, 14, 14, 512] ([B, 7, 7, 512]).
    """
    done = LAYERS.index(self.after) + 1 if self.after else 0
    for name in LAYERS[done:]:
      if name == "conv1":
        x = Conv(self.width, 7, stride=2, padding=3, use_bias=False, name=name)(
          x
        )
      elif name == "bn1":
        x = self._norm(x, name, train)
      elif name == "relu":
        x = nn.relu(x)
      elif name == "maxpool":
        x = max_pool(x, 3, 2, padding=1)
      else:
        stage = int(name.removeprefix("layer"))
        width = self.width * 2 ** (stage - 1)
        for block in range(self.blocks[stage - 1]):
          stride = 2 if stage > 1 and block == 0 else 1
          x = self._block(x, width, stride, f"{name}.{block}", train)
      if name == self.layer:
        break
    return x

  def _block(self, x, width, stride, name, train):
    """relu(shortcut + norm(conv(relu(norm(conv(x)))))), [B, h, w, width]."""
    shortcut = x
    y = self._conv(x, width, 3, stride, f"{name}.conv1")
    y = nn.relu(self._norm(y, f"{name}.bn1", train))
    y = self._conv(y, width, 3, 1, f"{name}.conv2")
    y = self._norm(y, f"{name}.bn2", train)
    if stride > 1:
      shortcut = self._conv(x, width, 1, stride, f"{name}.downsample.0")
      shortcut = self._norm(shortcut, f"{name}.downsample.1", train)
    return nn.relu(shortcut + y)

  def _norm(self, x, name, train):
    return BatchNorm(self.epsilon, name=name)(x, train)

  def _conv(self, x, features, kernel_size, stride, name):
    padding = kernel_size // 2
    return Conv(
      features, kernel_size, stride, padding, use_bias=False, name=name
    )(x)
