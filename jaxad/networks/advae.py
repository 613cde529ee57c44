# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The networks of adVAE: two hidden layers each, started as PyTorch's are.

Wang et al., "adVAE", Knowledge-Based Systems 190, 2020 (arXiv 1903.00904).
"""

from collections.abc import Callable, Mapping

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from jaxad.errors import InputError
from jaxad.layers.conv import pytorch_dense

# The networks, and what the authors' code calls them and {our layers: theirs}.
OFFICIAL = {
  "encoder": (
    "E",
    {"dense_0": "fc1", "dense_1": "fc2", "mean": "fcmu", "log_var": "fclogvar"},
  ),
  "generator": ("G", {"dense_0": "fc3", "dense_1": "fc4", "out": "fcxmu"}),
  "transformer": (
    "T",
    {
      "dense_0": "fct1",
      "dense_1": "fct2",
      "mean": "fctmu",
      "log_var": "fctlogvar",
    },
  ),
}


class Gaussian(nn.Module):
  """Two hidden layers to a mean and a logarithm of a variance: E and T.

  Attributes:
    width: of the hidden layers.
    latent_dim: length of the code.
    act: behind the hidden layers.
    limit: the logarithm is held between -limit and limit; None does not.
  """

  width: int
  latent_dim: int
  act: Callable
  limit: float | None = None

  @nn.compact
  def __call__(self, x, train: bool):
    """[B, D] to (mean, log_var), each [B, latent_dim]."""
    del train
    for k in (0, 1):
      x = self.act(pytorch_dense(self.width, x, f"dense_{k}")(x))
    mean, log_var = (
      pytorch_dense(self.latent_dim, x, name)(x) for name in ("mean", "log_var")
    )
    if self.limit is not None:
      log_var = jnp.clip(log_var, -self.limit, self.limit)
    return mean, log_var


class Generator(nn.Module):
  """Codes to rows.

  Attributes:
    width: of both hidden layers.
    out: length of a row.
    act: at the end.
  """

  width: int
  out: int
  act: Callable

  @nn.compact
  def __call__(self, z, train: bool):
    """[..., nz] to [..., D]."""
    del train
    for k in (0, 1):
      z = nn.relu(pytorch_dense(self.width, z, f"dense_{k}")(z))
    return self.act(pytorch_dense(self.out, z, "out")(z))


def official_params(arrays: Mapping[str, np.ndarray]) -> dict:
  """Parameters of the authors' networks as those of `State.params`.

  Args:
    arrays: {"E.fc1.weight": [out, in], "E.fc1.bias": [out], ...} of their state
      dicts. Those of T, which no score needs, may be missing.

  Returns:
    {"encoder": ..., "generator": ...}, with "transformer" if it is there.

  Raises:
    InputError: an array of E or G is missing.
  """

  def of(key):
    if key not in arrays:
      raise InputError(
        f"arrays: there is no {key}; expected those of the authors' E and G, "
        'with "E." and "G." before their names.'
      )
    return np.asarray(arrays[key])

  there = {key.partition(".")[0] for key in arrays} | {"E", "G"}
  return {
    name: {
      ours: {
        "kernel": of(f"{letter}.{theirs}.weight").T,
        "bias": of(f"{letter}.{theirs}.bias"),
      }
      for ours, theirs in layers.items()
    }
    for name, (letter, layers) in OFFICIAL.items()
    if letter in there
  }
