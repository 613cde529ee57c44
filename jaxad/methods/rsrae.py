# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""RSRAE: an auto-encoder that learns from a set with many outliers in it.

Lai, Zou and Lerman, "Robust Subspace Recovery Layer for Unsupervised Anomaly
Detection", ICLR 2020 (arXiv 1904.00152). Official code: github.com/dmzou/RSRAE.

Between encoder and decoder a linear layer A projects the codes y in R^D to R^d.
As all norms are not squared, few distant codes do not turn the subspace of the
many, and so outliers, trained on like all others, come back badly:

  y = E(x)   y_rsr = y A   z = y_rsr / |y_rsr|   x~ = De(z)

  L_AE   = mean |x - x~|
  L_RSR1 = mean |y - y A A^T|      the codes lie in the subspace of A
  L_RSR2 = mean (A^T A - I)^2      the columns of A are orthonormal

RSRAE descends L_AE, then L_RSR2, then L_RSR1 in every step, each by an Adam of
its own, the last two at ten times the rate. RSRAE+ descends the sum L_AE +
lambda1 L_RSR1 + lambda2 L_RSR2. The score is minus the cosine of x and x~.

Where paper and official code differ, the default is the code:

                   paper                      code
  losses           sums                       means (`reduction`)
  z                y_rsr                      on the sphere (`normalize`)
  batch norm       as ever                    by a mean of 0 and a variance of 1
                                              for good: an affine map (`norms`)
"""

from typing import Literal

import jax
import jax.numpy as jnp

from jaxad.detector import Batch, Detector, Phase, Scores, State, Stream
from jaxad.errors import InputError
from jaxad.fields import (
  Count,
  Epsilon,
  LearningRate,
  Momentum,
  Share,
  Weight,
  checked,
)
from jaxad.layers.batch_norm import running_average
from jaxad.layers.images import pictured, standardize
from jaxad.losses import norm
from jaxad.networks.rsrae import ACTIVATIONS, Decoder, Encoder, Projection
from jaxad.networks.variables import apply_eval, apply_train, initialize
from jaxad.optim import adam_hat, descend

# The parts of the model that a loss moves; an Adam for each.
MOVES = {
  "ae": ("encoder", "rsr", "decoder"),
  "rsr2": ("rsr",),
  "rsr1": ("encoder", "rsr"),
}
LOSSES = ("l21", "mse", "l1")


def lengths(v: jax.Array, kind: str = "l21") -> jax.Array:
  """[B], of the rows [B, ...], by one of `LOSSES`."""
  if kind == "mse":
    return (v.reshape(v.shape[0], -1) ** 2).sum(-1)
  return norm(v, 1 if kind == "l1" else 2)


def off_subspace(y: jax.Array, a: jax.Array) -> jax.Array:
  """y - y A A^T, what a code [B, D] has beside the subspace of A [D, d]."""
  return y - (y @ a) @ a.T


def skewness(a: jax.Array) -> jax.Array:
  """(A^T A - I)^2 [d, d], which is 0 where the columns are orthonormal."""
  return (a.T @ a - jnp.eye(a.shape[1], dtype=a.dtype)) ** 2


@checked
def rsrae(
  *,
  latent_dim: Count = 10,
  hidden: tuple[Count, Count, Count] = (32, 64, 128),
  activation: Literal["auto", *ACTIVATIONS] = "auto",
  slope: Share = 0.2,
  pad3: Literal["auto", "SAME", "VALID"] = "auto",
  norms: Literal["released", "batch"] = "released",
  norm_epsilon: Epsilon = 1e-3,
  norm_momentum: Momentum = 0.99,
  normalize: bool = True,
  normalize_eps: Epsilon = 1e-6,
  training: Literal["alternating", "joint", "plain"] = "alternating",
  orthogonal: bool = True,
  loss: Literal[LOSSES] = "l21",
  loss_rsr: Literal[LOSSES] = "l21",
  reduction: Literal["mean", "sum"] = "mean",
  lambda1: Weight = 0.1,
  lambda2: Weight = 0.1,
  learning_rate: LearningRate = 2.5e-4,
  learning_rate_rsr: LearningRate = 2.5e-3,
  b1: Momentum = 0.9,
  b2: Momentum = 0.999,
  eps: Epsilon = 1e-8,
  unit_norm: bool = True,
  score: Literal["cosine", "reconstruction", "rsr"] = "cosine",
  score_eps: Epsilon = 1e-6,
) -> Detector:
  """Makes an RSRAE or RSRAE+ detector.

  It takes images [B, H, W, C], H and W multiples of 4 and at least 8, uint8 or
  float in [0, 1]; or rows of tables [B, D], float, as they are. Of either the
  training set may have outliers in it that nobody has marked.

  Args:
    latent_dim: d, the dimension of the subspace.
    hidden: widths of the encoder's layers; the decoder has them the other way.
    activation: of all layers. "auto" is "tanh" for images, which are in
      [-1, 1], and "leaky_relu" for rows; the code takes "relu" where no value
      is below 0, as in frequencies of words.
    slope: of leaky ReLU.
    pad3: of the third convolution and its mirror; "auto" is the one with which
      an image of this size comes back as large: "SAME" for sides that are
      multiples of 8, else "VALID".
    norms: "released" are norms that never normalise; "batch" take the
      statistics of the batch, and running ones in scoring.
    norm_epsilon: of all norms.
    norm_momentum: weight of the old running statistics of "batch".
    normalize: whether z has length 1.
    normalize_eps: the least length that it is divided by.
    training: "alternating" is RSRAE, "joint" RSRAE+, and "plain" the
      auto-encoder of L_AE alone, with A as any other layer.
    orthogonal: whether "alternating" descends L_RSR2.
    loss: of L_AE: "l21" is the mean length of the differences, "mse" the mean
      of its square, "l1" that of the sum of magnitudes.
    loss_rsr: of L_RSR1, likewise.
    reduction: "sum" sums over the batch, and over the d^2 entries of L_RSR2.
    lambda1: weight of L_RSR1 in "joint".
    lambda2: weight of L_RSR2 in "joint".
    learning_rate: of the Adam of L_AE, and of "joint".
    learning_rate_rsr: of the Adams of L_RSR1 and L_RSR2.
    b1: Adam's decay of the first moment.
    b2: Adam's decay of the second moment.
    eps: Adam's epsilon.
    unit_norm: whether images in [-1, 1] are divided by their length.
    score: minus the "cosine" of x and x~; or |x - x~|, "reconstruction", or
      |y - y A A^T|, "rsr", for rows of which the length tells something.
    score_eps: added to both lengths in the cosine.

  Returns:
    A `Detector` with one phase, "subspace". `Scores.map` of images is the
    squared difference of x and x~ at length 1; its sum is twice the cosine's
    score, and 2. `Scores.parts` are all three scores.

  Raises:
    InputError: a value out of range; from `init`, images of a wrong size, or a
      subspace that is larger than the codes.
  """
  rates = {"ae": learning_rate, "rsr2": learning_rate_rsr}
  rates["rsr1"] = learning_rate_rsr
  tx = {name: adam_hat(rate, b1, b2, eps) for name, rate in rates.items()}
  moves = ("ae",)
  if training == "alternating":
    moves = ("ae", "rsr2", "rsr1") if orthogonal else ("ae", "rsr1")

  def networks(x):
    act = {4: "tanh", 2: "leaky_relu"}[x.ndim]
    act = act if activation == "auto" else activation
    of_layers = (hidden, act, slope, norm_epsilon, pad3)
    return {
      "encoder": Encoder(*of_layers),
      "rsr": Projection(latent_dim),
      "decoder": Decoder(x.shape[1:], *of_layers),
    }

  def prepared(x):
    """Rows as they are; images in [-1, 1], then each of length 1."""
    if x.ndim == 2:
      return x
    x = standardize(x)
    if not unit_norm:
      return x
    return x / jnp.maximum(norm(x, 2), 1e-12)[:, None, None, None]

  def init(key, batch: Batch, plan=None) -> State:
    x = batch["x"][:1]
    if x.ndim == 4:
      _check_images(x.shape)
    x, nets = prepared(x), networks(x)
    params_key, state_key = jax.random.split(key)
    made = lambda net, *args: jax.eval_shape(
      lambda: net.init_with_output(params_key, *args, train=False)[0]
    )
    code = jnp.zeros(made(nets["encoder"], x).shape)
    if latent_dim > code.shape[1]:
      raise InputError(
        f"latent_dim={latent_dim}: expected at most {code.shape[1]}, the "
        "length of the codes; lower it, or widen hidden.",
        "latent_dim",
      )
    z = jnp.zeros((1, latent_dim))
    if made(nets["decoder"], z).shape != x.shape:
      raise InputError(
        f"pad3={pad3!r}: images of {x.shape[1]}x{x.shape[2]} would not come "
        "back as large; take 'auto'.",
        "pad3",
      )
    inputs = {"encoder": x, "rsr": code, "decoder": z}
    params, collections = initialize(
      params_key, {name: (net, inputs[name]) for name, net in nets.items()}
    )
    opt_state = {
      name: tx[name].init({part: params[part] for part in MOVES[name]})
      for name in moves
    }
    return State.new(state_key, params, collections, opt_state, plan)

  def forward(params, collections, x, train=False):
    """((y, A, x~), the statistics that were written)."""
    nets, written = networks(x), dict(collections)

    def run(name, *args):
      if train and norms == "batch":
        y, of_pass = apply_train(nets[name], params[name], *args)
        written[name] = running_average(
          collections[name], of_pass, momentum=norm_momentum
        )
        return y
      return apply_eval(nets[name], params[name], collections[name], *args)

    y = run("encoder", x)
    z, a = run("rsr", y)
    if normalize:
      squares = (z**2).sum(-1, keepdims=True)
      z = z * jax.lax.rsqrt(jnp.maximum(squares, normalize_eps**2))
    return (y, a, run("decoder", z)), written

  # Training.

  over_entries = {"mean": jnp.mean, "sum": jnp.sum}[reduction]

  def step(state: State, batch: Batch, draws):
    del draws
    x = prepared(batch["x"])
    weight = batch.get("weight", jnp.ones(x.shape[0], x.dtype))

    def over_batch(values):
      total = (weight * values).sum()
      return total / weight.sum() if reduction == "mean" else total

    def terms(params, collections):
      """All losses, and the statistics of the pass."""
      (y, a, x_hat), written = forward(params, collections, x, True)
      return {
        "ae": over_batch(lengths(x - x_hat, loss)),
        "rsr1": over_batch(lengths(off_subspace(y, a), loss_rsr)),
        "rsr2": over_entries(skewness(a)),
      }, written

    def loss_fn(name, params, collections):
      if name == "rsr2":
        a = params["rsr"]["kernel"]
        return over_entries(skewness(a)), ({}, collections)
      found, written = terms(params, collections)
      if training == "joint":
        total = found["ae"] + lambda1 * found["rsr1"] + lambda2 * found["rsr2"]
        return total, (found, written)
      return found[name], (found, written)

    metrics = []
    for name in moves:
      others, kept = state.params, state.opt_state
      mine = {part: others[part] for part in MOVES[name]}
      collections = state.collections
      state, found = descend(
        tx[name],
        lambda mine: loss_fn(name, others | mine, collections),  # noqa: B023
        state.replace(params=mine, opt_state=kept[name]),
      )
      state = state.replace(
        params=others | state.params, opt_state=kept | {name: state.opt_state}
      )
      metrics.append(found)
    # Of the first pass, before anything moves.
    return state, metrics[0]

  # Scoring.

  def score_fn(state: State, x, keys) -> Scores:
    del keys
    given, x = x, prepared(x)
    (y, a, x_hat), _ = forward(state.params, state.collections, x)
    rows = lambda v: v.reshape(v.shape[0], -1)
    unit = lambda v: rows(v) / (norm(v, 2) + score_eps)[:, None]
    u, u_hat = unit(x), unit(x_hat)
    parts = {
      "cosine": -(u * u_hat).sum(-1),
      "reconstruction": norm(x - x_hat, 2),
      "rsr": norm(off_subspace(y, a), 2),
    }
    found = Scores(parts[score], None, parts)
    if x.ndim == 2:
      return found
    # As bright as the image was.
    length = norm(standardize(given), 2) / jnp.maximum(norm(x, 2), 1e-12)
    return found._replace(
      map=((u - u_hat) ** 2).reshape(x.shape).sum(-1),
      reconstruction=pictured(x_hat * length[:, None, None, None]),
    )

  streams = (Stream(order="once"),)
  phase = Phase("subspace", step, None, streams, full_batches=norms == "batch")
  return Detector(init, (phase,), score_fn)


def _check_images(shape):
  """Whether both sides come back as long as they were."""
  if any(n % 4 or n < 8 for n in shape[1:3]):
    height, width = shape[1:3]
    size = height if height == width else f"{height}x{width}"
    raise InputError(
      f"image_size={size}: expected multiples of 4, and 8 or more, such as 28 "
      "or 32.",
      "image_size",
    )
