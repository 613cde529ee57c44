# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""HADGAN against a transcription of its equations; there is no official code.

It ran in float64, was stored in float32, and holds every stage of the detector.
"""

import json

import jax
import layout
import numpy as np
import optax
import pytest
from recording import (
  ADAM,
  COMMITTED,
  FORWARD,
  GRADIENT,
  NORMS,
  STEPS,
  STORED,
)

import jaxad
from jaxad.joint_detector import JointDetector
from jaxad.layers.dropout import DROPOUT
from jaxad.methods.hadgan import Dense
from jaxad.networks.variables import apply_eval, apply_train

NETWORKS = {"encoder": "E", "decoder": "De", "latent": "DZ", "spectrum": "DI"}
LAYERS = {"dense_0": "fc1", "dense_1": "fc2", "norm_0": "bn1", "norm_1": "bn2"}
TERMS = {"E": "e_loss", "De": "de_loss"}
KEYWORDS = ADAM | NORMS
KEYWORDS |= {
  "rms_decay": "rms_decay",
  "rms_eps": "rms_eps",
  "weight_decay": "weight_decay",
  "consistency_source": "consistency",
  "rec_loss": "rec",
  "l21_epsilon": "l21_eps",
  "k_steps": "k_steps",
  "dropout": "dropout",
  "w_adv": "w_adv",
  "a0": "a0",
  "a1": "a1",
  "a2": "a2",
  "slope": "leaky_slope",
}
JOINT = {
  "ridge": "rx_ridge",
  "area": "area",
  "n_bands": "bands",
  "guided_radius": "guided_radius",
  "guided_eps": "guided_eps",
  "fusion_lambda": "fusion_lambda",
  "minmax_eps": "minmax_eps",
}
STAGES = ("bands", "attribute", "guided", "spatial")


@pytest.fixture
def golden(load_golden):
  return load_golden("hadgan")


def dense(weight):
  return weight.T


def read(golden, prefix):
  """({network: parameters}, {network: collections}); gradients have none."""
  arrays = golden.group(prefix)
  params, collections = {}, {}
  for ours, theirs in NETWORKS.items():
    last = "latent" if theirs == "E" else "out"
    layers = LAYERS | {"dense_out": last}
    names = {
      layer: (layout.NORM if "norm" in layer else dense, f"{theirs}.{name}")
      for layer, name in layers.items()
      if f"{theirs}.{name}.weight" in arrays
    }
    params[ours] = layout.params_of(arrays, names)
    if f"{theirs}.bn1.running_mean" in arrays:
      collections[ours] = {"batch_stats": layout.stats_of(arrays, names)}
    else:
      collections[ours] = {}
  return params, collections


def sizes(golden):
  return {
    "width": len(golden["param/E.fc1.bias"]),
    "latent_dim": len(golden["param/E.latent.weight"]),
  }


def scene_of(golden):
  return golden["input/scene"][None]


def make(golden, **changes):
  keywords = golden.keywords(**KEYWORDS) | sizes(golden)
  joint = JointDetector(**golden.keywords(**JOINT))
  return jaxad.hadgan(**keywords | {"joint": joint} | changes)


@pytest.fixture
def start(golden, precision):
  """(detector, its recorded state)."""
  return recorded(golden, make(golden), "param/", precision)


def recorded(golden, detector, prefix, precision):
  state = layout.recorded_state(
    detector, {"x": scene_of(golden)}, *read(golden, prefix), precision
  )
  return detector, state.replace(extras={"watch": {}})


def masks(mask):
  return {DROPOUT: {"dropout": {"keep": mask > 0}}}


def step_inputs(golden, k):
  """(batch, draws) of a step."""
  rows = golden["input/scene"].reshape(-1, golden["input/scene"].shape[-1])
  n = golden.hp("k_steps")
  draws = {
    "z_real": np.stack([golden[f"input/z_real{k}_{j}"] for j in range(n)]),
    "keep": masks(golden[f"input/mask1_{k}"]),
    "keep_again": masks(golden[f"input/mask2_{k}"]),
  }
  z = golden.get(f"input/z_prior{k}")
  draws["z_prior"] = draws["z_real"][0] if z is None else z
  return {"x": rows[golden[f"input/idx{k}"]]}, draws


def encoder_of(golden):
  found = sizes(golden)
  return Dense(
    found["width"],
    found["latent_dim"],
    golden.hp("leaky_slope"),
    False,
    golden.hp("bn_eps"),
    golden.hp("dropout"),
  )


def test_forward_in_training(golden, close):
  """E, De, and E again, each by the statistics of the batch."""
  params, _ = read(golden, "param/")
  encoder = encoder_of(golden)
  n_of_bands = golden["input/scene"].shape[-1]
  decoder = Dense(encoder.width, n_of_bands, golden.hp("leaky_slope"), False)
  batch, draws = step_inputs(golden, 0)

  @jax.jit
  def run(x):
    encode = lambda v, keep: apply_train(
      encoder, params["encoder"], v, collections=keep
    )[0]
    decode = lambda v: apply_train(decoder, params["decoder"], v)[0]
    z = encode(x, draws["keep"])
    encoded = golden.hp("consistency") == "encoded"
    source = z if encoded else draws["z_prior"]
    again = encode(decode(source), draws["keep_again"])
    return {"z": z, "x_rec": decode(z), "z_rec": again}

  got = run(batch["x"])
  for name, want in golden.group("out/train/").items():
    close(got[name], want, FORWARD)


def test_three_steps(golden, start, close, precision):
  detector, state = start
  step = jax.jit(detector.phases[0].step)
  for k in range(3):
    state, metrics = step(state, *step_inputs(golden, k))
    for theirs, want in golden.group(f"loss/step{k}/").items():
      check_term(golden, theirs, metrics, want, close, k)
    if k in (0, 2):
      want = read(golden, f"after{k + 1}/")
      for name in NETWORKS:
        got = state.params[name], state.collections[name]
        check_network(
          golden, got, (want[0][name], want[1][name]), close, k + 1, precision
        )


def check_term(golden, theirs, metrics, want, close, k):
  """Those of the discriminators are of their last move in a step."""
  name, _, move = theirs.partition("_")
  if name in ("DZ", "DI"):
    last = golden.hp("k_steps") - 1
    if int(move) == last:
      tolerance = STEPS if k + last else FORWARD
      close(metrics[f"{name.lower()}_loss"], want, tolerance)
    return
  # Those of E and De know the discriminators that have moved.
  tolerance = STEPS if k else FORWARD
  close(metrics[TERMS.get(theirs, theirs)], want, tolerance)


def check_network(golden, got, want, close, steps, precision):
  """Biases before norms have no gradient but the decay, and rounding.

  RMSprop makes steps of its own length of it; in float64 the decay is by far
  the larger part.
  """
  exact = precision == "float64" and golden.hp("weight_decay")
  if "batch_stats" not in want[1] or exact:
    close(got, want, STEPS)
    return
  way = golden.hp("learning_rate") * (1 - golden.hp("rms_decay")) ** -0.5
  layout.check_but_biases_before_norms(got, want, close, STEPS, steps * way)


def test_gradients(golden, start, close):
  """E's by the mean square that RMSprop keeps, the others' by Adam's moment.

  Those of E and De hold the decay of their weights, too.
  """
  detector, before = start
  batch, draws = step_inputs(golden, 0)
  state, _ = jax.jit(detector.phases[0].step)(before, batch, draws)
  want, _ = read(golden, "grad/")
  nu = optax.tree.get(state.opt_state.players.inner_states["encoder"], "nu")
  scale = 1 - golden.hp("rms_decay")
  found = {
    "encoder": jax.tree.map(
      lambda nu, new, old: np.sign(old - new) * np.sqrt(nu / scale),
      nu["encoder"],
      state.params["encoder"],
      before.params["encoder"],
    ),
    "decoder": layout.first_gradient(
      state.opt_state, "decoder", golden.hp("b1")
    ),
  }
  decay = golden.hp("weight_decay")
  for name, with_decay in found.items():
    of_loss = lambda g, w: np.asarray(g - decay * w)
    got = jax.tree.map(of_loss, with_decay, before.params[name])
    for tree in (got, want[name]):
      layout.pop_biases_before_norms(tree)
    close(got, want[name], GRADIENT, together=True)
  for name in ("latent", "spectrum"):
    check_discriminator(golden, before, batch, draws, name, want[name], close)


def check_discriminator(golden, before, batch, draws, name, want, close):
  """Of one that moves several times in a step, the first gradient or the last.

  Adam's moment is b1 times that of the move before, and the rest the gradient.
  """
  last, b1 = golden.hp("k_steps"), golden.hp("b1")
  moments = [jax.tree.map(np.zeros_like, want)]
  for k in range(1, last + 1):
    step = jax.jit(make(golden, k_steps=k).phases[0].step)
    state, _ = step(before, batch, draws)
    inner = state.opt_state.players.inner_states[name]
    moments.append(optax.tree.get(inner, "mu")[name])
  of_move = lambda k: jax.tree.map(
    lambda old, new: (np.asarray(new) - b1 * np.asarray(old)) / (1 - b1),
    *moments[k - 1 : k + 1],
  )
  off = lambda got: optax.tree.norm(optax.tree.sub(got, want))
  close(min(map(of_move, {1, last}), key=off), want, GRADIENT, together=True)


def test_evaluation(golden, close, precision):
  """Codes and reconstructions of all pixels, and RX on what these leave."""
  detector, state = recorded(golden, make(golden), "after3/", precision)
  scene, want = scene_of(golden), golden.group("out/eval/")
  encoder = encoder_of(golden)
  run = jax.jit(
    lambda x: apply_eval(
      encoder, state.params["encoder"], state.collections["encoder"], x
    )
  )
  rows = scene.reshape(-1, scene.shape[-1])
  close(run(rows), want["z"], STORED)
  scores = jax.jit(detector.score)(state, scene, None)
  residual = np.abs(rows - want["x_rec"]).reshape(scene.shape)
  close(scores.maps["residual"], residual, STORED)
  net_spectral = golden.group("score/")["net_spectral"]
  found = detector.finish(jax.tree.map(lambda v: v[0], scores))
  maps = JointDetector(**golden.keywords(**JOINT)).of_residual(
    np.asarray(scores.maps["residual"][0])
  )
  close(maps["rx"], net_spectral, STORED)
  chosen = found.map
  np.testing.assert_array_equal(chosen, maps["fused"])


def test_spectral_detector(golden, close):
  want = golden.group("score/")
  found = JointDetector(**golden.keywords(**JOINT)).of_residual(
    golden["input/residual"]
  )
  close(found["rx"], want["spectral"], FORWARD)
  close(found["spectral"], want["spectral_minmax"], FORWARD)


@pytest.mark.parametrize("select", ["max", "min"])
def test_joint_detector(golden, close, select):
  """Every stage; min-max is taken of the profile after it is recorded."""
  want = golden.group(f"score/{select}/")
  joint = JointDetector(select, **golden.keywords(**JOINT))
  found = joint.of_residual(golden["input/residual"])
  for stage in STAGES:
    close(found[stage], want[stage], FORWARD)
  (fused,) = (v for k, v in want.items() if k.startswith("fused"))
  close(found["fused"], fused, FORWARD)


def test_sizes_of_the_paper():
  """Parameters at full size, by the number of bands."""
  file = COMMITTED / "hadgan" / "golden_full.json"
  detector = jaxad.hadgan()
  for n_of_bands, want in json.loads(file.read_text()).items():
    x = jax.ShapeDtypeStruct((1, int(n_of_bands)), np.float32)
    params = jax.eval_shape(detector.init, jax.random.key(0), {"x": x}).params
    assert params["latent"]["dense_0"]["kernel"].shape[0] == want["dz"]
    for ours, theirs in NETWORKS.items():
      size = sum(leaf.size for leaf in jax.tree.leaves(params[ours]))
      assert size == want[theirs]
