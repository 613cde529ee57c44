# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""DRA: four heads that disentangle seen, pseudo and unseen abnormalities.

Ding, Pang and Shen, "Catching Both Gray and Black Swans: Open-set Supervised
Anomaly Detection", CVPR 2022 (arXiv 2203.14506). Official code:
github.com/Choubo/DRA.

Training sees normal images and a few labelled anomalies; at test there are
kinds of anomaly that it never saw. A trunk, fine-tuned at several scales,
feeds four heads, each with one score an image:

  holistic    |MLP of the pooled map|: normal (1) against everything else
  seen        top-K of patch scores: labelled anomalies against normal images
  pseudo      the same: pieces of a normal image pasted into it, or images of
              another data set, against normal images
  composite   top-K of patch scores of the residual to the mean map of a few
              normal reference images: any anomaly against normal images

Each head has a loss of its own (`losses.criterion`), the losses are added, and
score = seen + pseudo + composite - holistic.

Where paper and official code differ, the default is the code:

                   paper                 code
  learning rate    1e-3, L2 1e-2         2e-4, L2 1e-5, falls by ten at epochs
                                         9, 19 and 29, global norm cut to 1
  patch scores     signed                absolute
  reference        fixed normal images   drawn anew in each step, half of them
                   (`reference="fixed"`)   pseudo anomalies ("resample")

In two things the default is not the code: at test the official code draws other
augmented references for each batch, so its scores are random and depend on the
batch. Here a test has fixed, clean ones; the other is `Detector.official`. And
a pseudo anomaly is made of the normal image in whose place it stands, not of
another one drawn for it.
"""

from fractions import Fraction
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxad.detector import (
  Batch,
  Detector,
  Official,
  Phase,
  Scores,
  State,
  Stream,
)
from jaxad.errors import InputError
from jaxad.fields import Count, Share, checked
from jaxad.layers.augmentation import Augmentation, augmented
from jaxad.layers.batch_norm import running_average
from jaxad.layers.cutmix import draw_pseudo, with_pseudo
from jaxad.layers.together import together
from jaxad.losses import Criterion
from jaxad.networks.heads import HEADS, Heads, enlarged_mean
from jaxad.networks.pyramid import Scales, Trunk
from jaxad.networks.variables import apply_eval, apply_train, initialize
from jaxad.optim import ClippedAdam, descend

# Images from which the official test draws its references.
OFFICIAL_POOL = 32


def head_rows(label: jax.Array) -> tuple[jax.Array, jax.Array]:
  """What each head learns from.

  Args:
    label: [B] 0 normal, 1 seen anomaly, 2 pseudo anomaly.

  Returns:
    (rows [4, B] bool, which rows count; targets [4, B] int32), by `HEADS`.
  """
  everything = jnp.ones_like(label, bool)
  rows = jnp.stack([everything, label != 2, label != 1, everything])
  anomalous = (label != 0).astype(jnp.int32)
  return rows, jnp.stack([1 - anomalous, *[anomalous] * 3])


@checked
def dra(
  *,
  trunk: Trunk = Trunk(),
  n_scales: Scales = 2,
  top_k: Share = 0.1,
  heads: tuple[Literal[HEADS], ...] = HEADS,
  n_references: Count = 5,
  reference: Literal["resample", "fixed"] = "resample",
  pseudo: Literal["cutmix", "outliers", "none"] = "cutmix",
  pseudo_rate: Share = 0.5,
  augmentation: Augmentation = Augmentation(),
  criterion: Criterion = Criterion(),
  optimizer: ClippedAdam = ClippedAdam(),
  steps_per_epoch: Count = 20,
) -> Detector:
  """Makes a DRA detector; the defaults are the official code's, see above.

  It takes images [B, H, W, 3], uint8 or float in [0, 1]. A batch has two thirds
  of normal rows, then labelled anomalies, and normal images as "reference".

  Args:
    trunk: what gives the feature maps.
    n_scales: image scales, each half the size of the one before.
    top_k: share of the patches whose mean is the score; 0 takes the signed mean
      of all.
    heads: those that take part in training and score.
    n_references: normal images that the composite head compares with.
    reference: in training, "resample" (with each batch, augmented, half of them
      pseudo anomalies if those are made by "cutmix") or "fixed" (those of the
      test).
    pseudo: how pseudo anomalies are made: "cutmix"; "outliers", images of
      another data set take the place of normal rows; or "none".
    pseudo_rate: part of the normal rows that become pseudo anomalies.
    augmentation: of training images.
    criterion: loss of the heads.
    optimizer: of all parameters.
    steps_per_epoch: updates in an epoch.

  Returns:
    A `Detector` with two phases: "references" keeps some normal images, "heads"
    trains. `Scores.map` adds up the patch scores of three heads, for the eye:
    it is no part of the method.

  Raises:
    InputError: a value out of range; from `init`, images or weights that do not
      fit, or folded norms that cannot be trained.
  """
  trunk.check()
  if not heads:
    raise InputError(f"heads=(): expected some of {', '.join(HEADS)}.", "heads")
  head = Heads(top_k, trunk.norm_epsilon)
  n_kept = max(n_references, OFFICIAL_POOL)
  used = np.float32([name in heads for name in HEADS])
  sign = np.float32([-1, 1, 1, 1]) * used
  # "heads" is the second phase.
  optimizer_of = lambda plan: optimizer.transformation(plan, phase=1)

  def init(key, batch: Batch, plan=None) -> State:
    trunk_key, heads_key, state_key = jax.random.split(key, 3)
    x = batch["x"]
    y = jnp.zeros((1, 1, 1, trunk.channels), jnp.float32)
    params, collections = initialize(heads_key, {"heads": (head, y, y)})
    params["trunk"], collections["trunk"] = trunk.init(
      trunk_key, x.shape, n_scales
    )
    opt_state = optimizer_of(plan).init(params)
    kept = jnp.zeros((n_kept, *x.shape[1:]), x.dtype)
    return State.new(
      state_key, params, collections, opt_state, plan, reference=kept
    )

  def keep_references(state: State, batches) -> State:
    """Keeps the first normal images, repeated where there are too few."""
    kept, n = [], 0
    for batch in batches:
      kept.append(batch)
      n += int(batch["weight"].sum())
      if n >= n_kept:
        break
    x, weight = (
      jnp.concatenate([batch[name] for batch in kept])
      for name in ("x", "weight")
    )
    examples = jnp.argsort(weight == 0, stable=True)[:n]
    reference = x[examples[np.arange(n_kept) % n]]
    return state.replace(extras={"reference": reference})

  def forward(params, collections, reference, x, train: bool):
    """Scores of normalised images x [B, H, W, 3], given references [R, ...].

    Returns:
      (scores [4, B] by `HEADS`, patch scores of each scale, the collections
      after a pass that trains).
    """
    # The references count in the statistics of the batch.
    rows, counted, apart = together(reference, x)
    maps, of_trunk = trunk.features(
      params["trunk"],
      collections["trunk"],
      rows,
      train and counted,
      n_scales,
    )
    scores, patches, of_heads = [], [], collections["heads"]
    for y in maps:
      mean, y = apart(y)
      if train:
        out, written = apply_train(head, params["heads"], y, mean[None])
        of_heads = running_average(
          of_heads, written, momentum=trunk.norm_momentum
        )
      else:
        out = apply_eval(head, params["heads"], of_heads, y, mean[None])
      scores.append(out[0])
      patches.append(out[1])
    collections = {"trunk": of_trunk, "heads": of_heads}
    return jnp.stack(scores).mean(0), patches, collections

  # Training.

  def draw_views(key, normal, rate):
    """The changes of images, of which [B] bool are normal."""
    pseudo_key, augmentation_key = jax.random.split(key)
    return {
      "pseudo": draw_pseudo(pseudo_key, normal, rate) if rate else None,
      "augmentation": augmentation.draw(augmentation_key, len(normal)),
    }

  def draw_references(key):
    # Outliers stand in for rows of the batch alone.
    rate = pseudo_rate if pseudo == "cutmix" else 0.0
    return draw_views(key, jnp.ones(n_references, bool), rate)

  def draw(key, batch: Batch):
    views_key, reference_key, prior_key = jax.random.split(key, 3)
    label = batch["label"]
    normal = label == 0
    if pseudo == "outliers":
      normal &= jnp.arange(len(label)) < len(batch["outlier"])
    rate = 0.0 if pseudo == "none" else pseudo_rate
    views = draw_views(views_key, normal, rate)
    if views["pseudo"] is not None:
      label = jnp.where(views["pseudo"].chosen, 2, label)
    resampled = reference == "resample"
    return {
      "views": views,
      "reference": draw_references(reference_key) if resampled else None,
      "prior": criterion.draw(
        prior_key, head_rows(label)[0].sum(1), label.shape[0]
      ),
    }

  def viewed(x, label, draws, others=None):
    """(normalised images, labels) of images as drawn; None: as they are."""
    if draws is not None:
      x, label = with_pseudo(x, label, draws["pseudo"], others)
      x = augmented(x, draws["augmentation"])
    return trunk.normalize(x), label

  def references_of(images, draws):
    images = images[:n_references]
    return viewed(images, jnp.zeros(n_references, jnp.int32), draws)[0]

  def step(state: State, batch: Batch, draws):
    """One update.

    Args:
      draws: {"views", "reference": how images are changed, or None for not at
        all; "prior": (mean, std) [4] each, of the scores that each head
        compares with}.
    """
    others = None
    if pseudo == "outliers":
      rest = batch["x"][len(batch["outlier"]) :]
      others = jnp.concatenate([batch["outlier"], rest])
    x, label = viewed(batch["x"], batch["label"], draws["views"], others)
    images = batch if reference == "resample" else state.extras
    references = references_of(images["reference"], draws["reference"])
    rows, targets = head_rows(label)
    weight = rows * batch.get("weight", jnp.ones(len(label)))

    def loss_fn(params):
      scores, _, collections = forward(
        params, state.collections, references, x, train=True
      )
      mean, std = (v[:, None] for v in draws["prior"])
      losses = criterion.loss(scores, targets, mean, std)
      # A batch may hold no row for a head.
      losses = (losses * weight).sum(1) / jnp.maximum(weight.sum(1), 1)
      metrics = dict(zip(HEADS, losses, strict=True))
      return (losses * used).sum(), (metrics, collections)

    return descend(optimizer_of(state.plan), loss_fn, state)

  # Scoring.

  def scores_given(references, state: State, x) -> Scores:
    scores, patches, _ = forward(
      state.params,
      state.collections,
      references,
      trunk.normalize(x),
      train=False,
    )
    shown = used[1:, None, None, None]
    places = [(z * shown).sum(0) for z in patches]
    return Scores(
      image=sign @ scores,
      map=enlarged_mean(places, x.shape[1:3]),
      parts=dict(zip(HEADS, scores, strict=True)),
    )

  def score(state: State, x, keys) -> Scores:
    del keys
    references = references_of(state.extras["reference"], None)
    return scores_given(references, state, x)

  def official_score(state: State, x, keys):
    """With references that are drawn, and augmented, for the batch."""
    choice_key, views_key = jax.random.split(keys[0])
    images = jax.random.choice(
      choice_key,
      state.extras["reference"],
      (n_references,),
      replace=False,
    )
    references = references_of(images, draw_references(views_key))
    return scores_given(references, state, x), state

  endless = lambda rows, **fields: Stream(rows, order="endless", **fields)
  streams = [
    endless("normal", share=Fraction(2, 3)),
    endless("anomalous", share=Fraction(1, 3), required=False),
  ]
  if reference == "resample":
    streams.append(endless("normal", count=n_references, name="reference"))
  if pseudo == "outliers":
    streams.append(endless("outliers", share=Fraction(2, 3), name="outlier"))
  phases = (
    Phase("references", fit=keep_references, scorable=False),
    Phase(
      "heads",
      step,
      draw,
      tuple(streams),
      steps_per_epoch=steps_per_epoch,
      full_batches=True,
    ),
  )
  return Detector(init, phases, score, official=Official(official_score))
