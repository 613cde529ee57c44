# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""SAOE, as DRA's paper describes it (Ding et al., CVPR 2022, arXiv 2203.14506).

    python -m jaxad.run --config saoe

trains on the embedded `textures` with ten labelled defects.

    python -m jaxad.run --config saoe:mvtec_ad/screw \
        --config.data.root=/path/to/mvtec_ad \
        --config.data.outlier_root=/path/to/other/images

is the paper's setting, for a GPU; without `outlier_root` there is no outlier
exposure. The AUROC in DRA's paper, of an implementation that was not published,
is 0.975 for screw, 0.926 on average over MVTec AD and 0.900 for BrainMRI. More
presets and options: see `configs/dra.py`.
"""

from jaxad import config as configs

# Table 1 of DRA's paper, ten labelled anomalies, general setting; of MVTec AD
# the mean over its categories.
PAPER = {
  "mvtec_ad/carpet": {"image_auroc": 0.755},
  "mvtec_ad/grid": {"image_auroc": 0.952},
  "mvtec_ad/leather": {"image_auroc": 1.000},
  "mvtec_ad/tile": {"image_auroc": 0.944},
  "mvtec_ad/wood": {"image_auroc": 0.976},
  "mvtec_ad/bottle": {"image_auroc": 0.998},
  "mvtec_ad/capsule": {"image_auroc": 0.850},
  "mvtec_ad/pill": {"image_auroc": 0.872},
  "mvtec_ad/transistor": {"image_auroc": 0.860},
  "mvtec_ad/zipper": {"image_auroc": 0.995},
  "mvtec_ad/cable": {"image_auroc": 0.862},
  "mvtec_ad/hazelnut": {"image_auroc": 1.000},
  "mvtec_ad/metal_nut": {"image_auroc": 0.976},
  "mvtec_ad/screw": {"image_auroc": 0.975},
  "mvtec_ad/toothbrush": {"image_auroc": 0.865},
  "mvtec_ad": {"image_auroc": 0.926},
  "aitex": {"image_auroc": 0.874},
  "kolektor_sdd": {"image_auroc": 0.955},
  "elpv": {"image_auroc": 0.793},
  "dagm": {"image_auroc": 0.941},
  "mastcam": {"image_auroc": 0.810},
  "brain_mri": {"image_auroc": 0.900},
  "head_ct": {"image_auroc": 0.935},
  "hyper_kvasir": {"image_auroc": 0.666},
}


def get_config(preset=None):
  return configs.open_set("saoe", preset)
