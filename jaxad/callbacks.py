# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What happens beside the updates: a log, a bar, checkpoints, an early end."""

import json
import pathlib
import signal
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from jaxad import hosts
from jaxad.checkpoints import Checkpoints
from jaxad.detector import Plan, State
from jaxad.errors import InputError
from jaxad.event_files import EventFiles
from jaxad.loop import Callback, Diverged, Moment
from jaxad.report import tables


class Interrupted(Exception):
  """Ctrl-C or SIGTERM; the checkpoint has been written."""


class Log(Callback):
  """Means of the metrics as lines of JSON; none is over two phases.

  Args:
    path: the file; lines behind the step from which training goes on are
      dropped.
    every: steps between two lines.
    events: where the same lines go for TensorBoard, if anywhere.
  """

  def __init__(
    self, path: pathlib.Path, every: int, events: EventFiles | None = None
  ):
    self._path, self._every, self._events = path, every, events

  def start(self, moment: Moment) -> None:
    self._since = time.perf_counter(), moment.step
    self._values: dict[str, list] = {}
    self._line = moment.step // self._every
    if hosts.first():
      _drop_lines_after(self._path, moment.step)
    if self._events is not None:
      self._events.start(moment.step)

  def metrics(self, moment: Moment, step: int, values: dict) -> None:
    for name, value in values.items():
      self._values.setdefault(name, []).append(value)
    self._step = step
    if step // self._every != self._line or step in moment.plan.ends:
      self._write_means(moment)

  def end_phase(self, moment: Moment) -> None:
    if self._values:  # a callback cut the phase short
      self._write_means(moment)

  def _write_means(self, moment):
    step = self._step
    self._line = step // self._every
    now, (then, before) = time.perf_counter(), self._since
    self._since = now, step
    rate = (step - before) * moment.plan.batch_size / (now - then)
    means = {
      name: float(np.concatenate(parts).mean())
      for name, parts in self._values.items()
    }
    self._values = {}
    epoch = moment.plan.epoch(moment.number, step - 1) + 1
    head = {"step": step, "epoch": epoch, "phase": moment.phase.name}
    self.write(head | means | {"images_per_s": rate})

  def write(self, line: dict) -> None:
    """Appends a line of figures."""
    if not hosts.first():
      return
    with self._path.open("a") as file:
      file.write(json.dumps(line) + "\n")
    if self._events is not None:
      self._events.write(line)

  def lines(self) -> list[dict]:
    """All lines of the file."""
    return hosts.of_first(lambda: lines_of(self._path))


def lines_of(path: pathlib.Path) -> list[dict]:
  """What the whole lines of a log say; [] of no file.

  Raises:
    InputError: one is none of a log.
  """
  return [figures for _, figures in _figures(path)]


def _drop_lines_after(path, step):
  """Removes lines that a resumed run is about to write again."""
  if path.exists():
    found = _figures(path)
    kept = [line + "\n" for line, figures in found if figures["step"] <= step]
    with tables.replacing(path, "w") as file:
      file.writelines(kept)


def _figures(path):
  """(line, what it says) of each whole line.

  Raises:
    InputError: one is none of a log.
  """
  text = path.read_text(errors="replace") if path.exists() else ""
  found = []
  # What follows the last line end was being written when the process ended.
  for number, line in enumerate(text.split("\n")[:-1], 1):
    try:
      figures = json.loads(line)
      if type(figures["step"]) is not int:
        raise TypeError
    except (ValueError, TypeError, LookupError, RecursionError) as error:
      raise InputError(
        f"{path}: line {number} is damaged; remove it, or start another run."
      ) from error
    found.append((line, figures))
  return found


class ProgressBar(Callback):
  """One line on stderr; without a terminal, a line every ten seconds."""

  def start(self, moment: Moment) -> None:
    live = sys.stderr.isatty()
    self._bar = tqdm(
      total=moment.plan.steps,
      initial=moment.step,
      desc=moment.phase.name,
      unit="step",
      dynamic_ncols=True,
      mininterval=0.1 if live else 10,
      maxinterval=10,
    )

  def metrics(self, moment: Moment, step: int, values: dict) -> None:
    self._bar.set_description(moment.phase.name, refresh=False)
    loss = float(values["loss"][-1])
    self._bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
    self._bar.update(step - self._bar.n)

  def close(self) -> None:
    if hasattr(self, "_bar"):
      self._bar.close()


class Saving(Callback):
  """Checkpoints every so many steps, after each phase, and at an interrupt.

  A first Ctrl-C or SIGTERM saves and raises `Interrupted`, in all processes of
  a run after the same step; a second Ctrl-C stops at once.

  Args:
    checkpoints: where they go.
    every: steps between two; they are taken where a dispatch ends.
    seconds_before: training time up to the state that training goes on from.
  """

  def __init__(
    self, checkpoints: Checkpoints, every: int, seconds_before: float = 0.0
  ):
    self._checkpoints, self._every = checkpoints, every
    self._began = time.perf_counter() - seconds_before
    self._handlers: dict = {}

  @property
  def seconds(self) -> float:
    """Training time so far, of all runs together."""
    return time.perf_counter() - self._began

  def start(self, moment: Moment) -> None:
    self._last = moment.step // self._every
    self._seen, self._stop = False, hosts.Stop()
    for number in (signal.SIGINT, signal.SIGTERM):
      try:
        self._handlers[number] = signal.signal(number, self._note)
      except ValueError:  # only the main thread may set handlers
        return

  def _note(self, number, _):
    if self._seen and number == signal.SIGINT:
      raise KeyboardInterrupt
    self._seen = True
    print("\nstopping: writing a checkpoint ...", file=sys.stderr, flush=True)

  def after(self, moment: Moment) -> None:
    stop = self._stop.late(self._seen)
    if moment.ending or moment.step in moment.plan.ends:
      return  # the phase's fit is still to come
    due = moment.step // self._every
    if stop or due > self._last:
      self._last = due
      self._save(moment)
    if stop:
      raise Interrupted(moment.step)

  def end_phase(self, moment: Moment) -> None:
    later = moment.plan.ends[int(moment.state.phase) :]
    # A checkpoint is named by its step: of several fits the last one saves,
    # and what an interrupt saves before that is not saved again.
    due = moment.step and moment.step not in later
    if self._stop.now(self._seen) or due:
      self._save(moment)
    if self._stop.now(self._seen):
      raise Interrupted(moment.step)

  def _save(self, moment):
    moment.settle()
    # The update after a last finite loss may have gone wrong too.
    if not all_finite(moment.state):
      raise Diverged("the state is not finite", moment.step)
    self._checkpoints.save(moment.state, {"train_seconds": self.seconds})

  def close(self) -> None:
    for number, handler in self._handlers.items():
      signal.signal(number, handler)
    self._handlers = {}


@jax.jit
def all_finite(tree) -> jax.Array:
  """Whether every floating point entry of a pytree is finite."""
  finite = [
    jnp.isfinite(leaf).all()
    for leaf in jax.tree.leaves(tree)
    if jnp.issubdtype(leaf.dtype, jnp.floating)
  ]
  return jnp.stack(finite).all()


class EveryEpochs(Callback):
  """Calls a function of the moment at the end of every n-th epoch.

  Phases whose state cannot be scored are passed over.

  Args:
    plan: of the run.
    every: epochs between two calls.
    call: `moment -> bool or None`; True ends the phase.
  """

  def __init__(
    self, plan: Plan, every: int, call: Callable[[Moment], bool | None]
  ):
    self._plan, self._every, self._call = plan, every, call

  def next_stop(self, step: int) -> int | None:
    plan = self._plan
    for k, end in enumerate(plan.ends):
      if step >= end:
        continue
      before, per_epoch = plan.start(k), plan.steps_per_epoch[k]
      past = plan.epoch(k, before)
      target = (plan.epoch(k, step) // self._every + 1) * self._every
      stop = before + (target - past) * per_epoch
      if stop <= end:
        return stop
    return None

  def after(self, moment: Moment) -> bool | None:
    due = moment.at_epoch_end and moment.epoch % self._every == 0
    if not due or not moment.phase.scorable:
      return False
    moment.settle()
    return self._call(moment)


def early_stop(
  value: Callable[[State], float], patience: int
) -> Callable[[Moment], bool]:
  """For `EveryEpochs`: ends a phase when a value no longer falls.

  Args:
    value: of the state; lower is better, such as the loss of held-out normal
      examples.
    patience: calls without a new lowest value before it ends.
  """
  best, waited = np.inf, 0

  def call(moment):
    nonlocal best, waited
    now = float(value(moment.state))
    waited = 0 if now < best else waited + 1
    best = min(best, now)
    return waited >= patience

  return call
