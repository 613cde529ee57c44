# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""From the residual of a scene to its map, on the host; of HADGAN.

Jiang et al., IEEE TGRS 58(7), 2020. Of what reconstructions leave, |x - x_hat|,
the spectral detector is RX. The spatial one takes a few bands, looks in each
for small bright and small dark spots, and smooths what it finds. With both
brought to [0, 1],

    D_SS = lambda1 D_spatial + (1 - lambda1) D_spectral.
"""

from typing import Literal, NamedTuple

import numpy as np

from jaxad import mahalanobis, spatial
from jaxad.fields import Count, CountOrZero, Epsilon, Share


class JointDetector(NamedTuple):
  """The two detectors and their sum.

  Attributes:
    band_select: which bands the spatial detector takes: those with the most
      residual energy, "max", or with the least, "min", as a re-implementation
      of HADGAN does.
    n_bands: how many.
    area: pixels below which a bright or dark spot is small.
    guided_radius: of the guided filter, whose windows are 2 r + 1 pixels wide.
    guided_eps: its epsilon, of an image in [0, 1].
    ridge: what RX adds to the diagonal of the covariance, as a share of its
      mean.
    fusion_lambda: lambda1.
    minmax_eps: added to the range where something is brought to [0, 1].
  """

  band_select: Literal["max", "min"] = "max"
  n_bands: Count = 3
  area: Count = 5
  guided_radius: CountOrZero = 3
  guided_eps: Epsilon = 0.5
  ridge: Share = 1e-6
  fusion_lambda: Share = 0.5
  minmax_eps: Epsilon = 1e-12

  def of_residual(self, residual: np.ndarray) -> dict[str, np.ndarray]:
    """D_SS, "fused", of a residual [h, w, B], and what leads to it; float64."""
    unit = lambda v: spatial.min_max(v, self.minmax_eps)
    residual = np.float64(residual)
    rows = residual.reshape(-1, residual.shape[-1])
    mean, covariance = mahalanobis.moments(rows)
    whiten = mahalanobis.whitening(covariance, self.ridge)
    distance = mahalanobis.distances(rows, mean, whiten)
    found = {"rx": distance.reshape(residual.shape[:2])}
    found["spectral"] = unit(found["rx"])

    energy = rows.sum(0)
    order = np.argsort(
      -energy if self.band_select == "max" else energy, kind="stable"
    )
    found["bands"] = order[: self.n_bands]
    levels = lambda v: np.int64(np.floor(255 * unit(v) + 0.5))
    profiles = [
      spatial.attribute_profile(levels(residual[..., k]), self.area)
      for k in found["bands"]
    ]
    found["attribute"] = np.mean(profiles, 0)
    found["guided"] = spatial.guided_filter(
      unit(found["attribute"]), self.guided_radius, self.guided_eps
    )
    found["spatial"] = unit(found["guided"])
    share = self.fusion_lambda
    found["fused"] = share * unit(found["spatial"])
    found["fused"] += (1 - share) * found["spectral"]
    return found
