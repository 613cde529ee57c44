# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The training loop, a function: no configuration, no folder, no file.

    plan = jaxad.make_plan(detector, data, batch_size=32, epochs=20)
    state = detector.init(jax.random.key(0), {"x": data.train.x[:1]}, plan)
    state = jaxad.fit(detector, state, data, plan)

What else a run wants of its training (a log, a bar, checkpoints, figures after
epochs, an early end) are callbacks, see `Callback` and `jaxad/callbacks.py`.

Batch i of a run is a function of (seed, i) alone and the state holds its own
key, so training that goes on from a saved state ends with the same bits as one
that never stopped.
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxad import distributed
from jaxad.data.examples import Dataset, Examples
from jaxad.detector import Detector, Phase, Plan, State
from jaxad.errors import InputError
from jaxad.feed import (
  Feed,
  Indices,
  as_dataset,
  columns,
  compile_update,
  needed_rows,
  steps_per_epoch,
)
from jaxad.fields import Count, CountOrZero, Seed, Steps, check


@dataclasses.dataclass
class Moment:
  """Where a training stands, for its callbacks.

  Attributes:
    detector: what is trained.
    plan: of the run.
    state: after `step` updates. To look into it waits for the devices.
    step: updates so far, over all phases.
    number: place of the phase that goes on.
    epoch: passes over the data that are complete, over all phases.
    at_epoch_end: whether one of them was completed by the last step.
    ending: whether a callback has ended the phase.
    settle: hands the metrics of all updates so far to the callbacks, which
      waits for the devices.
  """

  detector: Detector
  plan: Plan
  state: State
  step: int
  number: int
  epoch: int
  at_epoch_end: bool = False
  ending: bool = False
  settle: Callable[[], None] = lambda: None

  @property
  def phase(self) -> Phase:
    """The phase that goes on."""
    return self.detector.phases[self.number]


class Callback:
  """What happens beside the updates. Every method may be left as it is."""

  def start(self, moment: Moment) -> None:
    """Before the first update."""

  def next_stop(self, step: int) -> int | None:
    """The first step after `step` at which `after` must be called, if any.

    Else it is called wherever a dispatch happens to end.
    """

  def metrics(self, moment: Moment, step: int, values: dict) -> None:
    """Takes the metrics of a dispatch, when the next one is on its way.

    Args:
      moment: of the next dispatch.
      step: the one that these metrics end with.
      values: {name: [n]} NumPy arrays, one value a step.
    """

  def after(self, moment: Moment) -> bool | None:
    """After a dispatch; True ends the phase."""

  def end_phase(self, moment: Moment) -> None:
    """After a phase and its fit."""

  def close(self) -> None:
    """When training ends, by an error too."""


class Diverged(InputError):
  """A loss or a parameter is not finite any more."""

  def __init__(self, what: str, step: int):
    super().__init__(
      f"training diverged: {what} at step {step}; lower the learning rate."
    )


def make_plan(
  detector: Detector,
  data: Dataset | Examples,
  *,
  batch_size: int,
  epochs: int = 1,
  steps: int | None = None,
  drop_remainder: bool = False,
  seed: int = 0,
  steps_per_dispatch: int | None = None,
) -> Plan:
  """Lays out a run.

  Args:
    detector: what is trained.
    data: the training split, or a data set with it.
    batch_size: rows of a batch, over all devices.
    epochs: passes over the data, divided among the phases by their shares.
    steps: in their place, how many updates.
    drop_remainder: leave a last, smaller batch out, or else pad it.
    seed: of the order of the data.
    steps_per_dispatch: updates in one call of the compiled function; None is 1
      on a CPU, 16 on accelerators.

  Raises:
    InputError: a length or batch size that makes no sense, or rows of a kind
      that the detector needs are missing.
  """
  for name, value, kind in (
    ("batch_size", batch_size, Count),
    ("epochs", epochs, CountOrZero),
    ("steps", steps, Steps | None),
    ("seed", seed, Seed),
    ("steps_per_dispatch", steps_per_dispatch, Count | None),
  ):
    check(name, value, kind)
  data = as_dataset(data)
  if batch_size % jax.device_count():
    raise InputError(
      f"batch_size={batch_size}: expected a multiple of the "
      f"{jax.device_count()} devices.",
      "batch_size",
    )
  lengths = []
  for phase in detector.phases:
    if phase.fit is not None:
      needed_rows(phase.fit_rows, data)
    if phase.step is None:
      lengths.append((0.0, 1))
      continue
    _check_batch(phase, data, batch_size, drop_remainder)
    per_epoch = steps_per_epoch(phase, data, batch_size, drop_remainder)
    lengths.append((phase.share if phase.steps is None else 0.0, per_epoch))
  total = sum(share for share, _ in lengths) or 1.0
  length = f"epochs={epochs}" if steps is None else f"steps={steps}"
  ends: list[int] = []
  budget, fixed = 0.0, 0
  for phase, (share, per_epoch) in zip(detector.phases, lengths, strict=True):
    of_run = epochs * per_epoch if steps is None else steps
    budget += of_run * share / total
    if phase.step is not None:
      fixed += phase.steps or 0
    before = ends[-1] if ends else 0
    ends.append(int(round(budget)) + fixed)
    if phase.step is not None and ends[-1] == before:
      raise InputError(
        f"{length}: it leaves no step for the phase {phase.name!r}; raise it.",
        length.partition("=")[0],
      )
  # Convolutions inside an XLA:CPU loop lose their threaded kernels.
  default = 1 if distributed.on_cpu() else 16
  return Plan(
    batch_size,
    tuple(ends),
    tuple(per_epoch for _, per_epoch in lengths),
    drop_remainder,
    seed,
    steps_per_dispatch or default,
  )


def _check_batch(phase, data, batch_size, drop_remainder):
  devices = jax.device_count()
  name = f"batch_size={batch_size}"
  if batch_size % phase.multiple:
    raise InputError(
      f"{name}: the phase {phase.name!r} groups the rows of a batch; expected "
      f"a multiple of {phase.multiple}.",
      "batch_size",
    )
  sizes: dict[str, int] = {}
  for column in columns(phase, data, batch_size):
    if not column.size:
      raise InputError(
        f"{name}: it leaves no room for {column.stream.rows} rows, of which "
        f"the phase {phase.name!r} reads some in every batch; raise it.",
        "batch_size",
      )
    if column.stream.count is None:
      before = sizes.get(column.stream.name, 0)
      sizes[column.stream.name] = before + column.size
    if column.stream.order == "endless" or phase.steps_per_epoch:
      continue
    n = len(column.rows)
    if not column.whole_batches(drop_remainder):
      raise InputError(
        f"{name}: with drop_remainder it leaves no batch of {n} training "
        "examples; lower it.",
        "batch_size",
      )
    if phase.full_batches and not drop_remainder and n % column.size:
      raise InputError(
        f"drop_remainder=False: the phase {phase.name!r} normalises by the "
        "statistics of full batches; set it to True.",
        "drop_remainder",
      )
  for stream, size in sizes.items():
    if size % devices:
      raise InputError(
        f"{name}: it makes {size} rows of the stream {stream!r}, which "
        f"{devices} devices cannot share equally; expected a multiple of "
        f"{devices} of them.",
        "batch_size",
      )


def fit(
  detector: Detector,
  state: State,
  data: Dataset | Examples,
  plan: Plan,
  callbacks: Sequence[Callback] = (),
  *,
  on_device: bool | None = None,
  layout: distributed.Layout = distributed.WHOLE,
) -> State:
  """Trains to the end of the plan, from wherever the state stands.

  Args:
    detector: what to train.
    state: a new or restored state, which is left as it is.
    data: the training split, or a data set with it.
    plan: from `make_plan`.
    callbacks: what happens beside the updates.
    on_device: whether the data lie on the devices; None where they fit.
    layout: how much of the state each of several devices keeps meanwhile.

  Returns:
    The trained state, whole on every device.

  Raises:
    Diverged: a metric is not finite.
    InputError: rows that the detector needs are missing, or a layout is not for
      these devices.
  """
  mesh = distributed.mesh_of(layout)
  feed = Feed(as_dataset(data), mesh, on_device)
  # A copy: updates donate its buffers, and a state may hold one array twice.
  # Of several devices may_alias=False of device_put is not true of the first.
  whole = distributed.replicated(mesh)
  state = distributed.placed(jax.tree.map(jnp.copy, state), whole)
  moment = Moment(detector, plan, state, int(state.step), 0, 0)
  first = int(state.phase)
  del state  # where it is split, nobody keeps it whole
  try:
    for callback in callbacks:
      callback.start(moment)
    # A restored state is past the first phases, their fits included.
    for k in range(first, len(detector.phases)):
      moment.number, phase = k, detector.phases[k]
      moment.epoch = plan.epoch(k, moment.step)
      if phase.step is not None:
        _train(feed, moment, callbacks, layout)
      state = moment.state
      if phase.fit is not None:
        rows = feed.one_pass(phase.fit_rows, plan.batch_size, plan.seed)
        state = phase.fit(state, rows)
      # Steps that a callback or the phase itself cut off count as done.
      state = state.replace(step=np.int32(plan.ends[k]), phase=np.int32(k + 1))
      moment.state = distributed.placed(state, whole)
      del state
      moment.step = plan.ends[k]
      for callback in callbacks:
        callback.end_phase(moment)
  finally:
    for callback in callbacks:
      callback.close()
  return moment.state


def _train(feed, moment, callbacks, layout):
  """The steps of a phase; leaves the state, whole, in `moment`."""
  plan, phase, k = moment.plan, moment.phase, moment.number
  before, per_epoch = plan.start(k), plan.steps_per_epoch[k]
  indices = Indices(phase, feed.data, plan, per_epoch)
  places = None
  if layout != distributed.WHOLE:
    places = distributed.shardings(moment.state, feed.mesh, layout)
    moment.state = jax.device_put(moment.state, places)
  update = compile_update(phase, feed, indices, places)
  pending = []

  def settle(left=0):
    """Hands over metrics until those of so many dispatches are left."""
    while len(pending) > left:
      step, metrics = pending.pop(0)
      # Metrics have their own way back: nothing is computed to get them.
      values = jax.device_get(metrics)
      _check_finite(step, values)
      for callback in callbacks:
        callback.metrics(moment, step, values)

  moment.settle, moment.ending = settle, False
  segments = _segments(
    before,
    moment.step,
    plan.ends[k],
    plan.steps_per_dispatch,
    callbacks,
    per_epoch if phase.stop else None,
  )
  done = moment.step - before
  moment.at_epoch_end = done > 0 and done % per_epoch == 0
  for stack in feed.stacks(indices, segments):
    # Before the dispatch, so that a restored state is judged too.
    if phase.stop and moment.at_epoch_end and phase.stop(moment.state):
      break
    moment.state, metrics = update(moment.state, feed.resident, stack.entry)
    moment.step = before + stack.end
    moment.epoch = plan.epoch(k, moment.step)
    moment.at_epoch_end = stack.end % per_epoch == 0
    pending.append((moment.step, metrics))
    settle(left=1)
    # All are asked, also when the first wants to stop.
    for callback in callbacks:
      moment.ending |= bool(callback.after(moment))
    if moment.ending:
      break
  settle()
  if places is not None:
    whole = distributed.replicated(feed.mesh)
    moment.state = jax.device_put(moment.state, whole)


def _segments(before, step, end, size, callbacks, every=None):
  """(first, end) of each dispatch of a phase, counted from its start `before`.

  Dispatches end at multiples of `size`, of `every` and where a callback must be
  called, so they are the same whether or not a run was interrupted. What does
  not fill a stack goes one by one: another length would compile anew.
  """
  while step < end:
    stops = [callback.next_stop(step) for callback in callbacks]
    stops += [
      before + ((step - before) // n + 1) * n for n in (size, every) if n
    ]
    edge = min([end, *(stop for stop in stops if stop is not None)])
    n = size if edge - step == size else 1
    while step < edge:
      yield step - before, step - before + n
      step += n


def _check_finite(step, values):
  for name, value in values.items():
    finite = np.isfinite(value)
    if not finite.all():
      first = step - len(value) + 1 + int(np.argmin(finite))
      raise Diverged(f"{name} is not finite", first)
