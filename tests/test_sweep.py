# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Sweeps: the grid, what runs where, what is left behind, and going on."""

import csv
import json
import os
import sys
import time
import types

import numpy as np
import pytest

from jaxad import grid, processes, sweep
from jaxad.cli import INTERRUPTED, USAGE_ERROR
from jaxad.errors import InputError
from jaxad.processes import Job, Share
from jaxad.report import sweeps
from jaxad.report.html import chart_uri
from jaxad.report.sweeps import Row
from jaxad.report.tables import markdown
from jaxad.seeds import aggregate


def error_of(function, *args):
  with pytest.raises(InputError) as caught:
    function(*args)
  assert "\n" not in str(caught.value)
  return str(caught.value)


# The grid.


@pytest.mark.parametrize(
  ("text", "values"),
  [
    ("data.subset=0..3", ("0", "1", "2", "3")),
    ("data.subset=0..2,7", ("0", "1", "2", "7")),
    ("config.train.epochs=-1..1", ("-1", "0", "1")),
    ("detector.lam=1,2.5,1e-3", ("1", "2.5", "1e-3")),
    ("detector.trunk.blocks=(1,1),[2,2]", ("(1,1)", "[2,2]")),
    ("data.root=a=b, c d", ("a=b", "c d")),
    ("data.root=../x,1...2", ("../x", "1...2")),
  ],
)
def test_an_axis_is_a_field_and_its_values(text, values):
  axis = grid.parse_axis(text)
  assert axis.values == values
  assert axis.name == text.partition("=")[0].removeprefix("config.")


@pytest.mark.parametrize(
  ("text", "words"),
  [
    ("data.subset", "expected FIELD=VALUE,VALUE"),
    ("=1,2", "expected FIELD=VALUE,VALUE"),
    ("train.epochs=", "expected FIELD=VALUE,VALUE"),
    ("train.epochs=1,,2", "expected FIELD=VALUE,VALUE"),
    ("train.epochs=3..1", "3..1: ends before it begins; give 1..3."),
    ("train.epochs=1..3,2", "2 is there twice"),
    ("seed=0..2", "give several with --seeds"),
    ("method=vae,pca", "give several with --config NAME,NAME"),
  ],
)
def test_an_axis_that_is_none(text, words):
  assert words in error_of(grid.parse_axis, text)


@pytest.mark.parametrize(
  ("text", "seeds"),
  [("3", [0, 1, 2]), ("0,5", [0, 5]), ("5..5", [5]), ("0..2,9", [0, 1, 2, 9])],
)
def test_seeds_are_a_number_of_them_or_a_list(text, seeds):
  assert grid.seed_list(text) == seeds


@pytest.mark.parametrize("text", ["0", "1,1", "a", "", "-1", "1,", "0..1,1"])
def test_seeds_that_are_none(text):
  assert error_of(grid.seed_list, text).startswith("--seeds")


def cells(configs, *over, fields=()):
  return grid.cells(grid.axes_of(configs, over), fields)


def test_the_grid_is_the_product_of_methods_and_values():
  found = cells(
    "vae,pca:mnist",
    "data.subset=3,bag",
    "train.epochs=1,2",
    fields=[("eval.maps", "none")],
  )
  assert [cell.config for cell in found[::2]] == [
    "vae:digits/3",
    "vae:digits/bag",
    "pca:mnist/3",
    "pca:mnist/bag",
  ]
  assert found[1].values == ("vae", "3", "2")
  assert found[1].fields == (("eval.maps", "none"), ("train.epochs", "2"))
  assert found[1].name == "vae_subset-3_epochs-2"
  assert len({cell.name for cell in found}) == 8


def test_a_class_brings_the_settings_of_its_preset():
  """As `--config NAME:DATASET/SUBSET` does, and not as a field that is set."""
  (one, two) = cells("kdad:mvtec_ad", "data.subset=bottle,toothbrush")
  assert one.config == "kdad:mvtec_ad/bottle"
  assert one.load().train.batch_size == 64
  assert two.load().train.batch_size == 48
  (one, two) = cells("pca", "data.name=textures,breast_cancer")
  assert one.load().data.image_size == 224 != two.load().data.image_size


def test_names_of_folders_are_short_safe_and_different():
  long = "/a b/" + "x" * 200
  found = cells("pca:folder", f"data.root={long}1,{long}2,../c:d")
  names = [cell.name for cell in found]
  assert len(set(names)) == 3 and all(len(name) < 120 for name in names)
  assert not any(set(name) & set(' /\\:"') for name in names)
  (both, _) = cells("vae", "data.tile=1,2", "detector.tile=3")
  assert both.name == "vae_data.tile-1_detector.tile-3"


@pytest.mark.parametrize(
  ("configs", "over", "fields", "words"),
  [
    ("vae,vae", [], [], "--config: vae is there twice"),
    ("vae", ["a.b=1", "a.b=2"], [], "--over: a.b is there twice"),
    ("vae", ["a.b=1"], [("a.b", "2")], "--over a.b: give one"),
    ("vae:mnist/3", ["data.subset=1"], [], "give one of them"),
    ("vae:mnist", ["data.name=digits"], [], "give one of them"),
    ("vae", ["data.subset=1"], [("data.name", "mnist")], "NAME:DATASET"),
    ("vae", [], [("seed", "1")], "give --seeds"),
    ("nosuch", ["data.subset=1"], [], "no such file"),
  ],
)
def test_what_is_given_twice_is_refused(configs, over, fields, words):
  assert words in error_of(lambda: cells(configs, *over, fields=fields))


def test_the_papers_figure_is_of_the_same_data():
  (cell,) = cells("ocgan:mnist", "data.subset=8", fields=[("data.root", "x")])
  assert cell.paper() == {"image_auroc": 0.939}
  (one, ten) = cells("dra:brain_mri", "data.n_anomalies=1,10")
  assert one.paper() == {} and ten.paper() == {"image_auroc": 0.970}


def test_the_papers_mean_is_of_the_same_classes():
  def of(config, subsets):
    return grid.paper_of_all(cells(config, f"data.subset={subsets}"))

  assert of("ocgan:mnist", "0,1") == {"image_auroc": pytest.approx(0.9985)}
  assert of("ocgan:mnist", "0..9") == {"image_auroc": 0.975}
  # Only the mean over all is stated.
  assert of("rsrae:fashion_mnist", "0..9") == {"image_auroc": 0.833}
  assert of("rsrae:fashion_mnist", "0..8") == {}


# Means.


def test_the_deviation_is_that_of_the_sample():
  runs = [{"image_auroc": value, "f1_max": None} for value in (0.5, 0.6, 1.0)]
  found = aggregate(runs)
  assert found.keys() == {"image_auroc"}
  entry = found["image_auroc"]
  assert entry["n"] == 3 and entry["mean"] == pytest.approx(0.7)
  assert entry["std"] == pytest.approx(np.sqrt((0.04 + 0.01 + 0.09) / 2))
  assert aggregate(runs[:1])["image_auroc"]["std"] is None
  assert aggregate([]) == {}


def entry(*values):
  return aggregate([{"image_auroc": value} for value in values])


def test_the_table_has_the_paper_beside():
  axes = grid.axes_of("vae,a|b", ["data.subset=0,1", "train.epochs=3"])
  rows = [
    Row(("vae", "0", "3"), 2, entry(0.9, 1.0), {"image_auroc": 0.98}),
    Row(("vae", "1", "3"), 2, entry(0.5), {}),
    Row(("a|b", "0", "3"), 2, {}, {"image_auroc": 0.5, "f1_max": 0.25}),
  ]
  titles, lines = sweeps.table(axes, rows)
  assert titles == [
    *("config", "data.subset", "n"),
    *("image AUROC", "paper", "difference"),
    *("F1-max", "paper", "difference"),
  ]
  assert lines == [
    ["vae", "0", "2", "0.950 ± 0.071", "0.980", "-0.030", *"–––"],
    ["vae", "1", "1 of 2", "0.500", *"–––––"],
    ["a|b", "0", "0 of 2", "–", "0.500", "–", "–", "0.250", "–"],
  ]
  text = markdown(titles, lines)
  assert text.splitlines()[1] == "|" + " --- |" * 9
  assert "| a\\|b | 0 | 0 of 2 |" in text


def test_the_matrix_has_methods_down_and_classes_across():
  axes = grid.axes_of("vae,pca", ["data.subset=0,1"])
  rows = [
    Row(("vae", "0"), 1, entry(0.9), {"image_auroc": 0.98}),
    Row(("pca", "1"), 1, entry(0.25), {}),
  ]
  (plot, _) = sweeps.matrix(axes, rows, "image_auroc").axes
  texts = {text.get_position(): text.get_text() for text in plot.texts}
  assert texts == {(0, 0): "0.900\n(0.980)", (1, 1): "0.250"}
  assert [t.get_text() for t in plot.get_yticklabels()] == ["vae", "pca"]
  assert [t.get_text() for t in plot.get_xticklabels()] == ["0", "1"]
  shown = plot.images[0].get_array()
  assert shown.mask.tolist() == [[False, True], [True, False]]
  # Of one method the classes are across too.
  axes = grid.axes_of("vae", ["data.subset=0,1"])
  (plot, _) = sweeps.matrix(axes, rows[:1], "image_auroc").axes
  assert [t.get_text() for t in plot.get_yticklabels()] == ["vae"]


def test_the_matrix_has_room_for_long_names():
  paths = [f"/data/{k}{'/x' * 40}.npz" for k in (0, 1)]
  axes = grid.axes_of("vae,pca", [f"data.root={','.join(paths)}"])
  rows = [Row(("vae", path), 1, entry(0.9), {}) for path in paths]
  figure = sweeps.matrix(axes, rows, "image_auroc")
  assert chart_uri(figure).startswith("data:image/svg+xml")
  (plot, _) = figure.axes
  (first, _) = (t.get_text() for t in plot.get_xticklabels())
  assert first.startswith("…") and first.endswith("/x.npz")
  assert len(first) == sweeps.LABEL


# Processes.


def test_runs_at_a_time_share_the_cores(monkeypatch):
  monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 4, 6, 8})
  of = lambda jobs: [s.cores for s in processes.shares("cpu", 1, jobs)]
  assert of(None) == of(1) == [()]
  assert of(2) == [(0, 2), (4, 6, 8)]
  assert sum(of(5), ()) == (0, 2, 4, 6, 8)
  assert len(of(7)) == 7 and all(of(7))


def test_each_run_sees_one_device_alone(monkeypatch):
  monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
  name = "CUDA_VISIBLE_DEVICES"
  of = lambda *args: [dict(s.environment) for s in processes.shares(*args)]
  assert of("gpu", 3, None) == [{name: "0"}, {name: "1"}, {name: "2"}]
  assert of("gpu", 3, 2) == [{name: "0"}, {name: "1"}]
  monkeypatch.setenv(name, "4,GPU-5")
  assert of("gpu", 2, None) == [{name: "4"}, {name: "GPU-5"}]
  assert [e["TPU_VISIBLE_CHIPS"] for e in of("tpu", 2, None)] == ["0", "1"]
  assert of("gpu", 1, 1) == of("rocm", 4, None) == [{}]
  assert "--jobs 3: each run has a device" in error_of(
    processes.shares, "gpu", 2, 3
  )
  assert "there is 1" in error_of(processes.shares, "rocm", 4, 2)


@pytest.mark.skipif(
  not hasattr(os, "sched_setaffinity"), reason="this system pins no process"
)
def test_a_process_has_its_cores_and_its_environment(tmp_path):
  code = "import os; print(os.sched_getaffinity(0), os.environ['THIS'])"
  before = os.sched_getaffinity(0)
  core = max(before)
  jobs = [Job(k, (sys.executable, "-c", code), tmp_path / k) for k in "ab"]
  ended = []
  processes.run_all(
    jobs,
    [Share((core,), (("THIS", "it"),))],
    {"THIS": "not it"},
    lambda job, status: ended.append((job.key, status)),
  )
  assert ended == [("a", 0), ("b", 0)]
  assert (tmp_path / "b").read_text().splitlines()[1] == f"{{{core}}} it"
  assert os.sched_getaffinity(0) == before


def test_why_a_command_failed(tmp_path):
  log = tmp_path / "log"
  log.write_text("$ a\nerror: old\n$ b\nstep\r 1\nerror: it\nat exit\n")
  assert processes.reason(2, log) == "it"
  log.write_text("$ b\nTraceback\nValueError: no\n\n")
  assert processes.reason(1, log) == "ValueError: no"
  log.write_text("$ b\n")
  assert processes.reason(3, log) == "exit code 3"
  assert processes.reason(-9, log).startswith("ended by SIGKILL, perhaps")


# The command, with runs that cost nothing.

FAKE = """
import json, pathlib, shutil, sys, time
config, folder, auroc, fate = sys.argv[1:]
folder = pathlib.Path(folder)
if fate == "fails":
  print("error: no such data.")
  sys.exit(2)
folder.mkdir(parents=True)
shutil.copy(config, folder / "config.json")
if fate == "hangs":
  time.sleep(60)
provenance = {"device": "1 x cpu", "cpu": "it", "versions": {}, "commit": None}
results = {"image_auroc": float(auroc), "provenance": provenance}
(folder / "results.json").write_text(json.dumps(results))
"""


@pytest.fixture
def fates(monkeypatch, tmp_path):
  """What becomes of runs, {name: "fails" or "hangs"}; what ran, under "ran"."""
  fates = {"ran": []}

  def command(run):
    config = run.cell.load()
    config.seed = run.seed
    path = tmp_path / f"{run.name}.json"
    path.write_text(json.dumps(config.to_dict() | {"fingerprint": {}}))
    fates["ran"].append(run.name)
    auroc = 0.5 + 0.1 * run.seed + 0.2 * int(run.cell.values[1])
    fate = fates.get(run.name, "")
    arguments = (path, run.folder, auroc, fate)
    return (sys.executable, "-Ic", FAKE, *map(str, arguments))

  monkeypatch.setattr(sweep, "_command", command)
  monkeypatch.setattr(processes, "devices", lambda: ("cpu", 1))
  return fates


GRID = ["--config=vae:mnist", "--over=data.subset=0..1", "--seeds=2"]


def test_no_more_processes_than_runs(monkeypatch, tmp_path):
  asked = []

  def shares(platform, count, jobs):
    asked.append(jobs)
    raise InputError("enough")

  monkeypatch.setattr(processes, "shares", shares)
  for jobs in (1, 99_999_999):
    argv = ["--config=pca,knn", "--seeds=0,1", f"--workdir={tmp_path}"]
    assert sweep.main([*argv, f"--jobs={jobs}"]) == 2
  assert asked == [1, 4]


def rows_of(folder):
  with (folder / "sweep.csv").open() as file:
    return list(csv.DictReader(file))


def refused(capsys, *argv):
  assert sweep.main(list(argv)) == USAGE_ERROR
  out, err = capsys.readouterr()
  assert not out and err.startswith("error: ") and err.count("\n") == 1
  return err


def test_a_failed_run_is_told_and_tried_again(fates, tmp_path, capsys):
  folder = tmp_path / "sweep"
  fates["vae-mnist_subset-0 seed 1"] = "fails"
  argv = [*GRID, f"--workdir={folder}", "--jobs=2"]
  assert sweep.main(argv) == sweep.SOME_FAILED
  assert len(fates["ran"]) == 4
  out, err = capsys.readouterr()
  log = folder / "vae-mnist_subset-0" / "seed-1.log"
  assert f"FAILED vae-mnist_subset-0 seed 1: no such data. ({log})" in err
  assert "[4/4]" in out and "image AUROC 0.7000" in out
  rows = rows_of(folder)
  assert [row["state"] for row in rows].count("failed") == 1
  assert rows[0] == {
    "config": "vae:mnist",
    "data.subset": "0",
    "seed": "0",
    "state": "finished",
    "image_auroc": "0.5",
    "folder": "vae-mnist_subset-0/seed-0",
    "error": "",
  }
  text = (folder / "sweep.md").read_text()
  assert "4 runs: 3 finished, 1 failed" in text
  assert "| 0 | 1 of 2 | 0.500 |" in text
  assert "| 1 | 2 | 0.750 ± 0.071 |" in text
  page = (folder / "sweep.html").read_text()
  assert "failed: vae-mnist_subset-0/seed-1</strong>: no such data." in page
  assert "data:image/svg+xml" in page and "http" not in page
  assert not (folder / "vae-mnist_subset-0" / "seeds.json").exists()
  summary = folder / "vae-mnist_subset-1" / "seeds.json"
  assert json.loads(summary.read_text())["seeds"] == [0, 1]

  assert "seeds is [0, 1] there and [0, 1, 2] here" in refused(
    capsys, *argv[:2], "--seeds=3", argv[3], "--resume"
  )
  assert "--over data.subset is ['0', '1'] there and" in refused(
    capsys, argv[0], "--over=data.subset=0..2", *argv[2:], "--resume"
  )
  assert "train.epochs is None there and '3' here" in refused(
    capsys, *argv, "--resume", "--config.train.epochs=3"
  )
  assert "is not empty; go on with its sweep" in refused(capsys, *argv)

  del fates["vae-mnist_subset-0 seed 1"], fates["ran"][:]
  assert sweep.main([*argv, "--resume"]) == 0
  assert fates["ran"] == ["vae-mnist_subset-0 seed 1"]
  assert [row["state"] for row in rows_of(folder)] == ["finished"] * 4
  text = (folder / "sweep.md").read_text()
  assert "| mean | 2 | 0.650 ± 0.071 |" in text and "failed" not in text
  capsys.readouterr()

  # A run of today's defaults is no longer that which is there.
  path = folder / "vae-mnist_subset-1" / "seed-1" / "config.json"
  path.write_text(path.read_text().replace('"width": 64', '"width": 65'))
  assert "another configuration: config.detector.width is 65 there" in refused(
    capsys, *argv, "--resume"
  )


def test_a_stopped_sweep_goes_on(fates, tmp_path, capsys, monkeypatch):
  folder = tmp_path / "sweep"
  hanging = folder / "vae-mnist_subset-1" / "seed-0"
  fates["vae-mnist_subset-1 seed 0"] = "hangs"

  def interrupt(_):
    if (hanging / "config.json").exists():
      raise KeyboardInterrupt

  fake = types.SimpleNamespace(sleep=interrupt, monotonic=time.monotonic)
  monkeypatch.setattr(processes, "time", fake)
  argv = [*GRID, f"--workdir={folder}"]
  assert sweep.main(argv) == INTERRUPTED
  err = capsys.readouterr().err
  assert f"--resume --workdir {folder} goes on" in err
  assert len(fates["ran"]) == 4  # prepared; the last two were never started
  states = [row["state"] for row in rows_of(folder)]
  assert states == ["finished", "stopped", "to do", "to do"]


@pytest.mark.parametrize(
  ("argv", "words"),
  [
    (["--config.train.epoch=1"], "config.train.epoch: no such field"),
    (["--over=train.epochs=1,x"], "vae_epochs-x: config.train.epochs='x'"),
    (["--config.eval.select=held_out"], "needs config.eval.every"),
    (["--jobs=0"], "--jobs 0: expected a number from 1 on"),
    (["--resume"], "--resume needs the --workdir"),
    (["--what"], "--what: no such option"),
    (["--seeds=0"], "--seeds 0: expected how many"),
  ],
)
def test_what_is_wrong_is_told_before_anything_runs(
  argv, words, fates, tmp_path, capsys, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  assert words in refused(capsys, "--config=vae", *argv)
  assert not fates["ran"] and not [*tmp_path.iterdir()]


def test_resume_needs_a_sweep_to_go_on_with(fates, tmp_path, capsys):
  argv = [*GRID, f"--workdir={tmp_path}", "--resume"]
  assert "holds no sweep" in refused(capsys, *argv)


# Real runs.


@pytest.mark.whole
def test_a_sweep_of_real_runs(tmp_path, capsys, monkeypatch):
  """One table is missing at first."""
  monkeypatch.setenv("JAX_PLATFORMS", "cpu")
  rng = np.random.default_rng(0)
  x = np.concatenate([rng.normal(0, 1, (60, 4)), rng.normal(4, 1, (12, 4))])
  label = np.repeat([0, 1], [60, 12])
  here, missing = tmp_path / "here.npz", tmp_path / "missing.npz"
  np.savez(here, X=x, y=label)
  folder = tmp_path / "sweep"
  argv = [
    "--config=pca:table",
    f"--over=data.root={here},{missing}",
    f"--workdir={folder}",
    "--jobs=2",
  ]
  assert sweep.main(argv) == sweep.SOME_FAILED
  (good, bad) = rows_of(folder)
  assert good["state"] == "finished" and float(good["image_auroc"]) > 0.5
  assert bad["state"] == "failed" and "missing.npz" in bad["error"]
  before = (folder / good["folder"] / "results.json").stat().st_mtime_ns
  np.savez(missing, X=-x, y=label)
  assert sweep.main([*argv, "--resume"]) == 0
  assert [row["state"] for row in rows_of(folder)] == ["finished"] * 2
  after = (folder / good["folder"] / "results.json").stat().st_mtime_ns
  assert before == after
  assert not (folder / "compiled").exists()
  assert "of them to do" in capsys.readouterr().out
