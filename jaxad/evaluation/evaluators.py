# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Figures of a scored test set, each kind by one function of all that is known.

An evaluator takes an `Evaluation` and returns what it adds to `results.json`;
an empty dict where it does not apply.
"""

import dataclasses
from collections.abc import Collection

import numpy as np
from sklearn.neighbors import NearestNeighbors

from jaxad.data.examples import Examples
from jaxad.detector import Scores
from jaxad.evaluation import metrics
from jaxad.evaluation.thresholds import above_percentile


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """A test set with its scores.

  Attributes:
    test: the test split.
    scores: of it; `map` where pixel figures are wanted.
    threshold: a score above it is called anomalous.
    seen_kinds: the kinds of anomaly that training saw.
    features: cached features [N, V, D] of training and test, or None.
    contamination: the share of the test that is called anomalous in
      `contamination_figures`, or None.
  """

  test: Examples
  scores: Scores
  threshold: float
  seen_kinds: Collection[str] = ()
  features: tuple[np.ndarray, np.ndarray] | None = None
  contamination: float | None = None

  @property
  def predicted(self) -> np.ndarray:
    """[N] bool, what is called anomalous."""
    return self.scores.image > self.threshold

  @property
  def kinds(self) -> list[str]:
    """The kinds of anomaly in the test, sorted."""
    kind = np.asarray(self.test.kind)
    return sorted(set(kind[self.test.label == 1].tolist()))

  def auroc_of(self, kinds: Collection[str]) -> float | None:
    """Image AUROC of the anomalies of some kinds, against all normal images."""
    label = self.test.label
    rows = (label == 0) | np.isin(self.test.kind, list(kinds))
    return metrics.image_auroc(label[rows], self.scores.image[rows])


def image_figures(found: Evaluation) -> dict:
  """Threshold-free figures of image scores, None where undefined."""
  label, score = found.test.label, found.scores.image
  f1, f1_threshold = metrics.f1_max(label, score) or (None, None)
  return {
    "image_auroc": metrics.image_auroc(label, score),
    "image_average_precision": metrics.average_precision(label, score),
    "f1_max": f1,
    "f1_max_threshold": f1_threshold,
  }


def threshold_figures(found: Evaluation) -> dict:
  """Rates at the threshold, None where there is nothing to take them of."""
  label, predicted = found.test.label, found.predicted
  share = lambda of, among: float(of[among].mean()) if among.any() else None
  odd = label == 1
  precision = f1 = None
  if odd.any():
    precision = share(odd, predicted)
    f1 = 2 * int((predicted & odd).sum()) / int(predicted.sum() + odd.sum())
  return {
    "threshold": found.threshold,
    "true_positive_rate": share(predicted, odd),
    "false_positive_rate": share(predicted, label == 0),
    "threshold_precision": precision,
    "threshold_f1": f1,
  }


def contamination_figures(found: Evaluation) -> dict:
  """Precision, recall and F1 where the highest scores are called anomalous.

  What is as high as the (1 - contamination) quantile is, as in the code of
  EGBAD and ALAD: it takes the true share of anomalies, which no threshold of
  new data can know.
  """
  share, label = found.contamination, found.test.label
  if share is None or not (label == 1).any():
    return {}
  score = found.scores.image
  predicted = above_percentile(100 * (1 - share))(score)
  hits = int((predicted & (label == 1)).sum())
  precision = hits / int(predicted.sum())
  recall = hits / int((label == 1).sum())
  return {
    "contamination": share,
    "contamination_precision": precision,
    "contamination_recall": recall,
    "contamination_f1": 2 * hits / int(predicted.sum() + (label == 1).sum()),
  }


def kind_figures(found: Evaluation) -> dict:
  """Image AUROC by kinds of anomaly, against all normal images.

  Returns:
    {} if training saw none; else `image_auroc_seen` and `image_auroc_unseen`,
    None where the test has no such kind, and `image_auroc_by_kind`.
  """
  seen = set(found.seen_kinds)
  if not seen:
    return {}
  kinds = found.kinds
  return {
    "image_auroc_seen": found.auroc_of(seen),
    "image_auroc_unseen": found.auroc_of(set(kinds) - seen),
    "image_auroc_by_kind": {name: found.auroc_of([name]) for name in kinds},
  }


def part_figures(found: Evaluation) -> dict:
  """Image AUROC of each term of a score, and of scores that were not chosen.

  A term that is subtracted, such as DRA's "holistic", is near 0 where it is
  good.
  """
  parts = found.scores.parts
  aurocs = {
    name: metrics.image_auroc(found.test.label, part)
    for name, part in parts.items()
  }
  return {"image_auroc_by_part": aurocs} if parts else {}


PIXEL_FIGURES = (
  "pixel_auroc",
  "pixel_aupro",
  "pixel_iou_at_half",
  "pixel_iou_max",
  "pixel_iou_max_threshold",
  "pixel_resolution",
)


def pixel_figures(found: Evaluation) -> dict:
  """Pixel figures and their resolution, None without masks or maps.

  The intersection over union at a half is one of maps in [0, 1] alone.
  """
  mask, pixel_map = found.test.mask, found.scores.map
  if mask is None or pixel_map is None:
    return dict.fromkeys(PIXEL_FIGURES)
  mask = np.asarray(mask)
  low, high = np.min(pixel_map), np.max(pixel_map)
  share = 0 <= low and high <= 1
  best, threshold = metrics.pixel_iou_max(mask, pixel_map) or (None, None)
  figures = (
    metrics.pixel_auroc(mask, pixel_map),
    metrics.aupro(mask, pixel_map),
    metrics.pixel_iou(mask, pixel_map, 0.5) if share else None,
    best,
    threshold,
    list(mask.shape[1:]),
  )
  return dict(zip(PIXEL_FIGURES, figures, strict=True))


def neighbour_figures(found: Evaluation) -> dict:
  """Image AUROC of the distance to the nearest training feature.

  The mean over the views of an example; the baseline that a density model of
  the same features has to beat.
  """
  if found.features is None:
    return {}
  train, test = found.features
  neighbours = NearestNeighbors(n_neighbors=1, algorithm="brute")
  neighbours.fit(train.reshape(-1, train.shape[-1]))
  distance, _ = neighbours.kneighbors(test.reshape(-1, test.shape[-1]))
  score = distance.reshape(test.shape[:2]).mean(1)
  auroc = metrics.image_auroc(found.test.label, score)
  return {"nearest_neighbour_auroc": auroc}


ALWAYS = (
  image_figures,
  threshold_figures,
  contamination_figures,
  kind_figures,
  part_figures,
  pixel_figures,
)
