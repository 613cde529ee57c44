# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Batches of a decoded split, in an order that (seed, epoch) decides."""

from collections.abc import Iterator

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
  return _gather(
    examples, index[start:, columns], weight[start:, columns], with_mask
  )


def _check(n, batch_size, start, drop_remainder, process_index, process_count):
  if batch_size <= 0 or batch_size % process_count:
    raise InputError(
      f"batch_size is {batch_size}; expected a positive multiple of the "
      f"number of processes, {process_count}"
    )
  if not 0 <= process_index < process_count:
    raise InputError(
      f"process_index is {process_index}; expected 0 to {process_count - 1}"
    )
  if drop_remainder and n < batch_size:
    raise InputError(
      f"batch_size is {batch_size}, but there are only {n} examples; lower it"
    )
  count = number_of_batches(n, batch_size, drop_remainder)
  if not 0 <= start <= count:
    raise InputError(
      f"start is {start}; expected 0 to {count}, the batches of an epoch"
    )


def _gather(examples, index, weight, with_mask):
  """Yields one dict for each row of `index` and `weight`, [batches, B]."""
  if not len(index):
    return
  tf = _tf.tensorflow()
  arrays = {"x": examples.x, "label": examples.label}
  if with_mask:
    arrays["mask"] = examples.mask

  def gather(rows):
    return [array[rows] for array in arrays.values()]

  def parts(rows, weight):
    types = [array.dtype for array in arrays.values()]
    gathered = tf.numpy_function(gather, [rows], types, stateful=False)
    batch = dict(zip(arrays, gathered, strict=True))
    return batch | {"weight": weight, "index": rows}

  dataset = tf.data.Dataset.from_tensor_slices((index, weight))
  yield from _tf.parallel_map(dataset, parts).as_numpy_iterator()
