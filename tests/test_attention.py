# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""CAVGA: its attention against finite differences, its losses, its sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxad
from jaxad.errors import InputError
from jaxad.layers.attention import grad_cam
from jaxad.networks import cavga as networks
from jaxad.networks.pyramid import Trunk
from jaxad.networks.variables import apply_eval, apply_train, initialize

KEY = jax.random.key(3)
NARROW = Trunk(weights="random", width=2)
SMALL = dict(variant="D", trunk=NARROW, width=4, latent_dim=3)
LABELLED = SMALL | dict(supervision="weak")


# Grad-CAM.


@pytest.fixture
def attended():
  """(a function for `grad_cam` of parameters, they, features), in float64."""
  with jax.enable_x64(True):
    rest = networks.DcganTrunk(2, after="conv_1")
    latent, classes = networks.Latent(3), networks.Classifier()
    features = jax.random.normal(KEY, (2, 8, 8, 4), jnp.float64)
    y = jnp.zeros((1, 2, 2, 16))
    params, running = initialize(
      KEY,
      {
        "rest": (rest, features),
        "latent": (latent, y),
        "classes": (classes, jnp.zeros((1, 2, 2, 3))),
      },
    )
    params = jax.tree.map(lambda v: v.astype(jnp.float64), params)
    # A DCGAN's kernels hardly let anything through.
    params["rest"] = jax.tree.map(lambda v: 3 * v, params["rest"])

    def numbers(params, features):
      run = lambda name, module, x: apply_eval(
        module, params[name], running[name], x
      )
      mu, logvar = run("latent", latent, run("rest", rest, features))
      z = mu + jnp.exp(logvar / 2)
      return run("classes", classes, z), z

    yield numbers, params, features


def test_attention_against_finite_differences(attended):
  numbers, params, features = attended
  logits = jax.jit(lambda features: numbers(params, features)[0])
  attention, s, z = jax.jit(
    lambda features: grad_cam(lambda f: numbers(params, f), features)
  )(features)
  np.testing.assert_allclose(s, logits(features), rtol=1e-12)
  assert z.shape == (2, 2, 2, 3)

  h = 1e-5
  steps = h * np.eye(features[0].size).reshape(-1, 1, *features.shape[1:])
  # All rows at once: none depends on another.
  moved = jax.jit(jax.vmap(lambda step: logits(features + step)))
  slopes = (moved(steps) - moved(-steps)) / (2 * h)  # [places, B, n]
  slopes = np.asarray(slopes).reshape(64, 4, 2, 2)
  alpha = slopes.mean(0)
  cam = np.einsum("fbn,bhwf->nbhw", alpha, features)
  np.testing.assert_allclose(attention, 1 / (1 + np.exp(-cam)), rtol=1e-7)
  assert np.ptp(attention) > 1e-3


def test_derivative_of_attention_against_finite_differences(attended):
  numbers, params, features = attended

  def loss(params, features):
    normal, anomalous = grad_cam(lambda f: numbers(params, f), features)[0]
    return (1 - normal + anomalous).mean() + (normal**2).mean()

  loss = jax.jit(loss)
  gradient = jax.jit(jax.grad(loss, (0, 1)))(params, features)
  leaves, structure = jax.tree.flatten((params, features))
  keys = jax.random.split(KEY, 3 * len(leaves)).reshape(3, -1)
  for row in keys:
    way = [
      jax.random.normal(k, v.shape, v.dtype)
      for k, v in zip(row, leaves, strict=True)
    ]
    way = structure.unflatten(way)
    ahead, back = (
      loss(*optax.tree.add_scale((params, features), h, way))
      for h in (1e-6, -1e-6)
    )
    slope = (ahead - back) / 2e-6
    np.testing.assert_allclose(optax.tree.vdot(gradient, way), slope, rtol=1e-6)
    assert abs(slope) > 1e-4


# The step.


@pytest.fixture(scope="module")
def labelled():
  """(step, its state, a batch, draws) of squared errors of normal images."""
  detector = jaxad.cavga(
    **LABELLED, reconstruction="mse", recon_on="normal", classifier="pooled"
  )
  x = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
  state = detector.init(KEY, {"x": x})
  (phase,) = detector.phases
  draws = phase.draw(KEY, {"x": x})
  return jax.jit(phase.step), state, x, draws


def terms(labelled, label):
  step, state, x, draws = labelled
  return step(state, {"x": x, "label": np.int32(label)}, draws)[1]


@pytest.mark.whole
def test_squared_errors(labelled):
  _, state, x, noise = labelled
  x = np.float32(x) / 255
  run = lambda name, module, x: apply_train(module, state.params[name], x)[0]
  y = run("trunk", networks.DcganTrunk(2), x)
  mu, logvar = run("latent", networks.Latent(3), y)
  z = mu + jnp.exp(logvar / 2) * noise
  x_hat = jax.nn.sigmoid(run("decoder", networks.DcganDecoder(3, 4, 16), z))
  want = ((x - x_hat) ** 2).mean()
  got = terms(labelled, [0, 0, 0])["reconstruction"]
  np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.whole
def test_reconstruction_of_normal_images_alone(labelled):
  every = terms(labelled, [0, 0, 0])
  two, one = terms(labelled, [0, 0, 1]), terms(labelled, [1, 1, 0])
  for name in ("reconstruction", "kl"):
    mean = (2 * two[name] + one[name]) / 3
    np.testing.assert_allclose(mean, every[name], rtol=1e-5)
    assert two[name] != one[name]
  assert two["adversarial"] == one["adversarial"] == every["adversarial"]
  none = terms(labelled, [1, 1, 1])
  assert none["reconstruction"] == none["kl"] == none["guided"] == 0


@pytest.mark.whole
def test_attention_is_guided_where_a_normal_image_is_told(labelled):
  """At most by all of them, and of each from 0 to 2."""
  found = [terms(labelled, label)["guided"] for label in np.eye(3)]
  every = terms(labelled, [0, 0, 0])["guided"]
  assert 0 <= min(found) and max(found) <= every <= 2
  # Each image is in two of the three.
  np.testing.assert_allclose(sum(found), 2 * every, rtol=1e-5, atol=1e-7)


# Layers, trunks and sizes.


def shapes_after_a_step(side=64, **keywords):
  """(the state, maps [2, side, side]) as shapes; nothing is computed."""
  detector = jaxad.cavga(latent_dim=3, width=2, **keywords)
  batch = {"x": jnp.zeros((2, side, side, 3)), "label": jnp.zeros(2, jnp.int32)}
  init = lambda key: detector.init(key, batch)
  state = jax.eval_shape(init, KEY)
  new, _ = jax.eval_shape(detector.phases[0].update, state, batch)
  same = jax.tree.map(lambda a, b: a.shape == b.shape, state, new)
  assert all(jax.tree.leaves(same))
  scores = jax.eval_shape(detector.score, state, batch["x"], None)
  assert scores.map.shape == (2, side, side)
  return state


TRUNKS = {
  "resnet18": (
    Trunk(weights="random", width=2, blocks=(1, 1, 1, 1)),
    "layer3",
  ),
  "cut": (Trunk(weights="random", width=2, layer="layer2"), None),
  "kept": (
    Trunk(weights="random", width=2, blocks=(1, 1, 1, 1), train_norms=False),
    "layer1",
  ),
  "efficientnet": (
    Trunk("efficientnet_lite0", "_blocks.4", "random"),
    "_blocks.2",
  ),
  "vgg16": (Trunk("vgg16", "features.9", "random"), None),
}


@pytest.mark.whole
@pytest.mark.parametrize("name", TRUNKS)
def test_any_trunk(name):
  trunk, layer = TRUNKS[name]
  shapes_after_a_step(trunk=trunk, cam_layer=layer)


@pytest.mark.parametrize(
  "layer", [pytest.param("conv_0", marks=pytest.mark.whole), "conv_2"]
)
def test_attention_of_any_level(layer):
  shapes_after_a_step(variant="D", trunk=NARROW, cam_layer=layer)


@pytest.mark.parametrize(("layer", "same"), [(None, True), ("conv_2", False)])
def test_attention_has_the_resolution_of_its_layer(layer, same):
  x = jax.random.uniform(KEY, (1, 32, 32, 3))
  detector = jaxad.cavga(**SMALL, cam_layer=layer)
  scores = jax.jit(detector.score)(detector.init(KEY, {"x": x}), x, None)
  # Of 2x2 places, the corners of an enlarged map have the values.
  off = scores.map[0, ::31, ::31].mean() - scores.parts["map_mean"][0]
  assert (abs(off) < 0.03 * np.ptp(scores.map)) == same


@pytest.mark.parametrize(
  ("keywords", "side", "sizes"),
  [
    ({}, 256, (11_307_840, 668_371, 11_156_224, 16_386)),
    (dict(variant="D"), 64, (2_888_704, 2_822_531, 2_765_568, 4_098)),
  ],
)
def test_parameters_of_the_paper(keywords, side, sizes):
  trunk = Trunk(weights="random")
  detector = jaxad.cavga(supervision="weak", trunk=trunk, **keywords)
  batch = {"x": jnp.zeros((1, side, side, 3))}
  params = jax.eval_shape(lambda key: detector.init(key, batch), KEY).params
  count = lambda *names: sum(
    leaf.size for leaf in jax.tree.leaves([params[name] for name in names])
  )
  assert count("trunk", "latent") == sizes[0]
  rest = ("decoder", "discriminator", "classifier")
  assert tuple(map(count, rest)) == sizes[1:]


@pytest.mark.parametrize(
  ("keywords", "message"),
  [
    (dict(score="classifier"), "score='classifier': without labels"),
    (dict(cam_layer="layer5"), "cam_layer='layer5'.*layer3, layer4"),
    (dict(variant="D", cam_layer="layer4"), "cam_layer='layer4'.*conv_3"),
    (
      dict(trunk=Trunk(layer="layer2"), cam_layer="layer3"),
      "cam_layer='layer3'.*layer2",
    ),
    (
      dict(trunk=Trunk("vgg16"), cam_layer="features.9"),
      "cam_layer='features.9'.*trunk.layer",
    ),
  ],
)
def test_what_does_not_fit_together(keywords, message):
  with pytest.raises(InputError, match=message):
    jaxad.cavga(**keywords)


def test_what_images_do_not_fit():
  def init(side, channels, **keywords):
    batch = {"x": np.zeros((1, side, side, channels), np.uint8)}
    detector = jaxad.cavga(**keywords)
    jax.eval_shape(lambda key: detector.init(key, batch), KEY)

  with pytest.raises(InputError, match="image_size=48x48.*power of two"):
    init(48, 3, **SMALL)
  with pytest.raises(InputError, match="image_size=8x8.*16 or more"):
    init(8, 3, **SMALL)
  with pytest.raises(InputError, match="channels=1"):
    init(64, 1, trunk=Trunk(weights="random"))
  with pytest.raises(InputError, match="trunk.name: .*resnet18"):
    init(64, 3, trunk=Trunk("squeezenet1_1", weights="random"))
