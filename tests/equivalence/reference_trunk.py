# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What the recordings of methods with a fine-tuned ResNet have in common."""

import jax
import layout
import numpy as np
import optax

from jaxad.detector import Plan
from jaxad.networks.pyramid import Trunk
from jaxad.networks.trunk import IMAGENET_MEAN, IMAGENET_STD

# Of the three recorded steps, which are not the end of an epoch.
PLAN = Plan(batch_size=1, ends=(20, 40), steps_per_epoch=(20, 20))

TRUNK = "feature_extractor.net."
LEAVES = {
  "weight": "scale",
  "bias": "bias",
  "running_mean": "mean",
  "running_var": "var",
}


def pixels(x):
  """Normalised images, NCHW, to [0, 1], NHWC."""
  x = layout.channels_last(x)
  mean, std = (np.asarray(v, x.dtype) for v in (IMAGENET_MEAN, IMAGENET_STD))
  return x * std + mean


def trunk(golden):
  """The recorded trunk."""
  return Trunk(
    weights="random",
    width=int(golden["input/cfg_width"]),
    blocks=tuple(int(n) for n in golden["input/cfg_layers"]),
  )


def layers(arrays, prefix, names=lambda name: name):
  """(params, collections) of the layers below a prefix.

  Args:
    arrays: in PyTorch's names and layouts.
    prefix: of the layers.
    names: from the reference's names of layers to ours.
  """
  params, running = {}, {}
  for key, value in arrays.items():
    if not key.startswith(prefix):
      continue
    layer, _, leaf = key.removeprefix(prefix).rpartition(".")
    if leaf == "num_batches_tracked":
      continue
    target = running if leaf.startswith("running") else params
    name = LEAVES[leaf]
    if value.ndim == 4:
      name, value = "kernel", layout.conv_kernel(value)
    elif value.ndim == 2:
      name, value = "kernel", value.T
    target.setdefault(names(layer), {})[name] = value
  return params, {"batch_stats": running} if running else {}


def gradient(opt_state, b1=0.9):
  """The clipped gradient with its decay, of Adam's first step: m / (1 - b1)."""
  return layout.adam_gradient(optax.tree.get(opt_state, "mu"), b1)


def clipped_and_decayed(grads, params, norm, weight_decay=1e-5, most=1.0):
  """What Adam gets for recorded gradients of that global norm."""
  factor = min(1.0, most / float(norm))
  return jax.tree.map(lambda g, p: factor * g + weight_decay * p, grads, params)
