# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The networks of RSRAE, for images and for rows of tables.

In each layer the activation comes before the norm.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxad.layers.batch_norm import BatchNorm
from jaxad.layers.conv import Conv, ConvTranspose, same_padding

ACTIVATIONS = ("tanh", "relu", "leaky_relu")

glorot = nn.initializers.glorot_uniform()

# Sides of the kernels on the way down.
KERNELS = (5, 5, 3)


def _activation(name: str, slope: float):
  leaky = lambda x: nn.leaky_relu(x, slope)
  return {"tanh": jnp.tanh, "relu": nn.relu, "leaky_relu": leaky}[name]


def _paddings(sides, kernel: int, kind: str):
  """Of the stride 2 from maps of these sides, or by transposition to them."""
  maps = jax.ShapeDtypeStruct((1, *sides, 1), jnp.float32)
  same = same_padding(maps, kernel, 2)
  # With none, as many pixels come back as there were, where that is odd.
  bare = [kind == "VALID" or kind == "auto" and n % 2 for n in sides]
  pairs = zip(bare, same, strict=True)
  return tuple((0, 0) if no else pads for no, pads in pairs)


class Encoder(nn.Module):
  """Three convolutions, or for rows three dense layers, to a code.

  Attributes:
    hidden: widths of the layers.
    activation: one of `ACTIVATIONS`.
    slope: of leaky ReLU.
    epsilon: of the norms.
    pad3: padding of the third convolution, "SAME", "VALID" or "auto".
  """

  hidden: tuple[int, ...]
  activation: str
  slope: float
  epsilon: float
  pad3: str

  @nn.compact
  def __call__(self, x, train: bool):
    """[B, H, W, C] or [B, D] to [B, code]."""
    act = _activation(self.activation, self.slope)
    for k, width in enumerate(self.hidden):
      if x.ndim == 4:
        kernel, kind = KERNELS[k], self.pad3 if k == 2 else "SAME"
        padding = _paddings(x.shape[1:3], kernel, kind)
        layer = Conv(
          width, kernel, 2, padding, kernel_init=glorot, name=f"layer_{k}"
        )
      else:
        layer = nn.Dense(width, kernel_init=glorot, name=f"layer_{k}")
      norm = BatchNorm(self.epsilon, unbiased=False, name=f"norm_{k}")
      x = norm(act(layer(x)), train)
    return x.reshape(x.shape[0], -1)


class Projection(nn.Module):
  """The layer A, without a bias; its entries start as N(0, 1).

  Attributes:
    dim: d, of the subspace.
  """

  dim: int

  @nn.compact
  def __call__(self, y, train: bool):
    """[B, D] to (y A [B, d], A [D, d])."""
    del train
    init = nn.initializers.normal(1.0)
    a = self.param("kernel", init, (y.shape[-1], self.dim), jnp.float32)
    return y @ a, a


class Decoder(nn.Module):
  """The mirror of the encoder; its last layer has no norm.

  Attributes:
    shape: of what it makes, (H, W, C) or (D,).
    hidden: as in `Encoder`, and so what follows.
    activation: one of `ACTIVATIONS`.
    slope: of leaky ReLU.
    epsilon: of the norms.
    pad3: of the first transposed convolution.
  """

  shape: tuple[int, ...]
  hidden: tuple[int, ...]
  activation: str
  slope: float
  epsilon: float
  pad3: str

  @nn.compact
  def __call__(self, z, train: bool):
    """[B, d] to [B, *shape]."""
    act = _activation(self.activation, self.slope)
    norm = lambda k: BatchNorm(self.epsilon, unbiased=False, name=f"norm_{k}")
    dense = lambda k, width: nn.Dense(
      width, kernel_init=glorot, name=f"layer_{k}"
    )
    *sides, last = self.shape
    *hidden, top = self.hidden
    widths = (*hidden[::-1], last)
    if not sides:
      x = norm(0)(act(dense(0, top)(z)), train)
      for k, width in enumerate(widths, start=1):
        x = act(dense(k, width)(x))
        x = norm(k)(x, train) if k < len(widths) else x
      return x
    smallest = [n // 8 for n in sides]
    x = act(dense(0, top * smallest[0] * smallest[1])(z))
    x = norm(0)(x.reshape(-1, *smallest, top), train)
    for k, width in enumerate(widths, start=1):
      kernel, kind = KERNELS[-k], self.pad3 if k == 1 else "SAME"
      padding = _paddings([n * 2**k // 8 for n in sides], kernel, kind)
      layer = ConvTranspose(
        width, kernel, 2, padding, kernel_init=glorot, name=f"layer_{k}"
      )
      x = act(layer(x))
      x = norm(k)(x, train) if k < len(widths) else x
    return x
