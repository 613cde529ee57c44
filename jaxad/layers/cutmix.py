# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Pseudo anomalies: a piece of an image, its colours changed, elsewhere in it.

As in the code of DRA (Ding, Pang and Shen, CVPR 2022, arXiv 2203.14506), where
it goes by the name of CutMix (Yun et al., ICCV 2019), which would mix two
images; CutPaste (Li et al., CVPR 2021) has the same within one.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxad.layers import jitter

AREA = (0.02, 0.15)
LOG_ASPECT = math.log(1 / 0.3)
COLOR, HUE = 0.1, 0.1


class CutMix(NamedTuple):
  """The draws of B images.

  Attributes:
    area: [B] of the piece, as a share of the image's.
    aspect: [B] width by height, as far as such a piece fits into the image.
    corner: [B, 4] in [0, 1): where the piece comes from and goes to, as shares
      of the room there is: from y, from x, to y, to x.
    jitter: [B, 4] factors of brightness, contrast and saturation and the shift
      of the hue, or None.
    order: [4] in which order they are applied.
  """

  area: jax.Array
  aspect: jax.Array
  corner: jax.Array
  jitter: jax.Array | None
  order: jax.Array


def draw_cutmix(key: jax.Array, n: int) -> CutMix:
  """Draws for n images, one order of the colour changes for all of them."""
  keys = jax.random.split(key, 5)
  uniform = lambda k, low, high, shape=(n,): jax.random.uniform(
    keys[k], shape, minval=low, maxval=high
  )
  change = jnp.array([1.0, 1.0, 1.0, 0.0])
  spread = jnp.array([COLOR, COLOR, COLOR, HUE])
  return CutMix(
    area=uniform(0, *AREA),
    aspect=jnp.exp(uniform(1, -LOG_ASPECT, LOG_ASPECT)),
    corner=uniform(2, 0.0, 1.0, (n, 4)),
    jitter=change + spread * uniform(3, -1.0, 1.0, (n, 4)),
    order=jax.random.permutation(keys[4], 4),
  )


def cutmix(x: jax.Array, draws: CutMix) -> jax.Array:
  """Pastes a piece of each image into itself.

  Args:
    x: [B, H, W, 3] uint8, or float in [0, 1].
    draws: of B images.

  Returns:
    Like x.
  """
  height, width = x.shape[1:3]
  area = draws.area * (height * width)
  # Only a long image is too narrow for a piece.
  aspect = jnp.clip(draws.aspect, min=area / height**2, max=width**2 / area)
  w = jnp.round(jnp.sqrt(area * aspect))
  h = jnp.round(jnp.sqrt(area / aspect))
  room = jnp.stack([height - h, width - w], axis=1)
  corner = jnp.floor(draws.corner * jnp.tile(room, 2))
  return paste(x, jnp.stack([h, w], axis=1), corner, draws.jitter, draws.order)


def paste(x, size, corner, colors=None, order=None) -> jax.Array:
  """`cutmix` with sizes and corners in pixels.

  Args:
    x: as there.
    size: [B, 2] height and width of the pieces, whole numbers.
    corner: [B, 4], from y, from x, to y, to x, whole numbers.
    colors: as `CutMix.jitter`.
    order: as `CutMix.order`.

  Returns:
    Like x.
  """
  size, corner = size.astype(jnp.int32), corner.astype(jnp.int32)

  def one(image, size, corner):
    rows, columns = (jnp.arange(n) for n in image.shape[:2])
    inside = lambda i, start, length: (i >= start) & (i < start + length)
    target = (
      inside(rows, corner[2], size[0])[:, None]
      & inside(columns, corner[3], size[1])[None, :]
    )
    moved = jnp.roll(
      image, (corner[2] - corner[0], corner[3] - corner[1]), (0, 1)
    )
    return moved, target[..., None]

  moved, target = jax.vmap(one)(x, size, corner)
  if colors is not None:
    moved = _recolored(moved, target, colors, order)
  return jnp.where(target, moved, x)


def _recolored(x, target, factors, order):
  """Images with other colours; the contrast is that of the target's pixels."""
  is_bytes = x.dtype == jnp.uint8
  y = x / jnp.float32(255) if is_bytes else x
  brightness, contrast, saturation, shift = (
    factors[:, i, None, None, None] for i in range(4)
  )
  changes = (
    lambda y: jitter.brightness(y, brightness),
    lambda y: jitter.contrast(y, contrast, target),
    lambda y: jitter.saturation(y, saturation),
    lambda y: jitter.hue(y, shift),
  )
  for k in range(len(changes)):
    y = jax.lax.switch(order[k], changes, y)
  return jnp.round(255 * y).astype(jnp.uint8) if is_bytes else y


class Pseudo(NamedTuple):
  """Which rows become pseudo anomalies, and how.

  Attributes:
    chosen: [B] bool.
    cutmix: of B images.
  """

  chosen: jax.Array
  cutmix: CutMix


def draw_pseudo(key: jax.Array, normal: jax.Array, rate: float) -> Pseudo:
  """Chooses each of the normal rows, [B] bool, with probability `rate`."""
  chosen_key, cutmix_key = jax.random.split(key)
  chosen = jax.random.bernoulli(chosen_key, rate, normal.shape) & normal
  return Pseudo(chosen, draw_cutmix(cutmix_key, len(normal)))


def with_pseudo(x, label, draws: Pseudo | None, others=None):
  """Makes pseudo anomalies of the chosen rows, and labels them 2.

  Args:
    x: [B, H, W, 3] as in `cutmix`.
    label: [B] int.
    draws: of B rows; None leaves all as it is.
    others: [B, H, W, 3], images that stand in their place; None cuts and
      pastes.

  Returns:
    (x, label).
  """
  if draws is None:
    return x, label
  others = cutmix(x, draws.cutmix) if others is None else others
  x = jnp.where(draws.chosen[:, None, None, None], others, x)
  return x, jnp.where(draws.chosen, 2, label)
