# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""adVAE against the official networks, score, threshold and checkpoint.

No training code was published: the recorded steps are a transcription of the
paper's equations.
"""

import json
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import layout
import numpy as np
import pytest
from recording import ADAM, COMMITTED, FORWARD, GRADIENT, STEPS, STORED

import jaxad
from jaxad.errors import InputError
from jaxad.evaluation.metrics import average_precision, image_auroc
from jaxad.evaluation.thresholds import (
  grid_upper_quantile,
  kde_upper_quantile,
  silverman_bandwidth,
)
from jaxad.layers.gaussian import sample
from jaxad.networks.advae import (
  OFFICIAL,
  Gaussian,
  Generator,
  official_params,
)

KEYWORDS = ADAM | {"lam": "lambda", "gamma": "gamma", "m_x": "m_x"}
KEYWORDS |= {"m_z": "m_z", "hinge": "hinge", "total": "total"}
# Our metrics, and the losses of a recording.
TERMS = {
  "step_1_generator": "L_G",
  "step_1_transformer": "L_T",
  "step_1_total": "step1_total",
  "step_1_mse": "step1_mse",
  "step_1_kl_r": "step1_kl_r",
  "step_1_hinge_mse_t": "step1_hinge_mse_t",
  "step_1_hinge_kl_tr": "step1_hinge_kl_tr",
  "loss": "L_E",
  "step_2_mse": "step2_mse",
  "step_2_kl": "step2_kl",
  "step_2_hinge_kl_r": "step2_hinge_kl_r",
  "step_2_hinge_kl_tr": "step2_hinge_kl_tr",
}


@pytest.fixture
def golden(load_golden):
  return load_golden("advae")


def sizes(params):
  """Keywords of the factory, from the shapes of parameters."""
  width, latent_dim = params["encoder"]["mean"]["kernel"].shape
  return {"width": width, "latent_dim": latent_dim}


def detector_of(golden, params, **keywords):
  return jaxad.advae(
    **golden.keywords(**KEYWORDS),
    **sizes(params),
    log_var_limit=None,
    **keywords,
  )


@pytest.fixture
def start(golden, precision):
  """(detector, recorded state)."""
  params = official_params(golden.group("param/"))
  detector = detector_of(golden, params)
  batch = {"x": golden["input/x0"]}
  return detector, layout.recorded_state(detector, batch, params, {}, precision)


def draws_of(golden, k):
  return {
    f"{ours}_{step}": golden[f"input/eps{step}_{theirs}{k}"]
    for step in (1, 2)
    for ours, theirs in (("z", "z"), ("z_t", "zt"))
  }


def test_forward(golden, start, close):
  """What step 1 makes of its batch, by the networks of the method."""
  _, state = start
  draws = draws_of(golden, 0)
  params, n = state.params, sizes(state.params)
  of = lambda width, act: Gaussian(width, n["latent_dim"], act)
  nets = {
    "encoder": of(n["width"], nn.relu),
    "generator": Generator(n["width"], golden["input/x0"].shape[1], nn.sigmoid),
    "transformer": of(2 * n["latent_dim"], nn.sigmoid),
  }
  run = lambda name, v: nets[name].apply({"params": params[name]}, v, False)

  @jax.jit
  def forward(x):
    found = {}
    names = lambda end: (f"mu{end}", f"logvar{end}")
    put = lambda end, pair: found.update(zip(names(end), pair, strict=True))
    posterior = run("encoder", x)
    of_anomaly = run("transformer", jnp.concatenate(posterior, 1))
    put("", posterior)
    put("_t", of_anomaly)
    found["z"] = sample(*posterior, draws["z_1"])
    found["z_t"] = sample(*of_anomaly, draws["z_t_1"])
    for end, code in (("_r", "z"), ("_tr", "z_t")):
      found[f"x{end}"] = run("generator", found[code])
      put(end, run("encoder", found[f"x{end}"]))
    return found

  got = forward(golden["input/x0"])
  for name, want in golden.group("out/step1/").items():
    close(got[name], want, FORWARD)


def test_three_steps(golden, start, close):
  """With the gradients of the first: E's is taken when G and T have moved."""
  detector, state = start
  step = jax.jit(detector.phases[0].step)
  for k in range(3):
    batch = {"x": golden[f"input/x{k}"]}
    state, metrics = step(state, batch, draws_of(golden, k))
    want = golden.group(f"loss/step{k}/")
    assert want.keys() <= set(TERMS.values())
    for ours, theirs in TERMS.items():
      if theirs in want:
        close(metrics[ours], want[theirs], FORWARD if k == 0 else STEPS)
    if k == 0:
      for group, players in (
        ("grad_step1/", ("generator", "transformer")),
        ("grad_step2/", ("encoder",)),
      ):
        arrays = golden.group(group)
        for name in players:
          got = layout.first_gradient(state.opt_state, name, golden.hp("b1"))
          close(got, params_of(arrays, name), GRADIENT, together=True)
    if k in (0, 2):
      arrays = golden.group(f"after{k + 1}/")
      for name in OFFICIAL:
        close(state.params[name], params_of(arrays, name), STEPS)


def params_of(arrays, name):
  """Of one network, in a recording that may have no other."""
  letter, layers = OFFICIAL[name]
  return {
    ours: {
      "kernel": arrays[f"{letter}.{theirs}.weight"].T,
      "bias": arrays[f"{letter}.{theirs}.bias"],
    }
    for ours, theirs in layers.items()
  }


@pytest.fixture
def score(golden, monkeypatch):
  """Scores rows by authors' parameters and recorded noise [N, L, r]."""

  def score(arrays, x, noise):
    params = official_params(arrays)
    detector = detector_of(
      golden, params, n_samples=noise.shape[1], samples_at_once=7
    )
    module = sys.modules["jaxad.methods.advae"]
    monkeypatch.setattr(module, "draw_noise", lambda keys, *shape: noise)
    state = jaxad.State.new(None, params, {}, None)
    return jax.jit(detector.score)(state, x, None).image

  return score


def check_thresholds(golden, scores, official, exact, close):
  """Of recorded scores of normal rows."""
  level, n, cut = (golden.hp(f"kde_{k}") for k in ("level", "grid", "cut"))
  scores = np.float64(scores)
  found = grid_upper_quantile(scores, 1 - level, n, cut)
  close(found, official, STORED)
  h = silverman_bandwidth(scores, ddof=1, normal_range=1.349)
  close(kde_upper_quantile(scores, 1 - level, h), exact, STORED)
  return h


def test_scores_and_thresholds(golden, score, close):
  arrays = golden.group("after3/")
  want = golden.group("score/")
  for of in ("train", "test"):
    found = score(
      arrays, golden[f"input/x_{of}"], golden[f"input/score_eps_{of}"]
    )
    close(found, want[of], STORED)
  limits = golden.group("threshold/")
  kinds = (limits[f"kde_{kind}"] for kind in ("official", "exact"))
  h = check_thresholds(golden, want["train"], *kinds, close)
  close(h, limits["bandwidth"], STORED)


def test_the_published_checkpoint(golden, score, close):
  """The authors' E and G, as they are, give the authors' scores."""
  found = golden.group("pretrained/")
  for of in ("train", "test"):
    scores = score(found, found[f"x_{of}"], found[f"eps_{of}"])
    close(scores, found[f"score_{of}"], FORWARD)
  label = np.int32(found["label_test"])
  for metric in (image_auroc, average_precision):
    want = metric(label, np.asarray(found["score_test"]))
    assert metric(label, np.asarray(scores)) == pytest.approx(want, abs=1e-3)
  kinds = (found[f"threshold_kde_{kind}"] for kind in ("official", "exact"))
  check_thresholds(golden, found["score_train"], *kinds, close)


def test_arrays_that_lack_a_layer(golden):
  arrays = dict(golden.group("pretrained/"))
  assert official_params(arrays).keys() == {"encoder", "generator"}
  del arrays["G.fc4.bias"]
  with pytest.raises(InputError, match="there is no G.fc4.bias; expected"):
    official_params(arrays)


def test_sizes_of_the_official_networks():
  file = COMMITTED / "advae" / "golden_full.json"
  for table in json.loads(file.read_text()).values():
    detector = jaxad.advae(latent_dim=table["rep_dim"])
    x = np.zeros((1, table["sample_dim"]), np.float32)
    state = jax.eval_shape(detector.init, jax.random.key(0), {"x": x})
    assert table["params"] == {
      letter: sum(leaf.size for leaf in jax.tree.leaves(state.params[name]))
      for name, (letter, _) in OFFICIAL.items()
    }
