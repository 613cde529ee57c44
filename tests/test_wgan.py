# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Parts of f-AnoGAN and of its networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxad
from jaxad.data.examples import Examples
from jaxad.errors import InputError
from jaxad.layers.conv import convolve
from jaxad.losses import critic_loss
from jaxad.methods.fanogan import CONSTRAINTS
from jaxad.networks.wgan import (
  LayerNorm,
  ResampledConv,
  channels_of,
  doubled,
  mean_pool,
)

KEY = jax.random.key(0)


@pytest.mark.parametrize("up", [True, False])
def test_a_resampled_convolution_is_two_layers_in_one(up):
  x = jax.random.normal(KEY, (2, 8, 6, 3))
  layer = ResampledConv(5, up)
  variables = layer.init(KEY, x)
  kernel = variables["params"]["kernel"]
  assert kernel.shape == (3, 3, 3, 5)
  if up:
    want = convolve(doubled(x), kernel, padding=1)
  else:
    want = mean_pool(convolve(x, kernel, padding=1))
  np.testing.assert_allclose(layer.apply(variables, x), want, atol=1e-5)


def test_widths():
  assert channels_of(64, 64) == [64, 128, 256, 512, 512]
  assert channels_of(16, 4) == [4, 8, 16]
  assert channels_of(128, 1) == [1, 2, 4, 8, 8, 8]


def test_layer_norm():
  x = 3 + 2 * jax.random.normal(KEY, (4, 4, 4, 2))
  exact, constant = LayerNorm(), LayerNorm(constant_mean=True)
  variables = exact.init(KEY, x, True)
  y = exact.apply(variables, x, True)
  np.testing.assert_allclose(y.mean((1, 2, 3)), 0, atol=1e-6)
  np.testing.assert_allclose(y.var((1, 2, 3)), 1, rtol=1e-4)

  # A residual block's sum: of the norm alone, both derivatives are the same.
  total = lambda n, x: (n.apply(variables, x, True) ** 3 + x**2).sum()
  gradient = lambda n, x: jax.grad(total, 1)(n, x)
  penalty = lambda n, x: (gradient(n, x) ** 2).sum()
  layers = exact, constant
  first = [gradient(n, x) for n in layers]
  np.testing.assert_allclose(*first, rtol=1e-4, atol=1e-4)
  second = [jax.grad(penalty, 1)(n, x) for n in layers]
  assert np.abs(second[0] - second[1]).max() > 1e-3 * np.abs(second[0]).max()


def test_constraints():
  z, fresh = jnp.float32([-4, -2, 0.1, 2, 4]), jnp.full(5, 9.0)
  found = {name: fn(z, fresh).tolist() for name, fn in CONSTRAINTS.items()}
  near = lambda v: pytest.approx(np.asarray(v).tolist(), rel=1e-5)
  tanh = np.tanh(np.asarray(z))
  assert found == {
    "linear": near(z),
    "tanh": near(tanh),
    "3tanh": near(3 * tanh),
    "0.5tanh": near(tanh / 2),
    "clip": near([-1, -1, 0.1, 1, 1]),
    "3clip": near([-3, -2, 0.1, 2, 3]),
    "0.5clip": near([-0.5, -0.5, 0.1, 0.5, 0.5]),
    "stoch_clip": near([9, -2, 0.1, 2, 9]),
  }


def test_what_is_clipped_is_drawn_by_the_key_of_the_example():
  detector = jaxad.fanogan(width=1, latent_dim=4, latent="stoch_clip")
  x = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), np.uint8)
  state = detector.init(KEY, {"x": x})
  dense = state.params["encoder"]["output"]
  dense["bias"] = dense["bias"] + 10.0  # all codes are out of reach
  score, keys = jax.jit(detector.score), jax.random.split(KEY, 4)
  want = np.asarray(score(state, x, keys[:3]).image)
  got = score(state, x[::-1], keys[np.array([2, 1, 3])]).image
  np.testing.assert_allclose(got[:2], want[:0:-1], rtol=1e-5)
  assert abs(got[2] - want[0]) > 1e-4


@pytest.mark.parametrize("side", [4, 12, 24])
def test_images_must_fit(side):
  batch = {"x": np.zeros((1, side, side, 1), np.uint8)}
  with pytest.raises(InputError, match=f"image_size={side}x{side}: .*8 or"):
    jaxad.fanogan().init(KEY, batch)


def test_the_loss_of_a_linear_critic():
  """Its slope is the same everywhere: a number for each term."""
  rng = np.random.default_rng(0)
  high, low, a = (
    rng.standard_normal(s) for s in ((5, 2, 3), (5, 2, 3), (2, 3))
  )
  score = lambda u: (u * a).sum((1, 2))
  loss, terms = critic_loss(score, high, low, rng.uniform(size=5), 10.0)
  slope, distance = np.linalg.norm(a), (score(low) - score(high)).mean()
  np.testing.assert_allclose(terms["slope"], slope, rtol=1e-6)
  np.testing.assert_allclose(terms["wasserstein"], distance, rtol=1e-5)
  want = distance + 10 * (slope - 1) ** 2
  np.testing.assert_allclose(loss, want, rtol=1e-5)


def test_the_critic_moves_more_often_at_first():
  batch = {"x": np.zeros((4, 16, 16, 1), np.uint8)}
  keywords = {"latent_dim": 3, "critic_steps": 2, "warm_up_factor": 5}
  shapes = lambda phase: jax.tree.map(
    np.shape, jax.eval_shape(phase.draw, KEY, batch)
  )
  warm_up, training = jaxad.caae(**keywords, warm_up=0.25).phases
  assert (warm_up.share, training.share) == (0.25, 0.75)
  drawn = [shapes(phase) for phase in (warm_up, training)]
  assert [of["alpha"] for of in drawn] == [(10, 4), (2, 4)]
  assert [of["z"] for of in drawn] == [(1, 4, 3)] * 2
  (only,) = jaxad.caae(**keywords, warm_up=0.0, fresh_prior=True).phases
  assert shapes(only)["z"] == (2, 4, 3)


@pytest.mark.parametrize("size", [(8, 24), (16, 20)])
def test_images_must_be_halved(size):
  batch = {"x": np.zeros((1, *size, 1), np.uint8)}
  with pytest.raises(InputError, match=f"image_size={size[0]}x.*of 16.*fewer"):
    jaxad.caae().init(KEY, batch)


def test_batches_of_the_phases():
  detector = jaxad.fanogan(critic_iters=3, encoder_steps=7)
  x = np.zeros((10, 8, 8, 1), np.uint8)
  n = len(x)
  data = Examples(x, np.zeros(n, np.int32), ("",) * n, ("good",) * n, None)
  plan = jaxad.make_plan(detector, data, batch_size=2, epochs=5)
  # Two steps of six images in an epoch.
  assert plan.ends == (10, 17) and plan.steps_per_epoch == (2, 5)
