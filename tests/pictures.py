# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Image files that tests read."""

import zlib

import numpy as np
from PIL import Image


def pixels(seed=0, size=24, channels=3):
  shape = (size, size, channels) if channels > 1 else (size, size)
  return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def save(path, array=None, **keywords):
  path.parent.mkdir(parents=True, exist_ok=True)
  if array is None:
    array = pixels(zlib.crc32(path.name.encode()))
  Image.fromarray(array).save(path, **keywords)
  return path
