# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Runs of methods that learn from labelled anomalies, and their mistakes."""

import csv
import json
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

from jaxad import run
from jaxad.callbacks import Saving
from jaxad.cli import INTERRUPTED, USAGE_ERROR

# Whole runs.
pytestmark = pytest.mark.whole

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"

SMALL = {
  "data.image_size": 32,
  "data.n_train": 16,
  "data.n_test_good": 8,
  "data.n_test_defect": 35,
  "train.epochs": 2,
  "train.batch_size": 6,
  "detector.trunk.weights": "random",
  "detector.trunk.layer": "layer1",
  "detector.trunk.width": 4,
  "detector.trunk.blocks": "1,1,1,1",
  "detector.steps_per_epoch": 3,
}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("JAXAD_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield


def command(method, workdir, *options, preset="", **changes):
  """Arguments of a small run; keywords have "_" for ".", after the group.

  Those of a value in it follow "__": detector_optimizer__schedule.
  """
  fields = dict(SMALL)
  for name, value in changes.items():
    group, _, field = name.partition("_")
    fields[f"{group}.{field.replace('__', '.')}"] = value
  return [
    f"--config={CONFIGS / method}.py{preset}",
    f"--workdir={workdir}",
    *options,
    *(f"--config.{k}={v}" for k, v in fields.items()),
  ]


def results_of(workdir):
  return json.loads((workdir / "results.json").read_text())


def scores_of(workdir):
  with (workdir / "scores.csv").open() as file:
    return {row["id"]: float(row["score"]) for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """The workdir of a finished run of DRA."""
  workdir = tmp_path_factory.mktemp("run") / "dra"
  assert run.main(command("dra", workdir)) == 0
  return workdir


def test_seen_and_unseen_kinds_apart(finished):
  results = results_of(finished)
  assert results["n_train_anomalies"] == 10
  # 16 normal images, of which a fifth is held out for the threshold.
  assert results["n_train"] == 13 + 10 and results["n_test"] == 8 + 25
  kinds = results["image_auroc_by_kind"]
  assert set(kinds) == {"crack", "dent", "fibre", "scratch", "stain"}
  for name in ("image_auroc_seen", "image_auroc_unseen"):
    assert 0 <= results[name] <= 1
  # Scratches and stains are as many: their mean is that of the unseen.
  mean = (kinds["scratch"] + kinds["stain"]) / 2
  assert results["image_auroc_unseen"] == pytest.approx(mean)
  assert (finished / "images.png").is_file()


def test_heads_apart(finished):
  parts = results_of(finished)["image_auroc_by_part"]
  assert set(parts) == {"holistic", "seen", "pseudo", "composite"}
  assert all(0 <= auroc <= 1 for auroc in parts.values())


@pytest.mark.slow
def test_a_run_is_a_function_of_its_seed(finished, tmp_path):
  assert run.main(command("dra", tmp_path / "again")) == 0
  assert scores_of(tmp_path / "again") == scores_of(finished)


@pytest.mark.slow
def test_scores_do_not_depend_on_the_batch(finished, tmp_path):
  """Another size of the test batches changes them by rounding alone."""
  workdir = tmp_path / "other"
  assert run.main(command("dra", workdir, eval_batch_size=7)) == 0
  ours, theirs = scores_of(workdir), scores_of(finished)
  assert ours.keys() == theirs.keys()
  np.testing.assert_allclose(
    [ours[name] for name in ours], [theirs[name] for name in ours], rtol=1e-5
  )


def test_stopped_and_resumed_is_the_same(finished, tmp_path, monkeypatch):
  after = Saving.after

  def killed(self, moment):
    after(self, moment)
    if moment.step == 5:  # The checkpoint of step 4 is the last one.
      raise KeyboardInterrupt

  workdir = tmp_path / "stopped"
  monkeypatch.setattr(Saving, "after", killed)
  stopped = command("dra", workdir, train_checkpoint_every=2)
  assert run.main(stopped) == INTERRUPTED
  monkeypatch.undo()
  assert run.main([*stopped, "--resume"]) == 0
  assert scores_of(workdir) == scores_of(finished)


@pytest.mark.parametrize(
  "method",
  ["devnet", "mlep"]
  + [pytest.param(name, marks=pytest.mark.slow) for name in ("flos", "saoe")],
)
def test_every_method_runs(method, tmp_path):
  assert run.main(command(method, tmp_path / method)) == 0
  results = results_of(tmp_path / method)
  assert results["image_auroc_unseen"] is not None
  assert np.isfinite(list(scores_of(tmp_path / method).values())).all()


def save_images(folder, count, seed):
  folder.mkdir(parents=True)
  rng = np.random.default_rng(seed)
  for k in range(count):
    pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(folder / f"{k:03d}.png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  root = tmp_path_factory.mktemp("images")
  save_images(root / "good", 12, 0)
  save_images(root / "hole", 9, 1)
  return root


@pytest.fixture(scope="module")
def outliers(tmp_path_factory):
  root = tmp_path_factory.mktemp("others")
  save_images(root / "good", 5, 2)
  return root


@pytest.mark.parametrize(
  ("method", "keywords"),
  [
    pytest.param("dra", {"detector_pseudo": "outliers"}, id="outliers"),
    pytest.param("dra", {"eval_protocol": "official"}, id="official"),
    # Each compiles a whole run of its own.
    pytest.param(
      "dra",
      {"detector_reference": "fixed", "detector_heads": "seen,pseudo"},
      id="fixed",
      marks=pytest.mark.slow,
    ),
    pytest.param(
      "dra",
      {"detector_criterion__name": "weighted_deviation"},
      id="weighted",
      marks=pytest.mark.slow,
    ),
    pytest.param("saoe", {}, id="saoe", marks=pytest.mark.slow),
  ],
)
def test_variants(method, keywords, folder, outliers, tmp_path):
  """Also a folder of one's own, from whose test the anomalies are drawn."""
  if keywords.get("detector_pseudo") or method == "saoe":
    keywords = keywords | {"data_outlier_root": outliers}
  arguments = command(
    method,
    tmp_path / "run",
    preset=":folder",
    data_root=folder,
    data_n_anomalies=3,
    **keywords,
  )
  assert run.main(arguments) == 0
  results = results_of(tmp_path / "run")
  assert results["n_train_anomalies"] == 3
  assert results["image_auroc_unseen"] is None
  assert results["image_auroc_seen"] == results["image_auroc"]
  official = keywords.get("eval_protocol") == "official"
  assert ("official_image_auroc" in results) == official
  if official:
    # By other references; the authors set no threshold.
    path = tmp_path / "run" / "scores_official.csv"
    with path.open() as file:
      rows = list(csv.DictReader(file))
    found = {row["id"]: float(row["score"]) for row in rows}
    assert found.keys() == scores_of(tmp_path / "run").keys()
    assert found != scores_of(tmp_path / "run")
    assert "predicted" not in rows[0] and "official_f1" not in results


def test_a_folder_may_have_its_own_labels(folder, tmp_path, capsys):
  """Nothing is then drawn from the test; without any DRA says so."""
  root = tmp_path / "images"
  shutil.copytree(folder / "good", root / "train" / "good")
  shutil.copytree(folder / "good", root / "test" / "good")
  shutil.copytree(folder / "hole", root / "test" / "hole")
  keywords = dict(preset=":folder", data_root=root, train_steps=1)
  assert run.main(command("dra", tmp_path / "without", **keywords)) == 0
  assert "no labelled anomalies" in capsys.readouterr().err
  shutil.copytree(folder / "hole", root / "train" / "hole")
  assert run.main(command("dra", tmp_path / "with", **keywords)) == 0
  assert "no labelled anomalies" not in capsys.readouterr().err
  results = results_of(tmp_path / "with")
  assert results["n_train_anomalies"] == 9 and results["n_test"] == 21


@pytest.mark.slow
def test_seeds(tmp_path, capsys):
  workdir = tmp_path / "seeds"
  assert run.main(command("devnet", workdir, "--seeds=0,3")) == 0
  summary = json.loads((workdir / "seeds.json").read_text())
  values = [
    results_of(workdir / f"seed-{seed}")["image_auroc"] for seed in (0, 3)
  ]
  assert summary["seeds"] == [0, 3]
  assert summary["image_auroc"]["values"] == values
  assert summary["image_auroc"]["mean"] == pytest.approx(np.mean(values))
  assert summary["image_auroc"]["std"] == pytest.approx(np.std(values, ddof=1))
  config = json.loads((workdir / "seed-3" / "config.json").read_text())
  assert config["seed"] == 3
  capsys.readouterr()

  # What is there stays; what is finished is not run again.
  assert run.main(command("devnet", workdir, "--seeds=0,3")) == USAGE_ERROR
  assert "not empty" in capsys.readouterr().err
  before = (workdir / "seed-0" / "results.json").stat().st_mtime_ns
  (workdir / "seeds.json").unlink()
  assert run.main(command("devnet", workdir, "--seeds=0,3", "--resume")) == 0
  assert json.loads((workdir / "seeds.json").read_text()) == summary
  after = (workdir / "seed-0" / "results.json").stat().st_mtime_ns
  assert after == before
  assert run.main(command("devnet", workdir, "--seeds=0,0")) == USAGE_ERROR
  assert "--seeds 0,0: expected different" in capsys.readouterr().err


WRONG = {
  "no anomalies": ("devnet", {"data_n_anomalies": 0}, ["n_anomalies=10"]),
  "no outliers": (
    "dra",
    {"detector_pseudo": "outliers"},
    ["no outliers", "outlier_root"],
  ),
  "unused outliers": (
    "dra",
    {"data_outlier_root": "OUTLIERS"},
    ["config.data.outlier_root=", "learns nothing", "leave it out"],
  ),
  "outliers and no labels": (
    "kdad",
    {"data_outlier_root": "OUTLIERS"},
    ["config.data.outlier_root=", "learns nothing", "leave it out"],
  ),
  "no triplets": ("mlep", {"train_batch_size": 8}, ["multiple of 3"]),
  "evaluated before its fit": (
    "mlep",
    {"eval_every": 1},
    ["config.eval.every=1", "'triplets'"],
  ),
  "too small": ("dra", {"detector_n_scales": 7}, ["at least 64"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_mistakes(name, outliers, tmp_path, capsys):
  method, changes, words = WRONG[name]
  changes = {
    key: outliers if value == "OUTLIERS" else value
    for key, value in changes.items()
  }
  arguments = command(method, tmp_path / "run", **changes)
  if method == "kdad":
    arguments = [a for a in arguments if "config.detector" not in a]
  assert run.main(arguments) == USAGE_ERROR
  error = capsys.readouterr().err
  for word in words:
    assert word in error
  assert not (tmp_path / "run").exists()
