# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""DevNet: a few labelled anomalies deviate from a prior of normal scores.

Pang, Ding, Shen and van den Hengel, "Explainable Deep Few-shot Anomaly
Detection with Deviation Networks" (arXiv 2108.00462), the image form of Pang,
Shen and van den Hengel, KDD 2019 (arXiv 1911.08623). Official code:
github.com/Choubo/deviation-network-image.

A fine-tuned trunk gives a map of patch features at each scale, a 1x1
convolution scores the patches, and the mean of the highest is the score of the
image. The deviation loss pulls normal scores to the mean of N(0, 1) and pushes
those of anomalies to five deviations above it. The gradient of the score at
the pixels says where.

FLOS, a rival of DRA (Ding, Pang and Shen, CVPR 2022, arXiv 2203.14506, appendix
B), is the same with the focal loss of Lin et al., ICCV 2017 (arXiv 1708.02002).

Where paper and official code differ, the default is the code: patch scores are
absolute, for every criterion, so a logit is never negative and the focal loss
of a normal image never below log(2) / 4. `signed=True` is the sensible
classifier.
"""

import functools
from fractions import Fraction

import jax
import jax.numpy as jnp

from jaxad.detector import Balance, Batch, Detector, Phase, Scores, State
from jaxad.layers.rotation import (
  draw_rotation,
  gaussian_smooth,
  rotate_each,
)
from jaxad.losses import criterion as make_criterion
from jaxad.networks.heads import PatchHead
from jaxad.networks.pyramid import PyramidTrunk
from jaxad.networks.trunk import normalize
from jaxad.networks.variables import initialize
from jaxad.optim import clipped_adam, descend


def saliency(gradient: jax.Array) -> jax.Array:
  """Magnitude of a gradient at the pixels, from its least to its 99th percent.

  Args:
    gradient: [S, S, C] of one image.

  Returns:
    [S, S] in [0, 1]; the magnitude itself where it is the same everywhere.
  """
  magnitude = jnp.abs(gradient).sum(-1)
  low, high = magnitude.min(), jnp.percentile(magnitude, 99)
  spread = jnp.where(high > low, high - low, 1)
  scaled = jnp.clip((magnitude - low) / spread, min=0, max=1)
  return jnp.where(high > low, scaled, magnitude)


def devnet(
  *,
  trunk: str = "resnet18",
  layer: str | None = None,
  weights: str = "imagenet",
  trunk_width: int = 64,
  trunk_blocks: str = "2,2,2,2",
  train_norms: bool = True,
  trunk_dtype: str = "float32",
  n_scales: int = 2,
  top_k: float = 0.1,
  signed: bool = False,
  rotation: float = 180.0,
  criterion: str = "deviation",
  margin: float = 5.0,
  prior_size: int | None = None,
  map_sigma: float = 4.0,
  learning_rate: float = 2e-4,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
  weight_decay: float = 1e-5,
  clip_norm: float = 1.0,
  steps_per_epoch: int = 20,
  schedule: str = "late",
  decay_every: int = 10,
  decay_rate: float = 0.1,
) -> Detector:
  """Makes a DevNet detector; the defaults are the official code's.

  It takes images [B, S, S, 3], uint8 or float in [0, 1], with labels. Half of a
  batch are anomalies.

  Args:
    trunk: "resnet18", "squeezenet1_1", "alexnet" or "vgg16".
    layer: name of the trunk's last layer, as in torchvision; None is its end.
    weights: path of a weights file (.pth, .safetensors, .npz), "imagenet"
      (torchvision's published file, downloaded once), or "random".
    trunk_width: channels of ResNet's first convolution.
    trunk_blocks: basic blocks of ResNet's four layers, with commas between.
    train_norms: whether the trunk's batch norms normalise by the batch. Without
      it they stay as loaded, while all weights are trained.
    trunk_dtype: "float32" or "bfloat16", the trunk's arithmetic.
    n_scales: image scales, each half the size of the one before.
    top_k: share of the patches whose mean is the score; 0 takes the signed mean
      of all.
    signed: compare patches by their scores, not by the absolute values.
    rotation: training images are turned by up to so many degrees.
    criterion: one of `losses.CRITERIA`.
    margin: of the deviation losses.
    prior_size: scores drawn from the prior in each loss; None is 5000 for
      "deviation" and the batch's size for "weighted_deviation".
    map_sigma: Gaussian smoothing of the map, in pixels.
    learning_rate: of Adam, in the first epochs.
    b1: Adam's decay of the first moment.
    b2: Adam's decay of the second moment.
    eps: Adam's epsilon, outside the root.
    weight_decay: coupled L2 on every parameter.
    clip_norm: the gradient's global norm is cut to this; 0 does not cut.
    steps_per_epoch: updates in an epoch.
    schedule: of the learning rate: "early", "late" or "constant", see
      `optim.step_decay`.
    decay_every: epochs between two falls of the learning rate.
    decay_rate: the factor.

  Returns:
    A `Detector` with one phase, "deviation". `localize` fills `Scores.map`, in
    [0, 1] for each image by itself.

  Raises:
    InputError: an unknown choice; from `init`, images or weights that do not
      fit, or folded norms that cannot be trained.
  """
  net = PyramidTrunk(
    trunk,
    layer,
    weights,
    trunk_width,
    trunk_blocks,
    n_scales,
    train_norms,
    trunk_dtype,
  )
  net.check()
  loss_of = make_criterion(criterion, margin, prior_size)
  tx = clipped_adam(
    learning_rate,
    b1,
    b2,
    eps,
    weight_decay,
    clip_norm,
    steps_per_epoch=steps_per_epoch,
    schedule=schedule,
    decay_every=decay_every,
    decay_rate=decay_rate,
  )
  head = PatchHead(top_k, absolute=not signed)

  def init(key, batch: Batch) -> State:
    trunk_key, head_key, state_key = jax.random.split(key, 3)
    trunk_params, running = net.init(trunk_key, batch["x"].shape)
    y = jnp.zeros((1, 1, 1, net.channels), jnp.float32)
    params, _ = initialize(head_key, {"head": (head, y)})
    params["trunk"] = trunk_params
    return State(
      step=jnp.zeros((), jnp.int32),
      key=state_key,
      params=params,
      batch_stats=running,
      opt_state=tx.init(params),
      extras={},
    )

  def forward(params, running, x, train: bool):
    """(scores [B] of normalised images, running statistics after the pass)."""
    maps, stats = net.features(params["trunk"], running, x, train)
    scores = [head.apply({"params": params["head"]}, y)[0] for y in maps]
    return jnp.stack(scores).mean(0)[:, 0], net.fold(running, stats)

  # Training.

  def draw(key, batch: Batch):
    n = len(batch["x"])
    rotation_key, prior_key = jax.random.split(key)
    return {
      "degrees": draw_rotation(rotation_key, n, rotation),
      "prior": loss_of.draw(prior_key, jnp.array(n), n),
    }

  def step(state: State, batch: Batch, draws):
    x = normalize(rotate_each(batch["x"], draws["degrees"]))
    targets = (batch["label"] != 0).astype(jnp.int32)
    weight = batch.get("weight", jnp.ones(len(x)))

    def loss_fn(params):
      scores, running = forward(params, state.batch_stats, x, train=True)
      losses = loss_of.loss(scores, targets, *draws["prior"])
      loss = (losses * weight).sum() / weight.sum()
      return loss, (loss, running)

    params, opt_state, (loss, running), norm = descend(
      tx, loss_fn, state.params, state.opt_state
    )
    state = state.replace(
      params=params, batch_stats=running, opt_state=opt_state
    )
    return state, {"loss": loss, "gradient_norm": norm}

  # Scoring.

  def image_scores(state, x):
    return forward(state.params, state.batch_stats, x, train=False)[0]

  def score_fn(state: State, x, key) -> Scores:
    del key
    return Scores(image_scores(state, normalize(x)))

  def localize(state: State, x, key) -> Scores:
    del key
    # Scores of a batch do not interact: the gradient of their sum is theirs.
    scores, pull = jax.vjp(lambda x: image_scores(state, x), normalize(x))
    (gradient,) = pull(jnp.ones_like(scores))
    maps = jax.vmap(saliency)(gradient)
    return Scores(scores, gaussian_smooth(maps[..., None], map_sigma)[..., 0])

  phase = Phase(
    "deviation",
    step,
    draw,
    full_batches=True,
    balance=Balance(Fraction(1, 2), steps_per_epoch),
  )
  return Detector(init, (phase,), score_fn, localize)


flos = functools.partial(devnet, criterion="focal")
