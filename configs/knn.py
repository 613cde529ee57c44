# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""A baseline: nearest neighbours of frozen features, or of rows of a table.

    python -m jaxad.run --config knn

fits it to features of the embedded `textures`, and

    python -m jaxad.run --config knn:breast_cancer
    python -m jaxad.run --config knn:folder --config.data.root=DIR

to rows, and to images of one's own.
"""

from jaxad import config as configs


def get_config(preset=None):
  return configs.baseline("knn", preset)
