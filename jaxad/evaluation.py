# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Scoring a split, and what the scores are worth."""

import dataclasses
import functools
from collections.abc import Collection, Sequence

import jax
import numpy as np
from sklearn.neighbors import NearestNeighbors

from jaxad import metrics
from jaxad.data.examples import Examples
from jaxad.data.pipeline import batches
from jaxad.detector import Detector, Scores, State
from jaxad.thresholds import min_max  # noqa: F401
from jaxad.training import replicated, shard_batch


def over_batches(fn, state, examples: Examples, batch_size: int, key, mesh):
  """Applies `fn(state, x, key)` to a split, in its order.

  Args:
    fn: a pure function of one batch that gives a pytree of [B, ...] arrays; it
      is compiled once, and padded rows of the last batch are dropped.
    state: of the detector.
    examples: the split.
    batch_size: rounded up to a multiple of the devices.
    key: PRNG key; batch i gets `fold_in(key, i)`.
    mesh: from `data_mesh`.

  Returns:
    The pytree with [N, ...] NumPy arrays.
  """
  devices = jax.device_count()
  batch_size = -(-batch_size // devices) * devices
  fn = _compiled(fn, mesh)
  stream = batches(
    examples,
    batch_size,
    process_index=jax.process_index(),
    process_count=jax.process_count(),
  )
  results = []
  for i, batch in enumerate(stream):
    x = shard_batch(mesh, {"x": batch["x"]})["x"]
    results.append(fn(state, x, jax.random.fold_in(key, i)))
  n = len(examples.label)
  together = lambda *parts: np.concatenate(jax.device_get(parts))[:n]
  return jax.tree.map(together, *results)


@functools.lru_cache(maxsize=8)
def _compiled(fn, mesh):
  """One compilation for all evaluations of a run."""
  return jax.jit(fn, out_shardings=replicated(mesh))


@functools.lru_cache(maxsize=8)
def _without_map(score):
  # What the caller does not take, the compiler leaves out.
  return lambda *args: score(*args)._replace(map=None)


def score_split(
  detector: Detector,
  state: State,
  examples: Examples,
  batch_size: int,
  key,
  mesh,
  with_maps: bool = False,
) -> Scores:
  """Scores a split.

  Args:
    with_maps: fill `Scores.map`, by `localize` where a detector has it.

  Returns:
    `Scores` of NumPy arrays; `image` is [N] float32.
  """
  if with_maps:
    fn = detector.localize or detector.score
  else:
    fn = _without_map(detector.score)
  return over_batches(fn, state, examples, batch_size, key, mesh)


def official_scores(
  detector: Detector, state: State, examples: Examples, batch_size: int, key
) -> np.ndarray:
  """Scores a split as the authors' test code does, see `official_score`.

  The order is theirs too, since batches matter: normal examples first, nothing
  shuffled, and the last batch smaller instead of padded.

  Returns:
    [N] float32, in the order of the split.
  """
  order = np.argsort(examples.label, kind="stable")
  score = _official(detector.official_score)
  parts = [
    score(state, examples.x[order[k : k + batch_size]], key)
    for k in range(0, len(order), batch_size)
  ]
  scores = np.empty(len(order), np.float32)
  scores[order] = np.concatenate(jax.device_get(parts))
  return scores


@functools.lru_cache(maxsize=8)
def _official(score):
  return jax.jit(lambda *args: score(*args).image)


def embed_split(
  detector: Detector,
  state: State,
  examples: Examples,
  batch_size: int,
  key,
  mesh,
  views: int | None = None,
) -> Examples:
  """Replaces images by their frozen features, x [N, V, D] float32.

  Args:
    views: random views of each example, as in training; None for the fixed
      views that scoring uses.
  """
  if views is None:
    fn = lambda state, x, key: detector.embed(state, x, None)
    y = over_batches(fn, state, examples, batch_size, key, mesh)
    return dataclasses.replace(examples, x=y)
  passes, found = [], 0
  while found < views:
    y = over_batches(
      detector.embed,
      state,
      examples,
      batch_size,
      jax.random.fold_in(key, len(passes)),
      mesh,
    )
    passes.append(y)
    found += y.shape[1]
  return dataclasses.replace(
    examples, x=np.concatenate(passes, axis=1)[:, :views]
  )


def nearest_neighbour_scores(train: np.ndarray, test: np.ndarray):
  """Distance to the nearest training feature, averaged over the views.

  The baseline that a density model of the same features has to beat.

  Args:
    train: [N, V, D] features of normal examples.
    test: [M, T, D].

  Returns:
    [M] float32, Euclidean.
  """
  neighbours = NearestNeighbors(n_neighbors=1, algorithm="brute")
  neighbours.fit(train.reshape(-1, train.shape[-1]))
  distance, _ = neighbours.kneighbors(test.reshape(-1, test.shape[-1]))
  return distance.reshape(test.shape[:2]).mean(1).astype(np.float32)


def image_metrics(label: np.ndarray, score: np.ndarray) -> dict:
  """Threshold-free figures of image scores, None where undefined.

  Args:
    label: [N] int, 0 or 1.
    score: [N].
  """
  f1, f1_threshold = metrics.f1_max(label, score) or (None, None)
  return {
    "image_auroc": metrics.image_auroc(label, score),
    "image_average_precision": metrics.average_precision(label, score),
    "f1_max": f1,
    "f1_max_threshold": f1_threshold,
  }


def kind_metrics(
  kind: Sequence[str], score: np.ndarray, seen: Collection[str]
) -> dict:
  """Image AUROC by kinds of anomaly, against all normal images.

  Args:
    kind: N names, "good" for normal images.
    score: [N].
    seen: the kinds of anomaly that training saw.

  Returns:
    {} if it saw none; else `image_auroc_seen` and `image_auroc_unseen`, None
    where the test has no such kind, and `image_auroc_by_kind`.
  """
  if not seen:
    return {}
  kind = np.asarray(kind)
  label = (kind != "good").astype(int)

  def auroc(kinds):
    rows = (label == 0) | np.isin(kind, list(kinds))
    return metrics.image_auroc(label[rows], score[rows])

  kinds = sorted(set(kind[label == 1].tolist()))
  return {
    "image_auroc_seen": auroc(seen),
    "image_auroc_unseen": auroc(set(kinds) - set(seen)),
    "image_auroc_by_kind": {name: auroc([name]) for name in kinds},
  }


def part_metrics(label: np.ndarray, parts: dict[str, np.ndarray]) -> dict:
  """Image AUROC of each term of a score, and of scores that were not chosen.

  Args:
    label: [N] int, 0 or 1.
    parts: `Scores.parts`, [N] each. A term that is subtracted, such as DRA's
      "holistic", is near 0 where it is good.

  Returns:
    {} if there are none; else `image_auroc_by_part`, None where undefined.
  """
  if not parts:
    return {}
  aurocs = {
    name: metrics.image_auroc(label, part) for name, part in parts.items()
  }
  return {"image_auroc_by_part": aurocs}


def threshold_metrics(label, predicted) -> dict:
  """Rates at a threshold, None where a class is missing.

  Args:
    label: [N] int, 0 or 1.
    predicted: [N] bool.
  """
  rate = lambda chosen: (
    float(predicted[chosen].mean()) if chosen.any() else None
  )
  return {
    "true_positive_rate": rate(label == 1),
    "false_positive_rate": rate(label == 0),
  }


def pixel_metrics(
  mask: np.ndarray | None, pixel_map: np.ndarray | None
) -> dict:
  """Pixel AUROC and AUPRO, None without masks or maps.

  Args:
    mask: [N, H, W], 1 on defects.
    pixel_map: [N, H, W].
  """
  if mask is None or pixel_map is None:
    return {"pixel_auroc": None, "pixel_aupro": None}
  return {
    "pixel_auroc": metrics.pixel_auroc(mask, pixel_map),
    "pixel_aupro": metrics.aupro(mask, pixel_map),
  }
