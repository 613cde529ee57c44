# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Batches of a decoded split, in an order that the seed decides."""

from collections.abc import Callable, Iterator

import numpy as np

from jaxad.data import _tf
from jaxad.data.examples import Examples
from jaxad.errors import InputError


def number_of_batches(
  n: int, batch_size: int, drop_remainder: bool = False
) -> int:
  """How many batches `batches` makes of `n` examples in one epoch."""
  return n // batch_size if drop_remainder else -(-n // batch_size)


def batches(
  examples: Examples,
  batch_size: int,
  *,
  seed: int | None = None,
  epoch: int = 0,
  start: int = 0,
  drop_remainder: bool = False,
  with_mask: bool = False,
  process_index: int = 0,
  process_count: int = 1,
) -> Iterator[dict[str, np.ndarray]]:
  """One epoch of batches of one shape, gathered ahead by tf.data.

  A last, smaller batch is filled up by repeating its first example with weight
  0, so that a jitted function compiles once.

  Args:
    examples: the split.
    batch_size: global batch size; every process gets the same share of it.
    seed: None keeps the order of the split, for evaluation. Else the order is
      the permutation of `numpy.random.default_rng((seed, epoch))`.
    epoch: the number of the epoch.
    start: how many batches of this epoch to leave out: a run that stopped
      after `start` batches goes on with exactly those it would have seen.
    drop_remainder: leave a last, smaller batch out.
    with_mask: add `mask`.
    process_index: which part of each global batch to give: process p has rows
      p * B to (p + 1) * B, where B = batch_size / process_count.
    process_count: number of processes.

  Returns:
    An iterator of dicts of read-only arrays:
      x       [B, ...] as in `examples`
      weight  [B] float32, 0 for padding, else 1
      label   [B] int32
      index   [B] int32, the row of `examples`
      mask    [B, H, W] uint8, if asked for

  Raises:
    InputError: a wrong size, count or start, or no masks.
  """
  n = len(examples.label)
  _check(n, batch_size, start, drop_remainder, process_index, process_count)
  if with_mask and examples.mask is None:
    raise InputError(
      "the data has no masks; expected `ground_truth/`, or call without "
      "with_mask"
    )
  if seed is not None and seed < 0:
    raise InputError(f"seed is {seed}; expected 0 or more, or None")
  order = np.arange(n, dtype=np.int32)
  if seed is not None:
    order = np.random.default_rng((seed, epoch)).permutation(order)
  count = number_of_batches(n, batch_size, drop_remainder)
  index = np.zeros((count, batch_size), np.int32)
  weight = np.zeros((count, batch_size), np.float32)
  for k in range(count):
    rows = order[k * batch_size : (k + 1) * batch_size]
    index[k] = rows[0]
    index[k, : len(rows)] = rows
    weight[k, : len(rows)] = 1
  part = batch_size // process_count
  columns = slice(process_index * part, (process_index + 1) * part)
  index, weight = index[start:, columns], weight[start:, columns]
  gathered = {"x": (_pick(examples), examples.x.dtype, index)}
  if with_mask:
    masks = examples.mask
    gathered["mask"] = (masks.__getitem__, masks.dtype, index)
  ready = {"weight": weight, "label": examples.label[index], "index": index}
  return _gather(gathered, ready)


# The streams of a balanced run, part of the key of their permutations.
_NORMAL, _ANOMALOUS, _REFERENCE, _OUTLIER, _BESIDE = range(5)


def balanced_batches(
  examples: Examples,
  batch_size: int,
  *,
  seed: int,
  steps_per_epoch: int = 20,
  epoch: int = 0,
  start: int = 0,
  n_normal: int | None = None,
  n_references: int = 0,
  outliers: Examples | None = None,
  outlier_share: float = 0.5,
  n_outliers: int = 0,
  process_index: int = 0,
  process_count: int = 1,
) -> Iterator[dict[str, np.ndarray]]:
  """One epoch of batches in which the few labelled anomalies are not rare.

  The sampler of DRA (Ding et al., arXiv 2203.14506): normal examples (label 0)
  come first in a batch, then anomalies (label 1). Each kind is a stream without
  end, a permutation and then a new one, across batches and epochs. Permutation
  number k of a stream is that of `numpy.random.default_rng((seed, stream, k))`,
  where the streams are 0 of the normal examples, 1 of the anomalies, 2 of the
  references and 4 of outliers beside the rows, so batch i of a run is a
  function of (seed, i) alone. Without anomalies all rows are normal.

  Args:
    examples: the split.
    batch_size: global batch size; every process gets the same share of it.
    seed: decides the order.
    steps_per_epoch: batches in an epoch, however many examples there are.
    epoch: the number of the epoch.
    start: how many batches of this epoch to leave out.
    n_normal: normal rows of a batch; None for two thirds, 2 * batch_size // 3,
      as DRA, SAOE and MLEP have it. DevNet and FLOS have batch_size // 2.
    n_references: normal examples that come with each batch.
    outliers: images of another data set, `Dataset.outliers`. They take the
      places of normal rows, each with probability `outlier_share`, and have
      the label 2.
    outlier_share: as said.
    n_outliers: images of the other data set that come beside each row.
    process_index: as in `batches`. All processes get all references.
    process_count: as in `batches`.

  Returns:
    An iterator of dicts of read-only arrays:
      x          [B, ...] as in `examples`
      weight     [B] float32, all 1
      label      [B] int32, 0, 1 or 2
      index      [B] int32, the row of `examples`, or len(examples.label) + k
                 for row k of `outliers`
      reference  [R, ...] as in `examples`, if there are to be any
      outlier    [n_outliers * B, ...], likewise

  Raises:
    InputError: a wrong size, count or start, or no normal examples.
  """
  normal = np.flatnonzero(examples.label == 0).astype(np.int32)
  anomalous = np.flatnonzero(examples.label == 1).astype(np.int32)
  if n_normal is None:
    n_normal = 2 * batch_size // 3
  if not len(anomalous):
    n_normal = batch_size
  _check_process(batch_size, process_index, process_count)
  _check_balanced(
    batch_size, seed, steps_per_epoch, start, n_normal, n_references
  )
  if not len(normal):
    raise InputError("there are no normal training images; expected some")
  if outliers is not None and outliers.x.shape[1:] != examples.x.shape[1:]:
    raise InputError(
      f"the outliers are {list(outliers.x.shape[1:])}; expected "
      f"{list(examples.x.shape[1:])}, as the training images"
    )
  first = epoch * steps_per_epoch + start
  count = steps_per_epoch - start

  def permutation(stream, rows):
    return lambda k: np.random.default_rng((seed, stream, k)).permutation(rows)

  index = balanced_indices(
    permutation(_NORMAL, normal),
    permutation(_ANOMALOUS, anomalous),
    n_normal,
    batch_size - n_normal,
    first,
    count,
  )
  label = examples.label[index]
  if outliers is not None and outlier_share:
    for step, (rows, labels) in enumerate(zip(index, label, strict=True)):
      rng = np.random.default_rng((seed, _OUTLIER, first + step))
      replaced = rng.random(batch_size) < outlier_share
      other = rng.integers(len(outliers.label), size=batch_size)
      replaced &= labels == 0
      rows[replaced] = len(examples.label) + other[replaced]
      labels[replaced] = 2
  part = batch_size // process_count
  columns = slice(process_index * part, (process_index + 1) * part)
  index, label = index[:, columns], label[:, columns]
  dtype = examples.x.dtype
  gathered = {"x": (_pick(examples, outliers), dtype, index)}
  if n_references:
    rows = _from_stream(
      permutation(_REFERENCE, normal),
      first * n_references,
      count * n_references,
    ).reshape(count, n_references)
    gathered["reference"] = (_pick(examples), dtype, rows)
  if outliers is not None and n_outliers:
    n = n_outliers * batch_size
    rows = _from_stream(
      permutation(_BESIDE, np.arange(len(outliers.label), dtype=np.int32)),
      first * n,
      count * n,
    ).reshape(count, n)
    part *= n_outliers
    columns = slice(process_index * part, (process_index + 1) * part)
    gathered["outlier"] = (_pick(outliers), dtype, rows[:, columns])
  ready = {
    "weight": np.ones(index.shape, np.float32),
    "label": label,
    "index": index,
  }
  return _gather(gathered, ready)


def balanced_indices(
  normal: Callable[[int], np.ndarray],
  anomalous: Callable[[int], np.ndarray],
  n_normal: int,
  n_anomalous: int,
  first: int,
  steps: int,
) -> np.ndarray:
  """The rows of balanced batches, cut from two endless streams.

  Args:
    normal: from k to permutation number k of the normal rows, [n] int.
    anomalous: the same of the anomalous rows.
    n_normal: normal rows of a batch.
    n_anomalous: anomalous rows of a batch, behind them.
    first: the number of the first batch, from the start of the run.
    steps: how many batches.

  Returns:
    int32 [steps, n_normal + n_anomalous].
  """
  parts = [
    _from_stream(stream, first * n, steps * n).reshape(steps, n)
    for stream, n in ((normal, n_normal), (anomalous, n_anomalous))
  ]
  return np.concatenate(parts, axis=1)


def _from_stream(permutation, first, count):
  """Entries first to first + count of permutations set end to end, int32."""
  entries = np.empty(count, np.int32)
  done = 0
  if count:
    k, skip = divmod(first, len(permutation(0)))
  while done < count:
    piece = permutation(k)[skip:][: count - done]
    entries[done : done + len(piece)] = piece
    done, k, skip = done + len(piece), k + 1, 0
  return entries


def _check_balanced(
  batch_size, seed, steps_per_epoch, start, n_normal, n_references
):
  if steps_per_epoch < 1:
    raise InputError(
      f"steps_per_epoch is {steps_per_epoch}; expected 1 or more"
    )
  if not 0 <= start <= steps_per_epoch:
    raise InputError(
      f"start is {start}; expected 0 to {steps_per_epoch}, the batches of an "
      "epoch"
    )
  if seed < 0:
    raise InputError(f"seed is {seed}; expected 0 or more")
  if not 1 <= n_normal <= batch_size:
    raise InputError(
      f"n_normal is {n_normal} of a batch_size of {batch_size}; expected 1 to "
      "batch_size"
    )
  if n_references < 0:
    raise InputError(f"n_references is {n_references}; expected 0 or more")


def _check(n, batch_size, start, drop_remainder, process_index, process_count):
  _check_process(batch_size, process_index, process_count)
  if drop_remainder and n < batch_size:
    raise InputError(
      f"batch_size is {batch_size}, but there are only {n} examples; lower it"
    )
  count = number_of_batches(n, batch_size, drop_remainder)
  if not 0 <= start <= count:
    raise InputError(
      f"start is {start}; expected 0 to {count}, the batches of an epoch"
    )


def _check_process(batch_size, process_index, process_count):
  if batch_size <= 0 or batch_size % process_count:
    raise InputError(
      f"batch_size is {batch_size}; expected a positive multiple of the "
      f"number of processes, {process_count}"
    )
  if not 0 <= process_index < process_count:
    raise InputError(
      f"process_index is {process_index}; expected 0 to {process_count - 1}"
    )


def _pick(examples, outliers=None):
  """From rows, [k] int, to their x; behind the examples come the outliers."""
  if outliers is None:
    return examples.x.__getitem__
  n = len(examples.label)

  def pick(rows):
    late = rows >= n
    x = examples.x[np.where(late, 0, rows)]
    x[late] = outliers.x[rows[late] - n]
    return x

  return pick


def _gather(gathered, ready):
  """Yields one dict for each batch.

  Args:
    gathered: {name: (pick, dtype, index)}; `pick` makes an array of this dtype
      from the rows of one batch, of which `index`, int [batches, k], has all.
    ready: {name: array [batches, ...]}, given as they are.
  """
  if not len(next(iter(ready.values()))):
    return
  tf = _tf.tensorflow()
  picks = [pick for pick, _, _ in gathered.values()]
  types = [dtype for _, dtype, _ in gathered.values()]

  def pick_all(*rows):
    return [pick(r) for pick, r in zip(picks, rows, strict=True)]

  def parts(rows, ready):
    arrays = tf.numpy_function(pick_all, rows, types, stateful=False)
    return dict(zip(gathered, arrays, strict=True)) | ready

  rows = tuple(index for _, _, index in gathered.values())
  dataset = tf.data.Dataset.from_tensor_slices((rows, ready))
  yield from _tf.parallel_map(dataset, parts).as_numpy_iterator()
