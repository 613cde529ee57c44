# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The loop, its plan and its checkpoints, on a toy of two phases."""

import dataclasses
import errno
import functools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading

import chex
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

import jaxad
from jaxad import config as configs
from jaxad import evaluation, training
from jaxad.checkpoints import Checkpoints
from jaxad.data.examples import Examples
from jaxad.data.pipeline import batches
from jaxad.detector import Detector, Phase, Scores, State
from jaxad.errors import InputError

DIM, N, BATCH = 3, 10, 4
# Three batches an epoch, the last of two rows. The first phase ends at step 10,
# within an epoch.
PER_EPOCH, EPOCHS, STEPS, BOUNDARY = 3, 6, 18, 10
RATE, DECAY = 0.05, 0.9


def make_examples(n=N):
  x = np.random.default_rng(0).standard_normal((n, DIM)).astype(np.float32)
  return Examples(
    x=x,
    label=np.zeros(n, np.int32),
    id=tuple(f"{k}" for k in range(n)),
    kind=("good",) * n,
    mask=None,
  )


def weighted_mean(values, weight):
  return (values * weight).sum() / weight.sum()


@functools.cache
def toy(noise=0.1, nan_at=None):
  """Two linear models; the second sees what was fitted after the first.

  Args:
    noise: of the targets, drawn in every step.
    nan_at: the step whose loss is not a number.
  """

  def init(key, batch):
    # No array twice: the loop donates the buffers.
    zeros = lambda: jnp.zeros(batch["x"].shape[-1], jnp.float32)
    return State(
      step=jnp.zeros((), jnp.int32),
      key=key,
      params={"first": zeros(), "second": zeros()},
      batch_stats={},
      opt_state={"first": zeros(), "second": zeros()},
      extras={"mean": zeros(), "energy": jnp.zeros((), jnp.float32)},
    )

  def draw(key, batch):
    return noise * jax.random.normal(key, batch["x"].shape[:1])

  def step_of(name):
    def step(state, batch, draws):
      x = batch["x"] - state.extras["mean"]

      def loss_fn(w):
        error = x @ w - x.sum(-1) - 1 + draws
        return weighted_mean(error**2, batch["weight"])

      loss, grad = jax.value_and_grad(loss_fn)(state.params[name])
      velocity = DECAY * state.opt_state[name] + grad
      w = state.params[name] - RATE * velocity
      if nan_at is not None:
        loss = jnp.where(state.step == nan_at, jnp.nan, loss)
      state = state.replace(
        params=state.params | {name: w},
        opt_state=state.opt_state | {name: velocity},
      )
      return state, {"loss": loss, "norm": jnp.abs(w).sum()}

    return step

  def fitted(name, value):
    def fit(state, batches):
      total = count = 0.0
      for batch in batches:
        rows = value(state, batch["x"])
        total += jnp.einsum("b...,b->...", rows, batch["weight"])
        count += batch["weight"].sum()
      # Added, so that a second fit would show.
      mean = state.extras[name] + total / count
      return state.replace(extras=state.extras | {name: mean})

    return fit

  first = Phase(
    "first",
    step_of("first"),
    draw,
    share=5,
    fit=fitted("mean", lambda state, x: x),
  )
  second = Phase(
    "second",
    step_of("second"),
    draw,
    share=4,
    fit=fitted("energy", lambda state, x: (x @ state.params["second"]) ** 2),
  )
  score = lambda state, x, key: Scores((x @ state.params["second"]) ** 2)
  return Detector(init, (first, second), score)


compile_update = training.compile_update


@pytest.fixture(scope="module", autouse=True)
def compiled_once():
  """Runs of the same phase share what they compile."""
  found = {}

  def cached(phase, mesh):
    key = phase.step, phase.draw, mesh
    if key not in found:
      found[key] = compile_update(phase, mesh)
    return found[key]

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(training, "compile_update", cached)
    yield


def train_config(**fields):
  config = configs.base("differnet")
  config.train.update(
    dict(epochs=EPOCHS, batch_size=BATCH, log_every=1, checkpoint_every=4)
    | fields
  )
  return config


def new_state(detector, examples):
  return detector.init(jax.random.key(1), {"x": examples.x[:1]})


def run(workdir, detector=None, examples=None, on_epoch=None, **fields):
  """Starts or resumes the run of a folder; returns its state."""
  detector = detector or toy()
  examples = examples or make_examples()
  checkpoints = Checkpoints(workdir / "checkpoints")
  state = new_state(detector, examples)
  if checkpoints.latest_step() is not None:
    state, _ = checkpoints.restore(state)
  try:
    state, seconds = training.train(
      detector,
      state,
      examples,
      config=train_config(**fields),
      mesh=training.data_mesh(),
      workdir=workdir,
      checkpoints=checkpoints,
      on_epoch=on_epoch,
    )
  finally:
    checkpoints.close()
  assert seconds > 0
  return state


def latest(workdir, detector=None):
  """(state, position) of the newest checkpoint of a run of `toy`."""
  checkpoints = Checkpoints(workdir / "checkpoints")
  state = new_state(detector or toy(), make_examples())
  found = checkpoints.restore(state)
  checkpoints.close()
  return found


def rows_of(workdir):
  """Lines of metrics.jsonl, without what a clock decides."""
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  rows = [json.loads(line) for line in lines]
  return [{k: v for k, v in r.items() if k != "images_per_s"} for r in rows]


def assert_same(a, b):
  """Two states agree in every bit."""
  bits = lambda s: s.replace(key=jax.random.key_data(s.key))
  chex.assert_trees_all_equal(bits(a), bits(b))
  chex.assert_trees_all_equal_shapes_and_dtypes(bits(a), bits(b))


def report_epoch(state, epoch):
  return {"seen": float(state.params["first"].sum()), "epochs": epoch}


# Resuming.


class Killed(Exception):
  """Stands for a process that ends without a word."""


def interrupt_at(step, monkeypatch):
  """Ctrl-C while this step is computed."""
  place, seen = training.shard_batch, []

  def shard_batch(mesh, batch, axis=0):
    if axis:  # not in a fit
      seen.extend(range(len(batch["weight"])))
      if len(seen) == step:
        signal.raise_signal(signal.SIGINT)
    return place(mesh, batch, axis)

  monkeypatch.setattr(training, "shard_batch", shard_batch)


def kill_after_save(step, monkeypatch):
  save = Checkpoints.save

  def save_and_die(self, state, position):
    save(self, state, position)
    if int(state.step) == step:
      raise Killed

  monkeypatch.setattr(Checkpoints, "save", save_and_die)


def killing_fit(number):
  """The toy, whose fit after this phase does not end."""

  def fit(state, batches):
    next(iter(batches))
    raise Killed

  detector = toy()
  phases = list(detector.phases)
  phases[number] = phases[number]._replace(fit=fit)
  return detector._replace(phases=tuple(phases))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """The state and the metrics of a run that never stopped, by dispatch."""
  found = {}
  for k in (1, 2):
    workdir = tmp_path_factory.mktemp("whole")
    state = run(workdir, on_epoch=report_epoch, steps_per_dispatch=k)
    found[k] = state, rows_of(workdir)
  return found


def assert_resumed(workdir, whole, k=1):
  state = run(workdir, on_epoch=report_epoch, steps_per_dispatch=k)
  want, rows = whole[k]
  assert_same(state, want)
  # Every row once, with the same figures.
  assert rows_of(workdir) == rows
  saved, position = latest(workdir)
  assert_same(saved, want)
  assert position["epoch"] == EPOCHS and position["batch"] == 0


def test_a_whole_run(whole):
  state, rows = whole[1]
  assert int(state.step) == STEPS
  steps = [row["step"] for row in rows if "loss" in row]
  assert steps == list(range(1, STEPS + 1))
  assert [row["phase"] for row in rows if "loss" in row] == (
    ["first"] * BOUNDARY + ["second"] * (STEPS - BOUNDARY)
  )
  epochs = [(r["step"], r["epoch"], r["epochs"]) for r in rows if "seen" in r]
  assert epochs == [(PER_EPOCH * e, e, e) for e in range(1, EPOCHS + 1)]
  assert [r["epoch"] for r in rows if "loss" in r][:4] == [1, 1, 1, 2]
  # Both phases have trained, and both fits have run, over the real rows.
  x = make_examples().x
  np.testing.assert_allclose(state.extras["mean"], x.mean(0), rtol=1e-5)
  energy = ((x @ state.params["second"]) ** 2).mean()
  np.testing.assert_allclose(state.extras["energy"], energy, rtol=1e-5)
  for phase in ("first", "second"):
    losses = [r["loss"] for r in rows if r.get("phase") == phase]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
  ("step", "saved"),
  [(5, 5), (9, 9), (BOUNDARY, BOUNDARY), (14, 14), (STEPS, STEPS)],
)
def test_resume_after_ctrl_c(tmp_path, monkeypatch, whole, step, saved):
  before = signal.getsignal(signal.SIGINT)
  with monkeypatch.context() as patch:
    interrupt_at(step, patch)
    with pytest.raises(training.Interrupted):
      run(tmp_path, on_epoch=report_epoch)
  assert signal.getsignal(signal.SIGINT) is before
  state, position = latest(tmp_path)
  assert int(state.step) == saved
  assert (position["epoch"], position["batch"]) == divmod(saved, PER_EPOCH)
  assert position["train_seconds"] > 0
  assert max(row["step"] for row in rows_of(tmp_path)) == saved
  assert_resumed(tmp_path, whole)


def test_resume_with_steps_in_one_dispatch(tmp_path, monkeypatch, whole):
  with monkeypatch.context() as patch:
    interrupt_at(5, patch)
    with pytest.raises(training.Interrupted):
      run(tmp_path, on_epoch=report_epoch, steps_per_dispatch=2)
  assert_resumed(tmp_path, whole, k=2)


@pytest.mark.parametrize(("epoch", "saved"), [(3, 8), (5, 12)])
def test_resume_after_a_kill_between_checkpoints(tmp_path, whole, epoch, saved):
  def on_epoch(state, now):
    if now == epoch:
      raise Killed
    return report_epoch(state, now)

  with pytest.raises(Killed):
    run(tmp_path, on_epoch=on_epoch)
  assert int(latest(tmp_path)[0].step) == saved
  # What follows the checkpoint will be written again.
  assert max(row["step"] for row in rows_of(tmp_path)) > saved
  # A line that was cut off.
  with (tmp_path / "metrics.jsonl").open("a") as file:
    file.write('{"step": 9, "lo')
  assert_resumed(tmp_path, whole)


@pytest.mark.parametrize("step", [8, BOUNDARY, STEPS])
def test_resume_after_a_kill_at_a_checkpoint(
  tmp_path, monkeypatch, whole, step
):
  with monkeypatch.context() as patch:
    kill_after_save(step, patch)
    with pytest.raises(Killed):
      run(tmp_path, on_epoch=report_epoch)
  assert_resumed(tmp_path, whole)


@pytest.mark.parametrize(("number", "saved"), [(0, 8), (1, 16)])
def test_resume_after_a_kill_in_a_fit(tmp_path, whole, number, saved):
  with pytest.raises(Killed):
    run(tmp_path, killing_fit(number), on_epoch=report_epoch)
  assert int(latest(tmp_path)[0].step) == saved
  assert_resumed(tmp_path, whole)


def test_a_second_ctrl_c_stops_at_once(tmp_path):
  def on_epoch(state, epoch):
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)

  before = signal.getsignal(signal.SIGINT)
  with pytest.raises(KeyboardInterrupt):
    run(tmp_path, on_epoch=on_epoch)
  assert signal.getsignal(signal.SIGINT) is before


def test_training_outside_the_main_thread(tmp_path, whole):
  states = []
  work = lambda: states.append(run(tmp_path, on_epoch=report_epoch))
  thread = threading.Thread(target=work)
  thread.start()
  thread.join()
  assert_same(states[0], whole[1][0])


def test_another_seed_is_another_run(tmp_path, whole):
  config = train_config()
  config.seed = 1
  detector, examples = toy(), make_examples()
  checkpoints = Checkpoints(tmp_path / "checkpoints")
  state, _ = training.train(
    detector,
    new_state(detector, examples),
    examples,
    config=config,
    mesh=training.data_mesh(),
    workdir=tmp_path,
    checkpoints=checkpoints,
  )
  checkpoints.close()
  # The same initial state and key, the batches in another order.
  gap = state.params["first"] - whole[1][0].params["first"]
  assert np.abs(gap).max() > 1e-3


# Several updates in one dispatch.


def test_steps_per_dispatch_change_only_the_rounding(tmp_path, monkeypatch):
  examples = make_examples(30)  # eight batches an epoch
  compiled = []

  def keep(*args):
    compiled.append(compile_update(*args))
    return compiled[-1]

  monkeypatch.setattr(training, "compile_update", keep)
  states, rows = {}, {}
  for k in (1, 3):
    workdir = tmp_path / f"{k}"
    workdir.mkdir()
    epochs = []
    states[k] = run(
      workdir,
      examples=examples,
      on_epoch=lambda state, epoch, epochs=epochs: epochs.append(epoch),
      epochs=3,
      steps_per_dispatch=k,
    )
    assert epochs == [1, 2, 3]
    rows[k] = rows_of(workdir)
  # Two phases each; one shape for a whole stack, one for a single batch.
  assert [update._cache_size() for update in compiled] == [1, 1, 2, 2]
  bits = lambda s: s.replace(key=jax.random.key_data(s.key))
  # XLA may fuse the body of a loop in another way.
  chex.assert_trees_all_close(
    bits(states[3]), bits(states[1]), rtol=1e-5, atol=1e-6
  )
  # A row is the mean over the steps since the row before.
  single = {row["step"]: row["loss"] for row in rows[1]}
  start = 0
  for row in rows[3]:
    want = np.mean([single[s] for s in range(start + 1, row["step"] + 1)])
    assert row["loss"] == pytest.approx(want, rel=1e-5)
    start = row["step"]
  assert start == 24 and len(rows[3]) < len(rows[1])


def test_dispatches_are_those_of_a_run_that_never_stopped():
  examples = make_examples(30)
  plan = training.Plan(
    steps=24, steps_per_epoch=8, boundaries=(13, 24), steps_per_dispatch=3
  )
  take = lambda start, stop: [
    (n, batch["x"])
    for n, batch in training.dispatches(
      examples, plan, train_config().train, 0, start, stop
    )
  ]
  first = take(0, 13)
  # Eight steps an epoch, and the phase ends after five of the second.
  assert [n for n, _ in first] == [3, 3, 1, 1, 3, 1, 1]
  for position in (0, 3, 6, 7, 8, 11, 12):
    again = take(position, 13)
    k = len(first) - len(again)
    assert sum(n for n, _ in first[:k]) == position
    chex.assert_trees_all_equal(again, first[k:])
  # All rows once an epoch, in the order of `batches`.
  x = np.concatenate([x.reshape(-1, BATCH, DIM) for _, x in first[:4]])
  want = [b["x"] for b in batches(examples, BATCH, seed=0, epoch=0)]
  np.testing.assert_array_equal(x, np.stack(want))
  rest = take(13, 24)
  assert [n for n, _ in rest] == [1, 1, 1, 3, 3, 1, 1]
  # A stack that no epoch fills.
  plan = dataclasses.replace(plan, steps_per_dispatch=9)
  assert [n for n, _ in take(0, 13)] == [1] * 13


# What a step sees.


def test_padding_is_not_trained_on(tmp_path):
  detector, examples = toy(noise=0.0), make_examples()
  detector = detector._replace(phases=detector.phases[:1])
  state = run(tmp_path, detector, examples, epochs=2)
  w, velocity = np.zeros(DIM), np.zeros(DIM)
  losses = []
  for epoch in range(2):
    order = np.random.default_rng((0, epoch)).permutation(N)
    for k in range(0, N, BATCH):
      x = examples.x[order[k : k + BATCH]].astype(np.float64)
      error = x @ w - x.sum(1) - 1
      losses.append((error**2).mean())
      velocity = DECAY * velocity + 2 * (error @ x) / len(x)
      w -= RATE * velocity
  np.testing.assert_allclose(state.params["first"], w, rtol=1e-5)
  got = [row["loss"] for row in rows_of(tmp_path)]
  np.testing.assert_allclose(got, losses, rtol=1e-5)


def test_drop_remainder(tmp_path):
  run(tmp_path, epochs=2, drop_remainder=True)
  assert rows_of(tmp_path)[-1]["step"] == 4


def test_steps_take_the_place_of_epochs(tmp_path):
  state = run(tmp_path, steps=4)
  assert int(state.step) == 4


def test_progress_is_shown(tmp_path, capsys):
  run(tmp_path, steps=4, log_every=2)
  out, err = capsys.readouterr()
  assert out == ""
  assert "4/4" in err and "loss" in err and "images/s" in err


# A loss that is not finite.


@pytest.mark.parametrize(
  ("nan_at", "log_every", "saved"),
  # The step of a checkpoint, and the one after it, logged at once and late.
  [(8, 100, 4), (9, 1, 8), (9, 100, 8)],
)
def test_divergence_keeps_the_last_good_checkpoint(
  tmp_path, nan_at, log_every, saved
):
  detector = toy(nan_at=nan_at)
  with pytest.raises(InputError, match="diverged.*learning rate") as caught:
    run(tmp_path, detector, log_every=log_every)
  assert "\n" not in str(caught.value)
  state, _ = latest(tmp_path)
  assert int(state.step) == saved
  chex.assert_tree_all_finite(state.params)
  rows = rows_of(tmp_path)
  assert saved <= rows[-1]["step"] < nan_at
  assert all(np.isfinite(row["loss"]) for row in rows)


def test_a_state_that_overflowed_is_not_saved(tmp_path):
  first, second = toy().phases

  def step(state, batch, draws):
    # The loss is that before the update, and finite.
    state, metrics = first.step(state, batch, draws)
    bad = jnp.where(state.step == 8, jnp.inf, 1)
    return state.replace(
      params=jax.tree.map(lambda w: w * bad, state.params)
    ), (metrics | {"norm": 0 * metrics["loss"]})

  detector = toy()._replace(phases=(first._replace(step=step), second))
  with pytest.raises(InputError, match="diverged.*not finite at step 8"):
    run(tmp_path, detector)
  state, _ = latest(tmp_path)
  assert int(state.step) == 4


# The plan.


def plan_of(n=N, **fields):
  return training.make_plan(toy(), n, train_config(**fields).train)


def test_plan():
  k = 1 if jax.default_backend() == "cpu" else 16
  assert plan_of() == training.Plan(STEPS, PER_EPOCH, (BOUNDARY, STEPS), k)
  assert plan_of(steps=9).boundaries == (5, 9)
  assert plan_of(drop_remainder=True).steps == 12
  assert plan_of(steps_per_dispatch=7).steps_per_dispatch == 7


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    (dict(batch_size=0), "batch_size=0"),
    (dict(log_every=0), "log_every=0"),
    (dict(epochs=0), "nothing to train.*epochs=0"),
    (dict(steps=-1), "nothing to train.*steps=-1"),
    (dict(steps=1), "none for the phase 'second'"),
    (dict(batch_size=11, drop_remainder=True), "11.*10 training examples"),
  ],
)
def test_plan_errors(fields, message):
  with pytest.raises(InputError, match=message) as caught:
    plan_of(**fields)
  assert "\n" not in str(caught.value)


def test_batch_size_must_be_a_multiple_of_the_devices(monkeypatch):
  monkeypatch.setattr(jax, "device_count", lambda: 3)
  assert plan_of(batch_size=6).steps_per_epoch == 2
  with pytest.raises(InputError, match="batch_size=4.*the 3 devices"):
    plan_of()


# Devices.


def train_and_score(workdir):
  """What the test below compares; for this process and another."""
  state = run(workdir)
  examples = make_examples()
  mesh = training.data_mesh()
  scores = evaluation.score_split(
    toy(), state, examples, 3, jax.random.key(0), mesh
  )
  return {
    "devices": np.int32(jax.device_count()),
    "losses": np.array([row["loss"] for row in rows_of(workdir)]),
    "first": np.asarray(state.params["first"]),
    "second": np.asarray(state.params["second"]),
    "mean": np.asarray(state.extras["mean"]),
    "energy": np.asarray(state.extras["energy"]),
    "scores": scores.image,
  }


def test_four_devices_train_as_one_does(tmp_path):
  folders = [pathlib.Path(__file__).parent, pathlib.Path(jaxad.__path__[0])]
  code = """if True:
    import pathlib, sys
    import numpy as np
    import pytest
    import test_training
    from jaxad.errors import InputError
    workdir = pathlib.Path(sys.argv[1])
    np.savez(workdir / "found", **test_training.train_and_score(workdir))
    with pytest.raises(InputError, match="batch_size=6.*the 4 devices"):
      test_training.run(workdir, batch_size=6)
  """
  four, one = tmp_path / "four", tmp_path / "one"
  four.mkdir()
  one.mkdir()
  process = subprocess.Popen(
    [sys.executable, "-c", code, four],
    env=os.environ
    | {
      "PYTHONPATH": os.pathsep.join([str(folders[0]), str(folders[1].parent)]),
      "JAX_PLATFORMS": "cpu",
      "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
    },
    stderr=subprocess.PIPE,
    text=True,
  )
  want = train_and_score(one)
  _, errors = process.communicate(timeout=300)
  assert process.returncode == 0, errors
  with np.load(four / "found.npz") as found:
    got = dict(found)
  assert got.pop("devices") == 4 and want.pop("devices") == 1
  assert want["scores"].shape == (N,)
  chex.assert_trees_all_close(got, want, rtol=1e-5, atol=1e-5)


# Checkpoints.


def state_at(step):
  state = new_state(toy(), make_examples())
  return state.replace(
    step=jnp.int32(step), params=jax.tree.map(lambda w: w + step, state.params)
  )


@pytest.fixture
def checkpoints(tmp_path):
  checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
  yield checkpoints
  checkpoints.close()


def test_checkpoints_keep_the_newest(checkpoints, tmp_path):
  folder = tmp_path / "checkpoints"
  assert checkpoints.latest_step() is None and not folder.exists()
  for step in (3, 6, 9):
    checkpoints.save(state_at(step), {"epoch": step, "train_seconds": 0.5})
    assert (folder / f"{step}").is_dir()  # it has waited
    assert checkpoints.latest_step() == step
  assert sorted(path.name for path in folder.iterdir()) == ["6", "9"]
  for step in (None, 9, 6):
    state, position = checkpoints.restore(state_at(0), step)
    assert_same(state, state_at(step or 9))
    assert position == {"epoch": step or 9, "train_seconds": 0.5}


def test_a_step_is_saved_once(checkpoints):
  checkpoints.save(state_at(3), {"epoch": 1})
  checkpoints.save(state_at(3), {"epoch": 2})
  assert checkpoints.restore(state_at(0))[1] == {"epoch": 1}


def test_relative_folders_stay_where_they_were(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  relative = Checkpoints("here")
  (tmp_path / "elsewhere").mkdir()
  monkeypatch.chdir(tmp_path / "elsewhere")
  relative.save(state_at(3), {})
  relative.close()
  assert (tmp_path / "here" / "3").is_dir()


@pytest.mark.parametrize(
  ("error", "message"),
  [
    (OSError(errno.ENOSPC, "x"), "disk is full.*--resume"),
    (ValueError("RESOURCE_EXHAUSTED: No space left on device"), "disk is full"),
    (PermissionError(errno.EACCES, "x"), "permission denied.*--workdir"),
  ],
)
@pytest.mark.parametrize("where", ["save", "wait_until_finished"])
def test_a_full_disk_is_one_line(
  checkpoints, tmp_path, monkeypatch, error, message, where
):
  checkpoints.save(state_at(3), {"epoch": 1})

  def fail(*args, **keywords):
    raise error

  with monkeypatch.context() as patch:
    patch.setattr(ocp.CheckpointManager, where, fail)
    with pytest.raises(InputError, match=message) as caught:
      checkpoints.save(state_at(6), {"epoch": 2})
  assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
  if where == "save":
    assert checkpoints.latest_step() == 3
    state, position = checkpoints.restore(state_at(0))
    assert_same(state, state_at(3))
    assert position == {"epoch": 1}
    # With space again it goes on.
    checkpoints.save(state_at(6), {"epoch": 2})
    assert checkpoints.latest_step() == 6


def test_other_errors_stay_what_they_are(checkpoints, monkeypatch):
  def fail(*args, **keywords):
    raise ValueError("a mistake in the program")

  monkeypatch.setattr(ocp.CheckpointManager, "save", fail)
  with pytest.raises(ValueError, match="a mistake") as caught:
    checkpoints.save(state_at(3), {})
  assert not isinstance(caught.value, InputError)


def test_an_unfinished_checkpoint_does_not_count(checkpoints, tmp_path):
  checkpoints.save(state_at(3), {"epoch": 1})
  checkpoints.close()
  # What a kill leaves behind: orbax renames the folder when all is written.
  folder = tmp_path / "checkpoints"
  shutil.copytree(folder / "3", folder / "6.orbax-checkpoint-tmp")
  assert checkpoints.latest_step() == 3
  assert_same(checkpoints.restore(state_at(0))[0], state_at(3))
  checkpoints.save(state_at(6), {"epoch": 2})
  assert checkpoints.latest_step() == 6
  assert_same(checkpoints.restore(state_at(0))[0], state_at(6))
