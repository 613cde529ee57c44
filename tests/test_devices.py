# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Every method trains and scores on eight devices as it does on one.

In float64, where what is left between the two is the order of sums: in float32
Adam makes of a gradient that is nought up to rounding a step of full length.
"""

import os
import pathlib
import subprocess
import sys
import time

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_detector import CASES

import jaxad
from jaxad.data.examples import Examples
from jaxad.evaluation.scoring import Scorer
from jaxad.loop import Callback, fit, make_plan

DEVICES, BATCH, STEPS = 8, 24, 3
# Normal ones do not fill their batches, nor do those that are scored.
N_NORMAL, N_ANOMALOUS, N_SCORED = 40, 8, 13

SCRIPT = f"""if True:
  import pathlib, sys
  import jax
  import numpy as np
  import test_devices
  assert jax.device_count() == {DEVICES}
  for name in sys.argv[2:]:
    path = pathlib.Path(sys.argv[1]) / name
    np.savez(path.with_suffix(".part.npz"), **test_devices.outcome(name))
    path.with_suffix(".part.npz").rename(path.with_suffix(".npz"))
"""


class Losses(Callback):
  """Keeps the metrics of every step."""

  def __init__(self):
    self.found = {}

  def metrics(self, moment, step, values):
    for name, value in values.items():
      self.found.setdefault(name, []).append(value)


def in_float64(tree):
  """The same with every float in float64."""
  widen = lambda v: v.astype(jnp.float64) if is_float(v) else v
  return jax.tree.map(widen, tree)


def is_float(value):
  return jnp.issubdtype(value.dtype, jnp.floating)


def examples(name):
  """(those to train on, those to score)."""
  case = CASES[name]
  x = np.concatenate([case.normal(N_NORMAL, 0), case.odd(N_ANOMALOUS, 1)])
  x = np.float64(x) / 255
  label = np.int32([0] * N_NORMAL + [1] * N_ANOMALOUS)
  ids = tuple(f"{k}.png" for k in range(len(x)))
  train = Examples(x, label, ids, ("any",) * len(x), None)
  return train, train.take(np.arange(len(x) - N_SCORED, len(x)))


def outcome(name):
  """{what: array} that a method trains and scores, on all devices."""
  with jax.enable_x64(True):
    detector = jaxad.METHODS[name](**CASES[name].keywords)
    train, test = examples(name)
    trained = [phase for phase in detector.phases if phase.step is not None]
    plan = make_plan(
      detector,
      train,
      batch_size=BATCH,
      steps=max(1, STEPS * len(trained)),
      drop_remainder=any(phase.full_batches for phase in trained),
    )
    first = {"x": train.x[:1]}
    state = in_float64(detector.init(jax.random.key(0), first, plan))
    losses = Losses()
    state = fit(detector, state, train, plan, [losses])
    scorer = Scorer(detector, BATCH, jax.random.key(1))
    scores = scorer.scores(state, test, with_maps=True)
  state = state.replace(key=jax.random.key_data(state.key), plan=None)
  found = {"state": state, "losses": losses.found, "scores": scores}
  leaves, _ = jax.tree_util.tree_flatten_with_path(found)
  return {jax.tree_util.keystr(path): np.asarray(v) for path, v in leaves}


@pytest.fixture(scope="module")
def on_eight(tmp_path_factory):
  """A function from a method to its outcome, of a process that makes all."""
  folder = tmp_path_factory.mktemp("eight")
  paths = pathlib.Path(__file__).parent, pathlib.Path(jaxad.__path__[0]).parent
  environment = {
    "PYTHONPATH": os.pathsep.join(map(str, paths)),
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": os.environ["XLA_FLAGS"]
    + f" --xla_force_host_platform_device_count={DEVICES}",
  }
  errors = folder / "errors.txt"
  with errors.open("w") as file:
    process = subprocess.Popen(
      [sys.executable, "-c", SCRIPT, str(folder), *jaxad.METHODS],
      env=os.environ | environment,
      stderr=file,
    )

  def wait_for(name):
    path = folder / f"{name}.npz"
    while not path.exists():
      assert process.poll() in (None, 0), errors.read_text()
      time.sleep(0.1)
    with np.load(path) as found:
      return dict(found)

  yield wait_for
  process.kill()
  process.wait()


@pytest.mark.whole
@pytest.mark.parametrize("name", jaxad.METHODS)
def test_eight_devices_are_one(name, on_eight):
  want, got = outcome(name), on_eight(name)
  chex.assert_trees_all_equal_shapes_and_dtypes(got, want)
  for what, value in want.items():
    # The floor is for what cancels out, as biases in front of a norm do.
    limit = 1e-8 * np.abs(value).max(initial=0) + 1e-8
    np.testing.assert_allclose(
      got[what], value, rtol=0, atol=limit, err_msg=what
    )
