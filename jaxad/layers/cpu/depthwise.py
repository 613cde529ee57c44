# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Depthwise convolution: a faster form for XLA:CPU."""

import jax.numpy as jnp
from jax import lax

from jaxad.layers.cpu import on_cpu
from jaxad.layers.cpu.pool import strided


def convolve(x, kernel, stride, padding):
  """`plain`, in the fastest form where the program runs on a CPU.

  Args:
    x: [B, H, W, C], where padded not smaller than the kernel.
    kernel: [k, k, 1, C].
    stride: step in both directions.
    padding: zeros, ((top, bottom), (left, right)).

  Returns:
    [B, h, w, C].
  """
  form = lambda x, kernel: _sum_of_taps(x, kernel, stride, padding)
  other = lambda x, kernel: plain(x, kernel, stride, padding)
  return on_cpu(form, other, x, kernel)


def plain(x, kernel, stride, padding):
  """The depthwise convolution of accelerators."""
  return lax.conv_general_dilated(
    x,
    kernel,
    window_strides=(stride, stride),
    padding=padding,
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
    feature_group_count=x.shape[-1],
  )


def _sum_of_taps(x, kernel, stride, padding):
  window = len(kernel)
  outputs = [
    (n + sum(p) - window) // stride + 1
    for n, p in zip(x.shape[1:3], padding, strict=True)
  ]
  x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
  taps = strided(x, window, stride, outputs)
  weights = kernel.reshape(window**2, -1)
  return sum(tap * weight for tap, weight in zip(taps, weights, strict=True))
