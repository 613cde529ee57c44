# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The convolutions of every ported network.

All networks convolve through `convolve`. Its forms for XLA:CPU, with the times
that they were chosen by, are in `jaxad.layers.cpu.conv`.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxad.errors import InputError
from jaxad.layers.cpu import conv as forms
from jaxad.layers.cpu import depthwise

Padding = int | tuple[tuple[int, int], tuple[int, int]]


def pytorch_uniform(fan_in: int) -> nn.initializers.Initializer:
  """U(-1, 1) / sqrt(fan_in), PyTorch's default for weights and biases."""

  def init(key, shape, dtype=jnp.float32):
    limit = fan_in**-0.5
    return jax.random.uniform(key, shape, dtype, -limit, limit)

  return init


def pytorch_dense(features: int, x, name: str, use_bias: bool = True):
  """A dense layer for x [..., D], as PyTorch starts it."""
  init = pytorch_uniform(x.shape[-1])
  return nn.Dense(
    features, use_bias, kernel_init=init, bias_init=init, name=name
  )


class Conv(nn.Module):
  """Convolution (cross-correlation) with explicit zero padding.

  Parameters: `kernel` [k, k, C_in, C_out] and, with `use_bias`, `bias` [C_out].
  The default initialiser is He et al., "Delving Deep into Rectifiers", ICCV
  2015 (arXiv 1502.01852): the signal keeps its scale through a deep stack of
  ReLU layers, so that a random frozen trunk still gives usable features.

  Attributes:
    features: number of output channels.
    kernel_size: side k of the square kernel.
    stride: step in both directions.
    padding: zeros on all four sides, or ((top, bottom), (left, right)).
    use_bias: whether to add a bias.
    kernel_init: initialiser of the kernel.
    bias_init: initialiser of the bias.
  """

  features: int
  kernel_size: int
  stride: int = 1
  padding: Padding = 0
  use_bias: bool = True
  kernel_init: nn.initializers.Initializer = nn.initializers.he_normal()
  bias_init: nn.initializers.Initializer = nn.initializers.zeros

  @nn.compact
  def __call__(self, x):
    """[B, H, W, C_in] to [B, h, w, features], h = (H + pads - k) // stride + 1.

    The arithmetic is in the dtype of x, the parameters are float32.

    Raises:
      InputError: the padded image is smaller than the kernel.
    """
    shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
    kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
    y = convolve(x, kernel.astype(x.dtype), self.stride, self.padding)
    if self.use_bias:
      bias = self.param("bias", self.bias_init, (self.features,), jnp.float32)
      y = (y + bias).astype(x.dtype)  # its gradient is a float32 sum
    return y


class DepthwiseConv(nn.Module):
  """Convolution of each channel by itself, with explicit zero padding.

  Parameter: `kernel` [k, k, 1, C]; no bias.

  Attributes:
    kernel_size: side k of the square kernel.
    stride: step in both directions.
    padding: zeros on all four sides, or ((top, bottom), (left, right)).
    kernel_init: initialiser of the kernel.
  """

  kernel_size: int
  stride: int = 1
  padding: Padding = 0
  kernel_init: nn.initializers.Initializer = nn.initializers.he_normal()

  @nn.compact
  def __call__(self, x):
    """[B, H, W, C] to [B, h, w, C], h = (H + pads - k) // stride + 1.

    The arithmetic is in the dtype of x, the parameters are float32.

    Raises:
      InputError: the padded image is smaller than the kernel.
    """
    shape = (self.kernel_size, self.kernel_size, 1, x.shape[-1])
    kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
    padding = _sides(self.padding)
    _check_size(x, kernel, padding)
    return depthwise.convolve(x, kernel.astype(x.dtype), self.stride, padding)


class ConvTranspose(nn.Module):
  """Transposed convolution: what `Conv` does, the other way.

  Parameters: `kernel` [k, k, C_in, C_out] and, with `use_bias`, `bias` [C_out].

  Attributes:
    features: number of output channels.
    kernel_size: side k of the square kernel.
    stride: step of the output for one step of the input.
    padding: pixels cut from the sides of the output, see
      `convolve_transposed`.
    use_bias: whether to add a bias.
    kernel_init: initialiser of the kernel.
    bias_init: initialiser of the bias.
  """

  features: int
  kernel_size: int
  stride: int = 1
  padding: Padding = 0
  use_bias: bool = True
  kernel_init: nn.initializers.Initializer = nn.initializers.he_normal()
  bias_init: nn.initializers.Initializer = nn.initializers.zeros

  @nn.compact
  def __call__(self, x):
    """[B, H, W, C_in] to [B, h, w, features], h = (H - 1) stride + k - pads.

    The arithmetic is in the dtype of x, the parameters are float32.

    Raises:
      InputError: nothing is left of the output.
    """
    shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
    kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
    y = convolve_transposed(
      x, kernel.astype(x.dtype), self.stride, self.padding
    )
    if self.use_bias:
      bias = self.param("bias", self.bias_init, (self.features,), jnp.float32)
      y = (y + bias).astype(x.dtype)  # its gradient is a float32 sum
    return y


def convolve(
  x: jax.Array, kernel: jax.Array, stride: int = 1, padding: Padding = 0
) -> jax.Array:
  """Cross-correlates x [B, H, W, C_in] with kernel [k, k, C_in, C_out].

  Args:
    x: images or features, NHWC.
    kernel: HWIO.
    stride: step in both directions.
    padding: zeros on all four sides, or ((top, bottom), (left, right)).

  Returns:
    [B, h, w, C_out].

  Raises:
    InputError: the padded image is smaller than the kernel.
  """
  padding = _sides(padding)
  _check_size(x, kernel, padding)
  return forms.convolve(x, kernel, stride, padding)


def same_padding(x: jax.Array, kernel_size: int, stride: int = 1) -> Padding:
  """TensorFlow's SAME padding of x [B, H, W, C], to ceil(H / stride) rows.

  Where the total is odd, the end gets the more.
  """
  totals = [
    max((-(-n // stride) - 1) * stride + kernel_size - n, 0)
    for n in x.shape[1:3]
  ]
  return tuple((total // 2, total - total // 2) for total in totals)


def _sides(padding):
  """((top, bottom), (left, right)) of a `Padding`."""
  if isinstance(padding, int):
    padding = ((padding, padding), (padding, padding))
  return tuple(tuple(side) for side in padding)


def _check_size(x, kernel, padding):
  sides = [n + sum(p) for n, p in zip(x.shape[1:3], padding, strict=True)]
  if min(x.shape[1:3]) < 1 or any(
    n < k for n, k in zip(sides, kernel.shape[:2], strict=True)
  ):
    raise InputError(
      f"convolution: an image or feature map of {x.shape[1]}x{x.shape[2]} is "
      f"too small for a {kernel.shape[0]}x{kernel.shape[1]} kernel; use larger "
      "images"
    )


def convolve_transposed(
  x: jax.Array, kernel: jax.Array, stride: int = 1, padding: Padding = 0
) -> jax.Array:
  """Adds x[:, i, j] @ kernel[a, b] to y[:, stride i + a - p, stride j + b - p].

  This is the gradient of `convolve` by its input, with the kernel's channels
  exchanged. PyTorch's weights (I, O, H, W) map by `transpose(2, 3, 0, 1)`, and
  its output padding by 1 is a padding smaller by 1 at the ends. TensorFlow's
  (H, W, O, I) map by `transpose(0, 1, 3, 2)`, and its SAME is the
  `same_padding` of the output.

  Args:
    x: features, NHWC.
    kernel: [k, k, C_in, C_out].
    stride: step of the output for one step of the input.
    padding: p, the pixels cut from all four sides of the output, or ((top,
      bottom), (left, right)).

  Returns:
    [B, h, w, C_out], h = (H - 1) stride + k - top - bottom.

  Raises:
    InputError: nothing is left of the output.
  """
  size, window, padding = x.shape[1:3], kernel.shape[:2], _sides(padding)
  left = [
    stride * (n - 1) + k - sum(pads)
    for n, k, pads in zip(size, window, padding, strict=True)
  ]
  if min(size) < 1 or min(left) < 1:
    raise InputError(
      f"transposed convolution: of a feature map of {size[0]}x{size[1]}, a "
      f"{window[0]}x{window[1]} kernel and padding {padding} leave nothing"
    )
  return forms.convolve_transposed(x, kernel, stride, padding)
