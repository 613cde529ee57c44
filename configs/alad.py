# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""ALAD (Zenati et al., ICDM 2018, arXiv 1812.02288).

    python -m jaxad.run --config alad

trains on one of the ten embedded `digits` and tells it from the nine others, by
networks that are smaller than the published ones.

    python -m jaxad.run --config alad:breast_cancer

trains on rows of a table, as `alad:table` with a file of one's own, which
`--config alad:table/arrhythmia` does with the networks for arrhythmia.

    python -m jaxad.run --config alad:fashion_mnist/8 \
        --config.data.root=/path/to/fashion_mnist

has the authors' networks for images, 32 px, the class of the preset normal. A
folder of images of one's own: `--config alad:folder`. The authors stop when the
score of held-out examples no longer falls: `--config.eval.patience=10`.
"""

from jaxad import config as configs
from jaxad.data import TABLES
from jaxad.networks.alad import ARRHYTHMIA


def get_config(preset=None):
  config = configs.base("alad", preset, default="digits/0")
  config.train.drop_remainder = True
  if config.data.name in TABLES:
    config.train.epochs = 150
    config.train.batch_size = 50
    if config.data.subset == "arrhythmia":
      config.data.subset = None
      config.train.batch_size = 32
      config.detector.tables.update(ARRHYTHMIA._asdict())
      config.detector.percentile = 85.0
    return config
  config.data.image_size = 32
  config.train.epochs = 100
  config.train.batch_size = 32
  config.eval.batch_size = 100
  if config.data.name == "digits":
    config.data.image_size = 16
    config.train.epochs = 500
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
