# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Constrained AAE (Chen and Konukoglu, MIDL 2018, arXiv 1806.04972).

    python -m jaxad.run --config caae

trains on the embedded `textures`, in grey and at 32 px, by a small network that
cares for its reconstruction more than for the prior.

    python -m jaxad.run --config caae:brain_mri \
        --config.data.root=/path/to/brain_mri

has the authors' network and lengths, in grey and at 256 px, 300 epochs; it
wants a GPU. `mnist/8`, `fashion_mnist/0` and `cifar10/bird` take the class
after the slash as normal, at 32 px; a folder of images of one's own: `--config
caae:folder`.
"""

from jaxad import config as configs

SMALL = ("mnist", "fashion_mnist", "cifar10", "digits")


def get_config(preset=None):
  config = configs.base("caae", preset)
  config.train.epochs = 300
  config.train.batch_size = 64
  config.train.drop_remainder = True
  config.eval.batch_size = 16
  if config.data.name in SMALL:
    config.data.image_size = 32
    config.eval.batch_size = 64
    return config
  config.data.channels = 1
  config.data.image_size = 256
  if config.data.name == "brain_mri":
    # It has 73 normal images to train on, a fifth of which are held out.
    config.train.batch_size = 16
  if config.data.name == "textures":
    return embedded(config)
  return config


def embedded(config):
  """Small enough for a few minutes on a CPU."""
  config.data.image_size = 32
  config.data.n_train = 500
  config.train.epochs = 64
  config.train.batch_size = 16
  config.detector.width = 8
  config.detector.blocks = 2
  config.detector.latent_dim = 32
  config.detector.critic_steps = 2
  config.detector.warm_up = 0.0
  config.detector.lambda_z = 0.02
  config.detector.learning_rate = 1e-3
  config.detector.learning_rate_prior = 5e-5
  config.detector.norm_momentum = 0.99
  return config
