# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The floor: what scikit-learn finds in features that nobody trained.

Five detectors of rows y, which are those of a table, the means of a frozen
trunk's feature maps, or the pixels of an image:

  ocsvm     Schoelkopf et al., "Estimating the Support of a High-Dimensional
            Distribution", Neural Computation 2001
  knn       Ramaswamy et al., "Efficient Algorithms for Mining Outliers from
            Large Data Sets", SIGMOD 2000; Angiulli and Pizzuti, PKDD 2002
  pca       Shyu et al., "A Novel Anomaly Detection Scheme Based on Principal
            Component Classifier", ICDM 2003, its reconstruction error
  gaussian  the distance of Mahalanobis, Proc. Nat. Inst. Sci. India 1936
  iforest   Liu, Ting and Zhou, "Isolation Forest", ICDM 2008

Each is a phase "fit" alone: scikit-learn learns from all normal rows at once,
and what it has learnt becomes arrays of a size that is known before. Scores
are computed from these arrays, as scikit-learn would to rounding.
"""

import functools
from collections.abc import Callable
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.multihost_utils import process_allgather

from jaxad import mahalanobis
from jaxad.detector import Batch, Detector, Phase, Scores, State
from jaxad.errors import InputError
from jaxad.fields import Count, Positive, Range, checked
from jaxad.layers import isolation
from jaxad.layers.images import unit_range
from jaxad.networks.pyramid import Trunk

FROZEN = Trunk("efficientnet_lite0", train_norms=False)

Features = Literal["trunk", "pixels"]

# Squared, and added to the distance of a row that is none.
_FAR = 1e30
# Values of a row whose covariance fits into memory, with what its roots take.
_MOST = 8192


def _baseline(
  trunk: Trunk,
  features: str,
  blank: Callable[[jax.Array, int], dict],
  learn: Callable[[np.ndarray, int], dict],
  judge: Callable[[dict, jax.Array], jax.Array],
) -> Detector:
  """A detector of rows.

  Args:
    trunk: looks at images, frozen.
    features: "trunk" or "pixels".
    blank: `(key, D) -> arrays` before the fit, of the final shapes.
    learn: `(rows [N, D], seed) -> arrays`, on the host.
    judge: `(arrays, y [B, D]) -> [B]` scores.
  """
  trunk.check()

  def init(key, batch: Batch, plan=None) -> State:
    trunk_key, blank_key, state_key = jax.random.split(key, 3)
    x, params, collections = batch["x"], {}, {}
    if x.ndim == 4 and features == "trunk":
      found = trunk.init(trunk_key, x.shape)
      params["trunk"], collections["trunk"] = found
    like = lambda: rows_of(params, collections, x[:1])
    dim = jax.eval_shape(like).shape[-1]
    arrays = {k: jnp.asarray(v) for k, v in blank(blank_key, dim).items()}
    return State.new(state_key, params, collections, {}, plan, **arrays)

  def rows_of(params, collections, x):
    """[B, V, D], of one view where these are no features of several."""
    if x.ndim == 3:
      return x
    if x.ndim == 4 and features == "pixels":
      return unit_range(x).reshape(x.shape[0], 1, -1)
    if x.ndim == 4:
      variables = params["trunk"], collections["trunk"]
      maps, _ = trunk.features(*variables, trunk.normalize(x), train=False)
      x = maps[0].mean((1, 2))
    return x[:, None]

  of_state = lambda state, x: rows_of(state.params, state.collections, x)
  jitted = jax.jit(of_state)

  def fit(state: State, batches) -> State:
    everywhere = functools.partial(process_allgather, tiled=True)
    kept = []
    for batch in batches:
      y = everywhere(jitted(state, batch["x"]))
      kept.append(y[everywhere(batch["weight"]) > 0])
    rows = np.concatenate(kept)
    key, seed_key = jax.random.split(state.key)
    seed = int(jax.random.randint(seed_key, (), 0, 2**31 - 1))
    found = learn(rows.reshape(-1, rows.shape[-1]), seed)
    typed = lambda name, old: jnp.asarray(found[name], old.dtype)
    extras = {name: typed(name, old) for name, old in state.extras.items()}
    return state.replace(key=key, extras=extras)

  def score(state: State, x, keys) -> Scores:
    del keys
    y = of_state(state, x)
    scores = judge(state.extras, y.reshape(-1, y.shape[-1]))
    return Scores(scores.reshape(y.shape[:2]).mean(1))

  # All views of an image are the same.
  embed = lambda state, x, keys, train: of_state(state, x)
  return Detector(init, (Phase("fit", fit=fit),), score, embed=embed)


def _squared_distances(y, others):
  """[B, N], of [B, D] and [N, D], by differences: products would cancel."""
  return ((y[:, None] - others[None]) ** 2).sum(-1)


def _filled(rows, n):
  """The first n rows, with zeros behind them where they are fewer."""
  return np.pad(rows[:n], [(0, max(n - len(rows), 0)), (0, 0)])


@checked
def ocsvm(
  *,
  nu: Annotated[float, Range(0, 1, above=True)] = 0.1,
  gamma: Positive | Literal["scale", "auto"] = "scale",
  most_rows: Count = 2000,
  trunk: Trunk = FROZEN,
  features: Features = "trunk",
) -> Detector:
  """Makes a one-class SVM with a Gaussian kernel; its score is minus its value.

  Args:
    nu: the part of the rows that may lie outside.
    gamma: of exp(-gamma |y - y'|^2), as scikit-learn has it: "scale" is 1 / (D
      var(y)), "auto" is 1 / D.
    most_rows: how many rows are learnt from, drawn where there are more.
    trunk: makes features of images; it stays as it is.
    features: of images, those of the "trunk" or the "pixels" themselves.

  Raises:
    InputError: a value out of range; from `init`, images that do not fit.
  """

  def blank(_, dim):
    return {
      "support": jnp.zeros((most_rows, dim)),
      "dual": jnp.full(most_rows, 1 / most_rows, jnp.float32),
      "intercept": jnp.zeros(()),
      "gamma": jnp.float32(1 / dim),
    }

  def learn(rows, _):
    from sklearn.svm import OneClassSVM

    rows = rows[:most_rows]
    width = {"scale": 1 / max(rows.size / len(rows) * rows.var(), 1e-12)}
    width["auto"] = 1 / rows.shape[1]
    width = width.get(gamma, gamma)
    svm = OneClassSVM(nu=nu, gamma=float(width)).fit(rows)
    return {
      "support": _filled(svm.support_vectors_, most_rows),
      "dual": _filled(svm.dual_coef_.T, most_rows)[:, 0],
      "intercept": svm.intercept_[0],
      "gamma": width,
    }

  def judge(arrays, y):
    distances = _squared_distances(y, arrays["support"])
    kernel = jnp.exp(-arrays["gamma"] * distances)
    return -(kernel * arrays["dual"]).sum(-1) - arrays["intercept"]

  return _baseline(trunk, features, blank, learn, judge)


@checked
def knn(
  *,
  k: Count = 5,
  distance: Literal["mean", "kth"] = "mean",
  most_rows: Count = 2000,
  trunk: Trunk = FROZEN,
  features: Features = "trunk",
) -> Detector:
  """Makes a detector by the distances to the nearest training rows.

  Args:
    k: how many neighbours.
    distance: the "mean" to all k, or that to the "kth".
    most_rows: how many rows are kept, drawn where there are more.
    trunk: makes features of images; it stays as it is.
    features: of images, those of the "trunk" or the "pixels" themselves.

  Raises:
    InputError: a value out of range, more neighbours than rows; from `init`,
      images that do not fit.
  """
  if k > most_rows:
    raise InputError(f"k={k}: expected at most most_rows={most_rows}.", "k")

  def blank(_, dim):
    rows = jnp.zeros((most_rows, dim))
    return {"rows": rows, "missing": jnp.zeros(most_rows)}

  def learn(rows, _):
    _check_enough("k", k, rows)
    missing = np.where(np.arange(most_rows) < len(rows), 0, _FAR)
    return {"rows": _filled(rows, most_rows), "missing": missing}

  def judge(arrays, y):
    squares = _squared_distances(y, arrays["rows"]) + arrays["missing"]
    nearest = jnp.sqrt(jnp.maximum(-jax.lax.top_k(-squares, k)[0], 0.0))
    return nearest.mean(-1) if distance == "mean" else nearest[:, -1]

  return _baseline(trunk, features, blank, learn, judge)


@checked
def pca(
  *,
  n_components: Count = 10,
  trunk: Trunk = FROZEN,
  features: Features = "trunk",
) -> Detector:
  """Makes a detector by the squared distance to a principal subspace.

  Args:
    n_components: its dimension, below that of the rows.
    trunk: makes features of images; it stays as it is.
    features: of images, those of the "trunk" or the "pixels" themselves.

  Raises:
    InputError: a value out of range; from `init`, images that do not fit, or
      more components than the rows have values; from the fit, than rows.
  """

  def blank(_, dim):
    if n_components >= dim:
      raise InputError(
        f"n_components={n_components}: expected less than the {dim} values of "
        "a row; lower it.",
        "n_components",
      )
    components = jnp.zeros((n_components, dim))
    return {"mean": jnp.zeros(dim), "components": components}

  def learn(rows, seed):
    from sklearn.decomposition import PCA

    _check_enough("n_components", n_components, rows)
    found = PCA(n_components, random_state=seed).fit(np.float64(rows))
    return {"mean": found.mean_, "components": found.components_}

  def judge(arrays, y):
    y, components = y - arrays["mean"], arrays["components"]
    product = mahalanobis.exact_product  # what is left is small
    within = product(product(y, components.T), components)
    return ((y - within) ** 2).sum(-1)

  return _baseline(trunk, features, blank, learn, judge)


@checked
def gaussian(
  *,
  covariance: Literal["ledoit_wolf", "empirical"] = "ledoit_wolf",
  trunk: Trunk = FROZEN,
  features: Features = "trunk",
) -> Detector:
  """Makes a detector by the squared distance of Mahalanobis.

  Args:
    covariance: "ledoit_wolf" is drawn towards a multiple of the identity, which
      few rows of many values need; "empirical" is not.
    trunk: makes features of images; it stays as it is.
    features: of images, those of the "trunk" or the "pixels" themselves.

  Raises:
    InputError: a value out of range; from `init`, images that do not fit.
  """

  def blank(_, dim):
    if dim > _MOST:
      said = f"{dim} values, of a covariance at most {_MOST}; take the trunk's."
      raise InputError(f"features: {said}", "features")
    return {"mean": jnp.zeros(dim), "whiten": jnp.eye(dim)}

  def learn(rows, _):
    from sklearn import covariance as estimators

    named = {"ledoit_wolf": "LedoitWolf", "empirical": "EmpiricalCovariance"}
    found = getattr(estimators, named[covariance])().fit(np.float64(rows))
    whiten = mahalanobis.whitening(found.covariance_, ridge=0.0)
    return {"mean": found.location_, "whiten": whiten}

  def judge(arrays, y):
    mean, whiten = arrays["mean"], arrays["whiten"]
    return mahalanobis.distances(y, mean, whiten, mahalanobis.exact_product)

  return _baseline(trunk, features, blank, learn, judge)


@checked
def iforest(
  *,
  n_trees: Count = 100,
  most_samples: Annotated[int, Range(2, 4096)] = 256,
  trunk: Trunk = FROZEN,
  features: Features = "trunk",
) -> Detector:
  """Makes an isolation forest: what few random cuts set apart is anomalous.

  The score is 2 to the minus mean depth of a row, in units of what is expected.

  Args:
    n_trees: of the forest.
    most_samples: rows that a tree is made of, drawn where there are more.
    trunk: makes features of images; it stays as it is.
    features: of images, those of the "trunk" or the "pixels" themselves.

  Raises:
    InputError: a value out of range; from `init`, images that do not fit.
  """
  depth = isolation.depth_of(most_samples)

  def blank(key, dim):
    return isolation.blank(key, n_trees, depth, dim)

  def learn(rows, seed):
    from sklearn.ensemble import IsolationForest

    n = min(most_samples, len(rows))
    sizes = {"n_estimators": n_trees, "max_samples": n}
    forest = IsolationForest(**sizes, random_state=seed).fit(rows)
    trees = [one.tree_ for one in forest.estimators_]
    return isolation.arrays_of(trees, n, depth)

  return _baseline(trunk, features, blank, learn, isolation.isolation)


def _check_enough(name, number, rows):
  if number > len(rows):
    raise InputError(
      f"{name}={number}: expected at most {len(rows)}, the training rows.",
      name,
    )
