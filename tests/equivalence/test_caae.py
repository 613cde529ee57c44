# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Constrained AAE against a recording of the official networks and steps.

They ran in float32 and their rounding is in the recording, so float64 is
compared as closely as float32, no closer.
"""

import re

import chex
import jax
import layout
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from recording import ADAM, IN_SINGLE, NORMS, Tolerance

import jaxad
from jaxad.networks.mlp import MLP
from jaxad.networks.residual import Decoder, Encoder
from jaxad.networks.variables import apply_eval

FORWARD, GRADIENT, STEPS = IN_SINGLE
# What passed norms of a batch whose variances are below their epsilon is no
# better known.
BY_BATCH, ROUNDED = (
  Tolerance(1e-4, 1e-4),
  ("rec_train", "D_fake", "z_rec_consistency"),
)
KEYWORDS = ADAM | NORMS
KEYWORDS |= {
  name: name
  for name in ("critic_steps", "gp_weight", "lambda_z", "rec", "rec_eps")
}
KEYWORDS |= {"slope": "leaky_slope"}
SCOPES = {
  "encoder": "Encoder/",
  "decoder": "Decoder/",
  "critic": "Discriminator/",
}
TERMS = {
  "ae": "reconstruction",
  "zl2": "consistency",
  "d_wass": "wasserstein",
  "d_gp": "gradient_penalty",
  "d_total": "critic",
  "gen": "prior",
}
LAYERS = {
  "e_conv1": "input",
  "e_bn1": "norm",
  "e_dense_mean": "code",
  "g_dense_z": "input",
  "g_conv1": "conv",
  "g_conv2": "output",
}
LEAVES = {"W": "kernel", "b": "bias", "gamma": "scale", "beta": "bias"}
STATS = {"moving_mean": "mean", "moving_variance": "var"}


@pytest.fixture
def golden(load_golden):
  return load_golden("caae")


def place(scope, last):
  """["block_0", "conv_1"] of "res1/conv1"; the second output has none."""
  if block := re.fullmatch(r"g?res(\d+)/(?:de)?(conv|bn)(\d)", scope):
    kind = {"bn": "norm"}.get(block[2], block[2])
    return [f"block_{int(block[1]) - 1}", f"{kind}_{block[3]}"]
  if dense := re.fullmatch(r"dc/h(\d+)/lin", scope):
    return ["dense_out" if int(dense[1]) == last else f"dense_{dense[1]}"]
  return [LAYERS[scope]] if scope in LAYERS else []


def tree(arrays, player, leaves):
  """{layer: {leaf: ...}} of a player, of these kinds of leaves."""
  prefix, found = SCOPES[player], {}
  scopes = {key.removeprefix(prefix) for key in arrays if prefix in key}
  last = max(map(int, re.findall(r"dc/h(\d+)", " ".join(scopes))), default=0)
  for key in scopes:
    scope, leaf = key.rsplit("/", 1)
    value, path = arrays[prefix + key], place(scope, last)
    if leaf == "W_deconv2d":
      value = value.swapaxes(2, 3)  # [h, w, out, in]
    leaf = re.sub("_(de)?conv2d", "", leaf)
    if leaf not in leaves or not path:
      continue
    node = found
    for layer in path:
      node = node.setdefault(layer, {})
    node[leaves[leaf]] = value
  return found


def params_of(arrays, *players):
  return {name: tree(arrays, name, LEAVES) for name in players or SCOPES}


def collections_of(arrays):
  stats = {name: tree(arrays, name, STATS) for name in SCOPES}
  return {k: {"batch_stats": v} if v else {} for k, v in stats.items()}


@pytest.fixture
def initial(golden):
  arrays = golden.group("param/")
  return params_of(arrays), collections_of(arrays)


@pytest.fixture
def recorded(golden, initial):
  """Keywords of the factory."""
  encoder, critic = (initial[0][name] for name in ("encoder", "critic"))
  out = lambda layer: layer["kernel"].shape[-1]
  found = golden.keywords(**KEYWORDS) | {
    "latent_dim": out(encoder["code"]),
    "width": out(encoder["input"]),
    "blocks": sum(name.startswith("block") for name in encoder),
    "critic_widths": tuple(
      out(critic[f"dense_{k}"]) for k in range(len(critic) - 1)
    ),
    "warm_up": 0.0,
  }
  for name in ("consistency", "fresh_prior"):
    if f"hp/{name}" in golden:
      found[name] = golden.hp(name)
  return found


@pytest.fixture
def networks(golden, recorded):
  layers = [recorded[name] for name in ("width", "blocks", "slope")]
  layers.append(recorded["norm_epsilon"])
  shape = golden["input/step0/x"].shape[1:]
  return {
    "encoder": Encoder(recorded["latent_dim"], *layers),
    "decoder": Decoder(shape, *layers),
    "critic": MLP(recorded["critic_widths"], 1, recorded["slope"]),
  }


def images(golden, name):
  """In [0, 1], if theirs were in [-1, 1]."""
  return (golden[f"input/{name}/x"] + 1) / 2


@pytest.fixture
def start(golden, recorded, initial, precision):
  """A function from keywords to (detector, the recorded state)."""

  def make(**keywords):
    detector = jaxad.caae(**recorded | keywords)
    batch = {"x": images(golden, "step0")}
    state = layout.recorded_state(detector, batch, *initial, precision)
    return detector, state

  return make


def draws_of(golden, k, detector):
  """Those recorded, which are as the detector's own."""
  eta, z = golden[f"input/step{k}/eta"][..., 0], golden[f"input/step{k}/z_real"]
  draws = {"z": z if z.ndim == 3 else z[None], "alpha": eta}
  batch = {"x": images(golden, f"step{k}")}
  own = jax.eval_shape(detector.phases[0].draw, jax.random.key(0), batch)
  chex.assert_trees_all_equal_shapes(draws, own)
  return draws


def test_forward(golden, initial, networks, close):
  x, z_p = golden["input/step0/x"], golden["input/step0/z_real"]
  z_p = z_p[0] if z_p.ndim == 3 else z_p

  @jax.jit
  def run(x, z_p):
    by = lambda apply, name, v: apply(
      networks[name], *(part[name] for part in initial), v
    )
    z, z_eval = by(layout.by_batch, "encoder", x), by(apply_eval, "encoder", x)
    x_hat = by(layout.by_batch, "decoder", z)
    return {
      "z_train": z,
      "rec_train": x_hat,
      "D_fake": by(layout.by_batch, "critic", z)[0],
      "D_real": by(layout.by_batch, "critic", z_p)[0],
      "z_eval": z_eval,
      "rec_eval": by(apply_eval, "decoder", z_eval),
      "z_rec_consistency": by(apply_eval, "encoder", x_hat),
    }

  got = run(x, z_p)
  for name, want in golden.group("out/").items():
    close(got[name], want, BY_BATCH if name in ROUNDED else FORWARD)


def test_gradients(golden, start, close):
  """All at the initial parameters, where Adams of rate 0 stay."""
  draws = draws_of(golden, 0, start()[0])
  draws = jax.tree.map(lambda v: v[:1], draws)
  detector, state = start(learning_rate=0.0, critic_steps=1)
  step = jax.jit(detector.phases[0].step)
  state, metrics = step(state, {"x": images(golden, "step0")}, draws)
  games = {
    "autoencoder": ("grad_ae/", ("encoder", "decoder")),
    "critic": ("grad_d/", ("critic",)),
    "prior": ("grad_g/", ("encoder",)),
  }
  for game, (group, players) in games.items():
    got, opt_state = {}, state.opt_state[game]
    for name in players:
      got[name] = layout.first_gradient(opt_state, name, golden.hp("b1"))
    want = flatten_dict(params_of(golden.group(group), *players))
    largest = max(np.abs(w).max() for w in want.values())
    for path, w in want.items():
      rel, rounding = GRADIENT.float32, np.finfo(np.float32).eps
      if before_a_norm(path, want):
        # Zero but for rounding, or what comes through running statistics.
        rel, rounding = 0.02, 1e-6
      atol = max(rel * np.abs(w).max(), rounding * largest)
      g = flatten_dict(got)[path]
      np.testing.assert_allclose(g, w, rtol=0, atol=atol, err_msg=str(path))
  # Of the critic's losses, those of the first move.
  want = golden.group("loss/step0/")
  for theirs in ("ae", "zl2"):
    close(metrics[TERMS[theirs]], want[theirs], FORWARD)


def before_a_norm(path, params):
  """Whether it is a bias that a norm takes off again."""
  *above, layer, leaf = path
  norm = layout.norm_behind(layer)
  return leaf == "bias" and norm != layer and (*above, norm, leaf) in params


def test_three_steps(golden, start, close):
  detector, state = start()
  # As XLA compiles for users: in the third step a gradient turns on how sums
  # are rounded, and the flags by which tests compile fast round them otherwise.
  step = jax.jit(
    detector.phases[0].step,
    compiler_options={"xla_backend_optimization_level": 3},
  )
  # What the losses of the critic and L_G are means and differences of.
  scores = np.abs([golden["out/D_fake"], golden["out/D_real"]]).max()
  for k in range(3):
    batch = {"x": images(golden, f"step{k}")}
    state, metrics = step(state, batch, draws_of(golden, k, detector))
    for theirs, want in golden.group(f"loss/step{k}/").items():
      got, want = metrics[TERMS[theirs]], want.mean()
      if theirs in ("d_wass", "gen"):
        atol = STEPS.float32 * scores
        np.testing.assert_allclose(got, want, rtol=0, atol=atol)
      else:
        first = k == 0 and theirs in ("ae", "zl2")
        close(got, want, FORWARD if first else STEPS)
    if f"after{k + 1}" in {key.split("/")[0] for key in golden}:
      arrays = golden.group(f"after{k + 1}/")
      check_params(golden, state.params, params_of(arrays), k + 1)
      check_stats(
        golden, close, state.collections, collections_of(arrays), k + 1
      )


def check_params(golden, got, want, k):
  """After k steps, within a tenth of Adam's rate.

  Adam goes by the sign of a gradient that is zero but for rounding: of biases
  before norms, and of those of the critic, in which the prior's codes and the
  images' cancel out.
  """
  got, want = flatten_dict(got), flatten_dict(want)
  assert got.keys() == want.keys()
  rate = golden.hp("learning_rate")
  for path, w in want.items():
    free = path[0] == "critic" and path[-1] == "bias"
    free |= before_a_norm(path, want)
    atol = 2 * k * rate if free else rate / 10
    np.testing.assert_allclose(
      got[path], w, rtol=0, atol=atol, err_msg=str(path)
    )


def check_stats(golden, close, got, want, k):
  """The means of what those biases add to go with them."""
  got, want = flatten_dict(got), flatten_dict(want)
  assert got.keys() == want.keys()
  for path, w in want.items():
    if path[-1] == "mean" and path[-2] != "norm":
      reach = 2 * k * golden.hp("learning_rate")
      reach += STEPS.float32 * np.abs(w).max()
      np.testing.assert_allclose(got[path], w, rtol=0, atol=reach)
    else:
      close(got[path], w, STEPS)


def test_scores(golden, start, networks, close):
  detector, state = start()
  arrays = golden.group("after3/")
  state = state.replace(
    params=params_of(arrays), collections=collections_of(arrays)
  )
  want = golden.group("score/after3/")
  scores = jax.jit(detector.score)(state, images(golden, "test"), None)
  close(scores.image, want["l2_norm"], FORWARD)
  close(scores.map, want["residual_abs"].mean(-1), FORWARD)
  summed = np.abs(want["residual_abs"]).sum((1, 2, 3))
  close(scores.parts["l1"], summed, FORWARD)

  @jax.jit
  def run(x):
    by = lambda name, v: apply_eval(
      networks[name], state.params[name], state.collections[name], v
    )
    z = by("encoder", x)
    return z, by("decoder", z)

  z, rec = run(golden["input/test/x"])
  close(z, want["z"], FORWARD)
  # So early, a reconstruction is little more than its rounding.
  atol = max(2e-6, FORWARD.float32 * np.abs(want["rec"]).max())
  np.testing.assert_allclose(rec, want["rec"], rtol=0, atol=atol)


def test_parameter_counts():
  """The official networks, for 256 pixels.

  golden_full.json has 73 more, of the second output of the decoder.
  """
  detector = jaxad.caae()
  x = {"x": np.zeros((1, 256, 256, 1), np.float32)}
  state = jax.eval_shape(detector.init, jax.random.key(0), x)
  count = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
  assert {k: count(v) for k, v in state.params.items()} == {
    "encoder": 9371728,
    "decoder": 9142450 - 73,
    "critic": 106601,
  }
