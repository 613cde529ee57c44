# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""adVAE: a variational auto-encoder that makes its own anomalies.

Wang, Du, Lin, Cui, Shen and Yang, "adVAE: A Self-adversarial Variational
Autoencoder with Gaussian Anomaly Prior Knowledge for Anomaly Detection",
Knowledge-Based Systems 190, 2020 (arXiv 1903.00904). Networks, checkpoints,
score and threshold are those of the official code, github.com/WangXuhongCN/
adVAE. Its training was never published: the two steps below are a port of the
paper's equations.

The encoder E makes of x a posterior N(mu, s^2), the transformer T of this one
another, N(mu_T, s_T^2), that of an anomaly near by. With the generator G

  z   = mu + s e       x_r  = G(z)     (mu_r, s_r)   = E(x_r)
  z_T = mu_T + s_T e'  x_Tr = G(z_T)   (mu_Tr, s_Tr) = E(x_Tr)

G learns to reconstruct from z and to make of z_T what lies elsewhere, T to stay
near; E is an encoder that tells images of G by their divergence K from N(0, 1):

  L_Gz  = |x - x_r|^2 + gamma K(mu_r, s_r)
  L_GzT = [m_x - |x_r - x_Tr|^2]+ + gamma [m_z - K(mu_Tr, s_Tr)]+
  L_T   = KL(N(mu, s^2) || N(mu_T, s_T^2))
  step 1: G and T descend L_T + lam (L_Gz + L_GzT), E a constant
  step 2: E descends |x - x_r|^2 + lam K(mu, s)
            + gamma [m_z - K(mu_r, s_r)]+ + gamma [m_z - K(mu_Tr, s_Tr)]+
          with G and T as they are now, and constants x_r, x_Tr in both K

and the score is |mean_l G(z_l) - x|^2, of many draws z_l.

What the paper leaves open is a keyword each: the total of step 1, what |.|^2
and [.]+ are taken over, the noise, and what T reads (prose: z; code: mu and the
logarithm of s^2). Two re-implementations decide some of them otherwise.
"""

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
  Positive,
  Weight,
  checked,
)
from jaxad.layers.chunks import map_chunks
from jaxad.layers.gaussian import draw_noise, kl_divergence, sample
from jaxad.layers.images import pictured, unit_range
from jaxad.networks.advae import OFFICIAL, Gaussian, Generator
from jaxad.networks.variables import initialize
from jaxad.optim import Game, adam_l2


@checked
def advae(
  *,
  latent_dim: Count = 10,
  width: Count | None = None,
  output: Literal["sigmoid", "linear"] = "sigmoid",
  lam: Weight = 0.01,
  gamma: Weight = 1e-3,
  m_x: Weight = 2.0,
  m_z: Weight = 40.0,
  total: Literal["LT+lamLG", "LG+lamLT"] = "LT+lamLG",
  mse: Literal["sum", "mean"] = "sum",
  hinge: Literal["batch", "sample"] = "batch",
  noise: Literal["element", "batch"] = "element",
  transformed: Literal["posterior", "code"] = "posterior",
  log_var_limit: Positive | None = 15.0,
  n_samples: Count = 1000,
  samples_at_once: Count = 100,
  learning_rate: LearningRate = 1e-3,
  b1: Momentum = 0.9,
  b2: Momentum = 0.999,
  eps: Epsilon = 1e-8,
) -> Detector:
  """Makes an adVAE detector.

  It takes rows of tables [B, D], float, in [0, 1] unless the output is linear;
  or images [B, H, W, C], uint8 or float in [0, 1], of which it makes rows.

  Args:
    latent_dim: length of the codes; the paper has about a third of D.
    width: of the hidden layers of E and G; None is the half of D.
    output: last layer of G; "linear" for columns of mean 0 and deviation 1.
    lam: weight of L_G in step 1, and of K(mu, s) in step 2.
    gamma: weight of all other K.
    m_x: margin that x_r and x_Tr are brought to.
    m_z: margin of K.
    total: of step 1; "LG+lamLT" is L_Gz + L_GzT + lam L_T.
    mse: |.|^2 is the "sum" or the "mean" over a row.
    hinge: [m - v]+ is of the mean of v over the "batch", or the mean of that of
      each "sample".
    noise: one draw for each "element", or one for all codes of a "batch".
    transformed: what T reads: the "posterior", or the "code" z.
    log_var_limit: log s^2 is held within it; None does not.
    n_samples: draws of z for each row that is scored.
    samples_at_once: the most draws that G sees at once; the fewer, the less
      memory.
    learning_rate: of both Adams.
    b1: Adam's decay of the first moment.
    b2: Adam's decay of the second moment.
    eps: Adam's epsilon.

  Returns:
    A `Detector` with one phase, "advae". `Scores.parts` are the score and K(mu,
    s); `Scores.map` is the mean of its squares over the channels of images, and
    None for rows.

  Raises:
    InputError: a value out of range; from `init`, neither rows nor images.
  """
  encoder_of = lambda d: Gaussian(
    width or max(d // 2, 1), latent_dim, nn.relu, log_var_limit
  )
  act = nn.sigmoid if output == "sigmoid" else lambda x: x
  generator_of = lambda d: Generator(width or max(d // 2, 1), d, act)
  transformer = Gaussian(2 * latent_dim, latent_dim, nn.sigmoid, log_var_limit)
  game = Game(**dict.fromkeys(OFFICIAL, adam_l2(learning_rate, b1, b2, eps)))

  def rows_of(x):
    """Rows [B, D] of images or of rows."""
    if x.ndim not in (2, 4):
      raise InputError(
        f"x of the shape {tuple(x.shape)}: expected rows [B, D] or images "
        "[B, H, W, C]."
      )
    if x.ndim == 2:
      return jnp.asarray(x)
    return unit_range(x).reshape(-1, x.shape[1] * x.shape[2] * x.shape[3])

  def run(network, params, v):
    return network.apply({"params": params}, v, train=False)

  def init(key, batch: Batch, plan=None) -> State:
    x = rows_of(batch["x"][:1])
    z = jnp.zeros((1, latent_dim), x.dtype)
    read = z if transformed == "code" else jnp.concatenate([z, z], 1)
    params_key, state_key = jax.random.split(key)
    params, _ = initialize(
      params_key,
      {
        "encoder": (encoder_of(x.shape[1]), x),
        "generator": (generator_of(x.shape[1]), z),
        "transformer": (transformer, read),
      },
    )
    return State.new(state_key, params, {}, game.init(params), plan)

  # Training.

  def draw(key, batch: Batch):
    shape = (len(batch["x"]), latent_dim)
    of = shape if noise == "element" else ()
    names = ("z_1", "z_t_1", "z_2", "z_t_2")
    return {
      name: jnp.broadcast_to(jax.random.normal(key, of), shape)
      for name, key in zip(names, jax.random.split(key, 4), strict=True)
    }

  def step(state: State, batch: Batch, draws):
    x = rows_of(batch["x"])
    encoder, generator = encoder_of(x.shape[1]), generator_of(x.shape[1])
    weight = batch.get("weight", jnp.ones(len(x), x.dtype))
    mean_of = lambda v: (weight * v).sum() / weight.sum()

    def distance(a, b):
      squares = (a - b) ** 2
      return squares.sum(1) if mse == "sum" else squares.mean(1)

    def margin(m, v):
      if hinge == "batch":
        return nn.relu(m - mean_of(v))
      return mean_of(nn.relu(m - v))

    encode = lambda params, x: run(encoder, params["encoder"], x)
    generate = lambda params, z: run(generator, params["generator"], z)

    def transform(params, z, posterior):
      read = z if transformed == "code" else jnp.concatenate(posterior, 1)
      return run(transformer, params["transformer"], read)

    def step_1(params):
      posterior = encode(params, x)
      z = sample(*posterior, draws["z_1"])
      of_anomaly = transform(params, z, posterior)
      z_t = sample(*of_anomaly, draws["z_t_1"])
      x_r, x_tr = generate(params, z), generate(params, z_t)
      terms = {
        "mse": mean_of(distance(x, x_r)),
        "kl_r": mean_of(kl_divergence(*encode(params, x_r))),
        "hinge_mse_t": margin(m_x, distance(x_r, x_tr)),
        "hinge_kl_tr": margin(m_z, kl_divergence(*encode(params, x_tr))),
        "transformer": mean_of(kl_divergence(*posterior, *of_anomaly)),
      }
      terms["generator"] = (
        terms["mse"]
        + gamma * terms["kl_r"]
        + terms["hinge_mse_t"]
        + gamma * terms["hinge_kl_tr"]
      )
      first, second = (terms[name] for name in ("transformer", "generator"))
      if total == "LG+lamLT":
        first, second = second, first
      terms["total"] = first + lam * second
      return terms["total"], terms

    def step_2(params):
      posterior = encode(params, x)
      z = sample(*posterior, draws["z_2"])
      z_t = sample(*transform(params, z, posterior), draws["z_t_2"])
      x_r, x_tr = generate(params, z), generate(params, z_t)
      again = lambda x: kl_divergence(*encode(params, jax.lax.stop_gradient(x)))
      terms = {
        "mse": mean_of(distance(x, x_r)),
        "kl": mean_of(kl_divergence(*posterior)),
        "hinge_kl_r": margin(m_z, again(x_r)),
        "hinge_kl_tr": margin(m_z, again(x_tr)),
      }
      terms["loss"] = (
        terms["mse"]
        + lam * terms["kl"]
        + gamma * (terms["hinge_kl_r"] + terms["hinge_kl_tr"])
      )
      return terms["loss"], terms

    params, opt_state, of_1 = game.move(
      ("generator", "transformer"), step_1, state.params, state.opt_state
    )
    params, opt_state, of_2 = game.move("encoder", step_2, params, opt_state)
    metrics = {f"step_1_{name}": value for name, value in of_1.items()}
    metrics |= {f"step_2_{name}": value for name, value in of_2.items()}
    metrics["loss"] = metrics.pop("step_2_loss")
    return state.replace(params=params, opt_state=opt_state), metrics

  # Scoring.

  def score_fn(state: State, x, keys) -> Scores:
    rows = rows_of(x)
    d = rows.shape[1]
    mean, log_var = run(encoder_of(d), state.params["encoder"], rows)
    draws = draw_noise(keys, n_samples, latent_dim).swapaxes(0, 1)
    z = sample(mean, log_var, draws)
    generate = lambda z: run(generator_of(d), state.params["generator"], z)
    sums = map_chunks(lambda z: generate(z).sum(0), z, samples_at_once)
    x_hat = sums.sum(0) / n_samples
    squares = (x_hat - rows) ** 2
    parts = {
      "reconstruction": squares.sum(1),
      "kl": kl_divergence(mean, log_var),
    }
    found = Scores(parts["reconstruction"], None, parts)
    if x.ndim == 2:
      return found
    return found._replace(
      map=squares.reshape(x.shape).mean(-1),
      reconstruction=pictured(x_hat.reshape(x.shape), mean=0, std=1),
    )

  return Detector(init, (Phase("advae", step, draw),), score_fn)
