# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Training in mixed precision."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxad
from jaxad.detector import Detector, Phase
from jaxad.errors import InputError
from jaxad.layers.conv import Conv, ConvTranspose, DepthwiseConv
from jaxad.mixed_precision import mixed_precision
from jaxad.networks.wgan import ResampledConv

LAYERS = {
  "Conv": Conv(4, 3),
  "ConvTranspose": ConvTranspose(4, 4, 2, 1),
  "DepthwiseConv": DepthwiseConv(3),
  "ResampledConv": ResampledConv(4, up=False),
  "Dense": nn.Dense(4),
  "Dense without bias": nn.Dense(4, use_bias=False),
}


def of_layer(layer):
  """A detector whose one step gives a layer's output and gradient."""

  def step(params, x, draws):
    loss = lambda params: (layer.apply({"params": params}, x) ** 2).sum()
    return layer.apply({"params": params}, x), jax.grad(loss)(params)

  return Detector(None, (Phase("fit"), Phase("layer", step)), None)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_multiply_in_bfloat16(name):
  layer, x = LAYERS[name], jax.random.normal(jax.random.key(0), (2, 6, 6, 8))
  params = layer.init(jax.random.key(1), x)["params"]
  detector = of_layer(layer)
  lowered = mixed_precision(detector)
  assert lowered.phases[0] == detector.phases[0]
  want, want_gradient = detector.phases[1].step(params, x, None)
  got, gradient = lowered.phases[1].step(params, x, None)
  assert got.dtype == jnp.float32 and (got != want).any()
  limit = 0.02 * np.abs(want).max()
  np.testing.assert_allclose(got, want, rtol=0, atol=limit)
  for g, w in zip(
    *map(jax.tree.leaves, (gradient, want_gradient)), strict=True
  ):
    assert g.dtype == jnp.float32
    np.testing.assert_allclose(g, w, rtol=0, atol=0.02 * np.abs(w).max())
  # Outside of the steps nothing is lowered.
  np.testing.assert_array_equal(layer.apply({"params": params}, x), want)


def test_a_step_of_ganomaly():
  """Every product is of bfloat16 numbers, and the state of float32 ones."""
  detector = jaxad.ganomaly(latent_dim=5, width=4)
  x = jnp.zeros((4, 32, 32, 3))
  state = jax.eval_shape(lambda: detector.init(jax.random.key(0), {"x": x}))
  numbers = {}
  for dtype, one in (("f32", detector), ("bf16", mixed_precision(detector))):
    update = jax.jit(one.phases[0].update)
    text = update.lower(state, {"x": x}).as_text()
    types = re.findall(r"(?:convolution|dot_general)\b.* : (\(tensor.*)", text)
    numbers[dtype] = {n for line in types for n in re.findall(r"b?f\d+", line)}
    after, _ = jax.eval_shape(update, state, {"x": x})
    assert jax.tree.map(lambda v: v.dtype, after) == jax.tree.map(
      lambda v: v.dtype, state
    )
  assert numbers == {"f32": {"f32"}, "bf16": {"bf16"}}


def test_methods_without_a_trained_network():
  message = "dtype='bfloat16': this method has no network.*leave dtype at"
  with pytest.raises(InputError, match=message):
    mixed_precision(jaxad.pca())
