# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""f-AnoGAN against a recording of the official networks and steps.

They ran in float32, and the encoder's from stored parameters, so float64 is
compared as closely as float32, no closer. Gradients by themselves are compared
in float64 alone: where the rounding of float32 takes an activation across zero,
ReLU changes a gradient by more than any rounding. Where Adam's b1 is 0, as
officially, its first step is the learning rate times the sign of a gradient,
however small and uncertain this is: some weights pass anywhere within the reach
of the steps.
"""

import functools
import re

import chex
import jax
import jax.numpy as jnp
import layout
import numpy as np
import optax
import pytest
from recording import ADAM, IN_SINGLE, NORMS, STORED

import jaxad
from jaxad.layers.batch_norm import BatchNorm
from jaxad.methods.fanogan import CONSTRAINTS
from jaxad.networks.variables import apply_eval
from jaxad.networks.wgan import Encoder, Generator, LayerNorm

FORWARD, GRADIENT, STEPS = IN_SINGLE
KEYWORDS = ADAM | NORMS
KEYWORDS |= {
  "gp_weight": "gp_weight",
  "learning_rate_enc": "learning_rate_enc",
  "rms_decay": "rms_decay",
  "rms_eps": "rms_eps",
  "rms_initial": "rms_initial",
  "ln_epsilon": "ln_eps",
  "ln_stop_gradient": "ln_stop_gradient",
}
# The official code has names of its own for what it calls None, "tanh_fc" ...
LATENT = {
  "None": "linear",
  "none": "linear",
  "tanh_fc": "tanh",
  "3s_tanh": "3tanh",
  "3s_tanh_fc": "3tanh",
  "05s_tanh": "0.5tanh",
  "05s_tanh_fc": "0.5tanh",
  "hard_clip": "clip",
  "3s_hard_clip": "3clip",
  "05s_hard_clip": "0.5clip",
}
PLAYERS = {
  "generator": "Generator",
  "discriminator": "Discriminator",
  "encoder": "Encoder",
}
NAMES = {
  "Input": "input",
  "Output": "output",
  "OutputN": "norm_out",
  "Shortcut": "shortcut",
  "Filters": "kernel",
  "W": "kernel",
  "Biases": "bias",
  "b": "bias",
  "gamma": "scale",
  "beta": "bias",
  "offset": "bias",
  "moving_mean": "mean",
  "moving_variance": "var",
}
CRITIC = {
  "disc_cost": "loss",
  "wasserstein": "wasserstein",
  "gradient_penalty": "gradient_penalty",
  "slopes": "slope",
}
ENCODER = {"loss": "loss", "loss_img": "image", "loss_fts": "feature"}


@pytest.fixture
def golden(load_golden):
  return load_golden("fanogan")


@pytest.fixture
def images(golden):
  """A function from [B, C S S], flattened or not, to [B, S, S, C]."""
  shape = golden["input/loop0/critic0/x_uint8"].shape[1:]
  return lambda x: layout.channels_last(x.reshape(-1, *shape))


@pytest.fixture
def pixels(golden, images):
  """A function from a group of inputs to its images in [0, 1]."""
  return lambda name: images(golden[f"input/{name}/x_uint8"]) / 255


def features(arrays, axis=-1):
  """An axis of 4x4 pixels, flattened channels first, to channels last."""
  arrays = np.moveaxis(arrays, axis, -1)
  split = arrays.reshape(*arrays.shape[:-1], -1, 4, 4)
  arrays = layout.channels_last(split).reshape(arrays.shape)
  return np.moveaxis(arrays, -1, axis)


def place(key):
  """["block_1", "norm_1", "scale"] of ".../Generator.Res1.BN1/gamma"."""
  *_, layer, leaf = key.split("/")
  _, *names = (leaf if "." in leaf else f"{layer}.{leaf}").split(".")
  for theirs, ours in (("Res", "block_"), ("BN", "norm_"), ("Conv", "conv_")):
    names = [re.sub(rf"{theirs}(?=\d)", ours, name) for name in names]
  return [NAMES.get(name, name) for name in names]


def tree(arrays, player, *kinds):
  """{layer: {leaf: ...}} of a player, of leaves of these kinds."""
  found = {}
  for key, value in arrays.group(f"{PLAYERS[player]}/").items():
    *layers, leaf = place(f"{PLAYERS[player]}/{key}")
    if leaf not in kinds:
      continue
    if (player, layers) == ("generator", ["input"]):
      value = features(value)
    elif layers == ["output"] and leaf == "kernel" and value.ndim == 2:
      value = features(value, axis=0)
    node = found
    for layer in layers:
      node = node.setdefault(layer, {})
    node[leaf] = value
  return found


def params_of(arrays, *players):
  return {k: tree(arrays, k, "kernel", "bias", "scale") for k in players}


def collections_of(arrays, *players):
  stats = {k: tree(arrays, k, "mean", "var") for k in players}
  return {k: {"batch_stats": v} if v else {} for k, v in stats.items()}


def numbers(golden, prefix):
  """The numbers behind a prefix of keys, in order."""
  found = (re.match(rf"{prefix}(\d+)/", key) for key in golden)
  return sorted({int(match[1]) for match in found if match})


@pytest.fixture
def sizes(golden):
  """(latent_dim, width)."""
  arrays = golden.group("param/")
  dense = arrays["Generator/Generator.Input/Generator.Input.W"]
  first = "Discriminator/Discriminator.Input/Discriminator.Input.Filters"
  return dense.shape[0], arrays[first].shape[-1]


@pytest.fixture
def networks(golden, sizes, images):
  (latent_dim, width), eps = sizes, golden.hp("bn_eps")
  batch_norm = functools.partial(BatchNorm, eps, unbiased=False)
  x = images(golden["input/loop0/critic0/x_uint8"])
  shape = (x.shape[1], x.shape[-1], width)
  layer_norm = functools.partial(LayerNorm, golden.hp("ln_eps"))
  return {
    "generator": Generator(*shape, batch_norm),
    "discriminator": Encoder(1, width, layer_norm),
    "encoder": Encoder(latent_dim, width, batch_norm),
  }


@pytest.fixture
def recorded(golden, sizes):
  """Keywords of the factory."""
  latent = golden.hp("latent")
  found = golden.keywords(**KEYWORDS) | {
    "latent_dim": sizes[0],
    "width": sizes[1],
    "critic_iters": int(golden["input/critic_iters"]),
    "kappa": float(str(np.float32(golden["input/kappa"]))),
    "latent": LATENT.get(latent, latent),
  }
  if "hp/training" in golden:
    found["training"] = golden.hp("training")
  return found


@pytest.fixture
def state_of(golden, pixels, precision):
  """A function from a detector to a state of the initial parameters."""
  arrays = golden.group("param/")

  def make(detector):
    initial = (read(arrays, *PLAYERS) for read in (params_of, collections_of))
    batch = {"x": pixels("loop0/critic0")}
    state = layout.recorded_state(detector, batch, *initial, precision)
    return with_mean_square(state, golden.hp("rms_initial"))

  return make


def with_mean_square(state, value):
  """The state with another accumulator of the encoder's RMSProp."""
  inner = state.opt_state.players.inner_states
  nu = optax.tree.get(inner["encoder"], "nu")
  nu = jax.tree.map(lambda v: jnp.full_like(v, value), nu)
  inner = inner | {"encoder": optax.tree.set(inner["encoder"], nu=nu)}
  players = state.opt_state.players._replace(inner_states=inner)
  return state.replace(opt_state=state.opt_state._replace(players=players))


def with_players(state, golden, **groups):
  """The state with players as recorded, {player: group of arrays}."""
  for player, group in groups.items():
    arrays = golden.group(f"{group}/")
    state = state.replace(
      params=state.params | params_of(arrays, player),
      collections=state.collections | collections_of(arrays, player),
    )
  return state


@pytest.fixture
def trained_gan(golden, state_of):
  """The state with the recorded generator and discriminator of the end."""
  last = numbers(golden, "after_loop")[-1:]
  if not last:
    pytest.skip("the recording has no arrays below 'after_loop'")
  group = f"after_loop{last[0]}"

  def make(detector, **groups):
    players = {"generator": group, "discriminator": group} | groups
    return with_players(state_of(detector), golden, **players)

  return make


def test_forward(golden, networks, images, pixels, state_of, recorded, close):
  state = state_of(jaxad.fanogan(**recorded))

  @jax.jit
  def run(z, x):
    apply = lambda apply, name, x: apply(
      networks[name], state.params[name], state.collections[name], x
    )
    fake = apply(layout.by_batch, "generator", z)
    judge = functools.partial(apply, apply_eval, "discriminator")
    (real_y, real), (fake_y, generated) = judge(2 * x - 1), judge(fake)
    return {
      "fake": fake,
      "fake_eval": apply(apply_eval, "generator", z),
      "D_real": real_y[:, 0],
      "D_fake": fake_y[:, 0],
      "feat_real": real,
      "feat_fake": generated,
    }

  got = run(golden["input/loop0/critic0/z"], pixels("loop0/critic0"))
  of_kind = {"fake": images, "feat": features}
  for name, want in golden.group("out/").items():
    if name in got:  # else of the encoder
      want = of_kind.get(name.split("_")[0], lambda x: x)(want)
      close(got[name], want, FORWARD)


# The GAN. One compiled step moves the critic once; before the very first move
# the generator has none, so it serves for critics alone, too.


def draws_for_gan(golden, loop, critics):
  """Draws of the batches of some critics; a recording may lack those of G."""
  of = lambda name: np.stack(
    [golden[f"input/loop{loop}/critic{c}/{name}"] for c in critics]
  )
  z = of("z")
  return {
    "z": z,
    "alpha": of("alpha")[..., 0],
    "z_generator": golden.get(f"input/loop{loop}/gen/z", z[0]),
    "flip": np.zeros(z.shape[0] * z.shape[1], bool),
  }


def gan_step(detector, golden, pixels):
  step = jax.jit(detector.phases[0].step)

  def run(state, loop, critics):
    x = np.stack([pixels(f"loop{loop}/critic{c}") for c in critics], axis=1)
    draws = draws_for_gan(golden, loop, critics)
    return step(state, {"x": x.reshape(-1, *x.shape[2:])}, draws)

  return run


def check_after(golden, close, state, group, updates):
  """Parameters after so many updates of each of the two players."""
  arrays = golden.group(f"{group}/")
  reach = 2 * golden.hp("learning_rate")
  for player in ("discriminator", "generator"):
    if not any(key.startswith(PLAYERS[player]) for key in arrays):
      continue
    got = jax.tree.map(np.asarray, state.params[player])
    want = params_of(arrays, player)[player]
    # Adam goes by the sign of a gradient that is zero but for rounding.
    if player == "generator":
      got, want = without_constants(got), without_constants(want)
    near(got, want, reach * updates[player])
    if player == "generator":
      got = state.collections[player]["batch_stats"]
      want = collections_of(arrays, player)[player]["batch_stats"]
      close(variances(got), variances(want), STEPS)


def without_constants(params):
  """All but what adds a constant to the maps of a generator's blocks.

  A norm takes it off again, in the next block and in all that follow.
  """
  return {
    layer: {
      name: {"kernel": leaf["kernel"]} if name in CONSTANT else leaf
      for name, leaf in leaves.items()
    }
    if layer.startswith("block")
    else leaves
    for layer, leaves in params.items()
  }


CONSTANT = ("conv_2", "shortcut")


def variances(stats):
  return [v for path, v in jax.tree.leaves_with_path(stats) if is_var(path)]


def is_var(path):
  return path[-1].key == "var"


def near(got, want, reach):
  """Within a twentieth of Adam's reach; 0.5 % of the entries anywhere in it."""
  chex.assert_trees_all_equal_shapes(got, want)
  off = jax.tree.map(lambda got, want: np.abs(got - want).ravel(), got, want)
  off = np.concatenate(jax.tree.leaves(off))
  assert off.max() <= reach
  assert (off > reach / 20).mean() <= 0.005


def test_gan(golden, recorded, state_of, pixels, close, precision):
  loops = numbers(golden, "input/loop")
  critics = range(recorded["critic_iters"])
  detector = jaxad.fanogan(**recorded | {"critic_iters": 1})
  run, state = gan_step(detector, golden, pixels), state_of(detector)
  updates = {"generator": 0, "discriminator": 0}
  for loop in loops:
    for c in critics:
      moves = state.opt_state.moves
      if c:  # the generator has had its move
        alone = state.opt_state._replace(moves=jnp.zeros_like(moves))
        state = state.replace(opt_state=alone)
      state, metrics = run(state, loop, [c])
      state = state.replace(
        opt_state=state.opt_state._replace(moves=jnp.maximum(moves, 1))
      )
      updates["discriminator"] += 1
      where = f"loss/loop{loop}/critic{c}/"
      tolerance = FORWARD if (loop, c) == (0, 0) else STEPS
      want = golden.group(where)
      scale = max(np.abs(w).max() for w in want.values())
      for theirs, value in want.items():
        got = np.asarray(metrics[CRITIC[theirs]])
        limit = tolerance.float32 * scale
        np.testing.assert_allclose(got, value.mean(), rtol=0, atol=limit)
      if (loop, c) == (0, 0):
        if precision == "float64":
          check_critic_gradient(golden, close, state)
        check_after(golden, close, state, "after_critic1", updates)
      if c == 0 and loop > 0:
        updates["generator"] += 1
        want = golden[f"loss/loop{loop}/gen/gen_cost"]
        close(metrics["generator_loss"], want, STEPS)
      if c == 0 and loop == 1 and precision == "float64":
        check_generator_gradient(golden, close, state)
    if f"after_loop{loop + 1}" in groups(golden):
      check_after(golden, close, state, f"after_loop{loop + 1}", updates)


def groups(golden):
  return {key.split("/")[0] for key in golden}


def check_critic_gradient(golden, close, state):
  want = params_of(golden.group("grad/critic/"), "discriminator")
  got = layout.first_gradient(state.opt_state, "discriminator", golden.hp("b1"))
  close(got, want["discriminator"], GRADIENT)


def check_generator_gradient(golden, close, state):
  want = params_of(golden.group("grad/gen/"), "generator")["generator"]
  got = layout.first_gradient(state.opt_state, "generator", golden.hp("b1"))
  close(without_constants(got), without_constants(want), GRADIENT)
  largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(want))
  for layer, leaves in got.items():
    for name in CONSTANT if layer.startswith("block") else ():
      assert np.abs(leaves[name]["bias"]).max() < 1e-5 * largest


@pytest.mark.whole
@pytest.mark.parametrize("precision", ["float32"], indirect=True)
def test_gan_in_whole_steps(golden, recorded, state_of, pixels, close):
  """The same in steps of all critics, as they are trained."""
  detector, critics = jaxad.fanogan(**recorded), recorded["critic_iters"]
  if critics == 1:
    pytest.skip("the recording has one critic in a step, as the test above")
  run, state = gan_step(detector, golden, pixels), state_of(detector)
  for loop in numbers(golden, "input/loop"):
    state, metrics = run(state, loop, range(critics))
    want = golden[f"loss/loop{loop}/critic{critics - 1}/disc_cost"]
    close(metrics["loss"], want, STEPS)
    updates = {"discriminator": critics * (loop + 1), "generator": loop}
    if f"after_loop{loop + 1}" in groups(golden):
      check_after(golden, close, state, f"after_loop{loop + 1}", updates)


# The encoder.


def encoder_step(detector, golden, pixels):
  step = jax.jit(detector.phases[1].step)

  def run(state, k):
    x = pixels(f"enc{k}")
    zero = np.zeros((len(x), golden["input/loop0/critic0/z"].shape[1]))
    draws = {
      "z": golden.get(f"input/enc{k}/z_for_ziz", zero),
      "fresh": golden.get(f"input/enc{k}/fresh", zero),
      "flip": np.zeros(len(x), bool),
    }
    return step(state, {"x": x}, draws)

  return run


def test_encoder(golden, recorded, trained_gan, pixels, close, precision):
  detector = jaxad.fanogan(**recorded)
  state = trained_gan(detector)
  run = encoder_step(detector, golden, pixels)
  for k in numbers(golden, "input/enc"):
    tolerance = FORWARD if k == 0 else STEPS
    if k == 0 and precision == "float64":
      check_encoder_gradient(golden, close, state, run)
    state, metrics = run(state, k)
    for theirs, want in golden.group(f"loss/enc{k}/").items():
      if theirs in ENCODER and ENCODER[theirs] in metrics:
        close(metrics[ENCODER[theirs]], want, tolerance)
    if f"after_enc{k + 1}" in groups(golden):
      arrays = golden.group(f"after_enc{k + 1}/")
      close(
        state.params["encoder"], params_of(arrays, "encoder")["encoder"], STEPS
      )
      close(
        state.collections["encoder"],
        collections_of(arrays, "encoder")["encoder"],
        STEPS,
      )


def check_encoder_gradient(golden, close, state, run):
  """RMSProp keeps the square alone; its first step has the sign."""
  arrays = golden.group("grad/enc/")
  moved, _ = run(with_mean_square(state, 0.0), 0)
  inner = moved.opt_state.players.inner_states
  nu = optax.tree.get(inner["encoder"], "nu")["encoder"]
  gradient = jax.tree.map(
    lambda nu, new, old: (
      np.sign(old - new) * np.sqrt(nu / (1 - golden.hp("rms_decay")))
    ),
    nu,
    moved.params["encoder"],
    state.params["encoder"],
  )
  close(gradient, params_of(arrays, "encoder")["encoder"], GRADIENT)


def test_encoder_forward(
  golden, networks, recorded, trained_gan, images, pixels, close
):
  detector = jaxad.fanogan(**recorded)
  state = trained_gan(detector)
  constrain = CONSTRAINTS[recorded["latent"]]

  @jax.jit
  def run(x):
    apply = lambda apply, name, x: apply(
      networks[name], state.params[name], state.collections[name], x
    )
    z = constrain(apply(layout.by_batch, "encoder", x)[0], 0)
    rec = apply(apply_eval, "generator", z)
    judge = functools.partial(apply, apply_eval, "discriminator")
    return {
      "z": z,
      "rec": rec,
      "feat_rec": judge(rec)[1],
      "feat_img": judge(x)[1],
    }

  got = run(2 * pixels("enc0") - 1)
  of_kind = {"rec": images, "feat": features}
  for name, want in golden.group("out/enc/").items():
    close(
      got[name], of_kind.get(name.split("_")[0], lambda x: x)(want), FORWARD
    )


def test_ziz(golden, recorded, trained_gan, pixels, close):
  """At the initial encoder; izi is a term of the recorded loss."""
  if "loss/enc0/ziz" not in golden:
    pytest.skip("the recording has no array 'loss/enc0/ziz'")
  detector = jaxad.fanogan(**recorded | {"training": "ziz"})
  run = encoder_step(detector, golden, pixels)
  state = trained_gan(detector)
  loss = jax.jit(lambda state: run(state, 0)[1]["loss"])(state)
  close(loss, golden["loss/enc0/ziz"], FORWARD)


def test_scores(golden, recorded, trained_gan, images, pixels, close):
  want = golden.group("score/")
  last = numbers(golden, "after_enc")[-1]
  detector = jaxad.fanogan(**recorded)
  state = trained_gan(detector, encoder=f"after_enc{last}")
  x = pixels("score")
  keys = jax.random.split(jax.random.key(0), len(x))
  scores = jax.jit(detector.score)(state, x, keys)
  got = {
    "anomaly_score": scores.image,
    "pixel_residual": scores.map,
    "loss_img": scores.parts["image"],
    "loss_fts": scores.parts["feature"],
    "z_distance": scores.parts["z_distance"],
  }
  want["pixel_residual"] = images(want["pixel_residual"]).mean(-1)
  for name, value in got.items():
    close(value, want[name], STORED)


def test_parameter_counts():
  """The official networks: of 64 pixels, width 64, codes of 128."""
  detector = jaxad.fanogan()
  x = {"x": np.zeros((1, 64, 64, 1), np.float32)}
  state = jax.eval_shape(detector.init, jax.random.key(0), x)
  count = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
  assert {k: count(v) for k, v in state.params.items()} == {
    "generator": 8539329,
    "discriminator": 7490689,
    "encoder": 8531200,
  }
  assert count(state.collections) == 8704
