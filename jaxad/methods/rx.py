# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""RX: a pixel whose spectrum lies far from those of the scene is anomalous.

Reed and Yu, "Adaptive Multiple-Band CFAR Detection of an Optical Pattern with
Unknown Spectral Distribution", IEEE Trans. ASSP 38(10), 1990; here "global RX",
which knows one mean m and covariance C for all pixels and scores by

    (x - m)^T C^-1 (x - m),

the squared distance of Mahalanobis. Nothing is trained: what every detector of
anomalies in hyperspectral scenes has to beat. On rows of a table it is
"gaussian" without shrinkage.
"""

import jax
import jax.numpy as jnp

from jaxad import distributed, mahalanobis
from jaxad.detector import Batch, Detector, Phase, Scores, State
from jaxad.fields import Share, checked
from jaxad.layers.spectra import spectra, top_mean


@checked
def rx(*, ridge: Share = 1e-8) -> Detector:
  """Makes an RX detector.

  It takes scenes [N, H, W, B] and spectra or other rows [n, B], float; of
  images [N, H, W, C], uint8 or float in [0, 1], each pixel is a spectrum.

  Args:
    ridge: what is added to the diagonal of C, as a share of its mean.

  Returns:
    A `Detector` with one phase, "moments", a fit alone. The map has the
    distance of each pixel, and the score of a scene or image is the mean of the
    highest hundredth of them.

  Raises:
    InputError: a value out of range.
  """

  def init(key, batch: Batch, plan=None) -> State:
    d = batch["x"].shape[-1]
    # The distance of Euclid, before the fit.
    extras = {"mean": jnp.zeros(d), "whiten": jnp.eye(d)}
    return State.new(key, {}, {}, {}, plan, **extras)

  @jax.jit
  def rows(batch):
    x = spectra(batch["x"])
    weight = jnp.repeat(batch["weight"], len(x) // len(batch["weight"]))
    return jax.lax.with_sharding_constraint(
      (x, weight), distributed.replicated(distributed.data_mesh())
    )

  def fit(state: State, batches) -> State:
    """The moments of all rows, in float64."""
    each = (jax.device_get(rows(batch)) for batch in batches)
    _, mean, covariance = mahalanobis.merged(x[w > 0] for x, w in each)
    whiten = mahalanobis.whitening(covariance, ridge)
    dtype = state.extras["mean"].dtype
    return state.replace(
      extras={
        "mean": jnp.asarray(mean, dtype),
        "whiten": jnp.asarray(whiten, dtype),
      }
    )

  def score(state: State, x, keys) -> Scores:
    del keys
    mean, whiten = state.extras["mean"], state.extras["whiten"]
    found = mahalanobis.distances(
      spectra(x), mean, whiten, mahalanobis.exact_product
    ).reshape(x.shape[:-1])
    if x.ndim == 2:
      return Scores(found)
    return Scores(top_mean(found), found)

  return Detector(init, (Phase("moments", fit=fit),), score)
