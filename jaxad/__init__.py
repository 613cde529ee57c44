# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""jaxad: deep anomaly detection in JAX and Flax, as pure functions.

The names below are imported when they are first used, so that `load_scorer`
works where jax and NumPy alone are installed.
"""

import importlib

__version__ = "0.1.0"

_METHODS = (
  "adae",
  "advae",
  "alad",
  "alae",
  "alocc",
  "anogan",
  "caae",
  "cavga",
  "devnet",
  "differnet",
  "dra",
  "egbad",
  "fanogan",
  "flos",
  "ganomaly",
  "gaussian",
  "iforest",
  "hadgan",
  "kdad",
  "knn",
  "mlep",
  "ocgan",
  "ocsvm",
  "pca",
  "rsrae",
  "rx",
  "saoe",
  "skip_ganomaly",
  "vae",
)

# {name: the module that it comes from}
_NAMES = dict.fromkeys(("METHODS", *_METHODS), "jaxad.methods") | {
  "Augmentation": "jaxad.layers.augmentation",
  "Callback": "jaxad.loop",
  "ClippedAdam": "jaxad.optim",
  "Criterion": "jaxad.losses",
  "Detector": "jaxad.detector",
  "InputError": "jaxad.errors",
  "Layout": "jaxad.distributed",
  "Official": "jaxad.detector",
  "Phase": "jaxad.detector",
  "Plan": "jaxad.plan",
  "Preprocess": "jaxad.preprocess",
  "Run": "jaxad.trained",
  "Scores": "jaxad.detector",
  "Search": "jaxad.detector",
  "State": "jaxad.detector",
  "Stream": "jaxad.detector",
  "Trunk": "jaxad.networks.pyramid",
  "fit": "jaxad.loop",
  "load": "jaxad.trained",
  "load_scorer": "jaxad.scorer",
  "make_plan": "jaxad.loop",
}

__all__ = list(_NAMES)


def __getattr__(name):
  if name not in _NAMES:
    raise AttributeError(f"module 'jaxad' has no attribute {name!r}")
  value = getattr(importlib.import_module(_NAMES[name]), name)
  globals()[name] = value
  return value


def __dir__():
  return sorted({*globals(), *__all__})
