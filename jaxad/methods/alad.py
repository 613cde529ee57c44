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
from jaxad.layers.images import standardize
from jaxad.layers.spectral_norm import initial_vectors, spectral_normalize
from jaxad.losses import binary_cross_entropy
from jaxad.networks.alad import IMAGES, KDD, Layers, make_networks
from jaxad.networks.variables import apply_eval, apply_train, initialize
from jaxad.optim import Game, adam_hat

DISCRIMINATORS = ("xz", "xx", "zz")


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
    score: "fm", "l1", "l2" or "ch", see above; `Scores.parts` has all four.
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
  game = Game(**dict.fromkeys(("generator", "encoder", *DISCRIMINATORS), adam))

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

  def reconstruct(nets, params, x, z):
    """The pairs of each discriminator, (real, fake), and E's and G's passes."""
    train = lambda name, v: apply_train(nets[name], params[name], v)
    (code, _), e_x = train("encoder", x)
    (fake, _), g_z = train("generator", z)
    (x_hat, _), g_code = train("generator", code)
    (z_hat, _), e_fake = train("encoder", fake)
    pairs = {
      "xz": ((x, code), (fake, z)),
      "xx": ((beside(x, x),), (beside(x, x_hat),)),
      "zz": ((beside(z, z),), (beside(z, z_hat),)),
    }
    return pairs, {"encoder": (e_x, e_fake), "generator": (g_z, g_code)}

  def judge(nets, params, name, pairs, masks):
    """The logits of real and fake by one discriminator, and its passes."""
    (real, fake), passes = zip(
      *(
        apply_train(nets[name], params[name], *pair, collections=mask)
        for pair, mask in zip(pairs[name], masks[name], strict=True)
      ),
      strict=True,
    )
    return real[0], fake[0], passes

  def players_loss(nets, params, x, draws):
    """L_G + L_E without what they count twice, for one gradient of both.

    G does not see the pair (x, E(x)), nor E the pair (G(z), z), and what they
    share is there once: G gets the gradient of L_G, E that of L_E.
    """
    pairs, passes = reconstruct(nets, params, x, draws["z"])
    logits = {
      name: judge(nets, params, name, pairs, draws["masks"])[:2]
      for name in DISCRIMINATORS
    }
    (encoded, generated), (xx, xx_hat), (zz, zz_hat) = logits.values()
    terms = {
      "g_xz": binary_cross_entropy(generated, 1),
      "e_xz": binary_cross_entropy(encoded, 0),
      "cost_x": binary_cross_entropy(xx, 0) + binary_cross_entropy(xx_hat, 1),
      "cost_z": binary_cross_entropy(zz, 0) + binary_cross_entropy(zz_hat, 1),
    }
    cost = terms["cost_x"] + (terms["cost_z"] if enable_dzz else 0)
    terms |= {"g_loss": terms["g_xz"] + cost, "e_loss": terms["e_xz"] + cost}
    return terms["g_xz"] + terms["e_xz"] + cost, (terms, passes)

  def draw(key, batch: Batch):
    nets = networks(batch["x"])
    shape = batch["x"].shape
    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    layers = layers_of(x)
    rates = (layers.xz_dropout, layers.xx_dropout, layers.zz_dropout)
    z = jax.ShapeDtypeStruct((shape[0], layers.latent_dim), jnp.float32)
    pair = lambda v: jax.eval_shape(beside, v, v)
    inputs = {"xz": (x, z), "xx": (pair(x),), "zz": (pair(z),)}

    def of_run(key):
      z_key, *keys = jax.random.split(key, 1 + 2 * len(inputs))
      masks = {
        name: tuple(
          draw_masks(keys.pop(), rate, nets[name], *inputs[name])
          for _ in range(2)
        )
        for name, rate in zip(DISCRIMINATORS, rates, strict=True)
      }
      return {"z": jax.random.normal(z_key, z.shape), "masks": masks}

    keys = jax.random.split(key)
    return {"dis": of_run(keys[0]), "gen": of_run(keys[1])}

  def step(state: State, batch: Batch, draws):
    nets = networks(batch["x"])
    params, opt_state = state.params, state.opt_state
    running = dict(state.collections)
    average = lambda name, passes: running_average(
      running[name], *passes, momentum=norm_momentum
    )
    metrics = {}

    # The discriminators. All kernels of a run are normalised by the vectors
    # that it finds.
    x, u = prepared(batch["x"]), state.extras["u"]
    fixed, next_u = normalized(params, u)
    pairs, _ = reconstruct(nets, fixed, x, draws["dis"]["z"])
    for name in DISCRIMINATORS:

      def d_loss(params, name=name):
        params, _ = normalized(params, u)
        real, fake, passes = judge(
          nets, params, name, pairs, draws["dis"]["masks"]
        )
        terms = {
          f"d_{name}_real": binary_cross_entropy(real, 1),
          f"d_{name}_fake": binary_cross_entropy(fake, 0),
        }
        loss = sum(terms.values())
        return loss, (terms | {f"d_{name}": loss}, passes)

      params, opt_state, (terms, passes) = game.move(
        name, d_loss, params, opt_state
      )
      running[name] = average(name, passes)
      metrics |= terms
    metrics["loss"] = sum(metrics[f"d_{name}"] for name in DISCRIMINATORS)

    # G and E, by a gradient at the same parameters.
    x, u = prepared(batch["x_again"]), next_u

    def loss_fn(players):
      every, next_u = normalized(params | players, u)
      loss, aux = players_loss(nets, every, x, draws["gen"])
      return loss, (*aux, next_u)

    movers = {name: params[name] for name in ("generator", "encoder")}
    grads, (terms, passes, u) = jax.grad(loss_fn, has_aux=True)(movers)
    for name in movers:
      params, opt_state = game.apply({name: grads[name]}, params, opt_state)
      running[name] = average(name, passes[name])
    ema = optax.incremental_update(params, state.extras["ema"], 1 - ema_decay)
    state = state.replace(
      params=params,
      opt_state=opt_state,
      collections=running,
      extras={"ema": ema, "u": u},
    )
    return state, metrics | terms

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
    difference = (x - x_hat).reshape(len(x), -1)
    parts = {
      "fm": jnp.linalg.norm(real - fake, degree, axis=-1),
      "l1": jnp.linalg.norm(difference, 1, axis=-1),
      "l2": jnp.linalg.norm(difference, 2, axis=-1),
      "ch": optax.sigmoid_binary_cross_entropy(logit[:, 0], 1.0),
    }
    pixels = jnp.abs(x - x_hat).mean(-1) if x.ndim == 4 else None
    return Scores(parts[score], pixels, parts), u

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
