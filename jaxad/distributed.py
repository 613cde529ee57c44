# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Devices: one code path from one CPU to many hosts.

Batches are sharded over all devices, and losses and batch statistics are those
of the global batch. The state is replicated, or a `Layout` says what is split.
"""

import functools
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxad.errors import InputError


class Layout(NamedTuple):
  """How much of a state each device keeps while it is trained.

  No number depends on it, but for the order of sums.

  Attributes:
    model: devices that share the large parameters, each with its part.
    optimizer: whether all devices share the large arrays of the optimiser
      (Rajbhandari et al., "ZeRO", SC 2020, arXiv 1910.02054, its first stage).
    large: elements from which an array is split.
  """

  model: int = 1
  optimizer: bool = False
  large: int = 2**16


WHOLE = Layout()


def data_mesh() -> Mesh:
  """All devices along one axis, `data`."""
  # Explicit axes, the default of make_mesh, reject ordinary code.
  return jax.make_mesh(
    (jax.device_count(),), ("data",), axis_types=(AxisType.Auto,)
  )


def mesh_of(layout: Layout) -> Mesh:
  """All devices, those that share parameters along an axis `model`.

  Raises:
    InputError: they are no divisor of all, or of several processes.
  """
  if layout == WHOLE:
    return data_mesh()
  devices = data_mesh().devices
  if devices.size % layout.model:
    raise InputError(
      f"model_devices={layout.model}: expected a divisor of the {devices.size} "
      "devices.",
      "model_devices",
    )
  if jax.process_count() > 1:
    raise InputError(
      "model_devices and split_optimizer are for the devices of one process; "
      "leave them out.",
      "model_devices",
    )
  return Mesh(devices.reshape(-1, layout.model), ("data", "model"))


def shardings(state, mesh: Mesh, layout: Layout = WHOLE):
  """Where the arrays of a state lie: a pytree of `NamedSharding`.

  An array is split along its largest axis of equal parts, if it has one.

  Args:
    state: a `State`, of arrays or of their shapes.
    mesh: of `mesh_of`.
    layout: what is split.
  """

  def split(leaf, *ways):
    for axes in ways:
      parts = int(np.prod([mesh.shape[axis] for axis in axes]))
      sizes = [n if n % parts == 0 else 0 for n in leaf.shape]
      if parts > 1 and leaf.size >= layout.large and any(sizes):
        place = sizes.index(max(sizes))
        return NamedSharding(mesh, PartitionSpec(*(None,) * place, axes))
    return replicated(mesh)

  whole = jax.tree.map(lambda _: replicated(mesh), state)
  of_optimizer = [("model", "data")] if layout.optimizer else []
  return whole.replace(
    params=jax.tree.map(lambda v: split(v, ("model",)), state.params),
    opt_state=jax.tree.map(
      lambda v: split(v, *of_optimizer, ("model",)), state.opt_state
    ),
  )


def replicated(mesh: Mesh) -> NamedSharding:
  """Every device has the whole."""
  return NamedSharding(mesh, PartitionSpec())


def divided(mesh: Mesh, axis: int = 0) -> NamedSharding:
  """The devices share an axis."""
  return NamedSharding(mesh, PartitionSpec(*(None,) * axis, mesh.axis_names))


def put(sharding: NamedSharding, value: np.ndarray) -> jax.Array:
  """A host array on the devices.

  Args:
    sharding: of the result.
    value: the whole where it is replicated, else this process's part.
  """
  return jax.make_array_from_process_local_data(sharding, value)


def placed(tree, sharding: NamedSharding):
  """A tree of arrays with this sharding, which all processes hold alike."""
  if jax.process_count() == 1:
    return jax.device_put(tree, sharding)
  # device_put sends no keys to the devices of other processes.
  return jax.jit(lambda tree: tree, out_shardings=sharding)(tree)


@functools.lru_cache
def local_columns(mesh: Mesh, n: int) -> np.ndarray:
  """This process's part of n entries that the devices share, in their order.

  The devices of a process need not be neighbours in the mesh.
  """
  parts = divided(mesh).addressable_devices_indices_map((n,)).values()
  return np.unique(np.concatenate([np.arange(n)[part] for part in parts]))


def rounded(batch_size: int) -> int:
  """Up to a multiple of the devices, which they can share."""
  devices = jax.device_count()
  return -(-batch_size // devices) * devices


def shares(x: jax.Array) -> jax.Array:
  """Rows [B, ...] to [devices, B / devices, ...], the part that each has.

  To cut or join batches along the second axis moves nothing between devices,
  along the rows themselves nearly all of them. One part where the devices
  cannot share B, or it is a symbol.
  """
  rows, devices = x.shape[0], jax.device_count()
  parts = 1 if not isinstance(rows, int) or rows % devices else devices
  return x.reshape(parts, rows // parts, *x.shape[1:])


def on_cpu() -> bool:
  """Whether XLA:CPU does the work."""
  return jax.default_backend() == "cpu"
