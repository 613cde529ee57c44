# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Spectral normalisation: kernels over their largest singular value.

Miyato, Kataoka, Koyama and Yoshida, "Spectral Normalization for Generative
Adversarial Networks", ICLR 2018 (arXiv 1802.05957).

Networks do not know of it: it maps parameters to parameters, before they are
applied. All passes by the same parameters then share one power iteration, and
whoever does not keep the new vectors has frozen them:

    vectors = initial_vectors(key, params)
    normalized, vectors = spectral_normalize(params, vectors)
    y, written = apply_train(network, normalized["critic"], x)
"""

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict


def initial_vectors(key: jax.Array, params: dict) -> dict:
  """Where the power iterations start: normal, cut at two deviations.

  Args:
    key: typed PRNG key.
    params: of one network or of several, nested.

  Returns:
    {layer: [C] float32}, nested as the parameters, C the kernel's outputs; for
    every layer with a kernel but the last ones, whose names end with "out".
  """
  lengths = {
    path[:-1]: leaf.shape[-1]
    for path, leaf in flatten_dict(params).items()
    if path[-1] == "kernel" and not path[-2].endswith("out")
  }
  keys = jax.random.split(key, len(lengths))
  return unflatten_dict(
    {
      path: jax.random.truncated_normal(k, -2.0, 2.0, (n,), jnp.float32)
      for k, (path, n) in zip(keys, lengths.items(), strict=True)
    }
  )


def spectral_normalize(
  params: dict, vectors: dict, iterations: int = 1, eps: float = 1e-12
) -> tuple[dict, dict]:
  """Divides the kernels W [-1, C] that have a vector u by sigma = v W u.

  A power iteration is v <- W u / (|W u| + eps), u <- v W / (|v W| + eps). No
  gradient is stopped: that of sigma also flows through v and u, as in many
  TensorFlow codes and unlike PyTorch's.

  Args:
    params: of one network or of several, nested.
    vectors: from `initial_vectors`; layers without one stay as they are.
    iterations: of the power method.
    eps: added to the norms.

  Returns:
    (params with normalised kernels, the new vectors).
  """
  params, vectors = flatten_dict(params), flatten_dict(vectors)
  unit = lambda v: v / (jnp.sqrt((v**2).sum()) + eps)
  for path, u in vectors.items():
    kernel = params[*path, "kernel"]
    w = kernel.reshape(-1, len(u))
    for _ in range(iterations):
      v = unit(w @ u)
      u = unit(v @ w)
    params[*path, "kernel"] = kernel / (v @ w @ u)
    vectors[path] = u
  return unflatten_dict(params), unflatten_dict(vectors)
