# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""OCGAN: an auto-encoder whose whole latent space decodes to normal images.

Perera, Nallapati and Xiang, "OCGAN: One-Class Novelty Detection Using GANs With
Constrained Latent Representations", CVPR 2019 (arXiv 1903.08550). Official
code: github.com/PramuPerera/OCGAN.

A denoising auto-encoder De(En(x + n)) is trained on one class. Its codes are
bounded; a latent discriminator D_l pushes them towards the uniform distribution
on (-1, 1)^d, so that no corner of the cube is left to other classes; a visual
discriminator D_v makes random latents decode to images of the class; and
informative-negative mining searches, against a weak classifier C, for latents
that still decode to something else. The score is the reconstruction error.

              paper (default)               released (the official step)
  code        tanh                          leaky ReLU
  D_l         one logit                     16 sigmoids, taken as logits
  L_G         adversarial terms             10 x that of D_l, that of D_v
              + lam mean (x - x_hat)^2      + lam / 2 mean (x - x_hat)^2
  noise n     new in each step, var. 0.2    once for each image, std. 0.02
  order       C; D_l, D_v; mining; En, De   mining; D_l, D_v; C; En, De
  mining      `mining_steps` on atanh(l_2)  one step
  statistics  De keeps those of             MXNet's, of every pass that is
              reconstructions               differentiated

Both mine by descent to the classifier's "generated", as the paper's text and
the code have it; its printed algorithm has the other label.
"""

import functools
from typing import Annotated, Literal

import jax
import jax.numpy as jnp

from jaxad.detector import Batch, Detector, Phase, Scores, State
from jaxad.fields import (
  Count,
  DropoutRate,
  Epsilon,
  LearningRate,
  Momentum,
  Positive,
  Range,
  Share,
  Weight,
  checked,
)
from jaxad.layers.batch_norm import running_average
from jaxad.layers.images import (
  check_square,
  image_noise,
  pictured,
  standardize,
)
from jaxad.losses import binary_cross_entropy as bce
from jaxad.networks.dcgan import EPSILON, SLOPE
from jaxad.networks.ocgan import DROPOUT_AFTER, feature_sides, make_networks
from jaxad.networks.variables import apply_eval, apply_train, initialize
from jaxad.optim import Game, adam_hat, adam_l2


def novelty(networks: dict, state: State, x, noisy) -> Scores:
  """The four outputs that the authors compare, higher = more novel.

  Args:
    networks: from `make_networks`.
    state: of the detector.
    x: [B, S, S, C] images in [-1, 1].
    noisy: the images that are reconstructed; x where no noise is wanted.
  """
  run = lambda name, *args: apply_eval(
    networks[name], state.params[name], state.collections[name], *args
  )
  reconstruct = lambda x: run("decoder", run("encoder", x), None)
  judge = lambda x: -run("visual", x).mean((1, 2, 3))
  x_hat = reconstruct(noisy)
  error = (x_hat - x) ** 2
  parts = {
    "reconstruction": error.mean((1, 2, 3)),
    "visual_reconstruction": judge(x_hat),
    "visual_image": judge(noisy),
    "visual_clean_reconstruction": judge(reconstruct(x)),
  }
  pixels, image = error.mean(-1), pictured(x_hat)
  return Scores(parts["reconstruction"], pixels, parts, reconstruction=image)


@checked
def ocgan(
  *,
  variant: Literal["paper", "released"] = "paper",
  depth: Annotated[int, Range(1, 8)] = 3,
  depth_d: Annotated[int, Range(1, 8)] | None = None,
  latent_dim: Count = 16,
  width: Count = 64,
  width_d: Count = 8,
  lam: Weight | None = None,
  mse_factor: Weight | None = None,
  latent_weight: Weight | None = None,
  noise_std: Weight | None = None,
  test_noise: bool = False,
  mining_steps: Count | None = None,
  mining_rate: Positive = 2.0,
  dropout: DropoutRate = 0.5,
  warm_up: Share = 0.75,
  learning_rate: LearningRate = 2e-4,
  b1: Momentum = 0.5,
  b2: Momentum = 0.999,
  eps: Epsilon = 1e-8,
  slope: Share = SLOPE,
  norm_momentum: Momentum | None = None,
  norm_epsilon: Epsilon = EPSILON,
) -> Detector:
  """Makes an OCGAN detector.

  It takes images [B, S, S, C], uint8 or float in [0, 1]; S is 61 for depth 3,
  29 for depth 2, see `feature_sides`.

  Args:
    variant: the training step of the "paper", or the authors' "released" one.
    depth: convolutions of En and De before their last one.
    depth_d: the same of D_v and C; None is `depth`. The official code has 3.
    latent_dim: channels of the code.
    width: channels of the first convolution of En and C, of the last of De.
    width_d: the same of D_v.
    lam: lambda, the weight of the reconstruction; None is 10, released 500.
    mse_factor: of the mean squared error in it; None is 1, released 0.5.
    latent_weight: of D_l's term in L_G; None is 1, released 10.
    noise_std: deviation of the Gaussian noise on the input, whose pixels are
      in [-1, 1]; None is sqrt(0.2), released 0.02.
    test_noise: whether scores see noisy images too, as the authors' do.
    mining_steps: gradient steps of a search; None is 5, released 1.
    mining_rate: their length.
    dropout: part of De's third map that is dropped.
    warm_up: part of the training before mining begins; 1 does without.
    learning_rate: of all players' Adam.
    b1: Adam's decay of the first moment.
    b2: Adam's decay of the second moment.
    eps: Adam's epsilon.
    slope: of leaky ReLU.
    norm_momentum: of all running statistics; None is 0.9, released 0.1.
    norm_epsilon: of all norms.

  Returns:
    A `Detector` with the phases "warm-up" and "mining". `Scores.map` is the
    squared error of the reconstruction, `parts` the four outputs that the
    authors compare.

  Raises:
    InputError: a value out of range; from `init`, images of a wrong size.
  """
  paper = variant == "paper"
  given = lambda value, otherwise: otherwise if value is None else value
  lam = given(lam, 10.0 if paper else 500.0)
  mse_factor = given(mse_factor, 1.0 if paper else 0.5)
  latent_weight = given(latent_weight, 1.0 if paper else 10.0)
  noise_std = given(noise_std, 0.2**0.5 if paper else 0.02)
  mining_steps = given(mining_steps, 5 if paper else 1)
  adam = adam_l2 if paper else adam_hat
  players = ("encoder", "decoder", "visual", "latent", "classifier")
  game = Game(**{name: adam(learning_rate, b1, b2, eps) for name in players})
  momentum = given(norm_momentum, 0.9 if paper else 0.1)

  def networks(channels):
    sizes = (depth, latent_dim, width, width_d)
    how = (depth_d, dropout, slope, norm_epsilon)
    return make_networks(*sizes, paper, channels, *how)

  def init(key, batch: Batch, plan=None) -> State:
    check_square(batch["x"].shape)
    x = standardize(batch["x"][:1])
    z, nets = jnp.zeros(latent_shape(x), x.dtype), networks(x.shape[-1])
    params_key, state_key = jax.random.split(key)
    inputs = dict.fromkeys(players, (x,))
    inputs |= {"decoder": (z, None), "latent": (z,)}
    params, collections = initialize(
      params_key, {name: (nets[name], *inputs[name]) for name in players}
    )
    if not paper:  # a naming rule of the code zeroes the running variances too
      collections = jax.tree.map(jnp.zeros_like, collections)
    opt_state = game.init(params)
    return State.new(state_key, params, collections, opt_state, plan)

  def latent_shape(x):
    side = feature_sides(x.shape[1], depth)[-1]
    return (x.shape[0], side, side, latent_dim)

  # Training. `run(name, params, ...)` applies a network in training mode and
  # gives its output and the statistics of the batch. Images and codes that come
  # as arguments are constants.

  def classifier_loss(run, params, generated, reconstructed):
    negative, on_generated = run("classifier", params, generated)
    positive, on_reconstructed = run("classifier", params, reconstructed)
    terms = {"c_generated": bce(negative, 0), "c_real": bce(positive, 1)}
    return sum(terms.values()) / 2, (terms, (on_generated, on_reconstructed))

  def discriminator_loss(run, params, generated, x, code, uniform):
    fake, on_generated = run("visual", params, generated)
    real, on_real = run("visual", params, x)
    terms = {
      "visual_generated": bce(fake, 0),
      "visual_real": bce(real, 1),
      "latent_code": bce(run("latent", params, code)[0], 0),
      "latent_uniform": bce(run("latent", params, uniform)[0], 1),
    }
    return sum(terms.values()) / 2, (terms, (on_generated, on_real))

  def generator_loss(run, params, x, noisy, latent, keep):
    code, on_images = run("encoder", params, noisy)
    generated, on_latents = run("decoder", params, latent, keep["latent"])
    x_hat, on_codes = run("decoder", params, code, keep["code"])
    visual, on_generated = run("visual", params, generated)
    terms = {
      "reconstruction": mse_factor * ((x - x_hat) ** 2).mean(),
      "adversarial_visual": bce(visual, 1),
      "adversarial_latent": bce(run("latent", params, code)[0], 1),
    }
    loss = (
      lam * terms["reconstruction"]
      + terms["adversarial_visual"]
      + latent_weight * terms["adversarial_latent"]
    )
    stats = (on_images, on_codes, on_latents, on_generated)
    return loss, (terms | {"loss": loss}, stats)

  def mine(run, params, mu, keep):
    """Moves tanh(mu) to where C takes De(tanh(mu)) for generated."""

    def loss_fn(mu, keep):
      image, on_latents = run("decoder", params, jnp.tanh(mu), keep)
      logit, on_generated = run("classifier", params, image)
      # Each latent has a gradient of its own: no mean over the batch.
      return len(mu) * bce(logit, 0), (on_latents, on_generated)

    passes = []
    for k in range(mining_steps):
      mask = None if keep is None else keep[k]
      gradient, stats = jax.grad(loss_fn, has_aux=True)(mu, mask)
      mu = mu - mining_rate * gradient
      passes.append(stats)
    return mu, tuple(zip(*passes, strict=True))

  def draw(key, batch: Batch):
    x, shape = batch["x"], latent_shape(batch["x"])
    noise_key, keep_key, *keys = jax.random.split(key, 5)
    uniform = lambda key: jax.random.uniform(key, shape, minval=-1.0)
    noise = jax.random.normal(noise_key, x.shape) if paper else image_noise(x)
    return {
      "noise": noise_std * noise,
      "eps": uniform(keys[0]),
      "uniform": uniform(keys[1]),
      "mu": uniform(keys[2]),
      "keep": dropout_masks(keep_key, x.shape),
    }

  def dropout_masks(key, shape):
    """0 and 1, for the decoder's pass in each loss; one a step of mining."""
    names = ("discriminator", "classifier", "latent", "code")
    if depth <= DROPOUT_AFTER:
      return dict.fromkeys((*names, "mining"))
    side = feature_sides(shape[1], depth)[depth - DROPOUT_AFTER]
    channels = width * 2 ** (depth - 1 - DROPOUT_AFTER)
    drawn = jax.random.bernoulli(
      key,
      1 - dropout,
      (len(names) + mining_steps, shape[0], side, side, channels),
    ).astype(jnp.float32)
    masks = dict(zip(names, drawn, strict=False))
    return masks | {"mining": drawn[len(names) :]}

  def step(state: State, batch: Batch, draws, mining: bool):
    x = standardize(batch["x"])
    noisy, keep = x + draws["noise"], draws["keep"]
    nets = networks(x.shape[-1])
    run = lambda name, params, *args: apply_train(
      nets[name], params[name], *args
    )
    params, opt_state = state.params, state.opt_state
    running = state.collections
    if paper:
      # The discriminators see the latents from which mining starts.
      eps = uniform = draws["eps"]
      mu = jnp.arctanh(eps)
      code, _ = run("encoder", params, noisy)
      x_hat, _ = run("decoder", params, code, keep["code"])
    else:
      eps, uniform, mu = draws["eps"], draws["uniform"], draws["mu"]
      current = lambda name, *args: apply_eval(
        nets[name], state.params[name], running[name], *args
      )
      code = current("encoder", noisy)
      x_hat = current("decoder", code, None)
    # Before its own move at the end, De is the same for all.
    for_d, on_eps_d = run("decoder", params, eps, keep["discriminator"])
    for_c, on_eps_c = run("decoder", params, eps, keep["classifier"])

    c_loss = lambda params: classifier_loss(run, params, for_c, x_hat)
    d_loss = lambda params: discriminator_loss(
      run, params, for_d, x, code, uniform
    )
    moves = {"C": ("classifier", c_loss), "D": (("visual", "latent"), d_loss)}
    terms, stats, mined = {}, {}, ((), ())
    for turn in ("C", "D", "mining") if paper else ("mining", "D", "C"):
      if turn in moves:
        params, opt_state, (found, stats[turn]) = game.move(
          *moves[turn], params, opt_state
        )
        terms |= found
      elif mining:
        mu, mined = mine(run, params, mu, keep["mining"])
    params, opt_state, (found, (on_images, on_codes, on_latents, on_mined)) = (
      game.move(
        ("decoder", "encoder"),
        lambda params: generator_loss(
          run, params, x, noisy, jnp.tanh(mu), keep
        ),
        params,
        opt_state,
      )
    )

    passes = {
      "encoder": (on_images,),
      "decoder": (on_codes,)
      if paper
      else (*mined[0], on_eps_d, on_eps_c, on_codes, on_latents),
      "visual": stats["D"] + (() if paper else (on_mined,)),
      "classifier": (*mined[1], *stats["C"]),
    }
    running = running | {
      name: running_average(running[name], *each, momentum=momentum)
      for name, each in passes.items()
    }
    state = state.replace(
      params=params, opt_state=opt_state, collections=running
    )
    return state, terms | found

  # Scoring.

  def score_fn(state: State, x, keys) -> Scores:
    del keys
    noise = noise_std * image_noise(x) if test_noise else 0.0
    x = standardize(x)
    return novelty(networks(x.shape[-1]), state, x, x + noise)

  phase = lambda name, mining, share: Phase(
    name,
    functools.partial(step, mining=mining),
    draw,
    share=share,
    full_batches=True,
  )
  phases = phase("warm-up", False, warm_up), phase("mining", True, 1 - warm_up)
  return Detector(init, tuple(p for p in phases if p.share > 0), score_fn)
