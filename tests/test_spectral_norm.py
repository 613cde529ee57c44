# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Spectral normalisation against a singular value decomposition."""

import jax
import numpy as np
import pytest

from jaxad.layers.spectral_norm import initial_vectors, spectral_normalize

KEY = jax.random.key(0)


@pytest.fixture
def params():
  rng = np.random.default_rng(0)
  draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)
  return {
    "critic": {
      "conv_0": {"kernel": draw(3, 3, 2, 5), "bias": draw(5)},
      "joint": {"dense_out": {"kernel": draw(5, 1)}},
      "norm_0": {"scale": draw(5)},
    }
  }


def test_all_kernels_but_the_last_have_a_vector(params):
  vectors = initial_vectors(KEY, params)
  assert jax.tree.map(np.shape, vectors) == {"critic": {"conv_0": (5,)}}
  assert (np.abs(vectors["critic"]["conv_0"]) <= 2).all()


def test_a_long_power_iteration_finds_the_norm(params):
  vectors = initial_vectors(KEY, params)
  new, _ = spectral_normalize(params, vectors, iterations=200)
  kernel = np.asarray(new["critic"]["conv_0"]["kernel"]).reshape(-1, 5)
  largest = np.linalg.svd(kernel, compute_uv=False)[0]
  assert largest == pytest.approx(1, rel=1e-5)
  new["critic"]["conv_0"]["kernel"] = params["critic"]["conv_0"]["kernel"]
  jax.tree.map(np.testing.assert_array_equal, new, params)


def test_vectors_that_are_kept_go_on(params):
  vectors = initial_vectors(KEY, params)
  _, once = spectral_normalize(params, vectors)
  _, twice = spectral_normalize(params, once)
  _, at_once = spectral_normalize(params, vectors, iterations=2)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), twice, at_once
  )


def test_nothing_is_normalised_without_vectors(params):
  new, vectors = spectral_normalize(params, {})
  assert vectors == {}
  jax.tree.map(np.testing.assert_array_equal, new, params)
