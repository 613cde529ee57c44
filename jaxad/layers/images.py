# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The range of pixels: what arrives, and what networks want."""

import jax
import jax.numpy as jnp

from jaxad.errors import InputError


def unit_range(x: jax.Array) -> jax.Array:
  """Images as floating point in [0, 1].

  Args:
    x: uint8 in 0..255, or floating point in [0, 1].

  Returns:
    float32 for uint8, else x.

  Raises:
    InputError: another dtype.
  """
  if x.dtype == jnp.uint8:
    return jnp.asarray(x, jnp.float32) / 255
  if not jnp.issubdtype(x.dtype, jnp.floating):
    raise InputError(
      f"images of dtype {x.dtype}: expected uint8 in 0..255 or floating point "
      "in [0, 1]"
    )
  return jnp.asarray(x)


def standardize(x: jax.Array, mean=0.5, std=0.5) -> jax.Array:
  """(x - mean) / std of images in [0, 1]; by default in [-1, 1], as tanh's.

  Args:
    x: [..., C], see `unit_range`.
    mean: of each channel, or of all.
    std: likewise.
  """
  x = unit_range(x)
  return (x - jnp.asarray(mean, x.dtype)) / jnp.asarray(std, x.dtype)


def pictured(x: jax.Array, mean=0.5, std=0.5) -> jax.Array:
  """The inverse of `standardize`, as uint8 images; what lies beyond is cut off.

  Args:
    x: [..., C]; by default in [-1, 1].
    mean: of each channel, or of all.
    std: likewise.
  """
  x = x * jnp.asarray(std, x.dtype) + jnp.asarray(mean, x.dtype)
  return (255 * jnp.clip(x, 0, 1) + 0.5).astype(jnp.uint8)


def check_rgb(shape: tuple[int, ...]) -> None:
  """Whether a shape is that of images [B, H, W, 3].

  Raises:
    InputError: it is not.
  """
  if len(shape) != 4 or shape[-1] != 3:
    raise InputError(
      f"channels={shape[-1]}: the method takes images of 3 channels, got the "
      f"shape {tuple(shape)}; set it to 3.",
      "channels",
    )


def check_square(shape: tuple[int, ...]) -> None:
  """Whether images [B, H, W, C] are square.

  Raises:
    InputError: they are not.
  """
  height, width = shape[1:3]
  if height != width:
    raise InputError(
      f"image_size={height}x{width}: the method needs square images; give one "
      "side.",
      "image_size",
    )


def check_smallest(
  shape: tuple[int, ...], smallest: int, needs: str, remedy: str
) -> None:
  """Whether both sides of images [B, H, W, C] are long enough.

  Args:
    shape: of the images.
    smallest: side in pixels.
    needs: what needs such a side, for the message.
    remedy: what to do about it other than larger images.

  Raises:
    InputError: they are not.
  """
  height, width = shape[1:3]
  if min(height, width) < smallest:
    size = height if height == width else f"{height}x{width}"
    raise InputError(
      f"image_size={size}: too small, {needs} needs at least {smallest}; "
      f"enlarge it, or {remedy}.",
      "image_size",
    )


def image_noise(x: jax.Array) -> jax.Array:
  """Standard normal noise that belongs to an image: the same in every epoch.

  Args:
    x: [B, ...] images; the noise of each is a function of its pixels.
  """

  def noise(image):
    bits = jax.lax.bitcast_convert_type(jnp.float32(image), jnp.uint32).ravel()
    checksum = (bits * (2 * jnp.arange(bits.size, dtype=jnp.uint32) + 1)).sum()
    key = jax.random.fold_in(jax.random.key(0), checksum)
    return jax.random.normal(key, image.shape, jnp.float32)

  return jax.vmap(noise)(x)
