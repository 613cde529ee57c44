# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""DRA (Ding et al., CVPR 2022, arXiv 2203.14506).

    python -m jaxad.run --config dra

trains on the embedded `textures` with ten labelled defects of three kinds, and
tests on these and two more; the report has both apart.

    python -m jaxad.run --config dra:mvtec_ad/screw \
        --config.data.root=/path/to/mvtec_ad

is the official setting, for a GPU: 448 px, 600 updates of 48 images. One-shot
runs of the paper have `--config.data.n_anomalies=1 --config.data.pool=10`, the
hard setting `--config.data.setting=hard --config.data.known_class=KIND`. The
paper's AUROC with ten anomalies is 0.977 for screw, 0.959 on average over MVTec
AD and 0.970 for BrainMRI (`--config dra:brain_mri`). For the three medical
sets the paper's pseudo anomalies are images of another set (LAG, retinas), not
CutMix: `--config.detector.pseudo=outliers --config.data.outlier_root=DIR`.

On a CPU, SqueezeNet's weights and smaller images:
`--config.detector.trunk.name=squeezenet1_1 --config.data.image_size=224`.
"""

from jaxad import config as configs

# Table 1 of DRA's paper, ten labelled anomalies, general setting; of MVTec AD
# the mean over its categories.
PAPER = {
  "mvtec_ad/carpet": {"image_auroc": 0.940},
  "mvtec_ad/grid": {"image_auroc": 0.987},
  "mvtec_ad/leather": {"image_auroc": 1.000},
  "mvtec_ad/tile": {"image_auroc": 0.994},
  "mvtec_ad/wood": {"image_auroc": 0.998},
  "mvtec_ad/bottle": {"image_auroc": 1.000},
  "mvtec_ad/capsule": {"image_auroc": 0.935},
  "mvtec_ad/pill": {"image_auroc": 0.904},
  "mvtec_ad/transistor": {"image_auroc": 0.915},
  "mvtec_ad/zipper": {"image_auroc": 1.000},
  "mvtec_ad/cable": {"image_auroc": 0.909},
  "mvtec_ad/hazelnut": {"image_auroc": 1.000},
  "mvtec_ad/metal_nut": {"image_auroc": 0.997},
  "mvtec_ad/screw": {"image_auroc": 0.977},
  "mvtec_ad/toothbrush": {"image_auroc": 0.826},
  "mvtec_ad": {"image_auroc": 0.959},
  "aitex": {"image_auroc": 0.893},
  "kolektor_sdd": {"image_auroc": 0.991},
  "elpv": {"image_auroc": 0.845},
  "dagm": {"image_auroc": 0.965},
  "mastcam": {"image_auroc": 0.848},
  "brain_mri": {"image_auroc": 0.970},
  "head_ct": {"image_auroc": 0.972},
  "hyper_kvasir": {"image_auroc": 0.834},
}


def get_config(preset=None):
  return configs.open_set("dra", preset)
