# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""ALOCC: a denoiser that improves normal images and spoils all others.

Sabokrou, Khalooei, Fathy and Adeli, "Adversarially Learned One-Class Classifier
for Novelty Detection", CVPR 2018. Official code:
github.com/khalooei/ALOCC-CVPR2018.

The refiner R, a denoising auto-encoder, and the discriminator D are trained
against each other on one class, with z = x + noise:

  L_D = BCE(D(x), 1) + BCE(D(R(z)), 0)
  L_R = BCE(D(R(z)), 1) + lam L_ref

R learns to draw the class, and does so with anything: what is of the class
comes out clearer, what is not comes out distorted, so that D(R(x)) tells them
apart better than D(x). The score is -D(R(x)), a logit.

            paper                          released
  L_ref     mean (x - R(z))^2              BCE of R(z), taken as logits, with z
  lam       0.4                            0.2
  R         one step for each of D         two
  noise     drawn anew                     once for each image
  training  ends when |x - R(z)|^2 < rho   has 40 epochs, one chosen by eye
  score     D(R(x))                        D(x)
  pixels    -                              in [0, 1], half of tanh's range

The default is the paper, with pixels in [-1, 1]; every row is a keyword. In the
code all norms use the statistics of their batch, in tests too (`official`). We
train by them, and score by running ones: D meets x and R(z) in batches of their
own, and has running statistics for each.
"""

from typing import Annotated, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxad.detector import Batch, Detector, Official, Phase, Scores, State
from jaxad.errors import InputError
from jaxad.fields import (
  Count,
  Epsilon,
  LearningRate,
  Momentum,
  Positive,
  Range,
  Share,
  Strength,
  Weight,
  checked,
)
from jaxad.layers.batch_norm import BatchNorm, running_average
from jaxad.layers.conv import Conv, ConvTranspose, same_padding
from jaxad.layers.images import image_noise, pictured, standardize
from jaxad.losses import binary_cross_entropy as bce
from jaxad.networks.variables import apply_eval, apply_train, initialize
from jaxad.optim import Game

KERNEL, STRIDE = 5, 2
normal = nn.initializers.normal(0.02)


def down(x, features, name):
  """A convolution that halves, rounded up."""
  padding = same_padding(x, KERNEL, STRIDE)
  init = nn.initializers.truncated_normal(0.02)
  conv = Conv(features, KERNEL, STRIDE, padding, kernel_init=init, name=name)
  return conv(x)


def up(x, features, like, name):
  """A transposed convolution to the height and width of another map."""
  padding = same_padding(like, KERNEL, STRIDE)
  return ConvTranspose(
    features, KERNEL, STRIDE, padding, kernel_init=normal, name=name
  )(x)


class Refiner(nn.Module):
  """R, a convolutional auto-encoder.

  Attributes:
    width: of the decoder, whose widths are 2 and 1 times this.
    encoder_width: of the encoder, whose widths are 2, 4 and 8 times this.
    slope: of the encoder's leaky ReLU; the decoder has ReLU.
    epsilon: of the norms.
  """

  width: int
  encoder_width: int
  slope: float = 0.2
  epsilon: float = 1e-5

  @nn.compact
  def __call__(self, x, train: bool):
    """[B, H, W, C] to the same, in (-1, 1)."""
    norm = lambda k: BatchNorm(self.epsilon, unbiased=False, name=f"norm_{k}")
    maps = [x]
    for k, factor in enumerate((2, 4, 8)):
      x = down(x, factor * self.encoder_width, f"conv_{k}")
      x = nn.leaky_relu(norm(k)(x, train), self.slope)
      maps.append(x)
    for k, factor in ((3, 2), (4, 1)):
      x = up(x, factor * self.width, maps[5 - k], f"conv_{k}")
      x = nn.relu(norm(k)(x, train))
    return nn.tanh(up(x, maps[0].shape[-1], maps[0], "conv_5"))


class Discriminator(nn.Module):
  """D.

  Attributes:
    width: of its first convolution; it doubles each time.
    slope: of leaky ReLU.
    epsilon: of the norms.
  """

  width: int
  slope: float = 0.2
  epsilon: float = 1e-5

  @nn.compact
  def __call__(self, x, train: bool):
    """[B, H, W, C] to logits [B], high for the class."""
    for k in range(4):
      x = down(x, 2**k * self.width, f"conv_{k}")
      if k:
        norm = BatchNorm(self.epsilon, unbiased=False, name=f"norm_{k}")
        x = norm(x, train)
      x = nn.leaky_relu(x, self.slope)
    x = x.reshape(x.shape[0], -1)
    return nn.Dense(1, kernel_init=normal, name="dense_out")(x)[:, 0]


# Losses. `run(name, params, x)` applies a network in training mode, and gives
# its output and the statistics of the batch.


def discriminator_loss(run, params, x, noisy):
  """L_D of images and noisy images [B, H, W, C], and what it is made of."""
  refined, _ = run("refiner", params, noisy)
  real, on_real = run("discriminator", params, x)
  fake, on_refined = run("discriminator", params, refined)
  terms = {"d_real": bce(real, 1), "d_refined": bce(fake, 0)}
  loss = terms["d_real"] + terms["d_refined"]
  return loss, (terms | {"d_loss": loss}, on_real, on_refined)


def refiner_loss(run, params, x, noisy, refine, lam):
  """L_R, likewise; `refine` and `lam` as of `alocc`."""
  refined, on_noisy = run("refiner", params, noisy)
  logit, on_refined = run("discriminator", params, refined)
  error = ((x - refined) ** 2).mean()
  if refine == "mse_clean":
    refinement = error
  else:
    refinement = optax.sigmoid_binary_cross_entropy(refined, noisy).mean()
  terms = {"adversarial": bce(logit, 1), "refinement": refinement}
  loss = terms["adversarial"] + lam * refinement
  terms |= {"loss": loss, "error": error}
  return loss, (terms, on_noisy, on_refined)


@checked
def alocc(
  *,
  width: Count = 16,
  encoder_width: Count = 16,
  width_d: Count = 16,
  refine: Literal["mse_clean", "released"] = "mse_clean",
  lam: Weight | None = None,
  r_steps: Annotated[int, Range(1, 8)] = 1,
  rho: Weight = 0.0,
  noise_std: Strength = 0.155,
  noise: Literal["fresh", "fixed"] = "fresh",
  score: Literal["refined", "plain", "error"] = "refined",
  mean: float = 0.5,
  std: Positive = 0.5,
  learning_rate: LearningRate = 2e-3,
  decay: Momentum = 0.9,
  eps: Epsilon = 1e-10,
  initial_scale: Weight = 1.0,
  slope: Share = 0.2,
  norm_momentum: Momentum = 0.9,
  norm_epsilon: Epsilon = 1e-5,
) -> Detector:
  """Makes an ALOCC detector; the defaults are the paper's.

  It takes images [B, H, W, C] of any size; uint8, or float in [0, 1].

  Args:
    width: channels of R before its last layer.
    encoder_width: half the channels of R's first convolution.
    width_d: channels of D's first convolution.
    refine: L_ref, "mse_clean", the paper's squared error to the clean image, or
      "released", the code's cross-entropy with the noisy one.
    lam: its weight; None is 0.4, released 0.2.
    r_steps: steps of R after each step of D.
    rho: training ends after the epoch at whose end the running mean of
      mean (x - R(z))^2 is below this, of pixels in [-1, 1]; 0 is never.
    noise_std: deviation of the Gaussian noise on pixels in [-1, 1]; what leaves
      that range is clipped.
    noise: "fresh" in every step, or "fixed" for each image.
    score: "refined" is -D(R(x)), "plain" is -D(x), both logits; "error" is the
      mean squared difference of x and R(x).
    mean: pixels in [0, 1] enter as (pixel - mean) / std, and [-1, 1] above is
      their range; the official code takes 0 for MNIST.
    std: see `mean`; there 1.
    learning_rate: of both players' RMSProp.
    decay: of RMSProp's mean square.
    eps: of RMSProp, inside the root.
    initial_scale: first value of RMSProp's mean square.
    slope: of leaky ReLU.
    norm_momentum: weight of the old running statistics of all norms.
    norm_epsilon: of all norms.

  Returns:
    A `Detector` with one phase, "gan". `Scores.parts` are the three scores,
    `Scores.map` is the squared difference of x and R(x), for the eye.

  Raises:
    InputError: a value out of range; from `init`, no images.
  """
  lam = {"mse_clean": 0.4, "released": 0.2}[refine] if lam is None else lam
  layers = (slope, norm_epsilon)
  networks = {
    "refiner": Refiner(width, encoder_width, *layers),
    "discriminator": Discriminator(width_d, *layers),
  }
  rmsprop = optax.rmsprop(learning_rate, decay, eps, initial_scale)
  game = Game(refiner=rmsprop, discriminator=rmsprop)

  def init(key, batch: Batch, plan=None) -> State:
    shape = batch["x"].shape
    if len(shape) != 4:
      raise InputError(f"x of the shape {shape}: expected [B, H, W, C].")
    x = standardize(batch["x"][:1], mean, std)
    params_key, state_key = jax.random.split(key)
    params, collections = initialize(
      params_key, {name: (net, x) for name, net in networks.items()}
    )
    on_real = collections.pop("discriminator")
    collections |= {"on_real": on_real, "on_refined": on_real}
    opt_state = game.init(params)
    # The running mean that `rho` is compared with; no training starts below.
    error = jnp.ones((), x.dtype)
    return State.new(
      state_key, params, collections, opt_state, plan, error=error
    )

  # Training.

  def run(name, params, x):
    return apply_train(networks[name], params[name], x)

  def draw(key, batch: Batch):
    x = batch["x"]
    drawn = jax.random.normal(key, x.shape) if noise == "fresh" else None
    return {"noise": noise_std * (image_noise(x) if drawn is None else drawn)}

  def step(state: State, batch: Batch, draws):
    x = standardize(batch["x"], mean, std)
    noisy = jnp.clip(x + draws["noise"], -mean / std, (1 - mean) / std)
    params, opt_state, (d_terms, on_real, _) = game.move(
      "discriminator",
      lambda params: discriminator_loss(run, params, x, noisy),
      state.params,
      state.opt_state,
    )
    passes = []
    for _ in range(r_steps):
      params, opt_state, (terms, *written) = game.move(
        "refiner",
        lambda params: refiner_loss(run, params, x, noisy, refine, lam),
        params,
        opt_state,
      )
      passes.append(written)
    on_noisy, on_refined = zip(*passes, strict=True)
    written = {
      "refiner": on_noisy,
      "on_real": (on_real,),
      "on_refined": on_refined,
    }
    running = {
      name: running_average(
        state.collections[name], *each, momentum=norm_momentum
      )
      for name, each in written.items()
    }
    error = optax.incremental_update(terms["error"], state.extras["error"], 0.1)
    state = state.replace(
      params=params,
      opt_state=opt_state,
      collections=running,
      extras={"error": error},
    )
    return state, terms | d_terms

  def stop(state: State) -> bool:
    return state.extras["error"] < rho

  # Scoring.

  def scores_of(x, refined, of_refined, of_x):
    squares = (x - refined) ** 2
    parts = {
      "refined": -of_refined,
      "plain": -of_x,
      "error": squares.mean((1, 2, 3)),
    }
    pixels, image = squares.mean(-1), pictured(refined, mean, std)
    return Scores(parts[score], pixels, parts, reconstruction=image)

  def score_fn(state: State, x, keys) -> Scores:
    del keys
    x = standardize(x, mean, std)
    apply = lambda name, statistics, x: apply_eval(
      networks[name], state.params[name], state.collections[statistics], x
    )
    refined = apply("refiner", "refiner", x)
    of_refined = apply("discriminator", "on_refined", refined)
    return scores_of(
      x, refined, of_refined, apply("discriminator", "on_real", x)
    )

  def official_score(state: State, x, keys):
    del keys
    x = standardize(x, mean, std)
    by_batch = lambda name, x: run(name, state.params, x)[0]
    refined = by_batch("refiner", x)
    of_refined, of_x = (by_batch("discriminator", v) for v in (refined, x))
    return scores_of(x, refined, of_refined, of_x), state

  phase = Phase(
    "gan", step, draw, full_batches=True, stop=stop if rho else None
  )
  return Detector(init, (phase,), score_fn, official=Official(official_score))
