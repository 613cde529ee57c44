# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The page of results is made from the runs, and these say nothing else."""

import json
import os
import pathlib
import shutil
import subprocess

import numpy as np
import pytest

from jaxad import cli, config_files, results
from jaxad.data.examples import Examples, Pixels
from jaxad.errors import InputError
from jaxad.evaluation import scoring
from jaxad.report import results_page
from jaxad.report.entries import Entry, read
from jaxad.report.tables import write_json
from jaxad.seeds import aggregate

ROOT = pathlib.Path(__file__).parents[1]
ENTRIES = read(ROOT / "results")
SCRIPTS = sorted((ROOT / "docs" / "experiments").glob("*.sh"))


@pytest.fixture
def checkout(tmp_path, monkeypatch):
  """A copy of what the page is made of, and of the page."""
  shutil.copytree(ROOT / "results", tmp_path / "results")
  (tmp_path / "docs").mkdir()
  shutil.copy(ROOT / "docs" / "results.md", tmp_path / "docs")
  monkeypatch.setattr(results, "CHECKOUT", tmp_path)
  return tmp_path


@pytest.fixture
def finished(tmp_path):
  """Folder of a finished run on images of one's own, from another checkout."""
  folder = tmp_path / "runs" / "parts"
  folder.mkdir(parents=True)
  config = config_files.load("differnet:folder").to_dict()
  config["data"]["root"] = "/home/somebody/photographs/parts"
  config["detector"]["trunk"] = "resnet18"
  config["detector"]["weights"] = "../files/resnet18.pth"
  config["fingerprint"] = {"data": {}, "weights": None}
  write_json(folder / "config.json", config)
  found = {
    "image_auroc": 0.9,
    "provenance": {
      "command": "python -m jaxad.run --config differnet:folder "
      "--config.data.root=/home/somebody/photographs/parts --resume "
      "--config.detector.weights ../files/resnet18.pth "
      "--config.detector.trunk=resnet18 --workdir /home/somebody/runs/1",
      "commit": "0" * 40,
      "cpu": "a processor",
      "date": "2026-01-02T03:04:05+00:00",
      "device": "1 x cpu",
      "versions": {"jaxad": "0.1.0"},
    },
  }
  write_json(folder / "results.json", found)
  return folder


def entry(id, text, seeds=None, **found):
  """An entry of the configuration that `--config TEXT` has."""
  config = config_files.load(text).to_dict()
  command = f"jaxad run --config {text}"
  said = {"command": command, "commit": "1" * 40}
  found = {"setting": "reduced", "provenance": said} | found
  return Entry(id, config, found, seeds)


def shown(entry, name):
  return results_page.text_of({}, entry, name)


def test_the_page_is_made_from_the_runs_to_the_byte():
  assert results.main(["--check"]) == 0
  page = (ROOT / "docs" / "results.md").read_bytes()
  assert page == results_page.page(ROOT / "results").encode()
  assert page.count(b"\n") < 150


def test_a_changed_figure_is_told_with_its_line(checkout, capsys):
  path = checkout / "results" / "ocgan-mnist-8" / "results.json"
  found = json.loads(path.read_text())
  assert found["image_auroc"] == 0.893
  write_json(path, found | {"image_auroc": 0.4321})
  assert results.main(["--check"]) == 2
  (line,) = capsys.readouterr().err.splitlines()
  assert "docs/results.md is not what results/ says: line " in line
  assert "| mnist/8 |" in line and "0.893" in line and "0.432" in line
  assert "--write" in line
  assert results.main(["--write"]) == 0
  assert results.main(["--check"]) == 0
  assert not list((checkout / "docs").glob("*.tmp"))


def test_a_missing_and_a_new_line_are_differences():
  assert results.difference("a\nb\n", "a\nb\n") is None
  assert "line 2 is 'c', expected nothing" in results.difference("a\nc", "a")
  assert "line 2 is missing, expected 'c'" in results.difference("a", "a\nc")


def test_an_added_run_has_no_place_of_this_machine(
  checkout, finished, monkeypatch
):
  monkeypatch.setenv("DATA", "/home/somebody")
  monkeypatch.delenv("WEIGHTS", raising=False)
  before = {p: p.read_bytes() for p in finished.iterdir()}
  assert results.main(["--add", str(finished)]) == 0
  folder = checkout / "results" / "differnet-parts"
  assert sorted(p.name for p in folder.iterdir()) == [
    "config.json",
    "results.json",
  ]
  config, found = (
    json.loads((folder / f"{name}.json").read_text())
    for name in ("config", "results")
  )
  assert config["data"]["root"] == "$DATA/photographs/parts"
  assert config["detector"]["weights"] == "$WEIGHTS/resnet18.pth"
  assert found["setting"] == "reduced" and "variant" not in found
  assert found["provenance"]["command"] == (
    "jaxad run --config differnet:folder "
    "--config.data.root=$DATA/photographs/parts "
    "--config.detector.weights $WEIGHTS/resnet18.pth "
    "--config.detector.trunk=resnet18"
  )
  assert before == {p: p.read_bytes() for p in finished.iterdir()}
  # It is on the page, and nothing is left beside it.
  assert results.main(["--write"]) == 0
  assert "| parts |" in (checkout / "docs" / "results.md").read_text()
  assert not list((checkout / "results").glob(".*"))


@pytest.mark.parametrize(
  "program", ["jaxad run", "python -m jaxad.run", "python -m jaxad run"]
)
def test_every_spelling_of_a_command_is_one(program):
  said = {"command": f"{program} --config rx '--config.x=a b' --workdir=/tmp/x"}
  (command,) = results.cleaned(said, {}).values()
  assert command == "jaxad run --config rx '--config.x=a b'"


def test_of_seeds_the_first_run_and_the_summary_are_added(checkout, finished):
  for seed in (2, 10):
    shutil.copytree(finished, finished.parent / "seeds" / f"seed-{seed}")
    (finished.parent / "seeds" / f"seed-{seed}.log").touch()  # of a sweep
  runs = [{"image_auroc": value} for value in (0.75, 0.85)]
  summary = {"seeds": [2, 10], **aggregate(runs)}
  write_json(finished.parent / "seeds" / "seeds.json", summary)
  path = results.add(
    finished.parent / "seeds",
    checkout / "results",
    id="two",
    variant="448 px",
    note="a word",
    setting="paper",
  )
  (found,) = (e for e in read(path.parent) if e.id == "two")
  assert found.seeds == summary
  assert found.results["variant"] == "448 px"
  assert found.results["setting"] == "paper"
  assert found.results["note"] == "a word"


def test_a_summary_of_an_older_jaxad_is_refused(checkout, finished):
  shutil.copytree(finished, checkout / "seeds" / "seed-0")
  older = {"seeds": [0], "image_auroc": {"mean": 0.8, "std": 0.0}}
  write_json(checkout / "seeds" / "seeds.json", older)
  results.add(checkout / "seeds", checkout / "results", id="older")
  with pytest.raises(InputError, match="older: .*image_auroc has no mean, std"):
    read(checkout / "results")


def test_there_are_marks_for_many_commits():
  old = [entry("x", "rx", transcribed=True) for _ in range(40)]
  for k, one in enumerate(old):
    one.results["provenance"]["commit"] = f"{k:040d}"[::-1]
  assert len(set(results_page._marks(old).values())) == 40


def test_what_is_there_stays(checkout, finished, capsys):
  path = checkout / "results" / "ocgan-mnist-8" / "results.json"
  before = path.read_bytes()
  assert results.main(["--add", str(finished), "--id", "ocgan-mnist-8"]) == 2
  assert "results/ocgan-mnist-8 is there already" in capsys.readouterr().err
  assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["../x", "A b", "", ".x", "a/b"])
def test_an_id_is_a_plain_name(checkout, finished, name):
  with pytest.raises(InputError, match="expected small letters"):
    results.add(finished, checkout / "results", id=name or "/")


def test_an_unfinished_run_is_refused(checkout, finished):
  (finished / "results.json").unlink()
  with pytest.raises(InputError, match=r"no finished run.*results\.json"):
    results.add(finished, checkout / "results")
  seeds = finished.parent / "seeds"
  seeds.mkdir()
  finished.rename(seeds / "seed-0")
  with pytest.raises(InputError, match="no finished run"):
    results.add(seeds, checkout / "results")
  assert not (checkout / "results" / "differnet-parts").exists()


def test_a_configuration_by_its_path_is_refused_by_name(checkout, finished):
  path = finished / "results.json"
  found = json.loads(path.read_text())
  found["provenance"]["command"] = "jaxad run --config /home/me/mine.py"
  write_json(path, found)
  with pytest.raises(InputError, match="provenance: command.*mine.py"):
    results.add(finished, checkout / "results")
  assert not (checkout / "results" / "differnet-parts").exists()


@pytest.mark.parametrize(
  "text, absolute",
  [
    ("/home/me/x", True),
    ("--config.data.root=/srv/x", True),
    ("a 'b c' \"/tmp\"", True),
    ("~/data", True),
    (r"C:\data", True),
    ("$DATA/mnist", False),
    ("configs/ocgan.py:mnist/8", False),
    ("2 x NVIDIA H100 80GB / PCIe", False),
    ("2026-11-29T12:25:21+00:00", False),
  ],
)
def test_absolute_paths_are_found(text, absolute):
  found = results.absolute_path({"a": [{"b": text}]}, "config.json")
  assert found == (f"config.json: a: b ({text})" if absolute else None)


def test_options_of_an_entry_need_an_entry(capsys):
  assert results.main(["--check", "--note", "x"]) == 2
  assert "--note: it belongs to --add" in capsys.readouterr().err


# Time of a score.


def test_the_time_of_a_score_is_of_full_batches_after_a_first_one(monkeypatch):
  n, batch = 5, 4
  label = np.zeros(n, np.int32)
  names = tuple(map(str, range(n)))
  examples = Examples(np.arange(n), label, names, ("good",) * n, None)
  now, seen = 0.0, []

  def score(some):
    nonlocal now
    now += 10 if not seen else 0.024  # the first compiles
    seen.append(some.x.tolist())

  monkeypatch.setattr(scoring.time, "perf_counter", lambda: now)
  found = scoring.milliseconds(score, examples, batch)
  assert seen == [[0, 1, 2, 3], [0, 1, 2, 3], [k % n for k in range(12)]]
  assert found == pytest.approx(24 / 12)
  # What takes long is not repeated.
  monkeypatch.setattr(scoring, "SLOW_MS", 20)
  seen[:] = [None]
  assert scoring.milliseconds(score, examples, batch) == pytest.approx(24 / 4)
  assert len(seen) == 3


def test_the_time_of_a_scene_is_of_all_its_pixels(monkeypatch):
  pixels = Pixels("scene", np.arange(4), np.zeros((2, 2, 3), np.uint8))
  examples = Examples(
    np.zeros((1, 2, 2, 8), np.float32),
    np.zeros(4, np.int32),
    tuple("abcd"),
    ("good",) * 4,
    None,
    pixels=pixels,
  )
  times = iter([1.0, 9.0, 10.0, 10.5])
  monkeypatch.setattr(scoring.time, "perf_counter", lambda: next(times))
  assert scoring.milliseconds(lambda some: None, examples, 8) == 500


# Tables.


def test_deviations_are_those_of_the_sample_with_their_count():
  runs = [{"image_auroc": value} for value in (0.4, 0.5, 0.6)]
  seeds = {"seeds": [0, 1, 2], **aggregate(runs)}
  found = entry("x", "rx", seeds, image_auroc=0.4, f1_max=0.25)
  assert shown(found, "image_auroc") == "0.500±0.100 (3)"
  assert shown(found, "f1_max") == "0.250"
  assert shown(found, "pixel_auroc") == "-"
  once = entry("x", "rx", {"seeds": [0], **aggregate([{"f1_max": 0.5}])})
  assert shown(once, "f1_max") == "0.500"


def test_a_figure_whose_run_is_gone_has_the_mark_of_its_commit():
  old = entry("x", "rx", image_auroc=0.4, transcribed=True)
  assert results_page.text_of({"1" * 7: "ᵃ"}, old, "image_auroc") == "0.400ᵃ"


def test_default_runs_are_known_by_their_command():
  assert entry("x", "rx").is_default
  assert not entry("x", "rx:scene").is_default
  for more, default in (("--seeds 0,1", True), ("--config.seed=1", False)):
    found = entry("x", "rx", {"seeds": [0, 1]})
    found.results["provenance"]["command"] += f" {more}"
    assert found.is_default == default


def test_methods_that_need_labels_say_so():
  assert results_page.labels(entry("x", "dra", n_train_anomalies=10)) == (
    "10 defects"
  )
  assert results_page.labels(entry("x", "pca", n_train_anomalies=0)) == "none"
  hidden = entry("x", "rsrae", n_train_anomalies=89)
  assert results_page.labels(hidden) == "none, outliers among them"


def test_default_runs_have_a_row_by_data_with_all_their_training():
  figures = {"image_auroc": 0.5, "train_seconds": 1.5, "ms_per_image": 2.345}
  found = [
    entry("a", "knn", embed_seconds=10.0, **figures),
    entry("b", "dra", n_train_anomalies=10),
    entry("c", "vae", embed_seconds=None, **figures),
  ]
  assert results_page.choice(found, shown).splitlines()[2:] == [
    "| digits/0 | none | `vae` | 0.500 | - | 1.5 | 2.3 |",
    "| textures | none | `knn` | 0.500 | - | 11.5 | 2.3 |",
    "| textures | 10 defects | `dra` | - | - | - | - |",
  ]


def test_classes_are_set_against_methods():
  found = [
    entry(f"vae-{k}", f"vae:mnist/{k}", image_auroc=k / 10) for k in range(10)
  ]
  found += [
    entry("a", "ganomaly:mnist/2", image_auroc=0.25),
    entry("b", "vae:fashion_mnist/bag", image_auroc=0.75),
    entry("c", "hadgan:scene", pixel_auroc=0.5, image_auroc=0.1),
  ]
  classes, scenes = results_page.matrices(found, shown)
  lines = classes.splitlines()
  assert lines[0] == "| one class | `ganomaly`, class anomalous | `vae` |"
  assert lines[2] == "| fashion_mnist/bag | - | 0.750 |"
  assert lines[3] == "| mnist/0 | - | 0.000 |"
  assert lines[5] == "| mnist/2 | 0.250 | 0.200 |"
  assert lines[-1] == "| mnist, mean | - | 0.450 |"
  assert scenes.endswith("| scene | 0.500 |")


def test_two_runs_of_one_cell_must_say_what_differs():
  found = [entry("a", "vae:mnist/1"), entry("b", "vae:mnist/1")]
  with pytest.raises(InputError, match="results/b: results/a.*variant"):
    results_page.matrices(found, shown)
  found[1].results["variant"] = "wide"
  (table,) = results_page.matrices(found, shown)
  assert "| mnist/1 wide |" in table


def test_figures_at_the_papers_setting_are_compared():
  table = {"method": "ocgan", "setting": "paper"}
  near = entry("near", "ocgan:mnist/8", image_auroc=0.931, **table)
  far = entry("far", "ocgan:mnist/2", image_auroc=0.9, **table)
  small = entry("small", "ocgan:mnist/0", image_auroc=0.1)
  lines = results_page.papers([near, far, small], shown).splitlines()
  assert lines[2:] == [
    "| `ocgan` | mnist/8 | image AUROC | 0.939 | 0.931 | -0.008 "
    "| [near](../results/near) | reproduced |",
    "| `ocgan` | mnist/2 | image AUROC | 0.942 | 0.900 | -0.042 "
    "| [far](../results/far) | not reproduced |",
  ]
  assert "`ocgan` mnist 0.975;" in results_page.not_run([near, far, small])
  assert results_page.papers([small], shown) is None


def test_what_is_no_entry_is_named(tmp_path):
  (tmp_path / "x").mkdir()
  (tmp_path / "x" / "config.json").write_text("{}")
  (tmp_path / "x" / "results.json").write_text("{}")
  with pytest.raises(InputError, match="results/x: no entry"):
    read(tmp_path)


def test_a_benchmark_that_is_none_is_named(tmp_path):
  (tmp_path / "x.json").write_text("[]")
  with pytest.raises(InputError, match="results/benchmarks/x.json"):
    results_page.benchmarks(tmp_path)


def test_training_and_scores_share_a_line(tmp_path):
  def pair(name, ms, compile_s=0.0):
    common = {"workload": name, "compile_s": compile_s}
    ratio = {"ratio_to_pytorch": 3.0}
    return [
      {**common, **ratio, "implementation": "jaxad", "median_ms": ms},
      {**common, "implementation": "pytorch", "median_ms": 3 * ms},
    ]

  alone = {"workload": "vae/train", "implementation": "jaxad"}
  rows = [*pair("a/train", 100.0, 4.0), *pair("a/score", 2.0)]
  rows += [*pair("a/other", 50.0, 1.0), alone, *pair("b/score", 3.0)]
  titles = {"a/train": "a step", "a/score": "scores", "a/other": "another"}
  titles |= {"b/score": "a search"}
  file = {"machine": "m", "commit": "0123456789", "rows": rows}
  (tmp_path / "x.json").write_text(json.dumps(file | {"workloads": titles}))
  conditions, table = results_page.benchmarks(tmp_path)
  assert conditions == ["m"]
  assert table.splitlines()[2:] == [
    "| `a` | a step | 100 | 300 | 3.00 | 4.0 | 2.0 | 6.0 | 3.00 | 0123456 |",
    "| `a` | another | 50 | 150 | 3.00 | 1.0 | - | - | - | 0123456 |",
    "| `b` | a search | - | - | - | - | 3.0 | 9.0 | 3.00 | 0123456 |",
  ]


# What lies in results/.


def test_entries_are_small_and_whole():
  assert len(ENTRIES) > 50
  for found in ENTRIES:
    folder = ROOT / "results" / found.id
    names = {path.name for path in folder.iterdir()}
    assert names <= {"config.json", "results.json", "seeds.json"}, found.id
    for path in folder.iterdir():
      content = json.loads(path.read_text())
      assert results.absolute_path(content, found.id) is None
      assert path.stat().st_size < 20_000
    assert found.results["setting"] in results.SETTINGS, found.id
    assert not found.commit.endswith("+"), f"{found.id}: of a changed checkout"
    if not found.results.get("transcribed"):
      assert found.config["fingerprint"]["data"], found.id
  for path in (ROOT / "results" / "benchmarks").iterdir():
    assert results.absolute_path(json.loads(path.read_text()), path) is None


@pytest.mark.parametrize("method", sorted({e.method for e in ENTRIES}))
def test_commands_of_the_entries_are_of_their_configurations(method):
  for found in ENTRIES:
    if found.method != method:
      continue
    jaxad, run, *arguments = found.arguments
    assert (jaxad, run) == ("jaxad", "run"), found.id
    config, _, _, seeds = cli.parse(arguments)
    assert (seeds is None) == (found.seeds is None), found.id
    for field in ("name", "subset", "root"):
      assert config.data[field] == found.config["data"][field], found.id


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_commands_of_an_experiment_are_understood(script, tmp_path):
  """Bash expands its loops and variables, for programs that only listen."""
  assert SCRIPTS
  for name in ("jaxad", "python", "pip", "tar"):
    program = tmp_path / name
    program.write_text(
      '#!/bin/bash\n{ printf "%s\\0" "${0##*/}" "$@"; echo; } >>"$HEARD"\n'
    )
    program.chmod(0o755)
  heard = tmp_path / "heard"
  places = {"DATA": str(tmp_path / "data"), "WEIGHTS": str(tmp_path / "files")}
  environment = {
    "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
    "HEARD": str(heard),
  }
  bash = ["bash", str(script)]
  alone = subprocess.run(
    bash, env=environment, cwd=tmp_path, capture_output=True, text=True
  )
  assert alone.returncode
  assert "DATA: set it to the folder of the data sets" in alone.stderr
  assert not heard.exists()
  done = subprocess.run(
    bash,
    env=environment | places,
    cwd=tmp_path,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  commands = [line.split("\0")[:-1] for line in heard.read_text().splitlines()]
  runs = [arguments for program, *arguments in commands if program == "jaxad"]
  assert runs
  for run, *arguments in runs:
    assert run == "run"
    cli.parse(arguments)
  for program, first, *_ in commands:
    if program == "python":
      assert pathlib.Path(first).is_file(), first
