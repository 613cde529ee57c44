# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Layers and optimisers against Pillow, SciPy, NumPy and PyTorch."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from PIL import Image, ImageEnhance
from scipy import ndimage

from jaxad.layers.chunks import map_chunks
from jaxad.layers.coupling import (
  CLAMP_CONSTANTS,
  Coupling,
  Flow,
  Subnet,
  permutation,
  soft_clamp,
)
from jaxad.layers.jitter import color_jitter, draw_jitter
from jaxad.layers.rotation import (
  gaussian_smooth,
  rotate_cubic,
  rotate_nearest,
)
from jaxad.optim import adam_l2


def pixels(height, width=None, seed=0):
  """Random [height, width, 3] uint8 without 0, the colour of the outside."""
  shape = (height, width or height, 3)
  return np.random.default_rng(seed).integers(1, 256, shape, np.uint8)


# Rotation.


def pillow_rotate(image, degrees):
  rotated = Image.fromarray(image).rotate(
    float(degrees), Image.Resampling.NEAREST
  )
  return np.asarray(rotated)


RECTANGLES = [(7, 16), (40, 24), (64, 97)]


@pytest.mark.parametrize(
  "size", [(1,), (2,), (7,), (16,), (31,), (64,), *RECTANGLES]
)
def test_rotate_nearest_at_fixed_angles_is_that_of_pillow(size):
  image = pixels(*size)
  drawn = np.random.default_rng(size[0]).uniform(-400, 400, 12)
  for degrees in [*range(-360, 451, 45), 30, -1e-9, 90 + 1e-9, *drawn]:
    got = rotate_nearest(image, np.asarray(degrees, np.float64))
    np.testing.assert_array_equal(
      got, pillow_rotate(image, degrees), err_msg=f"{degrees} degrees"
    )
  assert got.dtype == jnp.uint8


@pytest.mark.parametrize("size", [31, 64, 65])
def test_rotate_nearest_at_traced_angles_is_that_of_pillow(size):
  # In float32 the 16.16 numbers differ in their last bits: of up to 4225
  # pixels, 3 at most took a neighbour for their source (4 at 256 pixels).
  image = pixels(size)
  rotate = jax.jit(jax.vmap(rotate_nearest, (None, 0)))
  drawn = np.random.default_rng(size).uniform(-180, 180, 40)
  degrees = np.float32([*range(-180, 181, 45), *drawn])
  differing = [
    (got != pillow_rotate(image, angle)).any(-1).sum()
    for got, angle in zip(
      np.asarray(rotate(image, degrees)), degrees, strict=True
    )
  ]
  assert max(differing) <= 4
  assert np.mean(differing) < 0.5


@pytest.mark.parametrize("size", RECTANGLES)
def test_rectangles_at_traced_angles_are_those_of_pillow(size):
  # Of some, a diagonal turned by 45 degrees lies on the borders of pixels.
  row, column = np.indices(size)
  image = np.stack([row + 1, column + 1, np.ones(size)], -1).astype(np.uint8)
  rotate = jax.jit(jax.vmap(rotate_nearest, (None, 0)))
  quarters = np.arange(-180, 181, 90)
  drawn = np.random.default_rng(0).uniform(-180, 180, 40)
  degrees = np.float32([*quarters, -135, -45, 45, 135, *drawn])
  rotated = np.asarray(rotate(image, degrees), int)
  want = np.array([pillow_rotate(image, angle) for angle in degrees], int)
  differing = (rotated != want).any(-1)
  assert not differing[: len(quarters)].any()
  assert differing.mean() < 1e-3
  # Each took a neighbour for its source.
  inside = (rotated[..., 2] == 1) & (want[..., 2] == 1)
  assert np.abs(rotated - want)[inside].max() <= 1


def test_rotate_nearest_of_float_images():
  image = np.float32(pixels(16)) / 255
  got = rotate_nearest(image, np.float64(30))
  assert got.dtype == jnp.float32
  want = pillow_rotate(pixels(16), 30) / np.float32(255)
  np.testing.assert_array_equal(got, want)


def assert_relative(got, want, tolerance=1e-9):
  assert got.dtype == want.dtype
  np.testing.assert_allclose(
    got, want, rtol=0, atol=tolerance * np.abs(want).max()
  )


ANGLES = (0, 90, 180, -90, 360, 45, -45, 30, -12.3, 101.7, -222)


@pytest.mark.parametrize(
  "size", [(7, 7), (8, 8), (15, 15), (40, 40), (7, 12), (40, 15)]
)
def test_rotate_cubic_is_that_of_scipy(size):
  image = np.random.default_rng(size).standard_normal((*size, 2))
  with jax.enable_x64(True):
    rotate = jax.jit(jax.vmap(rotate_cubic, (None, 0)))
    rotated = rotate(image, np.float64(ANGLES))
  for degrees, got in zip(ANGLES, rotated, strict=True):
    want = ndimage.rotate(image, degrees, order=3, reshape=False)
    assert_relative(got, want)


def test_rotate_cubic_by_a_constant():
  image = np.random.default_rng(0).standard_normal((9, 9, 1))
  with jax.enable_x64(True):
    got = jax.jit(lambda image: rotate_cubic(image, np.float64(33)))(image)
  assert_relative(got, ndimage.rotate(image, 33, order=3, reshape=False))


def test_rotate_cubic_in_float32():
  image = np.float32(np.random.default_rng(0).standard_normal((24, 24, 1)))
  rotate = jax.jit(jax.vmap(rotate_cubic, (None, 0)))
  rotated = rotate(image, np.float32(ANGLES))
  for degrees, got in zip(ANGLES, rotated, strict=True):
    want = ndimage.rotate(image, degrees, order=3, reshape=False)
    assert_relative(got, want, 1e-4)


@pytest.mark.parametrize("size", [(7, 7), (13, 13), (40, 40), (13, 40)])
@pytest.mark.parametrize("sigma", [0.6, 1.0, 3.0, 5.5])
def test_gaussian_smooth_is_that_of_scipy(size, sigma):
  image = np.random.default_rng(size).standard_normal((2, *size, 3))
  with jax.enable_x64(True):
    got = gaussian_smooth(jnp.asarray(image), sigma)
  want = ndimage.gaussian_filter(image, (0, sigma, sigma, 0))
  assert_relative(got, want)


# Colour jitter.


@pytest.mark.parametrize("column", [0, 1, 2])
@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0, 1.7])
def test_color_jitter_is_that_of_pillow(column, factor):
  # Pillow rounds grey levels and results to integers.
  image = pixels(20, seed=column)
  image[:8] = image[:8] // 4
  enhance = (
    ImageEnhance.Brightness,
    ImageEnhance.Contrast,
    ImageEnhance.Color,
  )[column]
  want = np.asarray(enhance(Image.fromarray(image)).enhance(factor)) / 255
  factors = np.ones(3, np.float32)
  factors[column] = factor
  for x in (image, np.float32(image) / 255):
    got = color_jitter(jnp.asarray(x), factors)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, want, rtol=0, atol=1.5 / 255)


def test_color_jitter_goes_brightness_contrast_saturation():
  image, factors = pixels(12), np.float32([1.3, 0.6, 1.5])
  want = np.float32(image)
  for column in range(3):
    alone = np.where(np.arange(3) == column, factors, 1)
    want = color_jitter(want / 255 if column == 0 else want, alone)
  got = color_jitter(image, factors)
  np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)
  # Each view has factors of its own.
  views = np.stack([image, image])
  both = np.stack([np.ones(3, np.float32), factors])
  rows = color_jitter(views, both)
  np.testing.assert_allclose(rows[1], got, rtol=0, atol=1e-6)
  np.testing.assert_allclose(rows[0], image / 255, rtol=0, atol=1e-6)


def test_without_strength_there_is_no_jitter():
  key, x = jax.random.key(0), pixels(8)
  assert draw_jitter(key, (3, 2), 0.0, 0.0, 0.0) is None
  assert color_jitter(x, None) is x


def test_jitter_factors_lie_within_their_bounds():
  factors = draw_jitter(jax.random.key(0), (500, 2), 0.2, 0.0, 1.6)
  assert factors.shape == (500, 2, 3) and factors.dtype == jnp.float32
  brightness, contrast, saturation = np.moveaxis(np.asarray(factors), -1, 0)
  assert 0.8 <= brightness.min() < 0.81 and 1.19 < brightness.max() <= 1.2
  assert (contrast == 1).all()
  assert 0 <= saturation.min() < 0.05 and 2.5 < saturation.max() <= 2.6
  # Every view is drawn on its own.
  assert len(np.unique(brightness)) > 990


# Pieces.


@pytest.fixture(params=["unrolled", "loop"])
def form(request, monkeypatch):
  """Runs a test with what CPUs and with what accelerators run."""
  calls = []

  def choose(*args, cpu, default):
    calls.append(args)
    return (cpu if request.param == "unrolled" else default)(*args)

  monkeypatch.setattr(jax.lax, "platform_dependent", choose)
  return calls


@pytest.mark.parametrize(
  ("n", "at_once", "k"),
  [(12, 4, 4), (12, 5, 4), (12, 11, 6), (7, 3, 1), (12, 12, 12), (6, 99, 6)],
)
def test_map_chunks_stacks_the_pieces(request, form, n, at_once, k):
  xs = np.random.default_rng(0).standard_normal((n, 3)).astype(np.float32)
  sizes = []

  def fn(piece):
    sizes.append(piece.shape)
    return {"twice": 2 * piece, "sum": (piece.sum(), piece.T)}

  got = map_chunks(fn, xs, at_once)
  assert set(sizes) == {(k, 3)}
  loops = request.node.callspec.params["form"] == "loop"
  assert len(sizes) == (1 if loops else n // k)
  assert len(form) == (n != k)  # one piece needs no loop
  want = [fn(xs[i : i + k]) for i in range(0, n, k)]
  want = jax.tree.map(lambda *rows: np.stack(rows), *want)
  chex.assert_trees_all_equal_structs(got, want)
  chex.assert_trees_all_close(got, want, rtol=1e-6)


def test_map_chunks_under_jit_chooses_the_form_itself():
  xs = jnp.arange(12.0)
  got = jax.jit(lambda xs: map_chunks(jnp.cumsum, xs, 4))(xs)
  np.testing.assert_array_equal(got, np.arange(12.0).reshape(3, 4).cumsum(1))


# The flow.


def in_float64(module, dim, seed=0):
  """Variables of a module with every leaf drawn, and x [5, dim]."""
  rng = np.random.default_rng(seed)
  x = rng.standard_normal((5, dim))
  shapes = jax.eval_shape(module.init, jax.random.key(0), x)
  draw = lambda leaf: jnp.asarray(
    rng.standard_normal(leaf.shape) * np.sqrt(2 / leaf.shape[0])
  )
  return jax.tree.map(draw, shapes), x


@pytest.mark.parametrize(
  "module",
  [
    Coupling(2, hidden=8),
    Coupling(7, hidden=8, clamp=2.0),
    Flow(6, n_blocks=3, hidden=8),
    Flow(7, n_blocks=2, hidden=8, clamp=2.0),
  ],
  ids=lambda module: f"{type(module).__name__}-{module.dim}",
)
def test_inverse_and_log_determinant(module):
  dim = module.dim
  with jax.enable_x64(True):
    variables, x = in_float64(module, dim)
    forward = jax.jit(lambda x: module.apply(variables, x))
    inverse = lambda y: module.apply(variables, y, method="inverse")
    y, logdet = forward(x)
    chex.assert_shape([y, logdet], [(5, dim), (5,)])
    chex.assert_type([y, logdet], jnp.float64)
    assert np.abs(y - x).max() > 0.1

    x_again, inverse_logdet = jax.jit(inverse)(y)
    np.testing.assert_allclose(x_again, x, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(inverse_logdet, -logdet, rtol=1e-9)

    jacobian = jax.vmap(jax.jacfwd(lambda x: forward(x[None])[0][0]))(x)
    _, want = np.linalg.slogdet(jacobian)
    np.testing.assert_allclose(logdet, want, rtol=1e-9, atol=1e-9)
    assert np.abs(want).min() > 1e-3


def test_an_odd_coordinate_goes_to_the_second_half():
  module, x = Coupling(7, hidden=8), jnp.zeros((1, 7))
  shapes = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
  # s1 sees the three of the first half and moves the four of the second.
  for name, inputs, outputs in (("s1", 3, 8), ("s2", 4, 6)):
    assert shapes[name]["fc1"]["kernel"].shape == (inputs, 8)
    assert shapes[name]["fc3"]["kernel"].shape == (8, outputs)


def test_flow_transforms_every_coordinate():
  flow = Flow(6, n_blocks=1, hidden=8)
  with jax.enable_x64(True):
    variables, x = in_float64(flow, 6)
    y = np.asarray(flow.apply(variables, x)[0])
  assert (np.abs(y - x[:, permutation(0, 6)]) > 1e-6).all()


@pytest.mark.parametrize("constant", ["code", "paper"])
def test_soft_clamp_is_bounded_and_steepest_at_zero(constant):
  c = CLAMP_CONSTANTS[constant]
  s = np.linspace(-1e6, 1e6, 1001)
  with jax.enable_x64(True):
    g = soft_clamp(s, 3.0, c)
    slope = jax.grad(soft_clamp)(0.0, 3.0, c)
  assert (np.diff(g) > 0).all()
  np.testing.assert_allclose(g, -g[::-1], atol=1e-12)
  assert np.abs(g).max() < 3.0
  assert np.abs(g).max() == pytest.approx(3 * c * np.pi / 2, rel=1e-5)
  assert slope == pytest.approx(c)
  assert CLAMP_CONSTANTS == {"code": 0.636, "paper": 2 / np.pi}


def test_clamp_reaches_the_flow():
  """log|det J| <= blocks * dim * alpha * constant * pi / 2."""
  with jax.enable_x64(True):
    for constant in CLAMP_CONSTANTS.values():
      flow = Flow(6, 2, 8, clamp=0.5, clamp_constant=constant)
      variables, x = in_float64(flow, 6)
      # Every s is where arctan is flat.
      huge = jax.tree.map(lambda v: 0 * v + 1e9 * (v.ndim == 1), variables)
      _, logdet = flow.apply(huge, x)
      bound = 2 * 6 * 0.5 * constant * np.pi / 2
      np.testing.assert_allclose(logdet, bound, rtol=1e-6)


def test_permutation_is_that_of_the_legacy_generator():
  # RandomState's stream is frozen, so these numbers are for ever.
  assert permutation(0, 8).tolist() == [6, 2, 1, 7, 3, 0, 5, 4]
  assert permutation(3, 5).tolist() == [3, 4, 1, 0, 2]
  before = np.random.get_state()  # noqa: NPY002
  for seed in (0, 1, 7):
    p = permutation(seed, 97)
    want = np.random.RandomState(seed).permutation(97)
    np.testing.assert_array_equal(p, want)
    assert sorted(p) == list(range(97))
  flow, x = Flow(6, 2, 4), np.zeros((1, 6), np.float32)
  jax.eval_shape(flow.init, jax.random.key(0), x)
  chex.assert_trees_all_equal(before, np.random.get_state())  # noqa: NPY002


def test_parameters_of_the_flow_of_the_paper():
  flow = Flow(768, n_blocks=8, hidden=2048)
  x = jax.ShapeDtypeStruct((1, 768), jnp.float32)
  shapes = jax.eval_shape(flow.init, jax.random.key(0), x)["params"]
  assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 172_077_056
  chex.assert_type(jax.tree.leaves(shapes), jnp.float32)
  assert sorted(shapes) == [f"coupling_{k}" for k in range(8)]


def test_initial_weights_are_uniform_in_the_fan_in():
  x = np.zeros((1, 16), np.float32)
  params = Subnet(64, features=64).init(jax.random.key(0), x)["params"]
  for layer, fan_in in (("fc1", 16), ("fc2", 64), ("fc2b", 64), ("fc3", 64)):
    bound = fan_in**-0.5
    for leaf, near in (("kernel", 0.95), ("bias", 0.7)):
      largest = float(jnp.abs(params[layer][leaf]).max())
      assert near * bound < largest <= bound


# Adam with coupled L2.

ADAM = dict(learning_rate=0.05, b1=0.8, b2=0.7, eps=1e-2, weight_decay=0.1)


def gradients_of(steps=5):
  rng = np.random.default_rng(1)
  return [
    {"w": rng.standard_normal((3, 2)), "b": rng.standard_normal(2)}
    for _ in range(steps)
  ]


def run_adam(w, **keywords):
  """Parameters after each of the steps, in float64."""
  with jax.enable_x64(True):
    tx = adam_l2(**keywords)
    params = jax.tree.map(jnp.asarray, w)
    state, trail = tx.init(params), []
    for grads in gradients_of():
      updates, state = tx.update(grads, state, params)
      params = optax.apply_updates(params, updates)
      trail.append(jax.tree.map(np.asarray, params))
  return trail


def initial():
  return {"w": np.full((3, 2), 0.7), "b": np.array([-1.5, 2.0])}


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adam_l2_by_hand(weight_decay):
  keywords = ADAM | {"weight_decay": weight_decay}
  lr, b1, b2, eps, _ = keywords.values()
  w = initial()
  m = jax.tree.map(np.zeros_like, w)
  v = jax.tree.map(np.zeros_like, w)
  trail = run_adam(w, **keywords)
  for t, grads in enumerate(gradients_of(), start=1):
    for name in w:
      g = grads[name] + weight_decay * w[name]
      m[name] = b1 * m[name] + (1 - b1) * g
      v[name] = b2 * v[name] + (1 - b2) * g**2
      m_hat, v_hat = m[name] / (1 - b1**t), v[name] / (1 - b2**t)
      w[name] = w[name] - lr * m_hat / (np.sqrt(v_hat) + eps)
    chex.assert_trees_all_close(trail[t - 1], w, rtol=1e-12)


def test_adam_l2_is_that_of_pytorch():
  torch = pytest.importorskip("torch")
  w = {k: torch.tensor(v, requires_grad=True) for k, v in initial().items()}
  adam = torch.optim.Adam(
    w.values(),
    lr=ADAM["learning_rate"],
    betas=(ADAM["b1"], ADAM["b2"]),
    eps=ADAM["eps"],
    weight_decay=ADAM["weight_decay"],
  )
  for grads, got in zip(
    gradients_of(), run_adam(initial(), **ADAM), strict=True
  ):
    for name, parameter in w.items():
      parameter.grad = torch.tensor(grads[name])
    adam.step()
    want = {k: v.detach().numpy() for k, v in w.items()}
    chex.assert_trees_all_close(got, want, rtol=1e-10)
