# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""ALAE: a GAN with an encoder in it, as a detector of images it cannot draw.

Pidhorskyi, Adjeroh and Doretto, "Adversarial Latent Autoencoders", CVPR 2020
(arXiv 2004.04467), in the version of dense layers. Official code:
github.com/podgorskiy/ALAE, branch mnist_ref.

Its authors detect nothing, and we know of no published detector of it: score
and protocol are jaxad's own.

The two halves of a GAN are cut where their codes w are: F maps noise z to w and
G w to an image, E maps an image to w and D judges w. A step has three moves,
with three draws z ~ N(0, I); s is the softplus, log(1 + exp):

    L_D  = E s(D(E(G(F(z))))) + E s(-D(E(x))) + 5 E |grad_x D(E(x))|^2    E, D
    L_G  = E s(-D(E(G(F(z)))))                                            F, G
    L_AE = E (F(z) - E(G(F(z))))^2, the first F(z) a constant             all

so that G is undone by E, in codes; no loss compares pixels. The optimiser is
Adam without a first moment and with the learning rates of StyleGAN's equalised
layers. In the third move D has no gradient and moves all the same, as in the
code: its second moments shrink, and its clock runs.

The score of an image, x' = G(E(x)),

    A(x) = (1 - a) <(x - x')^2> / n_img + a <(E(x) - E(x'))^2> / n_lat

has means <.> over entries, and n_img and n_lat are their means over the normal
images of the training, a fit at its end. By default a is 0: s(-D(E(x))) and the
second term say too little, or the wrong, of whether an image is odd.

Paper and code differ, and the code is followed: F moves in the third move too
(`train_f`), and D has no activation (`d_activation`), so that it is linear.
"""

import functools
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxad.detector import Batch, Detector, Phase, Scores, State
from jaxad.errors import InputError
from jaxad.fields import (
  Count,
  Epsilon,
  LearningRate,
  Momentum,
  Positive,
  Share,
  Weight,
  checked,
)
from jaxad.layers.images import pictured, standardize, unit_range
from jaxad.networks.variables import apply_eval, initialize
from jaxad.optim import Game, lreq_adam

# As all kernels start: N(0, 2 / inputs).
kernel_init = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
# The learning rates of F and D are lower by this.
SLOW = 0.1


class Layers(nn.Module):
  """Dense layers.

  Attributes:
    widths: of each.
    slopes: of the leaky ReLU behind each; 1 is none.
  """

  widths: tuple[int, ...]
  slopes: tuple[float, ...]

  @nn.compact
  def __call__(self, x, train: bool):
    """[B, D] to [B, widths[-1]]; `train` makes no difference."""
    del train
    for k, (width, slope) in enumerate(
      zip(self.widths, self.slopes, strict=True)
    ):
      x = nn.Dense(width, kernel_init=kernel_init, name=f"dense_{k}")(x)
      x = nn.leaky_relu(x, slope)
    return x


def normalized(z, epsilon):
  """z over the root of its mean square, row by row; how F begins."""
  return z / jnp.sqrt((z**2).mean(-1, keepdims=True) + epsilon)


@checked
def alae(
  *,
  latent_dim: Count = 50,
  hidden: Count = 1024,
  f_layers: Count = 6,
  d_layers: Count = 3,
  f_identity: bool = False,
  d_activation: Literal["leaky_relu"] | None = None,
  train_f: bool = True,
  r1_gamma: Weight = 10.0,
  pixels: Literal["unit", "symmetric"] = "unit",
  alpha: Share = 0.0,
  ema: bool = False,
  ema_half_life: Positive = 10000.0,
  latent_avg_decay: Momentum = 0.995,
  learning_rate: LearningRate = 2e-3,
  b1: Momentum = 0.0,
  b2: Momentum = 0.99,
  eps: Epsilon = 1e-8,
  slope_f: Share = 0.2,
  slope_g: Share = 0.01,
  slope_e: Share = 0.2,
  slope_e_out: Share = 0.01,
  pixel_norm_eps: Epsilon = 1e-8,
) -> Detector:
  """Makes an ALAE detector; the defaults of its training are the authors'.

  It takes images [B, H, W, C]; uint8, or float in [0, 1].

  Args:
    latent_dim: length of z and of w.
    hidden: width of the two hidden layers of G and of E.
    f_layers: how many F has.
    d_layers: how many D has.
    f_identity: whether w is z, without F.
    d_activation: "leaky_relu" between the layers of D, as steep as F's; None
      for none.
    train_f: whether F moves in the third move, as in the code and not in the
      paper.
    r1_gamma: twice the weight of the penalty in L_D.
    pixels: what the networks see, "unit" for [0, 1] or "symmetric" for [-1, 1].
    alpha: the weight a of the codes in the score.
    ema: whether a moving average of the parameters makes the scores. It starts
      as a draw of its own.
    ema_half_life: images until half of its weight is of later parameters.
    latent_avg_decay: of the running mean of w, which the code truncates codes
      by, and no score reads.
    learning_rate: of all four players' LREQAdam; F's and D's layers move by a
      tenth of it.
    b1: its decay of the first moment.
    b2: its decay of the second moment.
    eps: its epsilon, as TensorFlow has it.
    slope_f: of leaky ReLU in F.
    slope_g: in G, whose last layer has none.
    slope_e: in the hidden layers of E.
    slope_e_out: in its last.
    pixel_norm_eps: added to the mean square that z is divided by.

  Returns:
    A `Detector` with one phase, "gan", which ends with the fit of n_img and
    n_lat. `Scores.parts` are "image" and "latent", before they are divided, and
    "adversarial", s(-D(E(x))). `Scores.map` is |x - x'|, the mean over the
    channels.

  Raises:
    InputError: a value out of range; from `init`, what are no images.
  """
  between = 1.0 if d_activation is None else slope_f
  mapping = Layers((latent_dim,) * f_layers, (slope_f,) * f_layers)
  encoder = Layers(
    (hidden, hidden, latent_dim), (slope_e, slope_e, slope_e_out)
  )
  discriminator = Layers(
    (latent_dim,) * d_layers, (between,) * (d_layers - 1) + (1.0,)
  )
  optimizer = functools.partial(lreq_adam, learning_rate, b1, b2, eps)
  players = {
    "generator": optimizer(),
    "encoder": optimizer(),
    "discriminator": optimizer(SLOW),
  }
  drawing = ("generator",)
  if not f_identity:
    players["mapping"] = optimizer(SLOW)
    drawing += ("mapping",)
  game = Game(**players)

  def generator_of(x):
    return Layers((hidden, hidden, x[0].size), (slope_g, slope_g, 1.0))

  def scaled(x):
    return unit_range(x) if pixels == "unit" else standardize(x)

  def init(key, batch: Batch, plan=None) -> State:
    x = scaled(batch["x"][:1])
    if x.ndim != 4:
      raise InputError(f"x of the shape {x.shape}: expected [B, H, W, C].")
    w = jnp.zeros((1, latent_dim), x.dtype)
    networks = {
      "mapping": (mapping, w),
      "generator": (generator_of(x), w),
      "encoder": (encoder, x.reshape(1, -1)),
      "discriminator": (discriminator, w),
    }
    networks = {name: networks[name] for name in players}
    params_key, ema_key, state_key = jax.random.split(key, 3)
    params, collections = initialize(params_key, networks)
    average, _ = initialize(ema_key, networks)
    return State.new(
      state_key,
      params,
      collections,
      game.init(params),
      plan,
      ema=average,
      w_mean=jnp.zeros(latent_dim),
      norms={"image": jnp.ones(()), "latent": jnp.ones(())},
    )

  def run(name, module, params, v):
    return apply_eval(module, params[name], {}, v)

  def codes_of(params, z):
    """w = F(z)."""
    if f_identity:
      return z
    return run("mapping", mapping, params, normalized(z, pixel_norm_eps))

  def generate(params, w, like):
    """G(w), images like those."""
    rows = run("generator", generator_of(like), params, w)
    return rows.reshape(-1, *like.shape[1:])

  def encode(params, x):
    return run("encoder", encoder, params, x.reshape(x.shape[0], -1))

  def judge(params, w):
    # The other outputs have no use.
    return run("discriminator", discriminator, params, w)[:, 0]

  # Training.

  def draw(key, batch: Batch):
    """z of the three moves."""
    return jax.random.normal(key, (3, len(batch["x"]), latent_dim))

  def discriminator_loss(params, x, weight, z):
    fake = generate(params, codes_of(params, z), x)
    score = lambda x: judge(params, encode(params, x))
    gradient = jax.grad(lambda x: score(x).sum())(x)
    mean = lambda v: (weight * v).sum() / weight.sum()
    penalty = mean((gradient**2).sum((1, 2, 3)))
    loss = nn.softplus(score(fake)).mean() + mean(nn.softplus(-score(x)))
    loss += r1_gamma / 2 * penalty
    return loss, {"discriminator": loss, "squared_slope": penalty}

  def generator_loss(params, like, z):
    w = codes_of(params, z)
    score = judge(params, encode(params, generate(params, w, like)))
    loss = nn.softplus(-score).mean()
    return loss, {"generator": loss}

  def reciprocity_loss(params, like, z):
    w = codes_of(params, z)
    again = encode(params, generate(params, w, like))
    loss = ((again - jax.lax.stop_gradient(w)) ** 2).mean()
    return loss, {"loss": loss}

  def step(state: State, batch: Batch, draws):
    x = scaled(batch["x"])
    weight = batch.get("weight", jnp.ones(x.shape[0], x.dtype))
    everyone = tuple(name for name in players if train_f or name != "mapping")
    moves = (
      (
        ("encoder", "discriminator"),
        lambda params: discriminator_loss(params, x, weight, draws[0]),
      ),
      (drawing, lambda params: generator_loss(params, x, draws[1])),
      (everyone, lambda params: reciprocity_loss(params, x, draws[2])),
    )
    at, w_mean = (state.params, state.opt_state), state.extras["w_mean"]
    terms = {}
    for z, (movers, loss_fn) in zip(draws, moves, strict=True):
      w = codes_of(at[0], z).mean(0)
      w_mean = latent_avg_decay * w_mean + (1 - latent_avg_decay) * w
      *at, of_move = game.move(movers, loss_fn, *at)
      terms |= of_move
    params, opt_state = at
    kept = 0.5 ** (x.shape[0] / ema_half_life)
    average = optax.incremental_update(params, state.extras["ema"], 1 - kept)
    state = state.replace(
      params=params,
      opt_state=opt_state,
      extras=state.extras | {"ema": average, "w_mean": w_mean},
    )
    return state, terms

  # Scoring.

  def compared(state: State, x):
    """|x - x'|, the parts of a score, and x'."""
    x, params = scaled(x), state.extras["ema"] if ema else state.params
    w = encode(params, x)
    x_hat = generate(params, w, x)
    residual = jnp.abs(x - x_hat)
    parts = {
      "image": (residual**2).mean((1, 2, 3)),
      "latent": ((w - encode(params, x_hat)) ** 2).mean(1),
      "adversarial": nn.softplus(-judge(params, w)),
    }
    return residual, parts, x_hat

  @jax.jit
  def sums(state: State, batch: Batch):
    _, parts, _ = compared(state, batch["x"])
    of = {name: batch["weight"] @ parts[name] for name in state.extras["norms"]}
    return of, batch["weight"].sum()

  def fit(state: State, batches) -> State:
    """The means of both terms over the normal images."""
    of_batches = (sums(state, batch) for batch in batches)
    total, n = functools.reduce(optax.tree.add, of_batches)
    norms = jax.tree.map(lambda v: v / n, total)
    return state.replace(extras=state.extras | {"norms": norms})

  def score_fn(state: State, x, keys) -> Scores:
    del keys
    residual, parts, x_hat = compared(state, x)
    image, latent = (
      parts[name] / state.extras["norms"][name] for name in ("image", "latent")
    )
    score = (1 - alpha) * image + alpha * latent
    middle = {"mean": 0, "std": 1} if pixels == "unit" else {}
    image = pictured(x_hat, **middle)
    return Scores(score, residual.mean(-1), parts, reconstruction=image)

  return Detector(init, (Phase("gan", step, draw, fit=fit),), score_fn)
