# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""FLOS, DevNet with the focal loss (Lin et al., ICCV 2017, arXiv 1708.02002).

    python -m jaxad.run --config flos

trains on the embedded `textures` with ten labelled defects.

    python -m jaxad.run --config flos:mvtec_ad/screw \
        --config.data.root=/path/to/mvtec_ad

is the official setting, for a GPU: 448 px, 1000 updates of 48 images. The AUROC
in DRA's paper is 0.940 for screw, 0.939 on average over MVTec AD and 0.955 for
BrainMRI. More presets and options: see `configs/dra.py`.
"""

from jaxad import config as configs

# Table 1 of DRA's paper, ten labelled anomalies, general setting; of MVTec AD
# the mean over its categories.
PAPER = {
  "mvtec_ad/carpet": {"image_auroc": 0.780},
  "mvtec_ad/grid": {"image_auroc": 0.966},
  "mvtec_ad/leather": {"image_auroc": 0.993},
  "mvtec_ad/tile": {"image_auroc": 0.952},
  "mvtec_ad/wood": {"image_auroc": 1.000},
  "mvtec_ad/bottle": {"image_auroc": 0.995},
  "mvtec_ad/capsule": {"image_auroc": 0.902},
  "mvtec_ad/pill": {"image_auroc": 0.929},
  "mvtec_ad/transistor": {"image_auroc": 0.862},
  "mvtec_ad/zipper": {"image_auroc": 0.990},
  "mvtec_ad/cable": {"image_auroc": 0.890},
  "mvtec_ad/hazelnut": {"image_auroc": 1.000},
  "mvtec_ad/metal_nut": {"image_auroc": 0.984},
  "mvtec_ad/screw": {"image_auroc": 0.940},
  "mvtec_ad/toothbrush": {"image_auroc": 0.900},
  "mvtec_ad": {"image_auroc": 0.939},
  "aitex": {"image_auroc": 0.841},
  "kolektor_sdd": {"image_auroc": 0.967},
  "elpv": {"image_auroc": 0.818},
  "dagm": {"image_auroc": 0.720},
  "mastcam": {"image_auroc": 0.703},
  "brain_mri": {"image_auroc": 0.955},
  "head_ct": {"image_auroc": 0.971},
  "hyper_kvasir": {"image_auroc": 0.773},
}


def get_config(preset=None):
  config = configs.open_set("flos", preset)
  if config.data.name != "textures":
    config.train.epochs = 50
  return config
