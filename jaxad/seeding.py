# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Random numbers on the host: one stream for each purpose."""

import zlib

import numpy as np


def generator(purpose: str, *numbers: int) -> np.random.Generator:
  """The generator of a purpose, such as ("epoch", seed, 3).

  NumPy's own seeds `s`, `(s, 0)` and `(s, 0, 0)` are one stream; here two
  different arguments never share one.

  Args:
    purpose: what is drawn.
    *numbers: a seed, an epoch, ...; 0 or more.
  """
  tag = zlib.crc32(purpose.encode())
  return np.random.default_rng((tag, len(numbers), *numbers))
