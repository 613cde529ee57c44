# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""OCGAN (Perera et al., CVPR 2019, arXiv 1903.08550).

    python -m jaxad.run --config configs/ocgan.py

trains on one of the ten embedded `digits` and tells it from the nine others.

    python -m jaxad.run --config configs/ocgan.py:mnist/8 \
        --config.data.root=/path/to/mnist

is the paper's protocol 2 at 29 px, for a CPU; its size is
`--config.data.image_size=61 --config.detector.depth=3`, and its protocol 1
`--config.data.protocol=one_vs_rest_80_20`.
"""

from jaxad import config as configs


def get_config(preset=None):
  config = configs.base("ocgan")
  config.data.name, _, subset = (preset or "digits/0").partition("/")
  config.data.subset = subset or None
  config.data.image_size = 29
  config.train.epochs = 50
  config.train.batch_size = 64
  config.train.drop_remainder = True
  config.eval.batch_size = 64
  config.detector.depth = 2
  if config.data.name == "digits":
    config.data.image_size = 13
    config.train.epochs = 200
    config.train.batch_size = 32
    config.detector.depth = 1
  return config
