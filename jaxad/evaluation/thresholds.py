# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The score above which an example is called anomalous.

A threshold comes from scores of normal examples alone, best of examples that
were held out of training. An example is anomalous where `score > threshold`.
"""

import bisect
from collections.abc import Callable

import numpy as np

from jaxad.errors import InputError
from jaxad.evaluation.metrics import check_finite

# What `value` is where it is not given; `max` has none.
DEFAULTS: dict[str, float | None] = {
  "quantile": 0.95,
  "max": None,
  "sigma": 3.0,
  "kde": 0.05,
  "kde_grid": 0.1,
}


def threshold(
  normal_scores, rule: str = "kde", value: float | None = None
) -> float:
  """A threshold from normal scores.

  quantile  the `value` quantile, linear between scores; 0.95 by default, which
            calls 1 in 20 of these examples anomalous
  max       the highest score: calls none of these examples anomalous
  sigma     mean + `value` standard deviations (of the population); default 3
  kde       where a Gaussian kernel density estimate leaves the probability
            `value` above it; default 0.05. It can lie above the highest score,
            so few scores reject fewer new normal examples than by a quantile.
  kde_grid  the same as adVAE's authors compute it, for comparison with their
            figures: see `grid_upper_quantile`; default 0.1.

  Constant scores give that constant under every rule.

  Args:
    normal_scores: [N] float, N >= 1.
    rule: one of the names above.
    value: the number of the rule: a quantile in [0, 1], a count of standard
      deviations >= 0, a probability in (0, 1).

  Raises:
    InputError: no or non-finite scores, an unknown rule, a value out of range.
  """
  scores = check_finite(normal_scores).astype(np.float64)
  if rule not in DEFAULTS:
    raise InputError(
      f"threshold rule {rule!r}: expected one of {', '.join(DEFAULTS)}"
    )
  if scores.ndim != 1 or not scores.size:
    raise InputError(
      f"normal scores {scores.shape}: expected a vector of one score or more; "
      "hold out some normal examples for the threshold"
    )
  default = DEFAULTS[rule]
  if default is None:  # max
    if value is not None:
      raise InputError(
        f"threshold_value={value}: expected None, the rule max takes none.",
        "threshold_value",
      )
    return float(scores.max())

  value = default if value is None else value
  if rule == "quantile":
    _check_value(rule, value, 0 <= value <= 1, "a quantile in [0, 1]")
    return float(np.quantile(scores, value))
  if rule == "sigma":
    _check_value(rule, value, 0 <= value < np.inf, "a number >= 0")
    # Rounding in the mean of equal scores must not put them above it.
    if np.ptp(scores) == 0:
      return float(scores[0])
    return float(scores.mean() + value * scores.std())
  _check_value(rule, value, 0 < value < 1, "a probability in (0, 1)")
  if rule == "kde":
    return kde_upper_quantile(scores, value, silverman_bandwidth(scores))
  return grid_upper_quantile(scores, value)


def _check_value(rule, value, valid, expected):
  if not valid:
    raise InputError(
      f"threshold_value={value}: expected {expected} by the rule {rule}.",
      "threshold_value",
    )


def silverman_bandwidth(
  scores: np.ndarray, ddof: int = 0, normal_range: float = 1.34
) -> float:
  """0.9 min(std, IQR / normal_range) N^(-1/5); 0 for constant scores.

  Silverman, "Density Estimation for Statistics and Data Analysis", 1986, eq.
  3.31. The standard deviation alone is taken where half of the scores are
  equal and the interquartile range is 0.

  Args:
    scores: [N].
    ddof: 1 for the unbiased variance.
    normal_range: the interquartile range of N(0, 1).
  """
  if np.ptp(scores) == 0:
    return 0.0
  low, high = np.quantile(scores, (0.25, 0.75))
  spread = scores.std(ddof=ddof)
  if high > low:
    spread = min(spread, (high - low) / normal_range)
  return float(0.9 * spread * scores.size**-0.2)


def kde_upper_quantile(scores: np.ndarray, tail: float, h: float) -> float:
  """t where mean_i P(N(scores_i, h^2) > t) = tail, to the last bit."""
  from scipy import special

  if h == 0:
    return float(scores[0])
  # There one kernel alone has the tail `tail`; the mixture lies between.
  z = -special.ndtri(tail)
  low, high = scores.min() + z * h, scores.max() + z * h
  while low < (middle := (low + high) / 2) < high:
    if special.ndtr((scores - middle) / h).mean() > tail:
      low = middle
    else:
      high = middle
  return float(high)


def grid_upper_quantile(
  scores: np.ndarray, tail: float, n: int = 1024, cut: float = 3.0
) -> float:
  """What adVAE's code takes for `kde_upper_quantile`.

  The bandwidth h is statsmodels'. The first of n points from min - cut h to max
  + cut h is looked for above which there is less than the tail; but the value
  is the point of this number from min to max, so that it is no quantile of the
  density.

  Args:
    scores: [N] float64.
    tail: a probability in (0, 1).
    n: points of either grid.
    cut: see above.
  """
  from scipy import special

  h = silverman_bandwidth(scores, ddof=1, normal_range=1.349)
  if h == 0:
    return float(scores[0])
  low, high = scores.min(), scores.max()
  wide = np.linspace(low - cut * h, high + cut * h, n)
  below = lambda t: special.ndtr((t - scores) / h).mean()
  # The last point where the kernels reach beyond the grid.
  first = min(bisect.bisect_right(wide, 1 - tail, key=below), n - 1)
  return float(np.linspace(low, high, n)[first])


def expected_rejections(
  normal_scores, limit: float, confidence: float = 0.95
) -> tuple[float, tuple[float, float]]:
  """How many of new normal examples to expect above a threshold.

  With k of the N scores above it, it lies at or between two neighbouring order
  statistics. The share of all normal examples above these is distributed as
  Beta(k + 1, N - k) and Beta(k, N - k + 1), whatever the scores' distribution
  (Wilks, "Determination of Sample Sizes for Setting Tolerance Limits", Annals
  of Mathematical Statistics 12, 1941). So it holds for a threshold from these
  very scores, if training did not see the examples. The outer quantiles of the
  two are the interval of Clopper and Pearson, Biometrika 26, 1934.

  Args:
    normal_scores: [N] float, of examples that were held out of training.
    limit: the threshold.
    confidence: of the interval.

  Returns:
    (share, (low, high)) in [0, 1]. The share is (k + 1) / (N + 1), the mean of
    the first, for a threshold that is one of the scores, and midway between the
    two means, (k + 1/2) / (N + 1), for one between them.
  """
  from scipy import special

  scores = np.asarray(normal_scores)
  n, k = scores.size, int((scores > limit).sum())
  share = (k + (1 if limit in scores else 0.5)) / (n + 1)
  tail = (1 - confidence) / 2
  low = special.betaincinv(k, n - k + 1, tail) if k else 0.0
  high = special.betaincinv(k + 1, n - k, 1 - tail) if k < n else 1.0
  return share, (float(low), float(high))


def min_max(score: np.ndarray) -> np.ndarray:
  """Scores scaled to [0, 1] over the set they come from; all 0 where equal.

  For display, and for figures of authors who threshold scaled scores: the
  scaled score of an example depends on all others.
  """
  score = np.asarray(score)
  spread = score.max() - score.min()
  return (score - score.min()) / (spread if spread > 0 else 1)


def above_percentile(percentile: float) -> Callable[[np.ndarray], np.ndarray]:
  """`scores [N] -> [N] bool`: from a percentile of a whole test set on.

  The rule of codes that know how many anomalies the test has.
  """
  return lambda score: score >= np.percentile(score, percentile)


def above_min_max(score: np.ndarray) -> np.ndarray:
  """[N] bool, where the `min_max` of a whole test set is 0.2 or more.

  The rule of GANomaly's paper and code (Akcay et al., ACCV 2018).
  """
  return min_max(score) >= 0.2
