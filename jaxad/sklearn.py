# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Every method as an outlier detector of scikit-learn.

    from jaxad.sklearn import AnomalyDetector

    detector = AnomalyDetector("differnet", epochs=100).fit(rows)
    detector.predict(others)  # +1 normal, -1 anomalous

It clones, pickles, and takes part in pipelines and searches.
"""

import dataclasses
import inspect
import math
from typing import Annotated, Any, Literal, Self

import jax
import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.validation import (
  check_consistent_length,
  check_is_fitted,
  validate_data,
)

from jaxad import distributed, splits
from jaxad.data.examples import Examples
from jaxad.errors import InputError, one_of
from jaxad.evaluation.metrics import check_finite
from jaxad.evaluation.scoring import Scorer
from jaxad.evaluation.thresholds import threshold
from jaxad.feed import as_dataset
from jaxad.fields import Count, Range, check
from jaxad.loop import fit, make_plan
from jaxad.methods import METHODS, ROWS
from jaxad.tensor_file import sha256

# Deviations at which the columns of a table are cut; float32 holds no squares
# of what may lie beyond.
_FARTHEST = 1e6

# Rows of a table are small: more of them are scored at once.
_ROWS_AT_ONCE = 1024


class AnomalyDetector(OutlierMixin, BaseEstimator):
  """One of the methods as an outlier detector.

  `X` is a table [n, D], for the methods that `jaxad.methods.ROWS` names, with
  the defaults there: its columns are brought to mean 0 and deviation 1. Or `X`
  is images: an array [n, H, W, C], or flat rows [n, H * W * C] with
  `image_shape`; integers in 0..255, or floating point in [0, 1].

  `y` is for the methods that learn from labelled anomalies: -1 for those and +1
  for normal rows, as scikit-learn has it, or 1 and 0; of ones alone, all are
  normal. Other methods ignore it.

  Args:
    method: a key of `jaxad.METHODS`.
    epochs: passes over the data.
    steps: in their place, how many updates.
    batch_size: rows of a batch, a multiple of the devices.
    holdout: share of the normal rows that is kept from training and sets the
      threshold; 0 takes the training rows, whose scores are lower than those of
      new ones.
    threshold: rule of the threshold, see `jaxad.evaluation.thresholds`.
    threshold_value: the number of that rule; None is its default.
    image_shape: (H, W, C) of flat rows.
    random_state: an int, a `RandomState`, or None for other results each time.
    **keywords: of the method, such as `learning_rate`; `set_params` and a
      search set them too. They are checked in `fit`.

  Attributes:
    offset_: minus the threshold.
    n_features_in_: values of a row, or of an image.
    image_shape_: (H, W, C), or None for tables.
    scaler_: the `StandardScaler` of a table, or None.
  """

  def __init__(
    self,
    method: str = "differnet",
    *,
    epochs: int = 50,
    steps: int | None = None,
    batch_size: int = 32,
    holdout: float = 0.2,
    threshold: str = "kde",
    threshold_value: float | None = None,
    image_shape: tuple[int, int, int] | None = None,
    random_state: Any = 0,
    **keywords: Any,
  ) -> None:
    self.method = method
    self.epochs = epochs
    self.steps = steps
    self.batch_size = batch_size
    self.holdout = holdout
    self.threshold = threshold
    self.threshold_value = threshold_value
    self.image_shape = image_shape
    self.random_state = random_state
    self._keywords = keywords

  def get_params(self, deep: bool = True) -> dict[str, Any]:
    """The parameters, and those keywords of the method that were given."""
    return super().get_params(deep) | self._keywords

  def set_params(self, **params: Any) -> Self:
    """Sets parameters, and keywords of the method."""
    names = self._get_param_names()
    super().set_params(**{n: v for n, v in params.items() if n in names})
    given = {n: v for n, v in params.items() if n not in names}
    self._keywords = self._keywords | given
    return self

  def fit(self, X: Any, y: Any = None) -> Self:
    """Trains on the normal rows, and sets the threshold by the others.

    Args:
      X: see above.
      y: labels [n], or None.

    Returns:
      The estimator.

    Raises:
      InputError: a parameter, `X` or `y` is not what the method takes.
    """
    self._check_parameters()
    shape, keywords = self.image_shape, self._keywords
    if shape is None and getattr(X, "ndim", 0) == 4:
      shape = X.shape[1:]
    if shape is None:
      keywords = self._defaults_of_tables() | keywords
    detector = METHODS[self.method](**keywords)
    x = self._checked(X, shape, ensure_min_samples=2)
    seed = check_random_state(self.random_state).randint(10**9)
    found = self._divided(x, self._labels(y, x, detector), seed)

    scaler = None
    if shape is None:
      # Arrays, whatever scikit-learn is configured to give.
      scaler = StandardScaler().set_output(transform="default")
      scaler.fit(found.data.train.x)
    train = found.data.train
    train = dataclasses.replace(train, x=_seen(train.x, shape, scaler))
    plan = make_plan(
      detector,
      train,
      batch_size=self.batch_size,
      epochs=self.epochs,
      steps=self.steps,
      drop_remainder=any(phase.full_batches for phase in detector.phases),
      seed=seed,
    )
    state = detector.init(jax.random.key(seed), {"x": train.x[:1]}, plan)
    state = fit(detector, state, train, plan)
    at_once = self.batch_size if shape else _ROWS_AT_ONCE
    trained = _Trained(self.method, keywords, state, at_once, seed)
    normal = trained.scores(_seen(found.normal.x, shape, scaler))
    # Together: what failed before leaves an earlier fit whole.
    self.offset_ = -threshold(normal, self.threshold, self.threshold_value)
    self.image_shape_, self.scaler_, self._trained = shape, scaler, trained
    return self

  def fit_predict(self, X: Any, y: Any = None) -> np.ndarray:
    """`fit`, and then `predict` of the same rows."""
    return self.fit(X, y).predict(X)

  def score_samples(self, X: Any) -> np.ndarray:
    """float64 [n], higher = more normal: minus the score of the method.

    What is drawn for a row comes from its content; its score does not depend on
    the other rows.

    Raises:
      InputError: `X` is not like the rows of `fit`.
    """
    check_is_fitted(self, "offset_")
    x = self._checked(X, self.image_shape_, reset=False)
    x = _seen(x, self.image_shape_, self.scaler_)
    return -self._trained.scores(x).astype(np.float64)

  def decision_function(self, X: Any) -> np.ndarray:
    """float64 [n], `score_samples(X) - offset_`; anomalous rows are below 0."""
    return self.score_samples(X) - self.offset_

  def predict(self, X: Any) -> np.ndarray:
    """int [n], +1 for normal rows and -1 for anomalous ones."""
    return np.where(self.decision_function(X) >= 0, 1, -1)

  def _check_parameters(self):
    shapes = tuple[Count, Count, Count] | None
    check("method", self.method, Literal[tuple(METHODS)])
    check("holdout", self.holdout, Annotated[float, Range(0, 1, below=True)])
    check("image_shape", self.image_shape, shapes)
    threshold([0.0, 1.0], self.threshold, self.threshold_value)
    known = inspect.signature(METHODS[self.method]).parameters
    for name in self._keywords:
      one_of("keyword", name, known)

  def _defaults_of_tables(self):
    if self.method not in ROWS:
      raise InputError(
        f"method={self.method!r}: it takes images; give X as [n, H, W, C], or "
        "say image_shape=(H, W, C).",
        "method",
      )
    return ROWS[self.method]

  def _checked(self, X, shape, **how):
    """[n, n_features_in_], float64 of a table; pixels are uint8 or float32."""
    dtype = np.float64 if shape is None else "numeric"
    x = validate_data(self, _flat(X, shape), dtype=dtype, **how)
    if shape is None:
      return x
    if x.shape[1] != math.prod(shape):
      raise InputError(
        f"image_shape={shape}: X has {x.shape[1]} values in a row; expected "
        f"{math.prod(shape)}.",
        "image_shape",
      )
    return _pixels(x)

  def _labels(self, y, x, detector):
    """int32 [n], 1 for the anomalies that the method learns from."""
    anomalous = np.zeros(len(x), bool)
    if y is not None and splits.learnt(detector) & {"anomalous", "all"}:
      check_consistent_length(x, y)
      anomalous = _anomalous(column_or_1d(y))
    if not anomalous.any() and "anomalous" in splits.learnt(detector, True):
      raise InputError(
        f"y: {self.method} learns from labelled anomalies; expected some rows "
        "of -1.",
        "y",
      )
    return np.int32(anomalous)

  def _divided(self, x, label, seed):
    """What is trained on, and the normal rows that set the threshold."""
    found = as_dataset(_examples(x, label))
    if self.holdout:
      return splits.held_out(found, self.holdout, seed)
    normal = found.train.take(np.flatnonzero(label == 0))
    return splits.Splits(found, normal, held_out=False)


class _Trained:
  """A detector with its state; pickled as names and arrays."""

  def __init__(self, method, keywords, state, batch_size, seed):
    self._made_of = method, keywords, batch_size, seed
    detector = METHODS[method](**keywords)
    key = jax.random.key(seed)
    self._scorer = Scorer(detector, batch_size, key)
    whole = distributed.replicated(distributed.data_mesh())
    # Scoring needs no optimiser.
    self._state = jax.device_put(state.replace(opt_state=None), whole)

  def __reduce__(self):
    method, keywords, batch_size, seed = self._made_of
    state = jax.device_get(self._state)
    return type(self), (method, keywords, state, batch_size, seed)

  def scores(self, x):
    """float32 [n], higher = more anomalous."""
    return check_finite(self._scorer.scores(self._state, _examples(x)).image)


def _examples(x, label=None):
  """Rows under names that are their content."""
  names = tuple(sha256(np.ascontiguousarray(row)) for row in x)
  label = np.zeros(len(x), np.int32) if label is None else label
  kinds = tuple("anomaly" if one else "good" for one in label)
  return Examples(x, label, names, kinds, mask=None)


def _flat(X, shape):
  """Images as rows of their pixels, and all else as it is."""
  if shape is None or getattr(X, "ndim", 0) < 3:
    return X
  grey = shape[:2] if shape[-1] == 1 else None
  if X.shape[1:] not in (shape, grey):
    raise InputError(
      f"X of shape {list(X.shape)}: expected images [n, "
      f"{', '.join(map(str, shape))}]."
    )
  return np.reshape(np.asarray(X), (len(X), math.prod(shape)))


def _seen(x, shape, scaler):
  """Checked rows as the method takes them."""
  if scaler is None:
    return x.reshape(-1, *shape)
  with np.errstate(over="ignore"):
    x = scaler.transform(x)
  return np.float32(np.clip(x, -_FARTHEST, _FARTHEST))


def _pixels(x):
  """uint8 of integers, float32 of floating point."""
  whole = x.dtype.kind in "ui"
  low, high = x.min(), x.max()
  if low < 0 or high > (255 if whole else 1):
    raise InputError(
      f"X has pixels from {low:g} to {high:g}; expected integers in 0..255, or "
      "floating point in [0, 1]; scale them."
    )
  return x.astype(np.uint8 if whole else np.float32, copy=False)


def _anomalous(y):
  """bool [n] of labels +1 and -1, or 0 and 1."""
  for labels, anomaly in (({1, -1}, -1), ({0, 1}, 1)):
    if labels.issuperset(np.unique(y).tolist()):
      return y == anomaly
  raise InputError(
    "y: expected +1 for normal rows and -1 for anomalous ones, or 0 and 1.",
    "y",
  )
