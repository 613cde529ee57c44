# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The baselines score as scikit-learn does."""

import jax
import numpy as np
import pytest
from sklearn.covariance import EmpiricalCovariance, LedoitWolf
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import NearestNeighbors
from sklearn.svm import OneClassSVM

import jaxad
from jaxad import checks, config_files
from jaxad.data.examples import Dataset, Examples
from jaxad.errors import InputError
from jaxad.layers.isolation import expected_length
from jaxad.networks.pyramid import Trunk
from jaxad.run import run

FROZEN = Trunk("alexnet", "features.2", "random", train_norms=False)


def rows(n, seed, scale=1.0):
  """Of twelve columns, of which some go together."""
  rng = np.random.default_rng(seed)
  mix = np.random.default_rng(0).normal(size=(12, 12))
  return np.float32(scale * rng.normal(size=(n, 12)) @ mix)


def padded(x, size=32):
  """Batches of one shape; what fills the last one is far off."""
  for first in range(0, len(x), size):
    part = x[first : first + size]
    weight = np.zeros(size, np.float32)
    weight[: len(part)] = 1
    filled = np.full((size, *x.shape[1:]), 77, x.dtype)
    filled[: len(part)] = part
    yield {"x": filled, "weight": weight, "label": np.zeros(size, np.int32)}


def fitted(detector, x):
  """(state, the seed that its fit drew)."""
  state = detector.init(jax.random.key(3), {"x": x[:1]})
  _, key = jax.random.split(state.key)
  seed = int(jax.random.randint(key, (), 0, 2**31 - 1))
  return detector.phases[0].fit(state, padded(x)), seed


def mahalanobis(estimator):
  return lambda x, test, seed: estimator.fit(np.float64(x)).mahalanobis(test)


def neighbours(x, test, seed):
  return NearestNeighbors(n_neighbors=4).fit(x).kneighbors(test)[0]


def off_plane(x, test, seed):
  found = PCA(3).fit(x)
  return ((test - found.inverse_transform(found.transform(test))) ** 2).sum(1)


def one_class(**keywords):
  svm = OneClassSVM(**keywords)
  return lambda x, test, seed: -svm.fit(x).decision_function(test)


def forest(x, test, seed):
  found = IsolationForest(
    n_estimators=20, max_samples=min(100, len(x)), random_state=seed
  )
  return -found.fit(x).score_samples(test)


CASES = {
  "svm": (jaxad.ocsvm(nu=0.2, most_rows=150), one_class(nu=0.2)),
  "svm, gamma": (
    jaxad.ocsvm(nu=0.2, gamma=0.05, most_rows=150),
    one_class(nu=0.2, gamma=0.05),
  ),
  "svm, auto": (
    jaxad.ocsvm(nu=0.2, gamma="auto", most_rows=150),
    one_class(nu=0.2, gamma="auto"),
  ),
  "knn": (
    jaxad.knn(k=4, most_rows=200),
    lambda *args: neighbours(*args).mean(1),
  ),
  "kth": (
    jaxad.knn(k=4, distance="kth", most_rows=200),
    lambda *args: neighbours(*args)[:, -1],
  ),
  "pca": (jaxad.pca(n_components=3), off_plane),
  "ledoit_wolf": (jaxad.gaussian(), mahalanobis(LedoitWolf())),
  "empirical": (
    jaxad.gaussian(covariance="empirical"),
    mahalanobis(EmpiricalCovariance()),
  ),
  "forest": (jaxad.iforest(n_trees=20, most_samples=100), forest),
}


@pytest.mark.parametrize("n", [150, 70])
@pytest.mark.parametrize("name", CASES)
def test_scores_are_those_of_scikit_learn(name, n):
  """Where the rows fill what is kept of them, and where they do not."""
  detector, reference = CASES[name]
  x, test = rows(n, seed=1), rows(40, seed=2, scale=1.5)
  state, seed = fitted(detector, x)
  got = jax.jit(detector.score)(state, test, None).image
  want = reference(x, test, seed)
  np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * abs(want).max())


def test_a_forest_tells_rows_on_a_cut_alike():
  """Columns of few values, which thresholds may equal to rounding."""
  x = np.float32(np.random.default_rng(0).integers(0, 4, (80, 3)) / 10)
  detector = jaxad.iforest(n_trees=20, most_samples=64)
  state, seed = fitted(detector, x)
  found = IsolationForest(
    n_estimators=20, max_samples=64, random_state=seed
  ).fit(x)
  got = jax.jit(detector.score)(state, x, None).image
  np.testing.assert_allclose(got, -found.score_samples(x), rtol=1e-5)
  # A row on a cut goes left, as there.
  tree = found.estimators_[0].tree_
  on = np.zeros((1, 3), np.float32)
  on[0, tree.feature[0]] = np.float32(tree.threshold[0])
  got = jax.jit(detector.score)(state, on, None).image
  np.testing.assert_allclose(got, -found.score_samples(on), rtol=1e-5)


def test_expected_length():
  assert expected_length(1) == 0 and expected_length(2) == 1
  harmonic = sum(1 / k for k in range(1, 256))
  want = 2 * harmonic - 2 * 255 / 256
  assert expected_length(256) == pytest.approx(want, rel=1e-3)


def test_more_rows_than_are_kept():
  """The first of the random order; the others are not looked at."""
  x, test = rows(90, seed=1), rows(5, seed=2)
  detector = jaxad.knn(k=4, most_rows=60)
  state, _ = fitted(detector, x)
  got = jax.jit(detector.score)(state, test, None).image
  want = neighbours(x[:60], test, 0).mean(1)
  np.testing.assert_allclose(got, want, rtol=1e-5)


def images(n, seed):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (n, 32, 32, 3), np.uint8)


def test_images_by_a_frozen_trunk():
  """Through the loop, from features that are computed once or not."""
  x = images(24, 0)
  ids = tuple(f"{k:02d}" for k in range(24))
  train = Examples(x, np.zeros(24, np.int32), ids, ("good",) * 24, None)
  detector = jaxad.gaussian(trunk=FROZEN)
  plan = jaxad.make_plan(detector, Dataset(train, train), batch_size=10)
  assert plan.ends == (0,)
  state = detector.init(jax.random.key(0), {"x": x[:1]}, plan)
  embed = jax.jit(detector.embed, static_argnums=3)
  features = np.asarray(embed(state, x, None, True))
  assert features.shape == (24, 1, 64)
  done = jaxad.fit(detector, state, train, plan)
  assert int(done.phase) == 1
  for name, value in state.params["trunk"].items():
    for leaf, kept in zip(
      jax.tree.leaves(value),
      jax.tree.leaves(done.params["trunk"][name]),
      strict=True,
    ):
      np.testing.assert_array_equal(leaf, kept)
  test = images(6, 1)
  y = np.asarray(embed(state, test, None, False))[:, 0]
  want = LedoitWolf().fit(np.float64(features[:, 0])).mahalanobis(y)
  got = jax.jit(detector.score)(done, test, None).image
  np.testing.assert_allclose(got, want, rtol=1e-3)


def test_pixels_need_no_trunk():
  x = images(12, 0)[:, :6, :6, :1]
  detector = jaxad.knn(k=1, most_rows=12, features="pixels")
  state, _ = fitted(detector, x)
  assert not state.params
  score = jax.jit(detector.score)
  np.testing.assert_allclose(score(state, x, None).image, 0, atol=1e-6)
  more = np.float32(x[:1]) / 255 + 0.5
  want = 0.5 * np.sqrt(36)
  got = score(state, np.float32(more), None).image[0]
  assert 0 < got <= want + 1e-5


@pytest.mark.parametrize(
  "detector, message",
  [
    (jaxad.knn(k=9), "k=9: expected at most 8, the training rows"),
    (jaxad.pca(n_components=11), "n_components=11: .* at most 8"),
    (jaxad.pca(n_components=12), "n_components=12: .*less than the 12"),
  ],
)
def test_too_few_rows(detector, message):
  with pytest.raises(InputError, match=message):
    fitted(detector, rows(8, seed=0))


@pytest.mark.parametrize("field, value", [("every", 2), ("patience", 2)])
def test_there_are_no_epochs_to_look_into(field, value):
  config = config_files.load("knn")
  config.eval[field] = value
  message = f"config.eval.{field}=2: knn is fitted at once"
  with pytest.raises(InputError, match=message):
    checks.checked_detector(config)


@pytest.mark.whole
def test_a_run_on_images(tmp_path):
  """Features are computed once; there is a sheet, and there are no maps."""
  config = config_files.load("iforest")
  config.data.update(image_size=64, n_train=20, n_test_good=6, n_test_defect=6)
  config.detector.trunk.weights = "random"
  config.train.cached_views = 1
  results = run(config, tmp_path / "run")
  assert 0 <= results["image_auroc"] <= 1 and results["pixel_auroc"] is None
  assert (tmp_path / "run" / "images.png").is_file()
  trained = jaxad.load(tmp_path / "run")
  one = [images(1, 0)[0]]
  assert np.isfinite(trained.score(one).image).all()
  with pytest.raises(InputError, match="makes no maps"):
    trained.score(one, True)


@pytest.mark.parametrize("method", ["ocsvm", "knn", "pca", "gaussian"])
def test_a_run_on_rows(method, tmp_path):
  config = config_files.load(f"{method}:breast_cancer")
  results = run(config, tmp_path / "run")
  assert results["image_auroc"] > 0.92
