# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""MLEP for images against a recording of a transcription of its design."""

import jax
import jax.numpy as jnp
import layout
import numpy as np
import pytest
import reference_trunk
from recording import FORWARD, GRADIENT, STEPS, Tolerance

import jaxad
from jaxad.methods.mlep import Decoder
from jaxad.networks.variables import apply_eval, apply_train

# After a subtraction of the smallest.
SCALED = Tolerance(1e-4, 1e-5)


@pytest.fixture
def golden(load_golden):
  return load_golden("mlep")


def tree(arrays):
  """(params, running statistics)."""
  trunk = reference_trunk.layers(arrays, reference_trunk.TRUNK)
  numbers = sorted(
    int(k.split(".")[1])
    for k, v in arrays.items()
    if k.startswith("decoder.") and v.ndim == 4
  )
  names = {str(n): f"conv_{k}" for k, n in enumerate(numbers[:-1])}
  names |= {str(n + 1): f"norm_{k}" for k, n in enumerate(numbers[:-1])}
  names[str(numbers[-1])] = "conv_out"
  params, running = reference_trunk.layers(
    arrays, "decoder.", names.__getitem__
  )
  for k, n in enumerate(numbers[:-1]):
    params[f"conv_{k}"]["kernel"] = layout.conv_transpose_kernel(
      arrays[f"decoder.{n}.weight"]
    )
  return (
    {"trunk": trunk[0], "decoder": params},
    {"trunk": trunk[1], "decoder": running},
  )


def triplets(golden, k):
  """Anchors, positives and negatives of a step, [3 N, 3, S, S]."""
  names = ("anchor", "positive", "negative")
  return np.concatenate([golden[f"input/{name}"][k] for name in names])


@pytest.fixture
def make(golden, precision):
  """From a group of arrays to (detector, a state with them)."""

  assert golden.hp("n_scales") == 1, "MLEP looks at images at one scale"

  def make(arrays="param/"):
    detector = jaxad.mlep(
      margin=golden.cfg("margin"),
      lam=golden.cfg("lambda"),
      trunk=reference_trunk.trunk(golden),
      optimizer=reference_trunk.optimizer(golden),
    )
    batch = {"x": reference_trunk.pixels(triplets(golden, 0))}
    state = layout.recorded_state(
      detector, batch, *tree(golden.group(arrays)), precision
    )
    shape = state.extras["prototype"].shape
    return detector, state.replace(extras={"prototype": jnp.zeros(shape)})

  return make


def test_three_steps(golden, make, close):
  detector, state = make()
  first, step = state.params, jax.jit(detector.phases[0].step)
  n = golden["input/anchor"].shape[1]
  for k in range(3):
    batch = {
      "x": reference_trunk.pixels(triplets(golden, k)),
      "label": np.repeat([0, 0, 1], n),
    }
    state, metrics = step(state, batch, {"augmentation": None})
    terms = ("loss", "pred", "margin", "intra", "inter")
    recorded = golden["loss/train_total_pred_margin_intra_inter"][k]
    for name, want in zip(terms, recorded, strict=True):
      close(metrics[name], want, FORWARD if k == 0 else STEPS)
    norm = golden["loss/grad_norm_before_clip"][k]
    close(metrics["gradient_norm"], norm, GRADIENT if k == 0 else STEPS)
    if k == 0:
      grads, _ = tree(golden.group("grad/"))
      reference_trunk.check_first_gradient(
        golden, state.opt_state, grads, first, close
      )
    if k in (0, 2):
      params, running = tree(golden.group(f"after{k + 1}/"))
      close(state.params, params, STEPS)
      close(state.collections, running, STEPS)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_forward(golden, close, mode):
  params, running = tree(golden.group("param/"))
  net = reference_trunk.trunk(golden)
  x = layout.channels_last(triplets(golden, 0))

  @jax.jit
  def forward(x):
    train, decoder = (
      mode == "train",
      Decoder(x.shape[1], x.shape[-1], golden.hp("bn_eps")),
    )
    maps, _ = net.features(params["trunk"], running["trunk"], x, train)
    if train:
      return maps[0], apply_train(decoder, params["decoder"], maps[0])[0]
    return maps[0], apply_eval(
      decoder, params["decoder"], running["decoder"], maps[0]
    )

  y, x_hat = forward(x)
  x_hat = layout.channels_first(x_hat)
  close(layout.channels_first(y), golden[f"out/{mode}/features"], FORWARD)
  close(x_hat[:1], golden[f"out/{mode}/reconstruction_first"], FORWARD)
  got = np.abs(x_hat).mean((1, 2, 3))
  close(got, golden[f"out/{mode}/reconstruction_mean_abs"], FORWARD)


def test_scores(golden, make, close):
  detector, state = make("after3/")
  anchors = reference_trunk.pixels(golden["input/anchor"][0])
  # Padding does not count.
  batch = {
    "x": np.concatenate([anchors, 1 - anchors]),
    "weight": np.repeat([1.0, 0.0], len(anchors)).astype(anchors.dtype),
  }
  state = detector.phases[0].fit(state, [batch])
  prototype = layout.channels_first(state.extras["prototype"])
  close(prototype, golden["score/prototype"], FORWARD)
  x = reference_trunk.pixels(golden["input/test_images"])
  scores = jax.jit(detector.score)(state, x, None)
  close(scores.image, golden["score/feature_distance"], FORWARD)
  error = scores.parts["reconstruction"]
  close(error, golden["score/recon_mse"], FORWARD)
  psnr = 10 * np.log10(1 / error)
  close(psnr, golden["score/psnr"], FORWARD)
  want = golden["score/one_minus_minmax_psnr"]
  got = 1 - (psnr - psnr.min()) / np.ptp(psnr)
  close(got, want, SCALED)
