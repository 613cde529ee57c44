# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The feature extractors by name, their images and their weights."""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxad.errors import InputError
from jaxad.layers.images import standardize
from jaxad.networks import alexnet, resnet, squeezenet
from jaxad.networks.variables import initialize
from jaxad.pretrained import load_variables, read_tensors
from jaxad.pretrained.download import fetch

# Of RGB images in [0, 1], as torchvision's weights expect them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# No trunk needs larger images than this.
_LARGEST_MINIMUM = 256


class Trunk(NamedTuple):
  """What there is to know of a trunk.

  Attributes:
    module: the Linen class; `module(layer=...)` makes it.
    layer: the layer that is computed where none is asked for.
    layers: all layers, in order.
    url: the weights trained on ImageNet, a state dict of torchvision.
    sha256: the first hexadecimal digits of that file's SHA-256.
  """

  module: type[nn.Module]
  layer: str
  layers: tuple[str, ...]
  url: str
  sha256: str


TRUNKS = {
  "alexnet": Trunk(
    alexnet.AlexNet,
    "features.12",
    alexnet.LAYERS,
    "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "7be5be79",
  ),
  "squeezenet1_1": Trunk(
    squeezenet.SqueezeNet,
    "features.12",
    squeezenet.LAYERS,
    "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
    "b8a52dc0",
  ),
  "resnet18": Trunk(
    resnet.ResNet18,
    "layer4",
    resnet.LAYERS,
    "https://download.pytorch.org/models/resnet18-f37072fd.pth",
    "f37072fd",
  ),
}


def make_trunk(
  name: str, layer: str | None = None, **sizes: int | None
) -> nn.Module:
  """The Linen module of a trunk, up to `layer` (None: the whole trunk).

  Args:
    name: a key of `TRUNKS`.
    layer: the last layer.
    **sizes: `width` or `blocks` of a ResNet that is not the published one; None
      is the published size.

  Raises:
    InputError: no such trunk, no such layer in it, or no such size.
  """
  if name not in TRUNKS:
    raise InputError(
      f"trunk={name!r} is not known; it must be one of {', '.join(TRUNKS)}"
    )
  trunk = TRUNKS[name]
  if layer is None:
    layer = trunk.layer
  if layer not in trunk.layers:
    raise InputError(
      f"layer={layer!r} is not in the trunk {name}; it must be one of "
      f"{', '.join(trunk.layers)}"
    )
  sizes = {key: value for key, value in sizes.items() if value is not None}
  for key, value in sizes.items():
    if key not in trunk.module.__dataclass_fields__ or value < 1:
      raise InputError(
        f"{key}={value} of the trunk {name}: only resnet18 comes in sizes, of 1 "
        f"and more; leave config.detector.{key} out"
      )
  return trunk.module(layer=layer, **sizes)


@functools.cache
def minimum_size(name: str, layer: str | None = None) -> int:
  """The smallest side, in pixels, of square images that `layer` can be had of.

  Every feature map on the way to it has one pixel or more.
  """
  module = make_trunk(name, layer)
  low, high = 1, _LARGEST_MINIMUM
  while low < high:
    middle = (low + high) // 2
    try:
      _output_shape(module, middle)
      high = middle
    except InputError:
      low = middle + 1
  return low


@functools.cache
def feature_channels(name: str, layer: str | None = None) -> int:
  """The number of channels of `layer`."""
  size = minimum_size(name, layer)
  return _output_shape(make_trunk(name, layer), size)[-1]


def _output_shape(module, size):
  images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
  key = jax.eval_shape(lambda: jax.random.key(0))
  return jax.eval_shape(module.init_with_output, key, images)[0].shape


def check_images(
  shape: tuple[int, ...], name: str, layer: str | None, n_scales: int
) -> None:
  """Checks that a trunk can look at images at all scales of a pyramid.

  Args:
    shape: [B, H, W, C].
    name: a key of `TRUNKS`.
    layer: the trunk's last layer, None for its end.
    n_scales: scales, each half the size of the one before.

  Raises:
    InputError: the images are not RGB, not square, or too small.
  """
  height, width, channels = shape[1:]
  if channels != 3:
    raise InputError(
      f"the trunk {name} takes images of 3 channels, got {channels}; set "
      "config.data.channels=3."
    )
  if height != width:
    raise InputError(
      f"the trunk {name} is given square images only, got {height} x {width}; "
      "set one side with config.data.image_size."
    )
  needed = minimum_size(name, layer) * 2 ** (n_scales - 1)
  if height < needed:
    raise InputError(
      f"image_size={height} is too small: trunk {name!r} at {n_scales} "
      f"scales needs at least {needed}; enlarge config.data.image_size or "
      "lower config.detector.n_scales."
    )


def normalize(x: jax.Array) -> jax.Array:
  """RGB images to the range that the trunks want.

  Args:
    x: [..., 3], uint8 in 0..255 or floating point in [0, 1].

  Returns:
    (x - mean) / deviation of ImageNet, channel by channel, [..., 3] float32.

  Raises:
    InputError: three channels or one of these dtypes was expected.
  """
  if x.shape[-1] != 3:
    raise InputError(
      f"images of shape {tuple(x.shape)}: the last axis must hold the three "
      "channels red, green and blue"
    )
  return standardize(x, IMAGENET_MEAN, IMAGENET_STD)


def trunk_variables(
  name: str,
  layer: str | None,
  weights: str,
  key: jax.Array,
  fine_tuned: bool = False,
  **sizes: int | None,
) -> dict:
  """Flax variables of a trunk up to `layer`.

  Args:
    name: a key of `TRUNKS`.
    layer: the last layer, None for the whole trunk.
    weights: "random" (drawn with `key`), "imagenet" (torchvision's, fetched
      once into the cache folder) or the path of a file with torchvision's
      tensor names (see `jaxad.pretrained.read_tensors`). A file may lack what
      lies behind `layer`, and may hold more.
    key: typed PRNG key; only "random" uses it.
    fine_tuned: whether the trunk is to be trained on.
    **sizes: see `make_trunk`.

  Returns:
    {"params": ...} float32, for ResNet-18 with "batch_stats".

  Raises:
    InputError: an unknown trunk or layer, no such file, a file that cannot be
      read, one that lacks a tensor or has it in another shape, or whose batch
      norms have no statistics for a trunk that is to be fine-tuned.
  """
  module = make_trunk(name, layer, **sizes)
  size = minimum_size(name, layer)
  images = jnp.zeros((1, size, size, 3), jnp.float32)
  if weights == "random":
    return jax.jit(module.init)(key, images)
  path = weights
  if weights == "imagenet":
    path = fetch(TRUNKS[name].url, TRUNKS[name].sha256)
  shapes = jax.eval_shape(module.init, key, images)
  tensors = read_tensors(path)
  if fine_tuned and "batch_stats" in shapes:
    _check_statistics(tensors, path)
  return load_variables(shapes, tensors, path)


def _check_statistics(tensors, path):
  """Refuses norms that were folded into the convolutions before them.

  Such a file lacks the running means, or has zeros in their place. In inference
  it is the same network; in training its norms would normalise once more, by
  statistics that its scales and biases do not belong to.
  """
  means = [v for k, v in tensors.items() if k.endswith("running_mean")]
  if not any(np.any(mean) for mean in means):
    raise InputError(
      f"weights {path}: its batch norms were folded into the convolutions (no "
      "running means), so the trunk cannot be fine-tuned; give a file with "
      "their statistics, or set config.detector.trunk=squeezenet1_1, which has "
      "no norms"
    )


def initialize_on_trunk(
  key: jax.Array,
  network: nn.Module,
  *images: jax.Array,
  name: str,
  layer: str | None,
  weights: str,
) -> tuple[dict, dict]:
  """Variables of a network whose submodule `trunk` is to be fine-tuned.

  Args:
    key: typed PRNG key.
    network: a Linen module with the attribute `trunk`, from `make_trunk`.
    *images: what it takes.
    name: of the trunk.
    layer: its last layer, None for the whole trunk.
    weights: see `trunk_variables`.

  Returns:
    (params, batch_stats).

  Raises:
    InputError: see `trunk_variables`.
  """
  network_key, trunk_key = jax.random.split(key)
  params, batch_stats = initialize(network_key, {"network": (network, *images)})
  params, batch_stats = params["network"], dict(batch_stats["network"])
  if weights != "random":
    sizes = {
      size: getattr(network.trunk, size)
      for size in ("width", "blocks")
      if hasattr(network.trunk, size)
    }
    loaded = trunk_variables(
      name, layer, weights, trunk_key, fine_tuned=True, **sizes
    )
    params["trunk"] = loaded["params"]
    if "batch_stats" in loaded:
      batch_stats["trunk"] = loaded["batch_stats"]
  return params, batch_stats
