# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The VAE against a recording of the official code, which ran in float32.

Its rounding is in what follows from gradients: there float64 is compared ten
times as closely as float32.
"""

import json
import sys

import jax
import layout
import numpy as np
import pytest
from layout import CONV, CONV_TRANSPOSE, NORM
from recording import ADAM, COMMITTED, FORWARD, NORMS, STORED, Tolerance

import jaxad
from jaxad.layers.gaussian import sample
from jaxad.methods.vae import Decoder, Encoder
from jaxad.networks.variables import apply_eval

GRADIENT = Tolerance(1e-4, 1e-5)
STEPS = Tolerance(1e-3, 1e-4)
KEYWORDS = ADAM | NORMS | {"w_kl": "w_kl"}
TERMS = {"total": "loss", "kl": "kl", "reconst": "reconstruction"}
# Our scores, and those of the code; of their correct forms as well.
PLAIN = {"vae": "vae", "kl": "kl", "reconstruction": "reconst"}
WEIGHTED = {
  "iwae": "iwae",
  "iwae_kl": "iwae_kl",
  "iwae_reconstruction": "iwae_reconst",
}


@pytest.fixture
def golden(load_golden):
  return load_golden("vae")


@pytest.fixture
def names(golden):
  """{network: {our layer: (kind, theirs)}}."""
  weights = [
    key.removesuffix(".weight")
    for key in golden.group("param/")
    if key.endswith(".weight")
  ]

  def pyramid(prefix, kind, descends):
    """Their names have the channels, by which they are ordered."""
    found = {}
    channels = lambda name: int(name.split("_")[1].split("-")[-1])
    suffixes = {"_conv": (kind, "conv"), "_batchnorm": (NORM, "norm")}
    for suffix, (of, ours) in suffixes.items():
      layers = [
        name
        for name in weights
        if name.startswith(f"{prefix}.pyramid") and name.endswith(suffix)
      ]
      layers.sort(key=channels, reverse=descends)
      found |= {f"{ours}_{k}": (of, n) for k, n in enumerate(layers, 1)}
    return found

  encoder = {
    "conv_0": (CONV, "encoder.input-conv"),
    "mean": (CONV, "conv_mu"),
    "log_var": (CONV, "conv_logvar"),
  }
  decoder = {
    "conv_0": (CONV_TRANSPOSE, "decoder.input-conv"),
    "norm_0": (NORM, "decoder.input-batchnorm"),
    "conv_out": (CONV_TRANSPOSE, "decoder.ouput-conv"),
  }
  return {
    "encoder": encoder | pyramid("encoder", CONV, False),
    "decoder": decoder | pyramid("decoder", CONV_TRANSPOSE, True),
  }


@pytest.fixture
def read(names):
  """Reads (params, collections) of both networks."""

  def read(arrays):
    params = {n: layout.params_of(arrays, names[n]) for n in names}
    stats = {n: layout.stats_of(arrays, names[n]) for n in names}
    return params, {
      n: {"batch_stats": v} if v else {} for n, v in stats.items()
    }

  return read


@pytest.fixture
def initial(golden, read):
  return read(golden.group("param/"))


@pytest.fixture
def make(golden, initial):
  """Makes the detector of the recording, with further keywords."""
  kernel = initial[0]["encoder"]["mean"]["kernel"]
  sizes = {
    "latent_dim": kernel.shape[-1],
    "width": initial[0]["encoder"]["conv_0"]["kernel"].shape[-1],
  }
  return lambda **keywords: jaxad.vae(
    **golden.keywords(**KEYWORDS), **sizes, **keywords
  )


@pytest.fixture
def start(golden, make, initial, precision):
  """(detector, recorded state)."""
  detector, batch = make(), {"x": layout.unit_range(golden["input/x0"])}
  return detector, layout.recorded_state(detector, batch, *initial, precision)


def networks_of(golden, params):
  """(encoder, decoder) of these sizes."""
  width = params["encoder"]["conv_0"]["kernel"].shape[-1]
  latent_dim = params["encoder"]["mean"]["kernel"].shape[-1]
  channels, side = golden["input/x0"].shape[1:3]
  more = width, golden.hp("bn_eps")
  return (
    Encoder(latent_dim, *more),
    Decoder(side, channels, *more),
  )


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_forward(golden, read, close, mode):
  arrays, inputs = (
    ("param/", "x0") if mode == "train" else ("after3/", "x_test")
  )
  params, collections = read(golden.group(arrays))
  encoder, decoder = networks_of(golden, params)
  apply = layout.by_batch if mode == "train" else apply_eval
  run = lambda name, net, v: apply(net, params[name], collections[name], v)

  @jax.jit
  def forward(x):
    mean, log_var = run("encoder", encoder, x)
    z = mean
    if mode == "train":
      z = sample(mean, log_var, golden["input/eps0"][..., 0, 0])
    return mean, log_var, run("decoder", decoder, z)

  x = layout.channels_last(golden[f"input/{inputs}"])
  mean, log_var, x_hat = forward(x)
  got = {"mu": mean, "logvar": log_var}
  got["recon" if mode == "train" else "recon_from_mu"] = x_hat
  for name, want in golden.group(f"out/{mode}/").items():
    if "recon" in name:
      want = layout.channels_last(want)
    close(got[name], want, FORWARD if mode == "train" else STORED)


def test_three_steps(golden, names, read, start, close):
  """With the gradients of the first."""
  detector, state = start
  step = jax.jit(detector.phases[0].step)
  for k in range(3):
    batch = {"x": layout.unit_range(golden[f"input/x{k}"])}
    state, metrics = step(state, batch, golden[f"input/eps{k}"][..., 0, 0])
    for theirs, want in golden.group(f"loss/step{k}/").items():
      close(metrics[TERMS[theirs]], want, FORWARD if k == 0 else STEPS)
    if k == 0:
      mu = state.opt_state[1].mu
      got = layout.adam_gradient(mu, golden.hp("b1"))
      arrays = golden.group("grad/")
      for name in names:
        want = layout.params_of(arrays, names[name])
        # Zero but for rounding.
        for tree in (got[name], want):
          layout.pop_biases_before_norms(tree)
        close(got[name], want, GRADIENT, together=True)
    if k in (0, 2):
      want, want_collections = read(golden.group(f"after{k + 1}/"))
      for name in names:
        check = layout.check_but_biases_before_norms
        if "batch_stats" not in want_collections[name]:
          close(state.params[name], want[name], STEPS)
          continue
        check(
          (state.params[name], state.collections[name]),
          (want[name], want_collections[name]),
          close,
          STEPS,
          (k + 1) * golden.hp("learning_rate"),
        )


@pytest.fixture
def scores(golden, make, start, read, monkeypatch):
  """Scores the test images of the recording, by its noise."""
  _, state = start
  params, collections = read(golden.group("after3/"))
  state = state.replace(params=params, collections=collections)
  x = layout.unit_range(golden["input/x_test"])

  def scores(of, **keywords):
    noise = golden[f"input/score_eps_{of}"]  # [B, L, nz]
    module = sys.modules["jaxad.methods.vae"]
    monkeypatch.setattr(module, "draw_noise", lambda keys, *shape: noise)
    detector = make(n_samples=noise.shape[1], **keywords)
    return jax.jit(detector.score)(state, x, None)

  return scores


def test_plain_scores(golden, scores, close):
  found = scores("vae", score="vae")
  for ours, theirs in PLAIN.items():
    close(found.parts[ours], golden[f"score/{theirs}"], STORED)
  close(found.image, golden["score/vae"], STORED)


@pytest.mark.parametrize("official", [True, False])
def test_weighted_scores(golden, scores, close, official):
  """Those of the code, and those that its authors meant."""
  keywords = {"official_iwae": official, "combine": "joint"}
  found = scores("iwae", score="iwae_kl", **keywords)
  suffix = "" if official else "_corrected"
  for ours, theirs in WEIGHTED.items():
    close(found.parts[ours], golden[f"score/{theirs}{suffix}"], STORED)
  close(found.image, golden[f"score/iwae_kl{suffix}"], STORED)


def test_sizes_of_the_official_network():
  file = COMMITTED / "vae" / "golden_full.json"
  full = json.loads(file.read_text())
  detector = jaxad.vae(latent_dim=full["nz"], width=full["ngf"])
  x = np.zeros((1, full["image_size"], full["image_size"], 3), np.uint8)
  params = jax.eval_shape(detector.init, jax.random.key(0), {"x": x}).params
  count = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
  want = full["params"]
  heads = {"mean": "conv_mu", "log_var": "conv_logvar"}
  for ours, theirs in heads.items():
    assert count(params["encoder"].pop(ours)) == want[theirs]
  assert count(params["encoder"]) == want["encoder"]
  assert count(params["decoder"]) == want["decoder"]
