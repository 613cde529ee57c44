# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""ALAE (Pidhorskyi et al., CVPR 2020, arXiv 2004.04467), as a detector.

    python -m jaxad.run --config alae

trains on one of the ten embedded `digits` and tells it from the nine others.

    python -m jaxad.run --config alae:mnist/8 --config.data.root=/path/to/mnist

has the authors' networks and lengths, 28 px and 800 epochs, for a GPU, the
class of the preset normal; the protocol is ours, as the score is. A folder of
images of one's own: `--config alae:folder`.
"""

from jaxad import config as configs


def get_config(preset=None):
  config = configs.base("alae", preset, default="digits/0")
  config.data.image_size = 28
  config.train.epochs = 800
  config.train.batch_size = 128
  config.eval.batch_size = 128
  if config.data.name == "digits":
    config.data.image_size = 16
    config.train.epochs = 500
    config.train.batch_size = 32
    config.detector.latent_dim = 16
    config.detector.hidden = 128
  return config
