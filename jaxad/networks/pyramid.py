# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Images at several scales, and a trunk that is trained on all of them."""

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxad.distributed import shares
from jaxad.errors import InputError, under
from jaxad.fields import Epsilon, Momentum, Range
from jaxad.layers.batch_norm import Counted, running_average
from jaxad.layers.chunks import map_chunks
from jaxad.layers.cpu import on_cpu
from jaxad.layers.images import check_rgb, check_smallest, pictured
from jaxad.networks import resnet
from jaxad.networks.trunk import (
  TRUNKS,
  TrunkName,
  feature_channels,
  make_trunk,
  minimum_size,
  normalize,
  trunk_variables,
)
from jaxad.networks.variables import (
  apply_eval,
  apply_train,
  divided,
  initialize,
)

# Each is half the size of the one before.
Scales = Annotated[int, Range(1, 8)]


def pyramid(x: jax.Array, n_scales: int) -> list[jax.Array]:
  """[B, H, W, C] at H, H // 2, H // 4, ...: nearest neighbours, unfiltered.

  Row i of a smaller scale is row floor(i * H / height) of the original, and
  columns likewise, so factors of two are strided slices. (Libraries whose
  "nearest" takes half-pixel centres pick other pixels.)
  """
  scales = [x]
  for s in range(1, n_scales):
    factor, size = 2**s, x.shape[1:3]
    if not any(n % factor for n in size):
      scales.append(x[:, ::factor, ::factor])
    else:
      rows, columns = (
        np.arange(n // factor) * n // (n // factor) for n in size
      )
      scales.append(x[:, rows[:, None], columns])
  return scales


# On a CPU the trunk takes its images a few at a time: their activations then
# stay in reach of the caches and cost few page faults (2.7 s -> 2.2 s for 64
# images of 448 px).
CPU_IMAGES_AT_ONCE = 8


def pooled_features(trunks, variables, x, n_scales, dtype=jnp.float32):
  """Means of the trunk's feature maps at each scale, side by side.

  Args:
    trunks: Linen module, [B, h, w, 3] to [B, h', w', F], or several of them,
      ends of one trunk; the compiler merges what they have in common.
    variables: of the whole trunk.
    x: [B, H, W, 3], normalised.
    n_scales: scales of the pyramid.
    dtype: of the trunk's arithmetic.

  Returns:
    y [B, sum of F * n_scales], of x's dtype, the largest scale first.
  """
  trunks = trunks if isinstance(trunks, Sequence) else [trunks]
  variables = jax.tree.map(lambda v: v.astype(dtype), variables)

  def pooled(x):
    scales = pyramid(x.astype(dtype), n_scales)
    maps = [
      trunk.apply(variables, scale).astype(x.dtype)
      for scale in scales
      for trunk in trunks
    ]
    return jnp.concatenate([m.mean((1, 2)) for m in maps], axis=-1)

  def in_chunks(x):
    parts = shares(x)
    n = len(parts)

    def of_all(x):
      """[k, n, H, W, 3] to [k, n, D]."""
      y = pooled(x.swapaxes(0, 1).reshape(-1, *x.shape[2:]))
      return y.reshape(n, len(x), -1).swapaxes(0, 1)

    y = map_chunks(of_all, parts.swapaxes(0, 1), CPU_IMAGES_AT_ONCE)
    y = y.reshape(len(x) // n, n, -1).swapaxes(0, 1)
    return y.reshape(len(x), -1)

  return on_cpu(in_chunks, pooled, x)


def check_images(
  shape: tuple[int, ...], trunk: str, layer: str | None, n_scales: int
) -> None:
  """Whether a trunk can look at images [B, H, W, C] at so many scales.

  Raises:
    InputError: they are not RGB, or too small.
  """
  check_rgb(shape)
  check_smallest(
    shape,
    minimum_size(trunk, layer) * 2 ** (n_scales - 1),
    f"trunk {trunk!r} at {n_scales} scales",
    "lower n_scales",
  )


class Trunk(NamedTuple):
  """A trunk that is fine-tuned, on images at one scale or several.

  Attributes:
    name: which network.
    layer: its last layer, as the weights' file names it; None is its end.
    weights: path of a weights file (.pth, .safetensors, .npz), "imagenet" (the
      published file, downloaded once or from a package), or "random".
    width: channels of ResNet's first convolution; 64 as published.
    blocks: basic blocks of ResNet's four layers; two each as published.
    train_norms: whether batch norms normalise by the batch and keep running
      statistics; else they stay as loaded, while all weights are trained.
    norm_momentum: weight of the old running statistics, of all norms that are
      trained; PyTorch's "momentum 0.1" is 0.9.
    norm_epsilon: of these norms; EfficientNet's own keep 1e-3.
    dtype: of the trunk's arithmetic; parameters stay float32.
  """

  name: TrunkName = "resnet18"
  layer: str | None = None
  weights: str = "imagenet"
  width: Annotated[int, Range(1, 1024)] = resnet.WIDTH
  blocks: tuple[Annotated[int, Range(1, 100)], ...] = resnet.BLOCKS
  train_norms: bool = True
  norm_momentum: Momentum = 0.9
  norm_epsilon: Epsilon = 1e-5
  dtype: Literal["float32", "bfloat16"] = "float32"

  def check(self) -> None:
    """Whether the fields, each right by its type, fit together.

    Raises:
      InputError: they do not.
    """
    with under("trunk"):
      make_trunk(self.name, self.layer)
    if len(self.blocks) != len(resnet.BLOCKS):
      raise InputError(
        f"trunk.blocks={self.blocks}: expected a number for each of the four "
        "layers, such as (2, 2, 2, 2).",
        "trunk.blocks",
      )
    sizes = self.width, self.blocks
    if self.name != "resnet18" and sizes != (resnet.WIDTH, resnet.BLOCKS):
      raise InputError(
        f"trunk.width={self.width} with blocks={self.blocks}: only the trunk "
        f"resnet18 has other sizes, not {self.name}; leave them out.",
        "trunk.width",
      )

  @property
  def module(self) -> nn.Module:
    return make_trunk(self.name, self.layer, **self._sizes())

  @property
  def channels(self) -> int:
    """Channels of the feature maps."""
    published = feature_channels(self.name, self.layer)
    return published * self.width // resnet.WIDTH

  def normalize(self, x: jax.Array) -> jax.Array:
    """RGB images [..., 3] to the range that the trunk wants, float32."""
    return normalize(x, self.name)

  def pictured(self, x: jax.Array) -> jax.Array:
    """The inverse of `normalize`, as uint8 images."""
    return pictured(x, TRUNKS[self.name].mean, TRUNKS[self.name].std)

  def init(
    self, key: jax.Array, shape: tuple[int, ...], n_scales: int = 1
  ) -> tuple[dict, dict]:
    """(params, other collections) for images of a shape [B, H, W, 3].

    Raises:
      InputError: the images or the weights do not fit, or the weights cannot be
        trained.
    """
    check_images(shape, self.name, self.layer, n_scales)
    if self.weights == "random":
      images = jnp.zeros((1, *shape[1:]), jnp.float32)
      drawn = initialize(key, {"trunk": (self.module, images)})
      return tuple(part["trunk"] for part in drawn)
    params, collections = divided(
      trunk_variables(self.name, self.layer, self.weights, key, **self._sizes())
    )
    if self.train_norms and _is_folded(collections):
      raise InputError(
        f"trunk.weights={self.weights!r}: the batch norms of this file are "
        "folded into its convolutions (all running means are 0 and all "
        "variances equal), so they have no statistics that training could go "
        "on from; keep the norms as they are with trunk.train_norms=False, or "
        "take weights with the original norms, such as imagenet.",
        "trunk.weights",
      )
    return params, collections

  def features(
    self, params, collections, x, train: bool | Counted, n_scales: int = 1
  ) -> tuple[list, dict]:
    """Feature maps of all scales.

    Args:
      params: of the trunk.
      collections: of the trunk.
      x: [B, H, W, 3], from `normalize`.
      train: normalise by the batch, or by its rows that count (unless
        `train_norms` is off).
      n_scales: of the pyramid.

    Returns:
      (maps [B, h, w, C] of x's dtype, the largest first; the collections, in
      training after a pass of each scale in this order).
    """
    dtype = jnp.dtype(self.dtype) if self.dtype == "bfloat16" else x.dtype
    maps, passes = [], []
    for scale in pyramid(x.astype(dtype), n_scales):
      if train and self.train_norms:
        y, written = apply_train(self.module, params, scale, train=train)
        passes.append(written)
      else:
        y = apply_eval(self.module, params, collections, scale)
      maps.append(y.astype(x.dtype))
    return maps, running_average(
      collections, *passes, momentum=self.norm_momentum
    )

  def _sizes(self):
    """Fields of the module; only ResNet has any."""
    if self.name != "resnet18":
      return {}
    return {
      "width": self.width,
      "blocks": self.blocks,
      "epsilon": self.norm_epsilon,
    }


def _is_folded(collections) -> bool:
  """Whether norms only add a bias: no trained network has such statistics."""
  leaves = jax.tree_util.tree_leaves_with_path(collections)
  of = lambda name: [v for path, v in leaves if path[-1].key == name]
  means, variances = of("mean"), of("var")
  if not means:
    return False
  return not any(m.any() for m in means) and all(
    (v == variances[0][0]).all() for v in variances
  )
