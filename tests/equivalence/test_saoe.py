# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""SAOE against a recording of a transcription: there is no published code."""

import jax
import jax.numpy as jnp
import layout
import numpy as np
import optax
import pytest
import reference_trunk
from recording import FORWARD, GRADIENT, STEPS

import jaxad
from jaxad.methods.saoe import uniformity


@pytest.fixture
def golden(load_golden):
  return load_golden("saoe")


def tree(arrays):
  """(params, collections)."""
  params, running = reference_trunk.layers(arrays, reference_trunk.TRUNK)
  head, _ = reference_trunk.layers(arrays, "scoring.", lambda _: "scoring")
  return {"trunk": params, "head": head}, {"trunk": running, "head": {}}


@pytest.fixture
def make(golden, precision):
  """From a group of arrays to (detector, a state with them)."""

  def make(arrays="param/"):
    detector = jaxad.saoe(
      top_k=golden.cfg("topk"),
      oe_weight=golden.cfg("oe_lambda"),
      n_scales=golden.hp("n_scales"),
      trunk=reference_trunk.trunk(golden),
      optimizer=reference_trunk.optimizer(golden),
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
    batch = {
      "x": reference_trunk.pixels(golden["input/images"][k]),
      "outlier": reference_trunk.pixels(golden["input/outlier_images"][k]),
      "label": golden["input/labels"],
    }
    draws = {"pseudo": None, "augmentation": None, "outlier": None}
    state, metrics = step(state, batch, draws)
    terms = ("loss", "cross_entropy", "outlier_exposure")
    recorded = golden["loss/train_total_ce_oe"][k]
    for name, want in zip(terms, recorded, strict=True):
      close(metrics[name], want, FORWARD if k == 0 else STEPS)
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


def test_forward(golden, make, close):
  detector, state = make()
  images = np.concatenate(
    [golden["input/images"][0], golden["input/outlier_images"][0]]
  )
  scores = jax.jit(detector.score)(state, reference_trunk.pixels(images), None)
  logits = jnp.asarray(golden["out/eval/logits"])
  close(scores.parts["uniform"], uniformity(logits), FORWARD)
  close(scores.image, 1 - jax.nn.softmax(logits)[:, 0], FORWARD)


def test_losses(golden, close):
  logits = jnp.asarray(golden["out/eval/logits"])
  n = len(golden["input/labels"])
  entropy = optax.softmax_cross_entropy_with_integer_labels(
    logits[:n], golden["input/labels"]
  ).mean()
  exposure = -uniformity(logits[n:]).mean()
  close(entropy, golden["loss/eval_ce"], FORWARD)
  close(exposure, golden["loss/eval_oe"], FORWARD)
  total = entropy + golden.cfg("oe_lambda") * exposure
  close(total, golden["loss/eval_total"], FORWARD)


def test_scores(golden, make, close):
  detector, state = make("after3/")
  x = reference_trunk.pixels(golden["input/test_images"])
  scores = jax.jit(detector.score)(state, x, None)
  close(scores.image, golden["score/total"], FORWARD)
  close(scores.parts["uniform"], golden["score/oe_uniform"], FORWARD)
