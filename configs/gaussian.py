# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""A baseline: a Gaussian of frozen features, or of rows of a table.

    python -m jaxad.run --config gaussian

fits it to features of the embedded `textures`, and

    python -m jaxad.run --config gaussian:breast_cancer
    python -m jaxad.run --config gaussian:folder --config.data.root=DIR

to rows, and to images of one's own.
"""

from jaxad import config as configs


def get_config(preset=None):
  return configs.baseline("gaussian", preset)
