# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Constrained AAE: a reconstruction of normal images that leaves lesions out.

Chen and Konukoglu, "Unsupervised Detection of Lesions in Brain MRI using
constrained adversarial auto-encoders", MIDL 2018 (arXiv 1806.04972). Official
code: github.com/aubreychen9012/cAAE.

Encoder E and decoder D reconstruct x as x' = D(E(x)); a critic C on the codes
makes those of normal images a sample of N(0, I) (a Wasserstein GAN with a
gradient penalty), and a constraint ties the code of a reconstruction to that of
its image, so that an image with a lesion lies near its healthy counterpart:

    L_AE = E ||x' - x|| + lambda_z E ||E(x) - E(x')||^2          E and D
    L_C  = E C(z_p) - E C(E(x)) + 10 E (|grad C(u)| - 1)^2       C
    L_G  = E C(E(x))                                             E

with z_p ~ N(0, I) and u anywhere between z_p and E(x). A step is one move by
L_AE, `critic_steps` by L_C on the same x and z_p, and one by L_G, by an Adam
each, so that E has two. The map is |x - x'|, the score its norm.

In the code E(x') is taken by running statistics, and whether before or after
they are updated is left to chance; here before (`consistency="released"`). Its
||.|| is a norm (`rec="l2norm"`), in the paper a square. Every run of the
encoder in a step moves its running statistics, critic's moves included. What
does not run in the code is mended: slopes, sizes, running statistics wherever
it validates; its second, unused output of D is left out.
"""

import functools
from typing import Annotated, Literal

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
  Range,
  Share,
  Weight,
  checked,
)
from jaxad.layers.batch_norm import running_average
from jaxad.layers.images import pictured, standardize
from jaxad.losses import critic_loss
from jaxad.networks.mlp import MLP
from jaxad.networks.residual import Decoder, Encoder, check_size
from jaxad.networks.variables import apply_eval, apply_train, initialize
from jaxad.optim import Game, adam_hat

# How the critic starts.
critic_init = nn.initializers.normal(0.01)


@checked
def caae(
  *,
  latent_dim: Count = 128,
  width: Annotated[int, Range(2, 2**10)] = 16,
  blocks: Annotated[int, Range(1, 8)] = 4,
  critic_widths: tuple[Count, ...] = (200, 400),
  critic_steps: Annotated[int, Range(1, 1000)] = 20,
  warm_up: Share = 1 / 15,
  warm_up_factor: Annotated[int, Range(1, 100)] = 10,
  fresh_prior: bool = False,
  gp_weight: Weight = 10.0,
  lambda_z: Weight = 0.5,
  consistency: Literal["released", "train"] = "released",
  rec: Literal["l2norm", "mse"] = "l2norm",
  rec_eps: Epsilon = 1e-8,
  score: Literal["l2", "l1"] = "l2",
  learning_rate: LearningRate = 2e-5,
  learning_rate_prior: LearningRate | None = None,
  b1: Momentum = 0.5,
  b2: Momentum = 0.9,
  eps: Epsilon = 1e-8,
  slope: Share = 0.2,
  norm_momentum: Momentum = 0.9,
  norm_epsilon: Epsilon = 1e-5,
) -> Detector:
  """Makes a constrained AAE; the defaults are the official code's.

  It takes images [B, H, W, C] whose sides the blocks halve evenly; uint8, or
  float in [0, 1]. The networks see them in [-1, 1].

  Args:
    latent_dim: length of the codes.
    width: channels at full size, even; they double with each block.
    blocks: how often the image is halved.
    critic_widths: of the critic's hidden layers.
    critic_steps: moves of the critic in a step.
    warm_up: part of the epochs in which it moves more often; official, 20 of
      300.
    warm_up_factor: so many times as often.
    fresh_prior: whether each of its moves draws its own z_p.
    gp_weight: of the gradient penalty.
    lambda_z: weight of the latent consistency.
    consistency: E(x') by running statistics, "released", or by those of its
      batch, "train"; in neither do these count among the running ones.
    rec: the error in L_AE: "l2norm", the mean of the norms of images, or "mse",
      the mean square over all pixels.
    rec_eps: added to the squared norm below its root.
    score: norm of x - x' in pixels of [-1, 1].
    learning_rate: of all three Adams.
    learning_rate_prior: of E's second, if otherwise; lower where few steps must
      do, as Adam makes steps of one length however little L_G matters.
    b1: Adam's decay of the first moment.
    b2: Adam's decay of the second moment.
    eps: Adam's epsilon, as TensorFlow has it.
    slope: of leaky ReLU.
    norm_momentum: weight of the old running statistics of all norms.
    norm_epsilon: of all norms.

  Returns:
    A `Detector` with the phases "warm-up" and "training", which differ in the
    moves of the critic. `Scores.map` is the mean over the channels of |x - x'|.

  Raises:
    InputError: a value out of range, or a width that is odd; from `init`,
      images of a size that the blocks do not halve.
  """
  if width % 2:
    raise InputError(
      f"width={width}: expected an even number, as the last block halves it.",
      "width",
    )
  layers = (width, blocks, slope, norm_epsilon)
  encoder = Encoder(latent_dim, *layers)
  critic = MLP(critic_widths, 1, slope, kernel_init=critic_init)
  adam = adam_hat(learning_rate, b1, b2, eps)
  rate = learning_rate if learning_rate_prior is None else learning_rate_prior
  # An encoder that moves in two games has two Adams.
  games = {
    "autoencoder": Game(encoder=adam, decoder=adam),
    "critic": Game(critic=adam),
    "prior": Game(encoder=adam_hat(rate, b1, b2, eps)),
  }

  fold = functools.partial(running_average, momentum=norm_momentum)

  def decoder_of(x):
    return Decoder(x.shape[1:], *layers)

  def init(key, batch: Batch, plan=None) -> State:
    x = standardize(batch["x"][:1])
    check_size(x.shape, blocks)
    z = jnp.zeros((1, latent_dim), x.dtype)
    params_key, state_key = jax.random.split(key)
    params, collections = initialize(
      params_key,
      {
        "encoder": (encoder, x),
        "decoder": (decoder_of(x), z),
        "critic": (critic, z),
      },
    )
    opt_state = {name: game.init(params) for name, game in games.items()}
    return State.new(state_key, params, collections, opt_state, plan)

  # Training.

  def encode(params, x):
    """Codes of images, and the statistics of the batch."""
    return apply_train(encoder, params["encoder"], x)

  def criticize(params, z):
    return apply_eval(critic, params["critic"], {}, z)[0][:, 0]

  def autoencoder_loss(params, running, x):
    z, of_encoder = encode(params, x)
    x_hat, of_decoder = apply_train(decoder_of(x), params["decoder"], z)
    if consistency == "released":
      z_hat = apply_eval(encoder, params["encoder"], running, x_hat)
    else:
      z_hat, _ = encode(params, x_hat)
    squares = (x_hat - x) ** 2
    if rec == "l2norm":
      error = jnp.sqrt(squares.sum((1, 2, 3)) + rec_eps).mean()
    else:
      error = squares.mean()
    distance = ((z - z_hat) ** 2).sum(1).mean()
    loss = error + lambda_z * distance
    terms = {"loss": loss, "reconstruction": error, "consistency": distance}
    return loss, (terms, of_encoder, of_decoder)

  def draw(n, key, batch: Batch):
    rows = len(batch["x"])
    z_key, alpha_key = jax.random.split(key)
    shape = (n if fresh_prior else 1, rows, latent_dim)
    return {
      "z": jax.random.normal(z_key, shape),
      "alpha": jax.random.uniform(alpha_key, (n, rows)),
    }

  def step(state: State, batch: Batch, draws):
    x, running = standardize(batch["x"]), state.collections
    z_p, alpha = draws["z"], draws["alpha"]
    z_p = jnp.broadcast_to(z_p, (len(alpha), *z_p.shape[1:]))
    opt_state = dict(state.opt_state)
    names = ("encoder", "decoder")

    params, opt_state["autoencoder"], (terms, *passes) = games[
      "autoencoder"
    ].move(
      names,
      lambda params: autoencoder_loss(params, running["encoder"], x),
      state.params,
      opt_state["autoencoder"],
    )
    running = {
      name: fold(running[name], of_pass)
      for name, of_pass in zip(names, passes, strict=True)
    }

    # The encoder stands still while the critic moves.
    z, pull_back, of_pass = jax.vjp(
      lambda params: encode({"encoder": params}, x),
      params["encoder"],
      has_aux=True,
    )

    def move_critic(at, draws):
      *at, terms = games["critic"].move(
        "critic",
        lambda params: critic_loss(
          lambda z: criticize(params, z), z, *draws, gp_weight
        ),
        *at,
      )
      return tuple(at), terms

    (params, opt_state["critic"]), of_critic = jax.lax.scan(
      move_critic, (params, opt_state["critic"]), (z_p, alpha)
    )
    prior, by_z = jax.value_and_grad(lambda z: criticize(params, z).mean())(z)
    (gradient,) = pull_back(by_z)
    params, opt_state["prior"] = games["prior"].apply(
      {"encoder": gradient}, params, opt_state["prior"]
    )
    # Each of these moves counts the statistics of that pass.
    running["encoder"] = running_average(
      running["encoder"], of_pass, momentum=norm_momentum ** (len(alpha) + 1)
    )

    means = {name: values.mean() for name, values in of_critic.items()}
    means["critic"] = means.pop("loss")
    state = state.replace(
      params=params,
      opt_state=opt_state,
      collections=state.collections | running,
    )
    return state, terms | means | {"prior": prior}

  # Scoring.

  def score_fn(state: State, x, keys) -> Scores:
    del keys
    x = standardize(x)
    apply = lambda name, module, v: apply_eval(
      module, state.params[name], state.collections[name], v
    )
    x_hat = apply("decoder", decoder_of(x), apply("encoder", encoder, x))
    residual = jnp.abs(x - x_hat)
    parts = {
      "l2": jnp.sqrt((residual**2).sum((1, 2, 3))),
      "l1": residual.sum((1, 2, 3)),
    }
    pixels, image = residual.mean(-1), pictured(x_hat)
    return Scores(parts[score], pixels, parts, reconstruction=image)

  def phase(name, n, share):
    return Phase(
      name, step, functools.partial(draw, n), share=share, full_batches=True
    )

  phases = (
    phase("warm-up", warm_up_factor * critic_steps, warm_up),
    phase("training", critic_steps, 1 - warm_up),
  )
  return Detector(init, tuple(p for p in phases if p.share > 0), score_fn)
