# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Data: `load` decodes a set once, into splits of examples.

dataset = jaxad.data.load("textures", subset="wood", image_size=256)
state = jaxad.fit(detector, state, dataset, plan)
"""

from jaxad.data.examples import Dataset, Examples
from jaxad.data.open_set import seen_kinds
from jaxad.data.scenes import NAMES as SCENES
from jaxad.data.sources import SOURCES, load
from jaxad.data.tables import NAMES as TABLES

__all__ = [
  "SCENES",
  "SOURCES",
  "TABLES",
  "Dataset",
  "Examples",
  "load",
  "seen_kinds",
]
