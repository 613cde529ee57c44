# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""CAVGA (Venkataramanan et al., ECCV 2020, arXiv 1911.08616).

There is no official code: this is a port of the equations.

    python -m jaxad.run --config cavga

trains CAVGA_w on the embedded `textures` with labelled defects.

    python -m jaxad.run --config cavga:mvtec_ad/bottle \
        --config.data.root=/path/to/mvtec_ad

is CAVGA_u of the paper, for a GPU: 256 px, a fine-tuned ResNet-18, 150 epochs.
CAVGA_w is `--config.detector.supervision=weak --config.data.n_anomalies=10`
beside it. The paper's mean pixel AUROC over MVTec AD is 0.89 and 0.93.
"""

from jaxad import config as configs

# The mean over all categories, CAVGA_u with a ResNet-18.
PAPER = {
  "mvtec_ad": {"pixel_auroc": 0.890},
}


def get_config(preset=None):
  config = configs.base("cavga", preset)
  config.data.image_size = 256
  config.train.epochs = 150
  config.train.batch_size = 16
  config.train.drop_remainder = True
  config.eval.batch_size = 40
  if config.data.name == "textures":
    embedded(config)
  return config


def embedded(config):
  """A thin trunk that learns from nothing, in minutes."""
  config.data.image_size = 128
  config.data.n_anomalies = 10
  config.data.setting = "open"
  config.train.epochs = 24
  config.train.batch_size = 24
  detector = config.detector
  detector.supervision = "weak"
  detector.trunk.weights = "random"
  detector.trunk.width = 16
  detector.trunk.blocks = (1, 1, 1, 1)
  detector.trunk.layer = "layer2"
  detector.classifier = "pooled"
  detector.width = 8
  detector.latent_dim = 16
  detector.learning_rate = 1e-3
  detector.w_adv = 0.1
  detector.w_c = detector.w_cga = 1.0
  detector.score = "map_max"
