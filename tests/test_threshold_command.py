# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Another threshold for a run, from the scores that it kept."""

import shutil

import numpy as np
import pytest
from trained_runs import write_run

import jaxad
from jaxad import cli, trained


@pytest.fixture(scope="module")
def original(tmp_path_factory):
  folder = tmp_path_factory.mktemp("original") / "run"
  write_run(folder, "ganomaly")
  (folder / "results.json").write_text("{}")
  return folder


@pytest.fixture
def folder(original, tmp_path):
  return shutil.copytree(original, tmp_path / "run")


def command(capsys, folder, *arguments):
  code = cli.main(["threshold", "--run", f"{folder}", *arguments])
  return code, capsys.readouterr()


def content(folder):
  return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_it_is_shown(folder, capsys):
  before = content(folder)
  code, said = command(capsys, folder)
  assert code == 0 and not said.err
  assert said.out == (
    "threshold 0.385, by the rule quantile 0.95 of 4 held-out images\n"
    "it calls 1 of these anomalous\n"
  )
  assert content(folder) == before


@pytest.mark.parametrize(
  ("arguments", "threshold", "rule", "said"),
  [
    (("--rule=max",), 0.4, ("max", None), "rule max of 4"),
    (("--rule=quantile", "--value=0.5"), 0.25, ("quantile", 0.5), "calls 2 of"),
    (
      ("--rule", "sigma"),
      0.25 + 3 * 0.0125**0.5,
      ("sigma", None),
      "sigma 3 of",
    ),
  ],
)
def test_another_one(folder, capsys, arguments, threshold, rule, said):
  before = content(folder)
  code, output = command(capsys, folder, *arguments)
  assert code == 0 and said in output.out
  run = jaxad.load(folder)
  assert run.threshold == pytest.approx(threshold, rel=1e-4)
  assert run.threshold_rule == rule
  after = content(folder)
  changed = {name for name in after if after[name] != before[name]}
  assert changed == {"model.json"} and after.keys() == before.keys()
  # It is that of the rule, to the last bit.
  scores = trained.read_description(folder)["normal"]["score"]
  np.testing.assert_array_equal(run.normal.score, scores)


@pytest.mark.parametrize(
  ("arguments", "words"),
  [
    (("--value=0.5",), "--value: it is the number of a rule; give --rule"),
    (("--rule=quantile", "--value=2"), "threshold_value=2.*quantile in [0, 1]"),
    (("--rule=max", "--value=1"), "threshold_value=1.*takes none"),
    (("--rule=kde", "--value=x"), "--value='x': expected a number"),
    (("--run=nowhere",), "nowhere/model.json: no such file"),
  ],
)
def test_what_is_wrong_changes_nothing(folder, capsys, arguments, words):
  before = content(folder)
  code, said = command(capsys, folder, *arguments)
  (line,) = said.err.splitlines()
  assert code == cli.USAGE_ERROR and line.startswith("error: ")
  first, _, last = words.partition(".*")
  assert first in line and last in line
  assert content(folder) == before
