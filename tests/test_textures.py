# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The rendered surfaces."""

import time

import numpy as np
import pytest
import scipy.ndimage
from sklearn.metrics import roc_auc_score

from jaxad.data import textures
from jaxad.data.decode import decode

KINDS = [(s, d) for s in textures.SURFACES for d in textures.DEFECTS[s]]


def rng(*key):
  return np.random.default_rng(key)


@pytest.mark.parametrize("size", [32, 100, 256])
@pytest.mark.parametrize(("surface", "defect"), KINDS)
def test_defect_changes_the_mask_and_nothing_else(surface, defect, size):
  image, mask = textures.render(surface, defect, size, rng(3))
  twin, empty = textures.render(surface, "good", size, rng(3))
  assert image.shape == (size, size, 3) and image.dtype == np.uint8
  assert mask.shape == (size, size) and mask.dtype == np.uint8
  assert not empty.any()
  changed = (image != twin).any(axis=-1)
  assert not changed[mask == 0].any()
  assert 0 < mask.mean() < 0.25
  assert changed[mask == 1].mean() > 0.6


@pytest.mark.parametrize(("surface", "defect"), KINDS)
def test_defect_is_visible_and_not_glaring(surface, defect):
  steps = []
  for key in range(3):
    image, mask = textures.render(surface, defect, 256, rng(key))
    twin, _ = textures.render(surface, "good", 256, rng(key))
    step = np.abs(image.astype(float) - twin).mean(axis=-1)
    steps.append(np.quantile(step[mask == 1], 0.8))
  assert 8 < np.median(steps) < 130


def test_at_least_four_surfaces_and_five_defects():
  assert len(textures.SURFACES) >= 4
  assert len({defect for _, defect in KINDS}) >= 5
  assert textures.SUBSETS[0] == "metal" and textures.SUBSETS[-1] == "all"


def test_same_generator_same_pixels():
  first = textures.render("wood", "crack", 64, rng(1))
  again = textures.render("wood", "crack", 64, rng(1))
  other = textures.render("wood", "crack", 64, rng(2))
  np.testing.assert_array_equal(first[0], again[0])
  np.testing.assert_array_equal(first[1], again[1])
  assert (first[0] != other[0]).any()


def test_items_do_not_depend_on_the_counts():
  few = list(make_items("all", 64, n_good=6, n_defect=10))
  more = list(make_items("all", 64, n_good=6, n_defect=15))
  assert few == more[:16]
  assert len({item.id for item in more}) == 21
  assert [item.label for item in more] == 6 * [0] + 15 * [1]
  assert all((item.mask is None) == (item.label == 0) for item in more)


def test_no_image_of_a_set_is_one_of_another_seed_split_or_surface():
  sets = [("metal", "test", 0), ("metal", "train", 0), ("metal", "test", 1)]
  sets += [("wood", "test", 0), ("all", "test", 2)]
  images_of = [
    [
      item.image
      for item in textures.items(
        surface, split, size=32, seed=seed, n_good=4, n_defect=0
      )
    ]
    for surface, split, seed in sets
  ]
  assert len({image for group in images_of for image in group}) == 20


def make_items(subset, size, n_good, n_defect):
  return textures.items(
    subset, "test", size=size, seed=0, n_good=n_good, n_defect=n_defect
  )


@pytest.fixture(scope="module")
def default_set():
  """x [120, 256, 256, 3] and label [120] of the default test split."""
  items = list(make_items(textures.SUBSETS[0], 256, n_good=40, n_defect=80))
  x = np.stack([decode(item.image) for item in items])
  return x, np.array([item.label for item in items])


def test_simple_statistics_do_not_separate(default_set):
  x, label = default_set
  brightness = roc_auc_score(label, x.mean(axis=(1, 2, 3)))
  deviation = roc_auc_score(label, x.std(axis=(1, 2, 3)))
  assert 0.35 < brightness < 0.65
  assert 0.25 < deviation < 0.75


def test_images_of_a_surface_differ_and_have_texture(default_set):
  x, label = default_set
  good = x[label == 0].mean(axis=-1)
  assert good.mean(axis=(1, 2)).std() > 5
  fine = good - scipy.ndimage.gaussian_filter(good, (0, 6, 6))
  assert fine.std() > 8
  # No two normal images are near copies.
  flat = fine.reshape(len(fine), -1)
  alike = np.corrcoef(flat) - np.eye(len(flat))
  assert np.abs(alike).max() < 0.5


def test_rendering_is_quick():
  textures.render("wood", "dent", 256, rng(0))
  seconds = []
  for surface in textures.SURFACES:
    for key in range(3):
      start = time.perf_counter()
      textures.render(surface, "stain", 256, rng(key))
      seconds.append(time.perf_counter() - start)
  # 16 ms on one idle core; a busy machine gets room.
  assert np.median(seconds) < 0.1
