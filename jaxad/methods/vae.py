# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""VAE and IWAE: anomalies are what a model of normal images finds unlikely.

Lu and Xu, "Anomaly Detection for Skin Disease Images Using Variational
Autoencoder", 2018 (arXiv 1807.01349). Official code:
github.com/QuindiTech/VAE_ISIC2018. The bounds are those of Kingma and Welling,
ICLR 2014 (arXiv 1312.6114), and of Burda, Grosse and Salakhutdinov, ICLR 2016
(arXiv 1509.00519).

Codes z have the prior N(0, 1), images the likelihood N(x_hat(z), 1), and the
encoder's q(z|x) = N(mu, sigma^2) stands for the posterior:

  rec(z) = 1/2 |x - x_hat(z)|^2 = -log p(x|z)
  KL     = 1/2 sum(sigma^2 + mu^2 - 1 - log sigma^2)
  loss   = mean rec(mu + sigma eps) + w_kl mean KL

where constants are dropped. With z_1 ... z_L drawn from q(z|x) the scores are

  reconstruction       mean_l rec(z_l)
  kl                   KL
  vae                  reconstruction + w_kl kl
  iwae_reconstruction  -log mean_l p(x|z_l)
  iwae_kl              -log mean_l p(z_l) / q(z_l|x)
  iwae                 "sum": the sum of the last two, as in the paper; "joint":
                       -log mean_l p(x|z_l) (p(z_l) / q(z_l|x))^w_kl

With w_kl = 1 "vae" and the joint "iwae" are bounds of -log p(x), the second one
the closer. The code's importance weights are not of these densities (it has no
factors 1/2, and q without its normalisation): `official_iwae` has those.
"""

import functools
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxad.detector import Batch, Detector, Phase, Scores, State
from jaxad.errors import InputError
from jaxad.fields import (
  Count,
  Epsilon,
  LearningRate,
  Momentum,
  Weight,
  checked,
)
from jaxad.layers.batch_norm import BatchNorm, running_average
from jaxad.layers.chunks import map_chunks
from jaxad.layers.conv import Conv, ConvTranspose, pytorch_uniform
from jaxad.layers.cpu import concrete
from jaxad.layers.gaussian import (
  draw_noise,
  kl_divergence,
  log_density,
  log_mean_exp,
  sample,
)
from jaxad.layers.images import pictured, standardize
from jaxad.networks.dcgan import EPSILON, check_images
from jaxad.networks.variables import apply_eval, apply_train, initialize
from jaxad.optim import adam_l2, descend, step_decay

Score = Literal[
  "reconstruction",
  "kl",
  "vae",
  "iwae_reconstruction",
  "iwae_kl",
  "iwae",
]

# Kaiming-normal by what leaves a unit, as the code has it for convolutions.
kernel_init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def conv(x, features, name, stride=2, padding=1):
  init = pytorch_uniform(16 * x.shape[-1])
  layer = Conv(
    *(features, 4, stride, padding),
    kernel_init=kernel_init,
    bias_init=init,
    name=name,
  )
  return layer(x)


def conv_transpose(x, features, name, stride=2, padding=1):
  # PyTorch takes the channels that leave it for those that enter.
  init = pytorch_uniform(16 * features)
  layer = ConvTranspose(
    *(features, 4, stride, padding),
    kernel_init=init,
    bias_init=init,
    name=name,
  )
  return layer(x)


class Encoder(nn.Module):
  """Images to q(z|x); halves the image until it has 4x4 pixels.

  Attributes:
    latent_dim: length of the code.
    width: channels of the first convolution; they double each time.
    epsilon: of the norms.
  """

  latent_dim: int
  width: int = 64
  epsilon: float = EPSILON

  @nn.compact
  def __call__(self, x, train: bool):
    """[B, S, S, C] to (mu, log sigma^2), each [B, latent_dim]."""
    x = nn.relu(conv(x, self.width, "conv_0"))
    level = 1
    while x.shape[1] > 4:
      x = conv(x, 2 * x.shape[-1], f"conv_{level}")
      x = nn.relu(BatchNorm(self.epsilon, name=f"norm_{level}")(x, train))
      level += 1
    head = lambda name: conv(x, self.latent_dim, name, 1, 0)[:, 0, 0]
    return head("mean"), head("log_var")


class Decoder(nn.Module):
  """Codes to images, an encoder backwards.

  Attributes:
    side: S of the images, a power of two and at least 8.
    channels: C of the images.
    width: channels at half the side; they double towards the code.
    epsilon: of the norms.
  """

  side: int
  channels: int
  width: int = 64
  epsilon: float = EPSILON

  @nn.compact
  def __call__(self, z, train: bool):
    """[B, nz] to [B, S, S, C] in (-1, 1)."""
    norm = lambda k, x: BatchNorm(self.epsilon, name=f"norm_{k}")(x, train)
    x, features = z[:, None, None], self.width * self.side // 8
    x = nn.relu(norm(0, conv_transpose(x, features, "conv_0", 1, 0)))
    level = 1
    while x.shape[1] < self.side // 2:
      x = conv_transpose(x, x.shape[-1] // 2, f"conv_{level}")
      x, level = nn.relu(norm(level, x)), level + 1
    return nn.tanh(conv_transpose(x, self.channels, "conv_out"))


def make_scores(
  squares, mean, log_var, noise, w_kl=1.0, combine="joint", official_iwae=False
) -> dict[str, jax.Array]:
  """The six scores of the codes z_l = mean + exp(log_var / 2) noise_l.

  Args:
    squares: [L, B], |x - x_hat(z_l)|^2.
    mean: [B, D], of q(z|x).
    log_var: [B, D], likewise.
    noise: [L, B, D].
    w_kl: see above, as the others.
    combine: "sum" or "joint".
    official_iwae: see above.

  Returns:
    {score: [B]}.
  """
  z = sample(mean, log_var, noise)
  log_likelihood, log_prior = -squares / 2, log_density(z)
  log_q = log_density(noise) - log_var.sum(-1) / 2
  found = {
    "reconstruction": -log_likelihood.mean(0),
    "kl": kl_divergence(mean, log_var),
  }
  found["vae"] = found["reconstruction"] + w_kl * found["kl"]
  if official_iwae:
    log_likelihood, log_prior = -squares, -(z**2).sum(-1)
    log_q = -(noise**2).sum(-1)
  log_ratio = log_prior - log_q
  found["iwae_reconstruction"] = -log_mean_exp(log_likelihood)
  found["iwae_kl"] = -log_mean_exp(log_ratio)
  found["iwae"] = (
    found["iwae_reconstruction"] + found["iwae_kl"]
    if combine == "sum"
    else -log_mean_exp(log_likelihood + w_kl * log_ratio)
  )
  return found


@checked
def vae(
  *,
  latent_dim: Count = 300,
  width: Count = 64,
  w_kl: Weight = 0.01,
  score: Score = "iwae",
  n_samples: Count = 15,
  combine: Literal["sum", "joint"] = "sum",
  official_iwae: bool = False,
  images_at_once: Count = 256,
  learning_rate: LearningRate = 1e-4,
  decay_epochs: Count | None = None,
  b1: Momentum = 0.9,
  b2: Momentum = 0.999,
  eps: Epsilon = 1e-8,
  norm_momentum: Momentum = 0.9,
  norm_epsilon: Epsilon = EPSILON,
) -> Detector:
  """Makes a VAE detector; the defaults are those of the authors' scripts.

  It takes images [B, S, S, C], S a power of two and at least 8; uint8, or float
  in [0, 1].

  Args:
    latent_dim: length of the codes.
    width: channels of the first convolution.
    w_kl: weight of the KL term in the loss and of what stands for it in the
      scores "vae" and, if joint, "iwae".
    score: of the VAE or the IWAE, whole or its reconstruction or divergence;
      `Scores.parts` has all six.
    n_samples: L, the codes drawn for each image that is scored.
    combine: "sum" or "joint", how "iwae" is made.
    official_iwae: whether the importance weights are those of the code.
    images_at_once: the most images that are decoded together when a batch is
      scored; the fewer, the less memory.
    learning_rate: of Adam.
    decay_epochs: epochs after which it falls to a tenth, and again; 50 in the
      code. None never lets it fall.
    b1: Adam's decay of the first moment.
    b2: Adam's decay of the second moment.
    eps: Adam's epsilon.
    norm_momentum: weight of the old running statistics of all norms.
    norm_epsilon: of all norms.

  Returns:
    A `Detector` with one phase, "vae". `Scores.map` is |x - x_hat|, the mean
    over channels and samples.

  Raises:
    InputError: a value out of range; from `init`, images of a wrong size, or a
      learning rate that falls without a plan to fall by.
  """
  encoder = Encoder(latent_dim, width, norm_epsilon)
  make_scores_of = functools.partial(
    make_scores, w_kl=w_kl, combine=combine, official_iwae=official_iwae
  )

  def make_decoder(shape):
    return Decoder(*shape[2:], width, norm_epsilon)

  def make_tx(plan):
    rate = learning_rate
    if decay_epochs is not None:
      if plan is None:
        raise InputError(
          f"decay_epochs={decay_epochs}: a learning rate that falls must know "
          "the length of an epoch; give init a Plan, or take None.",
          "decay_epochs",
        )
      (n,) = plan.steps_per_epoch
      rate = step_decay(rate, n, decay_epochs, schedule="late")
    return adam_l2(rate, b1, b2, eps)

  def init(key, batch: Batch, plan=None) -> State:
    x = standardize(batch["x"][:1])
    check_images(x.shape, smallest=8)
    z = jnp.zeros((1, latent_dim), x.dtype)
    params_key, state_key = jax.random.split(key)
    networks = {"encoder": (encoder, x), "decoder": (make_decoder(x.shape), z)}
    params, collections = initialize(params_key, networks)
    opt_state = make_tx(plan).init(params)
    return State.new(state_key, params, collections, opt_state, plan)

  # Training.

  def draw(key, batch: Batch):
    return jax.random.normal(key, (len(batch["x"]), latent_dim))

  def step(state: State, batch: Batch, draws):
    x = standardize(batch["x"])
    decoder = make_decoder(x.shape)

    def loss_fn(params):
      (mean, log_var), on_x = apply_train(encoder, params["encoder"], x)
      z = sample(mean, log_var, draws)
      x_hat, on_z = apply_train(decoder, params["decoder"], z)
      terms = {
        "reconstruction": ((x - x_hat) ** 2).sum((1, 2, 3)).mean() / 2,
        "kl": kl_divergence(mean, log_var).mean(),
      }
      running = {
        name: running_average(
          state.collections[name], written, momentum=norm_momentum
        )
        for name, written in (("encoder", on_x), ("decoder", on_z))
      }
      loss = terms["reconstruction"] + w_kl * terms["kl"]
      return loss, (terms, running)

    return descend(make_tx(state.plan), loss_fn, state)

  # Scoring.

  def score_fn(state: State, x, keys) -> Scores:
    x = standardize(x)
    run = lambda name, network, v: apply_eval(
      network, state.params[name], state.collections[name], v
    )
    mean, log_var = run("encoder", encoder, x)
    noise = draw_noise(keys, n_samples, latent_dim).swapaxes(0, 1)
    decoder = make_decoder(x.shape)

    def residuals(z):
      """Of codes [k, B, nz]: their squares [k, B], their sum [B, S, S] without
      signs, and with signs [B, S, S, C]."""
      x_hat = run("decoder", decoder, z.reshape(-1, latent_dim))
      off = x - x_hat.reshape(*z.shape[:2], *x.shape[1:])
      size = jnp.abs(off).mean(-1).sum(0)
      return (off**2).sum((2, 3, 4)), size, off.sum(0)

    at_once = max(1, images_at_once // len(x)) if concrete(x) else 1
    z = sample(mean, log_var, noise)
    squares, pixels, signed = map_chunks(residuals, z, at_once)
    squares = squares.reshape(n_samples, -1)
    parts = make_scores_of(squares, mean, log_var, noise)
    pixels = pixels.sum(0) / n_samples
    image = pictured(x - signed.sum(0) / n_samples)
    return Scores(parts[score], pixels, parts, reconstruction=image)

  phase = Phase("vae", step, draw, full_batches=True)
  return Detector(init, (phase,), score_fn)
