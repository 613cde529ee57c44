# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The input pipeline of data that stay on the host."""

import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from jaxad.data import _tf

Arrays = dict[str, np.ndarray]

# Stacks that wait for the devices: one is used, one computed.
AHEAD = 2


def computed_ahead(entries: Iterable[Arrays]) -> Iterator[Arrays]:
  """The same arrays, made by tf.data on a thread before they are asked for.

  Args:
    entries: all with the same names, and arrays that differ in the length of
      their first axis alone.
  """
  entries = iter(entries)
  first = next(entries, None)
  if first is None:
    return
  tf = _tf.tensorflow()
  signature = {
    name: tf.TensorSpec((None, *value.shape[1:]), value.dtype)
    for name, value in first.items()
  }
  dataset = tf.data.Dataset.from_generator(
    lambda: itertools.chain([first], entries), output_signature=signature
  )
  yield from _tf.on_own_thread(dataset.prefetch(AHEAD)).as_numpy_iterator()
