# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""DevNet and FLOS against recordings of the official implementation.

Tolerances are relative to the largest entry of the array compared: forward and
losses 1e-5, gradients 1e-4, what follows from training steps 1e-3, and a tenth
of that in float64.
"""

import jax
import jax.numpy as jnp
import layout
import pytest
import reference_trunk
from reference_trunk import PLAN

import jaxad
from jaxad.losses import focal
from jaxad.methods.devnet import saliency

FORWARD, GRADIENT, STEPS = 1e-5, 1e-4, 1e-3


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
    keywords = {"top_k": float(golden["input/cfg_topk"])} | keywords
    detector = getattr(jaxad, method)(
      n_scales=int(golden["input/cfg_n_scales"]),
      trunk=reference_trunk.trunk(golden),
      **keywords,
    )
    x = reference_trunk.pixels(golden["input/images"][0])
    state = layout.recorded_state(
      detector, {"x": x}, *tree(golden.group(arrays)), precision, PLAN
    )
    return detector, state

  return make


def test_three_steps(golden, make, method, close):
  detector, state = make()
  first, step = state.params, jax.jit(detector.phases[0].step)
  for k in range(3):
    prior = (jnp.zeros(()), jnp.ones(()))
    if method == "devnet":
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
      want = reference_trunk.clipped_and_decayed(grads, first, norm)
      got = reference_trunk.gradient(state.opt_state)
      close(got, want, GRADIENT, together=True)
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
  close(jax.vmap(saliency)(gradient), golden["out/saliency_gray"], FORWARD)


def test_focal_loss(load_golden, close):
  golden = load_golden("flos")
  loss = lambda z: focal(z, golden["input/focal_targets"]).mean()
  value, grad = jax.value_and_grad(loss)(
    jnp.asarray(golden["input/focal_logits"])
  )
  close(value, golden["loss/focal_unit"], FORWARD)
  close(grad, golden["grad/focal_wrt_logits"], FORWARD)
