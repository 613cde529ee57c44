# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Situations in which a run could fool its user, and does not.

Images change between two calls, a second process starts on the same folder, the
disk fails, a signal comes: the command refuses in one line, or gives the right
number, and nothing is lost.
"""

import csv
import errno
import json
import os
import pathlib
import shutil
import signal

import numpy as np
import pytest
from PIL import Image

from jaxad import cli, features, run, splits, workdir
from jaxad.callbacks import Saving
from jaxad.cli import INTERRUPTED, USAGE_ERROR
from jaxad.errors import InputError

SMALL = {
  "data.image_size": 64,
  "train.epochs": 1,
  "train.batch_size": 4,
  "train.cached_views": 2,
  "eval.batch_size": 4,
  "eval.maps": "none",
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


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("JAXAD_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield


def picture(path, seed, bad=False, noise=20):
  """Noisy grey, with a bright bar if it is bad."""
  path.parent.mkdir(parents=True, exist_ok=True)
  rng = np.random.default_rng(seed)
  x = np.full((64, 64), 120.0) + noise * rng.standard_normal((64, 64))
  if bad:
    x[20:30, 10:50] = 240
  Image.fromarray(np.clip(x, 0, 255).astype(np.uint8)).save(path)


def split_folder(root, n_train=8, n_test=4):
  """train/good, test/good and test/bar; every image is another."""
  for k in range(n_train):
    picture(root / f"train/good/{k:03}.png", k)
  for k in range(n_test):
    picture(root / f"test/good/{k:03}.png", 100 + k)
    picture(root / f"test/bar/{k:03}.png", 200 + k, bad=True)
  return root


def plain_folder(root, n_good=10, n_bad=3):
  """good and bad; the run divides the good ones itself."""
  for k in range(n_good):
    picture(root / f"good/{k:03}.png", k)
  for k in range(n_bad):
    picture(root / f"bad/{k:03}.png", 200 + k, bad=True)
  return root


def command(root, folder, *options, **changes):
  """Arguments of a small run; keywords have "__" for "."."""
  fields = SMALL | {"data.root": root}
  fields |= {name.replace("__", "."): value for name, value in changes.items()}
  return [
    "--config=differnet:folder",
    f"--workdir={folder}",
    *options,
    *(f"--config.{name}={value}" for name, value in fields.items()),
  ]


def scores_of(folder):
  with (folder / "scores.csv").open() as file:
    return {row["id"]: float(row["score"]) for row in csv.DictReader(file)}


def results_of(folder):
  return json.loads((folder / "results.json").read_text())


def refused(arguments, capsys, *words):
  """The command ends with one line that has these words."""
  capsys.readouterr()
  assert run.main(arguments) == USAGE_ERROR
  (line,) = [
    line
    for line in capsys.readouterr().err.splitlines()
    if line.startswith("error: ")
  ]
  for word in words:
    assert word in line, line


def contents(folder):
  return {
    path: path.read_bytes()
    for path in sorted(folder.rglob("*"))
    if path.is_file() and path.name != workdir.LOCK
  }


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """(images, workdir) of a finished run, for copies of them."""
  home = tmp_path_factory.mktemp("finished")
  root = split_folder(home / "images")
  assert run.main(command(root, home / "run")) == 0
  return root, home / "run"


@pytest.fixture
def copied(finished, tmp_path):
  """(images, workdir), to be changed."""
  for source, name in zip(finished, ("images", "run"), strict=True):
    shutil.copytree(source, tmp_path / name)
  return tmp_path / "images", tmp_path / "run"


# Other data than those of the run.


def delete_one(root):
  (root / "test/good/000.png").unlink()


def replace_same_names(root):
  for k in range(4):
    picture(root / f"test/good/{k:03}.png", 300 + k, bad=True)


def replace_other_names(root):
  for k in range(4):
    (root / f"test/good/{k:03}.png").unlink()
    picture(root / f"test/good/new_{k:03}.png", 100 + k)


def add_one(root):
  picture(root / "test/good/999.png", 999)


@pytest.mark.whole
@pytest.mark.parametrize(
  ("change", "words"),
  [
    (delete_one, ("good/000.png is missing",)),
    (replace_same_names, ("good/000.png has another content", "4 differ")),
    (replace_other_names, ("good/000.png is missing",)),
    (add_one, ("good/999.png is new",)),
  ],
)
def test_a_run_is_not_resumed_on_other_images(copied, capsys, change, words):
  root, folder = copied
  change(root)
  before = contents(folder)
  arguments = command(root, folder, "--resume")
  refused(arguments, capsys, "the test images are not", *words, str(folder))
  assert contents(folder) == before


def test_moved_images_are_the_same_images(copied, finished):
  root, folder = copied
  assert run.main(command(root, folder, "--resume")) == 0
  assert scores_of(folder) == scores_of(finished[1])


def test_another_weights_file_is_refused(copied, capsys, tmp_path):
  root, folder = copied
  path = tmp_path / "weights.npz"
  shapes = {"features.0.weight": (64, 3, 11, 11), "features.0.bias": (64,)}
  np.savez(path, **{k: np.ones(s, np.float32) for k, s in shapes.items()})
  arguments = command(root, folder, "--resume", detector__weights=path)
  refused(arguments, capsys, "weights file is not that of the run", "None")


def interrupt_at(step, monkeypatch):
  after = Saving.after

  def interrupting(self, moment):
    if moment.step == step:
      signal.raise_signal(signal.SIGTERM)
    return after(self, moment)

  monkeypatch.setattr(Saving, "after", interrupting)


@pytest.mark.whole
def test_sigterm_saves_and_a_new_image_does_not_reshuffle_the_split(
  tmp_path, capsys, monkeypatch
):
  root = plain_folder(tmp_path / "images")
  folder = tmp_path / "run"
  with monkeypatch.context() as patch:
    interrupt_at(1, patch)
    assert run.main(command(root, folder)) == INTERRUPTED
  assert f"--resume --workdir {folder}" in capsys.readouterr().err
  assert (folder / "checkpoints/1").is_dir()
  picture(root / "good/999.png", 999)
  refused(command(root, folder, "--resume"), capsys, "good/999.png", "--resume")
  # With the images of the run it goes on.
  (root / "good/999.png").unlink()
  assert run.main(command(root, folder, "--resume")) == 0


# Several seeds.


def test_nothing_is_resumed_where_nothing_is(tmp_path, capsys):
  arguments = command(tmp_path, tmp_path / "run", "--seeds=0,1", "--resume")
  refused(arguments, capsys, "--resume", "none of these seeds")
  assert not (tmp_path / "run").exists()


@pytest.mark.whole
def test_seeds_share_one_split_and_refuse_another_configuration(
  tmp_path, capsys
):
  root = plain_folder(tmp_path / "images")
  folder = tmp_path / "runs"
  assert run.main(command(root, folder, "--seeds=0,1")) == 0
  seeds = [scores_of(folder / f"seed-{seed}") for seed in (0, 1)]
  assert seeds[0].keys() == seeds[1].keys() and seeds[0] != seeds[1]
  before = contents(folder)
  more = ("--seeds=0,1,2", "--resume")
  refused(
    command(root, folder, *more, train__epochs=2),
    capsys,
    "config.train.epochs is 1 there and 2 here",
    "seed-0",
  )
  other = plain_folder(tmp_path / "others", n_good=11)
  refused(command(other, folder, *more), capsys, "images", "seed-0")
  assert contents(folder) == before
  assert run.main(command(root, folder, *more)) == 0
  summary = json.loads((folder / "seeds.json").read_text())
  assert summary["seeds"] == [0, 1, 2]
  assert len(summary["image_auroc"]["values"]) == 3
  # The finished ones were not run again.
  kept = folder / "seed-0" / "scores.csv"
  assert kept.read_bytes() == before[kept]


# Views and scores.


@pytest.mark.whole
@pytest.mark.parametrize("views", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_random_test_rotations_are_those_of_the_image(tmp_path, views):
  """No score depends on the batch or on another image."""
  root = split_folder(tmp_path / "images", n_test=2)
  fields = dict(detector__test_rotations="random", train__cached_views=views)
  one, many = tmp_path / "one", tmp_path / "many"
  assert run.main(command(root, one, **fields, eval__batch_size=1)) == 0
  picture(root / "test/good/000a.png", 77)
  assert run.main(command(root, many, **fields, eval__batch_size=8)) == 0
  before, after = scores_of(one), scores_of(many)
  assert after.keys() - before.keys() == {"test/good/000a.png"}
  for name, score in before.items():
    assert after[name] == pytest.approx(score, rel=1e-4), name
  if views:
    # Features in the cache are of rotations as drawn, too.
    fixed = tmp_path / "fixed"
    assert run.main(command(root, fixed, train__cached_views=views)) == 0
    assert scores_of(fixed) != after


@pytest.mark.whole
@pytest.mark.parametrize(
  "holdout", [0.0, pytest.param(0.25, marks=pytest.mark.slow)]
)
def test_the_threshold_comes_from_views_as_scoring_has_them(tmp_path, holdout):
  """Where all images are equal, the threshold is their score."""
  root = tmp_path / "images"
  for split, n in (("train", 8), ("test", 2)):
    for k in range(n):
      picture(root / split / f"good/{k}.png", 5)
  arguments = command(
    root,
    tmp_path / "run",
    data__holdout=holdout,
    detector__brightness=0.5,
    eval__threshold="max",
  )
  assert run.main(arguments) == 0
  threshold = results_of(tmp_path / "run")["threshold"]
  for score in scores_of(tmp_path / "run").values():
    assert score == pytest.approx(threshold, rel=1e-5)


# One process at a time.


def test_a_second_run_on_a_folder_is_refused(tmp_path, capsys):
  root = split_folder(tmp_path / "images")
  folder = tmp_path / "run"
  first = workdir.Workdir(folder, {}, resume=False)
  second = workdir.Workdir(folder, {}, resume=False)
  first.begin([], None)
  before = contents(folder)
  with pytest.raises(InputError, match="another process"):
    second.begin([], None)
  refused(command(root, folder), capsys, str(folder), "not empty")
  refused(command(root, folder, "--resume"), capsys, "another")
  assert contents(folder) == before
  first.__exit__()


def test_a_run_that_was_overtaken_writes_nothing(tmp_path):
  """Both found the folder empty; the other one has finished since."""
  folder = tmp_path / "run"
  late = workdir.Workdir(folder, {"seed": 1}, resume=False)
  with workdir.Workdir(folder, {"seed": 0}, resume=False) as first:
    first.begin([], None)
  before = contents(folder)
  with pytest.raises(InputError, match="not empty"):
    late.begin([], None)
  assert contents(folder) == before


@pytest.mark.parametrize("text", ["{", "[]", "{}", "3"])
def test_a_config_json_that_is_none(tmp_path, text):
  (tmp_path / "config.json").write_text(text)
  with pytest.raises(InputError, match="config.json: not the .* another"):
    workdir.Workdir(tmp_path, {}, resume=True)


@pytest.mark.parametrize(
  "left", ["examples.csv", "examples.csv.7.tmp", "config.json.71.tmp"]
)
def test_a_run_that_was_killed_before_it_began_starts_again(tmp_path, left):
  (tmp_path / left).touch()
  with workdir.Workdir(tmp_path, {"seed": 0}, resume=False) as folder:
    folder.begin([], None)
  assert workdir.config_of(tmp_path) == {"seed": 0}
  # What a kill left half-written goes when the run goes on; nothing else does.
  for name in ("model.safetensors.71.tmp", "notes.tmp", "a.2024.tmp"):
    (tmp_path / name).touch()
  with workdir.Workdir(tmp_path, {"seed": 0}, resume=True):
    pass
  names = [path.name for path in contents(tmp_path)]
  assert names == ["a.2024.tmp", "config.json", "examples.csv", "notes.tmp"]


def test_a_workdir_that_is_a_file(tmp_path, capsys):
  path = tmp_path / "file"
  path.touch()
  refused(command(tmp_path, path), capsys, str(path), "not a folder")


@pytest.mark.whole
def test_names_that_are_not_utf_8(tmp_path, capsys):
  root, folder = split_folder(tmp_path / "images"), tmp_path / "run"
  name = os.fsdecode(b"caf\xe9.png")
  try:
    (root / "test/good/000.png").rename(root / "test/good" / name)
  except OSError:
    pytest.skip("this file system has no such names")
  assert run.main(command(root, folder)) == 0
  assert run.main(command(root, folder, "--resume")) == 0
  (root / "test/good/001.png").unlink()
  refused(command(root, folder, "--resume"), capsys, "001.png is missing")


# Trouble with the machine.


def test_a_full_disk_while_features_are_written(tmp_path, capsys, monkeypatch):
  def full(path, array):
    raise OSError(errno.ENOSPC, "No space left on device", str(path))

  monkeypatch.setattr(features.tables, "write_array", full)
  root = split_folder(tmp_path / "images")
  arguments = command(root, tmp_path / "run")
  refused(arguments, capsys, "the disk is full", "features_train.npy")


def test_a_folder_that_cannot_be_written_to(tmp_path, capsys, monkeypatch):
  def read_only(self, *args, **keywords):
    raise OSError(errno.EROFS, "Read-only file system")

  root = split_folder(tmp_path / "images")
  (tmp_path / "run").mkdir()
  monkeypatch.setattr(workdir.filelock.FileLock, "acquire", read_only)
  arguments = command(root, tmp_path / "run")
  refused(arguments, capsys, "Read-only file system", "another folder")


def test_too_little_memory(tmp_path, capsys, monkeypatch):
  def too_much(*args, **keywords):
    raise MemoryError

  monkeypatch.setattr(splits, "load", too_much)
  arguments = command(tmp_path, tmp_path / "run")
  refused(arguments, capsys, "not enough memory", "batch_size")


def test_no_test_image_can_be_read(tmp_path, capsys):
  root = split_folder(tmp_path / "images")
  for path in (root / "test").rglob("*.png"):
    path.write_bytes(b"no image")
  arguments = command(root, tmp_path / "run", data__unreadable="skip")
  refused(arguments, capsys, "test")
  assert not (tmp_path / "run").exists()


def test_ctrl_c_while_reading_promises_nothing(tmp_path, capsys, monkeypatch):
  def interrupted(*args, **keywords):
    raise KeyboardInterrupt

  monkeypatch.setattr(splits, "load", interrupted)
  arguments = command(tmp_path, tmp_path / "run")
  assert run.main(arguments) == INTERRUPTED
  said = capsys.readouterr().err
  assert "start again" in said and "--resume" not in said


def test_ctrl_c_before_anything_is_read(capsys, monkeypatch):
  def interrupted(argv):
    raise KeyboardInterrupt

  monkeypatch.setattr(cli, "_run", interrupted)
  assert run.main([]) == INTERRUPTED
  assert "start again" in capsys.readouterr().err


# Commands.


@pytest.mark.parametrize(
  ("text", "words"),
  [
    ("def get_config(preset=None)\n  return 1\n", ("line 1",)),
    ("def get_config(preset=None):\n  return None\n", ("NoneType",)),
    ("def get_config(preset=None):\n  return 1 / 0\n", ("line 2", "Zero")),
  ],
)
def test_a_broken_config_file_is_one_line(tmp_path, capsys, text, words):
  path = tmp_path / "mine.py"
  path.write_text(text)
  refused([f"--config={path}"], capsys, str(path), *words)


def test_version(capsys):
  with pytest.raises(SystemExit) as stop:
    run.main(["--version"])
  assert stop.value.code == 0
  assert capsys.readouterr().out.startswith("jaxad ")


def test_a_category_is_asked_for_by_name(tmp_path, capsys):
  root = pathlib.Path(tmp_path / "mvtec")
  root.mkdir()
  arguments = [
    "--config=differnet:mvtec_ad",
    f"--workdir={tmp_path / 'run'}",
    f"--config.data.root={root}",
    "--config.detector.weights=random",
  ]
  refused(arguments, capsys, "mvtec_ad/bottle", "category")
