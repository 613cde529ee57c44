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

from jaxad.detector import Batch, Detector, Phase, Scores, State, Stream
from jaxad.fields import Count, Percentage, Pixels, Positive, Share, checked
from jaxad.layers.augmentation import Augmentation, augmented
from jaxad.layers.rotation import gaussian_smooth
from jaxad.losses import Criterion
from jaxad.networks.heads import PatchHead
from jaxad.networks.pyramid import Scales, Trunk
from jaxad.networks.variables import initialize
from jaxad.optim import ClippedAdam, descend


def saliency(gradient: jax.Array, percentile: float = 99.0) -> jax.Array:
  """Magnitude of a gradient at the pixels, from its least to its 99th percent.

  Args:
    gradient: [H, W, C] of one image.
    percentile: the pixels above it saturate.

  Returns:
    [H, W] in [0, 1]; the magnitude itself where it is the same everywhere.
  """
  magnitude = jnp.abs(gradient).sum(-1)
  low, high = magnitude.min(), jnp.percentile(magnitude, percentile)
  spread = jnp.where(high > low, high - low, 1)
  scaled = jnp.clip((magnitude - low) / spread, min=0, max=1)
  return jnp.where(high > low, scaled, magnitude)


@checked
def devnet(
  *,
  trunk: Trunk = Trunk(),
  n_scales: Scales = 2,
  top_k: Share = 0.1,
  signed: bool = False,
  augmentation: Augmentation = Augmentation(),
  criterion: Criterion = Criterion(),
  map_sigma: Pixels = 4.0,
  map_percentile: Percentage = 99.0,
  map_truncate: Positive = 4.0,
  optimizer: ClippedAdam = ClippedAdam(schedule="late"),
  steps_per_epoch: Count = 20,
) -> Detector:
  """Makes a DevNet detector; the defaults are the official code's.

  It takes images [B, H, W, 3], uint8 or float in [0, 1], with labels. Half of a
  batch are anomalies.

  Args:
    trunk: what gives the feature maps.
    n_scales: image scales, each half the size of the one before.
    top_k: share of the patches whose mean is the score; 0 takes the signed mean
      of all.
    signed: compare patches by their scores, not by the absolute values.
    augmentation: of training images.
    criterion: the loss.
    map_sigma: Gaussian smoothing of the map, in pixels.
    map_percentile: the pixels above it saturate in the map.
    map_truncate: deviations at which the smoothing is cut off.
    optimizer: of all parameters.
    steps_per_epoch: updates in an epoch.

  Returns:
    A `Detector` with one phase, "deviation". `localize` fills `Scores.map`, in
    [0, 1] for each image by itself.

  Raises:
    InputError: a value out of range; from `init`, images or weights that do not
      fit, or folded norms that cannot be trained.
  """
  trunk.check()
  head = PatchHead(top_k, absolute=not signed)

  def init(key, batch: Batch, plan=None) -> State:
    trunk_key, head_key, state_key = jax.random.split(key, 3)
    y = jnp.zeros((1, 1, 1, trunk.channels), jnp.float32)
    params, collections = initialize(head_key, {"head": (head, y)})
    params["trunk"], collections["trunk"] = trunk.init(
      trunk_key, batch["x"].shape, n_scales
    )
    opt_state = optimizer.transformation(plan).init(params)
    return State.new(state_key, params, collections, opt_state, plan)

  def forward(params, collections, x, train: bool):
    """(scores [B] of normalised images, the collections after the pass)."""
    maps, of_trunk = trunk.features(
      params["trunk"], collections["trunk"], x, train, n_scales
    )
    scores = [head.apply({"params": params["head"]}, y)[0] for y in maps]
    scores = jnp.stack(scores).mean(0)[:, 0]
    return scores, collections | {"trunk": of_trunk}

  # Training.

  def draw(key, batch: Batch):
    n = len(batch["x"])
    augmentation_key, prior_key = jax.random.split(key)
    return {
      "augmentation": augmentation.draw(augmentation_key, n),
      "prior": criterion.draw(prior_key, jnp.array(n), n),
    }

  def step(state: State, batch: Batch, draws):
    x = trunk.normalize(augmented(batch["x"], draws["augmentation"]))
    targets = (batch["label"] != 0).astype(jnp.int32)
    weight = batch.get("weight", jnp.ones(len(x)))

    def loss_fn(params):
      scores, collections = forward(params, state.collections, x, train=True)
      losses = criterion.loss(scores, targets, *draws["prior"])
      return (losses * weight).sum() / weight.sum(), ({}, collections)

    return descend(optimizer.transformation(state.plan), loss_fn, state)

  # Scoring.

  def image_scores(state, x):
    return forward(state.params, state.collections, x, train=False)[0]

  def score(state: State, x, keys) -> Scores:
    del keys
    return Scores(image_scores(state, trunk.normalize(x)))

  def localize(state: State, x, keys) -> Scores:
    del keys
    # Scores of a batch do not interact: the gradient of their sum is theirs.
    scores, pull = jax.vjp(lambda x: image_scores(state, x), trunk.normalize(x))
    (gradient,) = pull(jnp.ones_like(scores))
    maps = jax.vmap(lambda g: saliency(g, map_percentile))(gradient)
    smooth = gaussian_smooth(maps[..., None], map_sigma, map_truncate)
    return Scores(scores, smooth[..., 0])

  half = lambda rows: Stream(rows, Fraction(1, 2), order="endless")
  phase = Phase(
    "deviation",
    step,
    draw,
    (half("normal"), half("anomalous")),
    steps_per_epoch=steps_per_epoch,
    full_batches=True,
  )
  return Detector(init, (phase,), score, localize, relative_maps=True)


flos = functools.partial(devnet, criterion=Criterion("focal"))
flos.__doc__ = """FLOS: DevNet with the focal loss.

Lin, Goyal, Girshick, He and Dollar, "Focal Loss for Dense Object Detection",
ICCV 2017 (arXiv 1708.02002), as a rival in DRA's paper (Ding, Pang and Shen,
CVPR 2022, arXiv 2203.14506). Official code:
github.com/Choubo/deviation-network-image.
"""
