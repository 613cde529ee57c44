# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Small defects in large images: tiles, from the folder to the decision."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

import jaxad
from jaxad import cli, data
from jaxad.errors import InputError

# Whole runs.
pytestmark = pytest.mark.whole

# A scratch of 20 x 3 pixels in 300 x 400, and tiles of 64.
SIZE, TILE = (300, 400), 64


def surface(rng, scratch=False, size=SIZE):
  """Grain, and where in it the scratch is, bool."""
  x = rng.normal(120, 6, (*size, 1)).repeat(3, -1)
  mask = np.zeros(size, bool)
  if scratch:
    y, left = (int(rng.integers(30, n - 50)) for n in size)
    mask[y : y + 3, left : left + 20] = True
    x[mask] = 215
  return x.clip(0, 255).astype(np.uint8), mask


def make_set(root, n_train=6, n_test=4, size=SIZE):
  rng = np.random.default_rng(0)
  for where, n in (("train/good", n_train), ("test/good", n_test)):
    for k in range(n):
      path = root / where / f"{k}.png"
      path.parent.mkdir(parents=True, exist_ok=True)
      Image.fromarray(surface(rng, size=size)[0]).save(path)
  for k in range(n_test):
    x, mask = surface(rng, True, size)
    for where, array in (
      ("test/scratch", x),
      ("ground_truth/scratch", np.uint8(mask) * 255),
    ):
      path = root / where / f"{k}.png"
      path.parent.mkdir(parents=True, exist_ok=True)
      Image.fromarray(array).save(path)
  return root


def test_tiles_of_a_split(tmp_path):
  make_set(tmp_path)
  found = data.load("folder", root=tmp_path, image_size=32, tile=TILE)
  train, test = found
  per_image = len(found.preprocess.layout(SIZE).boxes)
  assert per_image == 6 * 8
  assert len(train.id) == 6 and train.x.shape == (6 * per_image, 32, 32, 3)
  assert test.mask.shape == (8, 512, 512) and test.pictures.shape[0] == 8
  # Every scratch is seen by a tile, and by few.
  hit = test.tiles.defective.reshape(8, per_image).sum(1)
  assert ((hit[test.label == 1] >= 1) & (hit[test.label == 1] <= 6)).all()
  assert (hit[test.label == 0] == 0).all()
  assert (test.mask.any((1, 2)) == (test.label == 1)).all()
  # A part of it keeps tiles and images together.
  part = test.take([5, 0])
  first = test.tiles.rows([5])
  np.testing.assert_array_equal(part.x[:per_image], test.x[first])
  flat = train.flat()
  assert flat.id[per_image] == "train/good/1.png#0" and flat.tiles is None


def test_labelled_anomalies_are_the_tiles_that_show_them(tmp_path):
  make_set(tmp_path)
  found = data.load(
    "folder", root=tmp_path, image_size=32, tile=TILE, n_anomalies=2
  )
  flat = found.train.flat()
  anomalous = np.flatnonzero(flat.label == 1)
  assert 2 <= len(anomalous) <= 12
  assert all(flat.x[k].max() > 180 for k in anomalous)
  assert flat.x[flat.label == 0].max() < 180


def test_what_cannot_be_cut_up():
  for name in ("textures", "digits"):
    with pytest.raises(InputError, match="tile=64: it cuts up large images"):
      data.load(name, subset="1" if name == "digits" else None, tile=64)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """(the data, the folder of a run on their tiles)."""
  root = make_set(tmp_path_factory.mktemp("tiled"))
  folder = root / "run"
  options = {
    "data.root": root,
    "data.image_size": 32,
    "data.tile": TILE,
    "data.holdout": 0.34,
    "detector.width": 8,
    "detector.latent_dim": 16,
    "train.steps": 120,
    "train.batch_size": 16,
    "eval.batch_size": 16,
  }
  code = cli.main(
    ["run", "--config", "ganomaly:folder", "--workdir", str(folder)]
    + [f"--config.{name}={value}" for name, value in options.items()]
  )
  assert code == 0
  return root, folder


def test_a_scratch_in_a_large_image_is_found(finished):
  root, folder = finished
  results = json.loads((folder / "results.json").read_text())
  assert results["image_auroc"] == 1.0
  assert results["n_test"] == 8 and results["n_threshold"] == 2
  assert ">reconstruction<" in (folder / "report.html").read_text()
  with (folder / "scores.csv").open() as file:
    rows = {row["id"]: float(row["score"]) for row in csv.DictReader(file)}
  # New images of the same kind, and the same scores from the same files.
  run = jaxad.load(folder)
  paths = [root / name for name in rows]
  scores = run.score(paths, ids=list(rows))
  np.testing.assert_allclose(scores.image, list(rows.values()), rtol=1e-5)


@pytest.mark.slow
def test_a_scratch_of_20_pixels_in_12_megapixels(tmp_path):
  root = make_set(tmp_path / "set", n_train=4, n_test=3, size=(3000, 4000))
  folder = tmp_path / "run"
  options = {
    "data.root": root,
    "data.image_size": 64,
    "data.tile": 256,
    "data.holdout": 0.34,
    "detector.width": 8,
    "train.steps": 200,
    "train.batch_size": 32,
    "eval.batch_size": 64,
    "eval.maps": "sheet",
  }
  code = cli.main(
    ["run", "--config", "ganomaly:folder", "--workdir", str(folder)]
    + [f"--config.{name}={value}" for name, value in options.items()]
  )
  assert code == 0
  results = json.loads((folder / "results.json").read_text())
  assert results["image_auroc"] == 1.0
