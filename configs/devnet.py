# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""DevNet for images (Pang et al., arXiv 2108.00462).

    python -m jaxad.run --config devnet

trains on the embedded `textures` with ten labelled defects.

    python -m jaxad.run --config devnet:mvtec_ad/screw \
        --config.data.root=/path/to/mvtec_ad

is the official setting, for a GPU: 448 px, 1000 updates of 48 images. The AUROC
in DRA's paper is 0.970 for screw, 0.945 on average over MVTec AD and 0.958 for
BrainMRI. More presets and options: see `configs/dra.py`.
"""

from jaxad import config as configs

# Table 1 of DRA's paper, ten labelled anomalies, general setting; of MVTec AD
# the mean over its categories.
PAPER = {
  "mvtec_ad/carpet": {"image_auroc": 0.867},
  "mvtec_ad/grid": {"image_auroc": 0.967},
  "mvtec_ad/leather": {"image_auroc": 0.999},
  "mvtec_ad/tile": {"image_auroc": 0.987},
  "mvtec_ad/wood": {"image_auroc": 0.999},
  "mvtec_ad/bottle": {"image_auroc": 0.993},
  "mvtec_ad/capsule": {"image_auroc": 0.865},
  "mvtec_ad/pill": {"image_auroc": 0.866},
  "mvtec_ad/transistor": {"image_auroc": 0.924},
  "mvtec_ad/zipper": {"image_auroc": 0.990},
  "mvtec_ad/cable": {"image_auroc": 0.892},
  "mvtec_ad/hazelnut": {"image_auroc": 1.000},
  "mvtec_ad/metal_nut": {"image_auroc": 0.991},
  "mvtec_ad/screw": {"image_auroc": 0.970},
  "mvtec_ad/toothbrush": {"image_auroc": 0.860},
  "mvtec_ad": {"image_auroc": 0.945},
  "aitex": {"image_auroc": 0.887},
  "kolektor_sdd": {"image_auroc": 0.988},
  "elpv": {"image_auroc": 0.846},
  "dagm": {"image_auroc": 0.782},
  "mastcam": {"image_auroc": 0.790},
  "brain_mri": {"image_auroc": 0.958},
  "head_ct": {"image_auroc": 0.982},
  "hyper_kvasir": {"image_auroc": 0.829},
}


def get_config(preset=None):
  config = configs.open_set("devnet", preset)
  if config.data.name != "textures":
    config.train.epochs = 50
  return config
