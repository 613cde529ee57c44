# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""How training images are changed, each anew in every step."""

from typing import NamedTuple

import jax

from jaxad.fields import Degrees, Strength
from jaxad.layers.jitter import color_jitter, draw_jitter
from jaxad.layers.rotation import draw_rotation, rotate_each


class Augmentation(NamedTuple):
  """Rotations and changes of colour.

  Attributes:
    rotation: images are turned by up to so many degrees, either way.
    brightness: of the light, by up to this part of it; 0 changes nothing.
    contrast: likewise.
    saturation: likewise.
  """

  rotation: Degrees = 180.0
  brightness: Strength = 0.0
  contrast: Strength = 0.0
  saturation: Strength = 0.0

  def draw(self, key: jax.Array, n: int) -> dict:
    """The changes of n images."""
    rotation_key, color_key = jax.random.split(key)
    return {
      "degrees": draw_rotation(rotation_key, n, self.rotation),
      "colors": draw_jitter(
        color_key, (n,), self.brightness, self.contrast, self.saturation
      ),
    }


def augmented(x: jax.Array, draws: dict | None) -> jax.Array:
  """Images [B, H, W, 3], uint8 or float in [0, 1], changed; None: as is."""
  if draws is None:
    return x
  return rotate_each(color_jitter(x, draws["colors"]), draws["degrees"])
