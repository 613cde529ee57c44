# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Trunks, and the convolution and pooling that they are made of."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxad.errors import InputError
from jaxad.layers.conv import Conv, DepthwiseConv, convolve
from jaxad.layers.cpu import depthwise
from jaxad.layers.pool import max_pool
from jaxad.networks.trunk import (
  TRUNKS,
  feature_channels,
  is_at_hand,
  make_trunk,
  minimum_size,
  normalize,
  trunk_variables,
)


def shapes_of(name, layer, size):
  images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
  return jax.eval_shape(
    make_trunk(name, layer).init_with_output, jax.random.key(0), images
  )


def random_variables(name, layer=None, seed=0):
  """Variables of a trunk with every leaf drawn, variances positive."""
  _, variables = shapes_of(name, layer, 64)
  leaves, tree = jax.tree.flatten_with_path(variables)
  rng = np.random.default_rng(seed)
  drawn = []
  for path, leaf in leaves:
    value = rng.standard_normal(leaf.shape).astype(np.float32)
    if path[-1].key == "kernel":
      value *= np.sqrt(2 / np.prod(leaf.shape[:-1]))
    elif path[-1].key == "var":
      value = 0.5 + value**2
    drawn.append(value.astype(np.float32))
  return jax.tree.unflatten(tree, drawn)


@pytest.mark.parametrize(
  ("name", "layer", "size", "expected"),
  [
    ("alexnet", "features.0", 448, (111, 111, 64)),
    ("alexnet", "features.2", 448, (55, 55, 64)),
    ("alexnet", "features.5", 448, (27, 27, 192)),
    ("alexnet", "features.6", 448, (27, 27, 384)),
    ("alexnet", None, 448, (13, 13, 256)),
    ("alexnet", "features.2", 224, (27, 27, 64)),
    ("alexnet", None, 224, (6, 6, 256)),
    ("alexnet", "features.0", 112, (27, 27, 64)),
    ("alexnet", None, 112, (2, 2, 256)),
    ("squeezenet1_1", "features.0", 224, (111, 111, 64)),
    ("squeezenet1_1", None, 448, (27, 27, 512)),
    ("squeezenet1_1", None, 224, (13, 13, 512)),
    ("resnet18", "layer1", 224, (56, 56, 64)),
    ("resnet18", "layer2", 224, (28, 28, 128)),
    ("resnet18", "layer3", 224, (14, 14, 256)),
    ("resnet18", None, 448, (14, 14, 512)),
    ("efficientnet_lite0", "_conv_stem", 225, (113, 113, 32)),
    ("efficientnet_lite0", "_blocks.10", 224, (14, 14, 112)),
    ("efficientnet_lite0", None, 448, (14, 14, 320)),
    ("efficientnet_lite0", None, 97, (4, 4, 320)),
  ],
)
def test_shapes(name, layer, size, expected):
  output, _ = shapes_of(name, layer, size)
  assert output.shape == (1, *expected)
  assert output.dtype == jnp.float32
  assert feature_channels(name, layer) == expected[-1]


@pytest.mark.parametrize(
  ("name", "expected"),
  [
    ("alexnet", 2_469_696),
    ("squeezenet1_1", 1_235_496 - (512 * 1000 + 1000)),
    ("resnet18", 11_176_512),
    # The published network without its head and classifier.
    ("efficientnet_lite0", 4_652_008 - (320 * 1280 + 2 * 1280) - 1281 * 1000),
  ],
)
def test_parameter_count(name, expected):
  _, variables = shapes_of(name, None, 224)
  leaves = jax.tree.leaves(variables["params"])
  assert sum(leaf.size for leaf in leaves) == expected


@pytest.mark.whole
@pytest.mark.parametrize("name", TRUNKS)
def test_later_layers_have_no_parameters(name):
  layers = TRUNKS[name].layers
  sizes = [
    len(jax.tree.leaves(shapes_of(name, layer, 64)[1])) for layer in layers
  ]
  assert sizes == sorted(sizes)
  assert sizes[0] < sizes[-1]
  assert list(shapes_of(name, layers[0], 64)[1]["params"]) == [layers[0]]


@pytest.mark.parametrize(
  ("name", "layer", "expected"),
  [
    ("alexnet", None, 63),
    ("alexnet", "features.0", 7),
    ("squeezenet1_1", None, 17),
    ("squeezenet1_1", "features.0", 3),
    ("resnet18", None, 1),
    ("efficientnet_lite0", None, 1),
  ],
)
def test_minimum_size(name, layer, expected):
  assert minimum_size(name, layer) == expected
  assert min(shapes_of(name, layer, expected)[0].shape) >= 1
  if expected > 1:
    with pytest.raises(InputError, match="too small"):
      shapes_of(name, layer, expected - 1)


def test_unknown_names():
  with pytest.raises(InputError, match="trunk='vgg'.*alexnet, squeezenet1"):
    make_trunk("vgg")
  with pytest.raises(InputError, match="'layer5'.*resnet18.*layer4"):
    make_trunk("resnet18", "layer5")


def test_random_weights_keep_the_scale():
  variables = trunk_variables("alexnet", None, "random", jax.random.key(0))
  x = np.random.default_rng(0).standard_normal((2, 96, 96, 3), np.float32)
  y = jax.jit(make_trunk("alexnet").apply)(variables, x)
  assert 0.1 < float(y.std()) < 10
  for module in variables["params"].values():
    assert not module["bias"].any()


def test_random_weights_depend_on_the_key_alone():
  first, second, other = (
    trunk_variables("resnet18", "bn1", "random", jax.random.key(seed))
    for seed in (0, 0, 1)
  )
  chex.assert_trees_all_equal(first, second)
  kernels = [v["params"]["conv1"]["kernel"] for v in (first, other)]
  assert float(abs(kernels[0] - kernels[1]).max()) > 0.1
  np.testing.assert_allclose(kernels[0].std(), np.sqrt(2 / 147), rtol=0.05)


def test_resnet_training_mode_gives_the_statistics_of_the_batch():
  variables = random_variables("resnet18", "relu")
  x = jax.random.normal(jax.random.key(0), (4, 16, 16, 3))
  y, update = make_trunk("resnet18", "bn1").apply(
    variables, x, train=True, mutable="batch_stats"
  )
  affine = variables["params"]["bn1"]
  np.testing.assert_allclose(y.mean((0, 1, 2)), affine["bias"], atol=1e-4)
  conv = make_trunk("resnet18", "conv1").apply(variables, x)
  # The variance is unbiased, as PyTorch's running one takes it up.
  expected = {
    "mean": conv.mean((0, 1, 2)),
    "var": conv.var((0, 1, 2), ddof=1),
  }
  chex.assert_trees_all_close(
    update["batch_stats"]["bn1"], expected, rtol=1e-4, atol=1e-5
  )


def test_bfloat16_arithmetic():
  variables = random_variables("resnet18", "layer2")
  x = jax.random.normal(jax.random.key(0), (1, 32, 32, 3))
  module = make_trunk("resnet18", "layer2")
  exact = jax.jit(module.apply)(variables, x)
  rough = jax.jit(module.apply)(variables, x.astype(jnp.bfloat16))
  assert rough.dtype == jnp.bfloat16
  # 8 bits of mantissa through nine convolutions.
  np.testing.assert_allclose(
    rough.astype(jnp.float32), exact, atol=0.1 * float(abs(exact).max())
  )


def test_normalize():
  pixels = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
  expected = [
    [-2.1179039, -2.0357144, -1.8044445],
    [2.2489083, 2.4285715, 2.64],
  ]
  floats = jnp.asarray(pixels / 255, jnp.float32)
  for x in (pixels, floats):
    np.testing.assert_allclose(normalize(x, "vgg16"), expected, rtol=1e-6)
    np.testing.assert_allclose(
      normalize(x, "efficientnet_lite0"),
      [[-127 / 128] * 3, [1] * 3],
      rtol=1e-6,
    )
  with pytest.raises(InputError, match="int32"):
    normalize(np.zeros((2, 3), np.int32), "alexnet")
  with pytest.raises(InputError, match="red, green and blue"):
    normalize(np.zeros((4, 4, 1), np.uint8), "alexnet")


def lax_convolution(x, kernel, stride, padding):
  if isinstance(padding, int):
    padding = ((padding, padding),) * 2
  return lax.conv_general_dilated(
    x,
    kernel,
    (stride, stride),
    padding,
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )


@pytest.mark.parametrize(
  ("height", "width", "channels", "window", "stride", "padding"),
  [
    (23, 30, 3, 11, 4, 2),
    (17, 16, 3, 3, 2, 0),
    (15, 14, 3, 7, 2, 3),
    (9, 12, 1, 4, 3, ((0, 1), (2, 0))),
    (5, 9, 2, 2, 4, 0),
    (9, 8, 4, 1, 2, 0),
    (9, 8, 8, 3, 2, 1),
  ],
)
def test_convolution_forms_agree(
  height, width, channels, window, stride, padding
):
  draw = functools.partial(
    np.random.default_rng(0).standard_normal, dtype=np.float32
  )
  x = draw((2, height, width, channels))
  kernel = draw((window, window, channels, 5))
  direction = draw(x.shape)

  @functools.partial(jax.jit, static_argnums=0)
  def everything(convolution):
    f = lambda x, kernel: convolution(x, kernel, stride, padding)
    y = f(x, kernel)
    gradients = jax.grad(lambda *a: (f(*a) ** 2).sum(), (0, 1))(x, kernel)
    slope = lambda x, kernel: jax.grad(lambda x: (f(x, kernel) ** 2).sum())(x)
    frozen, pull = jax.vjp(slope, x, kernel)
    return y, gradients, frozen, pull(direction)

  got = everything(convolve)
  expected = everything(lax_convolution)
  # Sums of hundreds of products in another order, relative to the largest.
  scale = jax.tree.map(lambda v: float(abs(v).max()), expected)
  chex.assert_trees_all_close(
    jax.tree.map(lambda v, s: v / s, got, scale),
    jax.tree.map(lambda v, s: v / s, expected, scale),
    rtol=0,
    atol=2e-6,
  )


@pytest.mark.parametrize(
  ("size", "window", "stride", "padding"),
  [
    ((9, 12), 3, 1, ((1, 1), (1, 1))),
    ((8, 13), 5, 2, ((1, 2), (2, 2))),
    ((7, 7), 3, 2, 0),
    ((1, 2), 5, 1, 2),
  ],
)
def test_depthwise_forms_agree(size, window, stride, padding):
  draw = functools.partial(
    np.random.default_rng(0).standard_normal, dtype=np.float32
  )
  x = draw((2, *size, 6))
  module = DepthwiseConv(window, stride, padding)
  variables = {"params": {"kernel": draw((window, window, 1, 6))}}

  def everything(variables, x):
    f = lambda variables, x: module.apply(variables, x)
    y, pull = jax.vjp(f, variables, x)
    return y, pull(jnp.cos(y))

  got = jax.jit(everything)(variables, x)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(depthwise, "on_cpu", lambda form, plain, *a: plain(*a))
    expected = jax.jit(lambda *a: everything(*a))(variables, x)
  chex.assert_trees_all_close(got, expected, rtol=1e-5, atol=1e-5)
  text = jax.jit(module.apply).lower(variables, x).as_text()
  assert "convolution" not in text


def test_depthwise_rejects_a_small_image():
  with pytest.raises(InputError, match="2x9 .*3x3 kernel"):
    DepthwiseConv(3).init(jax.random.key(0), jnp.zeros((1, 2, 9, 4)))


def test_pixel_gradient_is_not_a_dilated_convolution_on_cpu():
  """The fast form is really the one that is compiled."""
  x = jax.ShapeDtypeStruct((24, 448, 448, 3), jnp.float32)
  kernel = jnp.ones((11, 11, 3, 4))
  f = lambda x: (convolve(x, kernel, 4, 2) ** 2).sum()
  text = jax.jit(jax.grad(f)).lower(x).as_text(dialect="hlo")
  assert "convolution" in text
  assert "lhs_dilate" not in text
  f = lambda x: (lax_convolution(x, kernel, 4, 2) ** 2).sum()
  assert "lhs_dilate" in jax.jit(jax.grad(f)).lower(x).as_text(dialect="hlo")


def test_convolution_rejects_a_small_image():
  with pytest.raises(InputError, match="6x9 .*11x11 kernel"):
    Conv(4, 11, 4, 2).init(jax.random.key(0), jnp.zeros((1, 6, 9, 3)))


def lax_pool(x, window, stride, padding, ceil_mode):
  """`lax.reduce_window`, the ceil mode through one more stride of -inf."""
  extra = stride - 1 if ceil_mode else 0
  y = lax.reduce_window(
    x,
    -jnp.inf,
    lax.max,
    (1, window, window, 1),
    (1, stride, stride, 1),
    ((0, 0), (padding, padding + extra), (padding, padding + extra), (0, 0)),
  )
  # A window may not begin behind the image.
  starts = [len(range(0, n + padding, stride)) for n in x.shape[1:3]]
  return y[:, : starts[0], : starts[1]]


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(
  ("height", "width", "window", "stride", "padding"),
  [(11, 14, 3, 2, 0), (12, 9, 3, 2, 1), (8, 8, 2, 2, 0), (13, 10, 4, 3, 2)],
)
def test_pool_forms_agree(height, width, window, stride, padding, ceil_mode):
  rng = np.random.default_rng(0)
  x = rng.standard_normal((2, height, width, 3), np.float32)

  @functools.partial(jax.jit, static_argnums=0)
  def values_and_gradient(pool, x):
    y, pull = jax.vjp(lambda x: pool(x, window, stride, padding, ceil_mode), x)
    weights = jnp.cos(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape)
    return y, pull(weights)[0]

  # Rectified: half of the pixels are equal, so the rule for ties matters.
  for image in (x, np.maximum(x, 0)):
    got = values_and_gradient(max_pool, image)
    expected = values_and_gradient(lax_pool, image)
    chex.assert_trees_all_close(got, expected, rtol=1e-6, atol=1e-6)


def test_pool_ceil_mode_by_hand():
  x = jnp.arange(16.0).reshape(1, 4, 4, 1)
  np.testing.assert_array_equal(max_pool(x, 3, 2)[0, :, :, 0], [[10]])
  np.testing.assert_array_equal(
    max_pool(x, 3, 2, ceil_mode=True)[0, :, :, 0], [[10, 11], [14, 15]]
  )
  # A window may not begin outside of the image: one, not two.
  assert max_pool(jnp.ones((1, 2, 2, 1)), 1, 3, ceil_mode=True).shape[1] == 1


def test_pool_passes_nan_on_and_rejects_a_small_image():
  for place in range(9):
    x = jnp.arange(9.0).at[place].set(jnp.nan).reshape(1, 3, 3, 1)
    assert jnp.isnan(max_pool(x, 3, 2)).all()
  with pytest.raises(InputError, match="2x5.*3x3 window"):
    max_pool(jnp.zeros((1, 2, 5, 1)), 3, 2)


def torch_tensors(torch, variables):
  """PyTorch's names and layouts, independent of `load_variables`."""
  tensors = {}
  for collection in variables.values():
    for module, leaves in collection.items():
      for leaf, value in leaves.items():
        name = {
          "kernel": "weight",
          "scale": "weight",
          "mean": "running_mean",
          "var": "running_var",
        }.get(leaf, leaf)
        value = torch.tensor(np.asarray(value))
        if leaf == "kernel":
          value = value.permute(3, 2, 0, 1)
        tensors[f"{module}.{name}"] = value
  return tensors


def torch_efficientnet(torch, t, x):
  """(name, map) of every stage of EfficientNet-Lite0; NCHW."""
  f = torch.nn.functional

  def conv(x, name, stride=1, groups=1):
    kernel = t[f"{name}.weight"]
    pads = []
    for n in (x.shape[3], x.shape[2]):
      total = max((-(-n // stride) - 1) * stride + kernel.shape[-1] - n, 0)
      pads += [total // 2, total - total // 2]
    return f.conv2d(f.pad(x, pads), kernel, None, stride, groups=groups)

  def norm(x, name):
    mean, var = t[f"{name}.running_mean"], t[f"{name}.running_var"]
    affine = t[f"{name}.weight"], t[f"{name}.bias"]
    return f.batch_norm(x, mean, var, *affine, eps=1e-3)

  x = conv(x, "_conv_stem", 2)
  yield "_conv_stem", x
  x = f.relu6(norm(x, "_bn0"))
  yield "_bn0", x
  for k in range(16):
    name, y = f"_blocks.{k}", x
    if k:
      y = f.relu6(norm(conv(y, f"{name}._expand_conv"), f"{name}._bn0"))
    stride = 2 if k in (1, 3, 5, 11) else 1
    y = conv(y, f"{name}._depthwise_conv", stride, y.shape[1])
    y = f.relu6(norm(y, f"{name}._bn1"))
    y = norm(conv(y, f"{name}._project_conv"), f"{name}._bn2")
    # The first block of a stage has another width, or a stride.
    x = y if k in (0, 1, 3, 5, 8, 11, 15) else x + y
    yield name, x


def torch_forward(torch, name, t, x, last="layer4"):
  """The networks in PyTorch's functions; NCHW."""
  f = torch.nn.functional

  def conv(x, name, stride=1, padding=0):
    bias = t.get(f"{name}.bias")
    return f.conv2d(x, t[f"{name}.weight"], bias, stride, padding)

  def norm(x, name):
    mean, var = t[f"{name}.running_mean"], t[f"{name}.running_var"]
    return f.batch_norm(x, mean, var, t[f"{name}.weight"], t[f"{name}.bias"])

  def fire(x, name):
    x = f.relu(conv(x, f"{name}.squeeze"))
    parts = conv(x, f"{name}.expand1x1"), conv(x, f"{name}.expand3x3", 1, 1)
    return f.relu(torch.cat(parts, 1))

  def block(x, name, stride):
    y = f.relu(norm(conv(x, f"{name}.conv1", stride, 1), f"{name}.bn1"))
    y = norm(conv(y, f"{name}.conv2", 1, 1), f"{name}.bn2")
    if f"{name}.downsample.0.weight" in t:
      x = conv(x, f"{name}.downsample.0", stride)
      x = norm(x, f"{name}.downsample.1")
    return f.relu(x + y)

  if name == "efficientnet_lite0":
    *_, (_, x) = torch_efficientnet(torch, t, x)
    return x
  if name == "alexnet":
    x = f.max_pool2d(f.relu(conv(x, "features.0", 4, 2)), 3, 2)
    x = f.max_pool2d(f.relu(conv(x, "features.3", 1, 2)), 3, 2)
    for index in (6, 8, 10):
      x = f.relu(conv(x, f"features.{index}", 1, 1))
    return f.max_pool2d(x, 3, 2)
  if name == "squeezenet1_1":
    x = f.relu(conv(x, "features.0", 2))
    for indices in ((3, 4), (6, 7), (9, 10, 11, 12)):
      x = f.max_pool2d(x, 3, 2, ceil_mode=True)
      for index in indices:
        x = fire(x, f"features.{index}")
    return x
  if name == "vgg16":
    for index in range(31):
      if f"features.{index}.weight" in t:
        x = f.relu(conv(x, f"features.{index}", 1, 1))
      elif index in (4, 9, 16, 23, 30):
        x = f.max_pool2d(x, 2)
    return x
  x = f.max_pool2d(f.relu(norm(conv(x, "conv1", 2, 3), "bn1")), 3, 2, 1)
  for stage in range(1, int(last[-1]) + 1):
    x = block(x, f"layer{stage}.0", 1 if stage == 1 else 2)
    x = block(x, f"layer{stage}.1", 1)
  return x


@pytest.mark.parametrize("name", TRUNKS)
def test_equal_to_pytorch(name):
  """In float64, where no rounding flips a ReLU or a maximum."""
  torch = pytest.importorskip("torch")
  images = np.random.default_rng(1).standard_normal((2, 73, 66, 3))
  weights = np.random.default_rng(2).standard_normal(feature_channels(name))
  variables = jax.tree.map(np.float64, random_variables(name))
  module = make_trunk(name)

  def forward_and_back(variables, x):
    y, pull = jax.vjp(lambda x: module.apply(variables, x), x)
    return y, pull(jnp.broadcast_to(weights, y.shape))[0]

  with jax.enable_x64(True):
    y, gradient = jax.jit(forward_and_back)(variables, images)
  x = torch.tensor(images).permute(0, 3, 1, 2).requires_grad_()
  t = torch_forward(torch, name, torch_tensors(torch, variables), x)
  (t.permute(0, 2, 3, 1) @ torch.tensor(weights)).sum().backward()
  for got, tensor in ((y, t.detach()), (gradient, x.grad)):
    expected = tensor.permute(0, 2, 3, 1).numpy()
    scale = np.abs(expected).max()
    assert got.dtype == np.float64 and scale > 0.1
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-10 * scale)


def test_every_stage_of_efficientnet_is_equal_to_pytorch():
  """With the published weights, in float32; sides odd and even."""
  torch = pytest.importorskip("torch")
  name = "efficientnet_lite0"
  if not is_at_hand(name):
    pytest.skip("the package of the weights is not installed")
  image = np.random.default_rng(0).integers(0, 256, (1, 97, 66, 3), np.uint8)
  variables = trunk_variables(name, None, "imagenet", jax.random.key(0))

  @jax.jit
  def stages(x):
    return [
      make_trunk(name, n).apply(variables, x) for n in TRUNKS[name].layers
    ]

  got = stages(normalize(image, name))
  x = torch.tensor((image.astype(np.float32) - 127) / 128).permute(0, 3, 1, 2)
  tensors = torch_tensors(torch, variables)
  expected = list(torch_efficientnet(torch, tensors, x))
  assert tuple(stage for stage, _ in expected) == TRUNKS[name].layers
  for y, (stage, tensor) in zip(got, expected, strict=True):
    want = tensor.permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(
      y, want, rtol=0, atol=1e-5 * np.abs(want).max(), err_msg=stage
    )


def test_ceil_mode_equal_to_pytorch():
  torch = pytest.importorskip("torch")
  for size in (2, 5, 6, 7):
    for window, stride, padding in ((3, 2, 0), (2, 3, 1), (4, 3, 2)):
      x = np.random.default_rng(size).standard_normal((1, size, size, 1))
      x = x.astype(np.float32)
      expected = torch.nn.functional.max_pool2d(
        torch.tensor(x[..., 0]), window, stride, padding, ceil_mode=True
      )
      y = jax.jit(max_pool, static_argnums=(1, 2, 3, 4))(
        x, window, stride, padding, True
      )
      np.testing.assert_array_equal(y[..., 0], expected.numpy())
