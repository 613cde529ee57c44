# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""EGBAD (Zenati et al., arXiv 1802.06222).

    python -m jaxad.run --config egbad

trains on one of the ten embedded `digits` and tells it from the nine others, by
networks that are smaller than the published ones.

    python -m jaxad.run --config egbad:breast_cancer

trains on rows of a table, as `egbad:table` with a file of one's own.

    python -m jaxad.run --config egbad:mnist/2 \
        --config.data.root=/path/to/mnist

is the authors' setting: 28 px, the class of the preset anomalous. A folder of
images of one's own: `--config egbad:folder`.
"""

from jaxad import config as configs
from jaxad.data import TABLES

# The means over all classes, one of ten anomalous, as ADAE's paper has them.
PAPER = {
  "mnist": {"image_auroc": 0.500},
  "cifar10": {"image_auroc": 0.462},
}


def get_config(preset=None):
  config = configs.base("egbad", preset, default="digits/0")
  config.train.drop_remainder = True
  if config.data.name in TABLES:
    config.train.epochs = 100
    config.train.batch_size = 50
    return config
  config.data.protocol = "leave_one_out"
  config.data.image_size = 28
  config.train.epochs = 50
  config.train.batch_size = 100
  config.eval.batch_size = 100
  if config.data.name == "digits":
    config.data.protocol = "one_vs_rest"
    config.data.image_size = 16
    config.train.epochs = 150
    config.train.batch_size = 32
    config.detector.latent_dim = 32
    config.detector.encoder_widths = (32, 64, 64)
    config.detector.generator_widths = (256, 64, 32)
    config.detector.discriminator_widths = (32, 64)
    config.detector.code_width = 128
    config.detector.joint_width = 256
    config.detector.dropout = 0.2
    config.detector.learning_rate = 5e-4
    config.detector.ema_decay = 0.99
    config.detector.norm_momentum = 0.9
  return config
