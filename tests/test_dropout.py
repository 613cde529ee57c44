# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Masks of dropout, in a network that has nothing else to say."""

import jax
import numpy as np
import pytest

from jaxad.layers.dropout import draw_masks
from jaxad.networks.mlp import MLP
from jaxad.networks.variables import apply_eval, apply_train, initialize

X = np.ones((64, 7), np.float32)


@pytest.fixture(scope="module")
def network():
  return MLP((50, 40), out=3, slope=0.1, dropout=0.25)


@pytest.fixture(scope="module")
def params(network):
  params, collections = initialize(jax.random.key(0), {"mlp": (network, X)})
  assert collections == {"mlp": {}}  # masks are no state
  return params["mlp"]


def test_masks_leave_their_share_out(network):
  masks = draw_masks(jax.random.key(1), 0.25, network, X)["dropout"]
  shapes = {name: leaf["keep"].shape for name, leaf in masks.items()}
  assert shapes == {"dropout_0": (64, 50), "dropout_1": (64, 40)}
  for leaf in masks.values():
    assert leaf["keep"].mean() == pytest.approx(0.75, abs=0.03)
  rows = masks["dropout_0"]["keep"]
  assert (rows[0] != rows[1]).any()


def test_training_obeys_the_masks(network, params):
  masks = draw_masks(jax.random.key(1), 0.25, network, X)
  (_, h), written = apply_train(network, params, X, collections=masks)
  keep = masks["dropout"]["dropout_1"]["keep"]
  assert written == {}
  np.testing.assert_array_equal(h[~keep], 0)
  # Leaky ReLU is never 0 but by chance.
  assert (np.asarray(h)[keep] != 0).all()


def test_scoring_drops_nothing(network, params):
  y, h = apply_eval(network, params, {}, X)
  assert y.shape == (64, 3)
  assert (np.asarray(h) != 0).all()


def test_nothing_is_lost_in_the_mean(params):
  only = MLP((50,), slope=0.1, dropout=0.25)
  first = {"dense_0": params["dense_0"]}
  x = np.repeat(X, 64, 0)
  masks = draw_masks(jax.random.key(2), 0.25, only, x)
  (_, dropped), _ = apply_train(only, first, x, collections=masks)
  _, plain = apply_eval(only, first, {}, x)
  np.testing.assert_allclose(
    dropped.mean(0), plain.mean(0), rtol=0.06, atol=0.01
  )
