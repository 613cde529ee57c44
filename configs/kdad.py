# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""KDAD (Salehi et al., CVPR 2021, arXiv 2011.11108)."""

from jaxad import config as configs


def get_config(preset=None):
  config = configs.base("kdad")
  config.data.name, _, subset = (preset or "textures").partition("/")
  config.data.subset = subset or None
  config.train.drop_remainder = True
  config.data.image_size = 128
  if config.data.name == "textures":
    config.detector.weights = "random"
    config.train.batch_size = 16
    config.train.epochs = 10
    config.eval.batch_size = 16
  return config
