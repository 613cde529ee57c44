# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What the recordings of VAE and adVAE leave open."""

import functools

import jax
import numpy as np
import pytest

import jaxad
from jaxad.errors import InputError
from jaxad.networks.advae import Gaussian
from jaxad.plan import Plan

X = np.random.default_rng(0).uniform(size=(6, 8)).astype(np.float32)
KEY = jax.random.key(0)


@functools.cache
def advae(**keywords):
  return jaxad.advae(latent_dim=3, width=8, n_samples=5, **keywords)


@functools.cache
def state_of(detector):
  return detector.init(KEY, {"x": X})


# adVAE: its losses by hand.


def dense(params, x, act):
  """Two hidden layers and the outputs, in NumPy."""
  layer = lambda name, x: x @ params[name]["kernel"] + params[name]["bias"]
  for k in (0, 1):
    x = act(layer(f"dense_{k}", x))
  outputs = [name for name in params if not name.startswith("dense")]
  return [layer(name, x) for name in sorted(outputs, reverse=True)]


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def kl(mean, log_var):
  return 0.5 * (mean**2 + np.exp(log_var) - log_var - 1).sum(1)


def losses(params, x, draws, step, keywords):
  """{term: value} of one step, from the equations of the paper."""
  draw = {name: np.float64(v) for name, v in draws.items()}
  encode = lambda x: dense(params["encoder"], x, lambda v: np.maximum(v, 0))
  generate = lambda z: sigmoid(
    dense(params["generator"], z, lambda v: np.maximum(v, 0))[0]
  )
  mean, log_var = encode(x)
  z = mean + np.exp(log_var / 2) * draw[f"z_{step}"]
  read = np.concatenate([mean, log_var], 1)
  if keywords.get("transformed") == "code":
    read = z
  mean_t, log_var_t = dense(params["transformer"], read, sigmoid)
  z_t = mean_t + np.exp(log_var_t / 2) * draw[f"z_t_{step}"]
  x_r, x_tr = generate(z), generate(z_t)
  squares = lambda a, b: getattr((a - b) ** 2, keywords.get("mse", "sum"))(1)

  def margin(m, v):
    if keywords.get("hinge") == "sample":
      return np.maximum(m - v, 0).mean()
    return max(m - v.mean(), 0)

  m_x, m_z = keywords["m_x"], keywords["m_z"]
  ratio = np.exp(log_var - log_var_t)
  ratio += (mean - mean_t) ** 2 / np.exp(log_var_t)
  found = {
    "mse": squares(x, x_r).mean(),
    "kl": kl(mean, log_var).mean(),
    "kl_r": kl(*encode(x_r)).mean(),
    "hinge_mse_t": margin(m_x, squares(x_r, x_tr)),
    "hinge_kl_r": margin(m_z, kl(*encode(x_r))),
    "hinge_kl_tr": margin(m_z, kl(*encode(x_tr))),
    "transformer": 0.5 * (log_var_t - log_var + ratio - 1).sum(1).mean(),
  }
  gamma = keywords["gamma"]
  found["generator"] = found["mse"] + gamma * found["kl_r"]
  found["generator"] += found["hinge_mse_t"] + gamma * found["hinge_kl_tr"]
  first, second = found["transformer"], found["generator"]
  if keywords.get("total") == "LG+lamLT":
    first, second = second, first
  found["total"] = first + keywords["lam"] * second
  found["loss"] = found["mse"] + keywords["lam"] * found["kl"]
  found["loss"] += gamma * (found["hinge_kl_r"] + found["hinge_kl_tr"])
  return found


# Margins that some samples are beyond and others are not.
WEIGHTS = {"lam": 0.3, "gamma": 0.2, "m_x": 0.8, "m_z": 1.15}


@functools.cache
def first_step(**keywords):
  """(losses of step 1 by hand, metrics) of a state whose E is not near 0."""
  detector = advae(**WEIGHTS, **keywords)
  state = state_of(detector)
  params = jax.tree.map(lambda v: 2 * v, state.params)
  draws = detector.phases[0].draw(KEY, {"x": X})
  state = state.replace(params=params)
  new, metrics = jax.jit(detector.phases[0].step)(state, {"x": X}, draws)
  plain = lambda tree: jax.tree.map(np.float64, tree)
  before, after = plain(params), plain(new.params)
  by_hand = functools.partial(
    losses, x=X, draws=draws, keywords=WEIGHTS | keywords
  )
  # Step 2 is after the move of G and T, and before that of E.
  after["encoder"] = before["encoder"]
  return by_hand(before, step=1), by_hand(after, step=2), metrics


@pytest.mark.parametrize(
  "keywords",
  [
    {},
    {"hinge": "sample", "total": "LG+lamLT"},
    {"mse": "mean", "transformed": "code", "noise": "batch"},
  ],
)
def test_losses(keywords):
  of_1, of_2, metrics = first_step(**keywords)
  assert len(metrics) == 12
  for name, value in metrics.items():
    step, _, term = name.removeprefix("step_").partition("_")
    want = (
      of_2["loss"] if name == "loss" else {"1": of_1, "2": of_2}[step][term]
    )
    np.testing.assert_allclose(value, want, rtol=1e-4, atol=1e-7, err_msg=name)


def test_margins_of_a_batch_and_of_each_sample_differ():
  """Of one state, where some samples are beyond their margin."""
  of_batch, _, _ = first_step()
  of_samples, _, _ = first_step(hinge="sample", total="LG+lamLT")
  for name in ("hinge_kl_r", "hinge_mse_t"):
    assert 0 <= of_batch[name] < 0.99 * of_samples[name]


def test_noise_of_a_batch_is_one_number():
  draws = advae(noise="batch").phases[0].draw(KEY, {"x": X})
  assert {np.ptp(v) for v in draws.values()} == {0.0}
  assert len({float(v[0, 0]) for v in draws.values()}) == 4
  draws = advae().phases[0].draw(KEY, {"x": X})
  assert all(len(np.unique(v)) == v.size == 18 for v in draws.values())


def test_a_log_variance_is_held():
  """Its exponential, of which L_T takes the inverse, cannot overflow."""
  params = state_of(advae()).params["encoder"]
  log_var_of = lambda limit: jax.jit(
    Gaussian(8, 3, jax.nn.relu, limit).apply, static_argnums=2
  )({"params": params}, 1e4 * X, False)[1]
  free, held = log_var_of(None), log_var_of(2.0)
  assert np.abs(free).max() > 2.0
  np.testing.assert_array_equal(held, np.clip(free, -2.0, 2.0))


def test_samples_at_once_change_only_the_rounding():
  keys = jax.random.split(KEY, len(X))
  whole, one = (
    jax.jit(advae(samples_at_once=n).score)(state_of(advae()), X, keys).image
    for n in (5, 1)
  )
  np.testing.assert_allclose(whole, one, rtol=1e-5)


def test_images_are_rows_of_their_pixels():
  detector = jaxad.advae(latent_dim=3, n_samples=5)
  x = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 2), np.uint8)
  rows = (x / np.float32(255)).reshape(3, -1)
  state = detector.init(KEY, {"x": x})
  keys = jax.random.split(KEY, 3)
  assert state.params["encoder"]["mean"]["kernel"].shape == (24, 3)
  score = jax.jit(detector.score)
  of_images, of_rows = (score(state, v, keys) for v in (x, rows))
  np.testing.assert_allclose(of_images.image, of_rows.image, rtol=1e-6)
  total = of_images.map.sum((1, 2)) * 2
  np.testing.assert_allclose(total, of_images.image, rtol=1e-5)
  with pytest.raises(InputError, match="expected rows .* or images"):
    detector.init(KEY, {"x": x[..., 0]})


# The VAE.


def test_a_rate_that_falls_after_some_epochs():
  x = np.zeros((2, 8, 8, 1), np.uint8)
  detector = jaxad.vae(latent_dim=2, width=2, decay_epochs=3, learning_rate=0.5)
  with pytest.raises(InputError, match="decay_epochs=3.*a Plan"):
    jax.eval_shape(detector.init, KEY, {"x": x})
  plan = Plan(2, (100,), (2,))
  state = detector.init(KEY, {"x": x}, plan)
  step = jax.jit(detector.phases[0].step)
  moves = []
  for _ in range(7):
    noise = np.zeros((2, 2), np.float32)
    new, _ = step(state, {"x": x}, noise)
    moved = jax.tree.map(
      lambda a, b: np.abs(a - b).max(), new.params, state.params
    )
    moves.append(max(jax.tree.leaves(moved)))
    state = new
  # Adam's steps are about as long as its rate; six of them are three epochs.
  assert min(moves[:6]) > 0.1 and 0.01 < moves[6] < 0.1


def test_images_at_once_change_only_the_rounding():
  x = np.random.default_rng(0).uniform(size=(3, 8, 8, 1)).astype(np.float32)
  make = lambda n: jaxad.vae(
    latent_dim=2, width=2, n_samples=4, images_at_once=n
  )
  state, keys = make(1).init(KEY, {"x": x}), jax.random.split(KEY, 3)
  whole, pieces = (jax.jit(make(n).score)(state, x, keys) for n in (100, 6))
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-5), pieces, whole
  )
  assert whole.map.shape == (3, 8, 8)
