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

SqueezeNet 1.1 as the teacher is ours, not the paper's: see `SQUEEZENET`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxad.detector import Batch, Detector, Phase, Scores, State
from jaxad.errors import InputError, one_of
from jaxad.layers.batch_norm import BatchNorm, running_average
from jaxad.layers.conv import Conv, pytorch_uniform
from jaxad.layers.images import check_square, standardize, unit_range
from jaxad.layers.pool import max_pool
from jaxad.layers.rotation import gaussian_smooth
from jaxad.networks.trunk import (
  IMAGENET_MEAN,
  IMAGENET_STD,
  make_trunk,
  minimum_size,
  trunk_variables,
)
from jaxad.networks.variables import apply_eval, apply_train, initialize
from jaxad.networks.vgg import BLOCK_ENDS, BLOCKS, VGG16
from jaxad.optim import adam_l2

MOMENTUM = 0.9

# Of the cosine: norms below it count as this much, so that a map of zeros has
# the cosine 0 with every other, and a gradient.
EPSILON = 1e-8

# Channels of the small cloner where nothing is compared.
NARROW = 16

# Of the brightest pixels, this part saturates in a gradient map.
PERCENTILE = 99.0


@jax.custom_vjp
def guided_relu(x):
  """ReLU that hands back the positive gradients only.

  Springenberg et al., "Striving for Simplicity" (arXiv 1412.6806).
  """
  return nn.relu(x)


guided_relu.defvjp(
  lambda x: (nn.relu(x), x > 0),
  lambda positive, g: (jnp.where(positive, nn.relu(g), 0),),
)


class Geometry(NamedTuple):
  """How the maps shrink from stage to stage.

  Attributes:
    stride: of the first convolution.
    padding: of the first convolution; that of all others is 1.
    window: side of the max pools, whose stride is 2.
    ceil_mode: of the max pools.
    pools: how many stages end in one, from the first on.
  """

  stride: int = 1
  padding: int = 1
  window: int = 2
  ceil_mode: bool = False
  pools: int = 5


class Cloner(nn.Module):
  """The student: 3x3 convolutions in stages, each as its teacher's.

  Convolution, norm and ReLU; but the last convolution of a stage goes without
  the norm, so that the stage ends in pool(ReLU(conv)) as the teacher's does.

  Attributes:
    stages: channels of the convolutions of each stage.
    geometry: strides and pools.
    use_bias: whether convolutions have biases.
    guided: whether its gradients are those of guided backpropagation.
  """

  stages: tuple[tuple[int, ...], ...]
  geometry: Geometry = Geometry()
  use_bias: bool = False
  guided: bool = False

  @nn.compact
  def __call__(self, x, train: bool) -> list[jax.Array]:
    """[B, H, W, C] to the map [B, h, w, F] at the end of each stage."""
    stride, padding, window, ceil_mode, pools = self.geometry
    relu = guided_relu if self.guided else nn.relu
    maps, k = [], 0
    for stage, widths in enumerate(self.stages):
      for width in widths[:-1]:
        x = self._conv(x, width, k, stride, padding)
        x = relu(BatchNorm(epsilon=1e-5, name=f"norm_{k}")(x, train))
        stride, padding, k = 1, 1, k + 1
      x = relu(self._conv(x, widths[-1], k, stride, padding))
      stride, padding, k = 1, 1, k + 1
      if stage < pools:
        x = max_pool(x, window, 2, ceil_mode=ceil_mode)
      maps.append(x)
    return maps

  def _conv(self, x, width, k, stride, padding):
    return Conv(
      width,
      3,
      stride,
      padding,
      use_bias=self.use_bias,
      kernel_init=nn.initializers.xavier_uniform(),
      bias_init=pytorch_uniform(9 * x.shape[-1]),
      name=f"conv_{k}",
    )(x)


class Form(NamedTuple):
  """How a trunk teaches.

  Attributes:
    ends: the trunk's layers that end the stages.
    loss: those of them in the loss, by default.
    score: those of them in the score, by default.
    geometry: of both networks.
    small: how many convolutions each stage of the small cloner has.
    equal: the channels of those of the equal cloner; the last of each stage are
      the trunk's.
  """

  ends: tuple[str, ...]
  loss: tuple[str, ...]
  score: tuple[str, ...]
  geometry: Geometry
  small: tuple[int, ...]
  equal: tuple[tuple[int, ...], ...]

  def stages(self, size: str, compared: Sequence[int]):
    """Channels of a cloner whose maps at the stages `compared` count."""
    if size == "equal":
      return self.equal[: compared[-1] + 1]
    return tuple(
      (NARROW,) * (self.small[k] - 1)
      + (self.equal[k][-1] if k in compared else NARROW,)
      for k in range(compared[-1] + 1)
    )


VGG = Form(
  BLOCK_ENDS,
  BLOCK_ENDS[1:],
  BLOCK_ENDS[2:],
  Geometry(),
  small=(2, 2, 3, 3, 3),
  equal=BLOCKS,
)

# Ours, in the manner of the paper's cloners. A stage ends where the trunk's map
# shrinks, or the trunk ends; SqueezeNet's first convolution has stride 2 and no
# padding, and its pools count a last, incomplete window. To each fire module
# corresponds one 3x3 convolution; the small cloner has one more at the start.
_SQUEEZENET_ENDS = ("features.2", "features.5", "features.8", "features.12")
SQUEEZENET = Form(
  _SQUEEZENET_ENDS,
  _SQUEEZENET_ENDS,
  _SQUEEZENET_ENDS[1:],
  Geometry(stride=2, padding=0, window=3, ceil_mode=True, pools=3),
  small=(2, 2, 2, 4),
  equal=((64,), (128, 128), (256, 256), (384, 384, 512, 512)),
)

FORMS = {"vgg16": VGG, "squeezenet1_1": SQUEEZENET}


def disagreement(clone: jax.Array, target: jax.Array):
  """How two maps differ in direction and in value, image by image.

  Args:
    clone: [B, h, w, C].
    target: likewise.

  Returns:
    (1 - cosine of the flattened maps, mean squared difference), both [B].
  """
  flat = lambda v: v.reshape(v.shape[0], -1)
  # Not the root of a sum of squares: its gradient at zero is not a number.
  norm = lambda v: optax.safe_norm(flat(v), EPSILON, axis=-1)
  dot = (flat(clone) * flat(target)).sum(-1)
  cosine = dot / (norm(clone) * norm(target))
  return 1 - cosine, ((clone - target) ** 2).mean((1, 2, 3))


def gradient_map(gradient: jax.Array, sigma: float) -> jax.Array:
  """The heat map of an image's gradient.

  Magnitudes, from their minimum to their 99th percentile, become 0 to 1; a
  range of nothing gives zeros.

  Args:
    gradient: [B, S, S, C].
    sigma: of the smoothing, in pixels.

  Returns:
    [B, S, S] in [0, 1].
  """
  magnitude = jnp.abs(gradient).sum(-1)
  low = magnitude.min((1, 2), keepdims=True)
  high = jnp.percentile(magnitude, PERCENTILE, axis=(1, 2), keepdims=True)
  scaled = _scaled(magnitude, low, high)
  return gaussian_smooth(scaled[..., None], sigma)[..., 0]


def _scaled(v, low, high):
  """(v - low) / (high - low), cut to [0, 1]; 0 where that is 0 / 0."""
  span = high - low
  scaled = (v - low) / jnp.where(span > 0, span, 1)
  return jnp.where(span > 0, jnp.clip(scaled, min=0, max=1), 0)


def kdad(
  *,
  trunk: str = "vgg16",
  weights: str = "imagenet",
  cloner: str = "small",
  use_bias: bool = False,
  loss_layers: str | None = None,
  score_layers: str | None = None,
  lam: float = 0.5,
  direction_only: bool = False,
  normalize: bool = False,
  learning_rate: float = 1e-3,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
  map: str = "gradient",
  map_sigma: float = 4.0,
) -> Detector:
  """Makes a KDAD detector; the defaults are the official code's for MVTec AD.

  It takes square images [B, S, S, 3], uint8 or float in [0, 1]; S is 32 or more
  with the whole VGG-16, 17 with SqueezeNet.

  Args:
    trunk: the teacher, "vgg16" or "squeezenet1_1".
    weights: path of a weights file (.pth, .safetensors, .npz), "imagenet"
      (torchvision's published file, downloaded once), or "random".
    cloner: "small", the paper's with 16 channels wherever nothing is compared,
      or "equal", as wide as the teacher.
    use_bias: whether the cloner's convolutions have biases.
    loss_layers: names of the trunk's layers in the loss, with commas. VGG-16
      has features.4, 9, 16, 23 and 30 (its pools), by default the last four;
      SqueezeNet features.2, 5, 8 and 12, by default all. Networks end with the
      last of them.
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
    InputError: an unknown choice or layer; from `init`, images of a wrong size,
      or a weights file that does not fit.
  """
  one_of("trunk", trunk, FORMS)
  form = FORMS[trunk]
  one_of("cloner", cloner, ("small", "equal"))
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
) -> Detector:
  """The method with any two networks; `kdad` says which.

  Args:
    teacher: (params, x [B, S, S, 3]) to the maps at the end of its stages.
    teacher_params: key to the teacher's parameters.
    cloner: gives maps of the same shapes.
    smallest: side of the smallest images.
    loss_stages: indices of the maps in the loss.
    score_stages: indices of the maps in the score.
    lam: see `kdad`.
    direction_only: see `kdad`.
    normalize: see `kdad`.
    tx: the cloner's optimiser.
    map: see `kdad`.
    map_sigma: see `kdad`.

  Returns:
    A `Detector`.

  Raises:
    InputError: as for `kdad`.
  """
  one_of("map", map, ("gradient", "guided"))
  if not map_sigma > 0:
    raise InputError(f"map_sigma={map_sigma} must be positive, in pixels.")
  if lam < 0:
    raise InputError(f"lam={lam} must not be negative: it weighs an error.")

  def init(key, batch: Batch) -> State:
    check_square(
      batch["x"].shape,
      smallest,
      "the layers compared",
      "leave the last ones out of config.detector.loss_layers",
    )
    teacher_key, cloner_key, state_key = jax.random.split(key, 3)
    x = jnp.zeros((1, smallest, smallest, 3), jnp.float32)
    params, batch_stats = initialize(cloner_key, {"cloner": (cloner, x)})
    params["trunk"] = teacher_params(teacher_key)
    return State(
      step=jnp.zeros((), jnp.int32),
      key=state_key,
      params=params,
      batch_stats=batch_stats,
      opt_state=tx.init(params["cloner"]),
      extras={},
    )

  def pixels(x):
    if normalize:
      return standardize(x, IMAGENET_MEAN, IMAGENET_STD)
    return unit_range(x)

  def terms(clones, targets, stages):
    """(direction, mse), both [B], summed over the stages."""
    pairs = [disagreement(clones[k], targets[k]) for k in stages]
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
    params, running = state.params, state.batch_stats
    targets = jax.lax.stop_gradient(teacher(params["trunk"], x))
    grads, (metrics, stats) = jax.grad(loss_fn, has_aux=True)(
      params["cloner"], x, targets
    )
    updates, opt_state = tx.update(grads, state.opt_state, params["cloner"])
    state = state.replace(
      params=params
      | {"cloner": optax.apply_updates(params["cloner"], updates)},
      batch_stats={
        "cloner": running_average(running["cloner"], stats, momentum=MOMENTUM)
      },
      opt_state=opt_state,
    )
    return state, metrics

  # Scoring, by running statistics.

  def scores_of(state: State, x, cloner) -> Scores:
    params, running = state.params, state.batch_stats
    clones = apply_eval(cloner, params["cloner"], running["cloner"], x)
    targets = teacher(params["trunk"], x)
    direction, mse = terms(clones, targets, score_stages)
    parts = {"direction": direction, "mse": mse}
    return Scores(total(direction, mse), None, parts)

  def score_fn(state: State, x, key) -> Scores:
    del key
    return scores_of(state, pixels(x), cloner)

  def localize(state: State, x, key) -> Scores:
    del key

    def sum_of_scores(x):
      scores = scores_of(state, x, cloner.clone(guided=map == "guided"))
      return scores.image.sum(), scores

    # Each row's gradient is that of its own score.
    gradient, scores = jax.grad(sum_of_scores, has_aux=True)(pixels(x))
    return scores._replace(map=gradient_map(gradient, map_sigma))

  phase = Phase("cloner", step, full_batches=True)
  return Detector(init, (phase,), score_fn, localize)


def _layers(name, text, default, choices):
  """The layers that the text names, in the order of the choices."""
  if text is None:
    return default
  names = [part.strip() for part in text.split(",")]
  for layer in names:
    one_of(name, layer, choices)
  return tuple(layer for layer in choices if layer in names)
