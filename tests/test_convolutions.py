# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Transposed convolution, and convolutions to a few pixels."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxad.errors import InputError
from jaxad.layers.chunks import map_chunks
from jaxad.layers.conv import (
  Conv,
  ConvTranspose,
  convolve,
  convolve_transposed,
)
from jaxad.layers.cpu import conv, winograd
from jaxad.layers.pool import max_pool

# (side, channels in and out, kernel, stride, padding)
TRANSPOSED = [
  (1, 5, 3, 4, 1, 0),  # the first layer of a decoder
  (4, 5, 3, 4, 2, 1),
  (1, 5, 3, 5, 2, 0),
  (5, 4, 3, 5, 2, 0),
  (3, 2, 2, 3, 1, 1),
  (3, 2, 2, 2, 3, 0),  # taps leave gaps
  (2, 3, 2, 6, 4, 1),
  # The output padding of PyTorch; TensorFlow's SAME, to an even and an odd side
  (4, 5, 3, 3, 2, ((1, 0), (1, 0))),
  (4, 5, 3, 5, 2, ((1, 2), (2, 2))),
  (1, 5, 3, 5, 2, ((2, 2), (1, 2))),
]
FEW_PIXELS = [
  (2, 5, 3, 4, 2, 1),
  (4, 5, 3, 4, 2, 1),
  (4, 5, 3, 4, 1, 0),
  (6, 2, 3, 5, 2, 0),  # a row and a column are left over
  (1, 5, 3, 3, 1, 1),
]
# As FEW_PIXELS, 3x3 kernels and stride 1
WINOGRAD = [
  (7, 5, 3, 3, 1, 1),
  (11, 3, 4, 3, 1, ((2, 0), (0, 3))),
  (11, 3, 4, 3, 1, 0),
]
# As FEW_PIXELS, and the pixels of a block
BLOCKS = [
  (7, 5, 3, 3, 1, 1, 120),  # two images
  (7, 5, 3, 3, 1, 1, 30),  # four rows
  (13, 3, 4, 3, 1, ((2, 0), (0, 3)), 10),  # a row
  (14, 3, 4, 7, 2, 3, 20),
  (16, 5, 4, 4, 3, 0, 10),  # a row and a column are left over
]
# As FEW_PIXELS
NARROW = [
  (7, 5, 3, 3, 1, 1),
  (7, 3, 4, 3, 2, 0),
  (8, 3, 4, 3, 2, 1),  # a row and a column are left over
  (6, 32, 2, 2, 1, 0),
]


def arrays(side, channels, features, kernel_size, dtype, seed=0):
  rng = np.random.default_rng(seed)
  x = rng.standard_normal((2, side, side, channels))
  kernel = rng.standard_normal((kernel_size, kernel_size, channels, features))
  return x.astype(dtype), kernel.astype(dtype)


def sides(padding):
  """((top, bottom), (left, right))."""
  if isinstance(padding, int):
    return ((padding, padding), (padding, padding))
  return padding


def by_definition(x, kernel, stride, padding):
  """y[s i + a - p] += x[i] k[a], one tap after the other."""
  n, k = x.shape[1], kernel.shape[0]
  side = (n - 1) * stride + k
  y = np.zeros((len(x), side, side, kernel.shape[-1]), x.dtype)
  for a in range(k):
    for b in range(k):
      rows = slice(a, a + (n - 1) * stride + 1, stride)
      columns = slice(b, b + (n - 1) * stride + 1, stride)
      y[:, rows, columns] += x @ kernel[a, b]
  (top, bottom), (left, right) = sides(padding)
  return y[:, top : side - bottom, left : side - right]


def both_gradients(fn, x, kernel):
  """Value, and gradients of a loss that weighs every output."""
  y, pull = jax.vjp(fn, jnp.asarray(x), jnp.asarray(kernel))
  weights = np.random.default_rng(1).standard_normal(y.shape).astype(x.dtype)
  return y, *pull(jnp.asarray(weights))


def assert_close(got, want, dtype):
  rel = 1e-12 if dtype == "float64" else 1e-5
  for g, w in zip(got, want, strict=True):
    assert g.dtype == dtype
    limit = rel * np.abs(w).max()
    np.testing.assert_allclose(g, w, rtol=0, atol=limit)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", TRANSPOSED)
def test_transposed(shape, dtype):
  side, channels, features, kernel_size, stride, padding = shape
  x, kernel = arrays(side, channels, features, kernel_size, dtype)
  with jax.enable_x64(dtype == "float64"):
    got = both_gradients(
      jax.jit(lambda x, k: convolve_transposed(x, k, stride, padding)),
      x,
      kernel,
    )
    # The convolution of the dilated input with the flipped kernel.
    pads = [[kernel_size - 1 - p for p in side] for side in sides(padding)]
    library = lambda x, k: lax.conv_general_dilated(
      x,
      k[::-1, ::-1],
      (1, 1),
      pads,
      lhs_dilation=(stride, stride),
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    want = both_gradients(jax.jit(library), x, kernel)
  assert_close(got, want, dtype)
  defined = by_definition(x, kernel, stride, padding)
  np.testing.assert_allclose(got[0], defined, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", TRANSPOSED)
def test_transposed_is_that_of_pytorch(shape):
  torch = pytest.importorskip("torch", reason="needs PyTorch")
  side, channels, features, kernel_size, stride, padding = shape
  (top, bottom), (left, right) = sides(padding)
  if top < bottom or left < right:
    pytest.skip("PyTorch has no such padding")
  x, kernel = arrays(side, channels, features, kernel_size, "float32")
  want = torch.nn.functional.conv_transpose2d(
    torch.from_numpy(x.transpose(0, 3, 1, 2).copy()),
    torch.from_numpy(kernel.transpose(2, 3, 0, 1).copy()),
    stride=stride,
    padding=(top, left),
    output_padding=(top - bottom, left - right),
  )
  got = convolve_transposed(x, kernel, stride, padding)
  np.testing.assert_allclose(
    got, want.permute(0, 2, 3, 1), rtol=1e-4, atol=1e-4
  )


def test_transposed_module():
  x = jnp.ones((2, 3, 3, 5))
  module = ConvTranspose(4, 4, stride=2, padding=1)
  y, variables = module.init_with_output(jax.random.key(0), x)
  assert y.shape == (2, 6, 6, 4)
  assert variables["params"]["kernel"].shape == (4, 4, 5, 4)
  np.testing.assert_array_equal(variables["params"]["bias"], np.zeros(4))
  shifted = jax.tree.map(lambda v: v, variables)
  shifted["params"]["bias"] = jnp.ones(4)
  np.testing.assert_allclose(module.apply(shifted, x), y + 1, rtol=1e-5)
  plain = ConvTranspose(4, 4, use_bias=False).init(jax.random.key(0), x)
  assert plain["params"].keys() == {"kernel"}


def test_transposed_to_nothing():
  x, kernel = arrays(1, 2, 2, 3, "float32")
  with pytest.raises(InputError, match="1x1.*3x3.*padding.*2.*nothing"):
    convolve_transposed(x, kernel, 1, 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", FEW_PIXELS)
def test_convolution_to_a_few_pixels(shape, dtype):
  side, channels, features, kernel_size, stride, padding = shape
  x, kernel = arrays(side, channels, features, kernel_size, dtype)
  pads = ((padding, padding), (padding, padding))
  with jax.enable_x64(dtype == "float64"):
    plain = jax.jit(lambda x, k: conv.plain(x, k, stride, pads))
    want = both_gradients(plain, x, kernel)
    assert want[0].shape[1] * want[0].shape[2] <= conv.FEW_PIXELS
    got = both_gradients(
      jax.jit(lambda x, k: convolve(x, k, stride, padding)), x, kernel
    )
    assert_close(got, want, dtype)


def test_second_derivatives():
  """As gradient penalties take them, of a few pixels."""
  x, kernel = arrays(4, 5, 3, 4, "float64")
  penalty = lambda fn: jax.jit(
    jax.grad(
      lambda k: (
        jax.grad(lambda x: jnp.sum(fn(x, k) ** 3))(jnp.asarray(x)) ** 2
      ).sum()
    )
  )
  with jax.enable_x64(True):
    got = penalty(lambda x, k: convolve(x, k, 2, 1))(kernel)
    want = penalty(lambda x, k: conv.plain(x, k, 2, ((1, 1), (1, 1))))(kernel)
    assert_close([got], [want], "float64")


def test_a_convolution_to_a_few_pixels_is_a_product_on_cpu():
  x, kernel = arrays(4, 64, 64, 4, "float32")
  step = lambda x, k: convolve(x, k, 2, 1)
  text = jax.jit(step).lower(x, kernel).compile().as_text()
  assert (" convolution(" in text) == (jax.default_backend() != "cpu")
  x, kernel = arrays(8, 64, 64, 4, "float32")
  text = jax.jit(step).lower(x, kernel).compile().as_text()
  assert " convolution(" in text


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", WINOGRAD)
def test_winograd(shape, dtype, monkeypatch):
  monkeypatch.setattr(winograd, "LEAST_CHANNELS", 1)
  monkeypatch.setattr(winograd, "LEAST_TILES", 1)
  monkeypatch.setattr(winograd, "MOST_WASTE", 9)
  text = compare_with_plain(shape, dtype)
  if jax.default_backend() == "cpu":
    assert " convolution(" not in text


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", BLOCKS)
def test_gradient_by_blocks(shape, dtype, monkeypatch):
  monkeypatch.setattr(conv, "BLOCK_PIXELS", shape[-1])
  monkeypatch.setattr(conv, "NARROW_CHANNELS", 0)
  text = compare_with_plain(shape[:-1], dtype)
  if jax.default_backend() == "cpu":
    assert text.count(" convolution(") > 3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", NARROW)
def test_gradient_of_few_channels(shape, dtype):
  compare_with_plain(shape, dtype)


def test_gradient_of_few_channels_is_a_product_on_cpu():
  x, kernel = arrays(31, 16, 64, 3, "float32")
  step = jax.grad(lambda k, x: convolve(x, k, 1, 1).sum())
  text = jax.jit(step).lower(kernel, x).compile().as_text()
  assert (" convolution(" in text) == (jax.default_backend() != "cpu")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(8, 6, 5, 4, 2, 1), (12, 3, 7, 4, 2, 1)])
def test_gradient_of_stride_two(shape, dtype):
  compare_with_plain(shape, dtype)


def test_gradients_by_the_pixels_change_places_on_cpu():
  """Of a convolution it is a product, of a transposed one a convolution."""
  x, kernel = arrays(8, 6, 5, 4, "float32")
  for layer in (convolve, convolve_transposed):
    gradient = jax.grad(lambda x, k, layer=layer: layer(x, k, 2, 1).sum())
    text = jax.jit(gradient).lower(x, kernel).compile().as_text()
    transposed = layer is convolve_transposed
    on_cpu = jax.default_backend() == "cpu"
    assert (" convolution(" in text) == (transposed == on_cpu)


@pytest.mark.parametrize(
  ("layer", "platform", "convolutions", "products"),
  [
    (convolve, "cpu", 1, 2),
    (convolve, "cuda", 3, 0),
    (convolve, "tpu", 3, 0),
    (convolve_transposed, "cpu", 1, 2),
    (convolve_transposed, "cuda", 0, 3),
    (convolve_transposed, "tpu", 0, 3),
  ],
)
def test_the_form_is_that_of_the_platform(
  layer, platform, convolutions, products
):
  """Of the three products, as they are compiled for a machine not there."""
  x, kernel = arrays(13, 6, 7, 5, "float32")
  step = jax.jit(lambda x, k: both_gradients(lambda *a: layer(*a, 2), x, k))
  text = step.trace(x, kernel).lower(lowering_platforms=(platform,)).as_text()
  assert text.count("stablehlo.convolution(") == convolutions
  assert text.count("stablehlo.dot_general ") == products


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("side", [13, 14])
def test_kernels_of_five_and_stride_two(side, dtype):
  """In 14 pixels a row and a column are left over."""
  text = compare_with_plain((side, 6, 7, 5, 2, 0), dtype)
  if jax.default_backend() == "cpu":
    assert " dot(" in text


@pytest.mark.parametrize("layer", [convolve, convolve_transposed])
def test_gradients_of_gradients(layer):
  """All second derivatives, against those of autodifferentiated forms."""
  x, kernel = arrays(5, 2, 3, 5, "float64")
  pads = ((0, 0), (0, 0))
  other = {convolve: conv.plain, convolve_transposed: conv._folded}[layer]

  def second(fn, *how):
    def slope(x, k):
      gradients = jax.grad(lambda *a: (fn(*a, *how) ** 3).sum(), (0, 1))(x, k)
      return sum((g**2).sum() for g in gradients)

    return jax.jit(jax.grad(slope, (0, 1)))(x, kernel)

  with jax.enable_x64(True):
    assert_close(second(layer, 2, 0), second(other, 2, pads), "float64")


def compare_with_plain(shape, dtype):
  """Compares value, gradients and second derivatives on five images.

  Returns:
    The compiled program of value and gradients.
  """
  side, channels, features, kernel_size, stride, padding = shape
  x, kernel = arrays(side, channels, features, kernel_size, dtype)
  x = np.concatenate([x, 2 * x[:, ::-1], x[:1]])
  pads = ((padding, padding),) * 2 if isinstance(padding, int) else padding

  def all_of(fn):
    def derivatives(x, kernel):
      penalty = lambda k: jax.grad(lambda x: (fn(x, k) ** 3).sum())(x).sum()
      return both_gradients(fn, x, kernel), jax.grad(penalty)(kernel)

    return jax.jit(derivatives).lower(x, kernel).compile()

  with jax.enable_x64(dtype == "float64"):
    form = all_of(lambda x, k: convolve(x, k, stride, padding))
    got, second = form(x, kernel)
    plain = all_of(lambda x, k: conv.plain(x, k, stride, pads))
    want, second_want = plain(x, kernel)
    assert_close([*got, second], [*want, second_want], dtype)
  return form.as_text()


@pytest.mark.parametrize("channels", [127, 128])
def test_winograd_is_for_many_channels(channels):
  pads = ((1, 1), (1, 1))
  x = jnp.zeros((4, 28, 28, channels))
  kernel = jnp.zeros((3, 3, channels, 128))
  assert winograd.pays(x, kernel, pads) == (channels == 128)
  assert not winograd.pays(x[:1], kernel, pads)
  assert not winograd.pays(jnp.zeros((99, 9, 9, 128)), kernel, pads)
  assert not winograd.pays(x.astype("bfloat16"), kernel, pads)


def test_winograd_of_many_channels():
  x, kernel = arrays(40, 128, 128, 3, "float32")
  assert winograd.pays(x, kernel, ((1, 1), (1, 1)))
  got = both_gradients(jax.jit(lambda x, k: convolve(x, k, 1, 1)), x, kernel)
  plain = jax.jit(lambda x, k: conv.plain(x, k, 1, ((1, 1), (1, 1))))
  assert_close(got, both_gradients(plain, x, kernel), "float32")


def test_no_gradient_by_a_frozen_kernel():
  x, kernel = arrays(120, 2, 2, 3, "float32")
  step = jax.grad(lambda x, k: convolve(x, k, 1, 1).sum())
  assert len(x) * 120**2 > conv.BLOCK_PIXELS
  text = jax.jit(step).lower(x, kernel).compile().as_text()
  assert text.count(" convolution(") == 1


# Exports.


class Small(nn.Module):
  """Every layer that has a form for CPUs; [B, 32, 32, 3] to [B, 5]."""

  @nn.compact
  def __call__(self, x):
    x = nn.relu(Conv(130, 7, 2, 3)(x))  # few channels, stride 2
    x = max_pool(x, 3, 2, ceil_mode=True)
    x = nn.relu(Conv(130, 3, 1, 1)(x))  # many channels
    x = nn.relu(Conv(8, 1)(x))
    x = nn.relu(Conv(8, 3, 2, 1)(x))  # narrow
    x = nn.relu(ConvTranspose(4, 4, 2, 1)(x))
    x = Conv(5, 8)(x)[:, 0, 0]  # one pixel
    return map_chunks(lambda rows: jnp.tanh(rows), x, 1).reshape(-1, 5)


@pytest.mark.parametrize("n", [1, 3, 7])
def test_an_export_of_any_batch_size_equals_the_direct_call(n):
  rng = np.random.default_rng(0)
  network = Small()
  x = rng.standard_normal((n, 32, 32, 3)).astype(np.float32)
  variables = network.init(jax.random.key(0), x[:1])
  direct = jax.jit(lambda x: network.apply(variables, x))
  blob = exported(direct, "cpu").serialize()
  got = jax.export.deserialize(blob).call(x)
  np.testing.assert_allclose(got, direct(x), rtol=0, atol=1e-6)
  # It is not a network that gives the same for every image.
  assert got.shape == (n, 5) and np.abs(got).max() > 0.1
  assert n == 1 or (np.asarray(got[0]) != np.asarray(got[1])).all()


def test_an_export_of_any_batch_size_has_gradients():
  x, kernel = arrays(9, 3, 4, 3, "float32")
  step = jax.jit(
    jax.grad(lambda x: (max_pool(convolve(x, kernel, 2, 1), 2, 1) ** 2).sum())
  )
  program = exported(step, "cpu", side=9)
  got, want = program.call(x), step(x)
  np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


def test_an_export_is_plain_where_the_batch_is_symbolic():
  kernel = jnp.ones((1, 1, 3, 8))
  step = jax.jit(lambda x: convolve(x, kernel))
  fixed = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
  forms = lambda program: [
    name
    for name in ("dot_general", "convolution")
    if f"stablehlo.{name}" in program.mlir_module()
  ]
  both = jax.export.export(step, platforms=("cpu", "cuda"))(fixed)
  assert forms(both) == ["dot_general", "convolution"]
  alone = jax.export.export(step, platforms=("cpu",))(fixed)
  assert forms(alone) == ["dot_general"]
  assert forms(exported(step, "cpu", "cuda")) == ["convolution"]


def exported(fn, *platforms, side=32):
  (batch,) = jax.export.symbolic_shape("b")
  shape = jax.ShapeDtypeStruct((batch, side, side, 3), jnp.float32)
  return jax.export.export(fn, platforms=platforms)(shape)


def test_many_taps_are_not_gathered():
  """AlexNet's first layer: 121 slices would take minutes to compile."""
  x, kernel = jnp.zeros((1, 63, 63, 3)), jnp.zeros((11, 11, 3, 8))
  how = lambda x, k: conv.convolve(x, k, 4, ((2, 2), (2, 2)))
  text = jax.jit(how).lower(x, kernel).as_text()
  assert text.count("stablehlo.slice") < 10


@pytest.mark.parametrize("kernel_size", [1, 2, 3])
def test_no_images(kernel_size):
  """In whatever form, see `jaxad.layers.cpu.conv`."""
  x, kernel = arrays(kernel_size + 1, 3, 4, kernel_size, np.float32)

  def loss(x, kernel):
    y = convolve(x, kernel, 1, ((0, 0), (0, 0)))
    assert y.shape == (0, 2, 2, 4)
    return y.sum()

  by_x, by_kernel = jax.jit(jax.grad(loss, (0, 1)))(x[:0], kernel)
  assert by_x.shape == x[:0].shape
  np.testing.assert_array_equal(by_kernel, np.zeros_like(kernel))
