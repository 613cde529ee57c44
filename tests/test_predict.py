# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Decisions on new images: every one once, whatever is killed or broken."""

import csv
import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from trained_runs import images_of, write_run

import jaxad
from jaxad import cli, drift, predict, predictions
from jaxad.errors import InputError
from jaxad.image_scorer import ImageScore
from jaxad.inputs import find_images


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """The folder of a trained run."""
  folder = tmp_path_factory.mktemp("trained") / "run"
  write_run(folder, "ganomaly")
  return folder


@pytest.fixture
def new(tmp_path):
  """A folder of eleven new images, in two folders."""
  folder = tmp_path / "new"
  (folder / "lot 2").mkdir(parents=True)
  for k, x in enumerate(images_of(11)):
    where = folder / ("lot 2" if k % 3 == 0 else "")
    Image.fromarray(x).save(where / f"{k:02d}.png")
  return folder


def rows(folder):
  with (folder / "scores.csv").open(errors="surrogateescape") as file:
    return list(csv.DictReader(file))


def call(run, images, output, *more):
  images = images if isinstance(images, list) else [images]
  return cli.main(
    ["predict", "--run", str(run), "--images", *map(str, images)]
    + ["--output", str(output), *more]
  )


def test_scores_are_those_of_the_run(run, new, tmp_path, capsys):
  out = tmp_path / "out"
  assert call(run, new, out) == 0
  found = rows(out)
  paths = [row["path"] for row in found]
  assert sorted(paths) == sorted(map(str, new.rglob("*.png")))
  loaded = jaxad.load(run)
  scores = loaded.score(paths, ids=paths)
  np.testing.assert_array_equal(
    np.float32([row["score"] for row in found]), scores.image
  )
  expected = scores.image > loaded.threshold
  assert [row["predicted"] == "1" for row in found] == expected.tolist()
  for name, part in scores.parts.items():
    got = np.float32([row[f"part_{name}"] for row in found])
    np.testing.assert_array_equal(got, part)
  summary = json.loads((out / "scores.json").read_text())
  assert summary["n_images"] == 11 and summary["n_errors"] == 0
  assert summary["n_anomalous"] == expected.sum()
  assert (
    f"{expected.sum()} of 11 images are anomalous" in capsys.readouterr().out
  )


def test_unreadable_files_become_rows(run, new, tmp_path, capsys):
  (new / "00 broken.png").write_bytes((new / "01.png").read_bytes()[:70])
  (new / "99.png").touch()
  deep = np.full((9, 9), 999, np.uint16)
  Image.fromarray(deep).save(new / "deep.png")
  out = tmp_path / "out"
  assert call(run, new, out) == 1
  found = {os.path.basename(row["path"]): row for row in rows(out)}
  assert len(found) == 14
  assert found["99.png"]["error"] == "empty file"
  assert "truncated" in found["00 broken.png"]["error"]
  assert "more than 8 bits" in found["deep.png"]["error"]
  wrong = ("99.png", "00 broken.png", "deep.png")
  for name, row in found.items():
    assert bool(row["score"]) == bool(row["predicted"]) == (name not in wrong)
  assert "3 could not be read" in capsys.readouterr().out
  # What has been mended is scored, and nothing else is touched.
  shutil.copy(new / "01.png", new / "99.png")
  before = {row["path"]: row for row in rows(out) if not row["error"]}
  assert call(run, new, out) == 1
  after = {row["path"]: row for row in rows(out)}
  assert len(rows(out)) == 14
  assert after | before == after
  assert after[str(new / "99.png")]["error"] == ""


def test_nothing_can_be_read(run, tmp_path):
  (tmp_path / "a.png").touch()
  assert call(run, tmp_path / "a.png", tmp_path / "out") == 1
  assert [row["error"] for row in rows(tmp_path / "out")] == ["empty file"]


@pytest.mark.parametrize("cut", [1, 9, 40, "quoted"])
def test_a_torn_row_is_written_again(run, new, tmp_path, cut):
  name = 'a "torn\nname",\r 1.png'
  (new / "01.png").rename(new / name)
  whole, torn = tmp_path / "whole", tmp_path / "torn"
  assert call(run, new, whole) == call(run, new, torn) == 0
  text = (torn / "scores.csv").read_bytes()
  if cut == "quoted":
    text = text[: text.index(b"torn\n") + 5]
  else:
    text = text[:-cut]
  (torn / "scores.csv").write_bytes(text)
  assert call(run, new, torn) == 0
  by_path = lambda folder: {row["path"]: row["score"] for row in rows(folder)}
  assert by_path(torn) == by_path(whole) and len(rows(torn)) == 11


def test_another_run_is_refused(run, new, tmp_path, capsys):
  out = tmp_path / "out"
  assert call(run, new / "01.png", out) == 0
  before = (out / "scores.csv").read_bytes()
  other = tmp_path / "other"
  write_run(other, "ganomaly", latent_dim=5)
  names = sorted(path.name for path in new.iterdir())
  for message, arguments in (
    ("of another run", (other, new, out)),
    ("not empty", (run, new, new)),
  ):
    capsys.readouterr()
    assert call(*arguments) == 2
    assert message in capsys.readouterr().err
  assert (out / "scores.csv").read_bytes() == before
  assert sorted(path.name for path in new.iterdir()) == names
  loaded = jaxad.load(run)
  with predictions.Predictions(
    out,
    loaded.description["weights_sha256"],
    {"value": loaded.threshold},
    loaded.part_names,
    [],
    False,
  ):
    assert call(run, new, out) == 2
  assert "another process" in capsys.readouterr().err


def test_another_threshold_decides_again(run, new, tmp_path, capsys):
  out = tmp_path / "out"
  assert call(run, new, out) == 0
  scores = {row["path"]: row["score"] for row in rows(out)}
  limit = float(np.median([float(score) for score in scores.values()]))
  capsys.readouterr()
  assert call(run, new, out, f"--threshold={limit}") == 0
  assert "11 of 11 images are scored already" in capsys.readouterr().err
  assert {row["path"]: row["score"] for row in rows(out)} == scores
  for row in rows(out):
    above = np.float32(row["score"]) > limit
    assert row["predicted"] == str(int(above))
  summary = json.loads((out / "scores.json").read_text())
  assert summary["threshold"]["value"] == limit
  assert summary["n_anomalous"] == 5


def test_a_file_that_changed_is_scored_again(run, new, tmp_path):
  out, path = tmp_path / "out", new / "01.png"
  assert call(run, new, out) == 0
  before = {row["path"]: row for row in rows(out)}
  Image.fromarray(images_of(3)[2] // 2).save(path)
  assert call(run, new, out) == 0
  after = {row["path"]: row for row in rows(out)}
  assert len(rows(out)) == len(after) == 11
  changed = {name for name in after if before[name] != after[name]}
  assert changed == {str(path)}
  assert after[str(path)]["score"] != before[str(path)]["score"]


def test_rows_of_other_images_stay(run, new, tmp_path):
  out = tmp_path / "out"
  (new / "broken.png").touch()
  assert call(run, new / "broken.png", out) == 1
  assert call(run, new / "01.png", out) == 0
  assert {row["path"] for row in rows(out)} == {
    str(new / "broken.png"),
    str(new / "01.png"),
  }


def test_the_same_name_elsewhere_is_another_image(
  run, new, tmp_path, monkeypatch
):
  for day in ("day1", "day2"):
    (tmp_path / day).mkdir()
    shutil.copy(
      new / ("01.png" if day == "day1" else "02.png"), tmp_path / day / "a.png"
    )
    monkeypatch.chdir(tmp_path / day)
    assert call(run, ".", tmp_path / "out") == 0
  found = rows(tmp_path / "out")
  assert len(found) == 2 and found[0]["score"] != found[1]["score"]
  # However they are named.
  assert call(run, tmp_path / "day2", tmp_path / "out") == 0
  assert len(rows(tmp_path / "out")) == 2


@pytest.mark.parametrize(
  ("text", "value", "rule"),
  [
    ("0.25", 0.25, "given"),
    ("-1e3", -1000.0, "given"),
    ("max", 0.4, "max"),
    ("quantile", 0.385, "quantile"),
    ("quantile=0.5", 0.25, "quantile"),
  ],
)
def test_thresholds(run, new, tmp_path, text, value, rule):
  out = tmp_path / "out"
  assert call(run, new / "01.png", out, f"--threshold={text}") == 0
  found = json.loads((out / "scores.json").read_text())["threshold"]
  assert found["value"] == pytest.approx(value) and found["rule"] == rule


@pytest.mark.parametrize("text", ["median", "nan", "quantile=2", "kde=x", ""])
def test_wrong_thresholds(run, new, tmp_path, capsys, text):
  assert call(run, new, tmp_path / "out", f"--threshold={text}") == 2
  said = capsys.readouterr().err
  assert said.startswith("error: ") and said.count("\n") == 1
  assert not (tmp_path / "out").exists()


def test_maps_have_the_size_of_their_image(tmp_path, new):
  run, out = tmp_path / "run", tmp_path / "out"
  write_run(run, "dra")
  assert call(run, new, out, "--maps") == 0
  for row in rows(out):
    raw = np.load(out / row["map"])
    with Image.open(row["path"]) as image:
      size = image.size
    assert raw.dtype == np.float32 and raw.shape == size[::-1]
    picture = (out / row["map"]).with_suffix(".png")
    with Image.open(picture) as image:
      assert image.size == size


def test_a_method_without_maps_says_so(run, new, tmp_path, capsys):
  assert call(run, new, tmp_path / "out", "--maps") in (0, 2)
  said = capsys.readouterr().err
  assert "Traceback" not in said


def test_which_images(new, tmp_path, monkeypatch):
  find = lambda *given, stdin=b"": find_images(
    [str(one) for one in given], io.BytesIO(stdin)
  )
  everything = find(new)
  assert len(everything) == 11 and everything == sorted(everything)
  (new / ".hidden").mkdir()
  shutil.copy(new / "01.png", new / ".hidden" / "x.png")
  (new / "notes.txt").touch()
  assert find(new) == everything
  assert len(find(new / "*.png")) == 7
  assert sorted(find(new / "*")) == everything
  assert len(find(f"{new}/**/*.png")) == 11
  assert len(find(new, new / "01.png", f"{new}/lot 2/../01.png")) == 11
  monkeypatch.chdir(new)
  assert find(".") == everything
  listed = find("-", stdin=b"a.png\n\n \nb c.png\r\ncaf\xe9.png")
  names = ["a.png", "b c.png", os.fsdecode(b"caf\xe9.png")]
  assert listed == [str(new / name) for name in names]
  # Links are followed, once round.
  (new / "lot 2" / "again").symlink_to(new)
  (tmp_path / "linked").symlink_to(new / "lot 2")
  assert len(find(tmp_path / "linked")) >= 4
  (new / "lot 2" / "again").unlink()
  # What was written of images is none.
  (new / "out" / "maps").mkdir(parents=True)
  shutil.copy(new / "01.png", new / "out" / "maps" / "01.png")
  for name in ("scores.csv", "scores.json"):
    (new / "out" / name).touch()
  assert find(new) == everything
  (tmp_path / "none").mkdir()
  for given in (tmp_path / "none", tmp_path / "x*.png", tmp_path / "no.png"):
    with pytest.raises(InputError, match="no images; expected"):
      find(given)


def test_lists(new, tmp_path):
  find = lambda path: find_images([str(path)], io.BytesIO())
  expected = [str(new / "01.png"), str(new / "lot 2" / "00.png")]
  for name, text in (
    ("a.csv", "Kind, Path\ngood, new/01.png \ngood,new/lot 2/00.png\n\n"),
    ("b.csv", "path;kind\nnew\\01.png;x\nnew/lot 2/00.png;x\n"),
    ("d.jsonl", '{"path": "new/01.png"}\n{"path": "new/lot 2/00.png"}\n'),
    ("c.tsv", "path\tkind\nnew/01.png\tx\nnew/lot 2/00.png\tx\n"),
  ):
    (tmp_path / name).write_text(text)
    assert find(tmp_path / name) == expected
  (tmp_path / "a.csv").write_text("file\na.png\n")
  with pytest.raises(InputError, match="columns are file; expected path"):
    find(tmp_path / "a.csv")
  (tmp_path / "a.csv").write_text('path\n"' + "a.png\n" * 40000)
  with pytest.raises(InputError, match="a.csv: line .*field larger"):
    find(tmp_path / "a.csv")


def test_names_that_are_no_text(run, new, tmp_path):
  name = os.fsdecode(b"caf\xe9.png")
  shutil.copy(new / "01.png", new / name)
  assert call(run, new, tmp_path / "out") == 0
  assert str(new / name) in {row["path"] for row in rows(tmp_path / "out")}


def test_wrong_folders(tmp_path, new, capsys):
  for run in (tmp_path / "nothing", new):
    assert call(run, new, tmp_path / "out") == 2
    assert "name the folder of a finished run" in capsys.readouterr().err
  assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("count", [2, 3])
def test_processes_share_a_list(tmp_path, new, monkeypatch, capsys, count):
  run = tmp_path / "run"
  write_run(run, "ganomaly")
  (new / "02 empty.png").touch()
  whole, out = tmp_path / "whole", tmp_path / "out"
  assert call(run, new, whole, "--maps") == 1
  monkeypatch.setenv("JAX_NUM_PROCESSES", f"{count}")
  codes = []
  for index in [*range(1, count), 0]:
    monkeypatch.setenv("JAX_PROCESS_ID", f"{index}")
    codes.append(call(run, new, out, "--maps", "--distributed"))
    if len(codes) < count:
      told = f"{len(codes)} of {count} shares are done"
      assert told in capsys.readouterr().err and not rows(out)
  assert codes[-1] == 1  # one of all cannot be read
  paths = [row["path"] for row in rows(out)]
  assert paths == find_images([str(new)], None)
  by_path = lambda folder: {row["path"]: row for row in rows(folder)}
  found, expected = by_path(out), by_path(whole)
  for path, row in expected.items():
    for name, value in row.items():
      if name in ("path", "map", "error", "bytes", "modified", "predicted"):
        assert found[path][name] == value
      elif value:
        assert float(found[path][name]) == pytest.approx(float(value), rel=1e-5)
  summary = lambda folder: json.loads((folder / "scores.json").read_text())
  for name in ("run", "n_images", "n_errors", "n_anomalous", "threshold"):
    assert summary(out)[name] == summary(whole)[name]
  files = lambda folder: {path.name for path in (folder / "maps").iterdir()}
  assert files(out) == files(whole)
  assert not (out / "shares").exists()


def test_a_share_that_was_stopped_goes_on(run, new, tmp_path, monkeypatch):
  monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
  out, score = tmp_path / "out", predict._score

  def stopped(run, found, *more):
    score(run, found, *more)
    raise KeyboardInterrupt

  monkeypatch.setenv("JAX_PROCESS_ID", "0")
  with monkeypatch.context() as patch:
    patch.setattr(predict, "_score", stopped)
    assert call(run, new, out, "--distributed") == cli.INTERRUPTED
  monkeypatch.setenv("JAX_PROCESS_ID", "1")
  assert call(run, new, out, "--distributed") == 0
  assert not rows(out)  # the other share is not whole
  monkeypatch.setenv("JAX_PROCESS_ID", "0")
  assert call(run, new, out, "--distributed") == 0
  assert [row["path"] for row in rows(out)] == find_images([str(new)], None)
  # Nothing is left to do, and nothing is done again.
  before = (out / "scores.csv").read_bytes()
  with monkeypatch.context() as patch:
    patch.setattr(jaxad.trained.Run, "stream", lambda *_: iter(()))
    for index in "01":
      monkeypatch.setenv("JAX_PROCESS_ID", index)
      assert call(run, new, out, "--distributed") == 0
  assert (out / "scores.csv").read_bytes() == before


@pytest.fixture
def shared(run, new, tmp_path, monkeypatch):
  """Calls one of two processes that share the images of a folder."""
  monkeypatch.setenv("JAX_NUM_PROCESSES", "2")

  def shared(index, *more):
    monkeypatch.setenv("JAX_PROCESS_ID", f"{index}")
    return call(run, new, tmp_path / "out", "--distributed", *more)

  return shared


def check_whole(run, new, tmp_path, *more):
  """The rows of two processes are those of one."""
  assert call(run, new, tmp_path / "whole", *more) == 0
  of = lambda name: {row["path"]: row for row in rows(tmp_path / name)}
  found, expected = of("out"), of("whole")
  assert sorted(found) == sorted(expected)
  for path, row in expected.items():
    for name in ("map", "error", "bytes", "modified", "predicted"):
      assert found[path][name] == row[name]
  summary = lambda name: json.loads(
    (tmp_path / name / "scores.json").read_text()
  )
  for name in ("threshold", "n_images", "n_anomalous"):
    assert summary("out")[name] == summary("whole")[name]
  assert not (tmp_path / "out/shares").exists()


def test_a_share_that_was_done_is_done_again(shared, run, new, tmp_path):
  assert shared(0) == 0 and shared(0) == 0
  assert not rows(tmp_path / "out")
  assert shared(1) == 0
  check_whole(run, new, tmp_path)


def test_images_that_change_between_the_shares(shared, run, new, tmp_path):
  assert shared(0) == 0
  path = find_images([str(new)], None)[0]
  Image.fromarray(images_of(20)[-1]).save(path)
  assert shared(1) == 0
  assert not rows(tmp_path / "out")  # one row is of another image
  assert shared(0) == 0
  check_whole(run, new, tmp_path)
  # Also after one of them was started once more than needed.
  assert shared(0) == 0
  Image.fromarray(images_of(21)[-1]).save(path)
  shutil.rmtree(tmp_path / "whole")
  assert shared(1) == 0 and shared(0) == 0
  check_whole(run, new, tmp_path)


def test_shares_of_other_settings(shared, run, new, tmp_path):
  """The last threshold decides on all; images without a map get one."""
  assert shared(0, "--threshold=1e9") == 0
  more = ("--threshold=-1e9", "--maps")
  assert shared(1, *more) == 0
  assert not rows(tmp_path / "out")
  assert shared(0, *more) == 0
  check_whole(run, new, tmp_path, *more)


@pytest.mark.parametrize("moment", ["replace", "rmtree"])
def test_stopped_while_shares_are_put_together(
  shared, run, new, tmp_path, monkeypatch, moment
):
  assert shared(0, "--maps") == 0
  module = {"replace": os, "rmtree": shutil}[moment]
  real = getattr(module, moment)

  def stopped(*paths, **options):
    real(*paths, **options)
    if moment == "rmtree" or "maps" in pathlib.Path(paths[1]).parts:
      raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(module, moment, stopped)
    assert shared(1, "--maps") == cli.INTERRUPTED
  assert shared(1, "--maps") == 0
  check_whole(run, new, tmp_path, "--maps")


def test_shares_that_end_at_once(shared, run, new, tmp_path, monkeypatch):
  """The other one has put all together when this one wants to."""
  leave = predictions.Predictions.__exit__

  def left(found, *error):
    leave(found, *error)
    if found.path.name == "0-of-2" and predictions.is_finished(found.path):
      assert shared(1) == 0

  with monkeypatch.context() as patch:
    patch.setattr(predictions.Predictions, "__exit__", left)
    assert shared(0) == 0
  check_whole(run, new, tmp_path)


def test_who_is_at_work_keeps_its_share(
  shared, run, new, tmp_path, monkeypatch
):
  """A call for the same folder may be done before it."""
  score, calls = predict._score, []

  def slow(*args):
    calls.append(args)
    if len(calls) == 1:
      assert call(run, new, tmp_path / "out") == 0 and shared(1) == 0
    score(*args)

  with monkeypatch.context() as patch:
    patch.setattr(predict, "_score", slow)
    assert shared(0) == 0
  check_whole(run, new, tmp_path)


def test_a_share_says_where_it_is(shared, tmp_path, capsys):
  assert shared(0) == 0
  assert f"{tmp_path}/out/shares/0-of-2/scores.csv" in capsys.readouterr().out
  assert shared(1) == 0
  assert f"{tmp_path}/out/scores.csv" in capsys.readouterr().out


def test_a_name_that_cannot_be(run, new, tmp_path, monkeypatch):
  """A row says so, as of every image that cannot be read."""
  listed = f"{new / '01.png'}\0.png\n{new / '01.png'}\n"
  stdin = io.TextIOWrapper(io.BytesIO(listed.encode()))
  monkeypatch.setattr(sys, "stdin", stdin)
  assert call(run, "-", tmp_path / "out") == 1
  found = rows(tmp_path / "out")
  assert sorted(bool(row["error"]) for row in found) == [False, True]


def test_nothing_says_which_share(run, new, tmp_path, monkeypatch, capsys):
  for name in ("JAX_PROCESS_ID", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK"):
    monkeypatch.delenv(name, raising=False)
  assert call(run, new, tmp_path / "out", "--distributed") == 2
  assert "set JAX_PROCESS_ID" in capsys.readouterr().err


@pytest.mark.whole
@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_and_continued(run, new, tmp_path, kills):
  """SIGKILL at any time: every image once, the scores of a quiet run."""
  many = tmp_path / "many"
  many.mkdir()
  sources = sorted(new.rglob("*.png"))
  for k in range(150 * kills):
    os.link(sources[k % len(sources)], many / f"{k:05d}.png")
  out = tmp_path / "out"
  command = [sys.executable, "-m", "jaxad.predict", "--run", str(run)]
  command += ["--images", str(many), "--output", str(out), "--batch-size=4"]
  rng = np.random.default_rng(0)
  lines = lambda: (out / "scores.csv").read_bytes().count(b"\n")
  for _ in range(kills):
    start = lines() if (out / "scores.csv").exists() else 0
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while process.poll() is None:
      if (out / "scores.csv").exists() and lines() > start + 1:
        time.sleep(rng.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        break
      time.sleep(0.02)
    process.wait()
  assert subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0
  found = {row["path"]: row["score"] for row in rows(out)}
  assert len(rows(out)) == len(found) == 150 * kills
  quiet = tmp_path / "quiet"
  assert call(run, many, quiet, "--batch-size=4") == 0
  assert found == {row["path"]: row["score"] for row in rows(quiet)}


# Drift.


def test_like_images_are_no_drift():
  rng = np.random.default_rng(0)
  told = 0
  for n, m in ((24, 50), (24, 1000), (200, 5000), (9, 9)) * 50:
    sample = lambda k: (rng.gamma(4, 1, k), rng.normal(120, 8, k))
    (score, light), (new_score, new_light) = sample(n), sample(m)
    limit = np.quantile(score, 0.95)
    # Some of the new parts are defective.
    new_score[: m // 10] += 30
    told += bool(drift.compare(score, light, new_score, new_light, limit)[1])
  assert told <= 2


def test_what_has_moved_is_told():
  rng = np.random.default_rng(0)
  score, light = rng.gamma(4, 1, 30), rng.normal(120, 8, 30)
  new = lambda move, shift: drift.compare(
    score,
    light,
    rng.gamma(4, 1, 60) + move,
    rng.normal(120 + shift, 8, 60),
    np.quantile(score, 0.95),
  )
  shifts, said = new(0, -15)
  assert shifts["brightness"].moved and not shifts["score"].moved
  assert len(said) == 1 and said[0].startswith("the brightness has moved from")
  _, said = new(20, 0)
  assert any("100% are called anomalous" in line for line in said)
  shifts, said = new(2.5, 0)
  assert shifts["score"].moved
  # A few images say nothing.
  none, said = drift.compare(score, light, score[:5] + 9, light[:5] - 90, 1e9)
  assert none == {"score": None, "brightness": None} and not said


def test_darker_images_are_told(run, new, tmp_path, capsys):
  dark = tmp_path / "dark"
  dark.mkdir()
  for k, path in enumerate(sorted(new.rglob("*.png"))):
    with Image.open(path) as image:
      Image.fromarray(np.asarray(image) // 3).save(dark / f"{k}.png")
  normal = tmp_path / "normal"
  shutil.copytree(run, normal)
  from jaxad import trained

  described = trained.read_description(normal)
  kept = described["normal"]
  kept["id"] = [f"{k}.png" for k in range(20)]
  kept["score"] = [0.1 + 0.01 * k for k in range(20)]
  kept["brightness"] = [125.0 + 0.3 * k for k in range(20)]
  trained.write_description(normal, described)
  assert call(normal, dark, tmp_path / "out", "--threshold=1e9") == 0
  assert "WARNING: the brightness has moved" in capsys.readouterr().err
  summary = json.loads((tmp_path / "out" / "scores.json").read_text())
  assert summary["drift"]["brightness"]["moved"] and summary["warnings"]


def test_a_score_that_is_no_number_is_an_error():
  assert predict.SOME_UNREADABLE == 1
  one = ImageScore(np.float32(np.nan), {}, None, 1.0)
  row = predict._row(None, "a.png", {}, None, one, None, 0.0)
  assert row == {"path": "a.png", "error": "its score is not finite"}
