# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""jaxad: deep anomaly detection in JAX and Flax, as pure functions."""

from jaxad.detector import Detector, Phase, Scores, State
from jaxad.errors import InputError
from jaxad.methods import METHODS, differnet, ganomaly, ocgan, skip_ganomaly

__version__ = "0.1.0"

__all__ = [
  "METHODS",
  "Detector",
  "InputError",
  "Phase",
  "Scores",
  "State",
  "differnet",
  "ganomaly",
  "ocgan",
  "skip_ganomaly",
]
