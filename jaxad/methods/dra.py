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

In one thing the default is not the code: at test the official code draws other
augmented references for each batch, so its scores are random and depend on the
batch. Here a test has fixed, clean ones (`test_reference="official"` for the
other). And a pseudo anomaly is made of the normal image in whose place it
stands, not of another one drawn for it.
"""

from fractions import Fraction

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxad.detector import Balance, Batch, Detector, Phase, Scores, State
from jaxad.errors import InputError, one_of
from jaxad.layers.batch_norm import BatchNorm, running_average
from jaxad.layers.conv import Conv, pytorch_uniform
from jaxad.layers.cutmix import draw_pseudo, with_pseudo
from jaxad.layers.rotation import draw_rotation, rotate_each
from jaxad.losses import criterion as make_criterion
from jaxad.networks.heads import PatchHead, enlarged_mean
from jaxad.networks.pyramid import MOMENTUM, PyramidTrunk
from jaxad.networks.trunk import normalize
from jaxad.networks.variables import apply_eval, apply_train, initialize
from jaxad.optim import clipped_adam, descend

HEADS = ("holistic", "seen", "pseudo", "composite")

# Images from which the official test draws its references.
OFFICIAL_POOL = 32


class Heads(nn.Module):
  """The four heads on a feature map of one scale.

  Attributes:
    top_k: share of the patches whose mean is a score.
    hidden: of the holistic head.
  """

  top_k: float
  hidden: int = 256

  @nn.compact
  def __call__(self, y, reference, train: bool):
    """Scores a batch.

    Args:
      y: [B, h, w, C].
      reference: [R, h, w, C], maps of normal images.
      train: whether the composite head's norm normalises by the batch.

    Returns:
      (scores [4, B] by `HEADS`, patch scores [3, B, h, w] of the last three).
    """
    channels = y.shape[-1]
    hidden = nn.relu(_dense(self.hidden, channels, "fc1")(y.mean((1, 2))))
    scores, patches = [jnp.abs(_dense(1, self.hidden, "fc2")(hidden))], []

    init = pytorch_uniform(9 * channels)
    residual = Conv(
      channels,
      3,
      padding=1,
      kernel_init=init,
      bias_init=init,
      name="conv",
    )(reference.mean(0) - y)
    residual = nn.relu(BatchNorm(name="norm")(residual, train))

    for name, z in (("seen", y), ("pseudo", y), ("composite", residual)):
      score, places = PatchHead(self.top_k, name=name)(z)
      scores.append(score)
      patches.append(jnp.abs(places[..., 0]))
    return jnp.stack(scores)[..., 0], jnp.stack(patches)


def _dense(features, fan_in, name):
  init = pytorch_uniform(fan_in)
  return nn.Dense(features, kernel_init=init, bias_init=init, name=name)


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


def dra(
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
  heads: str = "holistic,seen,pseudo,composite",
  n_references: int = 5,
  reference: str = "resample",
  test_reference: str = "fixed",
  pseudo: str = "cutmix",
  pseudo_rate: float = 0.5,
  rotation: float = 180.0,
  criterion: str = "deviation",
  margin: float = 5.0,
  prior_size: int | None = None,
  learning_rate: float = 2e-4,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
  weight_decay: float = 1e-5,
  clip_norm: float = 1.0,
  steps_per_epoch: int = 20,
  schedule: str = "early",
  decay_every: int = 10,
  decay_rate: float = 0.1,
) -> Detector:
  """Makes a DRA detector; the defaults are the official code's, see above.

  It takes images [B, S, S, 3], uint8 or float in [0, 1], with labels, and
  reference images. A batch has two thirds of normal rows.

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
    heads: which of the four take part in training and score, with commas
      between.
    n_references: reference images.
    reference: in training, "resample" (with each batch, augmented, half of them
      pseudo anomalies if those are made by "cutmix") or "fixed" (those of the
      test).
    test_reference: "fixed" (the first normal images that `init` saw) or
      "official" (drawn from the key, augmented, half of them pseudo anomalies).
    pseudo: "cutmix", "outliers" (images of another data set, from
      `data.outlier_root`) or "none".
    pseudo_rate: part of the normal rows that become pseudo anomalies.
    rotation: training images are turned by up to so many degrees.
    criterion: loss of the heads, one of `losses.CRITERIA`.
    margin: of the deviation losses.
    prior_size: scores drawn from the prior in each loss; None is 5000 for
      "deviation" and the number of scores for "weighted_deviation".
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
    A `Detector` with one phase, "heads". `Scores.map` adds up the patch scores
    of three heads, for the eye: it is no part of the method.

  Raises:
    InputError: an unknown choice; from `init`, images or weights that do not
      fit, or folded norms that cannot be trained.
  """
  one_of("reference", reference, ("resample", "fixed"))
  one_of("test_reference", test_reference, ("fixed", "official"))
  one_of("pseudo", pseudo, ("cutmix", "outliers", "none"))
  chosen = [name.strip() for name in heads.split(",")]
  for name in chosen:
    one_of("heads", name, HEADS)
  if n_references < 1:
    raise InputError(f"n_references={n_references}: expected 1 or more.")
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
  head = Heads(top_k)
  n_kept = OFFICIAL_POOL if test_reference == "official" else n_references
  used = np.float32([name in chosen for name in HEADS])
  sign = np.float32([-1, 1, 1, 1]) * used

  def init(key, batch: Batch) -> State:
    if "reference" not in batch:
      raise InputError(
        "DRA compares with normal images: give init a batch with them as "
        '"reference", [R, S, S, 3].'
      )
    trunk_key, heads_key, state_key = jax.random.split(key, 3)
    params, batch_stats = {}, {}
    params["trunk"], batch_stats["trunk"] = net.init(
      trunk_key, batch["x"].shape
    )
    y = jnp.zeros((1, 1, 1, net.channels), jnp.float32)
    of_heads = initialize(heads_key, {"heads": (head, y, y)})
    params, batch_stats = params | of_heads[0], batch_stats | of_heads[1]
    return State(
      step=jnp.zeros((), jnp.int32),
      key=state_key,
      params=params,
      batch_stats=batch_stats,
      opt_state=tx.init(params),
      extras={"reference": jnp.asarray(batch["reference"][:n_kept])},
    )

  def forward(params, running, reference, x, train: bool):
    """Scores of normalised images x [B, S, S, 3], given references [R, ...].

    Returns:
      (scores [4, B] by `HEADS`, patch scores of each scale, the running
      statistics after a pass that trains).
    """
    n = len(reference)
    # The references come first, and count in the statistics of the batch.
    maps, stats = net.features(
      params["trunk"], running["trunk"], jnp.concatenate([reference, x]), train
    )
    scores, patches, head_stats = [], [], []
    for y in maps:
      if train:
        out, batch = apply_train(head, params["heads"], y[n:], y[:n])
        head_stats.append(batch)
      else:
        out = apply_eval(head, params["heads"], running["heads"], y[n:], y[:n])
      scores.append(out[0])
      patches.append(out[1])
    running = {
      "trunk": net.fold(running["trunk"], stats),
      "heads": running_average(
        running["heads"], *head_stats, momentum=MOMENTUM
      ),
    }
    return jnp.stack(scores).mean(0), patches, running

  # Training.

  def augment(x, label, draws):
    """Pseudo anomalies, then rotations: (normalised images, labels)."""
    if draws is not None:
      x, label = with_pseudo(x, label, draws["pseudo"])
      x = rotate_each(x, draws["degrees"])
    return normalize(x), label

  def draw_views(key, label):
    pseudo_key, rotation_key = jax.random.split(key)
    rate = pseudo_rate if pseudo == "cutmix" else 0.0
    return {
      "pseudo": draw_pseudo(pseudo_key, label, rate) if rate else None,
      "degrees": draw_rotation(rotation_key, len(label), rotation),
    }

  def draw_references(key, n):
    return draw_views(key, jnp.zeros(n, jnp.int32))

  def draw(key, batch: Batch):
    views_key, reference_key, prior_key = jax.random.split(key, 3)
    views = draw_views(views_key, batch["label"])
    label = batch["label"]
    if views["pseudo"] is not None:
      label = jnp.where(views["pseudo"].chosen, 2, label)
    return {
      "views": views,
      "reference": draw_references(reference_key, n_references)
      if reference == "resample"
      else None,
      "prior": loss_of.draw(
        prior_key, head_rows(label)[0].sum(1), label.shape[0]
      ),
    }

  def step(state: State, batch: Batch, draws):
    """One update.

    Args:
      draws: {"views", "reference": augmentation, or None for none; "prior":
        (mean, std) [4] each, of the scores that each head compares with}.
    """
    x, label = augment(batch["x"], batch["label"], draws["views"])
    images = batch if reference == "resample" else state.extras
    references, _ = augment(
      images["reference"],
      jnp.zeros(len(images["reference"]), jnp.int32),
      draws["reference"],
    )
    rows, targets = head_rows(label)
    weight = rows * batch.get("weight", jnp.ones(len(label)))

    def loss_fn(params):
      scores, _, running = forward(
        params, state.batch_stats, references, x, train=True
      )
      mean, std = (v[:, None] for v in draws["prior"])
      losses = loss_of.loss(scores, targets, mean, std)
      # A batch may hold no row for a head.
      losses = (losses * weight).sum(1) / jnp.maximum(weight.sum(1), 1)
      return (losses * used).sum(), (losses, running)

    params, opt_state, (losses, running), norm = descend(
      tx, loss_fn, state.params, state.opt_state
    )
    state = state.replace(
      params=params, batch_stats=running, opt_state=opt_state
    )
    metrics = dict(zip(HEADS, losses, strict=True))
    metrics |= {
      "loss": (losses * used).sum(),
      "gradient_norm": norm,
    }
    return state, metrics

  # Scoring.

  def score_fn(state: State, x, key) -> Scores:
    references = state.extras["reference"]
    if test_reference == "official":
      choice_key, views_key = jax.random.split(key)
      references = jax.random.choice(
        choice_key, references, (n_references,), replace=False
      )
      draws = draw_references(views_key, n_references)
      label = jnp.zeros(n_references, jnp.int32)
      references, _ = augment(references, label, draws)
    else:
      references = normalize(references)
    scores, patches, _ = forward(
      state.params, state.batch_stats, references, normalize(x), train=False
    )
    shown = used[1:, None, None, None]
    places = [(z * shown).sum(0) for z in patches]
    return Scores(
      image=sign @ scores,
      map=enlarged_mean(places, x.shape[1]),
      parts=dict(zip(HEADS, scores, strict=True)),
    )

  phase = Phase(
    "heads",
    step,
    draw,
    full_batches=True,
    balance=Balance(
      normal=Fraction(2, 3),
      steps_per_epoch=steps_per_epoch,
      n_references=n_references if reference == "resample" else 0,
      n_kept=n_kept,
      outlier_share=pseudo_rate if pseudo == "outliers" else 0.0,
      needs_anomalies=False,
    ),
  )
  return Detector(init, (phase,), score_fn)
