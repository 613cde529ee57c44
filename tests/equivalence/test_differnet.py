# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""DifferNet against recordings of the official implementation."""

import io
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from recording import ADAM, FORWARD, GRADIENT, STEPS, Golden, Tolerance

import jaxad
from jaxad.data.decode import decode
from jaxad.layers import coupling
from jaxad.layers.rotation import rotate_cubic, rotate_nearest
from jaxad.methods.differnet import (
  gradient_magnitude,
  negative_log_likelihood,
  pooled_features,
  rotation_angles,
  smooth_gradient,
)
from jaxad.networks.pyramid import pyramid
from jaxad.networks.trunk import (
  IMAGENET_MEAN,
  IMAGENET_STD,
  make_trunk,
  normalize,
)
from jaxad.preprocess import Preprocess

# At the pixels, whose normalised values were recorded as float32 rounds them.
PIXELS = Tolerance(1e-4, 1e-5)
FLOW = {"clamp_constant": "clamp_constant"}


@pytest.fixture
def golden(load_golden):
  return load_golden("differnet")


# The reference's names and layouts.


def subnet_params(arrays):
  """`fc1.weight` (out, in), ... to {"fc1": {"kernel": (in, out), ...}}."""
  layers = sorted({name.split(".")[0] for name in arrays})
  return {
    layer: {
      "kernel": arrays[f"{layer}.weight"].T,
      "bias": arrays[f"{layer}.bias"],
    }
    for layer in layers
  }


def coupling_params(arrays):
  return {s: subnet_params(arrays.group(f"{s}.")) for s in ("s1", "s2")}


def flow_params(arrays):
  """`module_list.{2, 4, ...}` are the coupling blocks, in order."""
  blocks = arrays.group("module_list.")
  nodes = sorted({int(name.split(".")[0]) for name in blocks})
  return {
    f"coupling_{k}": coupling_params(blocks.group(f"{node}."))
    for k, node in enumerate(nodes)
  }


def hidden_width(arrays):
  """Width of the subnets, from the first fc1 bias of a group."""
  return next(v for k, v in arrays.items() if k.endswith("fc1.bias")).shape[0]


def channels_last(x):
  return np.moveaxis(x, -3, -1)


@pytest.mark.parametrize("group", ["coupling", "coupling_odd"])
class TestCoupling:
  @pytest.fixture
  def block(self, golden, group):
    arrays = golden.group(f"{group}/")
    params = arrays.group("param/")
    module = coupling.Coupling(
      dim=arrays["input/x"].shape[-1],
      hidden=hidden_width(params),
      **golden.keywords(clamp=f"{group}_alpha", limit="clip", **FLOW),
    )
    return arrays, module, {"params": coupling_params(params)}

  def test_forward_and_logdet(self, block, close):
    arrays, module, variables = block
    y, logdet = jax.jit(module.apply)(variables, arrays["input/x"])
    close(y, arrays["out/y"], FORWARD)
    close(logdet, arrays["out/logdet"], FORWARD)
    close(logdet, arrays["out/slogdet_autograd"], FORWARD)
    assert (arrays["out/sign_autograd"] == 1).all()

  def test_logdet_is_that_of_the_jacobian(self, block, close):
    arrays, module, variables = block
    forward = lambda x: module.apply(variables, x[None])[0][0]
    jacobian = jax.jit(jax.vmap(jax.jacfwd(forward)))(arrays["input/x"])
    sign, logdet = jnp.linalg.slogdet(jacobian)
    assert (sign == 1).all()
    close(logdet, arrays["out/logdet"], FORWARD)

  def test_inverse(self, block, close):
    arrays, module, variables = block
    inverse = jax.jit(lambda y: module.apply(variables, y, method="inverse"))
    x, logdet = inverse(arrays["out/y"])
    close(x, arrays["out/x_rec"], FORWARD)
    close(x, arrays["input/x"], FORWARD)
    # The official code reports the forward log-determinant when it inverts.
    close(logdet, -arrays["out/logdet_rev_as_coded"], FORWARD)
    close(
      inverse(arrays["input/z_for_inverse"])[0],
      arrays["out/inv_of_z"],
      FORWARD,
    )

  def test_outputs_are_clipped(self, block, close):
    arrays, module, variables = block
    y, _ = jax.jit(module.apply)(variables, arrays["input/x_huge"])
    close(y, arrays["out/y_huge"], FORWARD)

  def test_loss_and_gradients(self, block, close):
    arrays, module, variables = block

    def loss_fn(params, x):
      z, logdet = module.apply({"params": params}, x)
      return negative_log_likelihood(z, logdet).mean()

    loss_and_grad = jax.jit(jax.value_and_grad(loss_fn, argnums=(0, 1)))
    loss, (grads, grad_x) = loss_and_grad(
      variables["params"], arrays["input/x"]
    )
    close(loss, arrays["loss/nll"], FORWARD)
    close(grad_x, arrays["grad/x"], GRADIENT)
    close(grads, coupling_params(arrays.group("grad/")), GRADIENT)


def test_soft_clamp(golden, close):
  arrays = golden.group("clamp/")
  h = arrays["input/h"]
  constants = {
    "code": golden.hp("clamp_constant"),
    "paper": coupling.CLAMP_CONSTANTS["paper"],
  }
  for key, constant in constants.items():
    (name,) = (k for k in arrays if k.startswith(f"out/{key}_"))
    alpha = float(re.search(r"alpha([\d.]+)$", name)[1])
    g = coupling.soft_clamp(h, alpha, constant)
    close(g, arrays[name], FORWARD)
    if key == "code":
      close(jnp.exp(g), arrays["out/exp_code"], FORWARD)


def test_permutations(golden):
  for key, rows in golden.group("perm/").items():
    dim, direction = key.split("/")
    for seed, row in enumerate(rows):
      p = coupling.permutation(seed, int(dim))
      expected = p if direction == "forward" else np.argsort(p)
      np.testing.assert_array_equal(expected, row)


class TestFlow:
  @pytest.fixture
  def flow(self, golden):
    arrays = golden.group("flow/")
    params = flow_params(arrays.group("param/"))
    module = coupling.Flow(
      dim=arrays["input/x_step0"].shape[-1],
      n_blocks=len(params),
      hidden=hidden_width(arrays),
      **golden.keywords(clamp="flow_alpha", limit="clip", **FLOW),
    )
    return arrays, module, {"params": params}

  def test_forward_block_by_block(self, flow, close):
    arrays, module, variables = flow
    z, logdet = jax.jit(module.apply)(variables, arrays["input/x_step0"])
    close(z, arrays["out/z"], FORWARD)
    close(logdet, arrays["out/logdet"], FORWARD)
    close(logdet, arrays["out/slogdet_autograd"], FORWARD)
    x, steps = arrays["input/x_step0"], []
    block = coupling.Coupling(
      module.dim,
      module.hidden,
      module.clamp,
      module.clamp_constant,
      module.limit,
    )
    apply = jax.jit(block.apply)
    for k in range(module.n_blocks):
      x = x[:, coupling.permutation(k, module.dim)]
      steps.append(x)
      x, _ = apply({"params": variables["params"][f"coupling_{k}"]}, x)
      steps.append(x)
    close(np.stack(steps), arrays["out/intermediate"], FORWARD)

  def test_inverse(self, flow, close):
    arrays, module, variables = flow
    inverse = jax.jit(lambda z: module.apply(variables, z, method="inverse"))
    x, logdet = inverse(arrays["out/z"])
    close(x, arrays["out/x_rec"], FORWARD)
    close(logdet, -arrays["out/logdet"], FORWARD)
    sample, _ = inverse(arrays["input/z_for_inverse"])
    close(sample, arrays["out/sample_inverse"], FORWARD)

  def test_gradients(self, flow, close):
    arrays, module, variables = flow

    def loss_fn(params, x):
      z, logdet = module.apply({"params": params}, x)
      return negative_log_likelihood(z, logdet).mean()

    loss_and_grad = jax.jit(jax.value_and_grad(loss_fn, argnums=(0, 1)))
    loss, (grads, grad_x) = loss_and_grad(
      variables["params"], arrays["input/x_step0"]
    )
    close(loss, arrays["loss/step0"], FORWARD)
    close(grad_x, arrays["grad/x"], GRADIENT)
    names = {k: v for k, v in arrays.group("grad/").items() if k != "x"}
    close(grads, flow_params(Golden(names)), GRADIENT)

  def test_three_steps_and_scores(self, golden, flow, close, precision):
    arrays, module, variables = flow
    recorded = golden.keywords(
      clamp="flow_alpha",
      output_limit="clip",
      weight_decay="weight_decay",
      **FLOW,
      **ADAM,
    )
    detector = jaxad.differnet(
      n_blocks=module.n_blocks, hidden=module.hidden, **recorded
    )
    init = jax.jit(detector.init)
    state = init(jax.random.key(0), {"x": arrays["input/x_step0"]})
    state = state.replace(
      params={"flow": jax.tree.map(jnp.asarray, variables["params"])},
      # Zero moments, in the precision of the parameters.
      opt_state=jax.tree.map(
        lambda v: v.astype(precision) if v.ndim else v, state.opt_state
      ),
    )
    step = jax.jit(detector.phases[0].step)
    for i in range(3):
      state, metrics = step(state, {"x": arrays[f"input/x_step{i}"]}, None)
      close(metrics["loss"], arrays[f"loss/step{i}"], FORWARD)
      if i == 0:
        after1 = flow_params(arrays.group("after1/"))
        close(state.params["flow"], after1, STEPS)
    close(state.params["flow"], flow_params(arrays.group("after3/")), STEPS)

    x, anomaly = arrays["input/x_test"], arrays["score/anomaly"]
    z, logdet = jax.jit(module.apply)({"params": state.params["flow"]}, x)
    close(z, arrays["score/z"], STEPS)
    close(logdet, arrays["score/logdet"], STEPS)
    views = x.reshape(anomaly.shape[0], -1, x.shape[-1])
    scores = jax.jit(detector.score)(state, views, None)
    close(scores.image, anomaly, STEPS)
    close(scores.parts["nll"].mean(), arrays["loss/test"], STEPS)


class TestTrunk:
  """AlexNet at all scales, the flow on top, and the gradient at the pixels."""

  @pytest.fixture
  def model(self, golden, precision):
    arrays = golden.group("trunk/")
    trunk = make_trunk("alexnet")
    images = arrays["input/images_uint8"]
    images = channels_last(images.reshape((-1,) + images.shape[-3:]))
    # In NumPy as in the recording: how a jit rounds it differs between CPUs,
    # and float64 sees that.
    mean, deviation = np.float32(IMAGENET_MEAN), np.float32(IMAGENET_STD)
    x = (images / np.float32(255) - mean) / deviation
    x = x.astype(precision)
    variables = self.recipe(golden, trunk, x, precision)
    params = arrays.group("param/nf.")
    blocks = flow_params(params)
    n_scales = golden.hp("n_scales")

    def features(x):
      return pooled_features(trunk, variables, x, n_scales, x.dtype)

    flow = coupling.Flow(
      dim=arrays["out/y"].shape[-1],
      n_blocks=len(blocks),
      hidden=hidden_width(params),
      **golden.keywords(clamp="trunk_alpha", limit="clip", **FLOW),
    )
    return arrays, trunk, variables, x, features, flow, {"params": blocks}

  @staticmethod
  def recipe(golden, trunk, x, dtype):
    """The trunk's weights are not recorded; they come from NumPy's streams."""
    shapes = jax.eval_shape(trunk.init, jax.random.key(0), np.float32(x))
    shapes = shapes["params"]
    params = {}
    for name, layer in shapes.items():
      rs = np.random.RandomState(
        golden.hp("trunk_base") + int(name.split(".")[1])
      )
      kh, kw, i, o = layer["kernel"].shape
      kernel = rs.standard_normal((o, i, kh, kw)) * np.sqrt(2 / (i * kh * kw))
      bias = rs.standard_normal((o,)) * golden.hp("trunk_bias_std")
      exact = lambda v: v.astype(np.float32).astype(dtype)
      params[name] = {
        "kernel": exact(kernel.transpose(2, 3, 1, 0)),
        "bias": exact(bias),
      }
    return {"params": params}

  def test_features_at_each_scale(self, model, close):
    arrays, trunk, variables, x, features, *_ = model
    for name, want in arrays.group("out/feat_scale").items():
      s = int(name)
      scale = pyramid(x, s + 1)[s][: want.shape[0]]
      got = jax.jit(trunk.apply)(variables, scale)
      close(np.moveaxis(got, -1, 1), want, FORWARD)
    close(jax.jit(features)(x), arrays["out/y"], FORWARD)

  def test_scores_and_input_gradient(self, model, close):
    arrays, _, _, x, features, flow, params = model

    def loss_fn(x):
      z, logdet = flow.apply(params, features(x))
      nll = negative_log_likelihood(z, logdet)
      return nll.mean(), (z, logdet)

    # Unlike other tests, this one computes longer than it compiles.
    loss_and_grad = jax.jit(
      jax.value_and_grad(loss_fn, has_aux=True),
      compiler_options={"xla_backend_optimization_level": 1},
    )
    (loss, (z, logdet)), grad = loss_and_grad(x)
    close(z, arrays["out/z"], FORWARD)
    close(logdet, arrays["out/logdet"], FORWARD)
    close(loss, arrays["loss/nll"], FORWARD)
    anomaly = arrays["score/anomaly"]
    score = (z**2).reshape(anomaly.shape[0], -1).mean(1)
    close(score, anomaly, FORWARD)

    grad = np.moveaxis(grad, -1, 1)
    size = grad.shape[-1]
    close(grad[0].sum(0), arrays["out/grad_input_chsum_0"], PIXELS)
    crop = arrays["out/grad_input_crop"]
    start, stop = size // 4, size // 4 + crop.shape[-1]
    close(grad[:, :, start:stop, start:stop], crop, PIXELS)
    tiles = arrays["out/grad_input_absmean16"]
    n = tiles.shape[-1]
    absolute = np.abs(grad).reshape(
      grad.shape[:2] + (n, size // n, n, size // n)
    )
    close(absolute.mean((3, 5)), tiles, PIXELS)


def test_localisation(golden, close):
  arrays = golden.group("loc/")
  chosen = np.flatnonzero(arrays["input/labels"] > 0)
  gradient = channels_last(arrays["input/grad"][chosen])
  degrees = rotation_angles(gradient.shape[1])
  smoothing = golden.hp("map_sigma"), golden.hp("map_truncate")
  each = lambda fn: jax.jit(jax.vmap(fn))
  rotated = each(lambda g: rotate_cubic(g, -degrees[1]))
  close(
    np.moveaxis(rotated(gradient[:, 1]), -1, 1),
    arrays["out/rotated_t1"],
    FORWARD,
  )
  smooth = each(lambda g: smooth_gradient(g, degrees[1], *smoothing))
  close(
    np.moveaxis(smooth(gradient[:, 1]), -1, 1),
    arrays["out/smoothed_t1"],
    FORWARD,
  )
  magnitude = each(lambda g: gradient_magnitude(g, degrees, *smoothing))
  maps = magnitude(gradient) ** 2
  close(maps, arrays["out/map"], FORWARD)
  low, high = maps.min((1, 2)), maps.max((1, 2))
  scaled = (maps - low[:, None, None]) / (high - low)[:, None, None]
  close(scaled, arrays["out/map_normed"], FORWARD)


def test_preprocessing(golden, close):
  arrays = golden.group("prep/")
  png = io.BytesIO()
  Image.fromarray(arrays["input/rgb_uint8"]).save(png, "PNG")
  seen = Preprocess(arrays["out/resized_uint8"].shape[:2])
  (resized,), _ = seen.views(decode(png.getvalue()))
  np.testing.assert_array_equal(resized, arrays["out/resized_uint8"])
  for degrees, want in zip(
    arrays["input/degrees"], arrays["out/rotated_uint8"], strict=True
  ):
    for angle in (np.float64(degrees), jnp.float32(degrees)):
      got = rotate_nearest(resized, np.asarray(angle))
      np.testing.assert_array_equal(got, channels_last(want))
  degrees = np.asarray(golden.hp("prep_normalized_degrees"))
  want = channels_last(arrays["out/normalized_deg0"])
  got = normalize(rotate_nearest(resized, degrees), "alexnet")
  close(got, want.astype(np.float32), FORWARD)
