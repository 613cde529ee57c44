# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""DifferNet against the official step in PyTorch, at the paper's size.

Inputs are random views, already rotated and normalised; loading and
augmentation are no part of any workload. Trunk and flow are randomly
initialised.
"""

import functools
from typing import NamedTuple

import harness
import numpy as np

WORKLOADS = {
  "W1": "training step as the official code takes it, with trunk gradients",
  "W2": "training step, frozen trunk out of the graph",
  "W3": "training step of the flow alone, on features",
  "W4": "score of one image",
  "W5": "gradient of the loss at the pixels of one image's views",
}

N_SCALES = 3
DIM = 768


class Sizes(NamedTuple):
  """Of the workloads: views and features, image side, flow."""

  training_views: int = 96
  image_views: int = 64
  side: int = 448
  n_blocks: int = 8
  hidden: int = 2048


SMALL = Sizes(4, 2, 256, 2, 64)

# Full size: multiply-adds of the trunk a view and of the flow a row, and bytes
# of the flow's parameters.
_TRUNK, _FLOW, _PARAMETERS = 3.58e9, 0.172e9, 4 * 172.1e6
# The backward pass is two more passes through the flow, and none through the
# frozen trunk.
_FLOW_STEP = [
  # Weights are read twice, their gradients written once.
  (2 * 3 * 96 * _FLOW, 3 * _PARAMETERS),
  # Adam reads weights, gradients and moments, and writes all but gradients.
  (0.0, 7 * _PARAMETERS),
]
COSTS = {
  "W1": [(2 * 96 * _TRUNK, 0.0), *_FLOW_STEP],
  "W2": [(2 * 96 * _TRUNK, 0.0), *_FLOW_STEP],
  "W3": _FLOW_STEP,
}


def make_input(workload, sizes):
  """Float32, normal: views [B, S, S, 3], features [B, D] for W3."""
  rng = np.random.default_rng(0)
  training = workload in ("W1", "W2", "W3")
  rows = sizes.training_views if training else sizes.image_views
  tail = (DIM,) if workload == "W3" else (sizes.side, sizes.side, 3)
  return rng.standard_normal((rows, *tail), np.float32)


def make_jaxad(workload, options):
  """jaxad's step. W1 and W2 are the same: it never differentiates the trunk."""
  import jax
  import jax.numpy as jnp

  import jaxad
  from jaxad.methods.differnet import pooled_features
  from jaxad.networks.trunk import make_trunk

  sizes = SMALL if options.small else Sizes()
  detector = jaxad.differnet(
    weights="random",
    n_scales=N_SCALES,
    n_blocks=sizes.n_blocks,
    hidden=sizes.hidden,
    n_transforms_test=sizes.image_views,
  )
  dtype = jnp.dtype("bfloat16" if options.bfloat16 else "float32")
  x = jnp.asarray(make_input(workload, sizes))
  state = detector.init(jax.random.key(0), {"x": x[:1]})

  def features(state, x):
    """One item a view, since a step's items may have several: [B, 1, D]."""
    if workload == "W3":
      return x[:, None]
    variables = {"params": state.params["trunk"]}
    trunk = make_trunk("alexnet")
    return pooled_features(trunk, variables, x, N_SCALES, dtype)[:, None]

  def train(state, x):
    return detector.phases[0].step(state, {"x": features(state, x)}, None)

  def score(state, x):
    """One item with all views, [1, B, D]."""
    return detector.score(state, features(state, x).swapaxes(0, 1), None)

  def pixel_gradient(state, x):
    # The negative log-likelihood of one image is the loss at its views.
    return jax.grad(lambda x: score(state, x).parts["nll"][0])(x)

  if workload in ("W4", "W5"):
    step = {"W4": score, "W5": pixel_gradient}[workload]
    compiled, seconds = harness.compile_jax(step, state, x)
    run = lambda: jax.block_until_ready(compiled(state, x))
    return harness.jax_program(run, seconds)

  compiled, seconds = harness.compile_jax(train, state, x, donate=0)

  def run():
    nonlocal state
    state, metrics = compiled(state, x)
    jax.block_until_ready((state, metrics))

  return harness.jax_program(run, seconds)


def make_pytorch(workload, options, compiled=False):
  """The official step, see `pytorch_differnet.py`."""
  import pytorch_differnet as official
  import torch

  device = harness.start_torch(options)
  sizes = SMALL if options.small else Sizes()
  model = official.DifferNet(
    sizes.n_blocks,
    sizes.hidden,
    DIM,
    N_SCALES,
    trunk_dtype=torch.bfloat16 if options.bfloat16 else torch.float32,
  ).to(device)
  optimizer = official.make_optimizer(model)
  x = torch.from_numpy(make_input(workload, sizes)).to(device)
  if workload != "W3":
    x = x.permute(0, 3, 1, 2).contiguous()

  loss = {
    "W2": lambda: official.image_loss(model, x, frozen=True),
    "W3": lambda: model.loss(x),
  }.get(workload, lambda: official.image_loss(model, x))
  if compiled:
    loss = torch.compile(loss)
  step = {
    "W4": lambda: official.score(loss),
    "W5": lambda: official.pixel_gradient(loss, x),
  }.get(workload, lambda: official.train(loss, optimizer))
  return harness.torch_program(step, device, compiled)


make_pytorch_compiled = functools.partial(make_pytorch, compiled=True)


if __name__ == "__main__":
  harness.main(
    __doc__,
    WORKLOADS,
    {
      "jaxad": make_jaxad,
      "pytorch": make_pytorch,
      harness.COMPILED: make_pytorch_compiled,
    },
    COSTS,
  )
