# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""KDAD against a recording of the official implementation."""

import itertools

import jax
import jax.numpy as jnp
import layout
import numpy as np
import optax
import pytest
from recording import ADAM, FORWARD, GRADIENT, STEPS, STORED, Tolerance

from jaxad.evaluation.metrics import image_auroc
from jaxad.methods.kdad import disagreement, distillation, gradient_map
from jaxad.networks.cloner import Cloner
from jaxad.networks.trunk import IMAGENET_MEAN, IMAGENET_STD
from jaxad.networks.variables import apply_eval, apply_train
from jaxad.networks.vgg import BLOCK_ENDS, VGG16
from jaxad.optim import adam_l2

# Gradients by parameters that were stored: float64 starts from their rounding.
MAPS = Tolerance(1e-4, 1e-5)
# The folder of the normal test images is the third, in alphabetical order.
GOOD = 2
# What the reference collects: every ReLU, or the pool where one follows it.
COLLECTED = (1, 4, 6, 9, 11, 13, 16, 18, 20, 23, 25, 27, 30)
# The collected maps that end a stage: those that can be compared.
ENDS = (1, 3, 6, 9, 12)


@pytest.fixture
def golden(load_golden):
  return load_golden("kdad")


# The reference's names, layouts and sizes.


def modules(arrays):
  """[(its convolution, the norm behind it or None)] of a network."""
  numbers = sorted({int(name.split(".")[0]) for name in arrays})
  of = lambda k: arrays.group(f"{k}.") if k in numbers else None
  return [
    (of(k), of(k + 1)) for k in numbers if arrays[f"{k}.weight"].ndim == 4
  ]


def teacher_params(arrays):
  arrays = arrays.group("source.features.")
  convs = {int(name.split(".")[0]) for name in arrays}
  return {
    f"features.{k}": {
      "kernel": layout.conv_kernel(arrays[f"{k}.weight"]),
      "bias": arrays[f"{k}.bias"],
    }
    for k in convs
  }


def cloner_params(arrays):
  params = {}
  for k, (conv, norm) in enumerate(modules(arrays.group("cloner.features."))):
    params[f"conv_{k}"] = {"kernel": layout.conv_kernel(conv["weight"])}
    if "bias" in conv:
      params[f"conv_{k}"]["bias"] = conv["bias"]
    if norm:
      params[f"norm_{k}"] = {"scale": norm["weight"], "bias": norm["bias"]}
  return params


def cloner_collections(arrays):
  stats = {
    f"norm_{k}": {"mean": norm["running_mean"], "var": norm["running_var"]}
    for k, (_, norm) in enumerate(modules(arrays.group("cloner.features.")))
    if norm
  }
  return {"batch_stats": stats}


def blocks(widths):
  """[4, 4, 0, 6, 8, 0, ...], 0 a pool, to ((4, 4), (6, 8), ...)."""
  groups = itertools.groupby([int(w) for w in widths], bool)
  return tuple(tuple(group) for convolution, group in groups if convolution)


def stages(golden, name):
  """Which stages the collected maps are of that a recording compares."""
  return tuple(ENDS.index(int(k)) for k in golden.hp(name).split(","))


class Networks:
  """Both networks in the recorded sizes, and the detector made of them."""

  def __init__(self, golden, precision):
    self.vgg = VGG16(blocks=blocks(golden["input/cfg_source"]))
    self.cloner = Cloner(
      blocks(golden["input/cfg_cloner"]),
      use_bias=bool(golden["input/cfg_cloner_conv_bias"]),
      epsilon=golden.hp("bn_eps"),
    )
    self.lam = float(golden["input/cfg_lambda"])
    self.loss = stages(golden, "loss_layers")
    self.golden, self.precision = golden, precision

  def teacher(self, params, x, layers=BLOCK_ENDS):
    return self.vgg.apply({"params": params}, x, layers, method="maps")

  def pixels(self, x):
    """Images in [0, 1], NCHW, as they enter the networks."""
    x = layout.channels_last(x)
    if not self.golden.hp("normalize"):
      return x
    mean, std = (np.array(v, x.dtype) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return (x - mean) / std

  def variables(self, group):
    """(params, collections) of a state that "param/", ... holds."""
    arrays = self.golden.group(f"{group}/")
    trunk = teacher_params(self.golden.group("param/"))
    params = {"trunk": trunk, "cloner": cloner_params(arrays)}
    return params, {"cloner": cloner_collections(arrays)}

  def start(self, group="param", **keywords):
    """(detector, its state with these variables)."""
    golden = self.golden
    params, collections = self.variables(group)
    defaults = dict(
      smallest=32,
      loss_stages=self.loss,
      score_stages=stages(golden, "score_layers"),
      lam=self.lam,
      direction_only=False,
      tx=adam_l2(**golden.keywords(**ADAM)),
      map="gradient",
      **golden.keywords(
        normalize="normalize",
        map_sigma="map_sigma",
        map_percentile="map_percentile",
        map_truncate="map_truncate",
        cosine_epsilon="cosine_eps",
        norm_momentum="bn_momentum",
      ),
    )
    detector = distillation(
      self.teacher,
      lambda _: params["trunk"],
      self.cloner,
      **defaults | keywords,
    )
    batch = {"x": layout.channels_last(golden["input/images"][0])}
    state = layout.recorded_state(
      detector, batch, params, collections, self.precision
    )
    return detector, state


@pytest.fixture
def networks(golden, precision):
  return Networks(golden, precision)


def test_forward_and_losses(golden, networks, close):
  """All maps, then each layer's terms and both losses, in both modes."""
  params, collections = networks.variables("param")
  epsilon = golden.hp("cosine_eps")
  layers = tuple(f"features.{k}" for k in COLLECTED)

  @jax.jit
  def run(x):
    collected = networks.teacher(params["trunk"], x, layers)
    targets = [collected[k] for k in ENDS]
    args = networks.cloner, params["cloner"]
    clones = {
      "train": apply_train(*args, x)[0],
      "eval": apply_eval(*args, collections["cloner"], x),
    }
    terms = {
      mode: [disagreement(maps[k], targets[k], epsilon) for k in networks.loss]
      for mode, maps in clones.items()
    }
    return collected, clones, terms

  collected, clones, terms = run(networks.pixels(golden["input/images"][0]))
  for target, shape in zip(collected, golden["out/shapes"], strict=True):
    assert layout.channels_first(target).shape == tuple(shape)
  for stage in networks.loss:
    k = ENDS[stage]
    target = layout.channels_first(collected[k])
    close(target, golden[f"out/source_{k}"], FORWARD)
    for mode, maps in clones.items():
      clone = layout.channels_first(maps[stage])
      close(clone, golden[f"out/{mode}/cloner_{k}"], FORWARD)

  for mode, pairs in terms.items():
    direction, mse = (
      jnp.stack([term.mean() for term in part])
      for part in zip(*pairs, strict=True)
    )
    close(direction, golden[f"loss/{mode}_terms_direction"], FORWARD)
    close(mse, golden[f"loss/{mode}_terms_mse"], FORWARD)
    total = direction.sum() + networks.lam * mse.sum()
    close(total, golden[f"loss/{mode}_mse_direction"], FORWARD)
    close(direction.sum(), golden[f"loss/{mode}_direction_only"], FORWARD)


def test_three_steps(golden, networks, close):
  """Losses, the first gradient, parameters and running statistics."""
  detector, state = networks.start()
  step = jax.jit(detector.phases[0].step)
  for k, x in enumerate(golden["input/images"]):
    state, metrics = step(state, {"x": layout.channels_last(x)}, None)
    close(
      metrics["loss"], golden["loss/train"][k], FORWARD if k == 0 else STEPS
    )
    if k == 0:
      close(metrics["direction"], golden["loss/train_direction_only"], FORWARD)
      mu = optax.tree.get(state.opt_state, "mu")
      got = layout.adam_gradient(mu, golden.hp("b1"))
      want = cloner_params(golden.group("grad/"))
      for gradients in (got, want):
        layout.pop_biases_before_norms(gradients)
      close(got, want, GRADIENT)
    if k in (0, 2):
      params, collections = networks.variables(f"after{k + 1}")
      layout.check_but_biases_before_norms(
        (state.params["cloner"], state.collections["cloner"]),
        (params["cloner"], collections["cloner"]),
        close,
        STEPS,
        way=(k + 1) * golden.hp("learning_rate"),
      )


def test_a_step_by_direction_only(golden, networks, close):
  detector, state = networks.start(direction_only=True)
  (phase,) = detector.phases
  # Without the state, the compiler leaves the gradients out.
  metrics = jax.jit(lambda *args: phase.step(*args, None)[1])(
    state, {"x": layout.channels_last(golden["input/images"][0])}
  )
  close(metrics["loss"], golden["loss/train_direction_only"], FORWARD)
  close(metrics["mse"], golden["loss/train_terms_mse"].sum(), FORWARD)


def test_scores(golden, networks, close):
  normal = golden["input/test_labels_folder_index"] == GOOD
  found = {
    "total": networks.start("after3"),
    "direction_only": networks.start("after3", direction_only=True),
  }
  score = lambda x: {
    name: detector.score(state, x, None).image
    for name, (detector, state) in found.items()
  }
  scores = jax.jit(score)(layout.channels_last(golden["input/test_images"]))
  for name, got in scores.items():
    close(got, golden[f"score/{name}"], STORED)
    auroc = image_auroc((~normal).astype("int32"), got)
    assert auroc == pytest.approx(float(golden[f"score/{name}_auroc"]))


def test_maps(golden, networks, close):
  """The gradient at the input, and the maps of both kinds."""
  recorded = golden["out/input_grad"]
  x = layout.channels_last(golden["input/test_images"][: len(recorded)])
  detector, state = networks.start("after3")
  guided, _ = networks.start("after3", map="guided")
  # The recorded gradient is at the pixels as they enter the networks.
  scale = np.array(IMAGENET_STD if golden.hp("normalize") else 1.0, x.dtype)
  score = lambda x: detector.score(state, x, None).image.sum()

  @jax.jit
  def run(x):
    maps = [d.localize(state, x, None) for d in (detector, guided)]
    return jax.grad(score)(x) * scale, *maps

  gradient, plain, by_guided = run(x)
  close(layout.channels_first(gradient), recorded, MAPS)
  close(plain.map, golden["score/map_gradients"], MAPS)
  for scores in (plain, by_guided):
    close(scores.image, golden["score/total"][: len(x)], STORED)
  # The map alone, of the recorded gradient.
  maps = gradient_map(
    layout.channels_last(recorded),
    **golden.keywords(
      sigma="map_sigma", percentile="map_percentile", truncate="map_truncate"
    ),
  )
  close(maps, golden["score/map_gradients"], FORWARD)
  want = golden["score/map_gbp"]
  close(by_guided.map[: len(want)], want, MAPS)
