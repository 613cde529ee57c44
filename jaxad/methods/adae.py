# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""ADAE: two auto-encoders that play against each other.

Vu, Ueta, Hashimoto, Maeno, Pranata and Shen, "Anomaly Detection with
Adversarial Dual Autoencoders", 2019 (arXiv 1902.06924). There is no official
code.

Generator G and discriminator D are auto-encoders of one design; what a
classifier says with a logit, D says with its reconstruction error, as in EBGAN.
D learns to reconstruct normal images and not what G makes of them, G to
reconstruct images such that D can go on with the result:

  L_D = |x - D(x)| - lambda_d |G(x) - D(G(x))|     G(x) a constant
  L_G = |x - G(x)| + lambda_g |G(x) - D(G(x))|     D a constant

where |.| is the mean absolute difference. D moves first, G against the D that
has moved. The score takes an image through both, so that the error of an
anomaly is made twice: ||x - D(G(x))||, the root of the sum over all pixels.

The paper leaves the layers open: those below are a DCGAN's without dense layers
or pooling, with its code lengths (32 for MNIST, 128 for CIFAR-10). Its learning
rate of 1e-5 hardly trains a small network; ours is 1e-4. It balances the rates
of G and D by a sigmoid that is not published, and not here.
"""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxad.detector import Batch, Detector, Phase, Scores, State
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
from jaxad.networks.dcgan import (
  EPSILON,
  SLOPE,
  batch_norm,
  check_images,
  conv,
  conv_transpose,
)
from jaxad.networks.variables import apply_eval, apply_train, initialize
from jaxad.optim import Game, adam_l2


class AutoEncoder(nn.Module):
  """Images to 4x4 pixels, to a code, and back.

  Attributes:
    latent_dim: length of the code.
    width: channels of the first convolution; level i has i times as many, every
      map on the way back has as many, and the last one half.
    slope: of the encoder's leaky ReLU; the decoder has ReLU.
    epsilon: of the norms.
  """

  latent_dim: int
  width: int
  slope: float = SLOPE
  epsilon: float = EPSILON

  @nn.compact
  def __call__(self, x, train: bool):
    """[B, S, S, C] to (x_hat like x in (-1, 1), code [B, latent_dim])."""
    channels, levels = x.shape[-1], (x.shape[1] // 4).bit_length() - 1
    norm = lambda name, x: batch_norm(self.epsilon, name)(x, train)
    act = lambda x: nn.leaky_relu(x, self.slope)
    for k in range(levels):
      x = conv((k + 1) * self.width, 3, name=f"down_conv_{k}")(x)
      x = act(norm(f"down_norm_{k}", x))
    x = conv(self.width, 4, 1, 0, name=f"down_conv_{levels}")(x)
    x = act(norm(f"down_norm_{levels}", x))
    code = conv(self.latent_dim, 1, 1, 0, use_bias=True, name="code")(x)
    x = conv_transpose(self.width, 4, 1, 0, name="up_conv_0")(code)
    x = nn.relu(norm("up_norm_0", x))
    for k in range(1, levels + 1):
      width = self.width if k < levels else max(self.width // 2, 1)
      # PyTorch's padding and output padding of 1: the side doubles.
      padding = ((1, 0), (1, 0))
      x = conv_transpose(width, 3, 2, padding, name=f"up_conv_{k}")(x)
      x = nn.relu(norm(f"up_norm_{k}", x))
    x = conv(channels, 3, 1, 1, use_bias=True, name="conv_out")(x)
    return nn.tanh(x), code.reshape(code.shape[0], -1)


@checked
def adae(
  *,
  latent_dim: Count = 32,
  width: Count = 16,
  lambda_d: Weight = 1.0,
  lambda_g: Weight = 1.0,
  score: Literal["discriminator", "generator"] = "discriminator",
  learning_rate: LearningRate = 1e-4,
  b1: Momentum = 0.5,
  b2: Momentum = 0.999,
  eps: Epsilon = 1e-8,
  slope: Share = SLOPE,
  norm_momentum: Momentum = 0.9,
  norm_epsilon: Epsilon = EPSILON,
) -> Detector:
  """Makes an ADAE detector.

  It takes images [B, S, S, C], S a power of two and at least 8; uint8, or float
  in [0, 1].

  Args:
    latent_dim: length of the codes.
    width: channels of the first convolution.
    lambda_d: weight of the generated images in L_D.
    lambda_g: weight of the adversarial term in L_G.
    score: "discriminator" is ||x - D(G(x))||, "generator" is ||x - G(x)||, both
      of pixels in [-1, 1].
    learning_rate: of both players' Adam.
    b1: Adam's decay of the first moment.
    b2: Adam's decay of the second moment.
    eps: Adam's epsilon.
    slope: of leaky ReLU.
    norm_momentum: weight of the old running statistics of all norms.
    norm_epsilon: of all norms.

  Returns:
    A `Detector` with one phase, "gan". `Scores.parts` are both scores,
    `Scores.map` is the mean over the channels of (x - D(G(x)))^2.

  Raises:
    InputError: a value out of range; from `init`, images of a wrong size.
  """
  network = AutoEncoder(latent_dim, width, slope, norm_epsilon)
  players = ("generator", "discriminator")
  game = Game(**{name: adam_l2(learning_rate, b1, b2, eps) for name in players})

  def init(key, batch: Batch, plan=None) -> State:
    x = standardize(batch["x"][:1])
    check_images(x.shape, smallest=8)
    params_key, state_key = jax.random.split(key)
    params, collections = initialize(
      params_key, {name: (network, x) for name in players}
    )
    opt_state = game.init(params)
    return State.new(state_key, params, collections, opt_state, plan)

  # Training.

  def run(name, params, x):
    """An image's reconstruction, and the statistics of the batch."""
    (x_hat, _), stats = apply_train(network, params[name], x)
    return x_hat, stats

  distance = lambda a, b: jnp.abs(a - b).mean()

  def discriminator_loss(params, x):
    g_x = jax.lax.stop_gradient(run("generator", params, x)[0])
    d_x, on_real = run("discriminator", params, x)
    d_g_x, on_generated = run("discriminator", params, g_x)
    terms = {"d_real": distance(x, d_x), "d_generated": distance(g_x, d_g_x)}
    loss = terms["d_real"] - lambda_d * terms["d_generated"]
    return loss, (terms | {"d_loss": loss}, on_real, on_generated)

  def generator_loss(params, x):
    g_x, stats = run("generator", params, x)
    # The gradient reaches G through both sides of the difference.
    d_g_x, on_generated = run("discriminator", params, g_x)
    terms = {
      "contextual": distance(x, g_x),
      "adversarial": distance(g_x, d_g_x),
    }
    loss = terms["contextual"] + lambda_g * terms["adversarial"]
    return loss, (terms | {"loss": loss}, stats, on_generated)

  def step(state: State, batch: Batch, draws):
    del draws
    x = standardize(batch["x"])
    params, opt_state, (d_terms, *d_passes) = game.move(
      "discriminator",
      lambda params: discriminator_loss(params, x),
      state.params,
      state.opt_state,
    )
    params, opt_state, (g_terms, stats, on_generated) = game.move(
      "generator", lambda params: generator_loss(params, x), params, opt_state
    )
    passes = {
      "generator": (stats,),
      "discriminator": (*d_passes, on_generated),
    }
    running = {
      name: running_average(
        state.collections[name], *each, momentum=norm_momentum
      )
      for name, each in passes.items()
    }
    state = state.replace(
      params=params, opt_state=opt_state, collections=running
    )
    return state, g_terms | d_terms

  # Scoring.

  def score_fn(state: State, x, keys) -> Scores:
    del keys
    x = standardize(x)
    apply = lambda name, x: apply_eval(
      network, state.params[name], state.collections[name], x
    )[0]
    g_x = apply("generator", x)
    x_hat = apply("discriminator", g_x)
    squares = (x - x_hat) ** 2
    norm = lambda squares: jnp.sqrt(squares.sum((1, 2, 3)))
    parts = {
      "discriminator": norm(squares),
      "generator": norm((x - g_x) ** 2),
    }
    pixels, image = squares.mean(-1), pictured(x_hat)
    return Scores(parts[score], pixels, parts, reconstruction=image)

  phase = Phase("gan", step, full_batches=True)
  return Detector(init, (phase,), score_fn)
