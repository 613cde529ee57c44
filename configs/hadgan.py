# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""HADGAN (Jiang et al., IEEE TGRS 2020), a port of the paper's equations.

    python -m jaxad.run --config hadgan

trains on the spectra of a rendered scene and finds its targets, by networks
that are narrower than the published ones.

    python -m jaxad.run --config hadgan:scene \
        --config.data.root=/path/to/scene.mat

does so on a scene of one's own, and `--config hadgan:scene/paper` with the
published width. Of images, `--config hadgan:folder`, each pixel is a spectrum.
"""

from jaxad import config as configs
from jaxad.data import SCENES


def get_config(preset=None):
  config = configs.base("hadgan", preset, default="scene")
  config.train.drop_remainder = True
  config.train.epochs = 300
  if config.data.name not in SCENES:
    config.data.image_size = 64
    config.train.batch_size = 4
    config.detector.width = 64
    # Of several images, what can be compared among them.
    config.detector.score = "residual"
    return config
  config.train.batch_size = 128
  if config.data.subset == "paper":
    config.data.subset = None
    config.train.batch_size = 32
    return config
  config.train.epochs = 40
  config.detector.width = 200
  return config
