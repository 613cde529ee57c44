# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""AnoGAN against a recording of the code of EGBAD's authors.

It ran in float32, so that float64 is compared as closely as float32, no closer.
"""

import json
import re

import jax
import layout
import numpy as np
import pytest
from recording import ADAM, COMMITTED, IN_SINGLE, NORMS

import jaxad
from jaxad.methods.anogan import moments, resumed
from jaxad.networks.efficient_gan import Discriminator, Generator
from jaxad.networks.variables import apply_eval

FORWARD, GRADIENT, STEPS = IN_SINGLE
NAMES = ("generator", "discriminator")
TERMS = {
  "discriminator_loss": "loss",
  "real_discriminator_loss": "d_real",
  "fake_discriminator_loss": "d_fake",
  "generator_loss": "g_loss",
}
KEYWORDS = ADAM | NORMS
KEYWORDS |= {
  "slope": "leaky_slope",
  "lam": "score_weight",
  "degree": "score_degree",
  "search_steps": "search_steps",
  "search_b1": "search_b1",
  "search_b2": "search_b2",
  "search_eps": "search_eps",
  "search_keeps_moments": "search_keeps_moments",
}


@pytest.fixture
def golden(load_golden):
  return load_golden("anogan")


def our_name(scope):
  """layer_2/fc to dense_2."""
  number, kind = re.fullmatch(r"layer_(\d+)/(\w+)", scope).groups()
  kinds = {"fc": "dense", "conv": "conv", "batch_normalization": "norm"}
  return f"{kinds[kind]}_{number}"


def read(golden, prefix, names=NAMES):
  """({player: parameters}, {player: collections})."""
  params, collections = {}, {}
  for name in names:
    params[name], stats = layout.of_tensorflow(
      golden.group(f"{prefix}{name}/"), our_name, name == "generator"
    )
    collections[name] = {"batch_stats": stats}
  return params, collections


def in_order(golden, pattern):
  """Hyper-parameters that are numbered."""
  found = {int(m[1]): k for k in golden if (m := re.match(f"hp/{pattern}", k))}
  return tuple(golden[found[k]].item() for k in sorted(found))


def widths(params, *layers):
  return tuple(params[layer]["bias"].shape[0] for layer in layers)


@pytest.fixture
def start(golden, precision):
  """(detector, its recorded state)."""
  params, collections = read(golden, "param/")
  generator, discriminator = (params[name] for name in NAMES)
  hidden, _, shallow = widths(generator, "dense_1", "dense_2", "conv_3")
  deep = generator["conv_3"]["kernel"].shape[2]
  detector = jaxad.anogan(
    latent_dim=generator["dense_1"]["kernel"].shape[0],
    generator_widths=(hidden, deep, shallow),
    discriminator_widths=widths(discriminator, "conv_1", "conv_2", "dense_3"),
    search_rates=in_order(golden, r"search_lr_(\d+)"),
    search_boundaries=in_order(golden, r"search_boundary_(\d+)"),
    score=golden.hp("score_method").replace("-", "_"),
    ema_decay=golden.single("input/ema_decay"),
    **golden.keywords(**KEYWORDS),
  )
  batch = {"x": (golden["input/eval/x"] + 1) / 2}
  state = layout.recorded_state(detector, batch, params, collections, precision)
  return detector, state.replace(extras={"ema": params})


@pytest.fixture
def networks(golden):
  x = golden["input/eval/x"]
  g, d = (read(golden, "param/")[0][name] for name in NAMES)
  hidden, _, shallow = widths(g, "dense_1", "dense_2", "conv_3")
  sizes = (hidden, g["conv_3"]["kernel"].shape[2], shallow)
  epsilon = golden.hp("bn_eps")
  return {
    "generator": Generator(x.shape[1], x.shape[3], sizes, epsilon),
    "discriminator": Discriminator(
      widths(d, "conv_1", "conv_2", "dense_3"),
      golden.hp("leaky_slope"),
      epsilon,
    ),
  }


@pytest.mark.parametrize(
  "mode, inputs, apply",
  [("train", "step0/dis", layout.by_batch), ("eval", "eval", apply_eval)],
)
def test_forward(golden, networks, close, mode, inputs, apply):
  params, collections = read(golden, "param/")
  x, z = (golden[f"input/{inputs}/{name}"] for name in "xz")

  @jax.jit
  def run(x, z):
    g, d = (
      lambda v, n=n: apply(networks[n], params[n], collections[n], v)
      for n in NAMES
    )
    x_fake = g(z)
    (real, f_real), (fake, f_fake) = d(x), d(x_fake)
    return {
      "G_z": x_fake,
      "D_real_logit": real,
      "D_fake_logit": fake,
      "D_real_feat": f_real,
      "D_fake_feat": f_fake,
    }

  got = run(x, z)
  for name, want in golden.group(f"out/{mode}/").items():
    close(got[name], want, FORWARD)


def test_three_steps(golden, start, close):
  detector, state = start
  step = jax.jit(detector.phases[0].step)
  for k in range(3):
    of_step = golden.group(f"input/step{k}/")
    batch = {"x": (of_step["dis/x"] + 1) / 2}
    draws = {"z_d": of_step["dis/z"], "z_g": of_step["gen/z"]}
    state, metrics = step(state, batch, draws)
    for player in ("dis", "gen"):
      for theirs, want in golden.group(f"loss/step{k}/{player}/").items():
        tolerance = FORWARD if k == 0 and player == "dis" else STEPS
        close(metrics[TERMS[theirs]], want, tolerance)
    if k == 0:
      check_gradients(golden, state, close)
    if k in (0, 2):
      want_params, want_collections = read(golden, f"after{k + 1}/")
      for name in NAMES:
        layout.check_but_biases_before_norms(
          (state.params[name], state.collections[name]),
          (want_params[name], want_collections[name]),
          close,
          STEPS,
          (k + 1) * golden.hp("learning_rate"),
        )
  want, _ = read(golden, "ema_after3/")
  way = 3 * golden.hp("learning_rate")
  for name in NAMES:
    averages = state.extras["ema"][name]
    layout.check_averages(averages, want[name], close, STEPS, way)


def check_gradients(golden, state, close):
  for name, theirs in (("discriminator", "dis"), ("generator", "gen")):
    want = read(golden, f"grad/{theirs}/", (name,))[0][name]
    got = layout.first_gradient(state.opt_state, name, golden.hp("b1"))
    for tree in (got, want):
      layout.pop_biases_before_norms(tree)
    close(got, want, GRADIENT, together=True)


def test_searches(golden, start, close):
  """The second batch starts with the moments of the first, if it did."""
  detector, state = start
  params, collections = read(golden, "after3/")
  ema, _ = read(golden, "ema_after3/")
  state = state.replace(
    params=params, collections=collections, extras={"ema": ema}
  )
  search, b1 = detector.search, golden.hp("search_b1")

  @jax.jit
  def scored_and_moved(x, found):
    scores = search.finish(state, x, found)
    return scores, search.step(state, x, found)

  zeros = {name: 0.0 for name in ("mu", "nu")}
  kept = None
  for b in (0, 1):
    x, z0 = (golden[f"input/score{b}/{name}"] for name in ("x", "z0"))
    x, z0 = (x + 1) / 2, z0[:, None]
    want = golden.group(f"score{b}/")
    found = search.start(state, x, jax.random.split(jax.random.key(0), len(x)))
    found["codes"]["z"] = z0
    if kept is not None and golden.hp("search_keeps_moments"):
      found = resumed(found, kept)
    before = kept if kept and golden.hp("search_keeps_moments") else zeros
    path = []
    for k in range(search.n + 1):
      scores, moved = scored_and_moved(x, found)
      path.append(scores.image)
      if f"z_after{k}" in want:
        close(found["codes"]["z"][:, 0], want[f"z_after{k}"], STEPS)
      if k == 0:
        close(scores.parts["residual"], want["residual0"], STEPS)
        close(scores.parts["discrimination"], want["discrimination0"], STEPS)
        gradient = (moments(moved)["mu"] - b1 * before["mu"]) / (1 - b1)
        close(np.reshape(gradient, z0[:, 0].shape), want["grad_z0"], STEPS)
      if k < search.n:
        found = moved
    kept = moments(found)
    close(np.stack(path), want["loss_path"], STEPS)
    close(scores.image, want["final"], STEPS)
    for part in ("residual", "discrimination"):
      close(scores.parts[part], want[part], STEPS)
    difference = np.abs(golden[f"input/score{b}/x"] - want["rec"])
    close(scores.map, difference.mean(-1), STEPS)
    close(found["f"], want["feat_real"], STEPS)


def test_sizes_of_the_code():
  """Trainable parameters at full size."""
  want = json.loads((COMMITTED / "anogan" / "golden_full.json").read_text())
  batch = {"x": np.zeros((1, 28, 28, 1), np.float32)}
  state = jax.eval_shape(jaxad.anogan().init, jax.random.key(0), batch)
  count = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
  assert {
    "D": count(state.params["discriminator"]),
    "G": count(state.params["generator"]),
  } == want["mnist"]["trainable"]
