# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""CAVGA against a recording of a transcription of the paper in PyTorch.

The recording has no code of the authors to come from. It says nothing of how
the trunk's images are standardised: they are in [0, 1] there.
"""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import layout
import numpy as np
import pytest
import reference_trunk
from layout import CONV, CONV_TRANSPOSE, NORM
from recording import ADAM, FORWARD, GRADIENT, NORMS, STEPS, Tolerance

import jaxad
from jaxad.layers.attention import grad_cam
from jaxad.networks import cavga as networks
from jaxad.networks import resnet
from jaxad.networks.pyramid import Trunk
from jaxad.networks.variables import apply_train

# Single precision behind many norms over few values: PyTorch's own float32 is
# 2e-5 off its float64.
DECODED = Tolerance(5e-5, FORWARD.float64)
SLOPE = {"slope": "leaky_slope"}
WEIGHTS = {n: n for n in ("w_rec", "w_adv", "w_ae", "w_c", "w_cga")}
SUPERVISION = {"u": "none", "w": "weak"}
TERMS = {
  "rec": "reconstruction",
  "kl": "kl",
  "adv_D": "d_loss",
  "adv_G": "adversarial",
  "ae": "attention",
  "bce": "classification",
  "cga": "guided",
  "total": "loss",
}
PARTS = {
  "E.trunk.": "trunk",
  "E.": "latent",
  "Dec.": "decoder",
  "D.": "discriminator",
  "C.": "classifier",
}
LATENT = {"conv_mu": (CONV, "mu"), "conv_logvar": (CONV, "logvar")}
BLOCK = {
  "conv_1": (CONV, "conv1"),
  "norm_1": (NORM, "bn1"),
  "conv_2": (CONV, "conv2"),
  "norm_2": (NORM, "bn2"),
  "conv_skip": (CONV, "skip"),
  "norm_skip": (NORM, "bns"),
}


@pytest.fixture
def golden(load_golden):
  return load_golden("cavga")


def by_network(arrays):
  """{network: {the rest of the name: array}}."""
  found = {}
  for key, value in arrays.items():
    prefix = next(p for p in PARTS if key.startswith(p))
    found.setdefault(PARTS[prefix], {})[key.removeprefix(prefix)] = value
  return found


def widths_of(arrays, kernel, axis):
  """{how wide: name} of the convolutions with kernels of such a side."""
  return {
    value.shape[axis]: key.removesuffix(".weight")
    for key, value in arrays.items()
    if value.ndim == 4 and value.shape[-1] == kernel
  }


def dcgan_names(arrays, ours):
  """Of convolutions down, by their place: {ours: (kind, theirs)}."""
  return {
    f"{ours[kind]}_{int(k) - 1}": (kind, f"{prefix}{theirs}{k}")
    for prefix, theirs, k in {
      re.match(r"(.*?)(conv|bn)(\d+)\.", key).groups()
      for key in arrays
      if re.match(r".*?(conv|bn)\d+\.", key)
    }
    for kind in [CONV if theirs == "conv" else NORM]
  }


def decoder_names(arrays):
  """Of a DCGAN's decoder, whose maps get narrower from layer to layer."""
  (first,) = widths_of(arrays, 1, 0).values()
  convs = widths_of(arrays, 4, 0)
  *ups, last = (convs[width] for width in sorted(convs, reverse=True))
  norms = {
    value.size: key.removesuffix(".running_var")
    for key, value in arrays.items()
    if key.endswith(".running_var")
  } or {
    value.size: key.removesuffix(".weight")
    for key, value in arrays.items()
    if key.endswith(".weight") and value.ndim == 1
  }
  names = {"conv_in": (CONV, first), "conv_out": (CONV_TRANSPOSE, last)}
  names |= {f"up_conv_{k}": (CONV_TRANSPOSE, n) for k, n in enumerate(ups)}
  widths = sorted(norms, reverse=True)
  names |= {f"up_norm_{k}": (NORM, norms[n]) for k, n in enumerate(widths)}
  return names


def network(name, arrays, variant):
  """(params, statistics) of one network, of what is recorded of it."""
  if name == "classifier":
    return {"logits": {k: v for k, v in arrays.items()}}, {}
  if name == "trunk" and variant == "R":
    params, running = reference_trunk.layers(arrays, "")
    return params, running.get("batch_stats", {})
  read = lambda arrays, names: (
    layout.params_of(arrays, names),
    layout.stats_of(arrays, names)
    if any("running" in key for key in arrays)
    else {},
  )
  if name == "latent":
    return read(arrays, LATENT)
  ours = {CONV: "conv", NORM: "norm"}
  if name == "trunk":
    return read(arrays, dcgan_names(arrays, ours))
  if name == "discriminator":
    names = dcgan_names(arrays, ours) | {"conv_out": (CONV, "out")}
    return read(arrays, names)
  if variant == "D":
    return read(arrays, decoder_names(arrays))
  ends = {"conv_in": (CONV, "inp"), "conv_out": (CONV, "out")}
  params, running = read(arrays, ends)
  blocks = {m[1] for key in arrays if (m := re.match(r"up(\d+)\.", key))}
  for k in blocks:
    names = {n: (kind, f"up{k}.{n_}") for n, (kind, n_) in BLOCK.items()}
    ours = f"up_{int(k) - 1}"
    params[ours], found = read(arrays, names)
    running |= {ours: found} if found else {}
  return params, running


@pytest.fixture
def tree(golden):
  """Reads what is recorded: (params, collections) by network."""
  of_codes = golden["input/eps0"].shape[1:]

  def classifier(arrays):
    # Of codes that are flattened channels first.
    weight = arrays["weight"].reshape(-1, *of_codes)
    kernel = layout.channels_last(weight).reshape(len(weight), -1).T
    return {"kernel": kernel, "bias": arrays["bias"]}

  def tree(arrays):
    params, collections = {}, {}
    for name, found in by_network(arrays).items():
      if name == "classifier":
        found = classifier(found)
      params[name], running = network(name, found, golden.hp("variant"))
      collections[name] = {"batch_stats": running} if running else {}
    return params, collections

  return tree


@pytest.fixture
def images(golden):
  """Reads images: in [0, 1], NHWC, at their size."""
  factor = golden.hp("upsample")
  return lambda key: layout.channels_last(
    golden[key].repeat(factor, -1).repeat(factor, -2)
  )


@pytest.fixture
def make(golden, tree, images, precision):
  """From u or w and a prefix of parameters to (detector, state)."""
  initial, first_running = tree(golden.group("param/"))

  def make(which, arrays="param/"):
    trunk = Trunk(
      weights="random",
      width=golden["param/E.trunk.conv1.weight"].shape[0],
      **golden.keywords(**NORMS),
    )
    detector = jaxad.cavga(
      supervision=SUPERVISION[which],
      trunk=trunk,
      pixels="unit",
      latent_dim=golden["input/eps0"].shape[1],
      width=golden["param/D.body.conv1.weight"].shape[0],
      **golden.keywords(**ADAM, **SLOPE, **WEIGHTS),
      **golden.keywords(variant="variant", reduction="reduction"),
    )
    params, running = tree(golden.group(arrays))
    params, running = initial | params, first_running | running
    if which == "u":
      params, running = (
        {n: v for n, v in part.items() if n != "classifier"}
        for part in (params, running)
      )
    batch = {"x": images("input/x0_lowres")}
    state = layout.recorded_state(detector, batch, params, running, precision)
    return detector, state

  return make


def batch_of(golden, images, k):
  """(batch, draws) of a step."""
  batch = {"x": images(f"input/x{k}_lowres"), "label": golden["input/y"]}
  return batch, layout.channels_last(golden[f"input/eps{k}"])


def pop_idle(params, running):
  """Takes what has no gradient but rounding out of a decoder's blocks.

  Returns:
    {name: the bias of a convolution before a norm, or the norm's running mean,
    which takes it up}.
  """
  idle = {}
  for block, layers in params.items():
    for layer, bias in layout.pop_biases_before_norms(layers).items():
      idle[block, layer] = bias
      norm = layout.norm_behind(layer)
      if block in running:
        idle[block, norm] = running[block][norm].pop("mean")
  return idle


def recorded_part(name, state, params, running):
  """What a state has of that: (params, statistics, idle) of both."""
  found = state.collections[name].get("batch_stats", {})
  both = (
    ({layer: state.params[name][layer] for layer in params}, found),
    (params, running.get("batch_stats", {})),
  )
  for params, running in both:
    running = {layer: running[layer] for layer in both[1][1]}
    params, running = jax.tree.map(np.asarray, (params, running))
    idle = pop_idle(params, running) if name == "decoder" else {}
    yield params, running, idle


def check_after(golden, tree, prefix, state, steps, close, precision):
  """Compares what is recorded of the networks after some steps.

  Parameters are compared in float64 alone: where the rounding of float32 turns
  the sign of a small gradient, Adam steps the other way.
  """
  params, running = tree(golden.group(prefix))
  way = steps * golden.hp("learning_rate")
  for name in params:
    (got, stats, idle), (want, want_stats, want_idle) = recorded_part(
      name, state, params[name], running[name]
    )
    if precision == "float64":
      close(got, want, STEPS)
    if want_stats:
      close(stats, want_stats, STEPS)
    for where, value in idle.items():
      reach = 2 * way + STEPS.float32 * np.abs(want_idle[where]).max()
      np.testing.assert_allclose(value, want_idle[where], rtol=0, atol=reach)


def check_gradients(golden, tree, prefix, state, close):
  """Compares what Adam got in the first step."""
  for name, want in tree(golden.group(prefix))[0].items():
    got = layout.first_gradient(state.opt_state, name, golden.hp("b1"))
    got, want = jax.tree.map(np.asarray, (got, want))
    if name == "decoder":
      for gradient in (got, want):
        pop_idle(gradient, {})
    close(got, want, GRADIENT, together=True)


def check_scores(golden, images, detector, state, which, close, tolerance):
  x, want = images("input/x_test_lowres"), golden.group(f"score/{which}/")
  scores = jax.jit(detector.score)(state, x, None)
  close(scores.map, want["anomaly_map"], tolerance)
  close(scores.parts["error"], want["image_score"], tolerance)
  avoided = 1 - want["A"]
  close(scores.parts["map_mean"], avoided.mean((1, 2)), tolerance)
  close(scores.parts["map_max"], avoided.max((1, 2)), tolerance)
  if which == "w":
    normal, anomalous = want["logits"].T
    close(scores.parts["classifier"], anomalous - normal, tolerance)


def test_three_steps(golden, tree, images, make, close, precision):
  """Of CAVGA_u, with the gradients of the first; and the scores."""
  detector, state = make("u")
  step = jax.jit(detector.phases[0].step)
  for k in range(3):
    state, metrics = step(state, *batch_of(golden, images, k))
    for theirs, want in golden.group(f"loss/u/step{k}/").items():
      close(metrics[TERMS[theirs]], want, FORWARD if k == 0 else STEPS)
    if k == 0:
      check_gradients(golden, tree, "grad_D/", state, close)
      check_gradients(golden, tree, "grad_u/", state, close)
    if k in (0, 2):
      prefix = f"after{k + 1}_u/"
      check_after(golden, tree, prefix, state, k + 1, close, precision)
  check_scores(golden, images, detector, state, "u", close, STEPS)


def test_step_with_labels(golden, tree, images, make, close, precision):
  """Of CAVGA_w, with its gradients; and the scores."""
  detector, state = make("w")
  step = jax.jit(detector.phases[0].step)
  state, metrics = step(state, *batch_of(golden, images, 0))
  for theirs, want in golden.group("loss/w/step0/").items():
    close(metrics[TERMS[theirs]], want, FORWARD)
  check_gradients(golden, tree, "grad_w/", state, close)
  check_after(golden, tree, "after1_w/", state, 1, close, precision)
  check_scores(golden, images, detector, state, "w", close, STEPS)


def test_forward(golden, tree, images, close):
  """What the networks make of a batch, and where their attention is."""
  params, _ = tree(golden.group("param/"))
  residual, epsilon = golden.hp("variant") == "R", golden.hp("bn_eps")
  x, noise = images("input/x0_lowres"), golden["input/eps0"]
  noise = layout.channels_last(noise)
  width = golden["param/E.trunk.conv1.weight"].shape[0]
  if residual:
    trunk = resnet.ResNet18(width=width, epsilon=epsilon)
  else:
    slope = golden.hp("leaky_slope")
    trunk = networks.DcganTrunk(width, slope=slope, epsilon=epsilon)
  levels = (x.shape[1] // noise.shape[1]).bit_length() - 1
  decoder = networks.ResidualDecoder if residual else networks.DcganDecoder
  widest = params["decoder"]["conv_in"]["kernel"].shape[-1]
  decoder = decoder(x.shape[-1], levels, widest, epsilon)
  latent = networks.Latent(noise.shape[-1])

  @jax.jit
  def forward(x, noise):
    run = lambda name, module, x: apply_train(module, params[name], x)[0]
    features = run("trunk", trunk, x)

    def sum_of_mu(features):
      mu, logvar = run("latent", latent, features)
      return mu.sum((1, 2, 3))[:, None], (mu, logvar)

    def logits(features):
      mu, logvar = run("latent", latent, features)
      z = mu + jnp.exp(logvar / 2) * noise
      return run("classifier", networks.Classifier(), z), z

    attention, _, (mu, logvar) = grad_cam(sum_of_mu, features)
    labelled, s, z = grad_cam(logits, features)
    x_hat = nn.sigmoid(run("decoder", decoder, z))
    maps = {"feat": features, "mu": mu, "logvar": logvar, "x_rec": x_hat}
    return (
      maps,
      {"A": attention[0]},
      dict(
        A_cn=labelled[0],
        A_ca=labelled[1],
        logits=s,
        indicator=(s.argmax(-1) == 0) & (golden["input/y"] == 0),
      ),
    )

  maps, of_u, of_w = forward(x, noise)
  for name, want in golden.group("out/train/").items():
    got = layout.channels_first(maps[name])
    step = got.shape[-1] // want.shape[-1]
    tolerance = DECODED if name == "x_rec" else FORWARD
    close(got[..., ::step, ::step], want, tolerance)
  for which, found in (("u", of_u), ("w", of_w)):
    for name, want in golden.group(f"out/{which}/").items():
      close(np.asarray(found[name], want.dtype), want, FORWARD)
