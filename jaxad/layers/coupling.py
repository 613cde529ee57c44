# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Affine coupling and fixed permutations of a Real-NVP normalizing flow.

Dinh et al., "Density estimation using Real NVP", ICLR 2017 (arXiv 1605.08803),
with the soft arctan clamp of Ardizzone et al., "Guided Image Generation with
Conditional Invertible Neural Networks" (arXiv 1907.02392), in the form that
DifferNet (arXiv 2008.12577) uses: both halves are transformed in one block.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

# The official code's rounded 2/pi (0.1 % smaller), and the paper's 2/pi.
CLAMP_CONSTANTS = {"code": 0.636, "paper": 2 / np.pi}

# Outputs are clipped here.
OUTPUT_LIMIT = 1e6


def permutation(seed: int, dim: int) -> np.ndarray:
  """Fixed order of `dim` coordinates, [dim] int; block k uses seed k.

  `out = x[:, p]`; the inverse is `x = out[:, argsort(p)]`. It comes from
  NumPy's legacy generator, whose stream is frozen: the same for ever.
  """
  return np.random.RandomState(seed).permutation(dim)


def soft_clamp(s: jax.Array, alpha: float, constant: float) -> jax.Array:
  """g(s) = alpha * constant * arctan(s / alpha), which lies within +-alpha."""
  return alpha * constant * jnp.arctan(s / alpha)


def uniform_fan_in(key, shape, dtype=jnp.float32):
  """U(-1/sqrt(fan_in), 1/sqrt(fan_in)) for a [fan_in, fan_out] kernel."""
  bound = fan_in_bound(shape[0])
  return jax.random.uniform(key, shape, dtype, -bound, bound)


def fan_in_bound(fan_in: int) -> float:
  """1/sqrt(fan_in); 1 for the empty half of a single coordinate."""
  return 1 / np.sqrt(max(1, fan_in))


class Subnet(nn.Module):
  """s and t of one half: four linear layers, ReLU between them.

  Attributes:
    hidden: width of the three hidden layers (2048 in the paper).
    features: width of the output, s and t side by side.
  """

  hidden: int
  features: int

  @nn.compact
  def __call__(self, x):
    """[B, d] float32 to [B, features] float32."""
    for name in ("fc1", "fc2", "fc2b"):
      x = nn.relu(self._linear(x, self.hidden, name))
    return self._linear(x, self.features, "fc3")

  def _linear(self, x, features, name):
    bound = fan_in_bound(x.shape[-1])
    bias_init = lambda key, shape, dtype: jax.random.uniform(
      key, shape, dtype, -bound, bound
    )
    return nn.Dense(
      features,
      kernel_init=uniform_fan_in,
      bias_init=bias_init,
      name=name,
    )(x)


class Coupling(nn.Module):
  """One coupling block over x = [x1 | x2], x1 the first dim // 2 coordinates.

  (s2, t2) = S2(x2),  y1 = exp(g(s2)) * x1 + t2
  (s1, t1) = S1(y1),  y2 = exp(g(s1)) * x2 + t1
  log|det J| = sum g(s1) + sum g(s2),  g the soft clamp

  The paper writes the mirror image (second half first); this is the order of
  the official code.

  Attributes:
    dim: number of coordinates, odd or even.
    hidden: width of the subnets.
    clamp: alpha of the soft clamp.
    clamp_constant: the factor before arctan, see `CLAMP_CONSTANTS`.
    limit: largest magnitude of an output.
  """

  dim: int
  hidden: int
  clamp: float = 3.0
  clamp_constant: float = CLAMP_CONSTANTS["code"]
  limit: float = OUTPUT_LIMIT

  def setup(self):
    self.l1 = self.dim // 2
    self.l2 = self.dim - self.l1
    self.s1 = Subnet(self.hidden, 2 * self.l2)
    self.s2 = Subnet(self.hidden, 2 * self.l1)

  def _g_and_t(self, r):
    s, t = jnp.split(r, 2, axis=-1)
    return soft_clamp(s, self.clamp, self.clamp_constant), t

  def __call__(self, x):
    """x [B, dim] to (y [B, dim], log|det dy/dx| [B])."""
    x1, x2 = x[:, : self.l1], x[:, self.l1 :]
    g2, t2 = self._g_and_t(self.s2(x2))
    y1 = jnp.exp(g2) * x1 + t2
    g1, t1 = self._g_and_t(self.s1(y1))
    y2 = jnp.exp(g1) * x2 + t1
    y = jnp.concatenate([y1, y2], axis=-1)
    return self._clip(y), g1.sum(-1) + g2.sum(-1)

  def inverse(self, y):
    """y [B, dim] to (x [B, dim], log|det dx/dy| [B])."""
    y1, y2 = y[:, : self.l1], y[:, self.l1 :]
    g1, t1 = self._g_and_t(self.s1(y1))
    x2 = (y2 - t1) / jnp.exp(g1)
    g2, t2 = self._g_and_t(self.s2(x2))
    x1 = (y1 - t2) / jnp.exp(g2)
    x = jnp.concatenate([x1, x2], axis=-1)
    return self._clip(x), -g1.sum(-1) - g2.sum(-1)

  def _clip(self, x):
    # The log-determinant ignores it, as in the official code.
    return jnp.clip(x, min=-self.limit, max=self.limit)


class Flow(nn.Module):
  """permute_0, coupling_0, permute_1, coupling_1, ... over `dim` coordinates.

  Attributes:
    dim: number of coordinates.
    n_blocks: number of (permutation, coupling) pairs.
    hidden: width of the subnets.
    clamp: alpha of the soft clamp.
    clamp_constant: the factor before arctan, see `CLAMP_CONSTANTS`.
    limit: largest magnitude of an output.
  """

  dim: int
  n_blocks: int = 8
  hidden: int = 2048
  clamp: float = 3.0
  clamp_constant: float = CLAMP_CONSTANTS["code"]
  limit: float = OUTPUT_LIMIT

  def setup(self):
    self.coupling = [
      Coupling(
        self.dim,
        self.hidden,
        self.clamp,
        self.clamp_constant,
        self.limit,
        name=f"coupling_{k}",
      )
      for k in range(self.n_blocks)
    ]

  def __call__(self, y):
    """y [B, dim] to (z [B, dim], log|det dz/dy| [B]), in one pass."""
    logdet = jnp.zeros(y.shape[:1], y.dtype)
    for k, block in enumerate(self.coupling):
      y, block_logdet = block(y[:, permutation(k, self.dim)])
      logdet += block_logdet
    return y, logdet

  def inverse(self, z):
    """z [B, dim] to (y [B, dim], log|det dy/dz| [B]): a sample of y."""
    logdet = jnp.zeros(z.shape[:1], z.dtype)
    for k, block in reversed(list(enumerate(self.coupling))):
      z, block_logdet = block.inverse(z)
      z = z[:, np.argsort(permutation(k, self.dim))]
      logdet += block_logdet
    return z, logdet
