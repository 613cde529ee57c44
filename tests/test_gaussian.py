# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Diagonal Gaussians, and the bounds of VAE and IWAE, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from jaxad.layers.gaussian import (
  draw_noise,
  kl_divergence,
  log_density,
  log_mean_exp,
  sample,
)
from jaxad.methods.vae import make_scores


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


RNG = np.random.default_rng(0)
MEAN, LOG_VAR = RNG.normal(size=(2, 3)), RNG.normal(size=(2, 3))


def test_divergence_of_two_gaussians():
  """Of one dimension it is an integral; dimensions add up."""
  mean_2, log_var_2 = RNG.normal(size=(2, 3)), RNG.normal(size=(2, 3))

  def integral(mean, log_var, mean_2, log_var_2):
    p = stats.norm(mean, np.exp(log_var / 2))
    q = stats.norm(mean_2, np.exp(log_var_2 / 2))
    f = lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x))
    return integrate.quad(f, p.ppf(1e-14), p.isf(1e-14))[0]

  want = np.vectorize(integral)(MEAN, LOG_VAR, mean_2, log_var_2).sum(1)
  got = kl_divergence(MEAN, LOG_VAR, mean_2, log_var_2)
  np.testing.assert_allclose(got, want, rtol=1e-8)
  want = np.vectorize(integral)(MEAN, LOG_VAR, 0.0, 0.0).sum(1)
  np.testing.assert_allclose(kl_divergence(MEAN, LOG_VAR), want, rtol=1e-8)
  same = kl_divergence(MEAN, LOG_VAR, MEAN, LOG_VAR)
  np.testing.assert_allclose(same, 0, atol=1e-15)


def test_density():
  x = RNG.normal(size=(2, 3))
  want = stats.norm(MEAN, np.exp(LOG_VAR / 2)).logpdf(x).sum(1)
  constant = 1.5 * np.log(2 * np.pi)
  got = log_density(x, MEAN, LOG_VAR) - constant
  np.testing.assert_allclose(got, want)
  want = stats.norm().logpdf(x).sum(1)
  np.testing.assert_allclose(log_density(x) - constant, want)


def test_mean_of_exponentials_is_stable():
  v = RNG.normal(size=(5, 4))
  want = np.log(np.exp(v).mean(0))
  for shift in (0.0, 1e4, -1e4):
    np.testing.assert_allclose(log_mean_exp(v + shift) - shift, want, atol=1e-9)
  np.testing.assert_allclose(log_mean_exp(v.T, 1), want)


def test_noise_is_of_each_key_alone():
  keys = jax.random.split(jax.random.key(0), 5)
  noise = draw_noise(keys, 2000, 3)
  assert noise.shape == (5, 2000, 3)
  np.testing.assert_array_equal(draw_noise(keys[3:], 2000, 3), noise[3:])
  drawn = sample(MEAN[:1], LOG_VAR[:1], np.asarray(noise).reshape(-1, 3))
  np.testing.assert_allclose(drawn.mean(0), MEAN[0], atol=0.1)
  np.testing.assert_allclose(drawn.var(0), np.exp(LOG_VAR[0]), rtol=0.05)


# A linear model with Gaussian noise of variance 1: x = W z + noise. Everything
# that the scores are or bound is known.
W = np.linalg.qr(RNG.normal(size=(6, 2)))[0] * [0.8, 1.5]
X = RNG.normal(size=(4, 6)) * 1.5


def log_evidence(x):
  """log p(x), without its constant (2 pi)^(-D / 2)."""
  model = stats.multivariate_normal(np.zeros(6), W @ W.T + np.eye(6))
  return model.logpdf(x) + 3 * np.log(2 * np.pi)


def posterior(x):
  """(mean, log of the variance) of p(z|x); W has orthogonal columns."""
  var = 1 / (1 + (W**2).sum(0))
  return x @ W * var, np.broadcast_to(np.log(var), (len(x), 2))


def scores(mean, log_var, n, x=X, **keywords):
  noise = np.random.default_rng(0).normal(size=(n, len(x), 2))
  x_hat = sample(mean, log_var, noise) @ W.T
  squares = ((x - x_hat) ** 2).sum(-1)
  return make_scores(jnp.asarray(squares), mean, log_var, noise, **keywords)


def test_the_exact_posterior_makes_the_bound_exact():
  """With one sample, as every sample weighs the same."""
  for n in (1, 7):
    found = scores(*posterior(X), n)
    np.testing.assert_allclose(-found["iwae"], log_evidence(X), rtol=1e-12)


def test_the_evidence_lower_bound():
  """It is below log p(x) by the divergence of q from the posterior."""
  exact, var = posterior(X)
  mean, log_var = exact + 0.3, var - 0.4
  found = scores(mean, log_var, 100_000)
  # The expectation of |x - W z|^2 / 2 is that at the mean, and W's part.
  at_mean = ((X - mean @ W.T) ** 2).sum(1) / 2
  spread = (np.exp(log_var) * (W**2).sum(0)).sum(1) / 2
  want = at_mean + spread
  np.testing.assert_allclose(found["reconstruction"], want, rtol=2e-3)
  gap = log_evidence(X) + want + kl_divergence(mean, log_var)
  np.testing.assert_allclose(gap, kl_divergence(mean, log_var, exact, var))
  assert (gap > 0.1).all()
  np.testing.assert_allclose(found["vae"] + log_evidence(X), gap, atol=0.02)


def test_the_importance_bound_rises_to_the_evidence():
  exact, var = posterior(X)
  mean, log_var = exact + 0.3, var + 0.4
  off = []
  for n, times in ((1, 2000), (10, 2000), (1000, 50)):
    again = np.repeat(X, times, 0)
    of = [np.repeat(v, times, 0) for v in (mean, log_var)]
    bound = -np.asarray(scores(*of, n, x=again)["iwae"])
    off.append(bound.reshape(-1, times).mean(1) - log_evidence(X))
  assert (off[0] < off[1]).all() and (off[1] < off[2]).all()
  assert (off[0] < -0.1).all()
  np.testing.assert_allclose(off[2], 0, atol=0.01)


def test_scores_that_are_weighted_and_combined():
  exact, var = posterior(X)
  of = lambda **keywords: scores(exact + 0.3, var, 20, **keywords)
  plain, half = of(), of(w_kl=0.5)
  np.testing.assert_allclose(
    half["vae"], plain["reconstruction"] + plain["kl"] / 2
  )
  added = of(combine="sum", w_kl=0.5)
  np.testing.assert_allclose(
    added["iwae"], plain["iwae_kl"] + plain["iwae_reconstruction"]
  )
  # Without the ratio of the densities the joint mean is that of the likelihood.
  none = of(w_kl=0.0)
  np.testing.assert_allclose(none["iwae"], plain["iwae_reconstruction"])
  # The code's q has no normalisation, and its squares are not halved.
  coded = of(official_iwae=True)
  assert (np.abs(coded["iwae_kl"] - plain["iwae_kl"]) > 0.01).all()
  noise = np.random.default_rng(0).normal(size=(20, len(X), 2))
  z = sample(exact + 0.3, var, noise)
  ratio = np.exp((noise**2).sum(-1) - (z**2).sum(-1)).mean(0)
  np.testing.assert_allclose(coded["iwae_kl"], -np.log(ratio))
  for name in ("reconstruction", "kl", "vae"):
    np.testing.assert_array_equal(coded[name], plain[name])


def test_a_likelihood_of_many_pixels_does_not_vanish():
  squares = jnp.asarray([[1e5, 2e5], [1.1e5, 2.1e5]])
  zeros = jnp.zeros((2, 3))
  found = make_scores(squares, zeros, zeros, jnp.zeros((2, 2, 3)))
  want = squares[0] / 2 + np.log(2)
  np.testing.assert_allclose(found["iwae_reconstruction"], want)
  assert all(np.isfinite(score).all() for score in found.values())
