# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The methods, one paper a file."""

from jaxad.methods.adae import adae
from jaxad.methods.alad import alad
from jaxad.methods.alocc import alocc
from jaxad.methods.anogan import anogan
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
from jaxad.methods.rx import rx
from jaxad.methods.saoe import saoe
from jaxad.methods.skip_ganomaly import skip_ganomaly

# Methods that take rows of tables too, with the keywords that suit those.
ROWS = {
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
  "rx": {},
}

# Those that take hyperspectral scenes, likewise.
SCENES = {"hadgan": {}, "rx": {}}

METHODS = {
  "adae": adae,
  "alad": alad,
  "alocc": alocc,
  "anogan": anogan,
  "devnet": devnet,
  "differnet": differnet,
  "dra": dra,
  "egbad": egbad,
  "fanogan": fanogan,
  "flos": flos,
  "ganomaly": ganomaly,
  "hadgan": hadgan,
  "kdad": kdad,
  "mlep": mlep,
  "ocgan": ocgan,
  "rx": rx,
  "saoe": saoe,
  "skip_ganomaly": skip_ganomaly,
}
