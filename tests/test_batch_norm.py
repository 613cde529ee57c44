# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Batch normalisation, and the running statistics of each framework."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxad.layers.batch_norm import BatchNorm, running_average
from jaxad.networks.variables import (
  apply_eval,
  apply_train,
  initialize,
  redraw_if,
)

KEY = jax.random.key(2)
X = 3 + 2 * jax.random.normal(KEY, (5, 4, 4, 6))


def variables(module, x=X):
  params, collections = initialize(KEY, {"norm": (module, x)})
  assert collections["norm"].keys() == {"batch_stats"}
  return params["norm"], collections["norm"]


def test_start():
  params, collections = variables(BatchNorm(var_init=0.0))
  stats = collections["batch_stats"]
  np.testing.assert_array_equal(params["scale"], np.ones(6))
  np.testing.assert_array_equal(params["bias"], np.zeros(6))
  np.testing.assert_array_equal(stats["mean"], np.zeros(6))
  np.testing.assert_array_equal(stats["var"], np.zeros(6))


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("shape", [(5, 4, 4, 6), (20, 6)])
def test_training_mode(unbiased, shape):
  x = X[: shape[0]] if len(shape) == 4 else X.reshape(-1, 6)[:20]
  params, _ = variables(BatchNorm(), x)
  params = {"scale": jnp.arange(1.0, 7), "bias": jnp.arange(6.0)}
  module = BatchNorm(epsilon=1e-3, unbiased=unbiased)
  y, written = apply_train(module, params, x)
  batch = written["batch_stats"]
  rows = np.float64(x).reshape(-1, 6)
  mean, var = rows.mean(0), rows.var(0)
  expected = (np.float64(x) - mean) / np.sqrt(var + 1e-3)
  np.testing.assert_allclose(
    y, expected * params["scale"] + params["bias"], rtol=1e-4, atol=1e-5
  )
  np.testing.assert_allclose(batch["mean"], mean, rtol=1e-5)
  np.testing.assert_allclose(
    batch["var"], rows.var(0, ddof=int(unbiased)), rtol=1e-5
  )


def test_inference_mode_is_affine():
  module = BatchNorm(epsilon=0.0)
  params = {"scale": jnp.full(6, 2.0), "bias": jnp.full(6, 1.0)}
  running = {"batch_stats": {"mean": jnp.full(6, 3.0), "var": jnp.full(6, 4.0)}}
  y = apply_eval(module, params, running, X)
  np.testing.assert_allclose(y, (X - 3) / 2 * 2 + 1, rtol=1e-5, atol=1e-5)


def test_one_row_has_a_finite_variance():
  params, _ = variables(BatchNorm(), X[:, 0, 0])
  _, written = apply_train(BatchNorm(), params, X[:1, 0, 0])
  assert written["batch_stats"]["var"].shape == (6,)
  chex.assert_tree_all_finite(written)


def statistics(value, **others):
  return {"batch_stats": {"var": jnp.float32(value)}, **others}


def test_running_average_folds_in_order():
  start, batches = statistics(1.0), [statistics(2.0), statistics(5.0)]
  fold = lambda *passes: running_average(start, *passes, momentum=0.9)
  found = fold(*batches)["batch_stats"]["var"]
  assert found == pytest.approx(0.9 * (0.9 * 1 + 0.1 * 2) + 0.1 * 5)
  other = fold(*batches[::-1])["batch_stats"]["var"]
  assert other == pytest.approx(0.9 * (0.9 * 1 + 0.1 * 5) + 0.1 * 2)
  assert fold() == start


def test_other_collections_are_those_of_the_last_pass():
  start = statistics(1.0, spectral={"u": 1}, kept={"v": 7})
  found = running_average(
    start,
    statistics(2.0, spectral={"u": 2}),
    # A pass need not write everything.
    {"spectral": {"u": 3}},
    momentum=0.9,
  )
  assert found["spectral"] == {"u": 3} and found["kept"] == {"v": 7}
  assert found["batch_stats"]["var"] == pytest.approx(0.9 * 1 + 0.1 * 2)
  assert start["spectral"] == {"u": 1}


def test_running_average_is_a_constant():
  """Statistics are kept, not learnt: no gradient flows through them."""

  def loss(value):
    written = {"batch_stats": {"var": value}}
    found = running_average(statistics(1.0), written, momentum=0.9)
    return found["batch_stats"]["var"]

  assert loss(2.0) == pytest.approx(1.1)
  assert jax.grad(loss)(2.0) == 0


def test_pytorch():
  torch = pytest.importorskip("torch", reason="needs PyTorch")
  theirs = torch.nn.BatchNorm2d(6)
  params, running = variables(BatchNorm())
  for k in range(3):
    x = X * (k + 1)
    y, written = apply_train(BatchNorm(), params, x)
    running = running_average(running, written, momentum=0.9)
    image = torch.from_numpy(np.array(x)).permute(0, 3, 1, 2)
    want = theirs(image).detach().permute(0, 2, 3, 1)
    np.testing.assert_allclose(y, want, rtol=1e-4, atol=1e-5)
  stats = running["batch_stats"]
  np.testing.assert_allclose(stats["mean"], theirs.running_mean, rtol=1e-5)
  np.testing.assert_allclose(stats["var"], theirs.running_var, rtol=1e-5)


class Plain(nn.Module):
  """A network without norms, of two inputs."""

  @nn.compact
  def __call__(self, x, y, train: bool):
    return nn.Dense(2)(x + y) * (1 if train else 2)


def test_networks_without_statistics():
  x = jnp.ones((3, 4))
  params, collections = initialize(KEY, {"plain": (Plain(), x, x)})
  assert collections == {"plain": {}}
  y, written = apply_train(Plain(), params["plain"], x, x)
  assert written == {}
  assert running_average({}, written, momentum=0.9) == {}
  np.testing.assert_allclose(
    apply_eval(Plain(), params["plain"], {}, x, x), 2 * y
  )


def test_initialize_draws_networks_apart():
  x = jnp.ones((3, 4))
  params, _ = initialize(KEY, {name: (Plain(), x, x) for name in "ab"})
  a, b = (params[name]["Dense_0"]["kernel"] for name in "ab")
  assert (a != b).all()


def test_redraw_if():
  x = jnp.ones((3, 4))
  params, _ = initialize(KEY, {"plain": (Plain(), x, x)})
  redraw = jax.jit(
    lambda condition: redraw_if(
      condition, Plain(), params["plain"], jax.random.key(9), x, x
    )
  )
  chex.assert_trees_all_equal(redraw(False), params["plain"])
  fresh = redraw(True)["Dense_0"]["kernel"]
  assert (fresh != params["plain"]["Dense_0"]["kernel"]).all()
