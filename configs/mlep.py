# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""MLEP for images, after Liu et al., IJCAI 2019.

    python -m jaxad.run --config mlep

trains on the embedded `textures` with ten labelled defects.

    python -m jaxad.run --config mlep:mvtec_ad/screw \
        --config.data.root=/path/to/mvtec_ad

is the setting of DRA's paper, for a GPU. The AUROC there, of an implementation
that was not published, is 0.899 for screw, 0.907 on average over MVTec AD and
0.959 for BrainMRI. More presets and options: see `configs/dra.py`.
"""

from jaxad import config as configs

# Table 1 of DRA's paper, ten labelled anomalies, general setting; of MVTec AD
# the mean over its categories.
PAPER = {
  "mvtec_ad/carpet": {"image_auroc": 0.781},
  "mvtec_ad/grid": {"image_auroc": 0.980},
  "mvtec_ad/leather": {"image_auroc": 0.813},
  "mvtec_ad/tile": {"image_auroc": 0.988},
  "mvtec_ad/wood": {"image_auroc": 0.999},
  "mvtec_ad/bottle": {"image_auroc": 0.981},
  "mvtec_ad/capsule": {"image_auroc": 0.818},
  "mvtec_ad/pill": {"image_auroc": 0.845},
  "mvtec_ad/transistor": {"image_auroc": 0.927},
  "mvtec_ad/zipper": {"image_auroc": 0.965},
  "mvtec_ad/cable": {"image_auroc": 0.857},
  "mvtec_ad/hazelnut": {"image_auroc": 1.000},
  "mvtec_ad/metal_nut": {"image_auroc": 0.974},
  "mvtec_ad/screw": {"image_auroc": 0.899},
  "mvtec_ad/toothbrush": {"image_auroc": 0.783},
  "mvtec_ad": {"image_auroc": 0.907},
  "aitex": {"image_auroc": 0.867},
  "kolektor_sdd": {"image_auroc": 0.983},
  "elpv": {"image_auroc": 0.794},
  "dagm": {"image_auroc": 0.740},
  "mastcam": {"image_auroc": 0.798},
  "brain_mri": {"image_auroc": 0.959},
  "head_ct": {"image_auroc": 0.972},
  "hyper_kvasir": {"image_auroc": 0.600},
}


def get_config(preset=None):
  return configs.open_set("mlep", preset)
