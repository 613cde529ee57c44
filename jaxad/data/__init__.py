# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Data: `load` decodes a set once, `batches` iterates over a split.

dataset = jaxad.data.load("textures", subset="wood", image_size=256)
for batch in jaxad.data.batches(dataset.train, 16, seed=0, epoch=3):
  state, metrics = update(state, batch)
"""

from jaxad.data.examples import Dataset, Examples
from jaxad.data.open_set import seen_kinds
from jaxad.data.pipeline import balanced_batches, batches, number_of_batches
from jaxad.data.sources import SOURCES, load

__all__ = [
  "SOURCES",
  "Dataset",
  "Examples",
  "balanced_batches",
  "batches",
  "load",
  "number_of_batches",
  "seen_kinds",
]
