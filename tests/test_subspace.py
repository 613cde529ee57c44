# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The robust subspace layer against PCA, and what keywords of RSRAE change."""

import functools

import jax
import numpy as np
import optax
import pytest
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA

import jaxad
from jaxad.errors import InputError
from jaxad.methods.rsrae import lengths, off_subspace, skewness
from jaxad.networks.rsrae import Encoder
from jaxad.networks.variables import apply_eval

DIM, RANK = 12, 3


def low_rank(n, seed):
  """Codes near a subspace of few dimensions, and its basis."""
  rng = np.random.default_rng(seed)
  basis = np.linalg.qr(rng.normal(size=(DIM, RANK)))[0]
  codes = rng.normal(size=(n, RANK)) @ basis.T
  codes -= codes.mean(0)
  return np.float32(codes + 0.01 * rng.normal(size=codes.shape)), basis


@functools.partial(jax.jit, static_argnums=2)
def layer_of(y, a, kind):
  """A after many steps on L_RSR1 + L_RSR2 of fixed codes."""
  tx = optax.adam(optax.cosine_decay_schedule(0.1, 3000))

  def loss(a):
    return lengths(off_subspace(y, a), kind).mean() + skewness(a).sum()

  def step(_, at):
    a, opt_state = at
    updates, opt_state = tx.update(jax.grad(loss)(a), opt_state)
    return optax.apply_updates(a, updates), opt_state

  return jax.lax.fori_loop(0, 3000, step, (a, tx.init(a)))[0]


def angle(a, basis):
  """The largest principal angle, in degrees."""
  return np.degrees(subspace_angles(np.asarray(a), basis)[0])


@pytest.fixture
def first():
  """N(0, 1), as the layer starts."""
  return np.float32(np.random.default_rng(9).normal(size=(DIM, RANK)))


@pytest.mark.parametrize("kind", ["l21", "mse", "l1"])
def test_on_clean_codes_the_layer_finds_what_pca_finds(first, kind):
  codes, basis = low_rank(200, seed=0)
  a = layer_of(codes, first, kind)
  principal = PCA(RANK).fit(codes).components_.T
  assert angle(first, principal) > 30
  assert angle(a, principal) < 1
  np.testing.assert_allclose(a.T @ a, np.eye(RANK), atol=0.02)
  np.testing.assert_allclose(a @ a.T, principal @ principal.T, atol=0.03)
  assert angle(principal, basis) < 1


ROWS = dict(latent_dim=RANK, hidden=(16, 16, DIM), normalize=False)


@pytest.fixture(scope="module")
def trained():
  """(detector, state, rows) after training on rows of low rank."""
  detector = jaxad.rsrae(
    **ROWS, learning_rate=2e-3, learning_rate_rsr=2e-2, slope=0.5
  )
  rows, _ = low_rank(64, seed=3)
  state = detector.init(jax.random.key(0), {"x": rows[:1]})
  step = jax.jit(detector.phases[0].step)
  for _ in range(600):
    state, _ = step(state, {"x": rows}, None)
  return detector, state, rows


def test_a_trained_layer_is_the_principal_subspace_of_its_codes(trained):
  _, state, rows = trained
  encoder = Encoder((16, 16, DIM), "leaky_relu", 0.5, 1e-3, "auto")
  of_network = state.params["encoder"], state.collections["encoder"]
  codes = np.asarray(apply_eval(encoder, *of_network, rows))
  # Codes have no mean taken off before they are projected.
  principal = np.linalg.svd(codes, full_matrices=False)[2][:RANK].T
  assert angle(state.params["rsr"]["kernel"], principal) < 10


def step_of(**keywords):
  """(state before, state after, metrics) of a step on rows."""
  detector = jaxad.rsrae(**ROWS | keywords)
  rows, _ = low_rank(8, seed=0)
  state = detector.init(jax.random.key(0), {"x": rows[:1]})
  return state, *jax.jit(detector.phases[0].step)(state, {"x": rows}, None)


def test_sums_are_the_means_times_their_number():
  _, _, means = step_of()
  _, _, sums = step_of(reduction="sum")
  for name, n in (("ae", 8), ("rsr1", 8), ("rsr2", RANK**2)):
    np.testing.assert_allclose(sums[name], n * means[name], rtol=1e-5)


def test_without_its_loss_the_layer_is_not_made_orthonormal():
  before, with_it, _ = step_of()
  _, without, _ = step_of(orthogonal=False)
  assert before.opt_state.keys() == {"ae", "rsr2", "rsr1"}
  assert without.opt_state.keys() == {"ae", "rsr1"}
  off = lambda state: float(skewness(state.params["rsr"]["kernel"]).mean())
  assert off(with_it) < off(without)


def test_norms_that_normalise_keep_statistics():
  before, after, _ = step_of(norms="batch", norm_momentum=0.5)
  stats = lambda state: state.collections["encoder"]["batch_stats"]["norm_0"]
  assert (stats(before)["mean"] == 0).all()
  assert (stats(after)["mean"] != 0).any()
  assert jaxad.rsrae(norms="batch").phases[0].full_batches
  _, released, _ = step_of()
  assert (stats(released)["mean"] == 0).all()


def test_images_of_unit_length_have_no_contrast():
  """Twice the contrast is the same image, unless it is taken as it is."""
  x = np.random.default_rng(0).uniform(0.3, 0.7, (2, 8, 8, 1))
  more = np.float32(2 * x - 0.5)
  for unit_norm in (True, False):
    detector = jaxad.rsrae(latent_dim=2, hidden=(2, 2, 4), unit_norm=unit_norm)
    state = detector.init(jax.random.key(0), {"x": more})
    score = jax.jit(detector.score)
    a, b = (
      score(state, np.float32(v), None).parts["reconstruction"]
      for v in (x, more)
    )
    assert np.allclose(a, b, rtol=1e-4) == unit_norm


@pytest.mark.parametrize(
  "keywords, size, message",
  [
    ({}, 30, "image_size=30: expected multiples of 4"),
    ({}, 4, "image_size=4: .*8 or more"),
    (dict(latent_dim=129), 8, "latent_dim=129: expected at most 128"),
    (dict(pad3="SAME"), 28, "pad3='SAME': images of 28x28 .*'auto'"),
    (dict(pad3="VALID"), 32, "pad3='VALID': images of 32x32"),
  ],
)
def test_wrong_sizes(keywords, size, message):
  batch = {"x": np.zeros((1, size, size, 1), np.uint8)}
  with pytest.raises(InputError, match=message):
    jaxad.rsrae(**keywords).init(jax.random.key(0), batch)
