# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""EGBAD: AnoGAN with an encoder in place of its search.

Zenati, Foo, Lecouat, Manek and Chandrasekhar, "Efficient GAN-Based Anomaly
Detection", arXiv 1802.06222. Official code:
github.com/houssamzenati/Efficient-GAN-Anomaly-Detection, folder bigan/.

A BiGAN (Donahue et al., ICLR 2017, arXiv 1605.09782): the discriminator D sees
pairs of an image, or a row of a table, and a code, and tells those (x, E(x)) of
the encoder from those (G(z), z) of the generator,

    L_D = BCE(D(x, E(x)), 1) + BCE(D(G(z), z), 0)
    L_G = BCE(D(G(z), z), 1)
    L_E = BCE(D(x, E(x)), 0).

Where they cannot be told apart, E inverts G. With x_hat = G(E(x)) the score is

    A(x) = (1 - weight) |x - x_hat| + weight d(x)

    fm             d = |f(x, E(x)) - f(x_hat, E(x))|, f the features of D
    cross_e        d = BCE(D(x_hat, E(x)), 1), as the code has it
    cross_e_paper  d = BCE(D(x, E(x)), 1), as the paper has it.

One more point is of the code alone: on images G(E(x)), although no loss sees
it, counts in the running statistics of G (`count_reconstructions`).
"""

from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxad.detector import Batch, Detector, Phase, Scores, State, Stream
from jaxad.errors import InputError
from jaxad.fields import (
  Count,
  DropoutRate,
  Epsilon,
  LearningRate,
  Momentum,
  Share,
  checked,
)
from jaxad.layers.batch_norm import running_average
from jaxad.layers.dropout import draw_masks
from jaxad.layers.images import pictured, standardize
from jaxad.losses import binary_cross_entropy as bce
from jaxad.losses import norm
from jaxad.networks.efficient_gan import (
  EPSILON,
  MOMENTUM,
  SLOPE,
  Encoder,
  Generator,
  PairDiscriminator,
  check_images,
)
from jaxad.networks.mlp import MLP
from jaxad.networks.variables import apply_eval, apply_train, initialize
from jaxad.optim import Game, adam_hat


class Dense(MLP):
  """An `MLP` without its features: the encoder and generator of rows."""

  def __call__(self, x, train: bool):
    """[B, D] to [B, out]."""
    return super().__call__(x, train)[0]


class Widths(NamedTuple):
  """Of the layers of all networks, and the dropout."""

  encoder: tuple[int, ...]
  generator: tuple[int, ...]
  discriminator: tuple[int, ...]
  code: int
  joint: int
  dropout: float


# Of the code: those for MNIST, and those for KDD99.
OF_IMAGES = Widths((32, 64, 128), (1024, 128, 64), (64, 64), 512, 1024, 0.5)
OF_ROWS = Widths((64,), (64, 128), (128,), 128, 128, 0.2)


def make_networks(x, latent_dim, widths: Widths, slope, epsilon) -> dict:
  """E, G and D by name, for images or rows like x."""
  of_layers = (slope, epsilon)
  if x.ndim == 4:
    side, channels = x.shape[2:]
    encoder = Encoder(latent_dim, widths.encoder, *of_layers)
    generator = Generator(side, channels, widths.generator, epsilon)
  else:
    encoder = Dense(widths.encoder, latent_dim, slope)
    generator = Dense(widths.generator, x.shape[1])
  discriminator = PairDiscriminator(*widths[2:], *of_layers)
  return {
    "encoder": encoder,
    "generator": generator,
    "discriminator": discriminator,
  }


@checked
def egbad(
  *,
  latent_dim: Count = 200,
  encoder_widths: tuple[Count, ...] | None = None,
  generator_widths: tuple[Count, ...] | None = None,
  discriminator_widths: tuple[Count, ...] | None = None,
  code_width: Count | None = None,
  joint_width: Count | None = None,
  dropout: DropoutRate | None = None,
  count_reconstructions: bool = True,
  score: Literal["fm", "cross_e", "cross_e_paper"] = "fm",
  degree: Literal[1, 2] = 1,
  weight: Share = 0.1,
  ema_decay: Momentum = 0.999,
  learning_rate: LearningRate = 1e-5,
  b1: Momentum = 0.5,
  b2: Momentum = 0.999,
  eps: Epsilon = 1e-8,
  slope: Share = SLOPE,
  norm_momentum: Momentum = MOMENTUM,
  norm_epsilon: Epsilon = EPSILON,
) -> Detector:
  """Makes an EGBAD detector.

  It takes images [B, S, S, C], S a multiple of 4, uint8 or float in [0, 1]; or
  rows of tables [B, D], float, as they are. Where a width is None it is that of
  the code: the first one for images, the second one for rows.

  Args:
    latent_dim: length of the codes. For rows the code has 32.
    encoder_widths: of E's convolutions, (32, 64, 128), or of its hidden layers,
      (64,).
    generator_widths: of G's first dense layer and of its maps at S / 4 and
      S / 2, (1024, 128, 64), or of its hidden layers, (64, 128).
    discriminator_widths: of D's layers for x alone: of two convolutions,
      (64, 64), or of dense layers, (128,).
    code_width: of D's layer for z alone; 512 or 128.
    joint_width: of D's features, of both; 1024 or 128.
    dropout: part of D's layers that is left out in training; 0.5 or 0.2.
    count_reconstructions: whether the statistics of G, on images, are also
      those of G(E(x)).
    score: its second term: "fm", the distance of D's features; "cross_e", what
      D makes of the reconstruction; "cross_e_paper", of the example itself.
    degree: 1 for L1 norms in the score, 2 for L2.
    weight: of the second term of the score; the paper's 1 - alpha.
    ema_decay: weight of the old averages of all weights, which scores take.
    learning_rate: of all three Adams.
    b1: Adam's decay of the first moment.
    b2: Adam's decay of the second moment.
    eps: Adam's epsilon.
    slope: of leaky ReLU.
    norm_momentum: weight of the old running statistics of all norms.
    norm_epsilon: of all norms.

  Returns:
    A `Detector` with one phase, "gan". `Scores.map` is |x - x_hat| of images;
    `parts` are all terms that a score may have.

  Raises:
    InputError: a value out of range; from `init`, x of a wrong shape, or widths
      that do not fit it.
  """
  game = Game(
    **{
      name: adam_hat(learning_rate, b1, b2, eps)
      for name in ("encoder", "generator", "discriminator")
    }
  )
  given = {
    "encoder": encoder_widths,
    "generator": generator_widths,
    "discriminator": discriminator_widths,
    "code": code_width,
    "joint": joint_width,
    "dropout": dropout,
  }
  given = {name: value for name, value in given.items() if value is not None}

  def widths_for(x) -> Widths:
    return (OF_IMAGES if x.ndim == 4 else OF_ROWS)._replace(**given)

  def networks(x):
    return make_networks(x, latent_dim, widths_for(x), slope, norm_epsilon)

  def prepared(x):
    return standardize(x) if x.ndim == 4 else jnp.asarray(x)

  def check(x):
    if x.ndim == 2:
      return
    check_images(x.shape)
    for name in ("encoder", "generator", "discriminator"):
      known, found = (getattr(w, name) for w in (OF_IMAGES, widths_for(x)))
      if len(found) != len(known):
        raise InputError(
          f"{name}_widths={found}: expected {len(known)} for images, such as "
          f"{known}.",
          f"{name}_widths",
        )

  def init(key, batch: Batch, plan=None) -> State:
    check(batch["x"])
    x = prepared(batch["x"][:1])
    z, nets = jnp.zeros((1, latent_dim), x.dtype), networks(x)
    params_key, state_key = jax.random.split(key)
    params, collections = initialize(
      params_key,
      {
        "encoder": (nets["encoder"], x),
        "generator": (nets["generator"], z),
        "discriminator": (nets["discriminator"], x, z),
      },
    )
    opt_state = game.init(params)
    return State.new(
      state_key, params, collections, opt_state, plan, ema=params
    )

  # Training.

  def draw(key, batch: Batch):
    n = len(batch["x"])
    x = jax.ShapeDtypeStruct(batch["x"].shape, jnp.float32)
    z = jax.ShapeDtypeStruct((n, latent_dim), jnp.float32)
    masks = lambda key: draw_masks(
      key, widths_for(x).dropout, networks(x)["discriminator"], x, z
    )
    keys = jax.random.split(key, 6)
    return {
      "z_d": jax.random.normal(keys[0], z.shape),
      "z_g": jax.random.normal(keys[1], z.shape),
      "keep_d": {"encoded": masks(keys[2]), "generated": masks(keys[3])},
      "keep_g": {"encoded": masks(keys[4]), "generated": masks(keys[5])},
    }

  def step(state: State, batch: Batch, draws):
    x, again = prepared(batch["x"]), prepared(batch.get("x_again", batch["x"]))
    nets = networks(x)
    run = lambda name, params, *args, **keywords: apply_train(
      nets[name], params[name], *args, **keywords
    )

    def judge(params, encoded, generated, keep):
      """(logits, statistics) of D for pairs (x, E(x)), and (G(z), z)."""
      (real, _), on_encoded = run(
        "discriminator", params, *encoded, collections=keep["encoded"]
      )
      (fake, _), on_generated = run(
        "discriminator", params, *generated, collections=keep["generated"]
      )
      return real, fake, (on_encoded, on_generated)

    code, _ = run("encoder", state.params, x)
    x_fake, _ = run("generator", state.params, draws["z_d"])

    def d_loss(params):
      real, fake, stats = judge(
        params, (x, code), (x_fake, draws["z_d"]), draws["keep_d"]
      )
      terms = {"d_real": bce(real, 1), "d_fake": bce(fake, 0)}
      loss = terms["d_real"] + terms["d_fake"]
      return loss, (terms | {"loss": loss}, stats)

    def ge_loss(params):
      """L_G + L_E: G is in the first one alone, and E in the second."""
      code, on_x = run("encoder", params, again)
      x_fake, on_z = run("generator", params, draws["z_g"])
      real, fake, _ = judge(
        params, (again, code), (x_fake, draws["z_g"]), draws["keep_g"]
      )
      terms = {"g_loss": bce(fake, 1), "e_loss": bce(real, 0)}
      of_generator = (on_z,)
      if count_reconstructions:
        of_generator += (run("generator", params, code)[1],)
      stats = {"encoder": (on_x,), "generator": of_generator}
      return sum(terms.values()), (terms, stats)

    params, opt_state, (d_terms, on_pairs) = game.move(
      "discriminator", d_loss, state.params, state.opt_state
    )
    params, opt_state, (terms, passes) = game.move(
      ("generator", "encoder"), ge_loss, params, opt_state
    )
    passes["discriminator"] = on_pairs
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
    return state, d_terms | terms

  # Scoring.

  def score_fn(state: State, x, keys) -> Scores:
    del keys
    x = prepared(x)
    nets, averages = networks(x), state.extras["ema"]
    run = lambda name, *args: apply_eval(
      nets[name], averages[name], state.collections[name], *args
    )
    code = run("encoder", x)
    x_hat = run("generator", code)
    logit, f = run("discriminator", x, code)
    logit_hat, f_hat = run("discriminator", x_hat, code)
    parts = {
      "reconstruction": norm(x - x_hat, degree),
      "fm": norm(f - f_hat, degree),
      "cross_e": nn.softplus(-logit_hat[:, 0]),
      "cross_e_paper": nn.softplus(-logit[:, 0]),
    }
    total = (1 - weight) * parts["reconstruction"] + weight * parts[score]
    if x.ndim == 2:
      return Scores(total, None, parts)
    pixels, image = jnp.abs(x - x_hat).mean(-1), pictured(x_hat)
    return Scores(total, pixels, parts, reconstruction=image)

  streams = (Stream(), Stream(name="x_again"))
  phase = Phase("gan", step, draw, streams, full_batches=True)
  return Detector(init, (phase,), score_fn)
