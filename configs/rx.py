# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Global RX (Reed and Yu, IEEE Trans. ASSP 1990), a baseline.

    python -m jaxad.run --config rx

takes the mean and covariance of a rendered scene and finds its targets.

    python -m jaxad.run --config rx:scene --config.data.root=/path/to/scene.mat

does so on a scene of one's own, `--config rx:breast_cancer` on rows of a table.
"""

from jaxad import config as configs
from jaxad.data import SCENES, TABLES


def get_config(preset=None):
  config = configs.base("rx", preset, default="scene")
  config.train.batch_size = 1024
  if config.data.name not in (*SCENES, *TABLES):
    config.data.image_size = 64
    config.train.batch_size = 8
  return config
