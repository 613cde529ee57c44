# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Images at several scales, and a trunk that is trained on all of them."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxad.errors import InputError, one_of
from jaxad.layers.batch_norm import running_average
from jaxad.layers.images import check_square
from jaxad.networks import resnet
from jaxad.networks.trunk import (
  feature_channels,
  make_trunk,
  minimum_size,
  trunk_variables,
)
from jaxad.networks.variables import apply_eval, apply_train, initialize

# Weight of the old running statistics; PyTorch's "momentum 0.1".
MOMENTUM = 0.9


def pyramid(x: jax.Array, n_scales: int) -> list[jax.Array]:
  """[B, S, S, C] at S, S // 2, S // 4, ...: nearest neighbours, unfiltered.

  Pixel i of a smaller scale is pixel floor(i * S / size) of the original, so
  factors of two are strided slices. (Libraries whose "nearest" takes half-pixel
  centres pick other pixels.)
  """
  scales = [x]
  for s in range(1, n_scales):
    size, small = x.shape[1], x.shape[1] // 2**s
    if size == small * 2**s:
      scales.append(x[:, :: 2**s, :: 2**s])
    else:
      index = np.arange(small) * size // small
      scales.append(x[:, index[:, None], index[None, :]])
  return scales


def check_images(
  shape: tuple[int, ...], trunk: str, layer: str | None, n_scales: int
) -> None:
  """Whether a trunk can look at images [B, H, W, C] at so many scales.

  Raises:
    InputError: they are not RGB, not square, or too small.
  """
  check_square(
    shape,
    minimum_size(trunk, layer) * 2 ** (n_scales - 1),
    f"trunk {trunk!r} at {n_scales} scales",
    "lower config.detector.n_scales",
  )


class PyramidTrunk(NamedTuple):
  """A trunk that is fine-tuned on an image pyramid.

  Attributes:
    name: "alexnet", "squeezenet1_1", "resnet18" or "vgg16".
    layer: its last layer; None is its end.
    weights: "imagenet", "random" or the path of a file, see `trunk_variables`.
    width: channels of ResNet's first convolution; 64 as published.
    blocks: basic blocks of ResNet's four layers; "2,2,2,2" as published.
    n_scales: of the pyramid.
    train_norms: whether batch norms normalise by the batch and keep running
      statistics; else they stay what the weights file made them.
    dtype: "float32" or "bfloat16", of the trunk's arithmetic; parameters stay
      float32.
  """

  name: str
  layer: str | None
  weights: str
  width: int
  blocks: str
  n_scales: int
  train_norms: bool
  dtype: str

  def check(self) -> None:
    """Whether the fields make sense.

    Raises:
      InputError: they do not.
    """
    make_trunk(self.name, self.layer)
    one_of("trunk_dtype", self.dtype, ("float32", "bfloat16"))
    if self.n_scales < 1:
      raise InputError(f"n_scales={self.n_scales}: expected 1 or more.")
    numbers = self.blocks.split(",")
    if len(numbers) != len(resnet.BLOCKS) or not all(
      number.strip().isdecimal() and int(number) for number in numbers
    ):
      raise InputError(
        f"trunk_blocks={self.blocks}: expected a number for each of the four "
        "layers, such as 2,2,2,2."
      )
    if self.width < 1:
      raise InputError(f"trunk_width={self.width}: expected 1 or more.")
    published = (resnet.WIDTH, resnet.BLOCKS)
    if self.name != "resnet18" and (self.width, self._blocks()) != published:
      raise InputError(
        f"trunk_width={self.width}, trunk_blocks={self.blocks}: only the trunk "
        f"resnet18 has other sizes, not {self.name}; leave them out."
      )

  @property
  def module(self) -> nn.Module:
    return make_trunk(self.name, self.layer, **self._sizes())

  @property
  def channels(self) -> int:
    """Channels of the feature maps."""
    published = feature_channels(self.name, self.layer)
    return published * self.width // resnet.WIDTH

  def init(self, key: jax.Array, shape: tuple[int, ...]) -> tuple[dict, dict]:
    """(params, running statistics) for images of a shape [B, S, S, 3].

    Raises:
      InputError: the images or the weights do not fit, or the weights cannot be
        trained.
    """
    check_images(shape, self.name, self.layer, self.n_scales)
    if self.weights == "random":
      images = jnp.zeros((1, *shape[1:]), jnp.float32)
      drawn = initialize(key, {"trunk": (self.module, images)})
      return tuple(part["trunk"] for part in drawn)
    variables = trunk_variables(
      self.name, self.layer, self.weights, key, **self._sizes()
    )
    running = variables.get("batch_stats", {})
    if self.train_norms and _is_folded(running):
      raise InputError(
        f"weights {self.weights}: the batch norms of this file are folded into "
        "its convolutions (all running means are 0 and all variances equal), "
        "so they have no statistics that training could go on from; keep the "
        "norms as they are with --config.detector.train_norms=False, or take "
        "weights with the original norms, such as imagenet."
      )
    return variables["params"], running

  def features(self, params, running, x, train: bool) -> tuple[list, list]:
    """Feature maps of all scales.

    Args:
      params: of the trunk.
      running: its running statistics.
      x: [B, S, S, 3], ImageNet-normalised.
      train: normalise by the batch (unless `train_norms` is off).

    Returns:
      (maps [B, h, w, C] of x's dtype, the largest first; for each scale the
      statistics of the batch, or {} where none were taken).
    """
    dtype = jnp.dtype(self.dtype) if self.dtype == "bfloat16" else x.dtype
    maps, stats = [], []
    for scale in pyramid(x.astype(dtype), self.n_scales):
      if train and self.train_norms:
        y, batch = apply_train(self.module, params, scale)
      else:
        y, batch = apply_eval(self.module, params, running, scale), {}
      maps.append(y.astype(x.dtype))
      stats.append(batch)
    return maps, stats

  def fold(self, running, stats: list):
    """The running statistics after one pass of each scale, in their order."""
    return running_average(running, *filter(None, stats), momentum=MOMENTUM)

  def _blocks(self):
    return tuple(int(number) for number in self.blocks.split(","))

  def _sizes(self):
    """Fields of the module; only ResNet has sizes."""
    if self.name != "resnet18":
      return {}
    return {"width": self.width, "blocks": self._blocks()}


def _is_folded(running) -> bool:
  """Whether norms only add a bias: no trained network has such statistics."""
  leaves = jax.tree_util.tree_leaves_with_path(running)
  of = lambda name: [v for path, v in leaves if path[-1].key == name]
  means, variances = of("mean"), of("var")
  if not means:
    return False
  return not any(m.any() for m in means) and all(
    (v == variances[0][0]).all() for v in variances
  )
