# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Reference arrays in the layouts of Flax, and states made of them."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxad.networks.variables import apply_train


def channels_last(x):
  """[..., C, H, W] to [..., H, W, C]."""
  return np.moveaxis(x, -3, -1)


def channels_first(x):
  """[..., H, W, C] to [..., C, H, W]."""
  return np.moveaxis(x, -1, -3)


def unit_range(x):
  """Images in [-1, 1], NCHW, to [0, 1], NHWC."""
  return (channels_last(x) + 1) / 2


def conv_kernel(w):
  """(out, in, h, w) to (h, w, in, out)."""
  return w.transpose(2, 3, 1, 0)


def conv_transpose_kernel(w):
  """(in, out, h, w) to (h, w, in, out); neither side flips the kernel."""
  return w.transpose(2, 3, 0, 1)


# Kinds of layers: what their parameters are made of.
CONV, CONV_TRANSPOSE, NORM = conv_kernel, conv_transpose_kernel, None


def params_of(arrays, names):
  """Parameters of the layers {ours: (kind, theirs)}."""
  params = {}
  for ours, (kind, theirs) in names.items():
    weight, bias = arrays[f"{theirs}.weight"], arrays.get(f"{theirs}.bias")
    leaf = {"scale": weight} if kind is NORM else {"kernel": kind(weight)}
    params[ours] = leaf if bias is None else leaf | {"bias": bias}
  return params


def stats_of(arrays, names):
  """Running statistics of the norms among them."""
  return {
    ours: {
      "mean": arrays[f"{theirs}.running_mean"],
      "var": arrays[f"{theirs}.running_var"],
    }
    for ours, (kind, theirs) in names.items()
    if kind is NORM
  }


# In order; the extra layers of a decoder stand behind its pyramid.
ENCODER = ("initial", "features", "extra", "pyramid", "final", "classifier")
DECODER = ("initial", "pyramid", "extra", "final")


def dcgan_names(arrays, prefix):
  """{ours: (kind, theirs)} of an encoder or decoder of `networks/dcgan.py`.

  They are called initial-conv-3-8, extra-layers-0-8-conv, pyramid-8-16-conv,
  ..., those of a discriminator features.0, features.2, ..., classifier.0.
  """
  ranks = {
    key.removeprefix(prefix).removesuffix(".weight"): value.ndim
    for key, value in arrays.items()
    if key.startswith(prefix) and key.endswith(".weight")
  }
  decoder = any("convt" in name for name in ranks)

  def place(name):
    role = re.match("[a-z]+", name)[0]
    number = int(re.findall(r"\d+", name)[0])
    # A decoder's widths descend.
    descends = decoder and role == "pyramid"
    order = DECODER if decoder else ENCODER
    return order.index(role), -number if descends else number

  of = lambda rank: sorted((n for n in ranks if ranks[n] == rank), key=place)
  *convs, last = of(4)
  names, count = {"conv_out": last}, {"conv": 0, "extra": 0}
  order = []
  for theirs in convs:
    extra = arrays[f"{prefix}{theirs}.weight"].shape[-1] == 3
    kind = "extra" if extra else "conv"
    order.append((kind, count[kind]))
    names[f"{kind}_{count[kind]}"] = theirs
    count[kind] += 1
  # The first convolution down has no norm.
  for (kind, k), theirs in zip(order[not decoder :], of(1), strict=True):
    names[f"{'extra_' * (kind == 'extra')}norm_{k}"] = theirs
  kind = lambda n: (
    NORM if ranks[n] == 1 else CONV_TRANSPOSE if "convt" in n else CONV
  )
  return {ours: (kind(n), prefix + n) for ours, n in names.items()}


TENSORFLOW = {"kernel": "kernel", "bias": "bias"}
TENSORFLOW |= {"gamma": "scale", "beta": "bias"}
TENSORFLOW |= {"moving_mean": "mean", "moving_variance": "var"}


def of_tensorflow(arrays, rename, transposed=False):
  """(parameters, statistics of the norms) of a network of TensorFlow.

  Args:
    arrays: {scope/leaf: array} of one network.
    rename: scope to the path of our layer, "conv_1" or "z/dense_0".
    transposed: whether its convolutions are.
  """
  params, stats = {}, {}
  for key, value in arrays.items():
    scope, leaf = key.rsplit("/", 1)
    tree = stats if leaf.startswith("moving") else params
    for name in rename(scope).split("/"):
      tree = tree.setdefault(name, {})
    if transposed and value.ndim == 4:  # [h, w, out, in]
      value = value.swapaxes(2, 3)
    tree[TENSORFLOW[leaf]] = value
  return params, stats


def by_batch(module, params, collections, x):
  """A network's output in training mode, with the arguments of `apply_eval`."""
  del collections
  return apply_train(module, params, x)[0]


def recorded_state(detector, batch, params, collections, precision):
  """A state before the first step, with these parameters; nothing is drawn."""
  shapes = jax.eval_shape(detector.init, jax.random.key(0), batch)
  zeros = lambda v: jnp.zeros(v.shape, precision if v.ndim else v.dtype)
  return shapes.replace(
    step=jnp.zeros((), jnp.int32),
    phase=jnp.zeros((), jnp.int32),
    key=jax.random.key(0),
    params=params,
    collections=collections,
    opt_state=jax.tree.map(zeros, shapes.opt_state),
  )


def adam_gradient(mu, b1):
  """What Adam got in its first step, where its first moment is (1 - b1) g."""
  return jax.tree.map(lambda m: np.asarray(m) / (1 - b1), mu)


def first_gradient(opt_state, player, b1):
  """What a player's Adam got in its first step."""
  state = opt_state.players.inner_states[player]
  return adam_gradient(optax.tree.get(state, "mu")[player], b1)


def norm_behind(layer):
  """The name that a norm behind a layer would have: norm_1, for conv_1."""
  return re.sub("conv|dense", "norm", layer)


def pop_biases_before_norms(params):
  """Takes the biases of layers out that a norm follows: {layer: bias}.

  The norm takes them off again, so they have no gradient but rounding.
  """
  found = {}
  for layer, leaves in params.items():
    norm = norm_behind(layer)
    if norm != layer and norm in params and "bias" in leaves:
      found[layer] = leaves.pop("bias")
  return found


def check_but_biases_before_norms(got, want, close, tolerance, way):
  """Compares (params, collections) of a network after some steps.

  Adam makes steps of its own length of the rounding in biases before a norm,
  and the running means take them up.

  Args:
    got: of one network.
    want: of the recording.
    close: the fixture.
    tolerance: of everything else.
    way: how far Adam can have moved a parameter.
  """
  # Copies, from which biases are taken out.
  (params, stats), (want_params, want_stats) = (
    jax.tree.map(np.asarray, part) for part in (got, want)
  )
  biases = pop_biases_before_norms(params)
  want_biases = pop_biases_before_norms(want_params)
  stats, want_stats = stats["batch_stats"], want_stats["batch_stats"]
  for layer, bias in biases.items():
    np.testing.assert_allclose(bias, want_biases[layer], rtol=0, atol=2 * way)
    norm = norm_behind(layer)
    mean, want_mean = (s[norm].pop("mean") for s in (stats, want_stats))
    reach = 2 * way + tolerance.float32 * np.abs(want_mean).max()
    np.testing.assert_allclose(mean, want_mean, rtol=0, atol=reach)
  close(params, want_params, tolerance)
  close(stats, want_stats, tolerance)


def check_averages(got, want, close, tolerance, way):
  """The same of averages of the parameters."""
  got, want = (jax.tree.map(np.asarray, part) for part in (got, want))
  biases, want_biases = map(pop_biases_before_norms, (got, want))
  close(got, want, tolerance)
  for layer, bias in biases.items():
    np.testing.assert_allclose(bias, want_biases[layer], rtol=0, atol=2 * way)
