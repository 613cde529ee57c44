# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""How well scores and maps find what is anomalous.

Higher = more anomalous, and an example is predicted anomalous where
`score > threshold`, here and in the whole library. A metric that is undefined
(one class alone, no mask, no defect pixel) is None, never NaN.

The pixel metrics are exact at any size: no curve and no histogram is built. A
defect pixel of score s adds to the area under the curve what lies right of the
false positive rate at which s is found, so counting the normal pixels above s
is enough. That costs one sort of the normal pixels in the dtype of the map:
some 100 million float32 pixels in seconds, with one copy of them in memory.
"""

import numpy as np

from jaxad.errors import InputError

# 8-connectivity, as in the evaluation code published with MVTec AD.
CONNECTIVITY = np.ones((3, 3), int)


def image_auroc(label, score) -> float | None:
  """Area under the ROC curve; a tie counts one half.

  Args:
    label: [N] int or bool, 0 normal and 1 anomalous.
    score: [N] float.

  Raises:
    InputError: shapes differ, a label is not 0 or 1, a score is not finite.
  """
  label, score = check_scores(label, score)
  if not _both_classes(label):
    return None
  from sklearn import metrics

  return float(metrics.roc_auc_score(label, score))


def average_precision(label, score) -> float | None:
  """Sum of precision times the step in recall, without interpolation.

  Arguments and errors are those of `image_auroc`.
  """
  label, score = check_scores(label, score)
  if not _both_classes(label):
    return None
  from sklearn import metrics

  return float(metrics.average_precision_score(label, score))


def f1_max(label, score) -> tuple[float, float] | None:
  """The best F1 over all thresholds, and the threshold that gives it.

  The threshold is the highest score that is still predicted normal (just below
  the lowest score where all are predicted anomalous), so `score > threshold`
  gives this very F1, in float32 as well. Of equal F1 the highest threshold
  wins. It is chosen with the labels: a figure to report, not one to deploy.

  Arguments and errors are those of `image_auroc`.
  """
  label, score = check_scores(label, score)
  if not _both_classes(label):
    return None
  order = np.argsort(-score)
  score, found = score[order], np.cumsum(label[order])
  # A threshold cannot part equal scores: cut after the last of each tie only.
  last = np.flatnonzero(np.append(score[1:] != score[:-1], True))
  f1 = 2 * found[last] / (last + 1 + found[-1])
  best = np.argmax(f1)
  rest = score[last[best] + 1 :]
  threshold = rest[0] if rest.size else np.nextafter(score[-1], -np.inf)
  return float(f1[best]), float(threshold)


def pixel_auroc(mask, map) -> float | None:
  """Area under the ROC curve over all pixels of all images; exact.

  Args:
    mask: [N, H, W], non-zero on defect pixels, all zero for a normal image; or
      None.
    map: [N, H, W] float, the score of each pixel; or None.

  Raises:
    InputError: shapes differ, or a score is not finite.
  """
  if mask is None or map is None:
    return None
  defect, map = _check_maps(mask, map)
  if not _both_classes(defect):
    return None
  return _area(defect, map, weight=None, fpr_limit=1.0)


def aupro(mask, map, fpr_limit: float = 0.3) -> float | None:
  """Area under the per-region overlap curve up to a false positive rate; exact.

  Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021. The overlap
  at a threshold is the share of a ground-truth region that is found, averaged
  over all regions of all images, so that a small defect counts as much as a
  large one. It is plotted over the false positive rate of all normal pixels,
  those of defective images included. The trapezoids are cut at `fpr_limit` by
  linear interpolation and the area is divided by the limit: 1 is perfect, and
  chance is `fpr_limit / 2`. A region is 8-connected.

  Args:
    mask: as in `pixel_auroc`.
    map: as in `pixel_auroc`.
    fpr_limit: end of the integral, in (0, 1].

  Raises:
    InputError: as in `pixel_auroc`, or the limit is out of range.
  """
  if not 0 < fpr_limit <= 1:
    raise InputError(f"fpr_limit={fpr_limit}: expected a rate in (0, 1]")
  if mask is None or map is None:
    return None
  defect, map = _check_maps(mask, map)
  if not _both_classes(defect):
    return None
  from scipy import ndimage

  weight = []
  for image in defect:
    if image.any():
      region = ndimage.label(image, CONNECTIVITY)[0][image]
      weight.append(1 / np.bincount(region)[region])
  return _area(defect, map, np.concatenate(weight), fpr_limit)


def pixel_iou(mask, map, threshold: float = 0.5) -> float | None:
  """Intersection over union of the defects and of what is above a threshold.

  Over the pixels of all images together, so that a large defect counts for
  more than a small one.

  Args:
    mask: as in `pixel_auroc`.
    map: as in `pixel_auroc`.
    threshold: what is above it is called a defect.

  Raises:
    InputError: as in `pixel_auroc`.
  """
  if mask is None or map is None:
    return None
  defect, map = _check_maps(mask, map)
  if not _both_classes(defect):
    return None
  found = map > threshold
  return float((defect & found).sum() / (defect | found).sum())


def pixel_iou_max(mask, map) -> tuple[float, float] | None:
  """The best `pixel_iou` over all thresholds, and the threshold that gives it.

  The threshold is chosen as that of `f1_max` is, and with the masks: a figure
  to report, not one to deploy.

  Args:
    mask: as in `pixel_auroc`.
    map: as in `pixel_auroc`.

  Raises:
    InputError: as in `pixel_auroc`.
  """
  if mask is None or map is None:
    return None
  defect, map = _check_maps(mask, map)
  if not _both_classes(defect):
    return None
  normal, score = np.sort(map[~defect]), np.sort(map[defect])[::-1]
  # Cut after the last of equal scores only; the best cut ends with a defect.
  last = np.flatnonzero(np.append(score[1:] != score[:-1], True))
  cut, hits = score[last], last + 1
  below = np.searchsorted(normal, cut, "left")
  iou = hits / (score.size + normal.size - below)
  best = np.argmax(iou)
  rest = np.append(score[hits[best] :][:1], normal[: below[best]][-1:])
  threshold = rest.max() if rest.size else np.nextafter(cut[best], -np.inf)
  return float(iou[best]), float(threshold)


def check_finite(values) -> np.ndarray:
  """The array of `values`; floats keep their dtype, others become float64.

  Raises:
    InputError: a value is not finite.
  """
  values = np.asarray(values)
  if not np.issubdtype(values.dtype, np.floating):
    values = values.astype(np.float64)
  # NaN survives min and max: no boolean array of the size of all maps.
  if values.size and not np.isfinite([values.min(), values.max()]).all():
    bad = np.count_nonzero(~np.isfinite(values))
    raise InputError(
      f"{bad} of {values.size} anomaly scores are NaN or infinite: expected "
      "finite numbers; has training diverged?"
    )
  return values


def check_scores(label, score) -> tuple[np.ndarray, np.ndarray]:
  """([N] int64 of 0 and 1, [N] finite float) of anything like them.

  Raises:
    InputError: as in `image_auroc`.
  """
  label, score = np.asarray(label), check_finite(score)
  if label.ndim != 1 or label.shape != score.shape:
    raise InputError(
      f"label {label.shape} and score {score.shape}: expected two vectors of "
      "one length"
    )
  if not np.isin(label, (0, 1)).all():
    raise InputError("label: expected 0 (normal) and 1 (anomalous) only")
  return label.astype(np.int64), score


def _area(defect, map, weight, fpr_limit) -> float:
  """Area under weighted recall over false positive rate, in 0..fpr_limit.

  Args:
    defect: [N, H, W] bool, with pixels of both kinds.
    map: [N, H, W] float.
    weight: [number of defect pixels] float64, or None for equal weights.
    fpr_limit: end of the integral; the area is divided by it.
  """
  normal = map[~defect]
  normal.sort()
  score = map[defect]
  # Sorted keys make the binary searches below run through memory in order.
  order = np.argsort(score)
  score = score[order]
  weight = None if weight is None else weight[order]
  # The pixel is found while the rate climbs from `start` to `end`: at once, or
  # along a slope where normal pixels have the same score.
  start = 1 - np.searchsorted(normal, score, "right") / normal.size
  end = 1 - np.searchsorted(normal, score, "left") / normal.size
  slope = end - start
  climbed = np.clip(fpr_limit - start, 0, slope)
  area = np.maximum(fpr_limit - end, 0)
  area += climbed**2 / np.where(slope > 0, 2 * slope, 1)
  return float(np.average(area, weights=weight) / fpr_limit)


def _both_classes(label):
  return bool(label.any() and not label.all())


def _check_maps(mask, map):
  defect, map = np.asarray(mask) != 0, check_finite(map)
  if defect.ndim != 3 or defect.shape != map.shape:
    raise InputError(
      f"mask {defect.shape} and map {map.shape}: expected [N, H, W] for both"
    )
  return defect, map
