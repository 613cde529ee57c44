# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The method of docs/add_a_method.md is a method, and its training trains."""

import importlib
import pathlib
import re
import runpy

import chex
import jax
import numpy as np
import pytest

import jaxad
from jaxad import config as configs
from jaxad import config_files
from jaxad.data import Examples
from jaxad.errors import InputError
from jaxad.evaluation.scoring import Scorer

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "add_a_method.md"
SIZE = 12


@pytest.fixture(scope="module")
def page(tmp_path_factory):
  """A folder with the three blocks of the page: method, training, config."""
  folder = tmp_path_factory.mktemp("page")
  blocks = re.findall(
    r"^```python[^\n]*\n(.*?)^```$", PAGE.read_text(), re.M | re.S
  )
  names = ("linear_autoencoder", "training", "config")
  for name, block in zip(names, blocks, strict=True):
    (folder / f"{name}.py").write_text(block)
  with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(folder)
    yield folder


@pytest.fixture(scope="module")
def factory(page):
  return importlib.import_module("linear_autoencoder").linear_autoencoder


def waves(n, seed):
  """Normal images, uint8: stripes of any phase below a band that flickers."""
  rng = np.random.default_rng(seed)
  phase = rng.uniform(0, 2 * np.pi, (n, 1, 1, 1))
  wave = 50 * np.sin(np.arange(SIZE)[:, None] / 2 + phase)
  image = np.broadcast_to(128 + wave, (n, SIZE, SIZE, 1))
  image = image + rng.normal(0, 4, image.shape)
  image[:, :2] += rng.normal(0, 25, (n, 2, SIZE, 1))
  return np.uint8(np.clip(image, 0, 255))


def odd(n, seed):
  """The same with a square on the stripes, which none has."""
  x = waves(n, seed)
  x[:, 5:9, 3:7] = 255
  return x


def examples(x):
  names = tuple(f"{k:03d}" for k in range(len(x)))
  label = np.zeros(len(x), np.int32)
  return Examples(x, label, names, ("good",) * len(x), None)


@pytest.fixture(scope="module")
def trained(factory):
  """The detector, its first state and its last."""
  # With a last, padded batch.
  data = examples(waves(44, seed=0))
  detector = factory(latent_dim=2, learning_rate=1e-2)
  plan = jaxad.make_plan(detector, data, batch_size=16, epochs=200)
  first = detector.init(jax.random.key(0), {"x": data.x[:1]}, plan)
  state = jax.tree.map(lambda v: v.copy(), first)
  return detector, first, jaxad.fit(detector, state, data, plan)


def scores_of(detector, state, x):
  keys = jax.random.split(jax.random.key(2), len(x))
  return jax.jit(detector.score)(state, x, keys)


def test_an_odd_image_stands_out(trained):
  detector, _, state = trained
  normal = scores_of(detector, state, waves(20, seed=1))
  anomalous = scores_of(detector, state, odd(20, seed=2))
  assert anomalous.image.min() > 3 * normal.image.max()
  # Normal images are as far off the plane as those of the fit.
  assert 0.5 < normal.image.mean() < 2
  # The map shows where.
  square = np.zeros((SIZE, SIZE), bool)
  square[5:9, 3:7] = True
  assert anomalous.map[:, square].mean() > 10 * anomalous.map[:, ~square].mean()


def test_training_and_the_fit_both_matter(trained):
  detector, first, state = trained
  normal, anomalous = waves(20, seed=1), odd(20, seed=2)
  ratio = lambda state: (
    scores_of(detector, state, anomalous).image.min()
    / scores_of(detector, state, normal).image.max()
  )
  assert ratio(state) > 2 * ratio(first)
  assert ratio(state) > 2 * ratio(state.replace(extras=first.extras))


def test_the_fit_keeps_shapes_and_types(trained):
  _, first, state = trained
  chex.assert_trees_all_equal_shapes_and_dtypes(state, first)
  assert int(state.phase) == 1 and int(state.step) == 600


def test_the_fit_is_that_of_the_rows(trained):
  """Against NumPy in float64; 44 rows end in a padded batch."""
  _, _, state = trained
  x = waves(44, seed=0).reshape(44, -1).astype(np.float64) / 255
  layers = jax.tree.map(np.float64, state.params["autoencoder"])
  affine = lambda x, layer: x @ layer["kernel"] + layer["bias"]
  x_hat = affine(affine(x, layers["encoder"]), layers["decoder"])
  want = np.maximum(((x - x_hat) ** 2).mean(0), 1e-4)
  np.testing.assert_allclose(state.extras["e"].ravel(), want, rtol=1e-4)
  assert (want > 1e-4).sum() > 20


def test_rows_of_weight_zero_change_nothing(trained):
  detector, first, _ = trained
  weight = np.float32([1, 1, 0, 0])
  update = jax.jit(detector.phases[0].update)
  x = waves(4, seed=3)
  other = np.concatenate([x[:2], odd(2, seed=4)])
  a, b, c = (
    update(first, {"x": x, "weight": w})[0].params
    for x, w in ((x, weight), (other, weight), (x, np.ones(4, np.float32)))
  )
  chex.assert_trees_all_close(a, b, rtol=1e-6)
  gap = jax.tree.map(lambda a, c: np.abs(a - c).max(), a, c)
  assert max(jax.tree.leaves(gap)) > 1e-5


def test_scores_do_not_depend_on_the_rest_of_the_batch(trained):
  detector, _, state = trained
  data = examples(np.concatenate([waves(7, seed=5), odd(4, seed=6)]))
  score = lambda size: (
    Scorer(detector, size, jax.random.key(7)).scores(state, data).image
  )
  np.testing.assert_allclose(score(4), score(11), rtol=1e-5)


def test_wrong_values_are_told(factory):
  with pytest.raises(InputError, match="latent_dim=0: expected a whole number"):
    factory(latent_dim=0)
  with pytest.raises(InputError, match="latent_dim=144: .* the 144 values"):
    factory(latent_dim=144).init(jax.random.key(0), {"x": waves(1, seed=0)})


def test_the_training_of_the_page(page, capsys):
  found = runpy.run_path(str(page / "training.py"))
  assert found["auroc"] > 0.95
  assert found["scores"].map.shape == (599, 16, 16)
  assert capsys.readouterr().out == f"AUROC {found['auroc']:.3f}\n"


def test_the_config_of_the_page(page, factory, monkeypatch):
  monkeypatch.setitem(jaxad.METHODS, "linear_autoencoder", factory)
  config = config_files.load(f"{page / 'config.py'}:mnist/8")
  assert (config.data.name, config.data.subset) == ("mnist", "8")
  assert config.detector.latent_dim == 16
  configs.override(config, "detector.latent_dim", "4")
  assert config.detector.latent_dim == 4
