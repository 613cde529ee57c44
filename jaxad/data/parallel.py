# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Work on many images by several threads, in bounded memory."""

import collections
import concurrent.futures
import os
import sys
from collections.abc import Callable, Iterable

from tqdm import tqdm

from jaxad.data.examples import Item
from jaxad.errors import InputError

# How many are at work at once, at most; as many wait.
_THREADS = 16


def in_parallel(fn: Callable, items: Iterable[Item], total: int | None):
  """Yields (item, fn(item), None) or (item, None, error), in their order.

  Args:
    fn: of an item; an `InputError` of it is yielded.
    items: taken as they are needed.
    total: how many they are, for a progress bar; None shows none.
  """

  def call(item):
    try:
      return item, fn(item), None
    except InputError as error:
      return item, None, error

  # Pillow decodes outside of Python's lock.
  threads = min(_THREADS, os.cpu_count() or 1)
  bar = tqdm(
    total=total,
    desc="reading images",
    unit="image",
    delay=2,
    disable=total is None,
    mininterval=0.1 if sys.stderr.isatty() else 10,
    leave=False,
  )
  pool = concurrent.futures.ThreadPoolExecutor(threads)
  waiting = collections.deque()
  try:
    with bar:
      for item in items:
        waiting.append(pool.submit(call, item))
        if len(waiting) > 2 * threads:
          yield waiting.popleft().result()
          bar.update()
      while waiting:
        yield waiting.popleft().result()
        bar.update()
  finally:
    pool.shutdown(cancel_futures=True)
