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


def get_config(preset=None):
  config = configs.open_set("devnet", preset)
  if config.data.name != "textures":
    config.train.epochs = 50
  return config
