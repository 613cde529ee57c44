# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Metrics against hand-computed values, brute force and scikit-learn."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from jaxad.errors import InputError
from jaxad.evaluation import metrics


def brute_force_regions(mask):
  """8-connected regions of a [H, W] mask by flood fill: lists of (y, x)."""
  left = set(zip(*np.nonzero(mask), strict=True))
  regions = []
  while left:
    stack, region = [left.pop()], []
    while stack:
      y, x = stack.pop()
      region.append((y, x))
      for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
          if (y + dy, x + dx) in left:
            left.remove((y + dy, x + dx))
            stack.append((y + dy, x + dx))
    regions.append(region)
  return regions


def brute_force_aupro(mask, map, limit):
  """The definition: every threshold, every region, then trapezoids."""
  regions = [
    [(n, y, x) for y, x in region]
    for n, image in enumerate(mask)
    for region in brute_force_regions(image)
  ]
  normal = map[mask == 0]
  fpr, pro = [0.0], [0.0]
  for t in sorted(set(map.ravel()), reverse=True):
    fpr.append(np.mean(normal >= t))
    overlaps = [np.mean([map[p] >= t for p in region]) for region in regions]
    pro.append(np.mean(overlaps))
  area = 0.0
  for f0, f1, p0, p1 in zip(fpr, fpr[1:], pro, pro[1:], strict=False):
    if f0 >= limit:
      break
    end = min(f1, limit)
    height = p0 + (p1 - p0) * (end - f0) / (f1 - f0) if f1 > f0 else p1
    area += (end - f0) * (p0 + height) / 2
  return area / limit


def brute_force_auroc(label, score):
  """Share of (anomalous, normal) pairs in the right order; a tie is half."""
  a, n = score[label == 1][:, None], score[label == 0][None]
  return np.mean((a > n) + 0.5 * (a == n))


def random_maps(seed, levels, dtype=np.float32):
  """Six 9 x 7 images with up to three random rectangles, and tied scores."""
  rng = np.random.default_rng(seed)
  mask = np.zeros((6, 9, 7), np.uint8)
  for image in mask[1:]:
    for _ in range(rng.integers(1, 4)):
      y, x = rng.integers(0, 8), rng.integers(0, 6)
      image[y : y + rng.integers(1, 4), x : x + rng.integers(1, 4)] = 1
  map = rng.integers(0, levels, mask.shape) + mask * rng.integers(0, levels)
  return mask, map.astype(dtype)


def test_image_metrics_by_hand():
  label, score = [0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]
  # 3 of 4 pairs in order; precision 1 at recall 1/2, then 2/3 at recall 1.
  assert metrics.image_auroc(label, score) == 0.75
  np.testing.assert_allclose(metrics.average_precision(label, score), 5 / 6)
  # All above 0.1: two found, one false alarm.
  f1, threshold = metrics.f1_max(label, score)
  np.testing.assert_allclose(f1, 0.8)
  assert threshold == 0.1


def test_higher_is_more_anomalous():
  label, score = np.array([0, 0, 1]), np.array([0.0, 1.0, 2.0])
  assert metrics.image_auroc(label, score) == 1
  assert metrics.image_auroc(label, -score) == 0
  assert metrics.average_precision(label, score) == 1
  assert metrics.f1_max(label, score) == (1.0, 1.0)
  map = np.broadcast_to(score[:, None, None], (3, 4, 4))
  mask = np.broadcast_to(label[:, None, None], (3, 4, 4))
  assert metrics.pixel_auroc(mask, map) == 1
  assert metrics.pixel_auroc(mask, -map) == 0
  assert metrics.aupro(mask, map) == 1
  assert metrics.aupro(mask, -map) == 0


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_image_metrics_with_ties(seed, dtype):
  rng = np.random.default_rng(seed)
  label = np.append(rng.integers(0, 2, 38), (0, 1))
  score = rng.integers(-6, 6, 40).astype(dtype)
  np.testing.assert_allclose(
    metrics.image_auroc(label, score), brute_force_auroc(label, score)
  )
  np.testing.assert_allclose(
    metrics.average_precision(label.astype(bool), score),
    sklearn_metrics.average_precision_score(label, score),
  )
  f1, threshold = metrics.f1_max(label, score)
  assert f1 == sklearn_metrics.f1_score(label, score > threshold)
  candidates = [*np.unique(score), score.min() - 1]
  best = max(sklearn_metrics.f1_score(label, score > t) for t in candidates)
  np.testing.assert_allclose(f1, best)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_f1_threshold_survives_neighbouring_floats(dtype):
  low = dtype(1)
  score = np.array([low, np.nextafter(low, dtype(2))])
  f1, threshold = metrics.f1_max([0, 1], score)
  assert f1 == 1
  np.testing.assert_array_equal(score > threshold, [False, True])


def test_f1_of_constant_scores_calls_all_anomalous():
  score = np.full(4, 1e-3, np.float32)
  f1, threshold = metrics.f1_max([0, 0, 1, 1], score)
  np.testing.assert_allclose(f1, 2 / 3)
  assert (score > threshold).all()


def test_f1_takes_the_highest_of_equal_thresholds():
  # F1 is 2/3 with the first one, the first two or all four called anomalous.
  label, score = [1, 0, 0, 1], [4.0, 3.0, 2.0, 1.0]
  np.testing.assert_allclose(metrics.f1_max(label, score), (2 / 3, 3.0))


def test_pixel_auroc_and_aupro_by_hand():
  # A region of one pixel, one of two (joined by a corner), five normal pixels.
  mask = np.array([[[1, 0, 0, 1], [0, 0, 1, 0]]])
  map = np.array([[[9, 5, 1, 3], [2, 6, 4, 0]]], np.float32)
  # Normal 0 1 2 5 6; the defects 9, 4 and 3 are above 5, 3 and 3 of them.
  np.testing.assert_allclose(metrics.pixel_auroc(mask, map), 11 / 15)
  # The overlap is 1/2 up to a rate of 0.4, then 1.
  np.testing.assert_allclose(metrics.aupro(mask, map), 0.5)
  np.testing.assert_allclose(
    metrics.aupro(mask, map, 0.5), (0.4 * 0.5 + 0.1 * 1) / 0.5
  )
  np.testing.assert_allclose(metrics.aupro(mask, map, 1.0), 0.8)


def test_small_regions_count_as_much_as_large_ones():
  mask = np.zeros((2, 8, 8), np.uint8)
  mask[0, :4], mask[1, 0, 0] = 1, 1
  map = np.zeros(mask.shape, np.float32)
  map[0, :4] = 1
  map[1, 0, 0] = -1
  # The large region is found at once, the single pixel never.
  np.testing.assert_allclose(metrics.pixel_auroc(mask, map), 32 / 33)
  np.testing.assert_allclose(metrics.aupro(mask, map, 1.0), 0.5)


def test_chance_level_of_aupro():
  mask = np.zeros((1, 4, 4), np.uint8)
  mask[0, 1, 1] = 1
  np.testing.assert_allclose(
    metrics.aupro(mask, np.ones((1, 4, 4), np.float32)), 0.15
  )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_pixel_metrics_against_brute_force(seed, levels):
  mask, map = random_maps(seed, levels)
  np.testing.assert_allclose(
    metrics.pixel_auroc(mask, map),
    brute_force_auroc(mask.ravel(), map.ravel()),
    rtol=1e-12,
  )
  for limit in (0.05, 0.3, 1.0):
    np.testing.assert_allclose(
      metrics.aupro(mask, map, limit),
      brute_force_aupro(mask, map, limit),
      rtol=1e-12,
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_pixel_auroc_agrees_with_scikit_learn(dtype):
  rng = np.random.default_rng(0)
  mask = (rng.random((5, 40, 40)) < 0.05).astype(np.uint8) * 255
  map = (rng.normal(size=mask.shape) + (mask > 0)).astype(dtype)
  np.testing.assert_allclose(
    metrics.pixel_auroc(mask, map),
    sklearn_metrics.roc_auc_score(mask.ravel() > 0, map.ravel()),
    rtol=1e-12,
  )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_iou_at_every_threshold(seed, levels):
  mask, map = random_maps(seed, levels)
  by_threshold = {
    t: sklearn_metrics.jaccard_score(mask.ravel(), map.ravel() > t)
    for t in [*np.unique(map), map.min() - 1]
  }
  for t, want in by_threshold.items():
    assert metrics.pixel_iou(mask, map, t) == pytest.approx(want)
  iou, threshold = metrics.pixel_iou_max(mask, map)
  assert iou == pytest.approx(max(by_threshold.values()))
  assert metrics.pixel_iou(mask, map, threshold) == iou


def test_iou_by_hand():
  mask = np.array([[[1, 1, 0, 0]]])
  map = np.float32([[[0.9, 0.2, 0.6, 0.1]]])
  assert metrics.pixel_iou(mask, map) == 1 / 3
  assert metrics.pixel_iou(mask, map, 0.7) == 1 / 2
  # All above 0.1: two found, one false alarm.
  iou, threshold = metrics.pixel_iou_max(mask, map)
  assert (iou, threshold) == (2 / 3, np.float32(0.1))


def test_inputs_are_left_as_they_are():
  mask, map = random_maps(0, 5)
  before = map.copy()
  metrics.pixel_auroc(mask, map)
  metrics.aupro(mask, map)
  metrics.pixel_iou_max(mask, map)
  np.testing.assert_array_equal(map, before)


@pytest.mark.parametrize(
  "metric", [metrics.image_auroc, metrics.average_precision, metrics.f1_max]
)
def test_image_metrics_undefined_and_refused(metric):
  assert metric([0, 0], [1.0, 2.0]) is None
  assert metric([1, 1], [1.0, 2.0]) is None
  assert metric([], []) is None
  with pytest.raises(InputError, match="1 of 2 anomaly scores are NaN"):
    metric([0, 1], [1.0, np.nan])
  with pytest.raises(InputError, match="infinite"):
    metric([0, 1], [1.0, -np.inf])
  with pytest.raises(InputError, match=r"label \(2,\) and score \(3,\)"):
    metric([0, 1], [1.0, 2.0, 3.0])
  with pytest.raises(InputError, match="two vectors"):
    metric([[0, 1]], [[1.0, 2.0]])
  with pytest.raises(InputError, match="0 .normal. and 1"):
    metric([0, 2], [1.0, 2.0])


@pytest.mark.parametrize(
  "metric",
  [
    metrics.pixel_auroc,
    metrics.aupro,
    metrics.pixel_iou,
    metrics.pixel_iou_max,
  ],
)
def test_pixel_metrics_undefined_and_refused(metric):
  zeros = np.zeros((2, 3, 3), np.uint8)
  map = np.ones((2, 3, 3), np.float32)
  assert metric(None, map) is None
  assert metric(zeros, None) is None
  assert metric(zeros, map) is None
  assert metric(zeros + 1, map) is None
  assert metric(zeros[:0], map[:0]) is None
  with pytest.raises(InputError, match="18 of 18 anomaly scores are NaN"):
    metric(zeros, map * np.nan)
  with pytest.raises(InputError, match=r"mask \(2, 3, 3\) and map \(1, 3, 3\)"):
    metric(zeros, map[:1])
  with pytest.raises(InputError, match="N, H, W"):
    metric(zeros[0], map[0])


@pytest.mark.parametrize("limit", [0.0, 1.5, np.nan])
def test_aupro_refuses_a_limit_out_of_range(limit):
  with pytest.raises(InputError, match="fpr_limit"):
    metrics.aupro(*random_maps(0, 5), limit)


def test_slow_packages_are_imported_on_use_only():
  code = (
    "import sys; import jaxad.evaluation.metrics, jaxad.report.figures; "
    "print([m for m in ('sklearn', 'matplotlib') if m in sys.modules])"
  )
  done = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  assert done.stdout.strip() == "[]"
