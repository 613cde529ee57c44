# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""ALOCC against a recording of the official graph in TensorFlow.

The official code tests by the statistics of the batch: its scores are those of
`official`. It ran in float32 and its rounding is in the recording, so float64
is compared as closely as float32, no closer.
"""

import functools

import jax
import layout
import numpy as np
import pytest
from recording import IN_SINGLE

import jaxad
from jaxad.methods.alocc import (
  Discriminator,
  Refiner,
  discriminator_loss,
  refiner_loss,
)
from jaxad.networks.variables import apply_train

FORWARD, GRADIENT, STEPS = IN_SINGLE
KEYWORDS = {
  "refine": "refine",
  "r_steps": "r_steps",
  "lam": "r_alpha",
  "learning_rate": "learning_rate",
  "decay": "rms_decay",
  "eps": "rms_eps",
  "initial_scale": "rms_initial",
  "slope": "leaky_slope",
}
# TensorFlow's fused norm takes no smaller epsilon.
LEAST_EPSILON = 1.001e-5
# {layer: (theirs, the norm behind it or None)}; those of R that go up.
REFINER = {
  "0": ("g_encoder_h0_conv", "g_bn4"),
  "1": ("g_encoder_h1_conv", "g_bn5"),
  "2": ("g_encoder_h2_conv", "g_bn6"),
  "3": ("g_decoder_h1", "g_bn2"),
  "4": ("g_decoder_h0", "g_bn3"),
  "5": ("g_decoder_h00", None),
}
DISCRIMINATOR = {
  "0": ("d_h0_conv", None),
  "1": ("d_h1_conv", "d_bn1"),
  "2": ("d_h2_conv", "d_bn2"),
  "3": ("d_h3_conv", "d_bn3"),
}
LAYERS = {
  "refiner": ("generator", REFINER),
  "discriminator": ("discriminator", DISCRIMINATOR),
}
# {step: [(player, where its parameters are recorded)]}
AFTER = {
  0: [("discriminator", "afterD1/"), *((n, "after1/") for n in LAYERS)],
  2: [(n, "after3/") for n in LAYERS],
}


@pytest.fixture
def golden(load_golden):
  return load_golden("alocc")


def params_of(arrays, player):
  """Parameters of a player in our layout."""
  scope, layers = LAYERS[player]
  params = {}
  for k, (theirs, norm) in layers.items():
    kernel = arrays[f"{scope}/{theirs}/w"]
    if "decoder" in theirs:  # (h, w, out, in)
      kernel = kernel.transpose(0, 1, 3, 2)
    bias = arrays[f"{scope}/{theirs}/biases"]
    params[f"conv_{k}"] = {"kernel": kernel, "bias": bias}
    if norm is not None:
      gamma, beta = (arrays[f"{scope}/{norm}/{n}"] for n in ("gamma", "beta"))
      params[f"norm_{k}"] = {"scale": gamma, "bias": beta}
  if player == "discriminator":
    linear = f"{scope}/d_h3_lin"
    kernel, bias = arrays[f"{linear}/Matrix"], arrays[f"{linear}/bias"]
    params["dense_out"] = {"kernel": kernel, "bias": bias}
  return params


@pytest.fixture
def initial(golden):
  arrays = golden.group("param/")
  return {player: params_of(arrays, player) for player in LAYERS}


@pytest.fixture
def sizes(initial):
  """Keywords of the factory."""
  out = lambda player, layer: initial[player][layer]["kernel"].shape[-1]
  return {
    "width": out("refiner", "conv_4"),
    "encoder_width": out("refiner", "conv_0") // 2,
    "width_d": out("discriminator", "conv_0"),
  }


@pytest.fixture
def epsilon(golden, initial, sizes):
  """Of the norms: as it is stated, or as TensorFlow took it; R tells which."""
  stated, slope = golden.hp("bn_eps"), golden.hp("leaky_slope")
  taken = max(stated, LEAST_EPSILON)
  if stated == taken or "out/R" not in golden:
    return taken

  def miss(epsilon):
    refiner = Refiner(sizes["width"], sizes["encoder_width"], slope, epsilon)
    noisy = golden["input/step0/x_noisy"]
    refined, _ = apply_train(refiner, initial["refiner"], noisy)
    return np.abs(refined - golden["out/R"]).max()

  return min(stated, taken, key=miss)


@pytest.fixture
def run(golden, sizes, epsilon):
  """`run` of the losses."""
  layers = golden.hp("leaky_slope"), epsilon
  networks = {
    "refiner": Refiner(sizes["width"], sizes["encoder_width"], *layers),
    "discriminator": Discriminator(sizes["width_d"], *layers),
  }
  return lambda name, params, x: apply_train(networks[name], params[name], x)


@pytest.fixture
def pixels(golden):
  """{mean, std} of the range that the images are in: [0, 1] or [-1, 1]."""
  negative = any(
    (v < 0).any() for k, v in golden.items() if k.startswith("input/")
  )
  return (
    dict.fromkeys(("mean", "std"), 0.5) if negative else {"mean": 0, "std": 1}
  )


def inputs(golden, k, pixels):
  """(batch, draws) of a step."""
  x, noisy = (golden[f"input/step{k}/{n}"] for n in ("x", "x_noisy"))
  return {"x": x * pixels["std"] + pixels["mean"]}, {"noise": noisy - x}


@pytest.fixture
def start(golden, initial, sizes, epsilon, pixels, precision):
  """(detector, recorded state)."""
  recorded = golden.keywords(**KEYWORDS) | {"norm_epsilon": epsilon}
  detector = jaxad.alocc(**recorded | sizes | pixels)
  batch, _ = inputs(golden, 0, pixels)
  # RMSProp does not start at zero, and running statistics are not recorded.
  fresh = detector.init(jax.random.key(0), batch)
  cast = lambda v: v.astype(precision) if v.ndim else v
  opt_state, collections = (
    jax.tree.map(cast, tree) for tree in (fresh.opt_state, fresh.collections)
  )
  return detector, fresh.replace(
    params=initial, opt_state=opt_state, collections=collections
  )


def test_forward(golden, initial, run, close):
  x, noisy = (golden[f"input/step0/{n}"] for n in ("x", "x_noisy"))

  @jax.jit
  def forward(x, noisy):
    refined, _ = run("refiner", initial, noisy)
    judge = lambda x: run("discriminator", initial, x)[0][:, None]
    return refined, judge(x), judge(refined)

  refined, of_x, of_refined = forward(x, noisy)
  got = {
    "R": refined,
    "D_logit_x": of_x,
    "D_x": jax.nn.sigmoid(of_x),
    "D_logit_Rz": of_refined,
    "D_Rz": jax.nn.sigmoid(of_refined),
  }
  for name, want in golden.group("out/").items():
    close(got[name], want, FORWARD)


def test_gradients(golden, initial, run, close):
  x, noisy = (golden[f"input/step0/{n}"] for n in ("x", "x_noisy"))
  refine, lam = golden.hp("refine"), golden.hp("r_alpha")
  losses = {
    "discriminator": discriminator_loss,
    "refiner": functools.partial(refiner_loss, refine=refine, lam=lam),
  }

  @jax.jit
  def gradients(params):
    of = lambda name: jax.grad(
      lambda p: losses[name](run, params | {name: p}, x, noisy)[0]
    )
    return {name: of(name)(params[name]) for name in losses}

  got, arrays = gradients(initial), golden.group("grad/")
  for name in losses:
    check_but_biases(got[name], params_of(arrays, name), close, GRADIENT)


def check_but_biases(got, want, close, tolerance):
  """Compares players.

  The biases of convolutions that a norm follows have no gradient but the
  rounding of all others.
  """
  got, want = (jax.tree.map(np.asarray, tree) for tree in (got, want))
  largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(want))
  reach = tolerance.float32 * largest
  biases, want_biases = map(layout.pop_biases_before_norms, (got, want))
  for layer, bias in biases.items():
    np.testing.assert_allclose(bias, want_biases[layer], rtol=0, atol=reach)
  close(got, want, tolerance)


def test_three_steps(golden, start, pixels, run, close):
  """Of R's steps, the losses before the first and before the last one."""
  detector, state = start
  step = jax.jit(detector.phases[0].step)
  refine, lam, last = (golden.hp(n) for n in ("refine", "r_alpha", "r_steps"))

  @jax.jit
  def r_terms(params, x, noisy):
    return refiner_loss(run, params, x, noisy, refine, lam)[1][0]

  for k in range(3):
    x, noisy = (golden[f"input/step{k}/{n}"] for n in ("x", "x_noisy"))
    new, metrics = step(state, *inputs(golden, k, pixels))
    # R's first step is against the D that has moved.
    moved = state.params | {"discriminator": new.params["discriminator"]}
    terms = {0: r_terms(moved, x, noisy), last - 1: metrics}
    got = {"d_real": "d_real", "d_fake": "d_refined", "d_total": "d_loss"}
    got = {theirs: metrics[ours] for theirs, ours in got.items()}
    for j, of_r in terms.items():
      got[f"g_total_{j}"] = of_r["loss"]
      got[f"g_refine_{j}"] = of_r["refinement"]
      got[f"g_adv_{j}"] = of_r["adversarial"]
    want = golden.group(f"loss/step{k}/")
    for name, value in got.items():
      close(value, want[name], FORWARD if k == 0 else STEPS)
    state = new
    for name, group in AFTER.get(k, ()):
      want = params_of(golden.group(group), name)
      check_but_biases(state.params[name], want, close, STEPS)


def test_scores(golden, start, pixels, run, close):
  detector, state = start
  arrays = golden.group("after3/")
  params = {player: params_of(arrays, player) for player in LAYERS}
  x = golden["input/test/x"]
  batch = x * pixels["std"] + pixels["mean"]
  official = jax.jit(detector.official.score)
  scores, _ = official(state.replace(params=params), batch, None)
  plain, refined = -scores.parts["plain"], -scores.parts["refined"]
  want = golden.group("score/after3/")
  got = {
    "OCC1_logit": plain,
    "OCC1": jax.nn.sigmoid(plain),
    "OCC2_logit": refined,
    "OCC2": jax.nn.sigmoid(refined),
  }
  for name, value in got.items():
    close(value[:, None], want[name], STEPS)
  squares = (x - want["R"]) ** 2
  close(scores.map, squares.mean(-1), STEPS)
  close(scores.parts["error"], squares.mean((1, 2, 3)), STEPS)
