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

import jax
import jax.numpy as jnp
import optax

from jaxad.detector import Balance, Batch, Detector, Phase, Scores, State
from jaxad.errors import one_of
from jaxad.layers.cutmix import draw_pseudo, with_pseudo
from jaxad.layers.rotation import draw_rotation, rotate_each
from jaxad.networks.heads import PatchHead, enlarged_mean
from jaxad.networks.pyramid import PyramidTrunk
from jaxad.networks.trunk import normalize
from jaxad.networks.variables import initialize
from jaxad.optim import clipped_adam, descend

CLASSES = ("normal", "seen", "pseudo")


def uniformity(logits: jax.Array) -> jax.Array:
  """mean_c z_c - lse_c z_c, [..., C] to [...]: the highest where all are equal.

  It is the mean log probability of the classes; its negative is the cross
  entropy to the uniform distribution.
  """
  return jax.nn.log_softmax(logits).mean(-1)


def saoe(
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
  pseudo_rate: float = 0.5,
  oe_weight: float = 0.5,
  rotation: float = 180.0,
  score: str = "probability",
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
  """Makes an SAOE detector; training is that of DRA.

  It takes images [B, S, S, 3], uint8 or float in [0, 1], with labels, and
  as many outliers beside them where `data.outlier_root` says where they are. A
  batch has two thirds of normal rows, of which half become pseudo anomalies.

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
    top_k: share of the patches whose mean is a logit; 0 takes the mean of all.
    pseudo_rate: part of the normal rows that become pseudo anomalies.
    oe_weight: of the outliers' term.
    rotation: training images are turned by up to so many degrees.
    score: "probability", 1 - p(normal), or "uniform".
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
    A `Detector` with one phase, "classifier". `Scores.map` is the margin of
    the patches' anomalous classes over the normal one, for the eye.

  Raises:
    InputError: an unknown choice; from `init`, images or weights that do not
      fit, or folded norms that cannot be trained.
  """
  one_of("score", score, ("probability", "uniform"))
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
  head = PatchHead(top_k, len(CLASSES), absolute=False)

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
    """(logits [B, 3], patch logits of each scale, running statistics)."""
    maps, stats = net.features(params["trunk"], running, x, train)
    out = [head.apply({"params": params["head"]}, y) for y in maps]
    logits = jnp.stack([z for z, _ in out]).mean(0)
    return logits, [patches for _, patches in out], net.fold(running, stats)

  # Training.

  def draw(key, batch: Batch):
    pseudo_key, rotation_key, outlier_key = jax.random.split(key, 3)
    n = len(batch["x"])
    rate = pseudo_rate
    return {
      "pseudo": draw_pseudo(pseudo_key, batch["label"], rate) if rate else None,
      "degrees": draw_rotation(rotation_key, n, rotation),
      "outlier_degrees": draw_rotation(
        outlier_key, len(batch.get("outlier", ())), rotation
      ),
    }

  def step(state: State, batch: Batch, draws):
    x, label = with_pseudo(batch["x"], batch["label"], draws["pseudo"])
    x = normalize(rotate_each(x, draws["degrees"]))
    n = len(x)
    if "outlier" in batch:
      outliers = rotate_each(batch["outlier"], draws["outlier_degrees"])
      # One pass, in which norms see both.
      x = jnp.concatenate([x, normalize(outliers)])
    weight = batch.get("weight", jnp.ones(n))

    def loss_fn(params):
      logits, _, running = forward(params, state.batch_stats, x, train=True)
      entropy = optax.softmax_cross_entropy_with_integer_labels(
        logits[:n], label
      )
      terms = {"cross_entropy": (entropy * weight).sum() / weight.sum()}
      loss = terms["cross_entropy"]
      if "outlier" in batch:
        terms["outlier_exposure"] = -uniformity(logits[n:]).mean()
        loss += oe_weight * terms["outlier_exposure"]
      return loss, (terms | {"loss": loss}, running)

    params, opt_state, (terms, running), norm = descend(
      tx, loss_fn, state.params, state.opt_state
    )
    state = state.replace(
      params=params, batch_stats=running, opt_state=opt_state
    )
    return state, terms | {"gradient_norm": norm}

  # Scoring.

  def score_fn(state: State, x, key) -> Scores:
    del key
    logits, patches, _ = forward(
      state.params, state.batch_stats, normalize(x), train=False
    )
    parts = {
      "probability": 1 - jax.nn.softmax(logits)[:, 0],
      "uniform": uniformity(logits),
    }
    margins = [z[..., 1:].max(-1) - z[..., 0] for z in patches]
    return Scores(parts[score], enlarged_mean(margins, x.shape[1]), parts)

  phase = Phase(
    "classifier",
    step,
    draw,
    full_batches=True,
    balance=Balance(Fraction(2, 3), steps_per_epoch, n_outliers=1),
  )
  return Detector(init, (phase,), score_fn)
