# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""DRA against a recording of the official implementation."""

import json
import pathlib

import jax
import jax.numpy as jnp
import layout
import numpy as np
import pytest
import reference_trunk
from recording import COMMITTED, FORWARD, GRADIENT, STEPS, Tolerance
from sklearn.metrics import roc_auc_score

import jaxad
from jaxad import losses
from jaxad.layers.cutmix import paste
from jaxad.methods.dra import HEADS, Heads, head_rows
from jaxad.networks.pyramid import pyramid
from jaxad.networks.variables import apply_eval, apply_train
from jaxad.optim import step_decay

# A mean of many float32 draws, most of which cancel out.
MEAN = Tolerance(1e-4, 1e-5)
LAYERS = {
  "holistic_head.fc1": "fc1",
  "holistic_head.fc2": "fc2",
  "composite_head.conv.0": "conv",
  "composite_head.conv.1": "norm",
}


@pytest.fixture
def golden(load_golden):
  return load_golden("dra")


def tree(arrays):
  """(params, collections)."""
  params, running = {}, {}
  params["trunk"], running["trunk"] = reference_trunk.layers(
    arrays, reference_trunk.TRUNK
  )
  heads, statistics = {}, {}
  for theirs, ours in LAYERS.items():
    found, written = reference_trunk.layers(
      arrays, f"{theirs}.", lambda _, ours=ours: ours
    )
    heads |= found
    statistics |= written.get("batch_stats", {})
  for name in HEADS[1:]:
    heads[name], _ = reference_trunk.layers(
      arrays, f"{name}_head.scoring.", lambda _: "scoring"
    )
  params["heads"] = heads
  running["heads"] = {"batch_stats": statistics}
  return params, running


@pytest.fixture
def make(golden, precision):
  """From a group of arrays to (detector, a state with them)."""

  def make(arrays="param/"):
    detector = jaxad.dra(
      top_k=golden.cfg("topk"),
      n_references=int(golden["input/cfg_nRef"]),
      n_scales=golden.hp("n_scales"),
      trunk=reference_trunk.trunk(golden),
      optimizer=reference_trunk.optimizer(golden),
      criterion=reference_trunk.criterion(golden),
    )
    images, references = (
      reference_trunk.pixels(golden[f"input/{name}"][0])
      for name in ("images", "ref_images")
    )
    batch = {"x": images, "reference": references}
    state = layout.recorded_state(
      detector, batch, *tree(golden.group(arrays)), precision
    )
    return detector, state.replace(extras={"reference": references})

  return make


def test_three_steps(golden, make, close):
  detector, state = make()
  first, step = state.params, jax.jit(detector.phases[1].step)
  for k in range(3):
    batch = {
      "x": reference_trunk.pixels(golden["input/images"][k]),
      "reference": reference_trunk.pixels(golden["input/ref_images"][k]),
      "label": golden["input/labels"],
    }
    prior = golden["input/ref_mean"][k], golden["input/ref_std"][k]
    draws = {"views": None, "reference": None, "prior": prior}
    state, metrics = step(state, batch, draws)
    rel = FORWARD if k == 0 else STEPS
    for head, want in zip(HEADS, golden["loss/train_heads"][k], strict=True):
      close(metrics[head], want, rel)
    close(metrics["loss"], golden["loss/train_total"][k], rel)
    norm = golden["loss/grad_norm_before_clip"][k]
    close(metrics["gradient_norm"], norm, GRADIENT if k == 0 else STEPS)
    if k == 0:
      grads, _ = tree(golden.group("grad/"))
      reference_trunk.check_first_gradient(
        golden, state.opt_state, grads, first, close
      )
    if k in (0, 2):
      params, collections = tree(golden.group(f"after{k + 1}/"))
      for name in params:
        layout.check_but_biases_before_norms(
          (state.params[name], state.collections[name]),
          (params[name], collections[name]),
          close,
          STEPS,
          way=(k + 1) * golden.hp("learning_rate"),
        )


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_forward(golden, close, mode):
  params, running = tree(golden.group("param/"))
  net = reference_trunk.trunk(golden)
  head = Heads(golden.cfg("topk"), golden.hp("bn_eps"))
  n, n_scales = int(golden["input/cfg_nRef"]), golden.hp("n_scales")
  images = np.concatenate(
    [golden["input/ref_images"][0], golden["input/images"][0]]
  )
  x = layout.channels_last(images)
  if n_scales > 1:
    small = golden["out/downscaled_images_first"]
    got = pyramid(x, n_scales)[1][: len(small)]
    close(got, layout.channels_last(small), FORWARD)

  @jax.jit
  def forward(x):
    train = mode == "train"
    maps, _ = net.features(
      params["trunk"], running["trunk"], x, train, n_scales
    )
    if train:
      scores = [
        apply_train(head, params["heads"], y[n:], y[:n])[0] for y in maps
      ]
    else:
      scores = [
        apply_eval(head, params["heads"], running["heads"], y[n:], y[:n])
        for y in maps
      ]
    return maps, [s for s, _ in scores]

  maps, scores = forward(x)
  rows, _ = head_rows(golden["input/labels"])
  if mode == "eval":
    rows = np.ones_like(rows)
  for s, y in enumerate(maps):
    want = golden[f"out/{mode}/features_scale{s}"]
    close(layout.channels_first(y), want, FORWARD)
    for h, name in enumerate(HEADS):
      want = golden[f"out/{mode}/{name}_scale{s}"]
      close(scores[s][h][rows[h], None], want, FORWARD)
  for h, name in enumerate(HEADS):
    got = np.mean([s[h] for s in scores], axis=0)
    close(got[rows[h]], golden[f"out/{mode}/{name}"], FORWARD)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_heads(golden, close, mode):
  params, running = (v["heads"] for v in tree(golden.group("param/")))
  head = Heads(golden.cfg("topk"), golden.hp("bn_eps"))
  reference = layout.channels_last(golden["input/head_ref_features"])

  def scores(y):
    if mode == "train":
      return apply_train(head, params, y, reference)[0]
    return apply_eval(head, params, running, y, reference)

  y = layout.channels_last(golden["input/head_features"])
  got, patches = jax.jit(scores)(y)
  want = golden[f"out/heads_{mode}/seen_map"]
  close(patches[0], np.abs(want[:, 0]), FORWARD)
  gradients = jax.jit(jax.jacrev(lambda y: scores(y)[0].sum(1)))(y)
  for h, name in enumerate(HEADS):
    close(got[h][:, None], golden[f"out/heads_{mode}/{name}"], FORWARD)
    want = golden[f"grad/heads_{mode}/{name}_wrt_features"]
    close(layout.channels_first(gradients[h]), want, GRADIENT)


def test_criteria(golden, close):
  y_true = golden["input/dev_y_true"]
  prior = losses.prior_statistics(
    golden["input/dev_ref"], len(golden["input/dev_ref"])
  )
  close(prior[0], golden["input/dev_ref_mean"], MEAN)
  close(prior[1], golden["input/dev_ref_std"], FORWARD)
  few = losses.prior_statistics(golden["input/dweighted_ref"], len(y_true))
  cases = {
    "deviation": (*prior, "deviation", "deviation"),
    "weighted_deviation": (*few, "dweighted_deviation", "dweighted"),
    "focal": (0, 1, "focal", "focal"),
    "bce": (0, 1, "bce", "bce"),
  }
  for name, (mean, std, value_key, gradient_key) in cases.items():
    loss = reference_trunk.criterion(golden, name).loss
    value, gradient = jax.value_and_grad(
      lambda z, loss=loss, m=mean, s=std: loss(z, y_true, m, s).mean()
    )(jnp.asarray(golden["input/dev_y_pred"]))
    close(value, golden[f"loss/{value_key}"], FORWARD)
    close(gradient, golden[f"grad/{gradient_key}_wrt_y_pred"], FORWARD)


def test_scores(golden, make, close):
  detector, state = make("after3/")
  x = reference_trunk.pixels(golden["input/test_images"])
  score = jax.jit(detector.score)
  scores = score(state, x, None)
  for name in HEADS:
    close(scores.parts[name], golden[f"score/{name}"], FORWARD)
  close(scores.image, golden["score/total"], FORWARD)
  label = golden["input/test_labels"]
  assert roc_auc_score(label, scores.image) == roc_auc_score(
    label, golden["score/total"]
  )


def test_cutmix(golden):
  image, draws = golden["input/cutmix_image"], golden["input/cutmix_draws"]
  height, width = image.shape[:2]
  area = draws[:, 0] * height * width
  size = [np.sqrt(area / draws[:, 1]), np.sqrt(area * draws[:, 1])]
  got = paste(
    jnp.stack([image] * len(draws)),
    jnp.asarray(np.round(np.stack(size, axis=1))),
    jnp.asarray(np.floor(draws[:, 2:])),
  )
  np.testing.assert_array_equal(got, golden["out/cutmix_images"])


def test_learning_rates(request):
  chosen = request.config.getoption("--goldens")
  paths = [pathlib.Path(chosen) / "dra"] if chosen else []
  paths = [p / "golden_protocol.json" for p in (*paths, COMMITTED / "dra")]
  recorded = json.loads(next(p for p in paths if p.is_file()).read_text())
  for schedule, key in (
    ("early", "lr_per_epoch_dra_step_first"),
    ("late", "lr_per_epoch_devnet_step_last"),
  ):
    rates = recorded[key]
    at = step_decay(rates[0], steps_per_epoch=20, schedule=schedule)
    for epoch, want in enumerate(rates):
      for step in (0, 19):
        np.testing.assert_allclose(at(20 * epoch + step), want, rtol=1e-5)
