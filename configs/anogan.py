# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""AnoGAN (Schlegl et al., IPMI 2017, arXiv 1703.05921).

    python -m jaxad.run --config anogan

trains on one of the ten embedded `digits` and tells it from the nine others.
The networks are smaller than the published ones, and a search takes 100 steps
in place of 500.

    python -m jaxad.run --config anogan:mnist/2 \
        --config.data.root=/path/to/mnist

is the setting of EGBAD's authors: 28 px, the class of the preset anomalous,
500 steps for each image, which takes hours on a CPU. Add
`--config.detector.search_keeps_moments=true --config.eval.protocol=official`
for a test whose batches depend on each other as theirs do. A folder of images
of one's own: `--config anogan:folder`.
"""

from jaxad import config as configs

# The means over all classes, one of ten anomalous, as ADAE's paper has them.
PAPER = {
  "mnist": {"image_auroc": 0.430},
  "cifar10": {"image_auroc": 0.434},
}


def get_config(preset=None):
  config = configs.base("anogan", preset, default="digits/0")
  config.data.protocol = "leave_one_out"
  config.data.image_size = 28
  config.train.epochs = 50
  config.train.batch_size = 100
  config.train.drop_remainder = True
  config.eval.batch_size = 100
  if config.data.name == "digits":
    config.data.protocol = "one_vs_rest"
    config.data.image_size = 16
    config.train.epochs = 300
    config.train.batch_size = 32
    config.detector.latent_dim = 32
    config.detector.generator_widths = (128, 32, 32)
    config.detector.discriminator_widths = (32, 32, 64)
    config.detector.learning_rate = 1e-3
    config.detector.ema_decay = 0.99
    config.detector.norm_momentum = 0.9
    config.detector.search_steps = 100
    config.detector.search_rates = (5e-2, 2e-2)
    config.detector.search_boundaries = (60,)
  return config
