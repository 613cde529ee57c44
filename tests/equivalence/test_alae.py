# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""ALAE against a recording of the official networks and steps.

They ran in float32 and their rounding is in the recording, so float64 is
compared as closely as float32, no closer.
"""

import re

import jax
import layout
import numpy as np
import pytest
from recording import ADAM, IN_SINGLE, STORED

import jaxad
from jaxad.methods.alae import SLOW, Layers, normalized
from jaxad.networks.variables import apply_eval
from jaxad.optim import Game, equalized_rate

FORWARD, GRADIENT, STEPS = IN_SINGLE
KEYWORDS = ADAM | {
  "r1_gamma": "r1_gamma",
  "pixel_norm_eps": "pixel_norm_eps",
  "latent_avg_decay": "latent_avg_decay",
  "alpha": "score_alpha",
}
KEYWORDS |= {
  name: name for name in ("slope_f", "slope_g", "slope_e", "slope_e_out")
}
# Flags that a recording may have, and the default recording has not.
FLAGS = ("f_identity", "d_activation", "train_f", "pixels", "ema")
PLAYERS = {
  "mapping": "F",
  "generator": "G",
  "encoder": "E",
  "discriminator": "D",
}
TERMS = {"d": "discriminator", "g": "generator", "ae": "loss"}
GRADIENTS = {
  "grad_D": ("encoder", "discriminator"),
  "grad_G": ("mapping", "generator"),
  "grad_AE": ("mapping", "generator", "encoder"),
}


@pytest.fixture
def golden(load_golden):
  return load_golden("alae")


def names_of(arrays, player):
  """Their layers, in order."""
  prefix = f"{PLAYERS[player]}."
  found = {key.rsplit(".", 1)[0] for key in arrays if key.startswith(prefix)}
  return sorted(found, key=lambda name: int(re.search(r"\d+", name)[0]))


def tree(arrays, player, shape):
  """{layer: {leaf: ...}} of a player; shape is (C, H, W) of their images."""
  names, found = names_of(arrays, player), {}
  for k, theirs in enumerate(names):
    weight, bias = (arrays[f"{theirs}.{leaf}"] for leaf in ("weight", "bias"))
    # Pixels stand at one end of E, and at the other of G.
    if player == "encoder" and k == 0:
      weight = pixels_last(weight, shape)
    if player == "generator" and k == len(names) - 1:
      weight = pixels_last(weight.T, shape).T
      bias = pixels_last(bias, shape)
    found[f"dense_{k}"] = {"kernel": weight.T, "bias": bias}
  return found


def pixels_last(v, shape):
  """[..., C H W] to [..., H W C]."""
  return layout.channels_last(v.reshape(*v.shape[:-1], *shape)).reshape(v.shape)


def params_of(golden, group, players=tuple(PLAYERS)):
  arrays, shape = golden.group(group), golden["input/x0"].shape[1:]
  return {
    name: tree(arrays, name, shape)
    for name in players
    if names_of(arrays, name)
  }


@pytest.fixture
def recorded(golden):
  """Keywords of the factory."""
  encoder = params_of(golden, "param/")["encoder"]
  found = golden.keywords(**KEYWORDS) | {
    "hidden": encoder["dense_0"]["kernel"].shape[-1],
    "latent_dim": golden["input/z_d0"].shape[-1],
    "d_layers": len(names_of(golden.group("param/"), "discriminator")),
    "f_layers": len(names_of(golden.group("param/"), "mapping")) or 1,
  }
  if "ema_beta" in golden:
    images = np.log(0.5) * len(golden["input/x0"])
    found["ema_half_life"] = images / np.log(golden.single("ema_beta"))
  for name in FLAGS:
    if f"hp/{name}" in golden:
      found[name] = golden.hp(name)
  if found.get("d_activation") == "none":
    found["d_activation"] = None
  return found


@pytest.fixture
def images(recorded):
  """A function from theirs [B, C, H, W] to [B, H, W, C] in [0, 1]."""

  def convert(x):
    x = layout.channels_last(x)
    return (x + 1) / 2 if recorded.get("pixels") == "symmetric" else x

  return convert


@pytest.fixture
def start(golden, recorded, images, precision):
  """(detector, the recorded state)."""
  detector = jaxad.alae(**recorded)
  params = params_of(golden, "param/")
  batch = {"x": images(golden["input/x0"])}
  collections = {name: {} for name in params}
  state = layout.recorded_state(detector, batch, params, collections, precision)
  zero, one = np.zeros(recorded["latent_dim"]), np.ones(())
  extras = {
    "ema": params_of(golden, "ema_param/")
    if has(golden, "ema_param")
    else params,
    "w_mean": zero.astype(precision),
    "norms": {name: one.astype(precision) for name in ("image", "latent")},
  }
  return detector, state.replace(extras=extras)


def has(golden, group):
  return any(key.startswith(f"{group}/") for key in golden)


def inputs(golden, images, k):
  """(batch, draws) of a step; the draws are as the detector's own."""
  z = [golden[f"input/z_{move}{k}"] for move in ("d", "g", "ae")]
  return {"x": images(golden[f"input/x{k}"])}, np.stack(z)


@pytest.fixture
def passes(golden, recorded):
  """F, G, E and D as functions of (params, v), images flattened."""
  slopes = {
    name: recorded[f"slope_{name}"] for name in ("f", "g", "e", "e_out")
  }
  shape = golden["input/x0"].shape[1:]
  between = 1.0 if recorded.get("d_activation") is None else slopes["f"]

  def layers(name, params, v):
    widths = [layer["bias"].size for layer in params[name].values()]
    n = len(widths) - 1
    of = {
      "mapping": [slopes["f"]] * (n + 1),
      "generator": [slopes["g"]] * n + [1.0],
      "encoder": [slopes["e"]] * n + [slopes["e_out"]],
      "discriminator": [between] * n + [1.0],
    }
    module = Layers(tuple(widths), tuple(of[name]))
    return apply_eval(module, params[name], {}, v)

  def code(params, z):
    if "mapping" not in params:
      return z
    return layers("mapping", params, normalized(z, recorded["pixel_norm_eps"]))

  def draw(params, w):
    x = layers("generator", params, w).reshape(len(w), *shape[1:], shape[0])
    return layout.channels_first(x)

  def encode(params, x):
    return layers(
      "encoder", params, layout.channels_last(x).reshape(len(x), -1)
    )

  judge = lambda params, w: layers("discriminator", params, w)[:, 0]
  return code, draw, encode, judge


def test_forward(golden, passes, close):
  code, draw, encode, judge = passes

  @jax.jit
  def run(params, z, x):
    w, of_x = code(params, z), encode(params, x)
    fake = draw(params, w)
    return {
      "F_z": w,
      "G_F_z": fake,
      "E_x0": of_x,
      "D_E_x0": judge(params, of_x),
      "E_G_F_z": encode(params, fake),
    }

  params = params_of(golden, "param/")
  got = run(params, golden["input/z_fwd"], golden["input/x0"])
  for name, want in golden.group("out/").items():
    if name in got:  # else of the test
      close(got[name], want, FORWARD)


def test_learning_rates(golden, close):
  """The parts of a step that weights move by."""
  for player, theirs in PLAYERS.items():
    multiplier = SLOW if theirs in "FD" else 1.0
    arrays = golden.group("lrcoef/")
    for layer in names_of(arrays, player):
      for leaf in ("weight", "bias"):
        shape = golden[f"param/{layer}.{leaf}"].shape[::-1]
        got = equalized_rate(shape, multiplier)
        close(got, arrays[f"{layer}.{leaf}"], FORWARD)


def test_gradients(golden, start, images, close, monkeypatch):
  """Each as its move has it, in the first step."""
  detector, state = start
  caught, apply = [], Game.apply

  def catching(game, grads, *rest):
    caught.append(grads)
    return apply(game, grads, *rest)

  monkeypatch.setattr(Game, "apply", catching)

  @jax.jit
  def run(state, *inputs):
    detector.phases[0].step(state, *inputs)
    return tuple(caught)

  moves = run(state, *inputs(golden, images, 0))
  for got, (group, players) in zip(moves, GRADIENTS.items(), strict=True):
    want = params_of(golden, f"{group}/", players)
    close({name: got[name] for name in want}, want, GRADIENT, together=True)
    others = [got[name] for name in got.keys() - want.keys()]
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(others))


def test_three_steps(golden, recorded, start, images, close):
  detector, state = start
  step = jax.jit(detector.phases[0].step)
  for k in range(3):
    batch, draws = inputs(golden, images, k)
    own = jax.eval_shape(detector.phases[0].draw, state.key, batch)
    assert own.shape == draws.shape
    state, metrics = step(state, batch, draws)
    tolerance = FORWARD if k == 0 else STEPS
    for theirs, want in golden.group(f"loss/step{k}/").items():
      name = TERMS.get(theirs, "squared_slope")
      close(metrics[name], want, tolerance)
    if has(golden, f"after{k + 1}"):
      close(state.params, params_of(golden, f"after{k + 1}/"), STEPS)
  close(state.extras["w_mean"], golden["after3/dlatent_avg"][0], STEPS)
  close(state.extras["ema"], params_of(golden, "ema_after3/"), STEPS)


def test_scores(golden, recorded, start, images, passes, close):
  detector, state = start
  group = "ema_after3/" if recorded.get("ema") else "after3/"
  params = params_of(golden, group)
  state = state.replace(params=params, extras=state.extras | {"ema": params})
  want = golden.group("score/")

  rows = [images(golden[f"input/x{k}"]) for k in range(3)]
  ones = np.ones(len(rows[0]), rows[0].dtype)
  batches = ({"x": x, "label": 0 * ones, "weight": ones} for x in rows)
  state = detector.phases[0].fit(state, batches)
  for name, norm in state.extras["norms"].items():
    close(norm, want[f"norm_{name}"], STORED)

  x = golden["input/x_test"]
  scores = jax.jit(detector.score)(state, images(x), None)
  for theirs, ours in (
    ("image", "image"),
    ("latent", "latent"),
    ("adv", "adversarial"),
  ):
    close(scores.parts[ours], want[theirs], STORED)
  for name, total in want.items():
    if name.startswith("total"):
      close(scores.image, total, STORED)

  code, draw, encode, judge = passes

  @jax.jit
  def run(params, x):
    w = encode(params, x)
    x_rec = draw(params, w)
    w_rec = encode(params, x_rec)
    return {
      "w": w,
      "d": judge(params, w),
      "x_rec": x_rec,
      "w_rec": w_rec,
      "d_rec": judge(params, w_rec),
    }

  got = run(params, x)
  for name, value in golden.group("out/test/").items():
    close(got[name], value, STORED)
  residual = np.abs(x - np.asarray(got["x_rec"])).mean(1)
  close(scores.map, residual, FORWARD)


def test_parameter_counts():
  """Of the official networks, as golden_full.json has them."""
  detector = jaxad.alae()
  x = {"x": np.zeros((1, 28, 28, 1), np.float32)}
  state = jax.eval_shape(detector.init, jax.random.key(0), x)
  count = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
  assert {PLAYERS[k]: count(v) for k, v in state.params.items()} == {
    "F": 15300,
    "G": 1905424,
    "E": 1904690,
    "D": 7650,
  }
