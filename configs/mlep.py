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


def get_config(preset=None):
  return configs.open_set("mlep", preset)
