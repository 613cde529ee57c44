# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""ADAE against a recording of a transcription of the paper in PyTorch."""

import functools

import jax
import layout
import pytest
from layout import CONV, CONV_TRANSPOSE, NORM
from recording import ADAM, FORWARD, GRADIENT, NORMS, STEPS, STORED

import jaxad
from jaxad.evaluation.metrics import image_auroc
from jaxad.methods.adae import AutoEncoder
from jaxad.networks.variables import apply_eval

KEYWORDS = ADAM | NORMS
KEYWORDS |= {
  "lambda_d": "lambda_d",
  "lambda_g": "lambda_g",
  "slope": "leaky_slope",
}
PLAYERS = {"generator": "G", "discriminator": "D"}
TERMS = {
  "d_real": "d_real",
  "d_fake": "d_generated",
  "d": "d_loss",
  "g_con": "contextual",
  "g_adv": "adversarial",
  "g": "loss",
}


@pytest.fixture
def golden(load_golden):
  return load_golden("adae")


def names_of(arrays, player):
  """{ours: (kind, theirs)}; theirs are numbers, activations included."""
  of = lambda part: sorted(
    {
      int(key.split(".")[2])
      for key in arrays
      if key.startswith(f"{player}.{part}.")
    }
  )
  rank = lambda theirs: arrays[f"{theirs}.weight"].ndim
  names = {}
  for part, way, kind, last in (
    ("encoder", "down", CONV, "code"),
    ("decoder", "up", CONV_TRANSPOSE, "conv_out"),
  ):
    layers = [f"{player}.{part}.{k}" for k in of(part)]
    convs = [theirs for theirs in layers if rank(theirs) == 4]
    norms = [theirs for theirs in layers if rank(theirs) == 1]
    names[last] = CONV, convs.pop()
    names |= {f"{way}_conv_{k}": (kind, n) for k, n in enumerate(convs)}
    names |= {f"{way}_norm_{k}": (NORM, n) for k, n in enumerate(norms)}
  return names


@pytest.fixture
def names(golden):
  arrays = golden.group("param/")
  return {ours: names_of(arrays, theirs) for ours, theirs in PLAYERS.items()}


@pytest.fixture
def read(names):
  """Reads (params, collections) of both players."""
  of = lambda reader, arrays: {n: reader(arrays, names[n]) for n in names}

  def read(arrays):
    params, stats = (
      of(reader, arrays) for reader in (layout.params_of, layout.stats_of)
    )
    return params, {n: {"batch_stats": found} for n, found in stats.items()}

  return read


@pytest.fixture
def initial(golden, read):
  return read(golden.group("param/"))


@pytest.fixture
def sizes(initial):
  """Keywords of the factory."""
  params = initial[0]["generator"]
  width, latent_dim = (
    params[layer]["kernel"].shape[-1] for layer in ("down_conv_0", "code")
  )
  return {"width": width, "latent_dim": latent_dim}


@pytest.fixture
def start(golden, initial, sizes, precision):
  """(detector, recorded state)."""
  detector = jaxad.adae(**golden.keywords(**KEYWORDS), **sizes)
  batch = {"x": layout.unit_range(golden["input/x1"])}
  return detector, layout.recorded_state(detector, batch, *initial, precision)


@pytest.mark.parametrize(
  "mode, apply", [("train", layout.by_batch), ("eval", apply_eval)]
)
def test_forward(golden, initial, sizes, close, mode, apply):
  params, collections = initial
  layers = golden.hp("leaky_slope"), golden.hp("bn_eps")
  network = AutoEncoder(**sizes, slope=layers[0], epsilon=layers[1])

  @jax.jit
  def forward(x):
    run = lambda name, x: apply(network, params[name], collections[name], x)
    g_x, z = run("generator", x)
    d_x, d_g_x = (run("discriminator", v)[0] for v in (x, g_x))
    return {"G_x": g_x, "D_x": d_x, "D_G_x": d_g_x}, z

  images, z = forward(layout.channels_last(golden["input/x1"]))
  got = {name: layout.channels_first(v) for name, v in images.items()}
  got["z_G"] = z[..., None, None]
  for name, want in golden.group(f"out/{mode}/").items():
    close(got[name], want, FORWARD)


def test_three_steps(golden, names, read, start, close, precision):
  """With the gradients of the first: G's is against the D that has moved.

  Parameters are compared in float64 alone: where the rounding of float32 turns
  the sign of a small gradient, Adam steps the other way.
  """
  detector, state = start
  step = jax.jit(detector.phases[0].step)
  for k in (1, 2, 3):
    batch = {"x": layout.unit_range(golden[f"input/x{k}"])}
    state, metrics = step(state, batch, None)
    for theirs, want in golden.group(f"loss/step{k}/").items():
      close(metrics[TERMS[theirs]], want, FORWARD if k == 1 else STEPS)
    if k == 1:
      of = functools.partial(layout.first_gradient, state.opt_state)
      got = {name: of(name, golden.hp("b1")) for name in PLAYERS}
      arrays = golden.group("grad/")
      for name in PLAYERS:
        want = layout.params_of(arrays, names[name])
        close(got[name], want, GRADIENT)
    if k in (1, 3):
      params, collections = read(golden.group(f"after{k}/"))
      if precision == "float64":
        close(state.params, params, STEPS)
      close(state.collections, collections, STEPS)


def test_scores(golden, read, start, close):
  detector, state = start
  params, collections = read(golden.group("after3/"))
  state = state.replace(params=params, collections=collections)
  x, want = layout.unit_range(golden["score/x"]), golden.group("score/")
  scores = jax.jit(detector.score)(state, x, None)
  close(scores.image, want["l2"], STORED)
  close(scores.map.mean((1, 2)), want["mse"], STORED)
  close(scores.map[:, None], want["map"], STORED)
  auroc = image_auroc(want["label"], scores.image)
  assert auroc == pytest.approx(float(want["auroc"]))
