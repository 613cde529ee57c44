# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The students of KDAD (Salehi et al., CVPR 2021, arXiv 2011.11108).

A student has the layout of its teacher's stages, so that the maps at their ends
have the same shapes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxad.layers.batch_norm import BatchNorm
from jaxad.layers.conv import Conv, pytorch_uniform
from jaxad.layers.pool import max_pool
from jaxad.networks.vgg import BLOCK_ENDS, BLOCKS

# Channels of the small cloner where nothing is compared.
NARROW = 16


@jax.custom_vjp
def guided_relu(x):
  """ReLU that hands back the positive gradients only.

  Springenberg et al., "Striving for Simplicity" (arXiv 1412.6806).
  """
  return nn.relu(x)


guided_relu.defvjp(
  lambda x: (nn.relu(x), x > 0),
  lambda positive, g: (jnp.where(positive, nn.relu(g), 0),),
)


class Geometry(NamedTuple):
  """How the maps shrink from stage to stage.

  Attributes:
    stride: of the first convolution.
    padding: of the first convolution; that of all others is 1.
    window: side of the max pools, whose stride is 2.
    ceil_mode: of the max pools.
    pools: how many stages end in one, from the first on.
  """

  stride: int = 1
  padding: int = 1
  window: int = 2
  ceil_mode: bool = False
  pools: int = 5


class Cloner(nn.Module):
  """The student: 3x3 convolutions in stages, each as its teacher's.

  Convolution, norm and ReLU; but the last convolution of a stage goes without
  the norm, so that the stage ends in pool(ReLU(conv)) as the teacher's does.

  Attributes:
    stages: channels of the convolutions of each stage.
    geometry: strides and pools.
    use_bias: whether convolutions have biases.
    guided: whether its gradients are those of guided backpropagation.
    epsilon: of the norms.
  """

  stages: tuple[tuple[int, ...], ...]
  geometry: Geometry = Geometry()
  use_bias: bool = False
  guided: bool = False
  epsilon: float = 1e-5

  @nn.compact
  def __call__(self, x, train: bool) -> list[jax.Array]:
    """[B, H, W, C] to the map [B, h, w, F] at the end of each stage."""
    stride, padding, window, ceil_mode, pools = self.geometry
    relu = guided_relu if self.guided else nn.relu
    maps, k = [], 0
    for stage, widths in enumerate(self.stages):
      for width in widths[:-1]:
        x = self._conv(x, width, k, stride, padding)
        x = relu(BatchNorm(self.epsilon, name=f"norm_{k}")(x, train))
        stride, padding, k = 1, 1, k + 1
      x = relu(self._conv(x, widths[-1], k, stride, padding))
      stride, padding, k = 1, 1, k + 1
      if stage < pools:
        x = max_pool(x, window, 2, ceil_mode=ceil_mode)
      maps.append(x)
    return maps

  def _conv(self, x, width, k, stride, padding):
    return Conv(
      width,
      3,
      stride,
      padding,
      use_bias=self.use_bias,
      kernel_init=nn.initializers.xavier_uniform(),
      bias_init=pytorch_uniform(9 * x.shape[-1]),
      name=f"conv_{k}",
    )(x)


class Form(NamedTuple):
  """How a trunk teaches.

  Attributes:
    ends: the trunk's layers that end the stages.
    loss: those of them in the loss, by default.
    score: those of them in the score, by default.
    geometry: of both networks.
    small: how many convolutions each stage of the small cloner has.
    equal: the channels of those of the equal cloner; the last of each stage are
      the trunk's.
  """

  ends: tuple[str, ...]
  loss: tuple[str, ...]
  score: tuple[str, ...]
  geometry: Geometry
  small: tuple[int, ...]
  equal: tuple[tuple[int, ...], ...]

  def stages(self, size: str, compared: Sequence[int]):
    """Channels of a cloner whose maps at the stages `compared` count."""
    if size == "equal":
      return self.equal[: compared[-1] + 1]
    return tuple(
      (NARROW,) * (self.small[k] - 1)
      + (self.equal[k][-1] if k in compared else NARROW,)
      for k in range(compared[-1] + 1)
    )


VGG = Form(
  BLOCK_ENDS,
  BLOCK_ENDS[1:],
  BLOCK_ENDS[2:],
  Geometry(),
  small=(2, 2, 3, 3, 3),
  equal=BLOCKS,
)

# Ours, in the manner of the paper's cloners. A stage ends where the trunk's map
# shrinks, or the trunk ends; SqueezeNet's first convolution has stride 2 and no
# padding, and its pools count a last, incomplete window. To each fire module
# corresponds one 3x3 convolution; the small cloner has one more at the start.
_SQUEEZENET_ENDS = ("features.2", "features.5", "features.8", "features.12")
SQUEEZENET = Form(
  _SQUEEZENET_ENDS,
  _SQUEEZENET_ENDS,
  _SQUEEZENET_ENDS[1:],
  Geometry(stride=2, padding=0, window=3, ceil_mode=True, pools=3),
  small=(2, 2, 2, 4),
  equal=((64,), (128, 128), (256, 256), (384, 384, 512, 512)),
)

FORMS = {"vgg16": VGG, "squeezenet1_1": SQUEEZENET}
