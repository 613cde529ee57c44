# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""From the streams of a phase to batches on the devices.

The training data lie on every device where they fit into `DEVICE_SHARE` of its
memory; then a dispatch sends row numbers alone, and the batch is gathered in
the compiled step. Larger data stay on the host, where tf.data gathers the next
stacks while the devices compute.

Which rows make up batch i of a run is a function of (seed, i) alone, so a
resumed run sees what it would have seen.
"""

import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxad import distributed, hosts
from jaxad.data.arrays import FileArray, Rows
from jaxad.data.examples import Dataset, Examples
from jaxad.detector import Batch, Phase, Plan, Stream
from jaxad.errors import InputError
from jaxad.seeding import generator

# Of a device's memory, for training data.
DEVICE_SHARE = 0.25


def rows_of(kind: str, data: Dataset) -> np.ndarray:
  """The rows that a stream draws from, int32: of `train`, or of `outliers`."""
  if kind == "outliers":
    n = 0 if data.outliers is None else len(data.outliers.label)
    return np.arange(n, dtype=np.int32)
  label = data.train.label
  chosen = {"normal": label == 0, "anomalous": label == 1, "all": label >= 0}
  return np.flatnonzero(chosen[kind]).astype(np.int32)


class _Column(NamedTuple):
  """A stream whose rows are known, and its place in the batch."""

  stream: Stream
  rows: np.ndarray
  size: int
  tag: str

  def whole_batches(self, drop_remainder: bool) -> int:
    n = len(self.rows)
    return n // self.size if drop_remainder else -(-n // self.size)


def columns(phase: Phase, data: Dataset, batch_size: int) -> list[_Column]:
  """The streams of a phase with their rows and sizes.

  Streams of one name end at whole rows below their share of the batch.

  Raises:
    InputError: there are no rows of a kind that the phase needs.
  """
  found, shares = [], {}
  for k, stream in enumerate(phase.streams):
    rows = rows_of(stream.rows, data)
    before = shares.get(stream.name, Fraction(0))
    shares[stream.name] = before + stream.share
    cut = [int(batch_size * share) for share in (before, shares[stream.name])]
    size = stream.count or cut[1] - cut[0]
    if len(rows):
      found.append(_Column(stream, rows, size, f"{phase.name}/{k}"))
    elif stream.required:
      raise InputError(_missing(stream.rows))
    elif found and found[-1].stream.name == stream.name:
      found[-1] = found[-1]._replace(size=found[-1].size + size)
  return found


def needed_rows(kind: str, data: Dataset) -> np.ndarray:
  """As `rows_of`.

  Raises:
    InputError: there are none.
  """
  rows = rows_of(kind, data)
  if not len(rows):
    raise InputError(_missing(kind))
  return rows


def _missing(kind):
  remedies = {
    "normal": "expected some with the label 0",
    "anomalous": "draw some from the test with n_anomalies=10, or put them "
    "into train/<kind>/ of a folder",
    "outliers": "say with outlier_root where images of another set are",
    "all": "expected some",
  }
  named = {"outliers": "outliers", "all": "training images"}
  what = named.get(kind, f"{kind} training images")
  return f"there are no {what}, and the method learns from such: " + (
    remedies[kind] + "."
  )


def steps_per_epoch(
  phase: Phase, data: Dataset, batch_size: int, drop_remainder: bool
) -> int:
  """Steps in one pass over the data of a phase."""
  if phase.steps_per_epoch:
    return phase.steps_per_epoch
  first = columns(phase, data, batch_size)[0]
  # A batch of an endless stream may be larger than the data.
  return max(1, first.whole_batches(drop_remainder))


class Indices:
  """The rows of every batch of a phase.

  Args:
    phase: whose streams they are.
    data: where the rows are.
    plan: of the run.
    per_epoch: steps in an epoch of this phase.
  """

  def __init__(self, phase: Phase, data: Dataset, plan: Plan, per_epoch: int):
    self._columns = columns(phase, data, plan.batch_size)
    self._plan, self._per_epoch = plan, per_epoch
    self._permutations: dict = {}
    self.padded = any(
      c.stream.name == "x"
      and c.stream.order != "endless"
      and not plan.drop_remainder
      and len(c.rows) % c.size
      for c in self._columns
    )
    self.shared = {
      c.stream.name for c in self._columns if c.stream.count is not None
    }
    self._of_outliers = {
      c.stream.name for c in self._columns if c.stream.rows == "outliers"
    }
    # A step that asks for labels gets them where all are normal, too.
    self.labelled = any(
      stream.name == "x" and stream.rows != "normal" for stream in phase.streams
    )

  def source(self, name: str) -> str:
    """Which of the feed's arrays an entry of the batch comes from."""
    return "outliers" if name in self._of_outliers else "x"

  def at(self, step: int) -> dict[str, np.ndarray]:
    """Rows of one batch.

    Args:
      step: counted from the start of the phase.

    Returns:
      {name: [size] int32}, and where batches of x are padded "weight", float32.
    """
    parts: dict[str, list] = {}
    for column in self._columns:
      rows, weight = self._rows(column, step)
      parts.setdefault(column.stream.name, []).append(rows)
      if self.padded and column.stream.name == "x":
        parts.setdefault("weight", []).append(weight)
    return {name: np.concatenate(part) for name, part in parts.items()}

  def _rows(self, column, step):
    size = column.size
    weight = np.ones(size, np.float32)
    if column.stream.order == "endless":
      return self._endless(column, step * size, size), weight
    epoch, batch = divmod(step, self._per_epoch)
    if column.stream.order == "once":
      epoch = 0
    order = self._permutation(column, epoch)
    # A second stream may have fewer batches than the one that makes the epoch.
    batch %= max(1, column.whole_batches(self._plan.drop_remainder))
    rows = order[batch * size : (batch + 1) * size]
    weight[len(rows) :] = 0
    return np.append(rows, np.full(size - len(rows), rows[0])), weight

  def _endless(self, column, first, count):
    """Entries first to first + count of permutations set end to end."""
    k, skip = divmod(first, len(column.rows))
    pieces, found = [], 0
    while found < count:
      piece = self._permutation(column, k)[skip : skip + count - found]
      pieces.append(piece)
      found, k, skip = found + len(piece), k + 1, 0
    return np.concatenate(pieces)

  def _permutation(self, column, k):
    """Number k of a stream; the last one of each stays at hand."""
    number, order = self._permutations.get(column.tag, (None, None))
    if number != k:
      order = generator(column.tag, self._plan.seed, k).permutation(column.rows)
      self._permutations[column.tag] = k, order
    return order


class Stack(NamedTuple):
  """Entries of several steps, stacked: from step `first` up to `end`."""

  first: int
  end: int
  entry: dict[str, Any]


class Feed:
  """The training data of a run, where the compiled steps find them.

  Args:
    data: of the run.
    mesh: from `data_mesh` or `mesh_of`.
    on_device: whether the data lie on the devices; None where they fit.
  """

  def __init__(self, data: Dataset, mesh, on_device: bool | None = None):
    self.data, self.mesh = data, mesh
    self._arrays = {"x": data.train.x, "label": data.train.label}
    if data.outliers is not None:
      _check_alike(data.outliers.x, data.train.x)
      self._arrays["outliers"] = data.outliers.x
    if on_device is None:
      on_device = hosts.everywhere(fits(self._arrays))
    self.on_device = on_device
    self.resident: dict[str, jax.Array] = {}
    if self.on_device:
      whole = distributed.replicated(mesh)
      self.resident = {
        name: distributed.put(whole, value)
        for name, value in self._arrays.items()
      }

  def stacks(
    self, indices: Indices, segments: Iterator[tuple[int, int]]
  ) -> Iterator[Stack]:
    """Stacks of batches, each placed while the one before it computes.

    Args:
      indices: of the phase.
      segments: (first, end) of each stack, counted from the phase's start.
    """
    stacks = (
      Stack(first, end, _stacked([indices.at(k) for k in range(first, end)]))
      for first, end in segments
    )
    if not self.on_device:
      stacks = self._gathered(indices, stacks)
    ahead = None
    for stack in stacks:
      placed = stack._replace(entry=self._place(indices, stack.entry))
      if ahead is not None:
        yield ahead
      ahead = placed
    if ahead is not None:
      yield ahead

  def batch(self, indices: Indices, resident, entry) -> Batch:
    """Inside jit: one entry of a stack to the batch that a step reads."""
    if not self.on_device:
      return entry
    batch = {}
    for name, rows in entry.items():
      if name == "weight":
        batch[name] = rows
        continue
      batch[name] = resident[indices.source(name)][rows]
    if indices.labelled:
      batch["label"] = resident["label"][entry["x"]]
    return batch

  def one_pass(self, kind: str, batch_size: int, seed: int) -> Iterator[Batch]:
    """Batches {x, weight, label} of all rows of a kind, each once, shuffled."""
    rows = needed_rows(kind, self.data)
    order = generator("fit", seed).permutation(rows)
    sharding = distributed.divided(self.mesh)
    columns = distributed.local_columns(self.mesh, batch_size)
    for first in range(0, len(order), batch_size):
      part = order[first : first + batch_size]
      weight = np.ones(batch_size, np.float32)
      weight[len(part) :] = 0
      filled = np.append(part, np.full(batch_size - len(part), part[0]))
      local = filled[columns]
      yield {
        name: distributed.put(sharding, value)
        for name, value in {
          "x": self.data.train.x[local],
          "weight": weight[columns],
          "label": self.data.train.label[local],
        }.items()
      }

  def _place(self, indices, entry):
    """Stacked host arrays on the devices: the batch axis is divided."""

    def place(name, value):
      if name in indices.shared:
        return distributed.put(distributed.replicated(self.mesh), value)
      sharding = distributed.divided(self.mesh, axis=1)
      if self.on_device:  # else the pipeline took this process's part
        value = value[:, distributed.local_columns(self.mesh, value.shape[1])]
      return distributed.put(sharding, value)

    return {name: place(name, value) for name, value in entry.items()}

  def _gathered(self, indices, stacks):
    """Stacks of images in place of rows, this process's part, by tf.data."""
    from jaxad.data.pipeline import computed_ahead

    def gather(entry):
      found = {}
      for name, index in entry.items():
        if name not in indices.shared:
          here = distributed.local_columns(self.mesh, index.shape[1])
          index = index[:, here]
        if name == "weight":
          found[name] = index
          continue
        found[name] = self._arrays[indices.source(name)][index]
        if name == "x" and indices.labelled:
          found["label"] = self._arrays["label"][index]
      return found

    segments = []

    def entries():
      for stack in stacks:
        segments.append((stack.first, stack.end))
        yield gather(stack.entry)

    for entry in computed_ahead(entries()):
      yield Stack(*segments.pop(0), entry)


def _check_alike(outliers, x):
  """What stands side by side in a batch has one shape and one dtype."""
  told = lambda v: f"{v.shape[1:]} {v.dtype}"
  if told(outliers) != told(x):
    raise InputError(
      f"the outliers are {told(outliers)}; expected {told(x)}, as the training "
      "images."
    )


def _stacked(batches):
  return {name: np.stack([b[name] for b in batches]) for name in batches[0]}


def fits(arrays: dict[str, Rows]) -> bool:
  """Whether arrays may lie on every device: see `DEVICE_SHARE`.

  What was too large for the host's memory stays in its file.
  """
  if any(isinstance(value, FileArray) for value in arrays.values()):
    return False
  needed = sum(value.nbytes for value in arrays.values())
  return needed <= DEVICE_SHARE * device_memory()


def device_memory() -> int:
  """Bytes of memory that one device has to itself."""
  device = jax.local_devices()[0]
  stats = device.memory_stats() if device.platform != "cpu" else None
  if stats and "bytes_limit" in stats:
    return stats["bytes_limit"]
  # The devices of a CPU share the host's.
  host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
  return host // jax.local_device_count()


def compile_update(
  phase: Phase, feed: Feed, indices: Indices, shardings=None
) -> Callable:
  """`(state, resident, stacked) -> (state, metrics)`, jit-compiled.

  The entries are stacked on a leading axis, metrics likewise; the state is
  donated. It lies by `shardings`, or whole on every device.
  """
  whole = distributed.replicated(feed.mesh)

  def update(state, resident, stacked):
    one = lambda state, entry: phase.update(
      state, feed.batch(indices, resident, entry)
    )
    if jax.tree.leaves(stacked)[0].shape[0] == 1:  # no loop around one step
      state, metrics = one(state, jax.tree.map(lambda v: v[0], stacked))
      return state, jax.tree.map(lambda v: jnp.asarray(v)[None], metrics)
    return jax.lax.scan(one, state, stacked)

  places = (whole if shardings is None else shardings, whole)
  return jax.jit(update, donate_argnums=0, out_shardings=places)


def as_dataset(data: Dataset | Examples) -> Dataset:
  """A split by itself as a data set without a test."""
  return data if isinstance(data, Dataset) else Dataset(data, data.take([]))
