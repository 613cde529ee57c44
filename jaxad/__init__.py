# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""jaxad: deep anomaly detection in JAX and Flax, as pure functions."""

from jaxad.detector import (
  Detector,
  Official,
  Phase,
  Plan,
  Scores,
  Search,
  State,
  Stream,
)
from jaxad.errors import InputError
from jaxad.fit import Callback, fit, make_plan
from jaxad.layers.augmentation import Augmentation
from jaxad.losses import Criterion
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
from jaxad.networks.pyramid import Trunk
from jaxad.optim import ClippedAdam

__version__ = "0.1.0"

__all__ = [
  "METHODS",
  "Augmentation",
  "Callback",
  "ClippedAdam",
  "Criterion",
  "Detector",
  "InputError",
  "Official",
  "Phase",
  "Plan",
  "Scores",
  "Search",
  "State",
  "Stream",
  "Trunk",
  "devnet",
  "differnet",
  "dra",
  "fit",
  "flos",
  "ganomaly",
  "kdad",
  "make_plan",
  "mlep",
  "ocgan",
  "saoe",
  "skip_ganomaly",
]
