# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""DifferNet (Rudolph et al., WACV 2021, arXiv 2008.12577).

    python -m jaxad.run --config differnet

trains on the embedded `textures` set with a random trunk and cached views, in
about two minutes on two CPU cores.

    python -m jaxad.run --config differnet:mvtec_ad/bottle \
        --config.data.root=/path/to/mvtec_ad

is the paper's setting, for a GPU: 448 px, three scales, 192 epochs of new
rotations, 64 rotations a score. The paper's image AUROC is 0.990 for bottle
and 0.949 on average over MVTec AD, and 0.977 on `magnetic_tile`.
"""

from jaxad import config as configs


def get_config(preset=None):
  config = configs.base("differnet", preset)
  if config.data.name == "textures":
    return embedded(config)
  config.data.image_size = 448
  config.train.epochs = 192
  config.train.batch_size = 24
  config.eval.batch_size = 1
  return config


def embedded(config):
  """Small enough for minutes on a CPU, without any file to download."""
  config.data.image_size = 256
  config.data.holdout = 0.2
  config.train.epochs = 60
  config.train.batch_size = 24
  config.train.cached_views = 8
  config.eval.batch_size = 8
  config.detector.weights = "random"
  config.detector.n_scales = 2
  config.detector.hidden = 256
  config.detector.n_transforms_test = 8
  return config
