# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""jaxad: deep anomaly detection in JAX and Flax, as pure functions."""

from jaxad.detector import Balance, Detector, Phase, Scores, State
from jaxad.errors import InputError
from jaxad.methods import (
  METHODS,
  devnet,
  differnet,
  dra,
  flos,
  ganomaly,
  kdad,
  mlep,
  ocgan,
  saoe,
  skip_ganomaly,
)

__version__ = "0.1.0"

__all__ = [
  "METHODS",
  "Balance",
  "Detector",
  "InputError",
  "Phase",
  "Scores",
  "State",
  "devnet",
  "differnet",
  "dra",
  "flos",
  "ganomaly",
  "kdad",
  "mlep",
  "ocgan",
  "saoe",
  "skip_ganomaly",
]
