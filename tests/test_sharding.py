# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""A state that is split among devices: less on each, and the same numbers."""

import gc
import os
import pathlib
import subprocess
import sys
import types

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxad
from jaxad import distributed
from jaxad.checkpoints import Checkpoints
from jaxad.data.examples import Examples
from jaxad.distributed import Layout
from jaxad.errors import InputError
from jaxad.evaluation.scoring import Scorer
from jaxad.layers.batch_norm import BatchNorm
from jaxad.layers.cpu import conv
from jaxad.layers.together import together
from jaxad.networks import pyramid
from jaxad.networks.variables import apply_train

BATCH, STEPS = 8, 3
# Small enough for the networks of these tests.
LARGE = 256

LAYOUTS = {
  "model": Layout(4, False, LARGE),
  "optimizer": Layout(1, True, LARGE),
  "both": Layout(2, True, LARGE),
}


def setting(method):
  """(detector, examples)."""
  rng = np.random.default_rng(0)
  if method == "differnet":
    detector = jaxad.differnet(n_blocks=2, hidden=32)
    x = rng.standard_normal((2 * BATCH, 2, 24), np.float32)
  else:
    detector = jaxad.ganomaly(width=4, latent_dim=8)
    x = rng.integers(0, 256, (2 * BATCH, 32, 32, 1), np.uint8)
  names = tuple(map(str, range(len(x))))
  label = np.zeros(len(x), np.int32)
  return detector, Examples(x, label, names, names, None)


class Spy(jaxad.Callback):
  """Keeps where the state lay in the middle of training, and saves it.

  Attributes:
    bytes: {device: bytes of its parts of parameters and optimiser}.
    others: {device: bytes of all else that is kept there, buffers once}.
  """

  def __init__(self, folder):
    self._checkpoints = Checkpoints(folder)
    self.bytes: dict = {}
    self.others: dict = {}

  def next_stop(self, step):
    return step + 1

  def after(self, moment):
    if moment.step != 2:
      return
    split = (moment.state.params, moment.state.opt_state)
    self.bytes, seen = bytes_of(jax.tree.leaves(split), set())
    gc.collect()
    self.others, _ = bytes_of(jax.live_arrays(), seen)
    self._checkpoints.save(moment.state, {})

  def close(self):
    self._checkpoints.close()


def bytes_of(arrays, seen):
  """({device: bytes}, buffers), without the buffers that were seen."""
  found, seen = {}, set(seen)
  for array in arrays:
    if jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key):
      continue
    for part in array.addressable_shards:
      at = part.data.unsafe_buffer_pointer()
      if at not in seen:
        device = part.device.id
        found[device] = found.get(device, 0) + part.data.nbytes
      seen.add(at)
  return found, seen


def train(method, folder, layout=distributed.WHOLE, resume=None):
  """(a tree of what a run ends with, the spy of it)."""
  detector, examples = setting(method)
  plan = jaxad.make_plan(
    detector, examples, batch_size=BATCH, steps=STEPS, drop_remainder=True
  )
  state = detector.init(jax.random.key(0), {"x": examples.x[:1]}, plan)
  if resume is not None:
    state, _ = Checkpoints(resume).restore(state)
    assert int(state.step) == 2
  spy = Spy(folder)
  state = jaxad.fit(detector, state, examples, plan, [spy], layout=layout)
  for leaf in jax.tree.leaves(state):
    assert leaf.sharding.is_fully_replicated
  scores = Scorer(detector, BATCH, jax.random.key(1)).scores(state, examples)
  found = {
    "params": state.params,
    "collections": state.collections,
    "scores": scores.image,
  }
  flat = {
    jax.tree_util.keystr(path): np.asarray(leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(found)
  }
  return flat, spy


def save_all(method, folder, *names):
  """In a process of several devices: layouts, and where the state lay."""
  folder = pathlib.Path(folder)
  whole, spy = train(method, folder / "whole_run")
  assert len(spy.bytes) == jax.device_count()
  (each,) = set(spy.bytes.values())
  np.savez(folder / "whole", **whole)
  for name in names:
    layout = LAYOUTS[name]
    found, spy = train(method, folder / f"{name}_run", layout)
    lay = spy.bytes
    np.savez(folder / name, **found)
    parts = jax.device_count() if name == "optimizer" else layout.model
    # Parameters are a third of it, two moments the rest.
    share = {
      "model": 1 / parts,
      "optimizer": (1 + 2 / parts) / 3,
      "both": (1 / 2 + 2 / jax.device_count()) / 3,
    }[name]
    assert len(set(lay.values())) == 1
    # Biases and what does not divide stay whole.
    assert share <= lay[0] / each < share + 0.12, (name, lay)
    # Nobody keeps it whole, but for the caller, on the first device.
    others = [spy.others[k] for k in range(1, jax.device_count())]
    assert max(others) < 0.1 * each, (name, each, others)


@pytest.mark.parametrize(
  ("method", "devices", "names"),
  [
    ("differnet", 8, ["both"]),
    pytest.param("differnet", 4, [*LAYOUTS], marks=pytest.mark.whole),
    pytest.param("ganomaly", 8, [*LAYOUTS], marks=pytest.mark.whole),
  ],
)
def test_a_split_state_trains_as_a_whole_one(method, devices, names, tmp_path):
  """Parameters after three steps and scores; and one device goes on."""
  here = pathlib.Path(__file__).parent
  code = "import sys, test_sharding; test_sharding.save_all(*sys.argv[1:])"
  flags = f"--xla_force_host_platform_device_count={devices}"
  done = subprocess.run(
    [sys.executable, "-c", code, method, tmp_path, *names],
    env=os.environ
    | {
      "PYTHONPATH": os.pathsep.join(map(str, (here, here.parent))),
      "JAX_PLATFORMS": "cpu",
      "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}",
    },
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  load = lambda name: dict(np.load(tmp_path / f"{name}.npz"))
  want = load("whole")
  for name in names:
    chex.assert_trees_all_close(load(name), want, rtol=1e-4, atol=1e-5)
  found, _ = train(method, tmp_path / "one", resume=tmp_path / "both_run")
  chex.assert_trees_all_close(found, want, rtol=1e-4, atol=1e-5)
  # Three steps have moved what is compared.
  detector, examples = setting(method)
  new = detector.init(jax.random.key(0), {"x": examples.x[:1]}).params
  moved = [
    np.abs(want[f"['params']{jax.tree_util.keystr(path)}"] - leaf).max()
    for path, leaf in jax.tree_util.tree_leaves_with_path(new)
  ]
  assert max(moved) > 1e-4


def layout_of(shape, layout, devices=(4, 2), of_optimizer=False):
  """The specification of an array, on a mesh that needs no devices."""
  mesh = jax.sharding.AbstractMesh(devices, ("data", "model"))
  leaf = jax.ShapeDtypeStruct(shape, jnp.float32)
  params, opt_state = (None, leaf) if of_optimizer else (leaf, None)
  state = jaxad.State(None, None, None, params, None, opt_state, leaf)
  found = distributed.shardings(state, mesh, layout)
  assert not any(found.extras.spec)
  return tuple((found.opt_state if of_optimizer else found.params).spec)


def test_which_axis_is_split():
  both = Layout(2, True, 16)
  assert layout_of((4, 6), both) == (None, "model")
  assert layout_of((6, 4), both) == ("model",)
  assert layout_of((5, 4), both) == (None, "model")  # 5 is odd
  assert layout_of((5, 7), both) == ()
  assert layout_of((2, 4), both) == ()  # small
  split = layout_of((8, 6), both, of_optimizer=True)
  assert split == (("model", "data"),)
  # 12 and 6 are no multiples of 8, but even.
  split = layout_of((12, 6), both, of_optimizer=True)
  assert split == ("model",)
  # An axis of one device splits nothing.
  assert layout_of((8, 6), Layout(1, True, 16), (8, 1)) == ()
  assert layout_of((512, 512), distributed.WHOLE, (8, 1)) == ()


def test_devices_that_cannot_share_a_model():
  with pytest.raises(InputError, match="model_devices=3: .*the 1 devices") as e:
    distributed.mesh_of(Layout(model=3))
  assert e.value.argument == "model_devices"


# Rows that devices share.


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_norms_of_rows_that_were_joined(monkeypatch, devices):
  """As of the rows behind each other, in value, gradient and statistics."""
  monkeypatch.setattr(jax, "device_count", lambda: devices)
  rng = np.random.default_rng(0)
  few, x = (
    jnp.asarray(rng.standard_normal((n, 2, 2, 3), np.float32)) for n in (5, 8)
  )
  norm = BatchNorm()
  params = {"scale": jnp.arange(1.0, 4), "bias": jnp.arange(3.0)}

  def joined(params, few, x):
    rows, train, apart = together(few, x)
    assert len(rows) == 13 + -5 % devices
    y, written = apply_train(norm, params, rows, train=train)
    return *apart(y), written

  def plain(params, few, x):
    y, written = apply_train(norm, params, jnp.concatenate([few, x]))
    return y[:5].mean(0), y[5:], written

  loss = lambda fn: lambda *args: sum((y**3).sum() for y in fn(*args)[:2])
  for got, want in (
    (joined(params, few, x), plain(params, few, x)),
    *(
      (jax.grad(loss(joined), k)(params, few, x),)
      + (jax.grad(loss(plain), k)(params, few, x),)
      for k in range(3)
    ),
  ):
    chex.assert_trees_all_close(got, want, rtol=1e-4, atol=1e-4)


def test_rows_that_cannot_be_shared_are_one_part(monkeypatch):
  monkeypatch.setattr(jax, "device_count", lambda: 4)
  x = jnp.arange(24.0).reshape(12, 2)
  parts = distributed.shares(x)
  np.testing.assert_array_equal(parts[1, 2], x[5])
  assert parts.shape == (4, 3, 2)
  assert distributed.shares(x[:6]).shape == (1, 6, 2)


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_pieces_of_a_batch_keep_its_order(monkeypatch, devices):
  """Each piece has rows of every device."""
  monkeypatch.setattr(jax, "device_count", lambda: devices)
  x = np.random.default_rng(0).standard_normal((24, 8, 8, 3), np.float32)
  seen = []

  def apply(variables, x):
    seen.append(len(x))
    return x * variables["scale"]

  trunk = types.SimpleNamespace(apply=apply)
  pooled = jax.jit(
    lambda x: pyramid.pooled_features(trunk, {"scale": jnp.float32(2)}, x, 2)
  )
  want = 2 * np.stack([x.mean((1, 2)), x[:, ::2, ::2].mean((1, 2))], 1)
  np.testing.assert_allclose(
    pooled(x), want.reshape(24, 6), rtol=1e-5, atol=1e-6
  )
  assert {1: 8, 2: 12, 4: 24}[devices] in seen
  # Gradients by the kernel, on a CPU by blocks of images.
  monkeypatch.setattr(conv, "BLOCK_PIXELS", 3 * 64)
  kernel = jnp.ones((3, 3, 3, 2)) * jnp.arange(3.0)[:, None, None, None]
  sides = ((1, 1), (1, 1))
  np.testing.assert_allclose(
    conv._by_blocks(x, kernel, 1, sides, (8, 8)),
    conv.plain(x, kernel, 1, sides),
    rtol=1e-4,
    atol=1e-4,
  )
