# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Training whose convolutions and dense layers multiply bfloat16 numbers.

Micikevicius et al., "Mixed Precision Training", ICLR 2018 (arXiv 1710.03740).
Parameters, their gradients and optimisers, norms, everything between two
layers and losses stay float32. bfloat16 has the range of float32, so that no
loss has to be scaled. Scores are computed as without it.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from jaxad.detector import Detector, Phase
from jaxad.errors import InputError
from jaxad.layers.conv import Conv, ConvTranspose, DepthwiseConv
from jaxad.networks.wgan import ResampledConv

# Their arithmetic is in the dtype of the input.
_CONVOLUTIONS = (Conv, ConvTranspose, DepthwiseConv, ResampledConv)


def mixed_precision(detector: Detector) -> Detector:
  """The detector, whose steps of training multiply in bfloat16.

  Raises:
    InputError: it takes no such steps.
  """
  if all(phase.step is None for phase in detector.phases):
    raise InputError(
      "dtype='bfloat16': this method has no network that steps of training "
      "move; leave dtype at float32.",
      "dtype",
    )
  return detector._replace(phases=tuple(map(_lowered, detector.phases)))


def _lowered(phase: Phase) -> Phase:
  if (step := phase.step) is None:
    return phase

  def lowered(*args):
    with nn.intercept_methods(_in_bfloat16):
      return step(*args)

  return phase._replace(step=lowered)


def _in_bfloat16(layer, args: tuple, kwargs: dict, context: Any):
  """A layer of float32 numbers whose product is of bfloat16 ones."""
  module = context.module
  if context.method_name != "__call__" or module.is_initializing():
    return layer(*args, **kwargs)
  if isinstance(module, _CONVOLUTIONS):
    x, *rest = args
    y = layer(x.astype(jnp.bfloat16), *rest, **kwargs)
    return y.astype(x.dtype)
  if isinstance(module, nn.Dense):
    (x,), params = args, module.variables["params"]
    y = x.astype(jnp.bfloat16) @ params["kernel"].astype(jnp.bfloat16)
    return y.astype(x.dtype) + params.get("bias", 0.0)
  return layer(*args, **kwargs)
