# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""GANomaly against a recording of the official implementation.

Tolerances are relative to the largest entry of the array compared: forward and
losses 1e-5, gradients 1e-4, what follows from training steps 1e-3, and a tenth
of that in float64.
"""

import functools
import re
from typing import NamedTuple

import jax
import layout
import pytest

import jaxad
from jaxad.evaluation.thresholds import min_max
from jaxad.layers.batch_norm import running_average
from jaxad.methods.ganomaly import Generator
from jaxad.evaluation.metrics import image_auroc
from jaxad.networks.dcgan import Encoder
from jaxad.networks.variables import apply_eval, apply_train

FORWARD, GRADIENT, STEPS = 1e-5, 1e-4, 1e-3
B1, MOMENTUM = 0.5, 0.9
TERMS = {
  "err_g": "loss",
  "err_g_adv": "adversarial",
  "err_g_con": "contextual",
  "err_g_enc": "encoder",
  "err_d": "d_loss",
  "err_d_real": "d_real",
  "err_d_fake": "d_fake",
}


@pytest.fixture
def golden(load_golden):
  return load_golden("ganomaly")


class Names(NamedTuple):
  """The reference's names of one network's layers, in our order."""

  prefix: str
  convs: list[str]
  norms: list[str]

  @property
  def transposed(self):
    return any("convt" in name for name in self.convs)

  def params(self, arrays):
    convs = {
      f"conv_{k}": {
        "kernel": self.kernel(arrays[f"{self.prefix}{name}.weight"])
      }
      for k, name in zip(self.numbers(), self.convs, strict=True)
    }
    return convs | self._norms(arrays, scale="weight", bias="bias")

  def stats(self, arrays):
    return self._norms(arrays, mean="running_mean", var="running_var")

  def kernel(self, w):
    if self.transposed:
      return layout.conv_transpose_kernel(w)
    return layout.conv_kernel(w)

  def numbers(self):
    return [*range(len(self.convs) - 1), "out"]

  def _norms(self, arrays, **leaves):
    # The first convolution down has no norm.
    first = 0 if self.transposed else 1
    return {
      f"norm_{k}": {
        ours: arrays[f"{self.prefix}{name}.{theirs}"]
        for ours, theirs in leaves.items()
      }
      for k, name in enumerate(self.norms, first)
    }


def rank(layer):
  """Sorts initial-conv-3-8, pyramid-8-16-conv, pyramid-16-..., final-...

  The discriminator has features.0, features.2, ..., classifier.0.
  """
  role = ("initial", "features", "pyramid", "final", "classifier")
  return (
    role.index(re.match("[a-z]+", layer)[0]),
    int(re.findall(r"\d+", layer)[0]),
  )


def names(arrays, prefix):
  """Reads a network's layers off the shapes of its parameters."""
  layers = lambda rank_of: {
    k.removeprefix(prefix).rpartition(".")[0]
    for k, v in arrays.items()
    if k.startswith(prefix) and v.ndim == rank_of
  }
  # A decoder's widths descend.
  descends = any("convt" in name for name in layers(4))
  key = lambda n: (rank(n)[0], rank(n)[1] * (-1 if descends else 1))
  return Names(prefix, sorted(layers(4), key=key), sorted(layers(1), key=key))


class Reference(NamedTuple):
  """Names of all networks."""

  generator: dict[str, Names]
  discriminator: Names

  def params(self, arrays):
    return {
      "generator": self.of_generator(arrays, Names.params),
      "discriminator": self.discriminator.params(arrays),
    }

  def stats(self, arrays):
    return {
      "generator": self.of_generator(arrays, Names.stats),
      "discriminator": self.discriminator.stats(arrays),
    }

  def of_generator(self, arrays, read):
    return {ours: read(net, arrays) for ours, net in self.generator.items()}


@pytest.fixture
def reference(golden):
  arrays = golden.group("param/")
  parts = {"encoder_1": "encoder1", "encoder_2": "encoder2"}
  parts["decoder"] = "decoder"
  return Reference(
    {k: names(arrays, f"netG.{v}.main.") for k, v in parts.items()},
    names(arrays, "netD."),
  )


@pytest.fixture
def initial(golden, reference):
  """(params, batch_stats)."""
  arrays = golden.group("param/")
  return reference.params(arrays), reference.stats(arrays)


@pytest.fixture
def sizes(initial):
  """(latent_dim, width)."""
  encoder = initial[0]["generator"]["encoder_1"]
  return (
    encoder["conv_out"]["kernel"].shape[-1],
    encoder["conv_0"]["kernel"].shape[-1],
  )


@pytest.fixture
def start(golden, initial, sizes, precision):
  """Returns a function that makes a detector and its recorded state."""

  def make(**keywords):
    detector = jaxad.ganomaly(latent_dim=sizes[0], width=sizes[1], **keywords)
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


def by_batch(module, params, stats, x):
  del stats
  return apply_train(module, params, x)[0]


@pytest.mark.parametrize(
  "mode, apply", [("train", by_batch), ("eval", apply_eval)]
)
def test_forward(golden, initial, sizes, close, mode, apply):
  x = layout.channels_last(golden["input/x1"])
  params, stats = initial
  networks = {
    "generator": Generator(*sizes, extra_layers=0),
    "discriminator": Encoder(1, sizes[1]),
  }

  @functools.partial(jax.jit, static_argnums=0)
  def run(name, x):
    return apply(networks[name], params[name], stats[name], x)

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
      close(state.batch_stats, reference.stats(want), STEPS)


def test_gradients(golden, reference, start, close):
  state, _ = trained(golden, *start())[0]
  want = reference.params(golden.group("grad/"))
  for player in want:
    got = layout.first_gradient(state.opt_state, player, B1)
    close(got, want[player], GRADIENT)


def test_objective_of_2018(golden, reference, start, close):
  """Recorded at the initial parameters, so the discriminator stands still."""
  detector, state = start(objective="official_2018", learning_rate=0.0)
  state, metrics = trained(golden, detector, state)[0]
  close(metrics["adversarial"], golden["loss/variant2018/err_g_bce"], FORWARD)
  close(metrics["loss"], golden["loss/variant2018/err_g"], FORWARD)
  got = layout.first_gradient(state.opt_state, "generator", B1)
  want = reference.generator["decoder"].params(
    golden.group("grad_variant2018/")
  )
  close(got["decoder"], want, GRADIENT)


@pytest.fixture
def after_three(golden, reference, start):
  """(detector, the recorded state after three steps)."""
  detector, state = start()
  arrays = golden.group("after3/")
  return detector, state.replace(
    params=reference.params(arrays), batch_stats=reference.stats(arrays)
  )


def test_scores(golden, after_three, close):
  detector, state = after_three
  scores = jax.jit(detector.score)(
    state, layout.unit_range(golden["score/x"]), None
  )
  close(scores.image, golden["score/eval_raw"], STEPS)
  close(min_max(scores.image), golden["score/eval_scaled"], STEPS)
  auroc = image_auroc(golden["score/label"], scores.image)
  assert auroc == pytest.approx(float(golden["score/eval_auroc"]))


def test_official_scores(golden, reference, sizes, after_three, close):
  """Statistics of each test batch, which leak into the running ones."""
  detector, state = after_three
  x = layout.unit_range(golden["score/x"])
  size = golden["input/x1"].shape[0]
  parts = [x[k : k + size] for k in range(0, len(x), size)]
  score = jax.jit(detector.official_score)
  scores = [score(state, part, None).image for part in parts]
  scores = jax.numpy.concatenate(scores)
  close(scores, golden["score/batchstat_raw"], STEPS)
  close(min_max(scores), golden["score/batchstat_scaled"], STEPS)
  auroc = image_auroc(golden["score/label"], scores)
  assert auroc == pytest.approx(float(golden["score/batchstat_auroc"]))

  generator = Generator(*sizes, extra_layers=0)
  statistics = jax.jit(
    lambda x: apply_train(generator, state.params["generator"], x)[1]
  )
  passes = [statistics(2 * part - 1) for part in parts]
  leaked = running_average(
    state.batch_stats["generator"], *passes, momentum=MOMENTUM
  )
  want = reference.of_generator(golden.group("after_test/"), Names.stats)
  close(leaked, want, STEPS)
