# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""ALOCC (Sabokrou et al., CVPR 2018, arXiv 1802.09088).

    python -m jaxad.run --config alocc

trains on one of the ten embedded `digits` and finds the nine others. It scores
by the refiner's error: on a hundred images the discriminator's two scores swing
between AUROCs of 0.2 and 0.9 while it trains.

    python -m jaxad.run --config alocc:mnist/1 --config.data.root=/path/to/mnist

is the paper's setting: 28 px, one class normal, D(R(x)) as the score. Add
`--config.detector.rho=0.02` for its stop rule, and for the authors' code
`--config.detector.refine=released --config.detector.r_steps=2
--config.detector.noise=fixed --config.detector.score=plain
--config.detector.mean=0 --config.detector.std=1
--config.eval.protocol=official`. A folder of images of one's own:
`--config alocc:folder`.
"""

from jaxad import config as configs


def get_config(preset=None):
  config = configs.base("alocc", preset, default="digits/1")
  config.data.image_size = 28
  config.train.epochs = 40
  config.train.batch_size = 128
  config.train.drop_remainder = True
  config.eval.batch_size = 100
  if config.data.name == "digits":
    config.data.image_size = 16
    config.train.epochs = 150
    config.train.batch_size = 32
    config.detector.score = "error"
  return config
