# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""VAE and IWAE scores (Lu and Xu, 2018, arXiv 1807.01349).

    python -m jaxad.run --config vae

trains on one of the ten embedded `digits` and tells it from the nine others,
by networks that are smaller than the published ones.

    python -m jaxad.run --config vae:fashion_mnist/8 \
        --config.data.root=/path/to/fashion_mnist

has the paper's networks for 32 px, the class of the preset normal. A folder of
images of one's own, at the paper's 128 px: `--config vae:folder`.
"""

from jaxad import config as configs


def get_config(preset=None):
  config = configs.base("vae", preset, default="digits/0")
  config.data.image_size = 128
  config.train.epochs = 40
  config.train.batch_size = 32
  config.train.drop_remainder = True
  config.eval.batch_size = 16
  if config.data.name in ("mnist", "fashion_mnist", "cifar10"):
    config.data.image_size = 32
    config.eval.batch_size = 100
    config.detector.images_at_once = 1500
  if config.data.name == "digits":
    config.data.image_size = 16
    config.train.epochs = 200
    config.eval.batch_size = 100
    config.detector.images_at_once = 1500
    config.detector.width = 16
    config.detector.latent_dim = 16
    config.detector.learning_rate = 1e-3
  return config
