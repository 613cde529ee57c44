# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""f-AnoGAN: anomalies are images that a GAN of normal ones cannot draw.

Schlegl, Seeboeck, Waldstein, Langs and Schmidt-Erfurth, "f-AnoGAN: Fast
unsupervised anomaly detection with generative adversarial networks", Medical
Image Analysis 54 (2019). Official code: github.com/tSchlegl/f-AnoGAN.

First a generator G and a critic D learn the normal images, as a Wasserstein GAN
with a gradient penalty (Gulrajani et al., NeurIPS 2017, arXiv 1704.00028):

    L_D = E D(G(z)) - E D(x) + 10 E (|grad D(x + a (G(z) - x))| - 1)^2
    L_G = -E D(G(z)),        z ~ N(0, 1), a ~ U(0, 1)

D moves five times a step, on a batch each, and G once before it, from the
second step on. Then both stand still, and an encoder E learns to find an
image's code, by one of three losses (`training`); <.> is a mean over entries,
f(x) are the features that D's last layer sees:

    ziz    <(z - E(G(z)))^2>
    izi    <(x - G(E(x)))^2>
    izi_f  <(x - G(E(x)))^2> + kappa <(f(x) - f(G(E(x))))^2>

The score is the loss of izi_f, so that one pass gives what AnoGAN searches for
by gradients; the map is |x - G(E(x))|.

The paper has all three losses, the code izi_f alone. Its networks are for 64
pixels; see `networks/wgan.py` for the other sizes. Its batches are endless, as
here; of each it loses the first image, and of a test the rest that fills no
batch. Both are left out here.
"""

import functools
from fractions import Fraction
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import optax

from jaxad.detector import Batch, Detector, Phase, Scores, State, Stream
from jaxad.fields import (
  Count,
  Epsilon,
  LearningRate,
  Momentum,
  Range,
  Share,
  Steps,
  Weight,
  checked,
)
from jaxad.layers.batch_norm import BatchNorm, running_average
from jaxad.layers.images import pictured, standardize
from jaxad.losses import critic_loss
from jaxad.networks.dcgan import check_images
from jaxad.networks.variables import apply_eval, apply_train, initialize
from jaxad.networks.wgan import Encoder, Generator, LayerNorm
from jaxad.optim import Game, adam_hat

# What becomes of a code at the end of E; `fresh` are draws from N(0, 1).
CONSTRAINTS = {
  "linear": lambda z, fresh: z,
  "tanh": lambda z, fresh: jnp.tanh(z),
  "3tanh": lambda z, fresh: 3 * jnp.tanh(z),
  "0.5tanh": lambda z, fresh: jnp.tanh(z) / 2,
  "clip": lambda z, fresh: jnp.clip(z, -1, 1),
  "3clip": lambda z, fresh: jnp.clip(z, -3, 3),
  "0.5clip": lambda z, fresh: jnp.clip(z, -0.5, 0.5),
  "stoch_clip": lambda z, fresh: jnp.where(jnp.abs(z) > 3, fresh, z),
}


@checked
def fanogan(
  *,
  latent_dim: Count = 128,
  width: Count = 64,
  critic_iters: Annotated[int, Range(1, 100)] = 5,
  gp_weight: Weight = 10.0,
  training: Literal["izi_f", "izi", "ziz"] = "izi_f",
  kappa: Weight = 1.0,
  latent: Literal[tuple(CONSTRAINTS)] = "tanh",
  encoder_share: Annotated[float, Range(0, 1, True, True)] = 0.5,
  encoder_steps: Steps | None = None,
  flip: Share = 0.5,
  learning_rate: LearningRate = 1e-4,
  b1: Momentum = 0.0,
  b2: Momentum = 0.9,
  eps: Epsilon = 1e-8,
  learning_rate_enc: LearningRate = 5e-5,
  rms_decay: Momentum = 0.9,
  rms_eps: Epsilon = 1e-10,
  rms_initial: Weight = 1.0,
  norm_momentum: Momentum = 0.99,
  norm_epsilon: Epsilon = 1e-3,
  ln_epsilon: Epsilon = 1e-5,
  ln_stop_gradient: bool = False,
) -> Detector:
  """Makes an f-AnoGAN detector; the defaults are the official code's.

  It takes images [B, S, S, C], S a power of two and at least 8; uint8, or float
  in [0, 1].

  Args:
    latent_dim: length of the codes.
    width: channels at full size; 8 times as many at most.
    critic_iters: batches that the critic sees, and moves on, in a step.
    gp_weight: of the gradient penalty.
    training: the encoder's loss: "izi_f", of images and their features; "izi",
      of images alone; "ziz", of codes.
    kappa: weight of the features in izi_f and in the score of all three.
    latent: what bounds the encoder's codes: "tanh", "3tanh" or "0.5tanh", that
      many times it; "clip", "3clip" or "0.5clip" to [-1, 1], [-3, 3] or [-0.5,
      0.5]; "stoch_clip", by a new draw for what is beyond 3; or "linear", none.
    encoder_share: part of the run's epochs that is the encoder's.
    encoder_steps: in its place the steps of its training, beside which all
      epochs are the GAN's. The official code takes 50000.
    flip: probability that a training image is mirrored, left to right.
    learning_rate: of the generator's and the critic's Adam.
    b1: its decay of the first moment.
    b2: its decay of the second moment.
    eps: its epsilon, as TensorFlow has it.
    learning_rate_enc: of the encoder's RMSProp.
    rms_decay: its decay of the mean square.
    rms_eps: its epsilon, inside the root.
    rms_initial: its mean square at the start.
    norm_momentum: weight of the old running statistics of all batch norms.
    norm_epsilon: of all batch norms.
    ln_epsilon: of the critic's layer norms.
    ln_stop_gradient: whether the gradient of the penalty takes the mean inside
      their variance for a constant, as in TensorFlow 1. Exact otherwise.

  Returns:
    A `Detector` with the phases "wgan" and "encoder", to be scored from the
    second on. `Scores.parts` are the mean squared differences of the image, of
    its features, and of its code and that of its reconstruction; the first and
    kappa times the second are the score.

  Raises:
    InputError: a value out of range; from `init`, images of a wrong size.
  """
  batch_norm = functools.partial(BatchNorm, norm_epsilon, unbiased=False)
  layer_norm = functools.partial(LayerNorm, ln_epsilon, ln_stop_gradient)
  discriminator = Encoder(1, width, layer_norm)
  encoder = Encoder(latent_dim, width, batch_norm)
  constrain = CONSTRAINTS[latent]
  game = Game(
    generator=adam_hat(learning_rate, b1, b2, eps),
    discriminator=adam_hat(learning_rate, b1, b2, eps),
    encoder=optax.rmsprop(
      learning_rate_enc, rms_decay, rms_eps, initial_scale=rms_initial
    ),
  )

  def make_generator(shape):
    return Generator(shape[1], shape[-1], width, batch_norm)

  def init(key, batch: Batch, plan=None) -> State:
    x = standardize(batch["x"][:1])
    check_images(x.shape, smallest=8)
    z = jnp.zeros((1, latent_dim), x.dtype)
    params_key, state_key = jax.random.split(key)
    params, collections = initialize(
      params_key,
      {
        "generator": (make_generator(x.shape), z),
        "discriminator": (discriminator, x),
        "encoder": (encoder, x),
      },
    )
    opt_state = game.init(params)
    return State.new(state_key, params, collections, opt_state, plan)

  def criticize(params, x):
    """(D(x) [B], f(x)); a critic has no modes."""
    y, features = apply_eval(discriminator, params["discriminator"], {}, x)
    return y[:, 0], features

  def training_images(batch, draws):
    x = standardize(batch["x"])
    return jnp.where(draws["flip"][:, None, None, None], x[:, :, ::-1], x)

  # Training of the GAN.

  def draw_for_gan(key, batch: Batch):
    rows = len(batch["x"])
    size = rows // critic_iters
    z_key, g_key, alpha_key, flip_key = jax.random.split(key, 4)
    return {
      "z": jax.random.normal(z_key, (critic_iters, size, latent_dim)),
      "z_generator": jax.random.normal(g_key, (size, latent_dim)),
      "alpha": jax.random.uniform(alpha_key, (critic_iters, size)),
      "flip": jax.random.bernoulli(flip_key, flip, (rows,)),
    }

  def gan_step(state: State, batch: Batch, draws):
    x = training_images(batch, draws)
    generator = make_generator(x.shape)
    generate = lambda params, z: apply_train(generator, params["generator"], z)

    def generator_loss(params):
      fake, written = generate(params, draws["z_generator"])
      loss = -criticize(params, fake)[0].mean()
      return loss, (loss, written)

    params, opt_state, (g_loss, written) = game.move(
      "generator", generator_loss, state.params, state.opt_state
    )
    running = running_average(
      state.collections["generator"], written, momentum=norm_momentum
    )
    moved = state.replace(
      params=params,
      opt_state=opt_state,
      collections=state.collections | {"generator": running},
    )
    # The critic has the first move of all.
    state = optax.tree.where(state.opt_state.moves > 0, moved, state)

    params, opt_state = state.params, state.opt_state
    # Every critic_iters-th row, so that each device has some of every batch.
    x = x.reshape(-1, critic_iters, *x.shape[1:])
    for k in range(critic_iters):
      fake, _ = generate(params, draws["z"][k])
      inputs = x[:, k], fake, draws["alpha"][k]
      params, opt_state, terms = game.move(
        "discriminator",
        lambda params, inputs=inputs: critic_loss(
          lambda x: criticize(params, x)[0], *inputs, gp_weight
        ),
        params,
        opt_state,
      )
    state = state.replace(params=params, opt_state=opt_state)
    return state, terms | {"generator_loss": g_loss}

  # Training of the encoder.

  def generated(state, z, shape):
    """G(z), by running statistics; shape is that of the images."""
    params, running = state.params["generator"], state.collections["generator"]
    return apply_eval(make_generator(shape), params, running, z)

  def compared(state, x, z):
    """G(z), and how far it and its features are off x: [B] mean squares."""
    x_hat = generated(state, z, x.shape)
    f, f_hat = (criticize(state.params, image)[1] for image in (x, x_hat))
    return x_hat, ((x - x_hat) ** 2).mean((1, 2, 3)), ((f - f_hat) ** 2).mean(1)

  def draw_for_encoder(key, batch: Batch):
    rows = len(batch["x"])
    z_key, fresh_key, flip_key = jax.random.split(key, 3)
    return {
      "z": jax.random.normal(z_key, (rows, latent_dim)),
      "fresh": jax.random.normal(fresh_key, (rows, latent_dim)),
      "flip": jax.random.bernoulli(flip_key, flip, (rows,)),
    }

  def encoder_step(state: State, batch: Batch, draws):
    x = training_images(batch, draws)

    def loss_fn(params):
      image = generated(state, draws["z"], x.shape) if training == "ziz" else x
      (z, _), written = apply_train(encoder, params["encoder"], image)
      z = constrain(z, draws["fresh"])
      if training == "ziz":
        loss = ((draws["z"] - z) ** 2).mean()
        return loss, ({"loss": loss}, written)
      _, image, feature = compared(state, x, z)
      terms = {"image": image.mean(), "feature": feature.mean()}
      weight = kappa if training == "izi_f" else 0.0
      loss = terms["image"] + weight * terms["feature"]
      return loss, (terms | {"loss": loss}, written)

    params, opt_state, (terms, written) = game.move(
      "encoder", loss_fn, state.params, state.opt_state
    )
    running = running_average(
      state.collections["encoder"], written, momentum=norm_momentum
    )
    state = state.replace(
      params=params,
      opt_state=opt_state,
      collections=state.collections | {"encoder": running},
    )
    return state, terms

  # Scoring.

  def score_fn(state: State, x, keys) -> Scores:
    x = standardize(x)
    draw = lambda key: jax.random.normal(key, (2, latent_dim))
    fresh = jax.vmap(draw, out_axes=1)(keys)
    params, running = state.params["encoder"], state.collections["encoder"]
    encode = lambda x, fresh: constrain(
      apply_eval(encoder, params, running, x)[0], fresh
    )
    z = encode(x, fresh[0])
    x_hat, image, feature = compared(state, x, z)
    parts = {
      "image": image,
      "feature": feature,
      "z_distance": ((z - encode(x_hat, fresh[1])) ** 2).mean(1),
    }
    residual = jnp.abs(x - x_hat).mean(-1)
    total = image + kappa * feature
    return Scores(total, residual, parts, reconstruction=pictured(x_hat))

  gan = Phase(
    "wgan",
    gan_step,
    draw_for_gan,
    streams=(Stream(share=Fraction(critic_iters), order="endless"),),
    share=1 - encoder_share,
    full_batches=True,
    scorable=False,
  )
  to_codes = Phase(
    "encoder",
    encoder_step,
    draw_for_encoder,
    streams=(Stream(order="endless"),),
    share=encoder_share,
    steps=encoder_steps,
    full_batches=True,
  )
  return Detector(init, (gan, to_codes), score_fn)
