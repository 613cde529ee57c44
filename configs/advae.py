# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""adVAE (Wang et al., Knowledge-Based Systems 2020, arXiv 1903.00904).

Its training was never published: it is a port of the paper's equations.

    python -m jaxad.run --config advae

trains on rows of benign tumours and tells malignant ones from them. A table of
one's own: `--config advae:table`.

    python -m jaxad.run --config advae:table/cardio \
        --config.data.root=/path/to/cardio.mat

has what is known of the authors' setting, also for letter, optdigits, pendigits
and satellite: a fifth of the normal rows in the order of the file, and all
anomalies, are the test, and the threshold is of the training rows. Their own
threshold: `--config.eval.threshold=kde_grid`. A folder of images of one's own,
as rows of their pixels: `--config advae:folder`.
"""

from jaxad import config as configs
from jaxad.data import TABLES

# Of the authors' tables: length of the codes, and where the test lies.
CODES = {
  "cardio": (7, "last"),
  "letter": (11, "last"),
  "optdigits": (16, "last"),
  "pendigits": (5, "first"),
  "satellite": (12, "first"),
}

# Of the authors' checkpoints and code, recomputed; at their own threshold.
PAPER = {
  "table/letter": {
    "image_auroc": 0.921,
    "image_average_precision": 0.774,
    "threshold_precision": 0.687,
    "true_positive_rate": 0.790,
    "threshold_f1": 0.735,
  },
  "table/cardio": {
    "image_auroc": 0.967,
    "image_average_precision": 0.951,
    "threshold_precision": 0.704,
    "true_positive_rate": 0.932,
    "threshold_f1": 0.802,
  },
  "table/satellite": {
    "image_auroc": 0.970,
    "image_average_precision": 0.791,
    "threshold_precision": 0.504,
    "true_positive_rate": 0.867,
    "threshold_f1": 0.637,
  },
  "table/optdigits": {
    "image_auroc": 0.997,
    "image_average_precision": 0.957,
    "threshold_precision": 0.562,
    "true_positive_rate": 1.000,
    "threshold_f1": 0.719,
  },
  "table/pendigits": {
    "image_auroc": 0.993,
    "image_average_precision": 0.880,
    "threshold_precision": 0.546,
    "true_positive_rate": 1.000,
    "threshold_f1": 0.706,
  },
}


def get_config(preset=None):
  config = configs.base("advae", preset, default="breast_cancer")
  config.train.steps = 20000
  config.train.batch_size = 128
  config.eval.threshold_value = 0.1
  config.detector.output = "sigmoid"
  if config.data.name not in TABLES:
    config.data.image_size = 32
    config.eval.batch_size = 64
    config.detector.latent_dim = 64
    config.detector.n_samples = 100
    return config
  config.data.table.scale = "min_max"
  # A step of such small networks costs less than its dispatch.
  config.train.steps_per_dispatch = 16
  if config.data.name != "table":
    config.train.steps = 4000
  if config.data.subset in CODES:
    config.detector.latent_dim, where = CODES[config.data.subset]
    config.data.table.divide = where
    # A fifth of the normal rows, but 1080 of 5025.
    config.data.test_fraction = (
      0.215 if config.data.subset == "satellite" else 0.2
    )
    config.data.subset = None
    config.data.holdout = 0.0
    config.eval.threshold_images = 2**16
  return config
