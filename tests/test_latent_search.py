# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""AnoGAN's search: restarts, the early stop, and an official test."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxad
from jaxad.data import Examples
from jaxad.errors import InputError
from jaxad.evaluation.scoring import Scorer, official_scores
from jaxad.losses import norm
from jaxad.methods.anogan import moments, resumed

SMALL = dict(
  latent_dim=4,
  generator_widths=(16, 8, 8),
  discriminator_widths=(4, 4, 16),
  search_steps=12,
  search_rates=(0.1,),
  search_boundaries=(),
)
N = 5
KEY = jax.random.key(3)
KEYS = jax.random.split(KEY, N)
X = np.random.default_rng(0).integers(0, 256, (N, 8, 8, 1), np.uint8)


@pytest.fixture(scope="module")
def state():
  """Kernels are large, so that codes matter without training."""
  state = jaxad.anogan(**SMALL).init(jax.random.key(0), {"x": X})
  larger = lambda v: 10 * v if v.ndim > 1 else v
  params = jax.tree.map(larger, state.params)
  return state.replace(params=params, extras={"ema": params})


def searched(state, **keywords):
  return jax.jit(jaxad.anogan(**SMALL | keywords).score)(state, X, KEYS)


def test_the_best_restart_counts(state):
  """Each of three searches by itself is no better."""
  detector = jaxad.anogan(**SMALL, restarts=3)
  search = detector.search
  start, step, finish = map(jax.jit, (search.start, search.step, search.finish))
  found = start(state, X, KEYS)
  assert found["codes"]["z"].shape == (N, 3, 4)
  for _ in range(search.n):
    found = step(state, X, found)
  best = finish(state, X, found)
  one = lambda k: {
    "f": found["f"],
    "codes": jax.tree.map(lambda v: v[:, k : k + 1], found["codes"]),
  }
  each = np.stack([finish(state, X, one(k)).image for k in range(3)])
  np.testing.assert_allclose(best.image, each.min(0), rtol=1e-6)
  assert len(set(each.argmin(0))) > 1
  assert best.map.shape == (N, 8, 8)
  parts = best.parts
  total = 0.9 * parts["residual"] + 0.1 * parts["discrimination"]
  np.testing.assert_allclose(best.image, total, rtol=1e-5)


def test_a_code_that_does_not_improve_stands_still(state):
  """And no other feels it; the search ends when all do."""
  every = searched(state)
  assert (every.parts["steps"] == 12).all()
  # Nothing improves by so much, so that all stop after the first `patience`.
  lazy = dict(tolerance=1e6, patience=3)
  stopped = searched(state, **lazy)
  assert (stopped.parts["steps"] == 4).all()
  same = searched(state, search_steps=4)
  np.testing.assert_allclose(stopped.image, same.image, rtol=1e-5)
  # At a tolerance between, some codes stop before others.
  first, second = (searched(state, search_steps=n).image for n in (1, 2))
  some = dict(tolerance=float(np.median(first - second)), patience=1)
  together = searched(state, **some)
  assert np.ptp(together.parts["steps"]) > 0
  of_one = jax.jit(jaxad.anogan(**SMALL | some).score)
  for k in range(N):
    alone = of_one(state, X[k : k + 1], KEYS[k : k + 1])
    assert alone.parts["steps"] == together.parts["steps"][k]
    np.testing.assert_allclose(alone.image[0], together.image[k], rtol=1e-5)


def test_a_scorer_stops_early_too(state):
  names = tuple(map(str, range(N)))
  images = Examples(X, np.zeros(N, np.int32), names, ("",) * N, None)
  scores = {}
  for steps in (25, 60_000):  # which would take minutes
    keywords = SMALL | {"search_steps": steps, "tolerance": 1e6, "patience": 3}
    scorer = Scorer(jaxad.anogan(**keywords), 2, KEY)
    scores[steps] = scorer.scores(state, images)
    assert (scores[steps].parts["steps"] == 4).all()
  np.testing.assert_allclose(scores[25].image, scores[60_000].image, rtol=1e-6)


def test_an_official_test_hands_moments_on(state):
  detector = jaxad.anogan(**SMALL, search_keeps_moments=True)
  search, size = detector.search, 3
  label, names = np.int32([0, 0, 0, 1, 1]), tuple(map(str, range(N)))
  images = Examples(X, label, names, ("",) * N, None)
  got = official_scores(detector, state, images, size, KEY)
  start, finish = jax.jit(search.start), jax.jit(search.finish)
  run = jax.jit(search.run)
  want, kept = [], None
  for part in (X[:size], X[size:]):
    found = start(state, part, jax.random.split(KEY, len(part)))
    if kept is not None:
      assert np.abs(kept["mu"]).max() > 0
      fresh = run(state, part, found)["codes"]["z"]
      found = resumed(found, kept)
    found = run(state, part, found)
    want.append(finish(state, part, found).image)
    kept = moments(found)
  np.testing.assert_allclose(got, np.concatenate(want), rtol=1e-5)
  assert np.abs(found["codes"]["z"] - fresh).max() > 0.1
  assert jaxad.anogan(**SMALL).official is None


def test_rates_fall_after_their_last_step(state):
  """The first step of Adam is as long as its rate."""
  moved = {}
  for rates, boundaries in (((0.1, 0.0), (1,)), ((0.1, 0.0), (0,))):
    keywords = {"search_rates": rates, "search_boundaries": boundaries}
    search = jaxad.anogan(**SMALL | keywords).search
    step, found = jax.jit(search.step), search.start(state, X, KEYS)
    way = []
    for _ in range(3):
      after = step(state, X, found)
      way.append(np.abs(after["codes"]["z"] - found["codes"]["z"]).max())
      found = after
    moved[boundaries] = [w > 0 for w in way]
  assert moved == {(1,): [True, True, False], (0,): [True, False, False]}


def test_starts_are_as_drawn(state):
  codes = {}
  keys = jax.random.split(KEY, 500)
  x = np.zeros((500, 8, 8, 1), np.uint8)
  for start, prior in (
    ("truncated", "normal"),
    ("prior", "normal"),
    ("prior", "uniform"),
  ):
    detector = jaxad.anogan(**SMALL, start=start, prior=prior)
    codes[start, prior] = detector.search.start(state, x, keys)["codes"]["z"]
  reach = {name: float(np.abs(z).max()) for name, z in codes.items()}
  assert 1.8 < reach["truncated", "normal"] < 2
  assert reach["prior", "normal"] > 2.5
  assert 0.9 < reach["prior", "uniform"] < 1


@pytest.mark.parametrize("degree", [1, 2])
def test_a_norm_has_a_gradient_at_zero(degree):
  v = jnp.array([[0.0, 0.0], [3.0, -4.0]])
  assert norm(v, degree).tolist() == [0.0, {1: 7.0, 2: 5.0}[degree]]
  gradient = jax.grad(lambda v: norm(v, degree).sum())(v)
  assert jnp.isfinite(gradient).all() and (gradient[0] == 0).all()
  assert norm(v.reshape(1, 2, 2), degree, 2).shape == (1, 2)


def test_sides_are_multiples_of_four():
  for side in (6, 10, 30):
    with pytest.raises(InputError, match=f"image_size={side}: .*multiple of 4"):
      jaxad.anogan().init(KEY, {"x": np.zeros((1, side, side, 1), np.uint8)})
