# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""KDAD's networks, terms and maps, beyond what all detectors promise."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import ndimage

import jaxad
from jaxad.errors import InputError
from jaxad.methods.kdad import disagreement, distillation, gradient_map
from jaxad.networks.cloner import SQUEEZENET, VGG, Cloner, guided_relu
from jaxad.networks.trunk import feature_channels, make_trunk
from jaxad.networks.variables import apply_train
from jaxad.networks.vgg import BLOCK_ENDS, BLOCKS, VGG16
from jaxad.optim import adam_l2

KEY = jax.random.key(0)
KEYS = jax.random.split(KEY, 4)

# Two blocks of a VGG of few channels, and its student: their five take XLA a
# minute to compile.
ENDS = BLOCK_ENDS[:2]
TEACHER = VGG16(ENDS[-1], ((4, 4), (4, 6), *BLOCKS[2:]))
STUDENT = Cloner(((2, 4), (2, 6)))


def teach(params, x):
  return TEACHER.apply({"params": params}, x, ENDS, method="maps")


def small_detector(**keywords):
  defaults = dict(
    smallest=4,
    loss_stages=(0, 1),
    score_stages=(1,),
    lam=0.5,
    direction_only=False,
    normalize=False,
    tx=adam_l2(1e-3),
    map="gradient",
    map_sigma=2.0,
  )
  init = lambda key: TEACHER.init(key, jnp.zeros((1, 4, 4, 3)))["params"]
  return distillation(teach, init, STUDENT, **defaults | keywords)


def images(n, size, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (n, size, size, 3), np.uint8)


def cloner_of(size, use_bias=False, form=VGG):
  return Cloner(form.stages(size, range(1, 5)), form.geometry, use_bias)


# The sizes, as counted in the official networks.


@pytest.mark.parametrize(
  ("network", "expected"),
  [
    (VGG16(), 14_714_688),
    (cloner_of("small"), 343_984),
    (cloner_of("small", use_bias=True), 345_536),
    (cloner_of("equal"), 14_715_968),
    (cloner_of("equal", use_bias=True), 14_720_192),
  ],
)
def test_parameter_counts(network, expected):
  x = jax.ShapeDtypeStruct((1, 128, 128, 3), jnp.float32)
  variables = jax.eval_shape(lambda x: network.init(KEY, x, train=False), x)
  leaves = jax.tree.leaves(variables["params"])
  assert sum(leaf.size for leaf in leaves) == expected


# Of 128 pixels: the channels and the side of every map that is collected, each
# ReLU's or the pool's behind it.
SOURCE = (
  *((64, 128), (64, 64), (128, 64), (128, 32), (256, 32), (256, 32)),
  *((256, 16), (512, 16), (512, 16), (512, 8), (512, 8), (512, 8), (512, 4)),
)
SMALL = (
  *((16, 128), (16, 64), (16, 64), (128, 32), (16, 32), (16, 32)),
  *((256, 16), (16, 16), (16, 16), (512, 8), (16, 8), (16, 8), (512, 4)),
)


def test_shapes_of_the_teacher():
  layers = (1, 4, 6, 9, 11, 13, 16, 18, 20, 23, 25, 27, 30)
  names = tuple(f"features.{k}" for k in layers)
  x = jax.ShapeDtypeStruct((1, 128, 128, 3), jnp.float32)
  fn = lambda x: VGG16().init_with_output(KEY, x, names, method="maps")[0]
  maps = jax.eval_shape(fn, x)
  assert [m.shape for m in maps] == [(1, s, s, c) for c, s in SOURCE]


def test_shapes_of_the_small_cloner():
  """The norms' outputs and, where there is none, those of the pools."""
  x = jax.ShapeDtypeStruct((1, 128, 128, 3), jnp.float32)

  def fn(x):
    maps, variables = cloner_of("small").init_with_output(
      KEY, x, train=True, capture_intermediates=True, mutable=True
    )
    return maps, variables["intermediates"]

  maps, inside = jax.eval_shape(fn, x)
  maps = iter(maps)
  shapes = [
    inside[f"norm_{k}"]["__call__"][0].shape
    if f"norm_{k}" in inside
    else next(maps).shape
    for k in range(len(SMALL))
  ]
  assert shapes == [(1, s, s, c) for c, s in SMALL]
  assert not list(maps)


@pytest.mark.whole
@pytest.mark.parametrize("size", ["small", "equal"])
@pytest.mark.parametrize("pixels", [17, 41, 66])
@pytest.mark.parametrize(
  ("trunk", "form"), [("squeezenet1_1", SQUEEZENET), ("vgg16", VGG)]
)
def test_cloners_have_the_maps_of_their_trunks(trunk, form, pixels, size):
  if trunk == "vgg16" and pixels < 32:
    pytest.skip("too small for VGG-16")
  stages = range(len(form.ends))
  cloner = Cloner(form.stages(size, stages), form.geometry)
  x = jax.ShapeDtypeStruct((2, pixels, pixels, 3), jnp.float32)
  maps = jax.eval_shape(
    lambda x: cloner.init_with_output(KEY, x, train=False)[0], x
  )
  for layer, clone in zip(form.ends, maps, strict=True):
    init = make_trunk(trunk, layer).init_with_output
    want, _ = jax.eval_shape(init, KEY, x)
    assert clone.shape == want.shape
    assert clone.shape[-1] == feature_channels(trunk, layer)


def test_the_small_cloner_is_narrow_where_nothing_is_compared():
  assert VGG.stages("small", (2,)) == ((16, 16), (16, 16), (16, 16, 256))
  assert VGG.stages("small", (0, 1)) == ((16, 64), (16, 128))
  assert VGG.stages("equal", (1,)) == ((64, 64), (128, 128))


def test_biases_start_as_in_pytorch():
  cloner = Cloner(((16, 400),), use_bias=True)
  params = jax.jit(lambda: cloner.init(KEY, jnp.zeros((1, 4, 4, 3)), False))()
  params = params["params"]
  for k, fan_in in ((0, 27), (1, 144)):
    bound = fan_in**-0.5
    assert float(abs(params[f"conv_{k}"]["bias"]).max()) <= bound
  np.testing.assert_allclose(
    params["conv_1"]["bias"].std(), bound / 3**0.5, rtol=0.1
  )
  limit = (6 / (9 * 16 + 9 * 400)) ** 0.5
  kernel = params["conv_1"]["kernel"]
  assert 0.99 * limit < float(abs(kernel).max()) <= limit


# The terms.


def test_disagreement_by_hand():
  clone = jnp.float32([[3, 0, 0, 4], [1, 1, 1, 1]]).reshape(2, 2, 1, 2)
  target = jnp.float32([[0, 0, 0, 2], [-1, -1, -1, -1]]).reshape(2, 2, 1, 2)
  direction, mse = disagreement(clone, target)
  np.testing.assert_allclose(direction, [1 - 0.8, 2], rtol=1e-6)
  np.testing.assert_allclose(mse, [(9 + 4) / 4, 4], rtol=1e-6)


def test_maps_of_zeros_have_the_cosine_zero_and_a_gradient():
  zeros, ones = jnp.zeros((1, 2, 2, 3)), jnp.ones((1, 2, 2, 3))

  @jax.jit
  def run(clone, target):
    direction = lambda *pair: disagreement(*pair)[0].sum()
    return jax.value_and_grad(direction, argnums=(0, 1))(clone, target)

  for pair in ((zeros, zeros), (zeros, ones), (ones, zeros)):
    value, gradients = run(*pair)
    assert value == 1
    for gradient in gradients:
      assert np.isfinite(gradient).all()
  value, _ = run(ones, ones)
  np.testing.assert_allclose(value, 0, atol=1e-6)


def test_gradient_map_with_scipy():
  gradient = np.random.default_rng(0).standard_normal((2, 40, 40, 3))
  maps = gradient_map(jnp.float32(gradient), 4.0)
  for got, g in zip(maps, gradient, strict=True):
    g = np.abs(g).sum(-1)
    scaled = np.clip((g - g.min()) / (np.percentile(g, 99) - g.min()), 0, 1)
    want = ndimage.gaussian_filter(scaled, 4)
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_gradient_map_of_no_range():
  flat = jnp.full((1, 40, 40, 3), 2.0)
  # One pixel lies above the 99th percentile, which is the minimum.
  for gradient in (flat, 0 * flat, flat.at[0, 3, 3].set(9.0)):
    assert not gradient_map(gradient, 4.0).any()


def test_guided_relu():
  x = jnp.float32([-1, -1, 2, 2])
  y, pull = jax.vjp(guided_relu, x)
  np.testing.assert_array_equal(y, [0, 0, 2, 2])
  (back,) = pull(jnp.float32([-3, 3, -3, 3]))
  np.testing.assert_array_equal(back, [0, 0, 0, 3])


# The detector.


@pytest.mark.whole
def test_scores_do_not_depend_on_the_neighbours_after_training():
  """Nor do maps; the running statistics are no longer those of the start."""
  detector = small_detector()
  x = images(4, 16)
  state = detector.init(KEY, {"x": x})
  update = jax.jit(detector.phases[0].update)
  for _ in range(3):
    state, _ = update(state, {"x": x})
  localize = jax.jit(detector.localize)
  want = localize(state, x, KEYS)
  got = localize(state, np.concatenate([x[:1], 255 - x[1:]]), KEYS)
  np.testing.assert_allclose(got.image[0], want.image[0], rtol=1e-5)
  np.testing.assert_allclose(got.map[0], want.map[0], atol=1e-4)
  assert abs(got.image[1] - want.image[1]) > 1e-3
  assert abs(got.map[1] - want.map[1]).max() > 1e-2


def test_what_is_scored():
  x, key = images(2, 16), jax.random.key(1)
  detector = small_detector()
  state = detector.init(key, {"x": x})
  scores = detector.score(state, x, KEYS[:2])
  assert scores.parts.keys() == {"direction", "mse"}
  direction, mse = scores.parts["direction"], scores.parts["mse"]
  np.testing.assert_allclose(scores.image, direction + 0.5 * mse, rtol=1e-6)
  only = small_detector(direction_only=True).score(state, x, KEYS[:2])
  np.testing.assert_array_equal(only.image, direction)
  # The shallowest layer adds to the score where it is asked for.
  more = small_detector(score_stages=(0, 1)).score(state, x, KEYS[:2])
  assert (more.parts["direction"] > direction).all()
  # Pixels as they are, or in ImageNet's range.
  other = small_detector(normalize=True).score(state, x, KEYS[:2])
  assert (abs(other.image - scores.image) > 1e-4).all()


def flops(fn, *args):
  return jax.jit(fn).lower(*args).compile().cost_analysis()["flops"]


@pytest.mark.whole
def test_a_step_computes_no_gradient_of_the_teacher():
  detector = small_detector()
  x = images(4, 16)
  state = jax.jit(detector.init)(KEY, {"x": x})
  image = jnp.float32(x) / 255

  def teacher(params):
    return sum((m**2).sum() for m in teach(params, image))

  def cloner(params):
    maps, _ = apply_train(STUDENT, params, image)
    return sum((m**2).sum() for m in maps)

  step = flops(lambda s: detector.phases[0].step(s, {"x": x}, None), state)
  params = state.params
  forward = flops(teacher, params["trunk"])
  backward = flops(jax.value_and_grad(teacher), params["trunk"]) - forward
  needed = forward + flops(jax.value_and_grad(cloner), params["cloner"])
  adam = 20 * sum(leaf.size for leaf in jax.tree.leaves(params["cloner"]))
  assert step < 1.05 * needed + adam
  # The bound means something: with the teacher's gradient it would not hold.
  assert step + backward > 1.05 * needed + adam


@pytest.mark.whole
def test_squeezenet_is_learned_from():
  """The loss falls, and only the cloner moves."""
  detector = jaxad.kdad(
    trunk="squeezenet1_1",
    weights="random",
    loss_layers=("features.2", "features.5", "features.8"),
    normalize=True,
    use_bias=True,
    learning_rate=1e-2,
  )
  x = images(4, 33)
  state = first = detector.init(KEY, {"x": x})
  update, losses = jax.jit(detector.phases[0].update), []
  for _ in range(8):
    state, metrics = update(state, {"x": x})
    losses.append(float(metrics["loss"]))
  assert losses[-1] < 0.8 * losses[0]
  jax.tree.map(
    np.testing.assert_array_equal, state.params["trunk"], first.params["trunk"]
  )
  for name, leaves in state.params["cloner"].items():
    moved = optax.tree.sub(leaves, first.params["cloner"][name])
    assert float(optax.tree.norm(moved)) > 0, name


def test_squeezenet_of_real_weights():
  path = os.path.join(
    os.environ.get("JAXAD_WEIGHTS", ""), "squeezenet1_1_caffe_rgb.pth"
  )
  if not os.path.isfile(path):
    pytest.skip("JAXAD_WEIGHTS names no folder with SqueezeNet's weights")
  detector = jaxad.kdad(trunk="squeezenet1_1", weights=path, normalize=True)
  x = images(2, 33)
  state = jax.jit(lambda key: detector.init(key, {"x": x}))(KEY)
  scores = jax.jit(detector.score)(state, x, KEYS[:2])
  assert np.isfinite(scores.image).all() and (scores.image > 0).all()


@pytest.mark.parametrize("trunk", ["vgg16", "squeezenet1_1"])
def test_images_must_be_large_enough(trunk):
  smallest = {"vgg16": 32, "squeezenet1_1": 17}[trunk]
  detector = jaxad.kdad(trunk=trunk, weights="random")
  batch = lambda size: {"x": np.zeros((1, size, size, 3), np.uint8)}
  jax.eval_shape(detector.init, KEY, batch(smallest))
  message = rf"image_size={smallest - 1}\b.*at least {smallest}\b.*loss_layers"
  with pytest.raises(InputError, match=message):
    detector.init(KEY, batch(smallest - 1))


@pytest.mark.parametrize(
  ("shape", "message"),
  [
    ((1, 40, 3, 3), "image_size=40x3: .*at least 4"),
    ((1, 32, 32, 1), "channels=1: .*1, 32, 32, 1.*to 3"),
    ((4, 100), "4, 100.*to 3"),
  ],
)
def test_images_of_another_form(shape, message):
  with pytest.raises(InputError, match=message):
    small_detector().init(KEY, {"x": np.zeros(shape, np.uint8)})


def test_layers_are_taken_in_their_order_and_shape_the_score():
  names = ("features.9", "features.4")
  detector = jaxad.kdad(weights="random", loss_layers=names)
  x = images(2, 8)
  state = jax.eval_shape(detector.init, KEY, {"x": x})
  assert list(state.params["trunk"])[-1] == "features.7"
  widths = [
    state.params["cloner"][f"conv_{k}"]["kernel"].shape[-1] for k in range(4)
  ]
  assert widths == [16, 64, 16, 128]
  # What is not in the loss was not learned, so it cannot be in the score.
  with pytest.raises(InputError, match="'features.16'.*features.4, features.9"):
    jaxad.kdad(loss_layers=names, score_layers=("features.16",))
  for name in ("loss_layers", "score_layers"):
    with pytest.raises(InputError, match=rf"{name}=\(\): .*features.9"):
      jaxad.kdad(**{name: ()})
