# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""EGBAD against recordings of the official code, on images and on rows.

It ran in float32, so that float64 is compared as closely as float32, no closer.
"""

import json
import re

import jax
import layout
import numpy as np
import pytest
from recording import ADAM, COMMITTED, IN_SINGLE, NORMS, Golden

import jaxad
from jaxad.layers.dropout import DROPOUT
from jaxad.methods.egbad import Widths, make_networks
from jaxad.networks.variables import apply_eval, apply_train

FORWARD, GRADIENT, STEPS = IN_SINGLE
NAMES = ("encoder", "generator", "discriminator")
TERMS = {
  "loss_discriminator": "loss",
  "loss_dis_enc": "d_real",
  "loss_dis_gen": "d_fake",
  "loss_generator": "g_loss",
  "loss_encoder": "e_loss",
}
KEYWORDS = ADAM | NORMS
KEYWORDS |= {
  "slope": "leaky_slope",
  "weight": "score_weight",
  "degree": "score_degree",
}
PLAYERS = {"encoder": "enc", "generator": "gen", "discriminator": "dis"}


@pytest.fixture(params=["", "kdd/"], ids=["images", "rows"])
def golden(request, load_golden):
  """One of the two recordings; its hyper-parameters are those of the file."""
  found = load_golden("egbad")
  if not request.param:
    return Golden({k: v for k, v in found.items() if not k.startswith("kdd/")})
  of_rows = found.group("kdd/")
  hps = {k: v for k, v in found.items() if k.startswith("hp/")}
  hps["hp/dropout"] = found["hp/kdd_dropout"]
  return Golden(hps | of_rows, "kdd/")


def depth(golden, network):
  """How many dense layers a network of rows has."""
  of_network = golden.group(f"param/{network}_model/{network}/")
  return sum(key.endswith("kernel") for key in of_network)


def renaming(golden, network):
  """TensorFlow's scopes to the paths of our layers."""
  on_images = golden["input/eval/x"].ndim == 4
  last = depth(golden, network)

  def rename(scope):
    layer, kind = scope.split("/")
    numbers = re.findall(r"\d+", layer)
    if layer == "y_fc_logits":
      return "joint/dense_out"
    k = int(numbers[0])
    if layer[0] in "yz":
      return {"y": "joint", "z": "z"}[layer[0]] + f"/dense_{k - 1}"
    if on_images:
      kinds = {"fc": "dense", "conv": "conv", "batch_normalization": "norm"}
      return f"{kinds[kind]}_{k}"
    if layer[0] == "x":
      return f"x/dense_{k - 1}"
    return "dense_out" if k == last else f"dense_{k - 1}"

  return rename


def read(golden, prefix, names=NAMES):
  """({network: parameters}, {network: collections})."""
  params, collections = {}, {}
  for name in names:
    params[name], stats = layout.of_tensorflow(
      golden.group(f"{prefix}{name}_model/{name}/"),
      renaming(golden, name),
      name == "generator",
    )
    collections[name] = {"batch_stats": stats} if stats else {}
  return params, collections


def sizes(params):
  """Keywords of the factory, from the shapes of parameters."""
  width = lambda tree: tree["bias"].shape[0]
  hidden = lambda tree: tuple(
    width(tree[f"dense_{k}"])
    for k in range(sum(re.fullmatch(r"dense_\d+", n) is not None for n in tree))
  )
  e, g, d = (params[name] for name in NAMES)
  if "conv_1" in e:
    found = {
      "encoder_widths": tuple(width(e[f"conv_{k}"]) for k in (1, 2, 3)),
      "generator_widths": (
        width(g["dense_1"]),
        g["conv_3"]["kernel"].shape[2],
        width(g["conv_3"]),
      ),
      "discriminator_widths": tuple(width(d[f"conv_{k}"]) for k in (1, 2)),
      "latent_dim": width(e["dense_4"]),
    }
  else:
    found = {
      "encoder_widths": hidden(e),
      "generator_widths": hidden(g),
      "discriminator_widths": hidden(d["x"]),
      "latent_dim": width(e["dense_out"]),
    }
  code, joint = hidden(d["z"])[0], hidden(d["joint"])[0]
  return found | {"code_width": code, "joint_width": joint}


def given(x):
  """Images as a user has them; rows as they are."""
  return (x + 1) / 2 if x.ndim == 4 else x


@pytest.fixture
def start(golden, precision):
  """(detector, its recorded state)."""
  params, collections = read(golden, "param/")
  detector = jaxad.egbad(
    **sizes(params),
    dropout=golden.hp("dropout"),
    ema_decay=golden.single("input/ema_decay"),
    **golden.keywords(**KEYWORDS),
  )
  batch = {"x": given(golden["input/eval/x"])}
  state = layout.recorded_state(detector, batch, params, collections, precision)
  return detector, state.replace(extras={"ema": params})


def masks_of(of_run):
  """Of both passes through D: what a step draws."""

  def path(scope, rows):
    k = int(re.findall(r"\d+", scope)[0])
    if scope[0] in "yz":
      return {"y": "joint", "z": "z"}[scope[0]], f"dropout_{k - 1}"
    return ("x", f"dropout_{k - 1}") if rows else (f"dropout_{k}",)

  def of_pass(number):
    tree = {}
    for key, mask in of_run.group("mask/").items():
      *_, scope, which = key.split("/")
      if which == f"pass{number}":
        rows = of_run["x"].ndim == 2
        node = tree
        for name in path(scope, rows):
          node = node.setdefault(name, {})
        node["keep"] = mask.astype(bool)
    return {DROPOUT: tree}

  return {"encoded": of_pass(0), "generated": of_pass(1)}


def step_inputs(golden, k):
  """(batch, draws) of a step."""
  d, g = (golden.group(f"input/step{k}/{run}/") for run in ("dis", "gen"))
  batch = {"x": given(d["x"]), "x_again": given(g["x"])}
  return batch, {
    "z_d": d["z"],
    "z_g": g["z"],
    "keep_d": masks_of(d),
    "keep_g": masks_of(g),
  }


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_forward(golden, close, mode):
  params, collections = read(golden, "param/")
  found, inputs = sizes(params), "eval" if mode == "eval" else "step0/dis"
  x, z = (golden[f"input/{inputs}/{name}"] for name in "xz")
  widths = Widths(
    *(found[f"{name}_widths"] for name in NAMES),
    *(found["code_width"], found["joint_width"], golden.hp("dropout")),
  )
  layers = (golden.hp("leaky_slope"), golden.hp("bn_eps"))
  nets = make_networks(x, found["latent_dim"], widths, *layers)
  keep = None
  if mode == "train":
    keep = masks_of(golden.group("input/step0/dis/"))

  @jax.jit
  def run(x, z):
    def apply(name, *args, which=None):
      if mode == "eval":
        return apply_eval(nets[name], params[name], collections[name], *args)
      masks = which and keep[which]
      return apply_train(nets[name], params[name], *args, collections=masks)[0]

    code, x_fake = apply("encoder", x), apply("generator", z)
    encoded = apply("discriminator", x, code, which="encoded")
    generated = apply("discriminator", x_fake, z, which="generated")
    return {
      "E_x": code,
      "G_z": x_fake,
      "D_enc_logit": encoded[0],
      "D_gen_logit": generated[0],
      "D_enc_feat": encoded[1],
      "D_gen_feat": generated[1],
    }

  got = run(x, z)
  for name, want in golden.group(f"out/{mode}/").items():
    close(got[name], want, FORWARD)


def test_three_steps(golden, start, close):
  detector, state = start
  step = jax.jit(detector.phases[0].step)
  for k in range(3):
    state, metrics = step(state, *step_inputs(golden, k))
    for run in ("dis", "gen"):
      for theirs, want in golden.group(f"loss/step{k}/{run}/").items():
        tolerance = FORWARD if k == 0 and run == "dis" else STEPS
        close(metrics[TERMS[theirs]], want, tolerance)
    if k == 0:
      check_gradients(golden, state, close)
    if k in (0, 2):
      want, want_collections = read(golden, f"after{k + 1}/")
      for name in NAMES:
        check_network(
          (state.params[name], state.collections[name]),
          (want[name], want_collections[name]),
          close,
          (k + 1) * golden.hp("learning_rate"),
        )
  want, _ = read(golden, "ema_after3/")
  way = 3 * golden.hp("learning_rate")
  for name in NAMES:
    averages = state.extras["ema"][name]
    layout.check_averages(averages, want[name], close, STEPS, way)


def check_network(got, want, close, way):
  if "batch_stats" in want[1]:
    layout.check_but_biases_before_norms(got, want, close, STEPS, way)
  else:
    close(got[0], want[0], STEPS)


def check_gradients(golden, state, close):
  for name, theirs in PLAYERS.items():
    want = read(golden, f"grad/{theirs}/", (name,))[0][name]
    got = layout.first_gradient(state.opt_state, name, golden.hp("b1"))
    for tree in (got, want):
      layout.pop_biases_before_norms(tree)
    close(got, want, GRADIENT, together=True)


def test_scores(golden, start, close):
  detector, state = start
  params, collections = read(golden, "after3/")
  ema, _ = read(golden, "ema_after3/")
  state = state.replace(
    params=params, collections=collections, extras={"ema": ema}
  )
  want = golden.group("score/")
  x = golden["input/score/x"]
  scores = jax.jit(detector.score)(state, given(x), None)
  parts = scores.parts
  close(parts["reconstruction"], want["gen_score"], STEPS)
  close(parts["fm"], want["dis_score_fm"], STEPS)
  close(parts["cross_e"], want["dis_score_ce"], STEPS)
  of_paper = np.log1p(np.exp(-want["D_logit_inp"]))[:, 0]
  close(parts["cross_e_paper"], of_paper, STEPS)
  close(scores.image, want["score_fm"], STEPS)
  weight = golden.hp("score_weight")
  by_cross_e = (1 - weight) * parts["reconstruction"]
  close(by_cross_e + weight * parts["cross_e"], want["score_ce"], STEPS)
  if x.ndim == 4:
    close(scores.map, np.abs(x - want["rec"]).mean(-1), STEPS)


@pytest.mark.parametrize(
  "name, shape, latent_dim", [("mnist", (28, 28, 1), 200), ("kdd", (121,), 32)]
)
def test_sizes_of_the_code(name, shape, latent_dim):
  """Trainable parameters at full size."""
  file = COMMITTED / "egbad" / "golden_full.json"
  want = json.loads(file.read_text())[name]["trainable"]
  detector = jaxad.egbad(latent_dim=latent_dim)
  batch = {"x": np.zeros((1, *shape), np.float32)}
  params = jax.eval_shape(detector.init, jax.random.key(0), batch).params
  assert want == {
    name[0].upper(): sum(leaf.size for leaf in jax.tree.leaves(tree))
    for name, tree in params.items()
  }
