# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Whether new images are still like the normal ones that set the threshold.

A threshold holds for images like those that it comes from. What a camera, a
lamp or a supplier changes moves scores and brightness long before anybody
looks, so both are compared with those of the run's normal images.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

# Fewer images say nothing of a distribution.
FEWEST = 8

# A shift is told where it is both certain and large.
_CERTAIN = 3e-4
_LARGE = 0.25

# Defects are rare: where so many parts are anomalous, of so many at least, the
# parts have changed.
_MANY, _SOME = 0.5, 20


class Shift(NamedTuple):
  """How far a quantity has moved.

  Attributes:
    normal: its median over the normal images of the run.
    seen: its median over the new ones.
    statistic: of Kolmogorov and Smirnov, the largest difference of the two
      distribution functions, 0 to 1.
    p_value: the probability of so large a one if nothing has changed.
    moved: whether it is to be told.
  """

  normal: float
  seen: float
  statistic: float
  p_value: float
  moved: bool


def shift(normal: np.ndarray, seen: np.ndarray) -> Shift | None:
  """Compares two samples [N] and [M]; None where one is too small."""
  if min(len(normal), len(seen)) < FEWEST:
    return None
  found = stats.ks_2samp(normal, seen)
  moved = found.pvalue < _CERTAIN and found.statistic > _LARGE
  return Shift(
    float(np.median(normal)),
    float(np.median(seen)),
    float(found.statistic),
    float(found.pvalue),
    bool(moved),
  )


def compare(
  normal_score: np.ndarray,
  normal_brightness: np.ndarray | None,
  score: np.ndarray,
  brightness: np.ndarray,
  threshold: float,
) -> tuple[dict[str, Shift | None], list[str]]:
  """Compares new images with the normal ones of a run.

  Scores are compared below the threshold: defects among the new images are no
  drift.

  Args:
    normal_score: [N] of the normal images.
    normal_brightness: [N] of them, or None.
    score: [M] of the new images.
    brightness: [M] of them.
    threshold: a score above it is called anomalous.

  Returns:
    The shifts of "score" and "brightness", and a line for all that moved.
  """
  shifts = {
    "score": shift(
      normal_score[normal_score <= threshold], score[score <= threshold]
    )
  }
  if normal_brightness is not None:
    shifts["brightness"] = shift(normal_brightness, brightness)
  said = []
  if len(normal_score) < FEWEST:
    said.append(
      f"nobody watches for drift: the run held out {len(normal_score)} normal "
      f"examples, and {FEWEST} are the fewest to compare with."
    )
  share = float((score > threshold).mean()) if len(score) else 0.0
  if len(score) >= _SOME and share > _MANY:
    said.append(
      f"{share:.0%} are called anomalous; if most of them are good, they are "
      "not like what the run was trained on."
    )
  remedies = {
    "score": "what is normal has changed: look at some, and train again.",
    "brightness": "check exposure, light and camera, or train again with such "
    "images.",
  }
  for name, found in shifts.items():
    if found is not None and found.moved:
      said.append(
        f"the {name} has moved from {found.normal:.4g} to {found.seen:.4g} "
        f"(medians; p = {found.p_value:.1g}): {remedies[name]}"
      )
  return shifts, said
