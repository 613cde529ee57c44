# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""ALAD: anomalies come back from their code as something else.

Zenati, Romain, Foo, Lecouat and Chandrasekhar, "Adversarially Learned Anomaly
Detection", ICDM 2018 (arXiv 1812.02288). Official code:
github.com/houssamzenati/Adversarially-Learned-Anomaly-Detection.

A bi-directional GAN: G draws x from codes z ~ N(0, 1), E infers codes of x, and
D_xz tells the pairs (x, E(x)) from (G(z), z). Two more discriminators make the
ways there and back lead home: D_xx tells (x, x) from (x, G(E(x))), D_zz tells
(z, z) from (z, E(G(z))). What was learned of normal data does not bring an
anomaly back, and the last features f of D_xx see it.

    L_xz = BCE(D_xz(x, E(x)), 1) + BCE(D_xz(G(z), z), 0)       likewise xx, zz
    C_xx = BCE(D_xx(x, x), 0) + BCE(D_xx(x, G(E(x))), 1)       likewise zz
    L_G  = BCE(D_xz(G(z), z), 1) + C_xx + C_zz
    L_E  = BCE(D_xz(x, E(x)), 0) + C_xx + C_zz

A step is two runs, each on its own batch, codes and masks of dropout: the three
discriminators, then G and E, both from the same parameters. Scores are made by
a moving average of the parameters:

    fm  |f(x, x) - f(x, G(E(x)))|_1     the paper's "features"
    l1  |x - G(E(x))|_1                 l2  |x - G(E(x))|_2
    ch  BCE(D_xx(x, G(E(x))), 1)        the paper's "logits"

Paper and code differ, and the code is followed: kernels are spectrally
normalised in E and the discriminators but for their last layers, never in G and
never for tables (the paper: everywhere). Where the code is odd, a keyword has
it: five minimisers that share one clock of Adam (`shared_clock`, off), and a
test that moves the vectors of the spectral norm (`moving_u`, in the official
test alone).
"""

from typing import Literal

import jax
import jax.numpy as jnp
import optax

from jaxad.detector import (
  Batch,
  Detector,
  Official,
  Phase,
  Scores,
  State,
  Stream,
)
from jaxad.evaluation.thresholds import above_percentile
from jaxad.fields import (
  Count,
  Epsilon,
  LearningRate,
  Momentum,
  Percentage,
  Share,
  checked,
)
from jaxad.layers.batch_norm import running_average
from jaxad.layers.dropout import draw_masks
from jaxad.layers.images import pictured, standardize
from jaxad.layers.spectral_norm import initial_vectors, spectral_normalize
from jaxad.losses import binary_cross_entropy
from jaxad.networks.alad import IMAGES, KDD, Layers, make_networks
from jaxad.networks.variables import apply_eval, apply_train, initialize
from jaxad.optim import Game, adam_hat

DISCRIMINATORS, PLAYERS = ("xz", "xx", "zz"), ("generator", "encoder")


@checked
def alad(
  *,
  images: Layers = IMAGES,
  tables: Layers = KDD,
  enable_dzz: bool = True,
  score: Literal["fm", "l1", "l2", "ch"] = "fm",
  degree: Count = 1,
  ema_decay: Momentum = 0.999,
  learning_rate: LearningRate = 2e-4,
  b1: Momentum = 0.5,
  b2: Momentum = 0.999,
  eps: Epsilon = 1e-8,
  shared_clock: bool = False,
  slope: Share = 0.2,
  norm_momentum: Momentum = 0.99,
  norm_epsilon: Epsilon = 1e-3,
  sn_iterations: Count = 1,
  sn_epsilon: Epsilon = 1e-12,
  moving_u: bool = True,
  percentile: Percentage = 80.0,
) -> Detector:
  """Makes an ALAD detector; the defaults are the official code's.

  It takes images [B, S, S, C], uint8 or float in [0, 1], and rows of tables
  [B, D] float32, which enter as they are.

  Args:
    images: sizes of the networks for images.
    tables: of those for rows; the default is that of KDD99, another
      `jaxad.networks.alad.ARRHYTHMIA`.
    enable_dzz: whether G and E also play against D_zz.
    score: "fm", the features of D_xx; "l1" or "l2", the distance of x and its
      reconstruction; or "ch", the cross-entropy. `Scores.parts` has all four.
    degree: of the norm in "fm".
    ema_decay: of the moving average of the parameters.
    learning_rate: of every player's Adam; the code takes 1e-5 for tables.
    b1: Adam's decay of the first moment.
    b2: Adam's decay of the second moment.
    eps: Adam's epsilon, of TensorFlow's form.
    shared_clock: whether Adam's bias correction counts the moves of all five
      players, as in the official code, or each player's own.
    slope: of leaky ReLU.
    norm_momentum: weight of the old running statistics of all norms.
    norm_epsilon: of all norms.
    sn_iterations: power iterations of the spectral norm in each run.
    sn_epsilon: of the spectral norm.
    moving_u: whether the official test moves the vectors of the spectral norm,
      as the code does once for each of the four scores of a batch.
    percentile: of the scores of a test, from which on the authors call one
      anomalous; 80 for KDD99, 85 for arrhythmia.

  Returns:
    A `Detector` with one phase, "gan", that reads two streams of normal rows.
    `Scores.map` is |x - G(E(x))| for images, for the eye, and None for rows.

  Raises:
    InputError: a value out of range; from `init`, images that the layers do not
      fit.
  """
  adam = adam_hat(learning_rate, b1, b2, eps, shared_clock)
  game = Game(**dict.fromkeys(DISCRIMINATORS + PLAYERS, adam))

  def layers_of(x):
    return images if x.ndim == 4 else tables

  def networks(x):
    return make_networks(layers_of(x), x.shape, slope, norm_epsilon)

  def prepared(x):
    return standardize(x) if x.ndim == 4 else x

  def normalized(params, u):
    return spectral_normalize(params, u, sn_iterations, sn_epsilon)

  def init(key, batch: Batch, plan=None) -> State:
    x = batch["x"][:1]
    nets, x = networks(x), prepared(x)
    z = jnp.zeros((1, layers_of(x).latent_dim), jnp.float32)
    xx, zz = beside(x, x), beside(z, z)
    inputs = {"xz": (x, z), "xx": (xx,), "zz": (zz,)}
    inputs |= {"encoder": (x,), "generator": (z,)}
    params_key, u_key, state_key = jax.random.split(key, 3)
    params, collections = initialize(
      params_key, {name: (nets[name], *of) for name, of in inputs.items()}
    )
    u = {}
    if layers_of(x).spectral_norm:
      of_u = {name: params[name] for name in ("encoder", *DISCRIMINATORS)}
      u = initial_vectors(u_key, of_u)
    opt_state = game.init(params)
    return State.new(
      state_key, params, collections, opt_state, plan, ema=params, u=u
    )

  # Training. Norms see the statistics of their batch, and return them.

  def two_passes(net, params, args, masks=None):
    """Of arguments [2, B, ...]; norms do not see both at once."""
    one = lambda args, masks: apply_train(net, params, *args, collections=masks)
    (out, _), written = jax.vmap(one)(args, masks)
    return out, [jax.tree.map(lambda v, k=k: v[k], written) for k in (0, 1)]

  def run(nets, params, u, x, draws):
    """The logits of the pairs, [2, B, 1] by discriminator: real, then fake.

    All kernels are normalised by the vectors that the run finds.

    Returns:
      (logits, what the passes of each network wrote, the next vectors).
    """
    params, u = normalized(params, u)
    generate = lambda z: apply_train(nets["generator"], params["generator"], z)
    z, passes = draws["z"], {}
    (fake, _), g_z = generate(z)
    (code, z_hat), passes["encoder"] = two_passes(
      nets["encoder"], params["encoder"], (jnp.stack([x, fake]),)
    )
    (x_hat, _), g_code = generate(code)
    passes["generator"] = (g_z, g_code)
    pairs = {
      "xz": (jnp.stack([x, fake]), jnp.stack([code, z])),
      "xx": (jnp.stack([beside(x, x), beside(x, x_hat)]),),
      "zz": (jnp.stack([beside(z, z), beside(z, z_hat)]),),
    }
    logits = {}
    for name, pair in pairs.items():
      logits[name], passes[name] = two_passes(
        nets[name], params[name], pair, draws["masks"][name]
      )
    return logits, passes, u

  def discriminators_loss(logits):
    """L_xz + L_xx + L_zz: each has the gradient of its own term."""
    terms = {}
    for name, (real, fake) in logits.items():
      terms[f"{name}_real"] = binary_cross_entropy(real, 1)
      terms[f"{name}_fake"] = binary_cross_entropy(fake, 0)
      terms[name] = terms[f"{name}_real"] + terms[f"{name}_fake"]
    terms["loss"] = terms["xz"] + terms["xx"] + terms["zz"]
    return terms["loss"], terms

  def players_loss(logits):
    """L_G + L_E, what they share taken once: each has its own gradient.

    G has no part in the pair (x, E(x)), nor E in (G(z), z).
    """
    encoded, generated = logits["xz"]
    terms = {
      "generator_xz": binary_cross_entropy(generated, 1),
      "encoder_xz": binary_cross_entropy(encoded, 0),
    }
    for name in ("xx", "zz"):
      real, fake = logits[name]
      terms[f"cost_{name}"] = binary_cross_entropy(
        real, 0
      ) + binary_cross_entropy(fake, 1)
    cost = terms["cost_xx"] + (terms["cost_zz"] if enable_dzz else 0)
    terms["generator"] = terms["generator_xz"] + cost
    terms["encoder"] = terms["encoder_xz"] + cost
    return terms["generator_xz"] + terms["encoder"], terms

  def draw(key, batch: Batch):
    nets, layers = networks(batch["x"]), layers_of(batch["x"])
    n, rows, *rest = batch["x"].shape
    like = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.float32)
    x, xx = like(n, rows, *rest), like(n, 2 * rows, *rest)
    z, zz = (like(n, k * layers.latent_dim) for k in (1, 2))
    drawn = {
      "xz": (layers.xz_dropout, nets["xz"], x, z),
      "xx": (layers.xx_dropout, nets["xx"], xx),
      "zz": (layers.zz_dropout, nets["zz"], zz),
    }

    def of_run(key):
      z_key, *keys = jax.random.split(key, 1 + len(drawn))
      masks = {
        name: jax.vmap(lambda key, of=of: draw_masks(key, *of))(
          jax.random.split(key)
        )
        for key, (name, of) in zip(keys, drawn.items(), strict=True)
      }
      return {"z": jax.random.normal(z_key, z.shape), "masks": masks}

    keys = jax.random.split(key)
    return {"discriminators": of_run(keys[0]), "players": of_run(keys[1])}

  def turn(state: State, movers, loss_of, x, draws):
    """The movers' update, each by its own loss and all at once."""
    nets, x = networks(x), prepared(x)
    params, opt_state = state.params, state.opt_state

    def loss_fn(moving):
      logits, *aux = run(nets, params | moving, state.extras["u"], x, draws)
      loss, terms = loss_of(logits)
      return loss, (terms, *aux)

    moving = {name: params[name] for name in movers}
    grads, (terms, passes, u) = jax.grad(loss_fn, has_aux=True)(moving)
    running = dict(state.collections)
    for name in movers:
      # Each is a move, for a clock that they may share.
      params, opt_state = game.apply({name: grads[name]}, params, opt_state)
      running[name] = running_average(
        running[name], *passes[name], momentum=norm_momentum
      )
    state = state.replace(
      params=params,
      opt_state=opt_state,
      collections=running,
      extras=state.extras | {"u": u},
    )
    return state, terms

  def step(state: State, batch: Batch, draws):
    state, d_terms = turn(
      state,
      DISCRIMINATORS,
      discriminators_loss,
      batch["x"],
      draws["discriminators"],
    )
    state, terms = turn(
      state, PLAYERS, players_loss, batch["x_again"], draws["players"]
    )
    ema = optax.incremental_update(
      state.params, state.extras["ema"], 1 - ema_decay
    )
    return state.replace(extras=state.extras | {"ema": ema}), d_terms | terms

  # Scoring.

  def scores_of(state: State, x):
    """Scores, and the vectors of the spectral norm one run later."""
    nets, x = networks(x), prepared(x)
    params, u = normalized(state.extras["ema"], state.extras["u"])
    run = lambda name, v: apply_eval(
      nets[name], params[name], state.collections[name], v
    )
    code, _ = run("encoder", x)
    x_hat, _ = run("generator", code)
    _, real = run("xx", beside(x, x))
    logit, fake = run("xx", beside(x, x_hat))
    difference = (x - x_hat).reshape(x.shape[0], -1)
    parts = {
      "fm": jnp.linalg.norm(real - fake, degree, axis=-1),
      "l1": jnp.linalg.norm(difference, 1, axis=-1),
      "l2": jnp.linalg.norm(difference, 2, axis=-1),
      "ch": optax.sigmoid_binary_cross_entropy(logit[:, 0], 1.0),
    }
    found = Scores(parts[score], None, parts)
    if x.ndim == 4:
      pixels, image = jnp.abs(x - x_hat).mean(-1), pictured(x_hat)
      found = found._replace(map=pixels, reconstruction=image)
    return found, u

  def score_fn(state: State, x, keys) -> Scores:
    del keys
    return scores_of(state, x)[0]

  def official_score(state: State, x, keys):
    """One run for each score, of which "l1" and "l2" do without D_xx."""
    del keys
    parts = {}
    for name in ("ch", "l1", "l2", "fm"):
      scores, new = scores_of(state, x)
      parts[name] = scores.parts[name]
      ran = ("encoder",) if name in ("l1", "l2") else ("encoder", "xx")
      if moving_u:
        u = state.extras["u"]
        u = u | {net: new[net] for net in u.keys() & set(ran)}
        state = state.replace(extras=state.extras | {"u": u})
    return Scores(parts[score], scores.map, parts), state

  streams = (Stream(), Stream(name="x_again"))
  phase = Phase("gan", step, draw, streams, full_batches=True)
  official = Official(official_score, above_percentile(percentile))
  return Detector(init, (phase,), score_fn, official=official)


def beside(a, b):
  """A pair as one array: rows side by side, images one below the other."""
  return jnp.concatenate([a, b], 1)
