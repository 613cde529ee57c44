# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Skip-GANomaly: a U-Net that reconstructs, a discriminator that compares.

Akcay, Atapour-Abarghouei and Breckon, "Skip-GANomaly: Skip Connected and
Adversarially Trained Encoder-Decoder Anomaly Detection", IJCNN 2019 (arXiv
1901.08954). Official code: github.com/samet-akcay/skip-ganomaly.

The generator x -> x_hat is a U-Net trained on normal images. The code f(x) is
the last linear layer of the discriminator, and an anomaly is an image that
differs from its reconstruction in pixels or in code.

Where paper and official code differ, the default is the code:

                     paper                      code
  contextual weight  40                         50
  D's loss           distinguishes              has + mean (f(x) - f(x_hat))^2
                     (`d_lat_sign=0`)           too, which works against that
  score              L1 of pixels, L2 of codes  mean squares of both
  noise on x         -                          an uninitialised buffer: none
                                                here (`noise`)
"""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxad.detector import Batch, Detector, Official, Phase, Scores, State
from jaxad.evaluation.thresholds import above_min_max
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
from jaxad.layers.batch_norm import running_average
from jaxad.layers.images import pictured, standardize
from jaxad.losses import binary_cross_entropy
from jaxad.networks.dcgan import (
  EPSILON,
  SLOPE,
  Encoder,
  check_images,
  conv,
)
from jaxad.networks.unet import UNet
from jaxad.networks.variables import (
  apply_eval,
  apply_train,
  initialize,
  redraw_if,
)
from jaxad.optim import Game, adam_l2


class Discriminator(nn.Module):
  """An encoder whose code is classified; fields as of the encoder."""

  latent_dim: int
  width: int
  slope: float = SLOPE
  epsilon: float = EPSILON

  @nn.compact
  def __call__(self, x, train: bool):
    """[B, S, S, C] to (logit [B], f [B, nz])."""
    f, _ = Encoder(
      self.latent_dim,
      self.width,
      slope=self.slope,
      epsilon=self.epsilon,
      name="features",
    )(x, train)
    # On one pixel only the centre of the 3x3 kernel acts, as in the reference.
    logit = conv(1, 3, 1, 1, name="classifier")(f[:, None, None, :])
    return logit.reshape(-1), f


@checked
def skip_ganomaly(
  *,
  latent_dim: Count = 100,
  width: Count = 64,
  width_d: Count = 64,
  adversarial_weight: Weight = 1.0,
  contextual_weight: Weight = 50.0,
  latent_weight: Weight = 1.0,
  d_lat_sign: Literal[1, 0, -1] = 1,
  noise: Weight = 0.0,
  reinit_below: Weight = 1e-5,
  lam: Share = 0.9,
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
  """Makes a Skip-GANomaly detector; the defaults are the official code's.

  It takes images [B, S, S, C], S a power of two and at least 32; uint8, or
  float in [0, 1].

  Args:
    latent_dim: length nz of the discriminator's code.
    width: channels of the U-Net's first level.
    width_d: channels of the discriminator's first convolution.
    adversarial_weight: of the generator's adversarial term.
    contextual_weight: of its reconstruction error.
    latent_weight: of the distance of the codes, for both players.
    d_lat_sign: 1 if the discriminator descends that distance, 0 if it ignores
      it, -1 if it ascends.
    noise: deviation of the Gaussian noise on the generator's training input.
    reinit_below: the discriminator is drawn anew, its optimiser kept, when its
      loss falls below this; 0 is never.
    lam: lambda, the weight of the pixels in the score; 1 - lambda is the
      codes'.
    mean: pixels in [0, 1] enter as (pixel - mean) / std.
    std: see `mean`.
    learning_rate: of both players' Adam.
    b1: Adam's decay of the first moment.
    b2: Adam's decay of the second moment.
    eps: Adam's epsilon.
    slope: of leaky ReLU.
    norm_momentum: weight of the old running statistics of all norms.
    norm_epsilon: of all norms.

  Returns:
    A `Detector` with one phase, "gan". `Scores.map` is the squared difference
    of the pixels.

  Raises:
    InputError: a value out of range; from `init`, images of a wrong size.
  """
  generator = UNet(width, slope, norm_epsilon)
  discriminator = Discriminator(latent_dim, width_d, slope, norm_epsilon)
  game = Game(
    generator=adam_l2(learning_rate, b1, b2, eps),
    discriminator=adam_l2(learning_rate, b1, b2, eps),
  )

  def init(key, batch: Batch, plan=None) -> State:
    x = standardize(batch["x"][:1], mean, std)
    check_images(x.shape, smallest=32)
    params_key, state_key = jax.random.split(key)
    params, collections = initialize(
      params_key,
      {"generator": (generator, x), "discriminator": (discriminator, x)},
    )
    opt_state = game.init(params)
    return State.new(state_key, params, collections, opt_state, plan)

  # Training.

  def generator_loss(params, x, noisy):
    x_hat, g_stats = apply_train(generator, params["generator"], noisy)
    (_, f), _ = apply_train(discriminator, params["discriminator"], x)
    (logit, f_hat), _ = apply_train(
      discriminator, params["discriminator"], x_hat
    )
    # As the official code logs them, with their weights.
    terms = {
      "adversarial": adversarial_weight * binary_cross_entropy(logit, 1),
      "contextual": contextual_weight * jnp.abs(x_hat - x).mean(),
      "latent": latent_weight * ((f_hat - f) ** 2).mean(),
    }
    loss = sum(terms.values())
    return loss, (x_hat, terms | {"loss": loss}, g_stats)

  def discriminator_loss(params, x, x_hat):
    (real, f), real_stats = apply_train(
      discriminator, params["discriminator"], x
    )
    (fake, f_hat), fake_stats = apply_train(
      discriminator, params["discriminator"], x_hat
    )
    latent = latent_weight * ((f_hat - f) ** 2).mean()
    terms = {
      "d_real": binary_cross_entropy(real, 1),
      "d_fake": binary_cross_entropy(fake, 0),
    }
    loss = sum(terms.values()) + d_lat_sign * latent
    return loss, (terms | {"d_loss": loss}, real_stats, fake_stats)

  def draw(key, batch: Batch):
    noise_key, reinit_key = jax.random.split(key)
    x = batch["x"]
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    return {
      "noise": jax.random.normal(noise_key, x.shape, dtype) if noise else None,
      "reinit": reinit_key,
    }

  def step(state: State, batch: Batch, draws):
    x = standardize(batch["x"], mean, std)
    noisy = x + noise * draws["noise"] if noise else x
    # The discriminator's loss is taken at the generator's image from before
    # its move. The passes of the two losses through the discriminator are the
    # same; the compiler makes them once.
    params, opt_state, (x_hat, g_terms, g_stats) = game.move(
      "generator",
      lambda params: generator_loss(params, x, noisy),
      state.params,
      state.opt_state,
    )
    params, opt_state, (d_terms, real, fake) = game.move(
      "discriminator",
      lambda params: discriminator_loss(params, x, x_hat),
      params,
      opt_state,
    )
    params = params | {
      "discriminator": redraw_if(
        d_terms["d_loss"] < reinit_below,
        discriminator,
        params["discriminator"],
        draws["reinit"],
        x,
      )
    }
    running = state.collections
    running = {
      "generator": running_average(
        running["generator"], g_stats, momentum=norm_momentum
      ),
      # The official step passes the generated images twice.
      "discriminator": running_average(
        running["discriminator"], real, fake, fake, momentum=norm_momentum
      ),
    }
    state = state.replace(
      params=params, opt_state=opt_state, collections=running
    )
    return state, g_terms | d_terms

  # Scoring.

  def scores_of(x, x_hat, f, f_hat):
    difference = (x - x_hat) ** 2
    parts = {
      "reconstruction": difference.mean((1, 2, 3)),
      "latent": ((f - f_hat) ** 2).mean(-1),
    }
    score = lam * parts["reconstruction"] + (1 - lam) * parts["latent"]
    pixels, image = difference.mean(-1), pictured(x_hat, mean, std)
    return Scores(score, pixels, parts, reconstruction=image)

  def score_fn(state: State, x, keys) -> Scores:
    del keys
    x = standardize(x, mean, std)
    g, d = (
      (state.params[name], state.collections[name])
      for name in ("generator", "discriminator")
    )
    x_hat = apply_eval(generator, *g, x)
    _, f = apply_eval(discriminator, *d, x)
    _, f_hat = apply_eval(discriminator, *d, x_hat)
    return scores_of(x, x_hat, f, f_hat)

  def official_score(state: State, x, keys):
    del keys
    x = standardize(x, mean, std)
    x_hat, _ = apply_train(generator, state.params["generator"], x)
    d = state.params["discriminator"]
    (_, f), _ = apply_train(discriminator, d, x)
    (_, f_hat), _ = apply_train(discriminator, d, x_hat)
    return scores_of(x, x_hat, f, f_hat), state

  phase = Phase("gan", step, draw, full_batches=True)
  official = Official(official_score, above_min_max)
  return Detector(init, (phase,), score_fn, official=official)
