# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""From a hyperspectral scene as it comes to the spectra that a detector sees.

What `Preprocess` is for images: one `Bands` goes with a run from its scene to
its predictions and into the file that is deployed. It needs NumPy alone.
"""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Literal

import numpy as np

from jaxad.errors import InputError
from jaxad.fields import Count, CountOrZero, check

SCALES = ("cube", "band", "standard", "none")


@dataclasses.dataclass(frozen=True)
class Bands:
  """What happens to a scene between its file and the detector.

  Attributes:
    total: bands of a scene in its file.
    chosen: those that are seen, from 0, B of them.
    scale: what `fitted` brings them to: "cube" is [0, 1] for all of them
      together, "band" for each by itself, "standard" is mean 0 and deviation 1
      for each, "none" leaves them.
    shift: what is taken off each of the B bands; () before `fitted`.
    factor: by which it is then multiplied.
  """

  total: Count
  chosen: tuple[CountOrZero, ...]
  scale: Literal[SCALES] = "cube"
  shift: tuple[float, ...] = ()
  factor: tuple[float, ...] = ()

  def __post_init__(self):
    kinds = typing.get_type_hints(type(self), include_extras=True)
    for name, kind in kinds.items():
      check(name, getattr(self, name), kind)
    lengths = {len(self.shift), len(self.factor)}
    if not self.chosen or max(self.chosen) >= self.total:
      raise InputError(f"bands: expected some of the {self.total}.")
    if lengths not in ({0}, {len(self.chosen)}):
      raise InputError("bands: their lists differ in length.")

  def fitted(self, scene: np.ndarray) -> "Bands":
    """The same bands, scaled by a scene [h, w, total]."""
    rows = scene.reshape(-1, self.total)[:, list(self.chosen)]
    if self.scale == "standard":
      shift, unit = rows.mean(0, dtype=np.float64), rows.std(0, dtype=float)
    elif self.scale == "none":
      shift, unit = np.zeros(rows.shape[1]), np.ones(rows.shape[1])
    else:
      low, high = np.float64(rows.min(0)), np.float64(rows.max(0))
      if self.scale == "cube":
        low, high = np.full_like(low, low.min()), np.full_like(low, high.max())
      shift, unit = low, high - low
    # A band of one value keeps its unit.
    factor = 1 / np.where(unit > 1e-12 * np.abs(shift), unit, 1.0)
    plain = lambda v: tuple(np.float64(v).tolist())
    return dataclasses.replace(self, shift=plain(shift), factor=plain(factor))

  def seen(self, scene: np.ndarray) -> np.ndarray:
    """A scene [..., total] as the detector sees it: float32 [..., B].

    Raises:
      InputError: it has other bands, or values that are not finite numbers.
    """
    scene = np.asarray(scene)
    if scene.ndim < 3 or scene.shape[-1] != self.total:
      bands = f"{scene.shape[-1]} bands" if scene.ndim > 2 else "no bands"
      raise InputError(
        f"a scene of shape {list(scene.shape)}: {bands}, and training had "
        f"{self.total}; expected [h, w, {self.total}]."
      )
    if scene.dtype.kind not in "iuf":
      raise InputError(f"a scene of {scene.dtype}; expected numbers.")
    found = np.empty((*scene.shape[:-1], len(self.chosen)), np.float32)
    # Band by band: float64 of a whole scene would be four times as large.
    numbers = zip(self.chosen, self.shift, self.factor, strict=True)
    for k, (band, shift, factor) in enumerate(numbers):
      with np.errstate(over="ignore"):
        found[..., k] = (np.float64(scene[..., band]) - shift) * factor
    if not np.isfinite(found).all():
      raise InputError("a scene with values that are not finite numbers.")
    return found

  def views(self, scene) -> tuple[np.ndarray, None]:
    """A scene [h, w, total] as the detector sees it, float32 [1, h, w, B].

    Raises:
      InputError: it is no such scene.
    """
    if np.ndim(scene) != 3:
      raise InputError(
        f"an array of shape {list(np.shape(scene))}: expected a scene "
        f"[h, w, {self.total}]."
      )
    return self.seen(scene)[None], None

  def to_json(self) -> dict:
    """Plain values, for `from_json`."""
    return dataclasses.asdict(self)

  @classmethod
  def from_json(cls, values: Mapping) -> "Bands":
    """The inverse of `to_json`, also after JSON has made lists of tuples.

    Raises:
      InputError: a value is missing, unknown, or not what it may be.
    """
    known = {field.name for field in dataclasses.fields(cls)}
    if not isinstance(values, Mapping) or set(values) != known:
      raise InputError(f"bands: expected {', '.join(sorted(known))}.")
    plain = lambda v: tuple(v) if isinstance(v, list) else v
    return cls(**{name: plain(value) for name, value in values.items()})
