# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What the recordings of methods with a fine-tuned ResNet have in common."""

import jax
import layout
import numpy as np
import optax
from recording import ADAM, GRADIENT, NORMS

from jaxad.losses import Criterion
from jaxad.networks.pyramid import Trunk
from jaxad.networks.trunk import IMAGENET_MEAN, IMAGENET_STD
from jaxad.optim import ClippedAdam

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
    **golden.keywords(**NORMS),
  )


def optimizer(golden):
  """The recorded optimiser, in the first epoch."""
  cut = {n: n for n in ("weight_decay", "clip_norm", "clip_eps")}
  return ClippedAdam(schedule="constant", **golden.keywords(**ADAM, **cut))


def criterion(golden, name=None):
  """The recorded loss of scores, or another with its hyper-parameters."""
  terms = {"margin": "margin", "alpha": "focal_alpha", "gamma": "focal_gamma"}
  stated = {k: v for k, v in terms.items() if f"hp/{v}" in golden}
  return Criterion(name or golden.hp("criterion"), **golden.keywords(**stated))


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


def check_first_gradient(golden, got, want, first, close):
  """Compares what Adam got in the first step.

  Args:
    golden: the recording.
    got: the optimiser's state after the step.
    want: the recorded gradients, neither cut nor decayed.
    first: the parameters before it.
    close: the fixture.
  """
  norm = float(golden["loss/grad_norm_before_clip"][0])
  factor = golden.hp("clip_norm") / (norm + golden.hp("clip_eps"))
  decay = golden.hp("weight_decay")
  want = jax.tree.map(
    lambda g, p: min(1.0, factor) * g + decay * p, want, first
  )
  got = layout.adam_gradient(optax.tree.get(got, "mu"), golden.hp("b1"))
  # Those of biases before a norm are rounding.
  for gradients in (got, want):
    for network in gradients.values():
      layout.pop_biases_before_norms(network)
  close(got, want, GRADIENT, together=True)
