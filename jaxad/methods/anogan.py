# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""AnoGAN: anomalies are images that a GAN of normal ones cannot draw.

Schlegl, Seeboeck, Waldstein, Schmidt-Erfurth and Langs, "Unsupervised Anomaly
Detection with Generative Adversarial Networks to Guide Marker Discovery", IPMI
2017 (arXiv 1703.05921). There is no official code; the default is the one that
published baselines are from, the folder gan/ of
github.com/houssamzenati/Efficient-GAN-Anomaly-Detection.

A generator G and a discriminator D learn to draw normal images,

    L_D = BCE(D(x), 1) + BCE(D(G(z)), 0),    L_G = BCE(D(G(z)), 1).

Then both stand still, and for every image x a search by Adam goes from a random
code to that z whose G(z) is most like x, in its pixels and to D's features f:

    L(z) = (1 - lam) |x - G(z)| + lam |f(x) - f(G(z))|,    lam = 0.1.

What is left of L after the last step is the score. All codes are searched for
at once; each has a gradient, an Adam and a start of its own.

               code (default)               paper
  networks     dense and convolutional      DCGAN, for 64 pixels
  start        N(0, 1), cut at 2            the prior: `start="prior"`
  search       Adam, falling rates          gradient descent, 500 steps
  G in a test  averaged weights             the last: `ema_decay=0`

In that code Adam's moments pass from batch to batch of a test: see
`search_keeps_moments`. ALAD's authors swap the weights of L: `lam=0.9`.
"""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxad.detector import (
  Batch,
  Detector,
  Official,
  Phase,
  Scores,
  Search,
  State,
)
from jaxad.errors import InputError
from jaxad.fields import (
  Count,
  CountOrZero,
  Epsilon,
  LearningRate,
  Momentum,
  Share,
  Weight,
  checked,
)
from jaxad.layers.batch_norm import running_average
from jaxad.layers.images import pictured, standardize
from jaxad.losses import binary_cross_entropy as bce
from jaxad.losses import norm
from jaxad.networks.efficient_gan import (
  EPSILON,
  MOMENTUM,
  SLOPE,
  Discriminator,
  Generator,
  check_images,
)
from jaxad.networks.variables import apply_eval, apply_train, initialize
from jaxad.optim import Game, adam_hat


def moments(found) -> dict:
  """Adam's moments of all codes of a search, {"mu", "nu"}: [B, R, nz]."""
  adam = found["codes"]["adam"]
  return {name: optax.tree.get(adam, name) for name in ("mu", "nu")}


def resumed(found, kept: dict):
  """The start of a search with the moments of another, of as many images."""
  codes = found["codes"]
  kept = {name: value[: len(codes["z"])] for name, value in kept.items()}
  adam = optax.tree.set(codes["adam"], **kept)
  return found | {"codes": codes | {"adam": adam}}


@checked
def anogan(
  *,
  latent_dim: Count = 200,
  generator_widths: tuple[Count, Count, Count] = (1024, 128, 64),
  discriminator_widths: tuple[Count, Count, Count] = (64, 64, 1024),
  prior: Literal["normal", "uniform"] = "normal",
  start: Literal["truncated", "prior"] = "truncated",
  restarts: Count = 1,
  score: Literal["fm", "cross_e"] = "fm",
  degree: Literal[1, 2] = 1,
  lam: Share = 0.1,
  search_steps: Count = 500,
  search_rates: tuple[LearningRate, ...] = (1e-2, 1e-3, 5e-4),
  search_boundaries: tuple[CountOrZero, ...] = (200, 300),
  search_b1: Momentum = 0.9,
  search_b2: Momentum = 0.999,
  search_eps: Epsilon = 1e-8,
  search_keeps_moments: bool = False,
  tolerance: Weight | None = None,
  patience: Count = 20,
  ema_decay: Momentum = 0.999,
  average_discriminator: bool = False,
  learning_rate: LearningRate = 1e-5,
  b1: Momentum = 0.5,
  b2: Momentum = 0.999,
  eps: Epsilon = 1e-8,
  slope: Share = SLOPE,
  norm_momentum: Momentum = MOMENTUM,
  norm_epsilon: Epsilon = EPSILON,
) -> Detector:
  """Makes an AnoGAN detector.

  It takes images [B, S, S, C], S a multiple of 4; uint8, or float in [0, 1].
  Scoring takes memory for batch size x restarts images.

  Args:
    latent_dim: length of the codes.
    generator_widths: of G's first dense layer, of its maps at S / 4 and S / 2.
    discriminator_widths: of D's two convolutions and of its features f.
    prior: that training draws codes from: N(0, 1), or "uniform" in [-1, 1].
    start: of a search: "truncated", N(0, 1) cut at 2, or the "prior".
    restarts: searches of each image, of which the best one counts.
    score: second term of L: "fm", the distance of the features, or "cross_e",
      BCE(D(G(z)), 1).
    degree: 1 for L1 norms in L, 2 for L2.
    lam: lambda, the part of that term.
    search_steps: of Adam, for each code.
    search_rates: its learning rates, one after the other.
    search_boundaries: the last step, counted from 0, of each rate but the last.
    search_b1: its decay of the first moment.
    search_b2: its decay of the second moment.
    search_eps: its epsilon.
    search_keeps_moments: whether the official protocol starts each batch of a
      test with Adam's moments of the batch before, as the code does.
    tolerance: a code stands still once L has not been lower by more than this
      for `patience` steps; a search ends when all do. None takes every step.
    patience: see `tolerance`.
    ema_decay: weight of the old averages of the networks' weights; those of G
      are taken in a test.
    average_discriminator: whether those of D are, too; the code means it to.
    learning_rate: of both players' Adam.
    b1: Adam's decay of the first moment.
    b2: Adam's decay of the second moment.
    eps: Adam's epsilon.
    slope: of leaky ReLU.
    norm_momentum: weight of the old running statistics of all norms.
    norm_epsilon: of all norms.

  Returns:
    A `Detector` with one phase, "gan", and a `search`. `Scores.map` is
    |x - G(z)|; `parts` are the two terms of L before their weights, and the
    steps that the best code took.

  Raises:
    InputError: a value out of range; rates and boundaries that do not fit; from
      `init`, images of a wrong size.
  """
  if len(search_rates) != len(search_boundaries) + 1:
    raise InputError(
      f"search_boundaries={search_boundaries}: expected "
      f"{max(len(search_rates) - 1, 0)}, one less than there are search_rates.",
      "search_boundaries",
    )
  discriminator = Discriminator(discriminator_widths, slope, norm_epsilon)
  generator_of = lambda x: Generator(
    x.shape[1], x.shape[-1], generator_widths, norm_epsilon
  )
  game = Game(
    generator=adam_hat(learning_rate, b1, b2, eps),
    discriminator=adam_hat(learning_rate, b1, b2, eps),
  )

  search_rate = optax.join_schedules(
    [optax.constant_schedule(rate) for rate in search_rates],
    [last + 1 for last in search_boundaries],
  )
  # Of one code; it is mapped over all of them.
  search_adam = adam_hat(search_rate, search_b1, search_b2, search_eps)
  of_codes = lambda fn: jax.vmap(jax.vmap(fn))

  def init(key, batch: Batch, plan=None) -> State:
    x = standardize(batch["x"][:1])
    check_images(x.shape)
    z = jnp.zeros((1, latent_dim), x.dtype)
    params_key, state_key = jax.random.split(key)
    params, collections = initialize(
      params_key,
      {"generator": (generator_of(x), z), "discriminator": (discriminator, x)},
    )
    opt_state = game.init(params)
    return State.new(
      state_key, params, collections, opt_state, plan, ema=params
    )

  # Training.

  def discriminator_loss(params, x, x_fake):
    params = params["discriminator"]
    (real, _), on_real = apply_train(discriminator, params, x)
    (fake, _), on_fake = apply_train(discriminator, params, x_fake)
    terms = {"d_real": bce(real, 1), "d_fake": bce(fake, 0)}
    loss = terms["d_real"] + terms["d_fake"]
    return loss, (terms | {"loss": loss}, (on_real, on_fake))

  def generator_loss(params, x, z):
    x_fake, stats = apply_train(generator_of(x), params["generator"], z)
    (fake, _), _ = apply_train(discriminator, params["discriminator"], x_fake)
    loss = bce(fake, 1)
    return loss, ({"g_loss": loss}, stats)

  def from_prior(key, shape):
    if prior == "normal":
      return jax.random.normal(key, shape)
    return jax.random.uniform(key, shape, minval=-1.0)

  def draw(key, batch: Batch):
    shape = (len(batch["x"]), latent_dim)
    d_key, g_key = jax.random.split(key)
    return {"z_d": from_prior(d_key, shape), "z_g": from_prior(g_key, shape)}

  def step(state: State, batch: Batch, draws):
    x = standardize(batch["x"])
    x_fake, _ = apply_train(
      generator_of(x), state.params["generator"], draws["z_d"]
    )
    d_loss = lambda params: discriminator_loss(params, x, x_fake)
    g_loss = lambda params: generator_loss(params, x, draws["z_g"])
    params, opt_state, (d_terms, on_images) = game.move(
      "discriminator", d_loss, state.params, state.opt_state
    )
    params, opt_state, (g_terms, on_codes) = game.move(
      "generator", g_loss, params, opt_state
    )
    passes = {"discriminator": on_images, "generator": (on_codes,)}
    running = {
      name: running_average(
        state.collections[name], *each, momentum=norm_momentum
      )
      for name, each in passes.items()
    }
    ema = optax.incremental_update(params, state.extras["ema"], 1 - ema_decay)
    state = state.replace(
      params=params,
      opt_state=opt_state,
      collections=running,
      extras={"ema": ema},
    )
    return state, d_terms | g_terms

  # Scoring: R codes for each image.

  def judge(state: State, x):
    """(logit, f) of images [N, S, S, C]."""
    params = state.extras["ema"] if average_discriminator else state.params
    running = state.collections["discriminator"]
    return apply_eval(discriminator, params["discriminator"], running, x)

  def compare(state: State, x, f, z):
    """L [B, R]; its parts, likewise; G(z) [B, R, S, S, C], of codes z."""
    generator = state.extras["ema"]["generator"]
    running = state.collections["generator"]
    z, codes = z.reshape(-1, latent_dim), z.shape[:2]
    x_hat = apply_eval(generator_of(x), generator, running, z)
    of_code = lambda v: v.reshape(*codes, *v.shape[1:])
    logit, f_hat = map(of_code, judge(state, x_hat))
    x_hat = of_code(x_hat)
    residual = norm(x[:, None] - x_hat, degree, 2)
    if score == "fm":
      discrimination = norm(f[:, None] - f_hat, degree, 2)
    else:
      discrimination = nn.softplus(-logit)
    loss = (1 - lam) * residual + lam * discrimination
    parts = {"residual": residual, "discrimination": discrimination}
    return loss, parts, x_hat

  def start_search(state: State, x, keys):
    truncated = lambda key, shape: jax.random.truncated_normal(
      key, -2.0, 2.0, shape
    )
    drawn = from_prior if start == "prior" else truncated
    z = jax.vmap(lambda key: drawn(key, (restarts, latent_dim)))(keys)
    codes = {
      "z": z,
      "adam": of_codes(search_adam.init)(z),
      "lowest": jnp.full(z.shape[:2], jnp.inf, z.dtype),
      "waited": jnp.zeros(z.shape[:2], jnp.int32),
    }
    _, f = judge(state, standardize(x))
    return {"f": f, "codes": codes}

  def search_step(state: State, x, found):
    f, codes = found["f"], found["codes"]

    def loss_fn(z):
      loss, _, _ = compare(state, standardize(x), f, z)
      return loss.sum(), loss  # no code feels the gradient of another

    gradient, loss = jax.grad(loss_fn, has_aux=True)(codes["z"])
    updates, adam = of_codes(search_adam.update)(gradient, codes["adam"])
    new = codes | {"z": codes["z"] + updates, "adam": adam}
    if tolerance is not None:
      lower = loss < codes["lowest"] - tolerance
      new["waited"] = jnp.where(lower, 0, codes["waited"] + 1)
      new["lowest"] = jnp.where(lower, loss, codes["lowest"])
      new = of_codes(stand_still)(codes, new)
    return {"f": f, "codes": new}

  def stand_still(old, new):
    stands = old["waited"] >= patience
    return jax.tree.map(lambda old, new: jnp.where(stands, old, new), old, new)

  still = lambda found: (found["codes"]["waited"] >= patience).all(1)

  def finish_search(state: State, x, found) -> Scores:
    x, codes = standardize(x), found["codes"]
    loss, parts, x_hat = compare(state, x, found["f"], codes["z"])
    parts["steps"] = jnp.float32(codes["adam"][0].count)
    best = loss.argmin(1)
    of_best = jax.vmap(lambda row, k: row[k])
    x_hat = of_best(x_hat, best)
    return Scores(
      of_best(loss, best),
      jnp.abs(x - x_hat).mean(-1),
      {name: of_best(part, best) for name, part in parts.items()},
      reconstruction=pictured(x_hat),
    )

  ends = None if tolerance is None else still
  search = Search(start_search, search_step, finish_search, search_steps, ends)

  def official_score(state: State, x, keys):
    found = search.start(state, x, keys)
    if "moments" in state.extras:
      found = resumed(found, state.extras["moments"])
    found = search.run(state, x, found)
    left = state.replace(extras=state.extras | {"moments": moments(found)})
    return search.finish(state, x, found), left

  phase = Phase("gan", step, draw, full_batches=True)
  official = Official(official_score) if search_keeps_moments else None
  return Detector(
    init, (phase,), search.score, search=search, official=official
  )
