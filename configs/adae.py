# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""ADAE (Vu et al., 2019, arXiv 1902.06924).

    python -m jaxad.run --config adae

trains on nine of the ten embedded `digits` and finds the tenth.

    python -m jaxad.run --config adae:mnist/2 --config.data.root=/path/to/mnist

is the paper's setting: 32 px, 100 epochs, the class of the preset anomalous,
at ten times the paper's learning rate. A folder of images of one's own:
`--config adae:folder`.
"""

from jaxad import config as configs

# Without a class the mean over all ten.
PAPER = {
  "mnist/1": {"image_auroc": 0.821},
  "mnist/2": {"image_auroc": 0.948},
  "mnist/5": {"image_auroc": 0.906},
  "mnist/8": {"image_auroc": 0.925},
  "mnist/9": {"image_auroc": 0.631},
  "mnist": {"image_auroc": 0.858},
  "cifar10/airplane": {"image_auroc": 0.633},
  "cifar10/automobile": {"image_auroc": 0.729},
  "cifar10/deer": {"image_auroc": 0.496},
  "cifar10/truck": {"image_auroc": 0.697},
  "cifar10": {"image_auroc": 0.610},
}


def get_config(preset=None):
  config = configs.base("adae", preset, default="digits/0")
  config.data.protocol = "leave_one_out"
  config.data.image_size = 32
  config.train.epochs = 100
  config.train.batch_size = 64
  config.train.drop_remainder = True
  config.eval.batch_size = 64
  if config.data.name == "digits":
    config.data.image_size = 16
    config.train.epochs = 30
    config.detector.latent_dim = 6
    config.detector.lambda_d = config.detector.lambda_g = 0.1
    config.detector.learning_rate = 2e-3
  return config
