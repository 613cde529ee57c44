# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Depthwise convolution: a faster form for XLA:CPU."""

import functools

import jax
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


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _sum_of_taps(x, kernel, stride, padding):
  """`plain` as k^2 multiplied and added slices, which XLA fuses."""
  pads = [(*side, 0) for side in padding]
  return _correlate(_taps(x, len(kernel), stride, pads), kernel)


def _forward(x, kernel, stride, padding):
  return _sum_of_taps(x, kernel, stride, padding), (x, kernel)


def _backward(stride, padding, kept, y_bar):
  """By the pixels the same sum again; the transpose of slices is slower."""
  x, kernel = kept
  window = len(kernel)
  pads = []
  for n, m, (low, _) in zip(
    x.shape[1:3], y_bar.shape[1:3], padding, strict=True
  ):
    before = window - 1 - low
    pads.append((before, n + low - 1 - stride * (m - 1), stride - 1))
  x_bar = _correlate(_taps(y_bar, window, 1, pads), kernel[::-1, ::-1])
  pads = [(*side, 0) for side in padding]
  taps = _taps(x, window, stride, pads)
  kernel_bar = jnp.stack([(tap * y_bar).sum((0, 1, 2)) for tap in taps])
  return x_bar, kernel_bar.reshape(kernel.shape)


_sum_of_taps.defvjp(_forward, _backward)


def _taps(x, window, stride, pads):
  """Padded (low, high, between) x [B, H, W, C], as each tap sees it."""
  zero = jnp.zeros((), x.dtype)
  x = lax.pad(x, zero, [(0, 0, 0), *pads, (0, 0, 0)])
  outputs = [(n - window) // stride + 1 for n in x.shape[1:3]]
  return strided(x, window, stride, outputs)


def _correlate(taps, kernel):
  weights = kernel.reshape(len(taps), -1)
  return sum(tap * weight for tap, weight in zip(taps, weights, strict=True))
