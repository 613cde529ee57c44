# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""A trained run as files: what was trained scores new images."""

import csv
import dataclasses
import itertools
import json
import pathlib
import shutil

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image
from trained_runs import damaged, images_of, write_run

import jaxad
from jaxad import cli, data, run, trained
from jaxad import config as configs
from jaxad.errors import InputError

FIELDS = {
  "data.image_size": 32,
  "data.holdout": 0.3,
  "train.batch_size": 4,
  "eval.batch_size": 4,
  "train.cached_views": 0,
  "train.epochs": 1,
  "eval.threshold": "quantile",
  "detector.trunk": "alexnet",
  "detector.layer": "features.0",
  "detector.n_scales": 1,
  "detector.n_blocks": 1,
  "detector.hidden": 8,
  "detector.n_transforms": 1,
  "detector.n_transforms_test": 2,
  "detector.rotations": True,
  "detector.test_rotations": "random",
}


def picture(path, seed, bad=False):
  rng = np.random.default_rng(seed)
  pixels = rng.integers(90, 150, (40, 48, 3), np.uint8)
  if bad:
    pixels[10:30, 20:25] = 255
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(pixels).save(path)


def arguments(home):
  fields = FIELDS | {
    "data.root": home / "images",
    "detector.weights": home / "trunk.npz",
  }
  return ["--config=differnet:folder", f"--workdir={home / 'runs/bottle'}"] + [
    f"--config.{name}={value}" for name, value in fields.items()
  ]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
  """A folder with images, a trunk's weights and the run on them."""
  home = tmp_path_factory.mktemp("home")
  for k in range(10):
    picture(home / f"images/train/good/{k:03}.png", k)
  for k in range(3):
    picture(home / f"images/test/good/{k:03}.png", 100 + k)
    picture(home / f"images/test/bar/{k:03}.png", 200 + k, bad=True)
    picture(home / f"new/{k:03}.png", 300 + k, bad=k == 1)
  rng = np.random.default_rng(0)
  np.savez(
    home / "trunk.npz",
    **{
      "features.0.weight": np.float32(rng.normal(0, 0.1, (64, 3, 11, 11))),
      "features.0.bias": np.zeros(64, np.float32),
    },
  )
  assert run.main(arguments(home)) == 0
  return home


@pytest.fixture(scope="module")
def loaded(home):
  """The run, where its images and the weights of its trunk are gone."""
  for name in ("images", "trunk.npz"):
    (home / name).rename(home / f"{name}.away")
  yield jaxad.load(home / "runs/bottle")
  for name in ("images", "trunk.npz"):
    (home / f"{name}.away").rename(home / name)


@pytest.fixture(scope="module")
def dataset(home, loaded):
  fields = configs.data_arguments(ConfigDict(loaded.config))
  return data.load(**fields | {"root": str(home / "images.away")})


def table(home):
  with (home / "runs/bottle/scores.csv").open() as file:
    return list(csv.DictReader(file))


def results(home):
  return json.loads((home / "runs/bottle/results.json").read_text())


def test_scores_are_those_of_the_run(home, loaded, dataset):
  rows = table(home)
  want = np.float32([float(row["score"]) for row in rows])
  ids = [row["id"] for row in rows]
  assert tuple(ids) == dataset.test.id
  # From files of another size than the detector's, and from what it sees.
  paths = [home / "images.away" / name for name in ids]
  for images in (paths, dataset.test.x):
    found = loaded.score(images, ids=ids)
    np.testing.assert_array_equal(found.image, want)
    assert found.map is None and found.parts.keys() == {"latent", "nll"}
  np.testing.assert_array_equal(
    loaded.predict(paths, ids=ids), [row["predicted"] == "1" for row in rows]
  )
  # What is drawn for an image is drawn from its id.
  assert (loaded.score(paths).image != want).all()


def test_what_is_known_of_the_run(home, loaded):
  assert loaded.method == "differnet" and loaded.path == home / "runs/bottle"
  assert loaded.threshold == results(home)["threshold"]
  assert loaded.threshold_rule == ("quantile", None)
  assert loaded.threshold_source == results(home)["threshold_from"]
  assert loaded.preprocess.size == (32, 32)
  normal = loaded.normal
  assert len(normal.id) == len(normal.score) == 3
  assert loaded.threshold == np.quantile(normal.score, 0.95)
  paths = [home / "images.away" / name for name in normal.id]
  for path, score, brightness in zip(paths, *normal[1:], strict=True):
    name = f"train/good/{path.name}"
    (one,) = loaded.stream([path], ids=[name])
    assert one.score == pytest.approx(score, rel=1e-5)
    views, _ = loaded.preprocess.views(np.asarray(Image.open(path)))
    assert one.brightness == brightness == pytest.approx(views.mean())


def test_figures_on_other_data(home, loaded, dataset):
  found, want = loaded.evaluate(dataset), results(home)
  assert found == {name: want[name] for name in found}
  assert found["image_auroc"] is not None and found["n_test"] == 6
  test = dataset.test
  assert loaded.evaluate(test) == found
  half = loaded.evaluate(test.take(np.arange(3)))
  assert half["n_test"] == 3 and half["image_auroc"] is None
  with pytest.raises(InputError, match=r"examples of shape \[16, 16, 3\].*32"):
    loaded.evaluate(dataclasses.replace(test, x=test.x[:, ::2, ::2]))


def test_every_way_to_give_images(home, loaded):
  paths = sorted((home / "new").iterdir())
  arrays = [np.asarray(Image.open(path)) for path in paths]
  want = loaded.score(paths)
  assert len(set(want.image.tolist())) == 3
  for images in (
    arrays,
    np.stack(arrays),
    iter(arrays),
    [str(path) for path in paths],
    [arrays[0], paths[1], np.stack(arrays[2:])],
    [np.float32(image) / 255 for image in arrays],
  ):
    np.testing.assert_array_equal(loaded.score(images).image, want.image)
  np.testing.assert_array_equal(loaded.score(paths[0]).image, want.image[:1])
  grey = np.stack(arrays)[..., 0]
  as_rgb = np.repeat(grey[..., None], 3, axis=-1)
  np.testing.assert_array_equal(
    loaded.score(grey).image, loaded.score(as_rgb).image
  )
  assert loaded.score([]).image.shape == (0,)


def test_a_generator_is_read_as_it_is_scored(loaded):
  read = itertools.count()
  images = (np.full((9, 9), next(read), np.uint8) for _ in range(100))
  scores = loaded.stream(images, batch_size=2)
  next(scores)
  assert next(read) < 10
  assert len(list(scores)) == 99


def test_maps_are_of_the_images_own_size(loaded):
  images = images_of(3)
  found = loaded.score(images, with_maps=True, batch_size=2)
  assert [m.shape for m in found.map] == [image.shape[:2] for image in images]
  for image, pixel_map in zip(images, found.map, strict=True):
    (alone,) = loaded.score([image], True, ids=["0"]).map
    assert pixel_map.dtype == np.float32 and np.isfinite(alone).all()
  np.testing.assert_allclose(
    loaded.score(images[:1], True).map[0], found.map[0], rtol=1e-3, atol=1e-9
  )


@pytest.mark.parametrize(
  ("images", "ids", "words"),
  [
    (np.zeros((8, 8, 3), np.uint8), None, r"\[8, 8, 3\].*Give a list"),
    (np.zeros((8, 8), np.uint8), None, r"\[8, 8\].*goes into a list"),
    ([np.zeros((8, 8, 5), np.uint8)], None, r"image 0: .*\[8, 8, 5\]"),
    ([np.zeros((8, 8), np.uint16)], ["a"], "image a: .*uint16"),
    ([np.zeros((8, 8), np.uint8)] * 2, ["a"], "ids: fewer than images"),
    ([np.zeros((8, 8), np.uint8)], ["a", "b"], "ids: more than images"),
    (["nowhere.png"], None, "nowhere.png: No such file"),
  ],
)
def test_what_is_no_image_is_refused(loaded, images, ids, words):
  with pytest.raises(InputError, match=words):
    loaded.score(images, ids=ids)


def test_nothing_is_said_of_a_score_that_is_no_number(loaded, monkeypatch):
  fetch = type(loaded)._fetch
  spoilt = lambda self, scores: (
    fetch(self, scores) | {"image": np.float32([1, np.nan, 1, 1])}
  )
  monkeypatch.setattr(type(loaded), "_fetch", spoilt)
  with pytest.raises(InputError, match="image 1 is not finite"):
    loaded.predict(images_of(2))


@pytest.mark.slow
def test_a_finished_run_keeps_its_threshold(home, tmp_path):
  shutil.copytree(home, tmp_path / "home")
  folder = tmp_path / "home/runs/bottle"
  assert cli.main(["threshold", f"--run={folder}", "--rule=max"]) == 0
  before = (folder / "model.json").read_bytes()
  assert run.main([*arguments(tmp_path / "home"), "--resume"]) == 0
  assert (folder / "model.json").read_bytes() == before


# Without training.


@pytest.fixture(scope="module")
def small(tmp_path_factory):
  folder = tmp_path_factory.mktemp("small") / "run"
  write_run(folder, "ganomaly")
  return folder


@pytest.mark.whole
def test_an_image_in_tiles(small, tmp_path):
  shutil.copytree(small, tmp_path / "run")
  whole = jaxad.load(small)
  found = trained.read_description(small)
  found["preprocess"] |= {"tile": 32, "overlap": 0.0}
  trained.write_description(tmp_path / "run", found)
  tiled = jaxad.load(tmp_path / "run")
  image = np.random.default_rng(0).integers(0, 256, (96, 64, 3), np.uint8)
  tiles = [image[y : y + 32, x : x + 32] for y in (0, 32, 64) for x in (0, 32)]
  each = whole.score(tiles, with_maps=True)
  (one,) = tiled.stream([image], with_maps=True)
  assert one.score == each.image.max()
  assert one.brightness == pytest.approx(image.mean())
  rows = [np.concatenate(each.map[k : k + 2], 1) for k in (0, 2, 4)]
  np.testing.assert_array_equal(one.map, np.concatenate(rows))
  # Images of several tiles share batches.
  some = tiled.score([tiles[0], image, tiles[1]])
  np.testing.assert_array_equal(
    some.image, [each.image[0], each.image.max(), each.image[1]]
  )


@pytest.fixture
def copy(small, tmp_path):
  return pathlib.Path(shutil.copytree(small, tmp_path / "run"))


def refused(folder, words):
  with pytest.raises(InputError, match=words) as error:
    jaxad.load(folder)
  assert "\n" not in str(error.value)


def test_what_is_missing_is_named(copy, tmp_path):
  refused(tmp_path, "model.json: no such file.*finished run")
  (copy / "model.safetensors").unlink()
  refused(copy, "model.safetensors: no such file")


def test_a_newer_format_is_told(copy):
  found = trained.read_description(copy)
  trained.write_description(copy, found | {"format": 2})
  refused(copy, "format 2.*install a newer one")


def test_a_configuration_of_another_version_is_told(copy):
  found = trained.read_description(copy)
  wider = json.loads(json.dumps(found))
  wider["config"]["detector"]["width"] = 16
  trained.write_description(copy, wider)
  refused(copy, "model.safetensors: .* expects of the configuration")
  found["config"]["detector"]["depth"] = 3
  trained.write_description(copy, found)
  refused(copy, "does not know the configuration.*depth")


def test_weights_of_another_run_are_refused(copy, tmp_path):
  write_run(tmp_path / "other", "ganomaly", latent_dim=6)
  shutil.copy(tmp_path / "other/model.safetensors", copy)
  refused(copy, "model.safetensors: it is damaged, or not of this run")


@pytest.mark.parametrize(
  "count", [60, pytest.param(1000, marks=pytest.mark.slow)]
)
def test_damage_is_told(copy, count):
  for name in ("model.json", "model.safetensors"):
    blob = (copy / name).read_bytes()
    right = trained.read_description(copy)
    for seed in range(count):
      (copy / name).write_bytes(damaged(blob, seed))
      try:
        # What is not told has changed nothing, as a space between two words.
        assert name == "model.json"
        assert trained.read_description(copy) == right
      except InputError as error:
        assert "\n" not in str(error) and name in str(error)
      except AssertionError:
        refused(copy, name)
    (copy / name).write_bytes(blob)
