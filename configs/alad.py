# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""ALAD (Zenati et al., ICDM 2018, arXiv 1812.02288).

    python -m jaxad.run --config alad

trains on one of the ten embedded `digits` and tells it from the nine others.

    python -m jaxad.run --config alad:fashion_mnist/8 \
        --config.data.root=/path/to/fashion_mnist

has the networks, rates and batches of the paper's images, at 32 px. The code
stops when the score of held-out images no longer falls: add
`--config.eval.patience=10` and enough epochs.
"""

from jaxad import config as configs


def get_config(preset=None):
  config = configs.base("alad", preset, default="digits/0")
  config.data.image_size = 32
  config.train.epochs = 100
  config.train.batch_size = 32
  config.train.drop_remainder = True
  config.eval.batch_size = 100
  if config.data.name == "digits":
    config.data.image_size = 16
    config.train.epochs = 100
    config.detector.learning_rate = 1e-3
    config.detector.ema_decay = 0.99
    config.detector.images.latent_dim = 16
    config.detector.images.encoder = (16, 32)
    config.detector.images.generator = (32, 16)
    config.detector.images.xz_data = (16, 32)
    config.detector.images.xz_code = (64,)
    config.detector.images.xz_joint = (64,)
    config.detector.images.xx = (16, 32)
    config.detector.images.zz = (64, 32)
  return config
