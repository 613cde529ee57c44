# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""One workload, how large it is, and what both libraries are given.

Nothing here imports JAX, which would count as memory of PyTorch's process.
"""

import pkgutil
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np


class Value(NamedTuple):
  """A keyword of jaxad's own types, made where jaxad is timed.

  Attributes:
    name: of the type, "module:Type".
    fields: of the value, where they are not the defaults.
  """

  name: str
  fields: Mapping[str, Any]

  def make(self):
    return pkgutil.resolve_name(self.name)(**self.fields)


class Size(NamedTuple):
  """How large a workload is.

  Attributes:
    batch: examples in a step.
    shape: of an example: uint8 [H, W, C], or float32 rows [D].
    keywords: of the factory, where they are not its defaults; see `Value`.
    steps: of a search that one run takes.
  """

  batch: int
  shape: tuple[int, ...]
  keywords: Mapping[str, Any] = {}
  steps: int = 1


class Workload(NamedTuple):
  """What is timed.

  Attributes:
    method: a factory of jaxad.
    part: tells the workloads of a method apart.
    title: one line on it.
    full: the size of the paper or of the authors' code.
    small: another, to see whether everything runs.
    kind: "step", "fit", "score", "map", or "search": one step of a score that
      is a search.
    phase: which of the detector's phases is trained.
    floats: whether examples with three axes are float32: scenes.
    on_cpu: the full batch on a CPU, where the paper's takes too long.
    needs: [(operations, bytes)] that a full step needs, by hand, of its parts
      that follow each other; where there are none, XLA's count is taken.
    extra: whether it runs only when it is named.
  """

  method: str
  part: str
  title: str
  full: Size
  small: Size
  kind: str
  phase: int = -1
  floats: bool = False
  on_cpu: int | None = None
  needs: tuple[tuple[float, float], ...] = ()
  extra: bool = False

  @property
  def name(self) -> str:
    return f"{self.method}/{self.part}"

  def size(self, small: bool, on_cpu: bool) -> Size:
    """The size to run on a device of that kind."""
    if small:
      return self.small
    if on_cpu and self.on_cpu:
      return self.full._replace(batch=self.on_cpu)
    return self.full


def make_array(workload: Workload, size: Size, n: int | None = None):
  """n examples, or a batch of them."""
  shape = (n or size.batch, *size.shape)
  rng = np.random.default_rng(0)
  if len(size.shape) == 3 and not workload.floats:
    return rng.integers(0, 256, shape, np.uint8)
  return rng.standard_normal(shape, np.float32)


def pair(method, what, full, small, score=None, **fields):
  """The workloads "train" and "score" of a method.

  Args:
    method: its name.
    what: an example is.
    full: size of the training.
    small: likewise.
    score: (full, small) sizes of the scoring, where they are others.
    fields: of both.
  """
  scored = score or (full, small)
  noun = lambda size: f"{size.batch} {what}"
  return [
    Workload(
      *(method, "train", f"training step, {noun(full)}"),
      *(full, small, "step"),
      **fields,
    ),
    Workload(
      *(method, "score", f"scores of {noun(scored[0])}"),
      *(*scored, "score"),
      **(fields | {"phase": -1, "on_cpu": None}),
    ),
  ]
