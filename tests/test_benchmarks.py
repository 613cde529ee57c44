# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The benchmarks run, and compare the same computation."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxad
from jaxad.methods.differnet import pooled_features
from jaxad.networks.trunk import make_trunk

ROOT = pathlib.Path(__file__).parents[1]


def run_benchmark(*arguments):
  # The tree itself, whether jaxad is installed or not.
  paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
  return subprocess.run(
    [sys.executable, str(ROOT / "benchmarks" / "differnet.py"), *arguments],
    capture_output=True,
    text=True,
    env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
  )


def test_small_run_writes_rows(tmp_path):
  file = tmp_path / "rows.json"
  result = run_benchmark(
    *("--small", "--workloads=W3", "--repeats=2", "--device=cpu"),
    f"--json={file}",
  )
  assert result.returncode == 0, result.stderr
  assert "compare with no others" in result.stdout
  assert list(tmp_path.iterdir()) == [file]
  rows = {row["implementation"]: row for row in json.loads(file.read_text())}
  with_torch = importlib.util.find_spec("torch") is not None
  assert set(rows) == ({"jaxad", "pytorch"} if with_torch else {"jaxad"})
  for row in rows.values():
    assert row["workload"] == "W3-small"
    assert row["median_ms"] > 0
  assert rows["jaxad"]["compile_s"] > 0
  if with_torch:
    assert rows["pytorch"]["compile_s"] == 0
    assert rows["jaxad"]["ratio_to_pytorch"] == pytest.approx(
      rows["pytorch"]["median_ms"] / rows["jaxad"]["median_ms"]
    )
  else:
    assert rows["jaxad"]["ratio_to_pytorch"] is None


def test_bad_arguments_are_refused_before_measuring(tmp_path):
  for argument in (
    "--workloads=W9",
    "--repeats=0",
    f"--json={tmp_path / 'missing' / 'rows.json'}",
  ):
    result = run_benchmark(argument)
    assert result.returncode == 2
    assert argument[: argument.index("=")] in result.stderr


@pytest.fixture
def official(monkeypatch):
  pytest.importorskip("torch")
  monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
  import pytorch_differnet

  return pytorch_differnet


def state_dict(tree, prefix=""):
  """Flax parameters in the names and layouts of the PyTorch model."""
  tensors = {}
  for name, value in tree.items():
    # "features.0" of the trunk is its entry 0, "coupling_0" that of the flow.
    name = name.removeprefix("features.").removeprefix("coupling_")
    if isinstance(value, dict):
      tensors |= state_dict(value, f"{prefix}{name}.")
    elif name == "kernel":
      kernel = np.moveaxis(np.asarray(value), (-1, -2), (0, 1))
      tensors[f"{prefix}weight"] = kernel
    else:
      tensors[f"{prefix}{name}"] = np.asarray(value)
  return tensors


@pytest.mark.parametrize("frozen", [False, True])
def test_both_sides_take_the_same_step(official, frozen):
  import torch

  detector = jaxad.differnet(weights="random", n_blocks=2, hidden=16)
  x = np.random.default_rng(0).standard_normal((4, 256, 256, 3), np.float32)
  state = detector.init(jax.random.key(0), {"x": x})
  model = official.DifferNet(n_blocks=2, hidden=16)
  tensors = {k: torch.tensor(v) for k, v in state_dict(state.params).items()}
  model.load_state_dict(tensors)
  optimizer = official.make_optimizer(model)
  views = torch.tensor(x.transpose(0, 3, 1, 2))
  loss = official.train(
    lambda: official.image_loss(model, views, frozen), optimizer
  )

  @jax.jit
  def step(state, x):
    variables = {"params": state.params["trunk"]}
    y = pooled_features(make_trunk("alexnet"), variables, x, 3)
    return detector.phases[0].step(state, {"x": y[:, None]}, None)

  stepped, metrics = step(state, jnp.asarray(x))
  np.testing.assert_allclose(loss, metrics["loss"], rtol=1e-5)
  assert (model.trunk[0].weight.grad is None) == frozen
  parameters = dict(model.named_parameters())
  expected = state_dict(stepped.params)
  assert set(parameters) == set(expected)
  moved = 0.0
  for name, value in expected.items():
    got = parameters[name].detach().numpy()
    # The first step of Adam moves a parameter by at most the learning rate.
    np.testing.assert_allclose(got, value, rtol=0, atol=2e-4 * 1e-3)
    moved = max(moved, np.abs(value - tensors[name].numpy()).max())
  assert moved > 1e-4


def test_both_sides_score_alike(official):
  import torch

  detector = jaxad.differnet(
    weights="random", n_blocks=2, hidden=16, n_transforms_test=4
  )
  y = np.random.default_rng(0).standard_normal((4, 768), np.float32)
  state = detector.init(jax.random.key(0), {"x": y})
  model = official.DifferNet(n_blocks=2, hidden=16)
  flow = {k: torch.tensor(v) for k, v in state_dict(state.params).items()}
  model.load_state_dict(flow, strict=False)
  _, loss, score = official.score(lambda: model.loss(torch.tensor(y)))
  scores = detector.score(state, jnp.asarray(y[None]), None)
  np.testing.assert_allclose(loss, scores.parts["nll"][0], rtol=1e-5)
  np.testing.assert_allclose(score, scores.image[0], rtol=1e-5)
