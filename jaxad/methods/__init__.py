# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The methods, one paper a file."""

import inspect
from collections.abc import Callable
from typing import Any

from jaxad.detector import Detector
from jaxad.methods.adae import adae
from jaxad.methods.advae import advae
from jaxad.methods.alad import alad
from jaxad.methods.alae import alae
from jaxad.methods.alocc import alocc
from jaxad.methods.anogan import anogan
from jaxad.methods.baselines import gaussian, iforest, knn, ocsvm, pca
from jaxad.methods.caae import caae
from jaxad.methods.cavga import cavga
from jaxad.methods.devnet import devnet, flos
from jaxad.methods.differnet import differnet
from jaxad.methods.dra import dra
from jaxad.methods.egbad import egbad
from jaxad.methods.fanogan import fanogan
from jaxad.methods.ganomaly import ganomaly
from jaxad.methods.hadgan import hadgan
from jaxad.methods.kdad import kdad
from jaxad.methods.mlep import mlep
from jaxad.methods.ocgan import ocgan
from jaxad.methods.rsrae import rsrae
from jaxad.methods.rx import rx
from jaxad.methods.saoe import saoe
from jaxad.methods.skip_ganomaly import skip_ganomaly
from jaxad.methods.vae import vae
from jaxad.networks.pyramid import Trunk

# Of rows there is none.
_NO_TRUNK = {"trunk": Trunk(weights="random", train_norms=False)}

# Methods that take rows of tables too, with the keywords that suit those.
ROWS: dict[str, dict[str, Any]] = {
  # Columns of mean 0 leave the range of a sigmoid.
  "advae": {"output": "linear"},
  # The code's rate for tables is 1e-5, of ten thousands of steps.
  "alad": {"learning_rate": 1e-3, "ema_decay": 0.99},
  # A flow for images is too wide for a few columns, and its score leaves the
  # volume out of the density. There is no trunk.
  "differnet": {
    "weights": "random",
    "n_blocks": 4,
    "hidden": 64,
    "score": "nll",
  },
  # The code's, but for its rate, that of ten thousands of steps.
  "egbad": {"latent_dim": 32, "learning_rate": 1e-3},
  "gaussian": _NO_TRUNK,
  "iforest": _NO_TRUNK,
  "knn": _NO_TRUNK,
  "ocsvm": _NO_TRUNK,
  "pca": _NO_TRUNK | {"n_components": 2},
  # Columns are few, epochs of few steps, and how far off a row lies counts.
  "rsrae": {
    "latent_dim": 2,
    "learning_rate": 1e-3,
    "learning_rate_rsr": 1e-2,
    "score": "reconstruction",
  },
  "rx": {},
}

# Those that take hyperspectral scenes, likewise.
SCENES: dict[str, dict[str, Any]] = {"hadgan": {}, "rx": {}}

METHODS: dict[str, Callable[..., Detector]] = {
  "adae": adae,
  "advae": advae,
  "alad": alad,
  "alae": alae,
  "alocc": alocc,
  "anogan": anogan,
  "caae": caae,
  "cavga": cavga,
  "devnet": devnet,
  "differnet": differnet,
  "dra": dra,
  "egbad": egbad,
  "fanogan": fanogan,
  "flos": flos,
  "ganomaly": ganomaly,
  "gaussian": gaussian,
  "iforest": iforest,
  "hadgan": hadgan,
  "kdad": kdad,
  "knn": knn,
  "mlep": mlep,
  "ocgan": ocgan,
  "ocsvm": ocsvm,
  "pca": pca,
  "rsrae": rsrae,
  "rx": rx,
  "saoe": saoe,
  "skip_ganomaly": skip_ganomaly,
  "vae": vae,
}


def described(name: str) -> tuple[str, str]:
  """The title of a method, "NAME: what it does.", and its paper."""
  factory = METHODS[name]
  # A variant of another method says itself what it is.
  variant = hasattr(factory, "func")
  text = inspect.getdoc(factory if variant else inspect.getmodule(factory))
  title, paper, *_ = text.split("\n\n")
  return title, paper
