# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Skip-GANomaly against a recording of the official implementation."""

import functools

import jax
import layout
import pytest
from layout import CONV, CONV_TRANSPOSE, NORM
from recording import ADAM, FORWARD, GRADIENT, NORMS, STEPS, STORED

import jaxad
from jaxad.evaluation.metrics import image_auroc
from jaxad.evaluation.thresholds import min_max
from jaxad.layers.batch_norm import running_average
from jaxad.methods.skip_ganomaly import Discriminator
from jaxad.networks.unet import UNet
from jaxad.networks.variables import apply_eval, apply_train

TERMS = {
  "err_g": "loss",
  "err_g_adv": "adversarial",
  "err_g_con": "contextual",
  "err_g_lat": "latent",
  "err_d": "d_loss",
  "err_d_real": "d_real",
  "err_d_fake": "d_fake",
}
KEYWORDS = ADAM | NORMS
KEYWORDS |= {
  "adversarial_weight": "w_adv",
  "contextual_weight": "w_con",
  "latent_weight": "w_lat",
  "d_lat_sign": "d_lat_sign",
  "noise": "noise_std",
  "reinit_below": "reinit_below",
  "lam": "score_lambda",
  "slope": "leaky_slope",
}


@pytest.fixture
def golden(load_golden):
  return load_golden("skip_ganomaly")


def generator_names(arrays):
  """{our layer: (kind, their layer)}; level by level, the next inside."""
  names = {
    "down_0": (CONV, "netG.model.model.0"),
    "up_0": (CONV_TRANSPOSE, "netG.model.model.3"),
  }
  inner, level = "netG.model.model.1.model", 1
  while f"{inner}.5.weight" in arrays:
    names |= {
      f"down_{level}": (CONV, f"{inner}.1"),
      f"down_norm_{level}": (NORM, f"{inner}.2"),
      f"up_{level}": (CONV_TRANSPOSE, f"{inner}.5"),
      f"up_norm_{level}": (NORM, f"{inner}.6"),
    }
    inner, level = f"{inner}.3.model", level + 1
  return names | {
    f"down_{level}": (CONV, f"{inner}.1"),
    f"up_{level}": (CONV_TRANSPOSE, f"{inner}.3"),
    f"up_norm_{level}": (NORM, f"{inner}.4"),
  }


class Reference:
  """Reads groups of arrays that have the reference's names."""

  def __init__(self, arrays):
    self._generator = generator_names(arrays)
    self._encoder = layout.dcgan_names(arrays, "netD.feat.")

  def params(self, arrays):
    classifier = {"classifier": (CONV, "netD.clas.classifier")}
    return {
      "generator": layout.params_of(arrays, self._generator),
      "discriminator": {"features": layout.params_of(arrays, self._encoder)}
      | layout.params_of(arrays, classifier),
    }

  def collections(self, arrays):
    features = {"features": layout.stats_of(arrays, self._encoder)}
    return {
      "generator": {"batch_stats": layout.stats_of(arrays, self._generator)},
      "discriminator": {"batch_stats": features},
    }


@pytest.fixture
def reference(golden):
  return Reference(golden.group("param/"))


@pytest.fixture
def initial(golden, reference):
  """(params, collections)."""
  arrays = golden.group("param/")
  return reference.params(arrays), reference.collections(arrays)


@pytest.fixture
def networks(golden, initial):
  params = initial[0]
  encoder = params["discriminator"]["features"]
  how = golden.hp("leaky_slope"), golden.hp("bn_eps")
  return {
    "generator": UNet(params["generator"]["down_0"]["kernel"].shape[-1], *how),
    "discriminator": Discriminator(
      encoder["conv_out"]["kernel"].shape[-1],
      encoder["conv_0"]["kernel"].shape[-1],
      *how,
    ),
  }


@pytest.fixture
def start(golden, initial, networks, precision):
  """Returns a function that makes a detector and its recorded state."""

  def make(**keywords):
    detector = jaxad.skip_ganomaly(
      latent_dim=networks["discriminator"].latent_dim,
      width=networks["generator"].width,
      width_d=networks["discriminator"].width,
      **golden.keywords(**KEYWORDS) | keywords,
    )
    state = layout.recorded_state(
      detector, batch(golden, 1), *initial, precision
    )
    return detector, state

  return make


def batch(golden, k):
  return {"x": layout.unit_range(golden[f"input/x{k}"])}


def trained(golden, detector, state):
  """[(state, metrics)] after each of the recorded steps."""
  step = jax.jit(detector.phases[0].step)
  history = []
  for k in (1, 2, 3):
    noise = None
    if golden.hp("noise_std"):
      noise = layout.channels_last(golden[f"input/noise{k}"])
    draws = {"noise": noise, "reinit": jax.random.key(k)}
    state, metrics = step(state, batch(golden, k), draws)
    history.append((state, metrics))
  return history


@pytest.mark.parametrize(
  "mode, apply", [("train", layout.by_batch), ("eval", apply_eval)]
)
def test_forward(golden, initial, networks, close, mode, apply):
  x = layout.channels_last(golden["input/x1"])
  params, collections = initial

  @functools.partial(jax.jit, static_argnums=0)
  def run(name, x):
    return apply(networks[name], params[name], collections[name], x)

  fake = run("generator", x)
  got = {"fake": layout.channels_first(fake)}
  for name, image in (("real", x), ("fake", fake)):
    logit, code = run("discriminator", image)
    got[f"pred_{name}"] = jax.nn.sigmoid(logit)
    got[f"feat_{name}"] = code[..., None, None]
  for name, want in golden.group(f"out/{mode}/").items():
    close(got[name], want, FORWARD)


def test_three_steps(golden, reference, start, close):
  history = trained(golden, *start())
  for k, (state, metrics) in enumerate(history, 1):
    for theirs, want in golden.group(f"loss/step{k}/").items():
      close(metrics[TERMS[theirs]], want, FORWARD if k == 1 else STEPS)
    if k in (1, 3):
      want = golden.group(f"after{k}/")
      close(state.params, reference.params(want), STEPS)
      close(state.collections, reference.collections(want), STEPS)


@pytest.mark.parametrize("d_lat", ["as recorded", "ignored"])
def test_gradients(golden, reference, start, close, d_lat):
  arrays, keywords = golden.group("grad/"), {}
  if d_lat == "ignored":
    arrays |= golden.group("grad_d_nolat/")
    keywords["d_lat_sign"] = 0
  state, _ = trained(golden, *start(**keywords))[0]
  want = reference.params(arrays)
  for player in want:
    got = layout.first_gradient(state.opt_state, player, golden.hp("b1"))
    close(got, want[player], GRADIENT)


@pytest.fixture
def after_three(golden, reference, start):
  """(detector, the recorded state after three steps)."""
  detector, state = start()
  arrays = golden.group("after3/")
  return detector, state.replace(
    params=reference.params(arrays), collections=reference.collections(arrays)
  )


def check_scores(golden, close, mode, image, parts):
  close(parts["reconstruction"], golden[f"score/{mode}_rec"], STORED)
  close(parts["latent"], golden[f"score/{mode}_lat"], STORED)
  close(image, golden[f"score/{mode}_raw"], STORED)
  close(min_max(image), golden[f"score/{mode}_scaled"], STORED)
  auroc = image_auroc(golden["score/label"], image)
  assert auroc == pytest.approx(float(golden[f"score/{mode}_auroc"]))


def test_scores(golden, after_three, close):
  detector, state = after_three
  x = layout.unit_range(golden["score/x"])
  scores = jax.jit(detector.score)(state, x, None)
  check_scores(golden, close, "eval", scores.image, scores.parts)


def test_official_scores(golden, reference, networks, after_three, close):
  """Statistics of each test batch, which leak into the running ones."""
  detector, state = after_three
  x = layout.unit_range(golden["score/x"])
  size = golden["input/x1"].shape[0]
  batches = [x[k : k + size] for k in range(0, len(x), size)]
  score = jax.jit(detector.official.score)
  scores = [score(state, x, None)[0] for x in batches]
  scores = jax.tree.map(lambda *v: jax.numpy.concatenate(v), *scores)
  check_scores(golden, close, "batchstat", scores.image, scores.parts)

  @jax.jit
  def statistics(x):
    g, d = (state.params[name] for name in ("generator", "discriminator"))
    x = 2 * x - 1
    x_hat, generated = apply_train(networks["generator"], g, x)
    passes = [apply_train(networks["discriminator"], d, i) for i in (x, x_hat)]
    return {"generator": [generated], "discriminator": [s for _, s in passes]}

  leaked = state.collections
  for x in batches:
    passes = statistics(x)
    leaked = {
      name: running_average(
        leaked[name], *passes[name], momentum=golden.hp("bn_momentum")
      )
      for name in leaked
    }
  want = reference.collections(golden.group("after_test/"))
  close(leaked, want, STORED)
