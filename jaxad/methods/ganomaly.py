# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""GANomaly: anomalies are images whose reconstruction has another code.

Akcay, Atapour-Abarghouei and Breckon, "GANomaly: Semi-Supervised Anomaly
Detection via Adversarial Training", ACCV 2018 (arXiv 1805.06725). Official
code: github.com/samet-akcay/ganomaly.

The generator is encoder, decoder, encoder: x -> z -> x_hat -> z_hat. Trained on
normal images, it can draw only these, so an anomalous x comes back as something
else, and z_hat departs from z: that distance is the score. A DCGAN
discriminator, whose features x_hat has to match, keeps x_hat sharp.

`objective` says which of three the losses are; the weights are 1, 50, 1 in all:

               official (default)      official_2018       paper
  adversarial  mean (f(x)-f(x_hat))^2  BCE(D(x_hat), 1)    |E f(x) - E f(x_hat)|
  contextual   mean |x - x_hat|        the same            the same
  encoder      mean (z - z_hat)^2      the same            mean |z - z_hat|
  D            half the sum of BCEs    their sum           as official
  order        G, then D               D, then G           as official

where f are the discriminator's features and |.| is the Euclidean norm.
Elsewhere, the default is the code: squared distance as the score (the paper: L1
norm, `score="l1"`), learning rate 2e-4 (2e-3), a discriminator that is drawn
anew when its loss falls below `reinit_below` (never).
"""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxad.detector import Batch, Detector, Official, Phase, Scores, State
from jaxad.evaluation.thresholds import above_min_max
from jaxad.fields import (
  Count,
  CountOrZero,
  Epsilon,
  LearningRate,
  Momentum,
  Positive,
  Share,
  Weight,
  checked,
)
from jaxad.layers.batch_norm import running_average
from jaxad.layers.images import pictured, standardize
from jaxad.losses import binary_cross_entropy
from jaxad.networks.dcgan import (
  EPSILON,
  SLOPE,
  Decoder,
  Encoder,
  check_images,
)
from jaxad.networks.variables import (
  apply_eval,
  apply_train,
  initialize,
  redraw_if,
)
from jaxad.optim import Game, adam_l2


class Generator(nn.Module):
  """x -> z -> x_hat -> z_hat; fields as of its encoders."""

  latent_dim: int
  width: int
  extra_layers: int
  slope: float = SLOPE
  epsilon: float = EPSILON

  @nn.compact
  def __call__(self, x, train: bool):
    """[B, S, S, C] to (x_hat like x, z [B, nz], z_hat [B, nz])."""
    side, channels = x.shape[1], x.shape[-1]
    sizes = (self.width, self.extra_layers)
    encoder = (self.latent_dim, *sizes, self.slope, self.epsilon)
    decoder = (side, channels, *sizes, self.epsilon)
    z, _ = Encoder(*encoder, name="encoder_1")(x, train)
    x_hat = Decoder(*decoder, name="decoder")(z, train)
    z_hat, _ = Encoder(*encoder, name="encoder_2")(x_hat, train)
    return x_hat, z, z_hat


@checked
def ganomaly(
  *,
  latent_dim: Count = 100,
  width: Count = 64,
  extra_layers: CountOrZero = 0,
  objective: Literal["official", "official_2018", "paper"] = "official",
  adversarial_weight: Weight = 1.0,
  contextual_weight: Weight = 50.0,
  encoder_weight: Weight = 1.0,
  reinit_below: Weight = 1e-5,
  score: Literal["l2", "l1"] = "l2",
  mean: float = 0.5,
  std: Positive = 0.5,
  learning_rate: LearningRate = 2e-4,
  b1: Momentum = 0.5,
  b2: Momentum = 0.999,
  eps: Epsilon = 1e-8,
  slope: Share = SLOPE,
  norm_momentum: Momentum = 0.9,
  norm_epsilon: Epsilon = EPSILON,
) -> Detector:
  """Makes a GANomaly detector; the defaults are the official code's.

  It takes images [B, S, S, C], S a power of two and at least 16; uint8, or
  float in [0, 1].

  Args:
    latent_dim: length nz of the codes.
    width: channels of the first convolution.
    extra_layers: 3x3 convolutions in each encoder and decoder.
    objective: whose losses: the code's as of 2020, "official", or as of 2018,
      "official_2018"; or those of the "paper".
    adversarial_weight: of the generator's adversarial term.
    contextual_weight: of its reconstruction error.
    encoder_weight: of the distance of its codes.
    reinit_below: the discriminator is drawn anew, its optimiser kept, when its
      loss (in 2018: one of the two terms) falls below this; 0 is never.
    score: "l2", the mean squared difference of the codes, or "l1".
    mean: pixels in [0, 1] enter as (pixel - mean) / std. The official code
      takes 0.1307 for MNIST, out of the decoder's reach of (-1, 1).
    std: see `mean`; there 0.3081.
    learning_rate: of both players' Adam.
    b1: Adam's decay of the first moment.
    b2: Adam's decay of the second moment.
    eps: Adam's epsilon.
    slope: of leaky ReLU.
    norm_momentum: weight of the old running statistics of all norms.
    norm_epsilon: of all norms.

  Returns:
    A `Detector` with one phase, "gan". `Scores.map` is |x - x_hat|, for the
    eye: it is no part of the method.

  Raises:
    InputError: a value out of range; from `init`, images of a wrong size.
  """
  layers = (width, extra_layers, slope, norm_epsilon)
  generator = Generator(latent_dim, *layers)
  discriminator = Encoder(1, *layers)
  game = Game(
    generator=adam_l2(learning_rate, b1, b2, eps),
    discriminator=adam_l2(learning_rate, b1, b2, eps),
  )

  def init(key, batch: Batch, plan=None) -> State:
    x = standardize(batch["x"][:1], mean, std)
    check_images(x.shape, smallest=16)
    params_key, state_key = jax.random.split(key)
    params, collections = initialize(
      params_key,
      {"generator": (generator, x), "discriminator": (discriminator, x)},
    )
    opt_state = game.init(params)
    return State.new(state_key, params, collections, opt_state, plan)

  # Training. Both losses see batch statistics, and return them.

  def generator_loss(params, x):
    (x_hat, z, z_hat), g_stats = apply_train(generator, params["generator"], x)
    (_, f), _ = apply_train(discriminator, params["discriminator"], x)
    (logit, f_hat), d_stats = apply_train(
      discriminator, params["discriminator"], x_hat
    )
    if objective == "official":
      adversarial = ((f - f_hat) ** 2).mean()
      encoder = ((z - z_hat) ** 2).mean()
    elif objective == "official_2018":
      adversarial = binary_cross_entropy(logit, 1)
      encoder = ((z - z_hat) ** 2).mean()
    else:
      adversarial = optax.safe_norm(f.mean(0) - f_hat.mean(0), 1e-12)
      encoder = optax.safe_norm(z - z_hat, 1e-12, axis=-1).mean()
    contextual = jnp.abs(x - x_hat).mean()
    loss = (
      adversarial_weight * adversarial
      + contextual_weight * contextual
      + encoder_weight * encoder
    )
    terms = {
      "loss": loss,
      "adversarial": adversarial,
      "contextual": contextual,
      "encoder": encoder,
    }
    return loss, (x_hat, terms, g_stats, d_stats)

  def discriminator_loss(params, x, x_hat):
    (real, _), real_stats = apply_train(
      discriminator, params["discriminator"], x
    )
    (fake, _), fake_stats = apply_train(
      discriminator, params["discriminator"], jax.lax.stop_gradient(x_hat)
    )
    terms = {
      "d_real": binary_cross_entropy(real, 1),
      "d_fake": binary_cross_entropy(fake, 0),
    }
    loss = terms["d_real"] + terms["d_fake"]
    if objective != "official_2018":
      loss = loss / 2
    terms["d_loss"] = loss
    return loss, (terms, real_stats, fake_stats)

  def draw(key, batch: Batch):
    del batch
    return {"reinit": key}

  def step(state: State, batch: Batch, draws):
    x = standardize(batch["x"], mean, std)
    params, opt_state, running = (
      state.params,
      state.opt_state,
      state.collections,
    )
    g_loss = lambda params: generator_loss(params, x)
    d_loss = lambda params: discriminator_loss(params, x, x_hat)
    if objective == "official_2018":
      (x_hat, _, _), _ = apply_train(generator, params["generator"], x)
      params, opt_state, (d_terms, real, fake) = game.move(
        "discriminator", d_loss, params, opt_state
      )
      params, opt_state, (_, g_terms, g_stats, fake_again) = game.move(
        "generator", g_loss, params, opt_state
      )
      d_passes = (real, fake, fake_again)
      lowest = jnp.minimum(d_terms["d_real"], d_terms["d_fake"])
    else:
      params, opt_state, (x_hat, g_terms, g_stats, _) = game.move(
        "generator", g_loss, params, opt_state
      )
      # The discriminator has not moved yet: its passes are those of the
      # generator's loss, which the compiler makes once. The official code makes
      # and counts them twice.
      params, opt_state, (d_terms, real, fake) = game.move(
        "discriminator", d_loss, params, opt_state
      )
      d_passes = (real, fake, real, fake)
      lowest = d_terms["d_loss"]
    params = params | {
      "discriminator": redraw_if(
        lowest < reinit_below,
        discriminator,
        params["discriminator"],
        draws["reinit"],
        x,
      )
    }
    running = {
      "generator": running_average(
        running["generator"], g_stats, momentum=norm_momentum
      ),
      "discriminator": running_average(
        running["discriminator"], *d_passes, momentum=norm_momentum
      ),
    }
    state = state.replace(
      params=params, opt_state=opt_state, collections=running
    )
    return state, g_terms | d_terms

  # Scoring.

  def scores_of(x, x_hat, z, z_hat):
    parts = {
      "l2": ((z - z_hat) ** 2).mean(-1),
      "l1": jnp.abs(z - z_hat).mean(-1),
      "reconstruction": jnp.abs(x - x_hat).mean((1, 2, 3)),
    }
    pixels, image = jnp.abs(x - x_hat).mean(-1), pictured(x_hat, mean, std)
    return Scores(parts[score], pixels, parts, reconstruction=image)

  def score_fn(state: State, x, keys) -> Scores:
    del keys
    x = standardize(x, mean, std)
    params, running = state.params["generator"], state.collections["generator"]
    return scores_of(x, *apply_eval(generator, params, running, x))

  def official_score(state: State, x, keys):
    del keys
    x = standardize(x, mean, std)
    out, _ = apply_train(generator, state.params["generator"], x)
    return scores_of(x, *out), state

  phase = Phase("gan", step, draw, full_batches=True)
  official = Official(official_score, above_min_max)
  return Detector(init, (phase,), score_fn, official=official)
