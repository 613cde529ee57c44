# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""SAOE: synthetic anomalies and outlier exposure.

A rival of DRA, described in the appendix of its paper (Ding, Pang and Shen,
CVPR 2022, arXiv 2203.14506) and never published as code; what is left open
there is decided here. It joins pseudo anomalies made from normal images (as
CutPaste, Li et al., CVPR 2021, arXiv 2104.04015) with outlier exposure
(Hendrycks, Mazeika and Dietterich, ICLR 2019, arXiv 1812.04606).

A classifier of three classes, normal, seen anomaly and pseudo anomaly, scores
the patches of a fine-tuned trunk; the logits z of an image are the means of the
highest patches, class by class. The loss is

    cross entropy of z  +  0.5 mean over outliers of -(mean_c z_c - lse_c z_c)

where outliers are images of another data set, whose classes shall be equally
likely. Without such images the second term is left out. The score is the
probability of not being normal; `score="uniform"` is the confidence of outlier
exposure, high where no class stands out, which takes a confident "seen anomaly"
for normal.
"""

from fractions import Fraction
from typing import Literal

import jax
import jax.numpy as jnp
import optax

from jaxad.detector import Batch, Detector, Phase, Scores, State, Stream
from jaxad.fields import Count, Share, Weight, checked
from jaxad.layers.augmentation import Augmentation, augmented
from jaxad.layers.cutmix import draw_pseudo, with_pseudo
from jaxad.networks.heads import PatchHead, enlarged_mean
from jaxad.networks.pyramid import Scales, Trunk
from jaxad.networks.variables import initialize
from jaxad.optim import ClippedAdam, descend

CLASSES = ("normal", "seen", "pseudo")


def uniformity(logits: jax.Array) -> jax.Array:
  """mean_c z_c - lse_c z_c, [..., C] to [...]: the highest where all are equal.

  It is the mean log probability of the classes; its negative is the cross
  entropy to the uniform distribution.
  """
  return jax.nn.log_softmax(logits).mean(-1)


@checked
def saoe(
  *,
  trunk: Trunk = Trunk(),
  n_scales: Scales = 2,
  top_k: Share = 0.1,
  pseudo_rate: Share = 0.5,
  oe_weight: Weight = 0.5,
  augmentation: Augmentation = Augmentation(),
  score: Literal["probability", "uniform"] = "probability",
  optimizer: ClippedAdam = ClippedAdam(),
  steps_per_epoch: Count = 20,
) -> Detector:
  """Makes an SAOE detector; training is that of DRA.

  It takes images [B, H, W, 3], uint8 or float in [0, 1], with labels, and where
  there are any as many outliers, images of another data set. A batch has two
  thirds of normal rows, of which half become pseudo anomalies.

  Args:
    trunk: what gives the feature maps.
    n_scales: image scales, each half the size of the one before.
    top_k: share of the patches whose mean is a logit; 0 takes the mean of all.
    pseudo_rate: part of the normal rows that become pseudo anomalies.
    oe_weight: of the outliers' term.
    augmentation: of training images and outliers.
    score: "probability", 1 - p(normal), or "uniform".
    optimizer: of all parameters.
    steps_per_epoch: updates in an epoch.

  Returns:
    A `Detector` with one phase, "classifier". `Scores.map` is the margin of
    the patches' anomalous classes over the normal one, for the eye.

  Raises:
    InputError: a value out of range; from `init`, images or weights that do not
      fit, or folded norms that cannot be trained.
  """
  trunk.check()
  head = PatchHead(top_k, features=len(CLASSES), absolute=False)

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
    """(logits [B, 3], patch logits of each scale, collections)."""
    maps, of_trunk = trunk.features(
      params["trunk"], collections["trunk"], x, train, n_scales
    )
    out = [head.apply({"params": params["head"]}, y) for y in maps]
    logits = jnp.stack([z for z, _ in out]).mean(0)
    patches = [z for _, z in out]
    return logits, patches, collections | {"trunk": of_trunk}

  # Training.

  def draw(key, batch: Batch):
    pseudo_key, augmentation_key, outlier_key = jax.random.split(key, 3)
    n, n_outliers = len(batch["x"]), len(batch.get("outlier", ()))
    normal = batch["label"] == 0
    rate = pseudo_rate
    return {
      "pseudo": draw_pseudo(pseudo_key, normal, rate) if rate else None,
      "augmentation": augmentation.draw(augmentation_key, n),
      "outlier": augmentation.draw(outlier_key, n_outliers),
    }

  def step(state: State, batch: Batch, draws):
    x, label = with_pseudo(batch["x"], batch["label"], draws["pseudo"])
    x = trunk.normalize(augmented(x, draws["augmentation"]))
    n = len(x)
    if "outlier" in batch:
      outliers = augmented(batch["outlier"], draws["outlier"])
      # One pass, in which norms see both.
      x = jnp.concatenate([x, trunk.normalize(outliers)])
    weight = batch.get("weight", jnp.ones(n))

    def loss_fn(params):
      logits, _, collections = forward(params, state.collections, x, train=True)
      entropy = optax.softmax_cross_entropy_with_integer_labels(
        logits[:n], label
      )
      terms = {"cross_entropy": (entropy * weight).sum() / weight.sum()}
      loss = terms["cross_entropy"]
      if "outlier" in batch:
        terms["outlier_exposure"] = -uniformity(logits[n:]).mean()
        loss += oe_weight * terms["outlier_exposure"]
      return loss, (terms, collections)

    return descend(optimizer.transformation(state.plan), loss_fn, state)

  # Scoring.

  def score_fn(state: State, x, keys) -> Scores:
    del keys
    logits, patches, _ = forward(
      state.params, state.collections, trunk.normalize(x), train=False
    )
    parts = {
      "probability": 1 - jax.nn.softmax(logits)[:, 0],
      "uniform": uniformity(logits),
    }
    margins = [z[..., 1:].max(-1) - z[..., 0] for z in patches]
    return Scores(parts[score], enlarged_mean(margins, x.shape[1:3]), parts)

  endless = lambda rows, **fields: Stream(rows, order="endless", **fields)
  phase = Phase(
    "classifier",
    step,
    draw,
    (
      endless("normal", share=Fraction(2, 3)),
      endless("anomalous", share=Fraction(1, 3)),
      endless("outliers", name="outlier", required=False),
    ),
    steps_per_epoch=steps_per_epoch,
    full_batches=True,
  )
  return Detector(init, (phase,), score_fn)
