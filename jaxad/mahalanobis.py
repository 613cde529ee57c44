# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""How far rows lie from the others: the distance of Mahalanobis.

With the mean and covariance of a whole scene it is the detector of Reed and Xu,
"Adaptive Multiple-Band CFAR Detection of an Optical Pattern with Unknown
Spectral Distribution", IEEE Trans. ASSP 1990: "global RX". Covariances of
spectra are nearly singular, so they are made and inverted in float64.
"""

import jax
import jax.numpy as jnp
import numpy as np


def moments(rows) -> tuple[np.ndarray, np.ndarray]:
  """Mean [D] and covariance [D, D] of rows [N, D], divided by N; float64."""
  return merged([rows])[1:]


def merged(batches) -> tuple[int, np.ndarray, np.ndarray]:
  """The number of rows of all batches, their mean and their covariance.

  Each batch is centred by itself, so that no digits are lost (Chan, Golub and
  LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
  Variances", 1979).

  Args:
    batches: [n, D] each, at least one row in all.
  """
  count, mean, scatter = 0, 0.0, 0.0
  for batch in batches:
    rows = np.asarray(batch, np.float64)
    if not len(rows):
      continue
    new = rows.mean(0)
    rows = rows - new
    step, total = new - mean, count + len(rows)
    scatter = scatter + rows.T @ rows
    scatter += np.outer(step, step) * (count * len(rows) / total)
    mean = mean + step * (len(rows) / total)
    count = total
  return count, mean, scatter / count


def whitening(covariance: np.ndarray, ridge: float) -> np.ndarray:
  """W [D, D] with W C W^T = 1, float64.

  Args:
    covariance: [D, D].
    ridge: C is the covariance plus this share of its mean variance, on the
      diagonal; where that is not enough, what rounding has left of a direction
      without variance counts nothing.
  """
  d = len(covariance)
  c = covariance + ridge * np.trace(covariance) / d * np.eye(d)
  variance, directions = np.linalg.eigh(c)
  least = d * np.finfo(np.float64).eps * max(variance[-1], 0)
  known = variance > least
  factor = np.where(known, variance, 1) ** -0.5 * known
  return factor[:, None] * directions.T


def distances(x, mean, whiten, matmul=np.matmul):
  """(x - mean)^T C^-1 (x - mean) of rows [..., D]: [...].

  Args:
    x: [..., D].
    mean: [D].
    whiten: of `whitening`.
    matmul: of the arrays' library; `exact_product` inside a program.
  """
  return (matmul(x - mean, whiten.T) ** 2).sum(-1)


def exact_product(a: jax.Array, b: jax.Array) -> jax.Array:
  """a @ b with all digits of float32, also where a device would drop some.

  The directions of least variance count most.
  """
  return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
