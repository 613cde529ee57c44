# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""GANomaly against a recording of the official implementation."""

import functools
from typing import NamedTuple

import jax
import layout
import pytest
from recording import ADAM, FORWARD, GRADIENT, NORMS, STEPS, STORED

import jaxad
from jaxad.evaluation.metrics import image_auroc
from jaxad.evaluation.thresholds import min_max
from jaxad.layers.batch_norm import running_average
from jaxad.methods.ganomaly import Generator
from jaxad.networks.dcgan import Encoder
from jaxad.networks.variables import apply_eval, apply_train

TERMS = {
  "err_g": "loss",
  "err_g_adv": "adversarial",
  "err_g_con": "contextual",
  "err_g_enc": "encoder",
  "err_d": "d_loss",
  "err_d_real": "d_real",
  "err_d_fake": "d_fake",
}
KEYWORDS = ADAM | NORMS
KEYWORDS |= {
  "adversarial_weight": "w_adv",
  "contextual_weight": "w_con",
  "encoder_weight": "w_enc",
  "extra_layers": "extra_layers",
  "reinit_below": "reinit_below",
  "slope": "leaky_slope",
}
OBJECTIVES = {"v1": "official_2018", "v4": "official"}


@pytest.fixture
def golden(load_golden):
  return load_golden("ganomaly")


class Reference(NamedTuple):
  """Names of the layers of all networks, {ours: (kind, theirs)}."""

  generator: dict[str, dict]
  discriminator: dict

  def params(self, arrays):
    return {
      "generator": self.of_generator(arrays, layout.params_of),
      "discriminator": layout.params_of(arrays, self.discriminator),
    }

  def collections(self, arrays):
    stats = {
      "generator": self.of_generator(arrays, layout.stats_of),
      "discriminator": layout.stats_of(arrays, self.discriminator),
    }
    return {name: {"batch_stats": found} for name, found in stats.items()}

  def of_generator(self, arrays, read):
    return {ours: read(arrays, net) for ours, net in self.generator.items()}


@pytest.fixture
def reference(golden):
  arrays = golden.group("param/")
  parts = {"encoder_1": "encoder1", "encoder_2": "encoder2"}
  parts["decoder"] = "decoder"
  return Reference(
    {
      k: layout.dcgan_names(arrays, f"netG.{v}.main.") for k, v in parts.items()
    },
    layout.dcgan_names(arrays, "netD."),
  )


@pytest.fixture
def initial(golden, reference):
  """(params, collections)."""
  arrays = golden.group("param/")
  return reference.params(arrays), reference.collections(arrays)


@pytest.fixture
def sizes(initial):
  """(latent_dim, width)."""
  encoder = initial[0]["generator"]["encoder_1"]
  return (
    encoder["conv_out"]["kernel"].shape[-1],
    encoder["conv_0"]["kernel"].shape[-1],
  )


@pytest.fixture
def networks(golden, sizes):
  latent_dim, width = sizes
  layers = [
    golden.hp(name) for name in ("extra_layers", "leaky_slope", "bn_eps")
  ]
  return {
    "generator": Generator(latent_dim, width, *layers),
    "discriminator": Encoder(1, width, *layers),
  }


@pytest.fixture
def start(golden, initial, sizes, precision):
  """Returns a function that makes a detector and its recorded state."""
  if golden.hp("objective") not in OBJECTIVES:
    pytest.skip(f"objective {golden.hp('objective')} is none of ours")

  def make(**keywords):
    recorded = golden.keywords(**KEYWORDS) | {
      "objective": OBJECTIVES[golden.hp("objective")]
    }
    detector = jaxad.ganomaly(
      latent_dim=sizes[0], width=sizes[1], **recorded | keywords
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
    draws = {"reinit": jax.random.key(k)}
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

  fake, z, z_hat = run("generator", x)
  (real_logit, real), (fake_logit, generated) = (
    run("discriminator", image) for image in (x, fake)
  )
  got = {
    "fake": layout.channels_first(fake),
    "latent_i": z[..., None, None],
    "latent_o": z_hat[..., None, None],
    "pred_real": jax.nn.sigmoid(real_logit[:, 0]),
    "pred_fake": jax.nn.sigmoid(fake_logit[:, 0]),
    "feat_real": layout.channels_first(real),
    "feat_fake": layout.channels_first(generated),
  }
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


def test_gradients(golden, reference, start, close):
  state, _ = trained(golden, *start())[0]
  want = reference.params(golden.group("grad/"))
  for player in want:
    got = layout.first_gradient(state.opt_state, player, golden.hp("b1"))
    close(got, want[player], GRADIENT)


def test_objective_of_2018(golden, reference, start, close):
  """Recorded at the initial parameters, so the discriminator stands still."""
  loss, arrays = (
    golden.group(f"{name}/")
    for name in ("loss/variant2018", "grad_variant2018")
  )
  detector, state = start(objective="official_2018", learning_rate=0.0)
  state, metrics = trained(golden, detector, state)[0]
  close(metrics["adversarial"], loss["err_g_bce"], FORWARD)
  close(metrics["loss"], loss["err_g"], FORWARD)
  got = layout.first_gradient(state.opt_state, "generator", golden.hp("b1"))
  for part, names in reference.generator.items():
    if f"{names['conv_0'][1]}.weight" in arrays:
      close(got[part], layout.params_of(arrays, names), GRADIENT)


@pytest.fixture
def after_three(golden, reference, start):
  """(detector, the recorded state after three steps)."""
  detector, state = start()
  arrays = golden.group("after3/")
  return detector, state.replace(
    params=reference.params(arrays), collections=reference.collections(arrays)
  )


def check_scores(golden, close, mode, scores):
  close(scores, golden[f"score/{mode}_raw"], STORED)
  close(min_max(scores), golden[f"score/{mode}_scaled"], STORED)
  auroc = image_auroc(golden["score/label"], scores)
  assert auroc == pytest.approx(float(golden[f"score/{mode}_auroc"]))


def test_scores(golden, after_three, close):
  detector, state = after_three
  x = layout.unit_range(golden["score/x"])
  scores = jax.jit(detector.score)(state, x, None)
  check_scores(golden, close, "eval", scores.image)


def test_official_scores(golden, reference, networks, after_three, close):
  """Statistics of each test batch, which leak into the running ones."""
  detector, state = after_three
  x = layout.unit_range(golden["score/x"])
  size = golden["input/x1"].shape[0]
  parts = [x[k : k + size] for k in range(0, len(x), size)]
  score = jax.jit(detector.official.score)
  scores = [score(state, part, None)[0].image for part in parts]
  check_scores(golden, close, "batchstat", jax.numpy.concatenate(scores))

  statistics = jax.jit(
    lambda x: apply_train(networks["generator"], state.params["generator"], x)[
      1
    ]
  )
  passes = [statistics(2 * part - 1) for part in parts]
  leaked = running_average(
    state.collections["generator"], *passes, momentum=golden.hp("bn_momentum")
  )
  want = reference.of_generator(golden.group("after_test/"), layout.stats_of)
  close(leaked, {"batch_stats": want}, STORED)
