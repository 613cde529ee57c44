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


def get_config(preset=None):
  return configs.open_set("dra", preset)
