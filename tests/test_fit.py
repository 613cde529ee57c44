# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The loop, its plan and its callbacks, on a toy of two phases."""

import contextlib
import errno
import functools
import importlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
from fractions import Fraction

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxad
from jaxad import callbacks, distributed
from jaxad.checkpoints import Checkpoints
from jaxad.data.examples import Examples
from jaxad.detector import Detector, Phase, Plan, Scores, State, Stream
from jaxad.errors import InputError
from jaxad.evaluation import epochs
from jaxad.evaluation.scoring import Scorer
from jaxad.event_files import EventFiles
from jaxad.feed import as_dataset
from jaxad.seeding import generator

# The name of the package's attribute is that of the function.
loop = importlib.import_module("jaxad.loop")

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

  def init(key, batch, plan=None):
    # One array for all of them: the loop donates buffers of its own.
    zeros = jnp.zeros(batch["x"].shape[-1], jnp.float32)
    both = {"first": zeros, "second": zeros}
    return State.new(
      key,
      both,
      {},
      both,
      plan,
      mean=zeros,
      energy=jnp.zeros((), jnp.float32),
    )

  def draw(key, batch):
    return noise * jax.random.normal(key, batch["x"].shape[:1])

  def step_of(name):
    def step(state, batch, draws):
      x = batch["x"] - state.extras["mean"]

      def loss_fn(w):
        error = x @ w - x.sum(-1) - 1 + draws
        weight = batch.get("weight", jnp.ones(len(x)))
        return weighted_mean(error**2, weight)

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
  score = lambda state, x, keys: Scores((x @ state.params["second"]) ** 2)
  return Detector(init, (first, second), score)


compile_update = loop.compile_update


@pytest.fixture(scope="module", autouse=True)
def compiled_once():
  """Runs of the same phase share what they compile."""
  found = {}

  def cached(phase, feed, indices, shardings):
    assert shardings is None  # the state of these runs is whole
    key = phase.step, phase.draw, feed.mesh, feed.on_device, indices.padded
    if key not in found:
      found[key] = compile_update(phase, feed, indices)
    return found[key]

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(loop, "compile_update", cached)
    yield


def plan_of(detector=None, examples=None, **fields):
  fields = dict(epochs=EPOCHS, batch_size=BATCH) | fields
  return jaxad.make_plan(
    detector or toy(), examples or make_examples(), **fields
  )


def new_state(detector, examples, plan=None):
  return detector.init(jax.random.key(1), {"x": examples.x[:1]}, plan)


class Epochs(callbacks.EveryEpochs):
  """Calls `on_epoch(state, epoch)`; writes what it returns into the log."""

  def __init__(self, plan, on_epoch, log):
    def call(moment):
      line = on_epoch(moment.state, moment.epoch)
      if line:
        log.write({"step": moment.step, "epoch": moment.epoch} | line)

    super().__init__(plan, 1, call)


def run(
  workdir,
  detector=None,
  examples=None,
  on_epoch=None,
  log_every=1,
  on_device=None,
  beside=(),
  events=None,
  **fields,
):
  """Starts or resumes the run of a folder; returns its state."""
  detector = detector or toy()
  examples = examples or make_examples()
  plan = plan_of(detector, examples, **fields)
  checkpoints = Checkpoints(workdir / "checkpoints")
  state = new_state(detector, examples, plan)
  if checkpoints.latest_step() is not None:
    state, _ = checkpoints.restore(state)
  log = callbacks.Log(workdir / "metrics.jsonl", log_every, events)
  saving = callbacks.Saving(checkpoints, 4)
  epochs = [Epochs(plan, on_epoch, log)] if on_epoch else []
  try:
    state = jaxad.fit(
      detector,
      state,
      examples,
      plan,
      [log, *epochs, *beside, saving],
      on_device=on_device,
    )
  finally:
    checkpoints.close()
  assert saving.seconds > 0
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
  bits = lambda s: s.replace(key=jax.random.key_data(s.key), plan=None)
  chex.assert_trees_all_equal(bits(a), bits(b))
  chex.assert_trees_all_equal_shapes_and_dtypes(bits(a), bits(b))


def report_epoch(state, epoch):
  return {"seen": float(state.params["first"].sum()), "epochs": epoch}


# Resuming.


class Killed(Exception):
  """Stands for a process that ends without a word."""


def interrupt_at(step, number=signal.SIGINT):
  """Ctrl-C while this step is computed."""

  class Interrupt(callbacks.Callback):
    def after(self, moment):
      if moment.step == step:
        signal.raise_signal(number)

  return [Interrupt()]


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
  saved, _ = latest(workdir)
  assert_same(saved, want)


def test_a_whole_run(whole):
  state, rows = whole[1]
  assert int(state.step) == STEPS
  steps = [row["step"] for row in rows if "loss" in row]
  assert steps == list(range(1, STEPS + 1))
  assert [row["phase"] for row in rows if "loss" in row] == (
    ["first"] * BOUNDARY + ["second"] * (STEPS - BOUNDARY)
  )
  epochs = [(r["step"], r["epoch"], r["epochs"]) for r in rows if "seen" in r]
  # The second phase begins an epoch of its own.
  want = [(3, 1), (6, 2), (9, 3), (13, 5), (16, 6)]
  assert epochs == [(step, e, e) for step, e in want]
  assert [r["epoch"] for r in rows if "loss" in r][:4] == [1, 1, 1, 2]
  # Both phases have trained, and both fits have run, over the real rows.
  x = make_examples().x
  np.testing.assert_allclose(state.extras["mean"], x.mean(0), rtol=1e-5)
  energy = ((x @ state.params["second"]) ** 2).mean()
  np.testing.assert_allclose(state.extras["energy"], energy, rtol=1e-5)
  for phase in ("first", "second"):
    losses = [r["loss"] for r in rows if r.get("phase") == phase]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [5, 9, BOUNDARY, 14, STEPS])
def test_resume_after_a_signal(tmp_path, whole, step, number):
  before = signal.getsignal(number)
  with pytest.raises(callbacks.Interrupted):
    run(tmp_path, on_epoch=report_epoch, beside=interrupt_at(step, number))
  assert signal.getsignal(number) is before
  state, position = latest(tmp_path)
  assert int(state.step) == step
  assert position["train_seconds"] > 0
  assert max(row["step"] for row in rows_of(tmp_path)) == step
  assert_resumed(tmp_path, whole)


def test_resume_with_steps_in_one_dispatch(tmp_path, whole):
  with pytest.raises(callbacks.Interrupted):
    run(
      tmp_path,
      on_epoch=report_epoch,
      steps_per_dispatch=2,
      beside=interrupt_at(6),
    )
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


def scalars(folder):
  """{tag: {step: value}} of a folder of event files; none is there twice."""
  reader = pytest.importorskip(
    "tensorboard.compat.tensorflow_stub.pywrap_tensorflow"
  )
  from tensorboard.compat.proto.event_pb2 import Event

  found = {}
  for file in sorted(folder.iterdir()):
    records = reader.PyRecordReader_New(f"{file}")
    with contextlib.suppress(reader.errors.OutOfRangeError):  # the end
      while True:
        records.GetNext()
        event = Event.FromString(records.record())
        for value in event.summary.value:
          steps = found.setdefault(value.tag, {})
          assert event.step not in steps
          steps[event.step] = value.simple_value
  return found


def test_event_files_hold_the_log_after_a_kill_and_its_resumption(tmp_path):
  pytest.importorskip("tensorboard")

  def on_epoch(state, now):
    if now == 5 and not resumed:
      raise Killed
    return report_epoch(state, now)

  folder, resumed = tmp_path / "tensorboard", False
  with pytest.raises(Killed):
    run(tmp_path, on_epoch=on_epoch, events=EventFiles(folder))
  (first,) = folder.iterdir()
  with first.open("ab") as file:  # a record that was cut off
    file.write(first.read_bytes()[:20])
  resumed = True
  run(tmp_path, on_epoch=on_epoch, events=EventFiles(folder))
  want = {}
  for row in rows_of(tmp_path):
    group = f"{row['phase']}/" if "phase" in row else ""
    for name in row.keys() - {"step", "phase"}:
      value = pytest.approx(row[name], rel=1e-6)
      want.setdefault(f"{group}{name}", {})[row["step"]] = value
  found = scalars(folder)
  for phase in ("first", "second"):
    assert len(found.pop(f"{phase}/images_per_s")) > 5
  assert found == want
  assert len(list(folder.iterdir())) == 2


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


@pytest.mark.parametrize("step", [0, STEPS])
def test_ctrl_c_in_a_fit_that_others_follow(tmp_path, step):
  """What the fits so far have found is saved, and no fit runs twice."""
  first, second = toy().phases
  fits = [Phase(name, fit=first.fit) for name in ("one", "two")]
  trained = [first._replace(fit=None), second._replace(fit=None)]
  phases = (*trained, *fits) if step else (*fits, *trained)

  class Interrupt(callbacks.Callback):
    def end_phase(self, moment):
      if moment.phase.name == "one":
        signal.raise_signal(signal.SIGINT)

  detector = toy()._replace(phases=phases)
  with pytest.raises(callbacks.Interrupted):
    run(tmp_path, detector, beside=[Interrupt()])
  state, _ = latest(tmp_path, detector)
  assert int(state.step) == step
  assert int(state.phase) == phases.index(fits[0]) + 1
  (tmp_path / "whole").mkdir()
  assert_same(run(tmp_path, detector), run(tmp_path / "whole", detector))


def test_training_outside_the_main_thread(tmp_path, whole):
  states = []
  work = lambda: states.append(run(tmp_path, on_epoch=report_epoch))
  thread = threading.Thread(target=work)
  thread.start()
  thread.join()
  assert_same(states[0], whole[1][0])


def test_another_seed_is_another_run(tmp_path, whole):
  state = run(tmp_path, seed=1)
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

  monkeypatch.setattr(loop, "compile_update", keep)
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
    # The second phase begins an epoch of its own.
    assert epochs == [1, 3]
    rows[k] = rows_of(workdir)
  # Two phases each; one shape for a whole stack, one for a single batch.
  assert [update._cache_size() for update in compiled] == [1, 1, 2, 2]
  bits = lambda s: s.replace(key=jax.random.key_data(s.key), plan=None)
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


class Dispatches(callbacks.Callback):
  """Counts dispatches, and how many are under way when metrics arrive."""

  def __init__(self):
    self.steps, self.late = [], []

  def after(self, moment):
    self.steps.append(moment.step)

  def metrics(self, moment, step, values):
    self.late.append(moment.step - step)


def test_stacks_cross_epoch_ends(tmp_path):
  """Three batches an epoch, sixteen steps a dispatch: six dispatches."""
  detector = toy()
  detector = detector._replace(phases=(detector.phases[0],))
  counted = Dispatches()
  plan = plan_of(detector, epochs=32, steps_per_dispatch=16)
  state = new_state(detector, make_examples(), plan)
  jaxad.fit(detector, state, make_examples(), plan, [counted])
  assert counted.steps == [16 * k for k in range(1, 7)]
  # Each dispatch's metrics come when the next one is on its way.
  assert counted.late == [16] * 5 + [0]


def test_a_dispatch_sends_row_numbers_and_fetches_metrics_alone(monkeypatch):
  """In the steady state: one way in and one way out, nothing implicit."""
  sent, fetched = [], []
  put, get = distributed.put, jax.device_get

  def counting_put(sharding, value):
    sent.append(value)
    return put(sharding, value)

  def counting_get(tree):
    fetched.append(tree)
    return get(tree)

  class Guard(callbacks.Callback):
    """Forbids transfers that nobody asked for, after the first dispatch."""

    def after(self, moment):
      if moment.step == 4:
        jax.config.update("jax_transfer_guard", "disallow")
        sent.clear()
        fetched.clear()

  detector, examples = toy(), make_examples(8)
  detector = detector._replace(phases=(detector.phases[0]._replace(fit=None),))
  plan = plan_of(detector, examples, epochs=22, steps_per_dispatch=4)
  state = new_state(detector, examples, plan)
  monkeypatch.setattr(distributed, "put", counting_put)
  monkeypatch.setattr(jax, "device_get", counting_get)
  try:
    jaxad.fit(detector, state, examples, plan, [Guard()])
  finally:
    jax.config.update("jax_transfer_guard", "allow")
  # 44 steps, eleven dispatches; the second stack was sent before the guard.
  assert [value.shape for value in sent] == [(4, BATCH)] * 9
  assert all(value.dtype == np.int32 for value in sent)
  assert len(fetched) == 11


def test_dispatches_are_those_of_a_run_that_never_stopped():
  stops = callbacks.EveryEpochs(Plan(BATCH, (13,), (4,)), 2, lambda moment: 0)
  take = lambda step: list(loop._segments(0, step, 13, 3, [stops]))
  whole = take(0)
  # Stacks of three, but where every second epoch ends at step 8.
  assert whole == [(0, 3), (3, 6), (6, 7), (7, 8), (8, 9), (9, 12), (12, 13)]
  for first, _ in whole:
    assert take(first) == [s for s in whole if s[0] >= first]


@pytest.mark.whole
def test_data_on_the_host_train_to_the_same_bits(tmp_path, whole):
  """Larger than its share of the device's memory: tf.data gathers."""
  state = run(tmp_path, on_epoch=report_epoch, on_device=False)
  assert_same(state, whole[1][0])
  assert rows_of(tmp_path) == whole[1][1]


def test_no_data_at_all_is_left_on_the_device_if_it_does_not_fit(monkeypatch):
  from jaxad import feed

  monkeypatch.setattr(feed, "device_memory", lambda: 4 * N * DIM * 4)
  dataset = as_dataset(make_examples())
  assert not feed.Feed(dataset, distributed.data_mesh()).on_device
  monkeypatch.setattr(feed, "device_memory", lambda: 8 * N * DIM * 4)
  assert feed.Feed(dataset, distributed.data_mesh()).on_device


# An early end.


def test_no_line_of_the_log_is_over_two_phases(tmp_path):
  class Stop(callbacks.Callback):
    def after(self, moment):
      return moment.phase.name == "second" and moment.step == STEPS - 1

  for name, beside, last in (
    ("whole", [], STEPS),
    ("cut", [Stop()], STEPS - 1),
  ):
    (tmp_path / name).mkdir()
    run(tmp_path / name, log_every=100, beside=beside)
    lines = [(r["step"], r["phase"]) for r in rows_of(tmp_path / name)]
    assert lines == [(BOUNDARY, "first"), (last, "second")]


def test_a_callback_ends_a_phase(tmp_path, whole):
  class Stop(callbacks.Callback):
    def after(self, moment):
      return moment.phase.name == "first" and moment.step == 4

  state = run(tmp_path, beside=[Stop()])
  rows = [row["step"] for row in rows_of(tmp_path)]
  assert rows == [1, 2, 3, 4, *range(BOUNDARY + 1, STEPS + 1)]
  assert int(state.step) == STEPS and int(state.phase) == 2
  # The fit at the end of the phase has run all the same.
  want = make_examples().x.mean(0)
  np.testing.assert_allclose(state.extras["mean"], want, rtol=1e-5)


def test_an_interrupt_does_not_undo_the_end_of_a_phase(tmp_path):
  """When it comes with the step that a callback ends the phase after."""

  class Stop(callbacks.Callback):
    def after(self, moment):
      return moment.step == 4

  for name in ("whole", "cut"):
    (tmp_path / name).mkdir()
  want = run(tmp_path / "whole", beside=[Stop()])
  with pytest.raises(callbacks.Interrupted):
    run(tmp_path / "cut", beside=[Stop(), *interrupt_at(4)])
  assert int(latest(tmp_path / "cut")[0].phase) == 1
  assert_same(run(tmp_path / "cut", beside=[Stop()]), want)
  assert rows_of(tmp_path / "cut") == rows_of(tmp_path / "whole")


def test_lines_are_dropped_whole_or_not_at_all(tmp_path, monkeypatch):
  path = tmp_path / "metrics.jsonl"
  path.write_text('{"step": 1}\n{"step": 2}\n')

  def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")

  with monkeypatch.context() as patch:
    patch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
      callbacks.Log(path, 1).start(loop.Moment(None, None, None, 1, 0, 0))
  assert path.read_text() == '{"step": 1}\n{"step": 2}\n'
  callbacks.Log(path, 1).start(loop.Moment(None, None, None, 1, 0, 0))
  assert path.read_text() == '{"step": 1}\n'


def stopping_from(step):
  """The toy, whose first phase stops at the end of an epoch from there on."""
  detector = toy()
  first, second = detector.phases
  first = first._replace(stop=lambda state: state.step >= step)
  return detector._replace(phases=(first, second))


@pytest.mark.parametrize("k", [1, 4])
def test_a_phase_ends_by_its_own_rule(tmp_path, k):
  detector = stopping_from(4)
  state = run(tmp_path, detector, steps_per_dispatch=k)
  # At the end of the epoch, of three steps, within which the rule holds.
  steps = [row["step"] for row in rows_of(tmp_path)]
  first, second = range(1, 7), range(BOUNDARY + 1, STEPS + 1)
  assert [step for step in steps if step <= BOUNDARY][-1] == first[-1]
  if k == 1:
    assert steps == [*first, *second]
  assert int(state.step) == STEPS and int(state.phase) == 2


def test_a_resumed_phase_ends_where_it_would_have(tmp_path):
  detector = stopping_from(4)
  (tmp_path / "whole").mkdir()
  (tmp_path / "cut").mkdir()
  want = run(tmp_path / "whole", detector)
  for step in (5, 6):  # within the epoch, and when the rule is to be asked
    with pytest.raises(callbacks.Interrupted):
      run(tmp_path / "cut", detector, beside=interrupt_at(step))
  assert_same(run(tmp_path / "cut", detector), want)
  assert rows_of(tmp_path / "cut") == rows_of(tmp_path / "whole")


def test_early_stop_waits_for_its_patience():
  values = iter([3.0, 2.0, 2.5, 1.0, 1.5, 1.0])
  call = callbacks.early_stop(lambda state: next(values), patience=2)
  moment = loop.Moment(None, None, None, 0, 0, 0)
  assert [call(moment) for _ in range(6)] == [False] * 5 + [True]


def test_patience_goes_on_where_its_log_ends(tmp_path):
  values = iter([[9.0], [3.0], [2.0], [2.5], [1.0, 1.0], [1.5], [1.0]])
  plan = Plan(4, (3, 99), (1, 1))

  def call(step):
    log = callbacks.Log(tmp_path / "metrics.jsonl", 1)  # of a continued run
    patience = epochs.Patience(lambda state: next(values), 2, log)
    return patience(loop.Moment(None, plan, None, step, int(step > 3), step))

  # What another phase scored does not count, nor an equal mean as lower.
  assert [bool(call(step)) for step in range(3, 10)] == [False] * 6 + [True]


def test_a_phase_may_be_a_fit_alone(tmp_path):
  fitted = toy().phases[0]
  before = Phase("scale", fit=fitted.fit)
  after = Phase("energy", fit=toy().phases[1].fit)
  detector = toy()._replace(phases=(before, fitted._replace(fit=None), after))
  state = run(tmp_path, detector, epochs=2)
  x = make_examples().x
  np.testing.assert_allclose(state.extras["mean"], x.mean(0), rtol=1e-5)
  assert int(state.phase) == 3 and int(state.step) == 2 * PER_EPOCH
  # The last checkpoint has the last fit.
  assert_same(latest(tmp_path, detector)[0], state)


def test_a_fit_sees_normal_rows_alone_unless_it_asks(tmp_path):
  x = make_examples().x
  label = np.int32([0, 1] * (N // 2))
  examples = make_examples()
  examples = Examples(x, label, examples.id, examples.kind, None)
  for rows, want in (("normal", x[::2]), ("all", x)):
    phase = Phase("scale", fit=toy().phases[0].fit, fit_rows=rows)
    detector = toy()._replace(phases=(phase,))
    plan = plan_of(detector, examples)
    state = new_state(detector, examples, plan)
    state = jaxad.fit(detector, state, examples, plan)
    np.testing.assert_allclose(state.extras["mean"], want.mean(0), rtol=1e-5)


# What a step sees.


def test_padding_is_not_trained_on(tmp_path):
  detector, examples = toy(noise=0.0), make_examples()
  detector = detector._replace(phases=detector.phases[:1])
  state = run(tmp_path, detector, examples, epochs=2)
  w, velocity = np.zeros(DIM), np.zeros(DIM)
  losses = []
  for epoch in range(2):
    order = generator("first/0", 0, epoch).permutation(N)
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
  run(tmp_path, steps=4, beside=[callbacks.ProgressBar()])
  out, err = capsys.readouterr()
  assert out == ""
  assert "4/4" in err and "loss" in err and "step/s" in err


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
  with pytest.raises(loop.Diverged, match="diverged.*rate") as caught:
    run(tmp_path, detector, log_every=log_every)
  assert "\n" not in str(caught.value)
  state, _ = latest(tmp_path)
  assert int(state.step) == saved
  chex.assert_tree_all_finite(state.params)
  assert f"step {nan_at}" in str(caught.value)
  if log_every == 1:
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


def test_plan():
  k = 1 if jax.default_backend() == "cpu" else 16
  per_epoch = (PER_EPOCH, PER_EPOCH)
  assert plan_of() == Plan(BATCH, (BOUNDARY, STEPS), per_epoch, False, 0, k)
  assert plan_of(steps=9).ends == (5, 9)
  assert plan_of(drop_remainder=True).steps == 12
  assert plan_of(steps_per_dispatch=7).steps_per_dispatch == 7
  first, second = toy().phases
  stated = toy()._replace(phases=(first._replace(steps=7), second))
  assert plan_of(stated).ends == (7, 7 + STEPS)
  alone = toy()._replace(phases=(Phase("fit", fit=first.fit), first, second))
  assert plan_of(alone).ends == (0, BOUNDARY, STEPS)


def test_epochs_of_a_plan():
  plan = plan_of()
  assert [plan.epoch(0, step) for step in (0, 2, 3, 9, 10)] == [0, 0, 1, 3, 3]
  # The phase's end ended an epoch, and the second phase begins another.
  assert [plan.epoch(1, step) for step in (10, 12, 13, 18)] == [4, 4, 5, 6]


def test_the_plan_reaches_the_state(tmp_path):
  assert run(tmp_path, steps=4).plan == plan_of(steps=4)


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    (dict(epochs=0), "epochs=0.*no step"),
    (dict(steps=1), "no step for the phase 'second'"),
    (dict(batch_size=11, drop_remainder=True), "11.*10 training examples"),
  ],
)
def test_plan_errors(fields, message):
  with pytest.raises(InputError, match=message) as caught:
    plan_of(**fields)
  assert "\n" not in str(caught.value) and caught.value.argument in fields


def test_batch_size_must_be_a_multiple_of_the_devices(monkeypatch):
  monkeypatch.setattr(jax, "device_count", lambda: 3)
  assert plan_of(batch_size=6).steps_per_epoch == (2, 2)
  fit_alone = toy()._replace(phases=(Phase("fit", fit=toy().phases[0].fit),))
  for detector in (toy(), fit_alone):
    with pytest.raises(InputError, match="batch_size=4.*the 3 devices"):
      plan_of(detector)


def test_a_plan_knows_that_a_fit_will_have_no_rows():
  phase = toy().phases[0]._replace(fit_rows="anomalous")
  with pytest.raises(InputError, match="no anomalous training images"):
    plan_of(toy()._replace(phases=(phase,)))


def test_every_stream_has_rows_and_its_share_of_the_devices(monkeypatch):
  half = Stream("normal", Fraction(1, 2), order="endless")
  other = half._replace(name="other")
  first = toy().phases[0]._replace(streams=(half, half, other))
  detector = toy()._replace(phases=(first,))
  assert plan_of(detector, batch_size=2).batch_size == 2
  with pytest.raises(InputError, match="batch_size=1: .*no room.*normal"):
    plan_of(detector, batch_size=1)
  monkeypatch.setattr(jax, "device_count", lambda: 2)
  assert plan_of(detector, batch_size=4).batch_size == 4
  with pytest.raises(InputError, match="batch_size=6: .*3 rows.*'other'"):
    plan_of(detector, batch_size=6)


# Devices.


def train_and_score(workdir):
  """What the test below compares; for this process and another."""
  state = run(workdir)
  scores = Scorer(toy(), 3, jax.random.key(0)).scores(state, make_examples())
  return {
    "devices": np.int32(jax.device_count()),
    "losses": np.array([row["loss"] for row in rows_of(workdir)]),
    "first": np.asarray(state.params["first"]),
    "second": np.asarray(state.params["second"]),
    "mean": np.asarray(state.extras["mean"]),
    "energy": np.asarray(state.extras["energy"]),
    "scores": scores.image,
  }


def stop_half_way(workdir):
  with pytest.raises(callbacks.Interrupted):
    run(workdir, beside=interrupt_at(9))


@pytest.mark.whole
def test_four_devices_train_as_one_does(tmp_path):
  """Also where a run is stopped on the one and resumed on the others."""
  folders = [pathlib.Path(__file__).parent, pathlib.Path(jaxad.__path__[0])]
  code = """if True:
    import pathlib, sys
    import numpy as np
    import pytest
    import test_fit
    from jaxad.errors import InputError
    workdir, stopped, to_resume = map(pathlib.Path, sys.argv[1:])
    np.savez(workdir / "found", **test_fit.train_and_score(workdir))
    np.savez(workdir / "resumed", **test_fit.train_and_score(to_resume))
    test_fit.stop_half_way(stopped)
    with pytest.raises(InputError, match="batch_size=6.*the 4 devices"):
      test_fit.run(workdir, batch_size=6)
  """
  names = ("one", "four", "stopped_on_four", "stopped_on_one")
  one, four, *stopped = every = [tmp_path / name for name in names]
  for folder in every:
    folder.mkdir()
  stop_half_way(stopped[1])
  process = subprocess.Popen(
    [sys.executable, "-c", code, four, *stopped],
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
  assert want.pop("devices") == 1 and want["scores"].shape == (N,)
  for name in ("found", "resumed"):
    with np.load(four / f"{name}.npz") as found:
      got = dict(found)
    assert got.pop("devices") == 4
    chex.assert_trees_all_close(got, want, rtol=1e-5, atol=1e-5)
  got = train_and_score(stopped[0])
  assert got.pop("devices") == 1
  chex.assert_trees_all_close(got, want, rtol=1e-5, atol=1e-5)
