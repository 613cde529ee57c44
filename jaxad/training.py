# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The training loop: compiled updates over a stream of batches.

One code path from one CPU to many hosts: the batch is sharded over a mesh axis
`data`, the state is replicated, and losses and batch statistics are those of
the global batch. Batch i of the run is a function of (seed, i) alone and the
state holds its own key, so a resumed run is bit-identical to one that never
stopped.
"""

import dataclasses
import functools
import itertools
import json
import math
import pathlib
import signal
import sys
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxad.checkpoints import Checkpoints
from jaxad.data.examples import Examples
from jaxad.data.pipeline import (
  balanced_batches,
  batches,
  number_of_batches,
)
from jaxad.detector import Balance, Detector, State
from jaxad.errors import InputError

# What reaches the update, as far as there is any; `index` is for the host.
BATCH_KEYS = ("x", "weight", "label", "reference", "outlier")
# Every device gets all of these.
SHARED_KEYS = ("reference",)


class Interrupted(Exception):
  """Ctrl-C; the checkpoint has been written."""


def data_mesh() -> jax.sharding.Mesh:
  """All devices along one axis, `data`."""
  # Explicit axes, the default of make_mesh, reject ordinary code.
  return jax.make_mesh(
    (jax.device_count(),), ("data",), axis_types=(AxisType.Auto,)
  )


def replicated(mesh) -> NamedSharding:
  return NamedSharding(mesh, PartitionSpec())


def shard_batch(mesh, batch: dict, axis: int = 0) -> dict:
  """Places host arrays on the mesh, `axis` divided over the devices.

  Args:
    mesh: from `data_mesh`.
    batch: this process's part of each array.
    axis: the batch axis: 0, or 1 for stacked batches.
  """
  divided = NamedSharding(mesh, PartitionSpec(*(None,) * axis, "data"))
  return {
    name: jax.make_array_from_process_local_data(
      replicated(mesh) if name in SHARED_KEYS else divided, value
    )
    for name, value in batch.items()
  }


@dataclasses.dataclass(frozen=True)
class Plan:
  """How long to train, and how batches follow each other.

  Attributes:
    steps: of the whole run, all phases.
    steps_per_epoch: batches in one pass over the data.
    boundaries: step at which each phase ends; the last is `steps`.
    steps_per_dispatch: updates in one call of the compiled function.
  """

  steps: int
  steps_per_epoch: int
  boundaries: tuple[int, ...]
  steps_per_dispatch: int


def make_plan(detector: Detector, n_examples: int, train) -> Plan:
  """Lays out a run from the fields of `config.train`.

  Raises:
    InputError: a length or batch size that makes no sense.
  """
  for name in ("batch_size", "log_every"):
    if train[name] < 1:
      raise InputError(f"config.train.{name}={train[name]}: must be positive.")
  if train.batch_size % jax.device_count():
    raise InputError(
      f"config.train.batch_size={train.batch_size} must be a multiple of "
      f"the {jax.device_count()} devices."
    )
  balance = detector.phases[0].balance
  if balance:
    if train.batch_size % balance.multiple:
      raise InputError(
        f"config.train.batch_size={train.batch_size}: this method groups the "
        f"rows of a batch; set it to a multiple of {balance.multiple}."
      )
    per_epoch = balance.steps_per_epoch
  else:
    per_epoch = number_of_batches(
      n_examples, train.batch_size, train.drop_remainder
    )
  if per_epoch == 0:
    raise InputError(
      f"config.train.batch_size={train.batch_size} with drop_remainder "
      f"leaves no batch of the {n_examples} training examples; lower it."
    )
  padded = not train.drop_remainder and n_examples % train.batch_size
  if padded and not balance:
    for phase in detector.phases:
      if phase.full_batches:
        raise InputError(
          f"config.train.drop_remainder=False: the phase {phase.name!r} "
          "normalises by the statistics of full batches; set it to True."
        )
  steps = train.steps if train.steps else train.epochs * per_epoch
  if steps < 1:
    raise InputError(
      f"nothing to train: config.train.epochs={train.epochs}, "
      f"config.train.steps={train.steps}."
    )
  shares = np.cumsum([phase.share for phase in detector.phases])
  boundaries = tuple(int(round(steps * s / shares[-1])) for s in shares)
  for phase, first, last in zip(
    detector.phases, (0, *boundaries), boundaries, strict=False
  ):
    if first == last:
      raise InputError(
        f"{steps} training steps leave none for the phase {phase.name!r}; "
        "raise config.train.epochs or config.train.steps."
      )
  on_cpu = jax.default_backend() == "cpu"
  # Convolutions inside an XLA:CPU loop lose their threaded kernels.
  per_dispatch = train.steps_per_dispatch or (1 if on_cpu else 16)
  return Plan(steps, per_epoch, boundaries, per_dispatch)


def compile_update(phase, mesh) -> Callable:
  """`(state, batches) -> (state, metrics)`, jit-compiled.

  The batches are stacked on a leading axis, metrics likewise; the state is
  donated.
  """

  @functools.partial(
    jax.jit,
    donate_argnames=("state",),
    out_shardings=(replicated(mesh), replicated(mesh)),
  )
  def update(state, stacked):
    if jax.tree.leaves(stacked)[0].shape[0] == 1:  # no loop around one step
      only = jax.tree.map(lambda v: v[0], stacked)
      state, metrics = phase.update(state, only)
      return state, jax.tree.map(lambda v: v[None], metrics)
    return jax.lax.scan(phase.update, state, stacked)

  return update


def dispatches(
  examples: Examples,
  plan: Plan,
  train,
  seed: int,
  start: int,
  stop: int,
  balance: Balance | None = None,
  outliers: Examples | None = None,
) -> Iterator[tuple[int, dict]]:
  """Yields (number of steps, stacked batches) from step start up to stop.

  Stacks end at epoch ends and at multiples of `steps_per_dispatch` in them, so
  they are the same whether or not a run was interrupted. What does not fill
  a stack goes one by one: another length would compile anew.
  """
  k = plan.steps_per_dispatch
  step = start
  while step < stop:
    epoch, first = divmod(step, plan.steps_per_epoch)
    where = dict(
      seed=seed,
      epoch=epoch,
      start=first,
      process_index=jax.process_index(),
      process_count=jax.process_count(),
    )
    if balance:
      share = balance.normal
      stream = balanced_batches(
        examples,
        train.batch_size,
        steps_per_epoch=balance.steps_per_epoch,
        n_normal=train.batch_size * share.numerator // share.denominator,
        n_references=balance.n_references,
        outliers=outliers,
        outlier_share=balance.outlier_share,
        n_outliers=balance.n_outliers,
        **where,
      )
    else:
      stream = batches(
        examples,
        train.batch_size,
        drop_remainder=train.drop_remainder,
        **where,
      )
    last = min(plan.steps_per_epoch, first + stop - step)
    while first < last:
      whole = first % k == 0 and first + k <= last
      n = k if whole else 1
      group = list(itertools.islice(stream, n))
      yield (
        n,
        {
          name: np.stack([batch[name] for batch in group])
          for name in BATCH_KEYS
          if name in group[0]
        },
      )
      first += n
      step += n


def train(
  detector: Detector,
  state: State,
  examples: Examples,
  *,
  outliers: Examples | None = None,
  config,
  mesh,
  workdir: pathlib.Path,
  checkpoints: Checkpoints,
  seconds_before: float = 0.0,
  on_epoch: Callable[[State, int], dict | None] | None = None,
) -> tuple[State, float]:
  """Trains to the end of the plan, from wherever `state.step` stands.

  Writes `metrics.jsonl` and checkpoints into the workdir.

  Args:
    detector: what to train.
    state: a new or restored state; its buffers are donated.
    examples: the training split, images or features.
    outliers: images of another data set, for methods that take them.
    config: of the run, see `jaxad.config.base`.
    mesh: from `data_mesh`.
    workdir: an existing folder.
    checkpoints: where to save.
    seconds_before: training time up to the checkpoint, of a resumed run.
    on_epoch: called with (state, epochs done) after every epoch; may return a
      row for `metrics.jsonl`.

  Returns:
    The trained state, and the seconds that training took.

  Raises:
    InputError: the loss is not finite; the last checkpoint before stays.
    Interrupted: Ctrl-C, after a checkpoint has been written.
  """
  plan = make_plan(detector, len(examples.label), config.train)
  # Not aliased: a state may hold one array twice, and buffers are donated.
  state = jax.device_put(state, replicated(mesh), may_alias=False)
  step = int(state.step)
  save_every = config.train.checkpoint_every or max(1, plan.steps // 5)
  log = _Log(workdir, plan, config.train, step)
  began = time.perf_counter() - seconds_before

  def save():
    log.flush(step)
    # The update after a last finite loss may have gone wrong too.
    if not _all_finite(state):
      log.close()
      raise diverged("the state is not finite", step)
    position = {
      "epoch": step // plan.steps_per_epoch,
      "batch": step % plan.steps_per_epoch,
      "train_seconds": time.perf_counter() - began,
    }
    checkpoints.save(state, position)

  with _Interrupt() as interrupt:
    for phase, stop in zip(detector.phases, plan.boundaries, strict=True):
      if step >= stop:
        continue  # a resumed run is past this phase, its fit included
      update = compile_update(phase, mesh)
      feed = dispatches(
        examples,
        plan,
        config.train,
        config.seed,
        step,
        stop,
        phase.balance,
        outliers,
      )
      for n, stacked in feed:
        state, metrics = update(state, shard_batch(mesh, stacked, axis=1))
        before, step = step, step + n
        log.add(phase.name, step, metrics)
        if on_epoch and _crosses(plan.steps_per_epoch, before, step):
          log.flush(step)
          epoch = step // plan.steps_per_epoch
          log.write({"step": step, "epoch": epoch}, on_epoch(state, epoch))
        if step < stop:
          if interrupt.seen or _crosses(save_every, before, step):
            save()
          if interrupt.seen:
            raise Interrupted(step)
      if phase.fit:
        one_pass = (
          shard_batch(
            mesh, {name: batch[name] for name in ("x", "weight", "label")}
          )
          for batch in batches(examples, config.train.batch_size)
        )
        state = phase.fit(state, one_pass)
      save()
      if interrupt.seen:
        raise Interrupted(step)
  log.close()
  return state, time.perf_counter() - began


def diverged(what, step) -> InputError:
  return InputError(
    f"training diverged: {what} at step {step}. The last good checkpoint is "
    "kept; lower the learning rate and start again in another --workdir."
  )


@jax.jit
def _all_finite(tree):
  finite = [
    jnp.isfinite(leaf).all()
    for leaf in jax.tree.leaves(tree)
    if jnp.issubdtype(leaf.dtype, jnp.floating)
  ]
  return jnp.stack(finite).all()


def _crosses(every, before, step):
  return step // every > before // every


class _Log:
  """Collects metrics on the device; fetches, writes and shows them in turn."""

  def __init__(self, workdir, plan, train, step):
    self._path = workdir / "metrics.jsonl"
    self._plan, self._train = plan, train
    self._pending = []
    self._since = (time.perf_counter(), step)
    self._bar = _ProgressBar(plan.steps)
    _drop_rows_after(self._path, step)

  def add(self, phase, step, metrics):
    """Takes the metrics of one dispatch, which ends at `step`."""
    self._pending.append((phase, step, metrics))
    n = self._plan.steps_per_dispatch
    if step % self._train.log_every < n or step == self._plan.steps:
      self.flush(step)

  def flush(self, step):
    """Writes the mean of what has been added, and checks that it is finite."""
    if not self._pending:
      return
    phase = self._pending[-1][0]
    values = jax.device_get([m for _, _, m in self._pending])
    self._pending = []
    row = {
      name: float(np.mean(np.concatenate([v[name] for v in values])))
      for name in values[0]
    }
    now, before = time.perf_counter(), self._since
    self._since = (now, step)
    rate = (step - before[1]) * self._train.batch_size / (now - before[0])
    if not all(math.isfinite(value) for value in row.values()):
      self._bar.end()
      raise diverged(row, step)
    head = {
      "step": step,
      "epoch": (step - 1) // self._plan.steps_per_epoch + 1,
      "phase": phase,
    }
    self.write(head, row | {"images_per_s": rate})
    self._bar.show(phase, step, row["loss"], rate)

  def write(self, head, row):
    """Appends a line to `metrics.jsonl`, unless row is None."""
    if row is not None:
      with self._path.open("a") as file:
        file.write(json.dumps(head | row) + "\n")

  def close(self):
    self._bar.end()


def _drop_rows_after(path, step):
  """Removes rows that a resumed run is about to write again."""
  if not path.exists():
    return
  lines = path.read_text().splitlines(keepends=True)
  kept = [
    line
    for line in lines
    if line.endswith("\n") and json.loads(line)["step"] <= step
  ]
  path.write_text("".join(kept))


class _ProgressBar:
  """One line on stderr; without a terminal, a line every ten seconds."""

  def __init__(self, total):
    self._total = total
    self._start = self._shown = time.perf_counter()
    self._first = None
    self._live = sys.stderr.isatty()

  def show(self, phase, step, loss, rate):
    now = time.perf_counter()
    if self._first is None:
      self._first = step
    done = step == self._total
    if not self._live and now - self._shown < 10 and not done:
      return
    self._shown = now
    width = 24
    filled = "=" * (width * step // self._total)
    remaining = ((now - self._start) / max(1, step - self._first + 1)) * (
      self._total - step
    )
    line = (
      f"{phase} [{filled:<{width}}] {step}/{self._total}  loss {loss:.4f}  "
      f"{rate:.1f} images/s  {remaining:.0f} s left"
    )
    end = "" if self._live else "\n"
    start = "\r\x1b[K" if self._live else ""
    sys.stderr.write(start + line + end)
    sys.stderr.flush()

  def end(self):
    if self._live and self._first is not None:
      sys.stderr.write("\n")
      self._live = False


class _Interrupt:
  """Notes a first Ctrl-C, so that the loop can save; a second one stops."""

  def __enter__(self):
    self.seen = False
    try:
      self._before = signal.signal(signal.SIGINT, self._note)
    except ValueError:  # only the main thread may set handlers
      self._before = None
    return self

  def _note(self, *_):
    if self.seen:
      raise KeyboardInterrupt
    self.seen = True
    print("\nstopping: writing a checkpoint ...", file=sys.stderr, flush=True)

  def __exit__(self, *_):
    if self._before is not None:
      signal.signal(signal.SIGINT, self._before)
