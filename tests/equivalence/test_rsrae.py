# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""RSRAE and RSRAE+ against recordings of the official code.

It ran in float32, so that float64 is compared as closely as float32, no closer.
"""

import json
import re

import jax
import jax.numpy as jnp
import layout
import numpy as np
import optax
import pytest
from recording import ADAM, COMMITTED, IN_SINGLE, STORED

import jaxad
from jaxad.evaluation.metrics import image_auroc
from jaxad.networks.rsrae import Decoder, Encoder
from jaxad.networks.variables import apply_eval

FORWARD, GRADIENT, STEPS = IN_SINGLE
KEYWORDS = ADAM | {
  name: name
  for name in (
    *("learning_rate_rsr", "lambda1", "lambda2", "activation", "pad3"),
    *("normalize", "normalize_eps", "score_eps"),
  )
}
KEYWORDS |= {"norm_epsilon": "bn_eps"}
PARTS = ("encoder", "rsr", "decoder")
TERMS = {"rec": "ae", "rsr1": "rsr1", "rsr2": "rsr2"}


@pytest.fixture
def golden(load_golden):
  return load_golden("rsrae")


def renaming(arrays):
  """TensorFlow's scopes of a network to our layers.

  They are conv1, ..., or fc1, ... down; revealed, deconv3, ..., or dfc3, ...
  up; the norms are numbered through both networks.
  """
  scopes = sorted({key.rsplit("/", 1)[0] for key in arrays})
  norms = [scope for scope in scopes if scope.startswith("batch_norm")]
  layers = [scope for scope in scopes if scope not in norms]
  number = lambda scope: int((re.findall(r"\d+", scope) or [0])[-1])
  if "revealed" in layers:
    layers.remove("revealed")
    layers.sort(key=number, reverse=True)
    layers.insert(0, "revealed")
  else:
    layers.sort(key=number)
  norms.sort(key=number)
  names = {scope: f"layer_{k}" for k, scope in enumerate(layers)}
  return names | {scope: f"norm_{k}" for k, scope in enumerate(norms)}


def below(golden, prefix):
  """The arrays below it, or none."""
  n = len(prefix)
  return {k[n:]: v for k, v in golden.items() if k.startswith(prefix)}


def read(golden, prefix):
  """({part: parameters}, {part: collections}) of what there is."""
  params, collections = {}, {}
  for part in ("encoder", "decoder"):
    arrays = below(golden, f"{prefix}{part}/")
    if arrays:
      rename = renaming(arrays).__getitem__
      params[part], stats = layout.of_tensorflow(
        arrays, rename, transposed=part == "decoder"
      )
      collections[part] = {"batch_stats": stats}
  if (a := golden.get(f"{prefix}rsr/layer_rsr")) is not None:
    params["rsr"], collections["rsr"] = {"kernel": a}, {}
  return params, collections


def sizes(params):
  """Keywords of the factory, from the shapes of parameters."""
  hidden = tuple(
    params["encoder"][f"layer_{k}"]["bias"].shape[0] for k in range(3)
  )
  return {"hidden": hidden, "latent_dim": params["rsr"]["kernel"].shape[1]}


def given(golden, x):
  """Images as a user has them; rows as they are."""
  if x.ndim == 2:
    return x
  known = golden["input/X"]
  rows = [np.abs(known - one).sum((1, 2, 3)).argmin() for one in x]
  np.testing.assert_array_equal(known[rows], x)
  return golden["input/X_uint8_values"][rows] / 255


def batch_of(golden, k):
  return {"x": given(golden, golden[f"input/step{k}/batch"])}


@pytest.fixture
def keywords(golden):
  losses = dict.fromkeys(("loss", "loss_rsr"), golden.hp("loss").lower())
  params, _ = read(golden, "param/")
  return golden.keywords(**KEYWORDS) | losses | sizes(params)


@pytest.fixture
def start(golden, keywords, precision):
  """Makes (detector, recorded state) of a training."""

  def start(**changes):
    detector = jaxad.rsrae(**keywords | changes)
    params, collections = read(golden, "param/")
    state = layout.recorded_state(
      detector, batch_of(golden, 0), params, collections, precision
    )
    return detector, state

  return start


def moment(state, name, which="mu"):
  """Of one of the three Adams."""
  return optax.tree.get(state.opt_state[name], which)


def test_forward(golden, keywords, close):
  params, collections = read(golden, "param/")
  x = golden["input/step0/batch"]
  layers = (keywords["hidden"], keywords["activation"], 0.2)
  layers += (keywords["norm_epsilon"], keywords["pad3"])
  run = lambda name, net, x: jax.jit(
    lambda x: apply_eval(net, params[name], collections[name], x)
  )(x)
  want = golden.group("out/")
  y = run("encoder", Encoder(*layers), x)
  close(y, want["y"], FORWARD)
  close(y @ params["rsr"]["kernel"], want["y_rsr"], FORWARD)
  x_tilde = run("decoder", Decoder(x.shape[1:], *layers), want["z"])
  close(x_tilde, want["x_tilde"], FORWARD)


def test_the_whole_forward_pass(golden, start, close):
  """From images as they come, by what a score says of it."""
  detector, state = start(score_eps=1e-12)
  x = golden["input/step0/batch"]
  rows = lambda v: v.reshape(len(v), -1)
  a, want = state.params["rsr"]["kernel"], golden.group("out/")
  found = jax.jit(detector.score)(state, given(golden, x), None)
  length = lambda v: np.linalg.norm(rows(v), axis=1)
  parts = found.parts
  close(parts["reconstruction"], length(x - want["x_tilde"]), FORWARD)
  close(parts["rsr"], length(want["y"] - want["y_rsr"] @ a.T), FORWARD)
  if x.ndim == 4:
    # Of two vectors of length 1 the squared difference is 2 less twice their
    # product.
    close(found.map.sum((1, 2)), 2 + 2 * found.image, FORWARD)


def test_gradients_of_the_three_losses(golden, start, close):
  """At the first weights: where no rate moves them."""
  detector, state = start(learning_rate=0.0, learning_rate_rsr=0.0)
  state, metrics = jax.jit(detector.phases[0].step)(
    state, batch_of(golden, 0), None
  )
  for theirs, want in golden.group("loss/step0/").items():
    close(metrics[TERMS[theirs]], want, FORWARD)
  for theirs, ours in TERMS.items():
    want, _ = read(golden, f"grad_{theirs}/")
    got = layout.adam_gradient(moment(state, ours), golden.hp("b1"))
    assert got.keys() == want.keys()
    close(got, want, GRADIENT, together=True)


def check_state(state, golden, prefix, close):
  want, want_collections = read(golden, prefix)
  close(state.params, want, STEPS)
  for part, found in want_collections.items():
    if found.get("batch_stats"):
      close(state.collections[part], found, FORWARD)


@pytest.mark.parametrize(
  "training, prefix", [("alternating", ""), ("joint", "plus/")]
)
def test_three_steps(golden, start, close, training, prefix):
  golden.group(f"{prefix}loss/step0/")
  detector, state = start(training=training)
  step = jax.jit(detector.phases[0].step)
  for k in range(3):
    state, metrics = step(state, batch_of(golden, k), None)
    for theirs, want in golden.group(f"{prefix}loss/step{k}/").items():
      close(metrics[TERMS[theirs]], want, FORWARD if k == 0 else STEPS)
    if k in (0, 2):
      check_state(state, golden, f"{prefix}after{k + 1}/", close)


def test_moves_within_a_step(golden, start, close):
  """A after L_AE, which is a step of the plain one, and after L_RSR2."""
  want = golden.group("sub1/")
  after_ae, after_projection = (
    want[f"{name}/rsr/layer_rsr"] for name in ("afterAE", "afterProj")
  )
  batch = batch_of(golden, 0)
  plain, state = start(training="plain")
  found, _ = jax.jit(plain.phases[0].step)(state, batch, None)
  close(found.params["rsr"]["kernel"], after_ae, STEPS)
  detector, state = start()
  found, _ = jax.jit(detector.phases[0].step)(state, batch, None)
  mu, nu = (moment(found, "rsr2", m)["rsr"]["kernel"] for m in ("mu", "nu"))
  b1, b2, eps = (golden.hp(name) for name in ("b1", "b2", "adam_eps"))
  rate = golden.hp("learning_rate_rsr") * np.sqrt(1 - b2) / (1 - b1)
  moved = rate * np.asarray(mu) / (np.sqrt(nu) + eps)
  close(after_ae - moved, after_projection, STEPS)


def test_scores(golden, start, close):
  detector, state = start()
  state = state.replace(params=read(golden, "after3/")[0])
  x, want = golden["input/X"], golden.group("score/after3/")
  scores = jax.jit(detector.score)(state, given(golden, x), None)
  close(scores.image, want["anomaly"], STORED)
  close(-scores.image, want["cosine_similarity"], STORED)
  auroc = image_auroc(golden["input/labels_anomaly"] > 0, scores.image)
  assert auroc == pytest.approx(float(want["auc"]))


@pytest.mark.parametrize(
  "name",
  [
    "fashion 28x28x1",
    "caltech101/tinyimagenet 32x32x3",
    "20news 10000",
    "reuters 26147",
  ],
)
def test_sizes_of_the_code(name):
  """Trainable parameters at full size."""
  file = COMMITTED / "rsrae" / "golden_full.json"
  want = json.loads(file.read_text())["sizes"][name]
  shape = tuple(map(int, name.split()[1].split("x")))
  batch = {"x": jnp.zeros((1, *shape), jnp.float32)}
  detector = jaxad.rsrae()
  params = jax.eval_shape(detector.init, jax.random.key(0), batch).params
  names = ("encoder", "A", "decoder")
  for theirs, ours in zip(names, PARTS, strict=True):
    leaves = jax.tree.leaves(params[ours])
    assert sum(leaf.size for leaf in leaves) == want[theirs]
  assert list(params["rsr"]["kernel"].shape) == want["A_shape"]
