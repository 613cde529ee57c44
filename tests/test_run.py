# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The command line as a user meets it: a whole small run, and its mistakes."""

import csv
import importlib.util
import json
import pathlib
import signal
import sys

import numpy as np
import pytest
from PIL import Image

from jaxad import run
from jaxad.callbacks import Saving
from jaxad.cli import INTERRUPTED, USAGE_ERROR

CONFIG = str(pathlib.Path(__file__).parents[1] / "configs" / "differnet.py")

TENSORBOARD = importlib.util.find_spec("tensorboard") is not None

SMALL = {
  "data.image_size": 64,
  "data.holdout": 0.2,
  "data.n_train": 12,
  "data.n_test_good": 4,
  "data.n_test_defect": 5,
  "train.epochs": 4,
  "train.batch_size": 4,
  "train.cached_views": 2,
  "eval.batch_size": 4,
  "eval.maps": "all",
  "detector.trunk": "alexnet",
  "detector.weights": "random",
  "detector.layer": "features.2",
  "detector.n_scales": 1,
  "detector.n_blocks": 2,
  "detector.hidden": 16,
  "detector.rotations": True,
  "detector.n_transforms": 2,
  "detector.n_transforms_test": 2,
}


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("JAXAD_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield


def command(workdir, preset="", resume=False, **changes):
  """Arguments of a small run; keywords have "_" for ".", after the group."""
  fields = dict(SMALL)
  for name, value in changes.items():
    group, _, field = name.partition("_")
    fields[f"{group}.{field}"] = value
  arguments = [f"--config={CONFIG}{preset}", f"--workdir={workdir}"]
  arguments += ["--resume"] if resume else []
  return arguments + [f"--config.{k}={v}" for k, v in fields.items()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """The workdir of a finished run."""
  workdir = tmp_path_factory.mktemp("run") / "finished"
  fields = {"eval_nearest_neighbour": True, "train_tensorboard": TENSORBOARD}
  assert run.main(command(workdir, **fields)) == 0
  return workdir


def read_scores(workdir):
  with (workdir / "scores.csv").open() as file:
    return list(csv.DictReader(file))


def read_metrics(workdir):
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  return [json.loads(line) for line in lines]


def test_a_run_leaves_everything(finished):
  results = json.loads((finished / "results.json").read_text())
  for key in (
    "image_auroc",
    "image_average_precision",
    "f1_max",
    "pixel_auroc",
    "pixel_aupro",
    "nearest_neighbour_auroc",
  ):
    assert 0 <= results[key] <= 1, key
  assert results["n_train"] == 10 and results["n_test"] == 9  # 2 held out
  low, high = results["expected_false_positive_interval"]
  assert low < results["expected_false_positive_rate"] < high
  assert results["train_seconds"] > 0
  assert results["ms_per_image"] > 0
  assert results["pixel_resolution"] == [64, 64]
  origin = results["provenance"]
  assert "cpu" in origin["device"] and origin["cpu"] and origin["date"]
  assert {"jax", "flax", "optax", "jaxad"} <= origin["versions"].keys()
  fingerprint = results["fingerprint"]
  assert fingerprint["weights"] is None
  assert fingerprint["data"]["train"]["n"] == 10
  config = json.loads((finished / "config.json").read_text())
  assert config["data"]["image_size"] == 64
  assert config["fingerprint"] == fingerprint
  with (finished / "examples.csv").open() as file:
    seen = [row["split"] for row in csv.DictReader(file)]
  assert [seen.count(name) for name in ("train", "test", "held_out")] == [
    10,
    9,
    2,
  ]
  for name in ("roc_curve.png", "score_histogram.png", "images.png"):
    with Image.open(finished / name) as image:
      assert min(image.size) > 200, name
  rows = read_metrics(finished)
  assert rows[-1]["step"] == 4 * 3 and np.isfinite(rows[-1]["loss"])
  assert any((finished / "checkpoints").iterdir())


@pytest.mark.skipif(not TENSORBOARD, reason="tensorboard is not installed")
def test_tensorboard_gets_the_figures_of_the_log(finished):
  (events,) = (finished / "tensorboard").iterdir()
  written = events.read_bytes()
  for name in read_metrics(finished)[-1].keys() - {"step", "phase"}:
    assert f"flow/{name}".encode() in written


def test_a_run_for_tensorboard_wants_it_installed(
  tmp_path, monkeypatch, capsys
):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  arguments = command(tmp_path / "run", train_tensorboard=True)
  assert run.main(arguments) == USAGE_ERROR
  error = capsys.readouterr().err
  assert error.startswith("error: config.train.tensorboard: ")
  assert "pip install 'jaxad[log]'" in error
  assert not (tmp_path / "run").exists()


def test_scores_agree_with_results(finished):
  results = json.loads((finished / "results.json").read_text())
  rows = read_scores(finished)
  assert len(rows) == results["n_test"]
  score = np.array([float(row["score"]) for row in rows])
  label = np.array([int(row["label"]) for row in rows])
  predicted = np.array([int(row["predicted"]) for row in rows])
  np.testing.assert_array_equal(predicted, score > results["threshold"])
  pairs = score[label == 1][:, None] - score[label == 0][None]
  auroc = (pairs > 0).mean() + 0.5 * (pairs == 0).mean()
  assert results["image_auroc"] == pytest.approx(auroc)


@pytest.mark.whole
def test_the_same_seed_gives_the_same_scores(finished, tmp_path, capsys):
  assert run.main(command(tmp_path / "again")) == 0
  again = (tmp_path / "again" / "scores.csv").read_bytes()
  assert again == (finished / "scores.csv").read_bytes()
  captured = capsys.readouterr()
  assert "image AUROC" in captured.out
  assert "Of 100 good parts about" in captured.out
  assert "fewer than 20 held out" in captured.out
  # The remedy for a random trunk is named.
  assert "random weights" in captured.err
  assert "--config.detector.weights=" in captured.err


@pytest.mark.whole
def test_stopped_and_resumed_equals_never_stopped(
  finished, tmp_path, monkeypatch, capsys
):
  after = Saving.after

  def interrupting(self, moment):
    if moment.step == 5:  # in the middle of an epoch
      signal.raise_signal(signal.SIGINT)
    return after(self, moment)

  workdir = tmp_path / "stopped"
  monkeypatch.setattr(Saving, "after", interrupting)
  assert run.main(command(workdir)) == INTERRUPTED
  assert "--resume" in capsys.readouterr().err
  assert not (workdir / "results.json").exists()
  monkeypatch.undo()
  assert run.main(command(workdir, resume=True)) == 0
  assert "resumed at step 5" in capsys.readouterr().err
  assert (workdir / "scores.csv").read_bytes() == (
    finished / "scores.csv"
  ).read_bytes()
  steps = [row["step"] for row in read_metrics(workdir)]
  assert steps == sorted(set(steps))


@pytest.mark.whole
def test_best_on_test_is_labelled(tmp_path, capsys):
  arguments = command(
    tmp_path / "best", eval_select="best_on_test", eval_every=1
  )
  assert run.main(arguments) == 0
  assert "WARNING: best_on_test" in capsys.readouterr().out
  workdir = tmp_path / "best"
  results = json.loads((workdir / "results.json").read_text())
  assert results["selection"] == "best_on_test"
  evaluations = [
    row["test_image_auroc"]
    for row in read_metrics(workdir)
    if "test_image_auroc" in row
  ]
  assert len(evaluations) == 4
  assert results["image_auroc"] == pytest.approx(max(evaluations))


def make_folder(root, n_good=6, n_bad=3, size=64):
  rng = np.random.default_rng(0)
  for name, n in (("good", n_good), ("broken", n_bad)):
    (root / name).mkdir(parents=True)
    for i in range(n):
      pixels = rng.integers(0, 256, (size, size + 9), dtype=np.uint8)
      Image.fromarray(pixels).save(root / name / f"{i}.png")
  return root


@pytest.mark.whole
def test_held_out_images_choose_the_epoch_and_survive_a_stop(
  tmp_path, monkeypatch
):
  after = Saving.after

  def interrupting(self, moment):
    if moment.step == 8:
      signal.raise_signal(signal.SIGTERM)
    return after(self, moment)

  # At this rate the likelihood of held-out images soon falls.
  fields = dict(
    eval_select="held_out", eval_every=1, detector_learning_rate=0.03
  )
  whole, stopped = tmp_path / "whole", tmp_path / "stopped"
  assert run.main(command(whole, **fields)) == 0
  with monkeypatch.context() as patch:
    patch.setattr(Saving, "after", interrupting)
    assert run.main(command(stopped, **fields)) == INTERRUPTED
  assert run.main(command(stopped, resume=True, **fields)) == 0
  for workdir in (whole, stopped):
    figures = [
      (row["held_out_nll"], row["step"])
      for row in read_metrics(workdir)
      if "held_out_nll" in row
    ]
    assert len(figures) == 4
    (kept,) = (workdir / "held_out").iterdir()
    assert int(kept.name) == min(figures)[1]
    results = json.loads((workdir / "results.json").read_text())
    assert results["selection"] == "held_out"
  assert min(figures) != figures[-1]
  scores = [folder / "scores.csv" for folder in (whole, stopped)]
  assert scores[0].read_bytes() == scores[1].read_bytes()


@pytest.mark.whole
def test_a_folder_of_images_with_new_views_each_step(tmp_path, capsys):
  make_folder(tmp_path / "images")
  arguments = command(
    tmp_path / "run",
    preset=":folder",
    data_root=tmp_path / "images",
    train_cached_views=0,
    train_epochs=1,
    data_holdout=0.0,
    detector_weights="random",
  )
  assert run.main(arguments) == 0
  results = json.loads((tmp_path / "run" / "results.json").read_text())
  assert results["pixel_auroc"] is None  # it has no masks
  assert results["threshold_from"] == "training images"
  assert results["expected_false_positive_rate"] is None
  assert "rejects is not known" in capsys.readouterr().out
  assert {row["id"] for row in read_scores(tmp_path / "run")} >= {
    f"broken/{i}.png" for i in range(3)
  }


@pytest.mark.whole
def test_labelled_anomalies_are_left_out_of_unsupervised_training(
  tmp_path, capsys
):
  root = tmp_path / "images"
  make_folder(root / "train")
  make_folder(root / "test")
  arguments = command(
    tmp_path / "run",
    preset=":folder",
    data_root=root,
    data_holdout=0.0,
    train_epochs=1,
    detector_weights="random",
  )
  assert run.main(arguments) == 0
  assert "leaving out 3 labelled anomalies" in capsys.readouterr().err
  results = json.loads((tmp_path / "run" / "results.json").read_text())
  assert results["n_train"] == 6


@pytest.mark.whole
def test_good_images_alone_give_scores_and_no_auroc(tmp_path):
  root = make_folder(tmp_path / "images", n_bad=0)
  (root / "broken").rmdir()
  arguments = command(
    tmp_path / "run",
    preset=":folder",
    data_root=root,
    train_epochs=1,
    detector_weights="random",
  )
  assert run.main(arguments) == 0
  results = json.loads((tmp_path / "run" / "results.json").read_text())
  assert results["image_auroc"] is None and results["f1_max"] is None
  assert np.isfinite(results["threshold"])


MISTAKES = {
  "unknown field": ({"train_epoch": 3}, ("config.train.epoch", "epochs")),
  "unknown detector keyword": ({"detector_klamp": 3}, ("klamp", "clamp")),
  "wrong type": ({"train_epochs": "many"}, ("config.train.epochs", "whole")),
  "word for a number": ({"train_steps": "abc"}, ("train.steps", "whole")),
  "part of a step": ({"train_steps": 2.5}, ("train.steps", "whole")),
  "no number": ({"train_batch_size": "none"}, ("train.batch_size", "whole")),
  "unknown data set": ({"data_name": "mvtek"}, ("mvtek", "mvtec_ad")),
  "unknown subset": ({"data_subset": "denim"}, ("denim", "fabric")),
  "no root": ({"data_name": "mvtec_ad", "data_subset": "bottle"}, ("root",)),
  "missing root": (
    {"data_name": "folder", "data_root": "nowhere"},
    ("nowhere",),
  ),
  "too narrow": ({"data_image_size": "(64,12)"}, ("image_size=64x12",)),
  "too small": ({"data_image_size": 32, "detector_n_scales": 3}, ("32",)),
  "no weights": (
    {"detector_weights": "no.pth"},
    ("config.detector.weights=no.pth",),
  ),
  "no quantile": (
    {"eval_threshold": "quantile", "eval_threshold_value": 5},
    ("config.eval.threshold_value=5", "[0, 1]"),
  ),
  "never evaluated": (
    {"eval_every": 100, "eval_select": "best_on_test"},
    ("config.eval.every=100", "lower it"),
  ),
  "chosen without evaluations": (
    {"eval_select": "held_out"},
    ("config.eval.select=held_out", "config.eval.every"),
  ),
  "chosen without held-out images": (
    {"eval_select": "held_out", "eval_every": 1, "data_holdout": 0.0},
    ("config.eval.select=held_out", "config.data.holdout"),
  ),
  "unknown layer beside": (
    {"detector_beside": "layer9"},
    ("config.detector.beside='layer9'", "features.2"),
  ),
  "unknown trunk": ({"detector_trunk": "vgg"}, ("vgg", "resnet18")),
  "unknown layer": ({"detector_layer": "layer9"}, ("layer9", "features.2")),
  "unknown selection": ({"eval_select": "best"}, ("best_on_test",)),
  "unknown threshold": ({"eval_threshold": "otsu"}, ("otsu", "quantile")),
  "batch size": ({"train_batch_size": 0}, ("batch_size",)),
  "holdout": ({"data_holdout": 1.5}, ("holdout",)),
  "negative rate": ({"detector_learning_rate": -1}, ("learning_rate", "0 to")),
  "no width": ({"detector_hidden": 0}, ("detector.hidden", "1 to")),
  "no category": (
    {"data_name": "mvtec_ad", "data_subset": "none"},
    ("data.subset", "mvtec_ad/bottle"),
  ),
  "no features to cache": (
    {"train_cached_views": 0, "eval_nearest_neighbour": True},
    ("nearest_neighbour", "cached_views"),
  ),
  "diverging": (
    {"detector_learning_rate": 10, "detector_clamp": 1e6},
    ("diverged", "learning rate", "no checkpoint yet"),
  ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_get_one_line_and_an_exit_code(
  mistake, tmp_path, capsys, monkeypatch
):
  changes, words = MISTAKES[mistake]
  monkeypatch.chdir(tmp_path)
  assert run.main(command(tmp_path / "run", **changes)) == USAGE_ERROR
  (line,) = [
    line
    for line in capsys.readouterr().err.splitlines()
    if line.startswith("error: ")
  ]
  for word in words:
    assert word in line
  if mistake != "diverging":
    # Nothing was written, so the corrected command can use the same folder.
    assert not (tmp_path / "run").exists()


def test_wrong_weights_file_names_the_tensors(tmp_path, capsys):
  path = tmp_path / "wrong.npz"
  np.savez(path, **{"features.0.weight": np.zeros((64, 3, 5, 5), np.float32)})
  arguments = command(tmp_path / "run", detector_weights=path)
  assert run.main(arguments) == USAGE_ERROR
  error = capsys.readouterr().err
  assert "features.0.bias" in error and "(64, 3, 5, 5)" in error
  assert str(path) in error


def test_a_workdir_is_never_overwritten(finished, tmp_path, capsys):
  before = {p: p.read_bytes() for p in finished.iterdir() if p.is_file()}
  assert run.main(command(finished)) == USAGE_ERROR
  assert "--resume" in capsys.readouterr().err
  arguments = command(
    finished, resume=True, train_epochs=9, eval_nearest_neighbour=True
  )
  assert run.main(arguments) == USAGE_ERROR
  assert "config.train.epochs" in capsys.readouterr().err
  arguments = command(tmp_path / "none", resume=True)
  assert run.main(arguments) == USAGE_ERROR
  assert "config.json" in capsys.readouterr().err
  assert before == {p: p.read_bytes() for p in before}


def test_options_that_do_not_exist(capsys):
  for arguments, word in (
    (["--config=missing.py"], "missing.py"),
    ([f"--config={CONFIG}", "--seeds=0,9999999999"], "--seeds=9999999999"),
    ([f"--config={CONFIG}", "--seeds=1,1"], "--seeds 1,1"),
    ([f"--config={CONFIG}", "--epochs=3"], "--epochs"),
    ([f"--config={CONFIG}", "--config.seed"], "--config.seed"),
    ([f"--config={CONFIG}", "--resume"], "--workdir"),
  ):
    assert run.main(arguments) == USAGE_ERROR
    assert word in capsys.readouterr().err


def test_help_comes_without_tensorflow(capsys):
  before = "tensorflow" in sys.modules
  with pytest.raises(SystemExit) as stop:
    run.main(["--help"])
  assert stop.value.code == 0
  assert "--config.train.epochs" in capsys.readouterr().out
  assert before or "tensorflow" not in sys.modules
