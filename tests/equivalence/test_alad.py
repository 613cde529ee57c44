# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""ALAD against a recording of the official graphs, for images and for tables.

They ran in float32 and their rounding is in the recording, so float64 is
compared as closely as float32, no closer.
"""

import functools
import re

import jax
import jax.numpy as jnp
import layout
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict
from recording import ADAM, IN_SINGLE, NORMS

import jaxad
from jaxad.layers.spectral_norm import spectral_normalize
from jaxad.methods.alad import DISCRIMINATORS, beside
from jaxad.networks.alad import ARRHYTHMIA, IMAGES, KDD, Layers, make_networks
from jaxad.networks.variables import apply_eval, apply_train

FORWARD, GRADIENT, STEPS = IN_SINGLE

KEYWORDS = ADAM | NORMS
KEYWORDS |= {
  "enable_dzz": "enable_dzz",
  "degree": "score_degree",
  "slope": "leaky_slope",
  "sn_iterations": "sn_iterations",
  "sn_epsilon": "sn_eps",
}
SCOPES = {
  "encoder": "encoder_model/encoder/",
  "generator": "generator_model/generator/",
  "xz": "discriminator_model_xz/discriminator_xz/",
  "xx": "discriminator_model_xx/discriminator_xx/",
  "zz": "discriminator_model_zz/discriminator_zz/",
}
# Of the gradients of each player.
GROUPS = {"encoder": "enc", "generator": "gen"}
GROUPS |= {name: f"dis_{name}" for name in DISCRIMINATORS}
TERMS = {
  "dis_loss_xz": "xz",
  "dis_loss_xx": "xx",
  "dis_loss_zz": "zz",
  "loss_discriminator": "loss",
  "loss_dis_enc": "xz_real",
  "loss_dis_gen": "xz_fake",
  "loss_generator": "generator",
  "loss_encoder": "encoder",
  "gen_loss_xz": "generator_xz",
  "enc_loss_xz": "encoder_xz",
  "cost_x": "cost_xx",
  "cost_z": "cost_zz",
}
# Leaves of a layer, and of the norm behind it.
LAYER = {"kernel": "kernel", "bias": "bias"}
NORM = {"gamma": "scale", "beta": "bias"}
STATS = {"moving_mean": "mean", "moving_variance": "var"}
# D_xz reads x, then z, and ends with what reads both.
BRANCHES = {"x": (), "z": ("code",), "y": ("joint",)}


class Places:
  """Where the layers of the recorded networks are in ours.

  Theirs are called [BRANCH_]layer_NUMBER, and the last one is linear.
  """

  def __init__(self, arrays):
    self._of: dict = {name: {} for name in SCOPES}
    for name, scope in SCOPES.items():
      branches: dict = {}
      for key, kernel in arrays.items():
        if key.startswith(scope) and key.endswith("/kernel"):
          layer = key.removeprefix(scope).split("/")[0]
          number = int(re.search(r"\d+$", layer)[0])
          branches.setdefault(layer[0], {})[number] = layer, kernel
      for branch, numbered in branches.items():
        found = [numbered[number] for number in sorted(numbered)]
        above = BRANCHES[branch] if name == "xz" else ()
        for k, (layer, kernel) in enumerate(found):
          # The 1x1 convolutions of D_xz are dense layers here.
          kind = "conv" if kernel.ndim == 4 and not above else "dense"
          hidden = k < len(found) - 1 or (name == "xz" and branch != "y")
          ours = f"{kind}_{k}" if hidden else f"{kind}_out"
          self._of[name][layer] = (*above, ours), (*above, f"norm_{k}")

  def read(self, arrays, name, of_layer, of_norm):
    """Those leaves of a network."""
    found, scope = {}, SCOPES[name]
    for key, value in arrays.items():
      if not key.startswith(scope):
        continue
      layer, *_, leaf = key.removeprefix(scope).split("/")
      layer, norm = self._of[name][layer]
      if leaf in of_layer:
        if leaf == "kernel" and layer[-1].startswith("dense"):
          value = value.reshape(value.shape[-2:])
        elif leaf == "kernel" and name == "generator":
          value = value.transpose(0, 1, 3, 2)
        found[*layer, of_layer[leaf]] = value
      elif leaf in of_norm:
        found[*norm, of_norm[leaf]] = value
    return unflatten_dict(found)

  def params(self, arrays, names=tuple(SCOPES)):
    return {name: self.read(arrays, name, LAYER, NORM) for name in names}

  def collections(self, arrays):
    stats = {name: self.read(arrays, name, {}, STATS) for name in SCOPES}
    return {k: {"batch_stats": v} if v else {} for k, v in stats.items()}

  def vectors(self, arrays):
    """Of the spectral norm."""
    found = {}
    for name in SCOPES:
      read = flatten_dict(self.read(arrays, name, {"u": "u"}, {}))
      if read:
        found[name] = unflatten_dict(
          {path[:-1]: u.ravel() for path, u in read.items()}
        )
    return found

  def masks(self, arrays, name):
    """Of both passes of a discriminator, `layers/dropout.py`'s collections."""
    found = ({}, {})
    for key, keep in arrays.items():
      if key.startswith(SCOPES[name]):
        layer, which = key.removeprefix(SCOPES[name]).split("/")
        *above, ours = self._of[name][layer][0]
        ours = re.sub("conv|dense", "dropout", ours)
        if name == "xz":
          keep = keep.reshape(len(keep), -1)
        found[int(which[-1])][*above, ours, "keep"] = keep.astype(bool)
    found = [{"dropout": unflatten_dict(of_pass)} for of_pass in found]
    return jax.tree.map(lambda *passes: np.stack(passes), *found)


class Recorded:
  """One scenario: what it says of the detector, and its arrays."""

  def __init__(self, golden, prefix, precision):
    self.all, self.prefix, self.precision = golden, prefix, precision
    self.arrays = golden.group(prefix) if prefix else golden
    start = self.arrays.group("param/")
    self.places = Places(start)
    self.params = self.places.params(start)
    self.collections = self.places.collections(start)
    self.u = self.places.vectors(start)

  def group(self, prefix):
    return self.arrays.group(prefix)

  def hp(self, name):
    """Where the tables have a value of their own, that."""
    own = f"{self.prefix.replace('/', '_')}{name}"
    return self.all.hp(own if f"hp/{own}" in self.all else name)

  @functools.cached_property
  def layers(self):
    def widths(name, *above):
      params = self.params[name]
      for part in above:
        params = params.get(part, {})
      kernels = {k: v["kernel"] for k, v in params.items() if "kernel" in v}
      hidden = sorted(k for k in kernels if not k.endswith("out"))
      hidden.sort(key=lambda k: int(k.split("_")[1]))
      return tuple(kernels[k].shape[-1] for k in hidden)

    return Layers(
      self.arrays["input/eval/z"].shape[-1],
      widths("encoder"),
      widths("generator"),
      widths("xz"),
      widths("xz", "code"),
      widths("xz", "joint"),
      widths("xx"),
      widths("zz"),
      *(self.hp(f"dropout_{name}") for name in DISCRIMINATORS),
      self.hp("spectral_norm"),
    )

  @property
  def networks(self):
    shape = self.arrays["input/eval/x"].shape
    return make_networks(
      self.layers, shape, self.hp("leaky_slope"), self.hp("bn_eps")
    )

  def batch(self, run):
    x = self.arrays[f"input/{run}/x"]
    return (x + 1) / 2 if x.ndim == 4 else x

  def masks(self, run):
    prefix = f"input/{run}/mask/"
    found = {
      k.removeprefix(prefix): v
      for k, v in self.arrays.items()
      if k.startswith(prefix)
    }
    return {name: self.places.masks(found, name) for name in DISCRIMINATORS}

  def normalized(self, params, u):
    return spectral_normalize(
      params, u, self.hp("sn_iterations"), self.hp("sn_eps")
    )

  def start(self, **keywords):
    """(detector, the recorded state)."""
    recorded = {ours: self.hp(theirs) for ours, theirs in KEYWORDS.items()}
    recorded |= {"images": self.layers, "tables": self.layers}
    recorded["ema_decay"] = float(
      str(np.float32(self.arrays["input/ema_decay"]))
    )
    detector = jaxad.alad(**recorded | keywords)
    state = layout.recorded_state(
      detector,
      {"x": self.batch("eval")},
      self.params,
      self.collections,
      self.precision,
    )
    return detector, state.replace(extras={"ema": self.params, "u": self.u})

  def trained(self, **keywords):
    """[(state, metrics)] after each of the recorded steps."""
    detector, state = self.start(**keywords)
    step, history = jax.jit(detector.phases[0].step), []
    for k in range(3):
      runs = [f"step{k}/{run}" for run in ("dis", "gen")]
      x, x_again = map(self.batch, runs)
      batch = {"x": x, "x_again": x_again}
      draws = {
        turn: {"z": self.arrays[f"input/{run}/z"], "masks": self.masks(run)}
        for turn, run in zip(("discriminators", "players"), runs, strict=True)
      }
      state, metrics = step(state, batch, draws)
      history.append((state, metrics))
    return history


@pytest.fixture(params=["", "kdd/"], ids=["images", "kdd"])
def recorded(request, load_golden, precision):
  return Recorded(load_golden("alad"), request.param, precision)


def forward(params, x, z, run):
  """What a recording has of it; `run(name, params, number of the pass, *v)`."""
  of = lambda name, which, *v: run(name, params[name], which, *v)
  code, fake = of("encoder", 0, x)[0], of("generator", 0, z)[0]
  x_hat, z_hat = of("generator", 1, code)[0], of("encoder", 1, fake)[0]
  xz_enc, xz_gen = of("xz", 0, x, code), of("xz", 1, fake, z)
  xx, xx_hat = of("xx", 0, beside(x, x)), of("xx", 1, beside(x, x_hat))
  zz, zz_hat = of("zz", 0, beside(z, z)), of("zz", 1, beside(z, z_hat))
  return {
    "E_x": code,
    "G_z": fake,
    "rec_x": x_hat,
    "rec_z": z_hat,
    "xz_enc_logit": xz_enc[0],
    "xz_gen_logit": xz_gen[0],
    "xx_real_logit": xx[0],
    "xx_fake_logit": xx_hat[0],
    "zz_real_logit": zz[0],
    "zz_fake_logit": zz_hat[0],
    "xx_real_feat": xx[1],
    "xx_fake_feat": xx_hat[1],
    "xz_enc_feat": xz_enc[1],
  }


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_forward(recorded, close, mode):
  at = "eval" if mode == "eval" else "step0/dis"
  nets, masks = recorded.networks, recorded.masks(at)

  def run(name, params, which, *values):
    if mode == "eval":
      collections = recorded.collections[name]
      return apply_eval(nets[name], params, collections, *values)
    of_pass = jax.tree.map(lambda v: v[which], masks)
    collections = of_pass.get(name)
    return apply_train(nets[name], params, *values, collections=collections)[0]

  @jax.jit
  def outputs(params, x, z):
    new, _ = recorded.normalized(params, recorded.u)
    norm = lambda params: jax.tree.map(jnp.linalg.norm, params)
    sigma = jax.tree.map(jnp.divide, norm(params), norm(new))
    return forward(new, x, z, run), sigma

  x, z = (recorded.arrays[f"input/{at}/{name}"] for name in "xz")
  got, sigma = outputs(recorded.params, x, z)
  arrays = recorded.group(f"out/{mode}/")
  for name, want in arrays.items():
    if not name.startswith("sigma/"):
      close(got[name].reshape(want.shape), want, FORWARD)
  for name in SCOPES:
    want = {
      f"{key.removeprefix('sigma/')}/kernel": np.reshape(value, (1, 1))
      for key, value in arrays.items()
      if key.startswith("sigma/")
    }
    want = flatten_dict(recorded.places.read(want, name, LAYER, NORM))
    found = flatten_dict(sigma[name])
    for path, value in want.items():
      close(found[path], value.ravel()[0], FORWARD)


@pytest.mark.parametrize("after", ["after3", "after3_sep"])
def test_three_steps(recorded, close, after):
  shared = after == "after3"
  if shared and recorded.hp("adam_calls") != 5:
    pytest.skip("another shared clock than that of five players")
  want = {3: recorded.group(f"{after}/")}
  history = recorded.trained(shared_clock=shared)
  if shared:
    want[1] = recorded.group("after1/")
    check_gradients(recorded, history[0][0])
    for k, (_, metrics) in enumerate(history):
      for theirs, loss in recorded.group(f"loss/step{k}/").items():
        term = TERMS[theirs.split("/")[-1]]
        close(metrics[term], loss, FORWARD if k == 0 else STEPS)
    state = history[2][0]
    ema = recorded.places.params(recorded.group("ema_after3/"))
    # Its biases before norms have moved as those of the parameters.
    got = state.extras["ema"], state.collections
    check(recorded, close, 3, got, (ema, state.collections))
  for k, arrays in want.items():
    state, places = history[k - 1][0], recorded.places
    got = state.params, state.collections
    expected = places.params(arrays), places.collections(arrays)
    check(recorded, close, k, got, expected)
    if recorded.u:
      close(state.extras["u"], places.vectors(arrays), STEPS)


def check(recorded, close, k, got, want):
  """(params, collections) after k steps, or params alone."""
  # The bias correction of a clock that runs five times as fast lets Adam take
  # steps of up to sqrt(t) learning rates.
  way = recorded.hp("learning_rate") * np.sqrt(5 * np.arange(1, k + 1)).sum()
  for name in SCOPES:
    of = [(params[name], stats[name]) for params, stats in (got, want)]
    if of[1][1]:
      layout.check_but_biases_before_norms(*of, close, STEPS, way)
    else:
      close(of[0][0], of[1][0], STEPS)


def check_gradients(recorded, state):
  """Of every player, in the first step."""
  for name, group in GROUPS.items():
    arrays = recorded.group(f"grad/{group}/")
    got = layout.first_gradient(state.opt_state, name, recorded.hp("b1"))
    want = recorded.places.read(arrays, name, LAYER, NORM)
    # Zero but for rounding.
    for params in (got, want):
      layout.pop_biases_before_norms(params)
    got, want = flatten_dict(got), flatten_dict(want)
    # What cancels out is not known better than to the rounding of the largest.
    floor = np.finfo(np.float32).eps * max(
      np.abs(w).max() for w in want.values()
    )
    for path, w in want.items():
      atol = max(GRADIENT.float32 * np.abs(w).max(), floor)
      if name in FAKES and path[-2:] == ("dense_out", "bias"):
        atol = max(atol, rounding_of_halves(recorded, name))
      np.testing.assert_allclose(got[path], w, rtol=0, atol=atol)


# The logits of each discriminator for pairs that are not real.
FAKES = {"xz": "xz_gen_logit", "xx": "xx_fake_logit", "zz": "zz_fake_logit"}


def rounding_of_halves(recorded, name):
  """Of the gradient of the last bias, which float32 makes of two halves.

  They are the means of p - 1 over real pairs and of p over the others, of
  opposite signs and nearly one size: their sum is a multiple of their rounding.
  """
  logits = recorded.arrays[f"out/train/{FAKES[name]}"]
  return np.spacing(np.float32(jax.nn.sigmoid(logits).mean()))


def test_scores(recorded, close):
  detector, state = recorded.start()
  after = recorded.group("after3/")
  places = recorded.places
  ema = places.params(recorded.group("ema_after3/"))
  state = state.replace(
    params=places.params(after),
    collections=places.collections(after),
    extras={"ema": ema, "u": places.vectors(after)},
  )
  x = recorded.batch("score")
  parts = jax.jit(detector.score)(state, x, None).parts
  want = recorded.group("score/")
  for name, part in parts.items():
    close(part, want[name], STEPS)


def test_sizes_of_the_official_networks():
  """Parameters, and statistics and vectors, as golden_full.json has them."""
  official = {
    (32, 32, 3): (IMAGES, 3449572, 3449475, 11859329, 226177, 14977, 9248),
    (121,): (KDD, 9888, 26041, 53121, 31233, 2113, 256),
    (274,): (ARRHYTHMIA, 111552, 111762, 109825, 173569, 10369, 256),
  }
  count = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
  for shape, (layers, *counts, rest) in official.items():
    detector = jaxad.alad(tables=layers)
    x = jax.ShapeDtypeStruct((1, *shape), np.float32)
    state = jax.eval_shape(detector.init, jax.random.key(0), {"x": x})
    assert [count(state.params[name]) for name in SCOPES] == counts
    assert count((state.collections, state.extras["u"])) == rest
