# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""f-AnoGAN (Schlegl et al., Medical Image Analysis 2019).

    python -m jaxad.run --config fanogan

trains on one of the ten embedded `digits` and tells it from the nine others.

    python -m jaxad.run --config fanogan:mnist/8 \
        --config.data.root=/path/to/mnist

has the networks and lengths of the official code, for 64 px: 7 epochs of the
GAN, then 50000 steps of the encoder. They want a GPU. A folder of images of
one's own, with `--config.data.channels=1` in grey as the paper's: `--config
fanogan:folder`.
"""

from jaxad import config as configs


def get_config(preset=None):
  config = configs.base("fanogan", preset, default="digits/0")
  config.data.image_size = 64
  config.train.epochs = 7
  config.train.batch_size = 64
  config.eval.batch_size = 64
  config.detector.encoder_steps = 50000
  if config.data.name in ("digits", "mnist"):
    # Digits have a left and a right.
    config.detector.flip = 0.0
  if config.data.name == "digits":
    config.data.image_size = 8
    config.train.epochs = 150
    config.train.batch_size = 32
    config.detector.width = 16
    config.detector.latent_dim = 16
    config.detector.critic_iters = 2
    config.detector.learning_rate = 5e-4
    config.detector.norm_momentum = 0.9
    config.detector.learning_rate_enc = 1e-3
    config.detector.encoder_steps = 300
  return config
