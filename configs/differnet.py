# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""DifferNet (Rudolph et al., WACV 2021, arXiv 2008.12577).

    python -m jaxad.run --config differnet

trains on the embedded `textures` set, and

    python -m jaxad.run --config differnet:folder \
        --config.data.root=/path/to/images

on photographs of one's own, 30 to 1000 of them, in minutes on two CPU cores:
EfficientNet-Lite0, whose weights come with the installation, at 224 px and two
scales, whose features are computed once. For small defects,
`--config.data.image_size=448` takes four times as long. Parts that lie at any
angle want the paper's rotations: `--config.detector.rotations=true
--config.train.cached_views=8 --config.detector.n_transforms_test=8`.

    python -m jaxad.run --config differnet:mvtec_ad/bottle \
        --config.data.root=/path/to/mvtec_ad

is the paper's setting, for a GPU: AlexNet, 448 px, three scales, 192 epochs of
new rotations, 64 rotations a score; a fifth of the normal images are held out
for the threshold, which `--config.data.holdout=0` trains on too. The paper's
image AUROC is 0.990 for bottle and 0.949 on average over MVTec AD, and 0.977 on
`magnetic_tile`.
"""

from jaxad import config as configs
from jaxad.data import TABLES
from jaxad.networks.trunk import is_at_hand

TRUNK = "efficientnet_lite0"

# Of MVTec AD without a category the mean over all.
PAPER = {
  "mvtec_ad/bottle": {"image_auroc": 0.990},
  "mvtec_ad/screw": {"image_auroc": 0.963},
  "mvtec_ad": {"image_auroc": 0.949},
  "magnetic_tile": {"image_auroc": 0.977},
}


def get_config(preset=None):
  config = configs.base("differnet", preset)
  config.train.batch_size = 24
  if config.data.name == "textures":
    return embedded(config)
  if config.data.name == "folder":
    return photographs(config)
  if config.data.name in TABLES:
    config.train.epochs = 100
    return config
  config.eval.batch_size = 1
  config.data.image_size = 448
  config.train.epochs = 192
  return config


def photographs(config):
  """A pretrained trunk, whose features are computed once: minutes on a CPU."""
  config.data.image_size = 224
  config.train.epochs = 40
  config.train.cached_views = 1
  config.detector.trunk = TRUNK
  config.detector.n_scales = 2
  config.detector.hidden = 128
  # Photographs of parts are taken upright; a turned one has black corners.
  config.detector.rotations = False
  config.detector.n_transforms = config.detector.n_transforms_test = 1
  return config


def embedded(config):
  """The same on rendered surfaces; without the weights' package a random trunk.

  A third is held out, so that the rate of false alarms is told well.
  """
  photographs(config)
  config.data.n_train = 144
  config.data.holdout = 1 / 3
  if not is_at_hand(TRUNK):
    config.detector.weights = "random"
  return config
