# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What devices say to each other: read off the program, and as derived."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from benchmarks import by_hand, projection, scaling
from benchmarks.collectives import (
  Unreadable,
  by_kind,
  collectives_of,
)

ROOT = pathlib.Path(__file__).parents[1]

PROGRAM = (ROOT / "tests" / "fixtures" / "collectives.hlo").read_text()


def test_collectives_of_a_program():
  found = collectives_of(PROGRAM, 4)
  assert [(c.kind, c.bytes, c.devices, c.times) for c in found] == [
    ("all-reduce", 4 * 12 + 4, 4, 1),
    ("all-reduce", 40, 4, 1),
    ("all-gather", 2 * 16 * 6, 4, 1),
    ("collective-permute", 20, 4, 1),
    ("reduce-scatter", 2 * 8, 2, 1),
    ("all-reduce", 32, 4, 16),
  ]
  assert found[0].source == "jit(f)/sum"
  assert found[0].arrays == ("f32[3,4]", "f32[]")
  assert by_kind(found)["all-reduce"] == 52 + 40 + 16 * 32
  # Of S bytes a ring of n sends 2 (n - 1) / n S in 2 (n - 1) hops.
  assert (found[1].sent, found[1].hops) == (2 * 3 / 4 * 40, 6)
  assert (found[2].sent, found[2].hops) == (3 / 4 * 192, 3)
  assert (found[3].sent, found[3].hops) == (20, 1)


@pytest.mark.parametrize(
  ("old", "new", "message"),
  [
    (',"known_init', ',"x', None),
    ('"known_trip_count":{"n":"16"},', "", "loop of unknown length"),
    ("replica_groups={}", "replica_groups=new", "groups of devices"),
    ("f32[10]{0} all-reduce-start", "opaque[10] all-reduce-start", "opaque"),
    (
      "(s32[], f32[8]) while(%t), condition=%condition, body=%body",
      "(s32[], f32[8]) conditional(%t), branch_computations={%body, %body}",
      "in a branch",
    ),
    (" reduce-scatter(%d)", " ragged-all-to-all(%d)", "no kind"),
    ("ENTRY ", "", "no entry"),
  ],
)
def test_what_would_make_a_wrong_number_is_refused(old, new, message):
  assert old in PROGRAM
  text = PROGRAM.replace(old, new)
  if message is None:
    assert collectives_of(text, 4) == collectives_of(PROGRAM, 4)
    return
  with pytest.raises(Unreadable, match=message):
    collectives_of(text, 4)


def point(method, devices, batch, steps=0):
  asked = dict(method=method, small=True, batch=batch, steps=steps)
  flags = f"--xla_force_host_platform_device_count={devices}"
  done = subprocess.run(
    [sys.executable, "-m", "benchmarks.scaling", "--point", json.dumps(asked)],
    capture_output=True,
    text=True,
    env=os.environ
    | {
      "PYTHONPATH": str(ROOT),
      "JAX_PLATFORMS": "cpu",
      "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}",
    },
    cwd=ROOT,
  )
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
  ("method", "devices"),
  [
    *((method, 8) for method in ("differnet", "dra")),
    *(
      pytest.param(method, n, marks=pytest.mark.whole)
      for method in ("differnet", "dra")
      for n in (2, 4)
    ),
  ],
)
def test_devices_exchange_what_they_must(method, devices):
  """Weak scaling: the same bytes of a device, however many there are."""
  batch = scaling.STUDIES[method](small=True).batch
  found = point(method, devices, batch * devices)
  assert found["devices"] == devices and found["batch"] == batch * devices
  assert found["bytes"] == {"all-reduce": found["by_hand"]}


def test_one_device_says_nothing():
  found = point("differnet", 1, 2, steps=1)
  assert found["bytes"] == {} and found["ms"] > 0


# The model.


def made(devices, batch, ms, **fields):
  return {
    "platform": "cpu",
    "devices": devices,
    "batch": batch,
    "ms": ms,
    "hops": 0,
    "sent": 0.0,
    "alpha": 0.0,
    "beta": 1.0,
  } | fields


def test_model_of_the_points():
  """A step of 10 ms and 2 ms a row, and an exchange of 4 + 3 ms."""
  told = dict(hops=2, alpha=2e-3, sent=3e6, beta=1e9)
  points = [made(1, 4, 18.0), made(1, 16, 42.0)]
  points += [made(4, 16, 84.0, **told)]
  weak, strong, four = scaling.with_model(points)
  assert (weak["model_ms"], strong["model_ms"]) == pytest.approx((18, 42))
  # Virtual devices take turns: four times the fixed part.
  assert four["model_ms"] == pytest.approx(4 * (10 + 2 * 4) + 7)
  assert four["kept"] == pytest.approx(42 / 84)
  points = [{**p, "platform": "gpu"} for p in points]
  four = scaling.with_model(points)[-1]
  assert four["model_ms"] == pytest.approx(18 + 7)
  assert four["kept"] == pytest.approx(18 / 84)


MACHINE = projection.Machine(
  "m", 4, 2, 1e12, 1e11, (1e-3, 1e9), (2e-3, 1e8), 0.5, ""
)


def test_projection_by_hand():
  step = projection.Step(1e9, 0.0, 1e9, [(8e6, 3)], 4)
  # 4e9 operations at 5e11 a second take 8 ms, 1e9 bytes at 5e10 take 20.
  assert projection.seconds(step, 4, 1, MACHINE) == pytest.approx(0.02)
  assert projection.seconds(step, 100, 1, MACHINE) == pytest.approx(0.2)
  # Of two: three messages of two hops, and 8e6 bytes.
  two = projection.seconds(step, 4, 2, MACHINE)
  assert two == pytest.approx(0.02 + 3 * 2 * 1e-3 + 8e6 / 1e9)
  # Of four every second one leaves its node: 6 hops of 1.5 ms in the mean,
  # 1.5 times the bytes.
  four = projection.seconds(step, 4, 4, MACHINE)
  assert four == pytest.approx(0.02 + 3 * 6 * 1.5e-3 + 1.5 * 8e6 / 1e8)


def test_projection_of_the_papers_sizes(tmp_path):
  rows = scaling.projected(["differnet", "dra", "ganomaly"])
  assert {row["method"] for row in rows} == {"differnet", "dra"}
  for row in rows:
    assert 0 < row["weak"] <= 1 and 0 < row["strong"] <= row["devices"]
    if row["devices"] == 1:
      assert row["exchange_ms"] == 0 and row["weak"] == row["strong"] == 1
  # The gradient of the published flow, 172 M parameters.
  step = by_hand.steps_at_paper_size()["differnet"]
  assert step.collectives[0][0] == pytest.approx(4 * 172.1e6, rel=1e-3)
  measured = [
    made(n, 4 * n, 10.0, method="m", scaling="weak", model_ms=9.0)
    for n in (1, 2)
  ]
  file = tmp_path / "plot.svg"
  projection.plot(measured, rows, file)
  assert "projected speed-up" in file.read_text() or file.stat().st_size > 9000


@pytest.mark.whole
def test_a_study_prints_and_writes(tmp_path, capsys, monkeypatch):
  monkeypatch.setenv("PYTHONPATH", str(ROOT))
  monkeypatch.setenv("JAX_PLATFORMS", "cpu")
  monkeypatch.chdir(ROOT)
  file = tmp_path / "study.json"
  scaling.main(
    ["--methods=differnet", "--devices=1,2", "--small", "--steps=2"]
    + [f"--json={file}", f"--plot={tmp_path / 'plot.png'}"]
  )
  said = capsys.readouterr().out
  assert "not a speed-up" in said
  assert "the model of the points is off by" in said
  for line in projection.ASSUMPTIONS:
    assert line in said
  found = json.loads(file.read_text())
  assert len(found["points"]) == 4
  assert found["assumptions"] == list(projection.ASSUMPTIONS)
  assert (tmp_path / "plot.png").stat().st_size > 9000
