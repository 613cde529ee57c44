# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The estimator: scikit-learn's own checks, and what they do not know."""

import copy
import pathlib
import re

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

import jaxad
from jaxad.errors import InputError
from jaxad.evaluation.thresholds import threshold
from jaxad.layers.augmentation import Augmentation
from jaxad.sklearn import AnomalyDetector

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "sklearn.md"

SMALL = AnomalyDetector("differnet", epochs=2, n_blocks=1, hidden=4)

# They fit on many shapes, or again what another check fits.
SLOW = {
  "check_classifier_data_not_an_array",
  "check_dtype_object",
  "check_estimators_dtypes",
  "check_estimators_nan_inf",
  "check_estimators_overwrite_params",
  "check_fit_check_is_fitted",
  "check_fit_score_takes_y",
  "check_n_features_in",
  "check_n_features_in_after_fitting",
  "check_pipeline_consistency",
  "check_positive_only_tag_during_fit",
}


def checks():
  """Every check that scikit-learn has for such an estimator."""
  for _, check in estimator_checks_generator(SMALL):
    name = check.func.__name__
    marks = [pytest.mark.slow] if name in SLOW else []
    yield pytest.param(check, marks=marks, id=name)


@pytest.mark.parametrize("check", list(checks()))
def test_scikit_learn_agrees(check):
  check(SMALL)


def table(n, seed):
  """Normal rows: two columns that go together, one far off, one constant."""
  rng = np.random.default_rng(seed)
  a = rng.normal(size=n)
  b = a + rng.normal(0, 0.1, n)
  return np.stack([a, b, 1e5 + rng.normal(size=n), np.full(n, 7.0)], axis=1)


@pytest.fixture(scope="module")
def fitted():
  detector = AnomalyDetector(
    steps=400, n_blocks=2, hidden=16, learning_rate=2e-3
  )
  return detector.fit(table(400, seed=0))


def test_anomalies_of_a_table(fitted):
  normal = table(300, seed=1)
  # Each column is as ever; that they go together is what is missing.
  odd = normal.copy()
  odd[:, 1] -= 1.5 * np.sign(odd[:, 1])
  y = np.repeat([1, -1], 300)
  scores = fitted.decision_function(np.concatenate([normal, odd]))
  assert roc_auc_score(y, scores) > 0.98
  assert (fitted.predict(normal) == -1).mean() < 0.15
  assert (fitted.predict(odd) == -1).mean() > 0.7


def test_a_column_that_was_constant(fitted):
  x = table(50, seed=2)
  x[:, 3] += 50
  assert (fitted.predict(x) == -1).all()


def test_what_is_very_far_off_is_finite(fitted):
  x = np.full((3, 4), 1e300) * [[1], [-1], [1e-290]]
  assert np.isfinite(fitted.score_samples(x)).all()
  assert (fitted.predict(x) == -1).all()


def test_one_column():
  x = table(200, seed=0)[:, :1]
  detector = AnomalyDetector(steps=100, n_blocks=2, hidden=8).fit(x)
  scores = detector.score_samples([[0.0], [2.0], [4.0], [8.0]])
  assert (np.diff(scores) < 0).all()


def test_the_threshold_is_of_rows_that_are_held_out(fitted):
  x = table(40, seed=3)
  rule = dict(threshold="max", random_state=5)
  detector = clone(SMALL).set_params(holdout=0.25, **rule).fit(x)
  # Of the 40 rows none but the highest held-out one lies on the threshold.
  margin = detector.decision_function(x)
  assert (margin == 0).sum() == 1
  everything = clone(SMALL).set_params(holdout=0, **rule).fit(x)
  assert everything.decision_function(x).min() == 0
  scores = -everything.score_samples(x)
  everything.set_params(threshold="quantile", threshold_value=0.5).fit(x)
  assert -everything.offset_ == threshold(scores, "quantile", 0.5)


def test_a_pickle_needs_no_more(fitted, tmp_path):
  joblib.dump(fitted, tmp_path / "detector")
  again = joblib.load(tmp_path / "detector")
  x = table(20, seed=4)
  np.testing.assert_array_equal(
    again.decision_function(x), fitted.decision_function(x)
  )
  # Adam's moments would make it three times as large.
  parameters = 2 * 2 * (2 * 16 + 16 + 2 * (16 * 16 + 16) + 16 * 4 + 4)
  assert (tmp_path / "detector").stat().st_size < 2 * 4 * parameters


def test_keywords_of_the_method():
  detector = AnomalyDetector("ganomaly", width=8)
  assert detector.get_params()["width"] == 8
  copy = clone(detector).set_params(latent_dim=4, epochs=3)
  assert copy.get_params()["latent_dim"] == 4 and copy.epochs == 3
  assert "latent_dim" not in detector.get_params()
  assert repr(copy) == (
    "AnomalyDetector(epochs=3, latent_dim=4, method='ganomaly', width=8)"
  )


@pytest.mark.whole
def test_a_search_in_a_pipeline():
  x = np.concatenate([table(60, seed=5), table(20, seed=6) + 0.5])
  y = np.repeat([1, -1], [60, 20])
  model = make_pipeline(MinMaxScaler(), clone(SMALL))
  rates = [0.0, 1e-2]
  search = GridSearchCV(
    model,
    {"anomalydetector__learning_rate": rates},
    scoring="roc_auc",
    cv=[(np.arange(40), np.arange(40, 80))],
    error_score="raise",
  ).fit(x, y)
  found = search.cv_results_["mean_test_score"]
  assert found.shape == (2,) and found[0] != found[1]
  assert search.best_estimator_.predict(x).shape == (80,)


def test_a_failed_fit_leaves_the_one_before(fitted):
  x = table(20, seed=7)
  detector = copy.deepcopy(fitted).set_params(batch_size=0)
  with pytest.raises(InputError, match="batch_size=0"):
    detector.fit(3 * x)
  np.testing.assert_array_equal(
    detector.decision_function(x), fitted.decision_function(x)
  )


# Images.

GAN = dict(batch_size=4, steps=2, width=4, latent_dim=4)


def squares(n, seed):
  """Grey noise, [n, 32, 32, 3] uint8; the first half with a white square."""
  rng = np.random.default_rng(seed)
  x = np.uint8(np.clip(rng.normal(128, 10, (n, 32, 32, 3)), 0, 255))
  x[: n // 2, 8:16, 8:16] = 255
  return x


@pytest.mark.whole
def test_images_however_they_come():
  x = squares(12, seed=0)[:, ::2, ::2, :1]
  detector = AnomalyDetector("ganomaly", **GAN).fit(x)
  assert detector.image_shape_ == (16, 16, 1)
  assert detector.n_features_in_ == 256
  scores = detector.score_samples(x)
  assert len(set(scores)) == 12
  for same in (x[..., 0], x.astype(int), x.reshape(12, -1), x / 255):
    np.testing.assert_allclose(detector.score_samples(same), scores, rtol=1e-4)
  flat = AnomalyDetector("ganomaly", image_shape=(16, 16, 1), **GAN)
  flat.fit(x.reshape(12, -1))
  np.testing.assert_array_equal(flat.score_samples(x), scores)


@pytest.mark.whole
def test_labelled_anomalies():
  x = squares(40, seed=0)
  kept = np.r_[:6, 20:40]
  label = np.int32(kept < 20)
  keywords = dict(
    batch_size=8,
    steps=40,
    trunk=jaxad.Trunk(
      weights="random", width=4, blocks=(1, 1, 1, 1), layer="layer1"
    ),
    augmentation=Augmentation(rotation=0.0),
    optimizer=jaxad.ClippedAdam(learning_rate=3e-3),
  )
  detector = AnomalyDetector("devnet", **keywords)
  y = detector.fit_predict(x[kept], 1 - 2 * label)
  scores = detector.score_samples(squares(20, seed=1))
  assert scores[:10].max() < scores[10:].min()
  assert (y[:6] == -1).all()
  with pytest.raises(InputError, match="y: devnet learns .* rows of -1"):
    detector.fit(x)
  with pytest.raises(InputError, match="y: devnet learns .* rows of -1"):
    detector.fit(x, np.ones(40))  # all of them are normal
  with pytest.raises(InputError, match=r"y: expected \+1 .* 0 and 1"):
    detector.fit(x[kept], 2 * label)
  # The other spelling is the same, down to the bits.
  again = clone(detector).fit(x[kept], label)
  np.testing.assert_array_equal(
    again.score_samples(squares(20, seed=1)), scores
  )


def test_what_is_drawn_comes_from_the_row():
  x = squares(12, seed=0)[:, ::2, ::2]
  keywords = dict(
    trunk="alexnet",
    layer="features.0",
    weights="random",
    n_scales=1,
    n_transforms=1,
    n_transforms_test=1,
    test_rotations="random",
  )
  detector = clone(SMALL).set_params(batch_size=4, steps=2, **keywords).fit(x)
  scores = detector.score_samples(x)
  alone = np.concatenate([detector.score_samples(x[[k]]) for k in (7, 2)])
  np.testing.assert_allclose(alone, scores[[7, 2]], rtol=1e-5)
  other = detector.set_params(test_rotations="fixed").fit(x)
  assert (np.abs(other.score_samples(x) / scores - 1) > 1e-2).mean() > 0.5


@pytest.mark.parametrize(
  "keywords, x, words",
  [
    (dict(method="svm"), None, "method='svm': expected one of adae, .*dra"),
    (dict(learning_rat=1.0), None, "keyword='learning_rat' .* learning_rate"),
    (dict(learning_rate=-1.0), None, "learning_rate=-1.0: expected a number"),
    (dict(holdout=1.0), None, "holdout=1.0: expected a number, 0 to below 1"),
    (dict(threshold="mean"), None, "threshold rule 'mean': expected one of"),
    (dict(threshold_value=2.0), None, "threshold_value=2.0: .* by the rule"),
    (dict(epochs=0.5), None, "epochs=0.5: expected a whole number"),
    (dict(method="ganomaly"), None, "'ganomaly': it takes images; .* C]"),
    (dict(image_shape=(4, 4)), None, "image_shape=.*a tuple of 3"),
    (dict(image_shape=(4, 4, 1)), None, "X has 4 values in a row; expected 16"),
    (
      dict(image_shape=(4, 4, 1)),
      np.zeros((8, 1, 4, 4)),
      r"X of shape \[8, 1, 4, 4\]: expected images \[n, 4, 4, 1\]",
    ),
    (
      dict(method="ganomaly"),
      np.full((8, 16, 16, 1), 16.0),
      "pixels from 16 to 16; .* 0..255, or floating point in",
    ),
    (dict(), np.zeros((8, 16, 16)), "Found array with dim 3"),
    (dict(), np.zeros((1, 3)), "1 sample"),
  ],
)
def test_wrong_input(keywords, x, words):
  x = table(8, seed=0) if x is None else x
  with pytest.raises(ValueError, match=words):
    AnomalyDetector(**keywords).fit(x)


@pytest.mark.whole
def test_the_page(capsys, monkeypatch, tmp_path):
  blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
  names = {}
  for block in blocks:
    if "jax.config" not in block:  # The tests share one cache already.
      exec(compile(block, PAGE.name, "exec"), names)
  benign, malignant, best, auroc = capsys.readouterr().out.splitlines()
  assert float(benign.split()[0]) < 0.2
  assert float(malignant.split()[0]) > 0.8
  assert float(best.split()[-1]) > 0.9
  assert float(auroc.split()[-1]) > 0.95
