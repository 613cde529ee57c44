# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Filters of a scene and the distance of Mahalanobis, by hand and by NumPy."""

import numpy as np
import pytest

from jaxad import mahalanobis, spatial
from jaxad.joint_detector import JointDetector


def test_area_opening_by_hand():
  image = np.array(
    [
      [1, 1, 1, 1, 9],
      [1, 7, 7, 1, 1],
      [1, 5, 1, 1, 8],
      [0, 1, 1, 8, 1],
    ]
  )
  # The two 8 touch by a corner alone, and are cut like the 9. The peak of two
  # 7 falls to the 5 below it, with which it is three.
  want = np.array(
    [
      [1, 1, 1, 1, 1],
      [1, 5, 5, 1, 1],
      [1, 5, 1, 1, 1],
      [0, 1, 1, 1, 1],
    ]
  )
  np.testing.assert_array_equal(spatial.area_opening(image, 3), want)
  np.testing.assert_array_equal(spatial.area_opening(image, 1), image)
  # No region of any height is so large.
  np.testing.assert_array_equal(spatial.area_opening(image, 21), 0 * image)
  assert (spatial.area_opening(image, 20) == 0).all()


def test_a_profile_has_bright_and_dark_spots():
  image = np.full((6, 7), 100)
  image[1, 1], image[4, 3:5] = 180, 30
  want = np.zeros((6, 7), int)
  want[1, 1], want[4, 3:5] = 80, 70
  np.testing.assert_array_equal(spatial.attribute_profile(image, 3), want)
  assert (spatial.attribute_profile(image, 1) == 0).all()


def test_area_opening_is_what_it_says():
  """Below the image, idempotent, and no small region is left."""
  image = np.random.default_rng(0).integers(0, 256, (15, 12))
  opened = spatial.area_opening(image, 6)
  assert (opened <= image).all() and (opened != image).any()
  np.testing.assert_array_equal(spatial.area_opening(opened, 6), opened)


def test_guided_filter_by_hand():
  """At the border windows are cut, and means are of what is left."""
  image = np.array([[0.0, 1.0, 0.0, 0.0]])
  eps = 0.25
  # Windows of 2, 3, 3 and 2 pixels.
  mean = np.array([1 / 2, 1 / 3, 1 / 3, 0])
  variance = np.array([1 / 4, 2 / 9, 2 / 9, 0])
  a = variance / (variance + eps)
  b = mean - a * mean
  of_windows = lambda v: np.array(
    [v[:2].mean(), v[:3].mean(), v[1:].mean(), v[2:].mean()]
  )
  want = of_windows(a) * image[0] + of_windows(b)
  got = spatial.guided_filter(image, 1, eps)
  np.testing.assert_allclose(got[0], want, rtol=1e-12)


def test_guided_filter_keeps_edges_and_levels():
  flat = np.full((5, 6), 0.3)
  np.testing.assert_allclose(spatial.guided_filter(flat, 2, 0.1), flat)
  edge = np.zeros((8, 8))
  edge[:, 4:] = 1
  kept = spatial.guided_filter(edge, 2, 1e-6)
  np.testing.assert_allclose(kept, edge, atol=1e-4)
  # The edge is less than the window's variance, and is smoothed like a mean.
  assert np.abs(np.diff(spatial.guided_filter(edge, 2, 10.0))).max() < 0.3


def test_distances_are_those_of_numpy():
  rng = np.random.default_rng(0)
  rows = rng.normal(size=(300, 6)) @ rng.normal(size=(6, 6)) + 100
  mean, covariance = mahalanobis.moments(rows)
  np.testing.assert_allclose(mean, rows.mean(0))
  np.testing.assert_allclose(covariance, np.cov(rows.T, bias=True))
  parts = rows[:1], rows[1:1], rows[1:200], rows[200:]
  count, *merged = mahalanobis.merged(parts)
  assert count == 300
  np.testing.assert_allclose(merged[0], mean)
  np.testing.assert_allclose(merged[1], covariance)
  for ridge in (0.0, 0.01):
    c = covariance + ridge * np.trace(covariance) / 6 * np.eye(6)
    d = rows - mean
    want = np.einsum("ij,jk,ik->i", d, np.linalg.inv(c), d)
    whiten = mahalanobis.whitening(covariance, ridge)
    got = mahalanobis.distances(rows, mean, whiten)
    np.testing.assert_allclose(got, want, rtol=1e-9)


@pytest.mark.parametrize("ridge", [0.0, 1e-6])
def test_fewer_rows_than_bands(ridge):
  """Directions without variance do not blow up."""
  rows = np.random.default_rng(0).normal(size=(10, 40))
  mean, covariance = mahalanobis.moments(rows)
  whiten = mahalanobis.whitening(covariance, ridge)
  got = mahalanobis.distances(rows, mean, whiten)
  # Of n points in general position each is as far as any other.
  np.testing.assert_allclose(got, 9, rtol=1e-3)
  assert np.isfinite(whiten).all()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_of_one_detector_is_that_detector(share):
  residual = np.abs(np.random.default_rng(0).normal(size=(9, 11, 5)))
  found = JointDetector(fusion_lambda=share).of_residual(residual)
  name = "spatial" if share else "spectral"
  np.testing.assert_allclose(found["fused"], found[name], atol=1e-9)
  # A residual without anything in it has a map without anything in it.
  empty = JointDetector().of_residual(np.zeros((9, 11, 5)))
  assert (empty["fused"] == 0).all()
