# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Skip-GANomaly (Akcay et al., IJCNN 2019, arXiv 1901.08954).

    python -m jaxad.run --config skip_ganomaly

trains on one of the ten embedded `digits` and tells it from the nine others.
Noise on the input keeps the skips of the U-Net from copying the image: without
it the AUROC goes up and down with training (0.99, 0.81, 0.94, 0.99 for the
digit 0 after 25, 50, 75 and 100 epochs), with it it stays near 1.

    python -m jaxad.run --config skip_ganomaly:cifar10/automobile \
        --config.data.root=/path/to/cifar10

is the official setting: 32 px, 15 epochs, the class of the preset anomalous, no
noise. Add `--config.eval.protocol=official` for the figures of the authors'
test code beside those of new images. A folder of images of one's own: `--config
skip_ganomaly:folder`.
"""

from jaxad import config as configs

# Table 1.
PAPER = {
  "cifar10/automobile": {"image_auroc": 0.953},
}


def get_config(preset=None):
  config = configs.base("skip_ganomaly", preset, default="digits/0")
  config.data.protocol = "leave_one_out"
  config.data.image_size = 32
  config.train.epochs = 15
  config.train.batch_size = 64
  config.train.drop_remainder = True
  config.eval.batch_size = 64
  if config.data.name == "digits":
    config.data.protocol = "one_vs_rest"
    config.train.epochs = 80
    config.train.batch_size = 32
    config.detector.width = 16
    config.detector.width_d = 16
    config.detector.noise = 1.0
  return config
