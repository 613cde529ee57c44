# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Constrained AAE (Chen and Konukoglu, MIDL 2018, arXiv 1806.04972).

    python -m jaxad.run --config caae

trains on the embedded `textures`, in grey.
"""

from jaxad import config as configs


def get_config(preset=None):
  config = configs.base("caae", preset)
  config.data.channels = 1
  config.data.image_size = 256
  config.train.epochs = 300
  config.train.batch_size = 64
  config.train.drop_remainder = True
  config.eval.batch_size = 16
  if config.data.name == "textures":
    config.data.image_size = 64
    config.train.epochs = 30
    config.train.batch_size = 16
    config.detector.warm_up = 0.0
    config.detector.critic_steps = 5
    config.detector.learning_rate = 1e-3
  return config
