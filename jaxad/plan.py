# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The lengths of a run, which its schedules know; made by `jaxad.make_plan`."""

from typing import NamedTuple


class Plan(NamedTuple):
  """How long a run is, and in which steps.

  Attributes:
    batch_size: rows of a whole batch, over all devices.
    ends: for each phase the step at which it ends, counted over all phases.
    steps_per_epoch: for each phase, steps in one pass over its data.
    drop_remainder: whether a last, smaller batch is left out or padded.
    seed: of the order of the data.
    steps_per_dispatch: updates in one call of the compiled function.
  """

  batch_size: int
  ends: tuple[int, ...]
  steps_per_epoch: tuple[int, ...]
  drop_remainder: bool = False
  seed: int = 0
  steps_per_dispatch: int = 1

  @property
  def steps(self) -> int:
    """Of the whole run."""
    return self.ends[-1] if self.ends else 0

  def start(self, phase: int) -> int:
    """The step at which a phase begins."""
    return self.ends[phase - 1] if phase else 0

  def epoch(self, phase: int, step: int) -> int:
    """Epochs that are over after so many steps, the last of them in a phase.

    The end of a phase ends an epoch.
    """
    past = (
      -(-(self.ends[k] - self.start(k)) // self.steps_per_epoch[k])
      for k in range(phase)
    )
    here = (step - self.start(phase)) // self.steps_per_epoch[phase]
    return sum(past) + here
