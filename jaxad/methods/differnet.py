# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""DifferNet: defect detection with a normalizing flow on frozen features.

Rudolph, Wandt and Rosenhahn, "Same Same But DifferNet: Semi-Supervised Defect
Detection with Normalizing Flows", WACV 2021 (arXiv 2008.12577). Official code:
github.com/marco-rudolph/differnet.

A frozen ImageNet trunk looks at an image at three scales; each scale is pooled
to one vector. A Real-NVP flow (`layers/coupling.py`) is trained by maximum
likelihood on these vectors of rotated normal images, so that it maps them to
N(0, I). The score of an image is its mean squared latent coordinate over many
rotations; the gradient of the likelihood at the pixels gives a rough map.

Where paper and official code differ, the default is the code:

                   paper                        code
  coupling         second half first            first half first
  soft clamp       2/pi                         0.636 (`clamp_constant`)
  loss             not divided by dimension     divided (Adam's eps and the
                                                weight decay feel it)
  map              squared, summed              mean of absolute, squared last
  test rotations   fixed angles                 random while training, fixed
                                                after: fixed (`test_rotations`)
"""

from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxad.detector import Batch, Detector, Phase, Scores, State
from jaxad.errors import one_of
from jaxad.fields import (
  Count,
  Epsilon,
  LearningRate,
  Momentum,
  Pixels,
  Positive,
  Range,
  Strength,
  Weight,
  checked,
)
from jaxad.layers.chunks import map_chunks
from jaxad.layers.coupling import CLAMP_CONSTANTS, OUTPUT_LIMIT, Flow
from jaxad.layers.cpu import concrete
from jaxad.layers.jitter import color_jitter, draw_jitter
from jaxad.layers.rotation import gaussian_smooth, rotate_cubic, rotate_nearest
from jaxad.networks.pyramid import check_images, pooled_features
from jaxad.networks.trunk import (
  TRUNKS,
  TrunkName,
  feature_channels,
  make_trunk,
  normalize,
  trunk_variables,
)
from jaxad.networks.variables import divided
from jaxad.optim import adam_l2


def negative_log_likelihood(z: jax.Array, logdet: jax.Array) -> jax.Array:
  """[B] nats per dimension, less a constant: (|z|^2 / 2 - log|det J|) / D."""
  return (0.5 * (z**2).sum(-1) - logdet) / z.shape[-1]


def rotation_angles(n: int) -> np.ndarray:
  """[n] degrees, evenly spaced over the circle."""
  return np.arange(n) * 360.0 / n


def smooth_gradient(gradient, degrees, sigma, truncate=4.0):
  """One view's pixel gradient [H, W, C], turned back and smoothed."""
  return gaussian_smooth(rotate_cubic(gradient, -degrees), sigma, truncate)


def gradient_magnitude(gradient, degrees, sigma, truncate=4.0):
  """Mean over views and channels of the smoothed gradient's magnitude.

  The map of an image is the square of this mean over all its views.

  Args:
    gradient: [T, H, W, C], of the loss at T views of one image.
    degrees: [T], by which the views were rotated.
    sigma: of the smoothing, in pixels.
    truncate: deviations at which it is cut off.

  Returns:
    [H, W].
  """
  smooth = jax.vmap(lambda g, d: smooth_gradient(g, d, sigma, truncate))
  return jnp.abs(smooth(gradient, degrees)).mean((0, -1))


@checked
def differnet(
  *,
  trunk: TrunkName = "alexnet",
  layer: str | None = None,
  beside: tuple[str, ...] = (),
  weights: str = "imagenet",
  n_scales: Annotated[int, Range(1, 8)] = 3,
  n_blocks: Annotated[int, Range(1, 1000)] = 8,
  hidden: Count = 2048,
  clamp: Positive = 3.0,
  clamp_constant: Positive = CLAMP_CONSTANTS["code"],
  output_limit: Positive = OUTPUT_LIMIT,
  n_transforms: Count = 4,
  n_transforms_test: Count = 64,
  rotations: bool = True,
  test_rotations: Literal["fixed", "random"] = "fixed",
  brightness: Strength = 0.0,
  contrast: Strength = 0.0,
  saturation: Strength = 0.0,
  learning_rate: LearningRate = 2e-4,
  b1: Momentum = 0.8,
  b2: Momentum = 0.8,
  eps: Epsilon = 1e-4,
  weight_decay: Weight = 1e-5,
  score: Literal["latent", "nll"] = "latent",
  map_sigma: Pixels = 3.0,
  views_at_once: Count = 96,
  trunk_dtype: Literal["float32", "bfloat16"] = "float32",
) -> Detector:
  """Makes a DifferNet detector; the defaults are the official code's.

  It takes images [B, H, W, 3] (uint8, or float in [0, 1]), or features that
  `embed` computed: [B, D] or, of V views each, [B, V, D].

  Args:
    trunk: the network that looks at the images, frozen.
    layer: name of the trunk's layer, as in the weights' file; None is its end.
    beside: further layers, whose means stand beside those of `layer`.
    weights: path of a weights file (.pth, .safetensors, .npz), "imagenet" (the
      published file, downloaded once or from a package), or "random".
    n_scales: image scales, each half the size of the one before.
    n_blocks: coupling blocks.
    hidden: width of the subnets' three hidden layers.
    clamp: alpha of the soft clamp.
    clamp_constant: of the soft clamp, 0.636 in the code, 2/pi in the paper.
    output_limit: a block's outputs are cut to this magnitude.
    n_transforms: random views of each image in a training step.
    n_transforms_test: views of each image that a score averages.
    rotations: whether views are rotated; without, they are all alike in
      scoring, and differ by the colour jitter alone in training.
    test_rotations: "fixed" (evenly spaced) or "random" (drawn from the key).
    brightness: training views are scaled by a factor from [1 - b, 1 + b].
    contrast: strength of the contrast jitter, likewise.
    saturation: strength of the saturation jitter, likewise.
    learning_rate: of Adam.
    b1: Adam's decay of the first moment.
    b2: Adam's decay of the second moment.
    eps: Adam's epsilon, outside the root.
    weight_decay: coupled L2 on every parameter of the flow.
    score: "latent", mean of z^2, or "nll", which adds the log-determinant.
    map_sigma: Gaussian smoothing of the gradient map, in pixels.
    views_at_once: the most views that pass through the trunk together when the
      rotations of a batch are cut into pieces; bounds the memory.
    trunk_dtype: "float32" or "bfloat16", the trunk's arithmetic.

  Returns:
    A `Detector` with one phase, "flow".

  Raises:
    InputError: a value out of range, an unknown layer; and from `init`, an
      image that is too small, or a weights file that does not fit.
  """
  for name in beside:
    one_of("beside", name, TRUNKS[trunk].layers)
  trunk_modules = [make_trunk(trunk, name) for name in (layer, *beside)]
  ends = [module.layer for module in trunk_modules]
  deepest = max(ends, key=TRUNKS[trunk].layers.index)
  tx = adam_l2(learning_rate, b1, b2, eps, weight_decay)
  fixed_angles = rotation_angles(n_transforms_test) * rotations

  def flow_of(dim):
    return Flow(dim, n_blocks, hidden, clamp, clamp_constant, output_limit)

  def flow(params, y):
    return flow_of(y.shape[-1]).apply({"params": params}, y)

  def init(key, batch: Batch, plan=None) -> State:
    trunk_key, flow_key, state_key = jax.random.split(key, 3)
    params, collections = {}, {}
    if batch["x"].ndim == 4:
      check_images(batch["x"].shape, trunk, deepest, n_scales)
      variables = trunk_variables(trunk, deepest, weights, trunk_key)
      params["trunk"], collections["trunk"] = divided(variables)
      dim = sum(feature_channels(trunk, end) for end in ends) * n_scales
    else:
      dim = batch["x"].shape[-1]
    # Not jitted: to compile all these draws takes longer than to run them.
    variables = flow_of(dim).init(flow_key, jnp.zeros((1, dim), jnp.float32))
    params["flow"] = variables["params"]
    opt_state = tx.init(params["flow"])
    return State.new(state_key, params, collections, opt_state, plan)

  # Views: [B, H, W, 3] images and [B, T] degrees to normalised [B, T, H, W, 3].

  def rotate(x, degrees):
    if not rotations:
      return jnp.broadcast_to(
        x[:, None], x.shape[:1] + degrees.shape[1:] + x.shape[1:]
      )
    views = jax.vmap(rotate_nearest, (None, 0))
    return jax.vmap(views)(x, degrees)

  scaled = lambda views: normalize(views, trunk)

  def features(state, views):
    """[B, T, H, W, 3] normalised to [B, T, D]."""
    variables = {"params": state.params["trunk"], **state.collections["trunk"]}
    rows = views.reshape((-1,) + views.shape[2:])
    y = pooled_features(
      trunk_modules, variables, rows, n_scales, jnp.dtype(trunk_dtype)
    )
    return y.reshape(views.shape[:2] + (-1,))

  def over_rotations(fn, x, degrees):
    """Stacks fn(x, piece of degrees [B, t]) over the pieces of [B, T]."""
    # Where the batch is symbolic, it is one by one anyway.
    at_once = max(1, views_at_once // x.shape[0]) if concrete(x) else 1
    return map_chunks(lambda d: fn(x, d.T), degrees.T, at_once)

  # Training.

  def draw_angles(key, shape):
    return jax.random.uniform(key, shape, minval=-180.0, maxval=180.0)

  def draw_views(key, shape):
    rotation_key, jitter_key = jax.random.split(key)
    return {
      "degrees": draw_angles(rotation_key, shape),
      "jitter": draw_jitter(
        jitter_key, shape, brightness, contrast, saturation
      ),
    }

  def draw(key, batch: Batch):
    if batch["x"].ndim < 4:
      return None
    return draw_views(key, (batch["x"].shape[0], n_transforms))

  def training_features(state, x, draws):
    views = rotate(x, draws["degrees"])
    return features(state, scaled(color_jitter(views, draws["jitter"])))

  def step(state: State, batch: Batch, draws):
    x = batch["x"]
    y = training_features(state, x, draws) if x.ndim == 4 else _views(x)
    # The trunk is frozen: its features are data.
    y = jax.lax.stop_gradient(y)
    weight = jnp.repeat(
      batch.get("weight", jnp.ones(x.shape[0], y.dtype)), y.shape[1]
    )

    def loss_fn(params):
      nll = negative_log_likelihood(*flow(params, _rows(y)))
      return (nll * weight).sum() / weight.sum()

    loss, grads = jax.value_and_grad(loss_fn)(state.params["flow"])
    updates, opt_state = tx.update(grads, state.opt_state, state.params["flow"])
    params = state.params | {
      "flow": optax.apply_updates(state.params["flow"], updates)
    }
    return state.replace(params=params, opt_state=opt_state), {"loss": loss}

  # Scoring.

  def view_scores(params, y):
    """[B, T, D] to (latent, nll) of each view, [B, T] both."""
    z, logdet = flow(params, _rows(y))
    latent, nll = (z**2).mean(-1), negative_log_likelihood(z, logdet)
    return latent.reshape(y.shape[:2]), nll.reshape(y.shape[:2])

  def scores_of(latent, nll, pixel_map=None):
    parts = {"latent": latent.mean(1), "nll": nll.mean(1)}
    return Scores(parts[score], pixel_map, parts)

  def test_angles(x, keys):
    if test_rotations == "random":
      return jax.vmap(lambda key: draw_angles(key, (n_transforms_test,)))(keys)
    shape = (x.shape[0], n_transforms_test)
    return jnp.broadcast_to(jnp.float32(fixed_angles), shape)

  def scoring_features(state, x, degrees):
    fn = lambda x, d: features(state, scaled(rotate(x, d)))
    pieces = over_rotations(fn, x, degrees)  # [T / t, B, t, D]
    return jnp.moveaxis(pieces, 0, 1).reshape(degrees.shape + (-1,))

  def score_fn(state: State, x, keys) -> Scores:
    if x.ndim == 4:
      x = scoring_features(state, x, test_angles(x, keys))
    return scores_of(*view_scores(state.params["flow"], _views(x)))

  def localize(state: State, x, keys) -> Scores:
    def loss_fn(views):
      latent, nll = view_scores(state.params["flow"], features(state, views))
      # Each image's loss is the mean over its own views.
      return nll.sum() / n_transforms_test, (latent, nll)

    def piece(x, degrees):
      views = scaled(rotate(x, degrees))
      gradient, scores = jax.grad(loss_fn, has_aux=True)(views)
      magnitude = jax.vmap(lambda g, d: gradient_magnitude(g, d, map_sigma))
      return magnitude(gradient, degrees), *scores

    def of_images(rows):
      pieces = over_rotations(piece, *rows)
      magnitude, *scores = jax.tree.map(lambda p: p.swapaxes(0, 1), pieces)
      return magnitude.mean(1), *(s.reshape(rows[1].shape) for s in scores)

    # Image by image, or as many as fit: no map of a piece waits for others.
    at_once = max(1, views_at_once // n_transforms_test)
    maps = map_chunks(of_images, (x, test_angles(x, keys)), at_once)
    magnitude, latent, nll = (
      m.reshape((x.shape[0],) + m.shape[2:]) for m in maps
    )
    return scores_of(latent, nll, magnitude**2)

  def embed(state: State, x, keys, train: bool):
    if not train:
      return scoring_features(state, x, test_angles(x, keys))
    each = jax.vmap(lambda key: draw_views(key, (n_transforms,)))
    return training_features(state, x, each(keys))

  phase = Phase("flow", step, draw)
  return Detector(
    init, (phase,), score_fn, localize, embed=embed, relative_maps=True
  )


def _views(y):
  """[B, D] or [B, V, D] to [B, V, D]."""
  return y[:, None] if y.ndim == 2 else y


def _rows(y):
  """[B, V, D] to [B * V, D]."""
  return y.reshape(-1, y.shape[-1])
