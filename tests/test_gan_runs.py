# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Runs of the adversarial methods: two protocols, phases, and resuming."""

import csv
import json
import pathlib
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from jaxad import run
from jaxad.callbacks import Saving
from jaxad.cli import INTERRUPTED, USAGE_ERROR
from jaxad.data.examples import Examples
from jaxad.detector import Detector, Official, Scores
from jaxad.evaluation.scoring import official_scores
from jaxad.evaluation.thresholds import above_min_max, min_max

# Whole runs.
pytestmark = pytest.mark.whole

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"

# Sizes of seconds. The digits are reduced by their protocol: of 1198 + 599
# images, class 8 has 119 + 55.
SMALL = {
  "ganomaly": {
    "data.image_size": 16,
    "detector.width": 4,
    "detector.latent_dim": 4,
  },
  "skip_ganomaly": {
    "detector.width": 2,
    "detector.width_d": 2,
    "detector.latent_dim": 4,
  },
  "ocgan": {
    "data.subset": 8,
    "detector.width": 4,
    "detector.width_d": 2,
    "detector.latent_dim": 4,
    "detector.mining_steps": 1,
  },
}


def command(method, workdir, resume=False, **changes):
  """Arguments of a small run; keywords have "_" for ".", after the group."""
  fields = {"train.steps": 8, "train.log_every": 1} | SMALL[method]
  for name, value in changes.items():
    group, _, field = name.partition("_")
    fields[f"{group}.{field}"] = value
  arguments = [f"--config={CONFIGS / method}.py", f"--workdir={workdir}"]
  arguments += ["--resume"] if resume else []
  return arguments + [f"--config.{k}={v}" for k, v in fields.items()]


def results_of(workdir):
  return json.loads((workdir / "results.json").read_text())


def rows_of(path):
  with path.open() as file:
    return list(csv.DictReader(file))


def metrics_of(workdir):
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  return [json.loads(line) for line in lines]


def test_both_protocols_side_by_side(tmp_path, capsys):
  # Two epochs of 16 steps, and one step more.
  method, workdir = "ganomaly", tmp_path / "run"
  arguments = command(method, workdir, train_steps=33, eval_protocol="official")
  assert run.main(arguments) == 0
  results, shown = results_of(workdir), capsys.readouterr().out
  epochs = [
    row["official_image_auroc"]
    for row in metrics_of(workdir)
    if "official_image_auroc" in row
  ]
  assert len(epochs) == 2
  assert results["official_image_auroc"] == max(epochs)
  assert results["official_best_epoch"] == 1 + int(np.argmax(epochs))
  assert results["image_auroc"] != results["official_image_auroc_last_epoch"]
  for words in ("official image AUROC", "NOTE: the official figures"):
    assert words in shown
  # The raw scores are what is kept; scaling is for the display and the F1.
  rows = rows_of(workdir / "scores_official.csv")
  score = np.array([float(row["score"]) for row in rows])
  label = np.array([int(row["label"]) for row in rows])
  assert score.max() < 1 or score.min() > 0
  auroc = roc_auc_score(label, score)
  assert results["official_image_auroc_last_epoch"] == pytest.approx(auroc)
  predicted = np.array([row["predicted"] == "1" for row in rows])
  np.testing.assert_array_equal(predicted, min_max(score) >= 0.2)
  standard = rows_of(workdir / "scores.csv")
  assert [row["id"] for row in standard] == [row["id"] for row in rows]


def test_official_scores_see_the_batches_of_the_authors():
  """Normal examples first, in order, and a smaller last batch."""
  x = jnp.arange(7, dtype=jnp.float32)[:, None]
  label = np.array([1, 0, 1, 0, 0, 1, 0], np.int32)
  examples = Examples(np.asarray(x), label, tuple("abcdefg"), ("",) * 7, None)

  # The score of a row: its value plus the mean of its batch times 100, plus
  # 1000 times the number of batches before.
  def score(state, x, keys):
    return Scores(x[:, 0] + 100 * x.mean() + 1000 * state), state + 1

  detector = Detector(None, (), None, official=Official(score))
  found = official_scores(detector, 0, examples, 3, jax.random.key(0))
  batches = ([1, 3, 4], [6, 0, 2], [5])
  want = np.zeros(7)
  for k, rows in enumerate(batches):
    want[rows] = np.array(rows) + 100 * np.mean(rows) + 1000 * k
  np.testing.assert_allclose(found, want, rtol=1e-6)


@pytest.mark.parametrize(
  "score, want",
  [([2.0, 4.0, 3.0], [0, 1, 0.5]), ([5.0, 5.0], [0, 0]), ([-1.0], [0])],
)
def test_min_max(score, want):
  np.testing.assert_allclose(min_max(np.float32(score)), want)


def test_the_rule_of_the_authors():
  score = np.float32([2.0, 2.39, 2.41, 4.0])
  assert above_min_max(score).tolist() == [False, False, True, True]
  assert not above_min_max(np.float32([5.0, 5.0])).any()


def interrupted(monkeypatch, step):
  """Makes Ctrl-C come at this update of the run, over all phases."""
  after, phases = Saving.after, []

  def interrupting(self, moment):
    phases.append(moment.phase.name)
    if moment.step == step:
      signal.raise_signal(signal.SIGINT)
    return after(self, moment)

  monkeypatch.setattr(Saving, "after", interrupting)
  return phases


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("run") / "ocgan"
  assert run.main(command("ocgan", workdir)) == 0
  return workdir


@pytest.mark.parametrize(
  "step, phase",
  [pytest.param(2, "warm-up", marks=pytest.mark.slow), (7, "mining")],
)
def test_stopped_in_either_phase_and_resumed(
  step, phase, never_stopped, tmp_path, monkeypatch
):
  """Bit for bit: phases are six and two updates long."""
  workdir = tmp_path / "stopped"
  phases = interrupted(monkeypatch, step)
  assert run.main(command("ocgan", workdir)) == INTERRUPTED
  assert phases[-1] == phase and len(phases) == step
  monkeypatch.undo()
  assert run.main(command("ocgan", workdir, resume=True)) == 0
  assert (workdir / "scores.csv").read_bytes() == (
    never_stopped / "scores.csv"
  ).read_bytes()
  phases = [row["phase"] for row in metrics_of(workdir)]
  assert phases == ["warm-up"] * 6 + ["mining"] * 2
  for mine, theirs in zip(
    metrics_of(workdir), metrics_of(never_stopped), strict=True
  ):
    assert mine["loss"] == theirs["loss"]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bits(never_stopped, tmp_path):
  workdir = tmp_path / "again"
  assert run.main(command("ocgan", workdir)) == 0
  assert (workdir / "scores.csv").read_bytes() == (
    never_stopped / "scores.csv"
  ).read_bytes()


MISTAKES = {
  "no official protocol": (
    "ocgan",
    {"eval_protocol": "official"},
    ("config.eval.protocol=official", "leave it out"),
  ),
  "unknown protocol": (
    "ganomaly",
    {"eval_protocol": "strict"},
    ("standard, official",),
  ),
  "padded batches": (
    "ganomaly",
    {"train_drop_remainder": False},
    ("drop_remainder=False", "set it to True"),
  ),
  "no power of two": (
    "skip_ganomaly",
    {"data_image_size": 48},
    ("config.data.image_size=48x48: ", "power of two"),
  ),
  "too small": ("skip_ganomaly", {"data_image_size": 16}, ("32 or more",)),
  "side of OCGAN": (
    "ocgan",
    {"data_image_size": 14},
    ("config.data.image_size=14: ", "needs 13", "or depth"),
  ),
  "unknown class": ("ocgan", {"data_subset": 11}, ("'11'", "class of digits")),
  "unknown data protocol": (
    "ocgan",
    {"data_protocol": "80_20"},
    ("'80_20'", "one_vs_rest_80_20"),
  ),
  "batch too large": (
    "ocgan",
    {"train_batch_size": 512},
    ("batch_size=512", "95 training"),
  ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_get_one_line(mistake, tmp_path, capsys):
  method, changes, words = MISTAKES[mistake]
  workdir = tmp_path / "run"
  assert run.main(command(method, workdir, **changes)) == USAGE_ERROR
  (line,) = capsys.readouterr().err.splitlines()[-1:]
  assert line.startswith("error: ")
  for word in words:
    assert word in line
  assert not workdir.exists()
