# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""EfficientNet-Lite0 without head and classifier.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural
Networks", ICML 2019 (arXiv 1905.11946), in the form for small devices that
TensorFlow published in 2020: ReLU6 for swish, no squeeze-and-excitation, stem
and head unscaled. Modules bear the names of the weights' file.
"""

import flax.linen as nn

from jaxad.layers.batch_norm import BatchNorm
from jaxad.layers.conv import Conv, DepthwiseConv, same_padding

# TensorFlow's, of every norm. Some channels have a running variance of 0.
EPSILON = 1e-3

STEM = 32

# (blocks, kernel, stride of the first, expansion, channels) of each stage.
STAGES = (
  (1, 3, 1, 1, 16),
  (2, 3, 2, 6, 24),
  (2, 5, 2, 6, 40),
  (3, 3, 2, 6, 80),
  (3, 5, 1, 6, 112),
  (4, 5, 2, 6, 192),
  (1, 3, 1, 6, 320),
)

# (kernel, stride, expansion, channels) of each block.
BLOCKS = tuple(
  (kernel, stride if first else 1, expansion, channels)
  for count, kernel, stride, expansion, channels in STAGES
  for first in [True] + [False] * (count - 1)
)

LAYERS = (
  "_conv_stem",
  "_bn0",
  *(f"_blocks.{k}" for k in range(len(BLOCKS))),
)


class EfficientNetLite0(nn.Module):
  """EfficientNet-Lite0 up to `layer`; 2,958,848 parameters in the whole trunk.

  The kernels start He-normal by fan-in, as in the other trunks. No convolution
  has a bias.

  Attributes:
    layer: the last layer to compute, one of `LAYERS`; those after it have no
      parameters. "_blocks.10" has 112 channels at a sixteenth of the image's
      side, "_blocks.15" 320 at a 32nd.
    after: a layer whose map is given in place of images; those up to it have no
      parameters.
  """

  layer: str = LAYERS[-1]
  after: str | None = None

  @nn.compact
  def __call__(self, x, train=False):
    """[B, H, W, 3] float32, (pixels - 127) / 128, to the map of `layer`.

    Args:
      x: images of any size.
      train: whether the norms use the statistics of the batch, as in
        `resnet.ResNet18`.

    Returns:
      [B, h, w, C] float32; for the whole trunk and 448 (224) pixels
      [B, 14, 14, 320] ([B, 7, 7, 320]).
    """
    done = LAYERS.index(self.after) + 1 if self.after else 0
    for name in LAYERS[done:]:
      if name == "_conv_stem":
        x = self._conv(x, STEM, 3, 2, name)
      elif name == "_bn0":
        x = nn.relu6(self._norm(x, name, train))
      else:
        block = BLOCKS[int(name.removeprefix("_blocks."))]
        x = self._block(x, *block, name, train)
      if name == self.layer:
        break
    return x

  def _block(self, x, kernel, stride, expansion, channels, name, train):
    """Widened, filtered channel by channel, and narrowed without a ReLU."""
    y = x
    if expansion > 1:
      y = self._conv(y, expansion * x.shape[-1], 1, 1, f"{name}._expand_conv")
      y = nn.relu6(self._norm(y, f"{name}._bn0", train))
    padding = same_padding(y, kernel, stride)
    y = DepthwiseConv(kernel, stride, padding, name=f"{name}._depthwise_conv")(
      y
    )
    y = nn.relu6(self._norm(y, f"{name}._bn1", train))
    y = self._conv(y, channels, 1, 1, f"{name}._project_conv")
    y = self._norm(y, f"{name}._bn2", train)
    return x + y if stride == 1 and x.shape == y.shape else y

  def _norm(self, x, name, train):
    return BatchNorm(EPSILON, name=name)(x, train)

  def _conv(self, x, features, kernel, stride, name):
    padding = same_padding(x, kernel, stride)
    return Conv(features, kernel, stride, padding, use_bias=False, name=name)(x)
