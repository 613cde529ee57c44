# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""OCGAN's released variant against a recording of the official step.

The official code ran in float32 and its rounding is in the recording, so
float64 is compared as closely as float32, no closer. Gradients by themselves,
and inference by variances of zero, are compared in float64 alone: where the
rounding of float32 takes an activation across zero, leaky ReLU changes a
gradient by more than any rounding.
Adam gives every weight a step of its learning rate, however small the gradient
and however uncertain thus its sign: weights also pass within a hundredth of the
way that the steps can lead.
"""

import functools

import jax
import jax.numpy as jnp
import layout
import numpy as np
import pytest
import scipy.stats
from recording import ADAM, IN_SINGLE, NORMS, Tolerance

import jaxad
from jaxad.methods.ocgan import novelty
from jaxad.networks.ocgan import make_networks
from jaxad.networks.variables import apply_eval, apply_train

FORWARD, GRADIENT, STEPS = IN_SINGLE
# In inference mode the initial networks divide by sqrt(0 + 1e-5), the running
# variance being 0, three times in a row in the decoder: the rounding of the
# recording grows by 316 each time.
UNSCALED = Tolerance(5e-3, 5e-3)
KEYWORDS = ADAM | NORMS
KEYWORDS |= {
  "variant": "variant",
  "lam": "lambda1",
  "latent_weight": "latent_weight",
  "mse_factor": "mse_factor",
  "noise_std": "noise_std",
  "dropout": "dropout",
  "mining_steps": "mining_steps",
  "mining_rate": "mining_rate",
  "slope": "leaky_slope",
}
PLAYERS = {
  "encoder": "En",
  "decoder": "De",
  "visual": "D",
  "latent": "D2",
  "classifier": "SD",
}
# Ours is the mean of the recorded values, one an example.
LOSSES = {
  "visual_generated": "D_gen",
  "visual_real": "D_real",
  "latent_code": "D2_fake",
  "latent_uniform": "D2_real",
  "c_generated": "SD_neg",
  "c_real": "SD_pos",
  "adversarial_visual": "G_adv_visual",
  "adversarial_latent": "G_adv_latent",
  "reconstruction": "G_mse",
}
LEAVES = ("weight", "bias")
MASKS = {
  "discriminator": "D_eps",
  "classifier": "SD_eps",
  "latent": "G_eps2",
  "code": "G_rec",
}


@pytest.fixture
def golden(load_golden):
  return load_golden("ocgan")


in_float64 = pytest.mark.parametrize("precision", ["float64"], indirect=True)


# The reference numbers the layers of a network, activations included.


def layers(arrays, leaf):
  """The numbers of the layers that have a leaf, in order."""
  found = [k.split(".")[1] for k in arrays if k.endswith(f".{leaf}")]
  return sorted(found, key=int)


def player_params(arrays, player, latent):
  """Parameters of a player; `latent` is the shape [C, h, w] of a code."""
  if player == "latent":
    names, kind, transpose = layers(arrays, "weight"), "dense", np.transpose
    # It flattens codes channels first, ours channels last.
    first = f"model.{names[0]}.weight"
    kernel = layout.channels_last(arrays[first].reshape(-1, *latent))
    arrays = arrays | {first: kernel.reshape(len(kernel), -1)}
  else:
    names, kind = layers(arrays, "weight"), "conv"
    transpose = layout.conv_kernel
    if player == "decoder":
      transpose = layout.conv_transpose_kernel
  params = {}
  for k, name in zip([*range(len(names) - 1), "out"], names, strict=True):
    weight, bias = (arrays.get(f"model.{name}.{leaf}") for leaf in LEAVES)
    params[f"{kind}_{k}"] = {"kernel": transpose(weight)}
    if bias is not None:
      params[f"{kind}_{k}"]["bias"] = bias
  return params | norms(arrays, player, scale="gamma", bias="beta")


def player_collections(arrays, player, latent):
  del latent
  stats = norms(arrays, player, mean="running_mean", var="running_var")
  return {"batch_stats": stats} if stats else {}


def norms(arrays, player, **leaves):
  first = 0 if player == "decoder" else 1
  some = next(iter(leaves.values()))
  return {
    f"norm_{k}": {
      ours: arrays[f"model.{name}.{theirs}"] for ours, theirs in leaves.items()
    }
    for k, name in enumerate(layers(arrays, some), first)
  }


@pytest.fixture
def read(golden):
  """Reads the players of a group of arrays, {player: what a reader finds}."""
  latent = golden["input/step0/eps"].shape[1:]

  def read(arrays, reader, players=tuple(PLAYERS)):
    return {
      name: reader(arrays.group(f"{PLAYERS[name]}."), name, latent)
      for name in players
    }

  return read


@pytest.fixture
def initial(golden, read):
  """(params, collections)."""
  arrays = golden.group("param/")
  return read(arrays, player_params), read(arrays, player_collections)


@pytest.fixture
def sizes(initial):
  """Keywords of the factory."""
  params = initial[0]
  last = lambda player, layer: params[player][layer]["kernel"].shape[-1]
  depth = lambda player: sum(k.startswith("conv") for k in params[player]) - 1
  return {
    "depth": depth("encoder"),
    "depth_d": depth("visual"),
    "latent_dim": last("encoder", "conv_out"),
    "width": last("encoder", "conv_0"),
    "width_d": last("visual", "conv_0"),
  }


@pytest.fixture
def networks(golden, sizes):
  return make_networks(
    **sizes,
    paper=golden.hp("variant") == "paper",
    channels=golden["input/step0/real_in"].shape[1],
    **golden.keywords(dropout="dropout", slope="leaky_slope", epsilon="bn_eps"),
  )


@pytest.fixture
def start(golden, initial, sizes, precision):
  """(detector, recorded state)."""
  detector = jaxad.ocgan(**golden.keywords(**KEYWORDS), **sizes)
  batch, _ = inputs(golden.group("input/step0/"))
  return detector, layout.recorded_state(detector, batch, *initial, precision)


def inputs(arrays, images=None):
  """(batch, draws) of one step."""
  images = arrays if images is None else images
  noise = images["real_in"] - images["real_out"]
  last = lambda name: layout.channels_last(arrays[name])
  # A shallow decoder has no dropout.
  keep = {
    ours: last(f"dropout_{theirs}") if f"dropout_{theirs}" in arrays else None
    for ours, theirs in (MASKS | {"mining": "mine"}).items()
  }
  if keep["mining"] is not None and keep["mining"].ndim == 4:  # a single step
    keep["mining"] = keep["mining"][None]
  draws = {
    "noise": layout.channels_last(noise),
    "eps": last("eps"),
    "uniform": last("real_latent"),
    "mu": last("mu"),
    "keep": keep,
  }
  return {"x": layout.unit_range(images["real_out"])}, draws


def check_losses(metrics, want, close, rel):
  for ours, theirs in LOSSES.items():
    close(metrics[ours], want[theirs].mean(), rel)


def forward(initial, networks, apply):
  """Returns a function from (player, *inputs) to its output."""
  params, collections = initial

  @functools.partial(jax.jit, static_argnums=0)
  def run(name, *args):
    return apply(networks[name], params[name], collections[name], *args)

  return run


def images(golden, name):
  return layout.channels_last(golden[f"input/step0/{name}"])


def test_forward_by_batch(golden, initial, networks, close):
  def apply(module, params, collections, *args):
    del collections
    return apply_train(module, params, *args)[0]

  run = forward(initial, networks, apply)
  got = {
    "latent": run("encoder", images(golden, "real_in")),
    "D": run("visual", images(golden, "real_out")),
    "SD": run("classifier", images(golden, "real_out")),
  }
  for name, want in golden.group("out/init_train/").items():
    close(layout.channels_first(got[name]), want, FORWARD)


@in_float64
def test_forward_in_inference(golden, initial, networks, close):
  run = forward(initial, networks, apply_eval)
  code = run("encoder", images(golden, "real_in"))
  reconstruction = run("decoder", code, None)
  want = golden.group("out/init_eval/")
  close(layout.channels_first(code), want["latent"], FORWARD)
  close(run("latent", code), want["D2"], FORWARD)
  close(layout.channels_first(reconstruction)[:1], want["rec0"], UNSCALED)
  for name, theirs in (("visual", "D"), ("classifier", "SD")):
    logit = run(name, reconstruction)
    close(layout.channels_first(logit), want[theirs], UNSCALED)


def check_params(got, want, close, way):
  """Each array to 1e-3, or to a hundredth of the way of Adam's steps."""
  way = 0.01 * way
  # What remains of the difference once the way is taken off.
  beyond = lambda g, w: w + np.sign(g - w) * np.maximum(np.abs(g - w) - way, 0)
  close(jax.tree.map(beyond, got, want), want, STEPS)


def test_three_steps(golden, read, start, close):
  detector, state = start
  step = jax.jit(detector.phases[0].step)
  for k in range(3):
    state, metrics = step(state, *inputs(golden.group(f"input/step{k}/")))
    want = golden.group(f"loss/step{k}/")
    check_losses(metrics, want, close, FORWARD if k == 0 else STEPS)
    if k in (0, 2):
      want = golden.group(f"after{k + 1}/")
      way = (k + 1) * golden.hp("learning_rate")
      check_params(state.params, read(want, player_params), close, way)
      close(state.collections, read(want, player_collections), STEPS)


@in_float64
def test_gradients(golden, read, start, close):
  detector, state = start
  batch, draws = inputs(golden.group("input/step0/"))
  state, _ = jax.jit(detector.phases[0].step)(state, batch, draws)
  want = read(golden.group("grad/"), player_params)
  for player in PLAYERS:
    got = layout.first_gradient(state.opt_state, player, golden.hp("b1"))
    # Recorded before the optimiser divides by the batch.
    summed = jax.tree.map(lambda g: g * len(batch["x"]), got)
    close(summed, want[player], GRADIENT)


@in_float64
def test_mining_step(golden, read, start, close):
  recorded = golden.group("mine/")
  detector, state = start
  batch, draws = inputs(
    recorded.group("input/step0/"), golden.group("input/step0/")
  )
  state, metrics = jax.jit(detector.phases[1].step)(state, batch, draws)
  check_losses(metrics, recorded.group("loss/step0/"), close, FORWARD)
  want = recorded.group("after1/")
  moved = ("encoder", "decoder", "classifier")
  only = lambda tree: {name: tree[name] for name in moved}
  want_params = read(want, player_params, moved)
  way = golden.hp("learning_rate")
  check_params(only(state.params), want_params, close, way)
  want_collections = read(want, player_collections, moved)
  close(only(state.collections), want_collections, STEPS)


def test_scores(golden, read, start, networks, close):
  _, state = start
  arrays = golden.group("after3/")
  state = state.replace(
    params=read(arrays, player_params),
    collections=read(arrays, player_collections),
  )
  x, noisy = (
    layout.channels_last(golden[f"input/test/real_{name}"])
    for name in ("out", "in")
  )
  scores = jax.jit(functools.partial(novelty, networks))(state, x, noisy)
  want = golden.group("score/after3/")
  close(-scores.image, want["neg_mse"], STEPS)
  for ours, theirs in {
    "visual_reconstruction": "D_of_rec_noisy",
    "visual_image": "D_of_noisy",
    "visual_clean_reconstruction": "D_of_rec_clean",
  }.items():
    close(-scores.parts[ours], want[theirs], STEPS)
  assert jnp.isfinite(scores.map).all()


def test_draws(golden, start):
  """Latents fill their range evenly; noise has its deviation."""
  low, high = golden.hp("prior_low"), golden.hp("prior_high")
  steps = [golden.group(f"input/step{k}/") for k in range(3)]
  codes = np.ravel(
    [arrays[n] for arrays in steps for n in ("eps", "mu", "real_latent")]
  )
  even = scipy.stats.uniform(low, high - low)
  assert scipy.stats.kstest(codes, even.cdf).pvalue > 1e-4
  batch, draws = inputs(steps[0])
  drawn = start[0].phases[0].draw(jax.random.key(0), batch)
  for noise in (draws["noise"], drawn["noise"]):
    np.testing.assert_allclose(noise.std(), golden.hp("noise_std"), rtol=0.03)
