# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""KDAD: anomalies are images on which a student departs from its teacher.

Salehi, Sadjadi, Baselizadeh, Rohban and Rabiee, "Multiresolution Knowledge
Distillation for Anomaly Detection", CVPR 2021 (arXiv 2011.11108). Official
code: github.com/rohban-lab/Knowledge_Distillation_AD.

The teacher ("source") is a frozen VGG-16. The student ("cloner"), a narrower
network of the same layout, learns on normal images to give the teacher's
activations after the pools, in direction (cosine of the flattened maps) and in
value (mean squared error). It does not learn what the teacher makes of
anomalies, so there the two disagree; the gradient of the disagreement at the
pixels shows where.

Where paper and official code differ, or the code alone settles it, the default
is the code but for the last two rows:

                     paper                      code
  loss               value + lam * direction    direction + lam * value
  lam                equal terms at the start   0.5 for MVTec AD, 0.01 else
  layers in loss     several                    the last four pools
  layers in score    those of the loss          the last three
  MVTec AD's pixels  -                          not normalised for the teacher
                                                (`normalize`)
  heat map           several gradients          guided backpropagation; here
                                                the plain one (`map`)
  random teacher     -                          Xavier-uniform; here He-normal,
                                                whose activations keep a scale

SqueezeNet 1.1 as the teacher is ours, not the paper's: see
`networks/cloner.py`, which has both students.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import optax

from jaxad.detector import Batch, Detector, Phase, Scores, State
from jaxad.errors import InputError, one_of
from jaxad.fields import (
  Epsilon,
  LearningRate,
  Momentum,
  Pixels,
  Weight,
  checked,
)
from jaxad.layers.batch_norm import running_average
from jaxad.layers.images import (
  check_rgb,
  check_smallest,
  standardize,
  unit_range,
)
from jaxad.layers.rotation import gaussian_smooth
from jaxad.networks.cloner import FORMS, Cloner
from jaxad.networks.trunk import (
  IMAGENET_MEAN,
  IMAGENET_STD,
  make_trunk,
  minimum_size,
  trunk_variables,
)
from jaxad.networks.variables import apply_eval, apply_train, initialize
from jaxad.networks.vgg import VGG16
from jaxad.optim import adam_l2


def disagreement(clone: jax.Array, target: jax.Array, epsilon: float = 1e-8):
  """How two maps differ in direction and in value, image by image.

  Args:
    clone: [B, h, w, C].
    target: likewise.
    epsilon: norms below it count as this much, so that a map of zeros has the
      cosine 0 with every other, and a gradient.

  Returns:
    (1 - cosine of the flattened maps, mean squared difference), both [B].
  """
  flat = lambda v: v.reshape(v.shape[0], -1)
  # Not the root of a sum of squares: its gradient at zero is not a number.
  norm = lambda v: optax.safe_norm(flat(v), epsilon, axis=-1)
  dot = (flat(clone) * flat(target)).sum(-1)
  cosine = dot / (norm(clone) * norm(target))
  return 1 - cosine, ((clone - target) ** 2).mean((1, 2, 3))


def gradient_map(
  gradient: jax.Array,
  sigma: float,
  percentile: float = 99.0,
  truncate: float = 4.0,
) -> jax.Array:
  """The heat map of an image's gradient.

  Magnitudes, from their minimum to their 99th percentile, become 0 to 1; a
  range of nothing gives zeros.

  Args:
    gradient: [B, H, W, C].
    sigma: of the smoothing, in pixels.
    percentile: the pixels above it saturate.
    truncate: deviations at which the smoothing is cut off.

  Returns:
    [B, H, W] in [0, 1].
  """
  magnitude = jnp.abs(gradient).sum(-1)
  low = magnitude.min((1, 2), keepdims=True)
  high = jnp.percentile(magnitude, percentile, axis=(1, 2), keepdims=True)
  span = high - low
  scaled = jnp.clip((magnitude - low) / jnp.where(span > 0, span, 1), 0, 1)
  scaled = jnp.where(span > 0, scaled, 0)
  return gaussian_smooth(scaled[..., None], sigma, truncate)[..., 0]


@checked
def kdad(
  *,
  trunk: Literal[tuple(FORMS)] = "vgg16",
  weights: str = "imagenet",
  cloner: Literal["small", "equal"] = "small",
  use_bias: bool = False,
  loss_layers: tuple[str, ...] | None = None,
  score_layers: tuple[str, ...] | None = None,
  lam: Weight = 0.5,
  direction_only: bool = False,
  normalize: bool = False,
  learning_rate: LearningRate = 1e-3,
  b1: Momentum = 0.9,
  b2: Momentum = 0.999,
  eps: Epsilon = 1e-8,
  map: Literal["gradient", "guided"] = "gradient",
  map_sigma: Pixels = 4.0,
) -> Detector:
  """Makes a KDAD detector; the defaults are the official code's for MVTec AD.

  It takes images [B, H, W, 3], uint8 or float in [0, 1]; both sides are 32 or
  more with the whole VGG-16, 17 with SqueezeNet.

  Args:
    trunk: the teacher.
    weights: path of a weights file (.pth, .safetensors, .npz), "imagenet"
      (torchvision's published file, downloaded once), or "random".
    cloner: "small", the paper's with 16 channels wherever nothing is compared,
      or "equal", as wide as the teacher.
    use_bias: whether the cloner's convolutions have biases.
    loss_layers: names of the trunk's layers in the loss. VGG-16 has features.4,
      9, 16, 23 and 30 (its pools), by default the last four; SqueezeNet
      features.2, 5, 8 and 12, by default all. Networks end with the last of
      them.
    score_layers: those of them in the score; by default the last three of the
      trunk, or `loss_layers` if these are given.
    lam: weight of the squared difference.
    direction_only: whether loss and score leave the squared difference out.
    normalize: whether pixels enter by ImageNet's mean and deviation, as the
      published weights expect. The official code does so for CIFAR-10 alone;
      SqueezeNet should have it.
    learning_rate: of Adam.
    b1: Adam's decay of the first moment.
    b2: Adam's decay of the second moment.
    eps: Adam's epsilon.
    map: what a heat map shows, the "gradient" of the score or, as in the
      official configuration, that with "guided" backpropagation through the
      cloner's ReLUs.
    map_sigma: Gaussian smoothing of the heat map, in pixels.

  Returns:
    A `Detector` with one phase, "cloner". Parts of the score are "direction"
    and "mse", the latter without its weight.

  Raises:
    InputError: a value out of range, an unknown layer; from `init`, images of a
      wrong size, or a weights file that does not fit.
  """
  form = FORMS[trunk]
  loss = _layers("loss_layers", loss_layers, form.loss, form.ends)
  default = form.score if loss == form.loss else loss
  score = _layers("score_layers", score_layers, default, loss)
  compared = tuple(form.ends.index(layer) for layer in loss)
  ends = form.ends[: compared[-1] + 1]

  if trunk == "vgg16":
    module = VGG16(ends[-1])
    teacher = lambda params, x: module.apply(
      {"params": params}, x, ends, method="maps"
    )
  else:
    # The compiler merges what the passes have in common.
    modules = [make_trunk(trunk, layer) for layer in ends]
    teacher = lambda params, x: [
      module.apply({"params": params}, x) for module in modules
    ]

  return distillation(
    teacher,
    lambda key: trunk_variables(trunk, ends[-1], weights, key)["params"],
    Cloner(form.stages(cloner, compared), form.geometry, use_bias),
    smallest=minimum_size(trunk, ends[-1]),
    loss_stages=compared,
    score_stages=tuple(ends.index(layer) for layer in score),
    lam=lam,
    direction_only=direction_only,
    normalize=normalize,
    tx=adam_l2(learning_rate, b1, b2, eps),
    map=map,
    map_sigma=map_sigma,
  )


def distillation(
  teacher: Callable,
  teacher_params: Callable,
  cloner: Cloner,
  *,
  smallest: int,
  loss_stages: Sequence[int],
  score_stages: Sequence[int],
  lam: float,
  direction_only: bool,
  normalize: bool,
  tx: optax.GradientTransformation,
  map: str,
  map_sigma: float,
  map_percentile: float = 99.0,
  map_truncate: float = 4.0,
  cosine_epsilon: float = 1e-8,
  norm_momentum: float = 0.9,
) -> Detector:
  """The method with any two networks; `kdad` says which.

  Args:
    teacher: (params, x [B, H, W, 3]) to the maps at the end of its stages.
    teacher_params: key to the teacher's parameters.
    cloner: gives maps of the same shapes.
    smallest: side of the smallest images.
    loss_stages: indices of the maps in the loss.
    score_stages: indices of the maps in the score.
    lam, direction_only, normalize, map, map_sigma: see `kdad`.
    tx: the cloner's optimiser.
    map_percentile, map_truncate: see `gradient_map`.
    cosine_epsilon: see `disagreement`.
    norm_momentum: weight of the old running statistics of all norms.
  """

  def init(key, batch: Batch, plan=None) -> State:
    check_rgb(batch["x"].shape)
    check_smallest(
      batch["x"].shape,
      smallest,
      "the layers compared",
      "leave the last ones out of loss_layers",
    )
    teacher_key, cloner_key, state_key = jax.random.split(key, 3)
    x = jnp.zeros((1, smallest, smallest, 3), jnp.float32)
    params, collections = initialize(cloner_key, {"cloner": (cloner, x)})
    params["trunk"] = teacher_params(teacher_key)
    opt_state = tx.init(params["cloner"])
    return State.new(state_key, params, collections, opt_state, plan)

  def pixels(x):
    if normalize:
      return standardize(x, IMAGENET_MEAN, IMAGENET_STD)
    return unit_range(x)

  def terms(clones, targets, stages):
    """(direction, mse), both [B], summed over the stages."""
    pairs = [
      disagreement(clones[k], targets[k], cosine_epsilon) for k in stages
    ]
    direction, mse = zip(*pairs, strict=True)
    return sum(direction), sum(mse)

  def total(direction, mse):
    return direction if direction_only else direction + lam * mse

  # Training. The teacher is frozen: its maps are data.

  def loss_fn(params, x, targets):
    clones, stats = apply_train(cloner, params, x)
    direction, mse = terms(clones, targets, loss_stages)
    loss = total(direction, mse).mean()
    metrics = {"loss": loss, "direction": direction.mean(), "mse": mse.mean()}
    return loss, (metrics, stats)

  def step(state: State, batch: Batch, draws):
    del draws
    x = pixels(batch["x"])
    params = state.params
    targets = jax.lax.stop_gradient(teacher(params["trunk"], x))
    grads, (metrics, stats) = jax.grad(loss_fn, has_aux=True)(
      params["cloner"], x, targets
    )
    updates, opt_state = tx.update(grads, state.opt_state, params["cloner"])
    cloned = optax.apply_updates(params["cloner"], updates)
    running = running_average(
      state.collections["cloner"], stats, momentum=norm_momentum
    )
    state = state.replace(
      params=params | {"cloner": cloned},
      collections={"cloner": running},
      opt_state=opt_state,
    )
    return state, metrics

  # Scoring, by running statistics.

  def scores_of(state: State, x, cloner) -> Scores:
    params, running = state.params, state.collections
    clones = apply_eval(cloner, params["cloner"], running["cloner"], x)
    targets = teacher(params["trunk"], x)
    direction, mse = terms(clones, targets, score_stages)
    parts = {"direction": direction, "mse": mse}
    return Scores(total(direction, mse), None, parts)

  def score_fn(state: State, x, keys) -> Scores:
    del keys
    return scores_of(state, pixels(x), cloner)

  def localize(state: State, x, keys) -> Scores:
    del keys

    def sum_of_scores(x):
      scores = scores_of(state, x, cloner.clone(guided=map == "guided"))
      return scores.image.sum(), scores

    # Each row's gradient is that of its own score.
    gradient, scores = jax.grad(sum_of_scores, has_aux=True)(pixels(x))
    maps = gradient_map(gradient, map_sigma, map_percentile, map_truncate)
    return scores._replace(map=maps)

  phase = Phase("cloner", step, full_batches=True)
  return Detector(init, (phase,), score_fn, localize, relative_maps=True)


def _layers(name, chosen, default, choices):
  """The chosen layers, in the order of the choices."""
  if chosen is None:
    return default
  if not chosen:
    raise InputError(f"{name}=(): expected some of {', '.join(choices)}.", name)
  for layer in chosen:
    one_of(name, layer, choices)
  return tuple(layer for layer in choices if layer in chosen)
