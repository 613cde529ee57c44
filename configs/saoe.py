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


def get_config(preset=None):
  return configs.open_set("saoe", preset)
