# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""DevNet and FLOS against recordings of the official implementation."""

import jax
import jax.numpy as jnp
import layout
import pytest
import reference_trunk
from recording import FORWARD, GRADIENT, STEPS

import jaxad
from jaxad.methods.devnet import saliency

MAP = {n: n for n in ("map_sigma", "map_percentile", "map_truncate")}


@pytest.fixture(params=["devnet", "flos"])
def method(request):
  return request.param


@pytest.fixture
def golden(load_golden, method):
  return load_golden(method)


def tree(arrays):
  """(params, collections)."""
  params, running = reference_trunk.layers(arrays, reference_trunk.TRUNK)
  head, _ = reference_trunk.layers(arrays, "conv.", lambda name: "scoring")
  return {"trunk": params, "head": head}, {"trunk": running, "head": {}}


@pytest.fixture
def make(golden, method, precision):
  """From keywords to (detector, its recorded first state)."""

  def make(arrays="param/", **keywords):
    keywords = {"top_k": golden.cfg("topk")} | keywords
    detector = getattr(jaxad, method)(
      n_scales=int(golden["input/cfg_n_scales"]),
      trunk=reference_trunk.trunk(golden),
      optimizer=reference_trunk.optimizer(golden),
      criterion=reference_trunk.criterion(golden),
      **golden.keywords(**MAP),
      **keywords,
    )
    x = reference_trunk.pixels(golden["input/images"][0])
    state = layout.recorded_state(
      detector, {"x": x}, *tree(golden.group(arrays)), precision
    )
    return detector, state

  return make


def test_three_steps(golden, make, close):
  detector, state = make()
  first, step = state.params, jax.jit(detector.phases[0].step)
  for k in range(3):
    prior = (jnp.zeros(()), jnp.ones(()))
    if "input/ref_mean" in golden:
      prior = golden["input/ref_mean"][k], golden["input/ref_std"][k]
    batch = {
      "x": reference_trunk.pixels(golden["input/images"][k]),
      "label": golden["input/labels"],
    }
    draws = {"augmentation": None, "prior": prior}
    state, metrics = step(state, batch, draws)
    close(
      metrics["loss"], golden["loss/train"][k], FORWARD if k == 0 else STEPS
    )
    norm = golden["loss/grad_norm_before_clip"][k]
    close(metrics["gradient_norm"], norm, GRADIENT if k == 0 else STEPS)
    if k == 0:
      grads, _ = tree(golden.group("grad/"))
      reference_trunk.check_first_gradient(
        golden, state.opt_state, grads, first, close
      )
    if k in (0, 2):
      params, running = tree(golden.group(f"after{k + 1}/"))
      close(state.params, params, STEPS)
      close(state.collections, running, STEPS)


def test_forward_and_scores(golden, make, close):
  images = reference_trunk.pixels(golden["input/images"][0])
  for keywords, key in (
    ({}, "score"),
    ({"top_k": 0.0}, "score_topk0_mean_pool"),
  ):
    detector, state = make(**keywords)
    scores = jax.jit(detector.score)(state, images, None).image
    close(scores[:, None], golden[f"out/eval/{key}"], FORWARD)
  detector, state = make("after3/")
  images = reference_trunk.pixels(golden["input/test_images"])
  scores = jax.jit(detector.score)(state, images, None).image
  close(scores, golden["score/total"], FORWARD)


def test_saliency(golden, make, close):
  detector, state = make()
  chosen = golden["input/saliency_image_index"]
  images = reference_trunk.pixels(golden["input/images"][0][chosen])
  scores = jax.jit(detector.localize)(state, images, None)
  close(scores.map, golden["score/saliency_map"], GRADIENT)
  gradient = layout.channels_last(golden["out/saliency_input_grad"])
  percentile = golden.hp("map_percentile")
  gray = jax.vmap(lambda g: saliency(g, percentile))(gradient)
  close(gray, golden["out/saliency_gray"], FORWARD)


def test_focal_loss(load_golden, close):
  golden = load_golden("flos")
  criterion = reference_trunk.criterion(golden, "focal")
  targets = golden.group("input/focal_")["targets"]
  loss = lambda z: criterion.loss(z, targets, 0, 1).mean()
  value, grad = jax.value_and_grad(loss)(
    jnp.asarray(golden["input/focal_logits"])
  )
  close(value, golden["loss/focal_unit"], FORWARD)
  close(grad, golden["grad/focal_wrt_logits"], FORWARD)
