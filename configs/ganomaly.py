# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""GANomaly (Akcay et al., ACCV 2018, arXiv 1805.06725).

    python -m jaxad.run --config ganomaly

trains on nine of the ten embedded `digits` and finds the tenth.

    python -m jaxad.run --config ganomaly:mnist/2 \
        --config.data.root=/path/to/mnist

is the official setting: 32 px, 15 epochs, the class of the preset anomalous.
Add `--config.eval.protocol=official` for the figures of the authors' test code
beside those of new images. A folder of images of one's own: `--config
ganomaly:folder`.
"""

from jaxad import config as configs

# The means over all classes as ADAE's paper quotes them; the paper has plots.
PAPER = {
  "mnist": {"image_auroc": 0.780},
  "cifar10": {"image_auroc": 0.605},
}


def get_config(preset=None):
  config = configs.base("ganomaly", preset, default="digits/0")
  config.data.protocol = "leave_one_out"
  config.data.image_size = 32
  config.train.epochs = 15
  config.train.batch_size = 64
  config.train.drop_remainder = True
  config.eval.batch_size = 64
  if config.data.name == "digits":
    config.train.epochs = 25
    config.detector.width = 32
  return config
