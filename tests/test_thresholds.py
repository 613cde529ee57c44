# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Threshold rules against their definitions."""

import statistics

import numpy as np
import pytest
from scipy import stats

from jaxad.errors import InputError
from jaxad.evaluation.thresholds import (
  DEFAULTS,
  expected_rejections,
  grid_upper_quantile,
  silverman_bandwidth,
  threshold,
)


def test_quantile_by_hand():
  scores = np.arange(101.0)[::-1]
  assert threshold(scores, "quantile") == 95
  assert threshold(scores, "quantile", 0.95) == 95
  assert threshold([0.0, 1.0], "quantile", 0.25) == 0.25
  assert threshold(scores, "quantile", 1) == 100
  assert np.mean(scores > threshold(scores, "quantile")) == pytest.approx(
    0.05, abs=0.01
  )


def test_max_calls_no_training_score_anomalous():
  scores = np.random.default_rng(0).normal(size=50).astype(np.float32)
  t = threshold(scores, "max")
  assert t == scores.max()
  assert not (scores > t).any()


def test_sigma_by_hand():
  # Mean 5 and population deviation 2.
  scores = [2, 4, 4, 4, 5, 5, 7, 9]
  assert threshold(scores, "sigma") == 11
  assert threshold(scores, "sigma", 0.5) == 6
  assert threshold(scores, "sigma", 0) == 5


def test_silverman_bandwidth_by_hand():
  # Deviation 0.9 * 2 * 8^(-1/5) where it is less than the range 1.5 / 1.34.
  scores = np.array([2.0, 4, 4, 4, 5, 5, 7, 9])
  np.testing.assert_allclose(
    silverman_bandwidth(scores), 0.9 * 1.5 / 1.34 * 8**-0.2
  )
  # The interquartile range is 0: the deviation alone.
  scores = np.array([0.0, 0, 0, 0, 0, 0, 0, 8])
  np.testing.assert_allclose(
    silverman_bandwidth(scores), 0.9 * scores.std() * 8**-0.2
  )


@pytest.mark.parametrize("tail", [0.5, 0.05, 1e-6])
def test_kde_of_two_far_points_is_a_quantile_of_one_kernel(tail):
  scores = np.array([0.0, 1.0])
  h = silverman_bandwidth(scores)
  t = threshold(scores, "kde", tail)
  above = [1 - statistics.NormalDist(s, h).cdf(t) for s in scores]
  np.testing.assert_allclose(np.mean(above), tail, rtol=1e-9)


def test_kde_of_symmetric_scores_halves_at_the_centre():
  scores = 3 + np.array([-2.0, -1, -0.5, 0.5, 1, 2])
  np.testing.assert_allclose(threshold(scores, "kde", 0.5), 3, atol=1e-12)


def test_kde_agrees_with_scipy():
  scores = np.random.default_rng(1).gamma(2.0, size=80)
  factor = silverman_bandwidth(scores) / scores.std(ddof=1)
  density = stats.gaussian_kde(scores, bw_method=factor)
  for tail in (0.3, 0.05, 0.001):
    t = threshold(scores, "kde", tail)
    np.testing.assert_allclose(
      density.integrate_box_1d(t, np.inf), tail, rtol=1e-6
    )
  assert threshold(scores) == threshold(scores, "kde", 0.05)


def test_the_grid_is_read_at_the_place_of_another():
  """By hand: three kernels, and of 5 points the first below which is enough."""
  scores = np.array([0.0, 1.0, 2.0])
  h = 0.9 * 1 / 1.349 * 3**-0.2
  wide = np.linspace(-3 * h, 2 + 3 * h, 5)
  below = stats.norm.cdf(wide[:, None], scores, h).mean(1)
  assert below[3] < 0.95 < below[4] and below[2] < 0.6 < below[3]
  assert grid_upper_quantile(scores, 0.05, n=5) == 2.0
  assert grid_upper_quantile(scores, 0.4, n=5) == 1.5
  # Too short a grid ends at the highest score.
  assert grid_upper_quantile(scores, 1e-9, n=5, cut=1.0) == 2.0
  assert threshold(scores, "kde_grid") == grid_upper_quantile(scores, 0.1)
  # It is below the quantile itself.
  assert threshold(scores, "kde_grid") < threshold(scores, "kde", 0.1)


@pytest.mark.parametrize("rule", DEFAULTS)
@pytest.mark.parametrize("constant", [0.0, 0.1, -7.3, 1e20])
@pytest.mark.parametrize("n", [1, 3, 10])
def test_constant_scores_give_the_constant(rule, constant, n):
  assert threshold(np.full(n, constant), rule) == constant


@pytest.mark.parametrize("rule", DEFAULTS)
def test_moves_and_scales_with_the_scores(rule):
  scores = np.random.default_rng(2).normal(size=30)
  np.testing.assert_allclose(
    threshold(100 + 8 * scores, rule), 100 + 8 * threshold(scores, rule)
  )


def test_unknown_rule_names_the_rules():
  with pytest.raises(InputError, match="'f1'.*max, sigma, kde, kde_grid"):
    threshold([1.0], "f1")


@pytest.mark.parametrize("rule", DEFAULTS)
def test_scores_that_are_refused(rule):
  for empty in ([], [[1.0, 2.0]], 1.0):
    with pytest.raises(InputError, match="a vector of one score or more"):
      threshold(empty, rule)
  for bad in (np.nan, np.inf, -np.inf):
    with pytest.raises(InputError, match="1 of 2 .* NaN or infinite"):
      threshold([1.0, bad], rule)


@pytest.mark.parametrize(
  "rule, value",
  [
    ("quantile", 1.01),
    ("quantile", -0.1),
    ("max", 2.0),
    ("sigma", -1.0),
    ("sigma", np.inf),
    ("kde", 0.0),
    ("kde", 1.0),
    ("kde", np.nan),
    ("kde_grid", 1.0),
  ],
)
def test_values_that_are_refused(rule, value):
  with pytest.raises(InputError, match=f"threshold_value={value}.*{rule}"):
    threshold([1.0, 2.0], rule, value)


def test_expected_rejections_by_hand():
  scores = np.arange(19.0)
  share, (low, high) = expected_rejections(scores, 17.5)
  assert share == 1.5 / 20
  # Where binomials of these rates have 1 or more, and 1 or fewer, above.
  np.testing.assert_allclose(stats.binom.sf(0, 19, low), 0.025)
  np.testing.assert_allclose(stats.binom.cdf(1, 19, high), 0.025)
  # At the highest score the mean of the true share is 1 in 20.
  share, (low, high) = expected_rejections(scores, 18.0)
  assert share == 1 / 20 and low == 0
  np.testing.assert_allclose((1 - high) ** 19, 0.025)
  assert expected_rejections(scores, -1.0)[1][1] == 1
  narrow, wide = (expected_rejections(scores, 9.5, c)[1] for c in (0.5, 0.99))
  assert wide[0] < narrow[0] < 10 / 19 < narrow[1] < wide[1]


@pytest.mark.parametrize("rule", DEFAULTS)
@pytest.mark.parametrize("n", [5, 20, 48])
@pytest.mark.parametrize(
  "scores", [stats.norm(), stats.gamma(2), stats.lognorm(1)]
)
def test_the_interval_covers_the_true_rate(rule, n, scores):
  """Of thresholds from the very scores that are counted, 300 times."""
  rng = np.random.default_rng(0)
  covered, expected, true = [], [], []
  for drawn in scores.rvs((300, n), random_state=rng):
    limit = threshold(drawn, rule)
    share, (low, high) = expected_rejections(drawn, limit)
    true.append(scores.sf(limit))
    covered.append(low <= true[-1] <= high)
    expected.append(share)
  assert np.mean(covered) > 0.93
  if n > 5:
    assert np.mean(expected) == pytest.approx(np.mean(true), abs=0.03)
