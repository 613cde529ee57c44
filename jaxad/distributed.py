# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Devices: one code path from one CPU to many hosts.

Batches are sharded over a mesh axis `data`, the state is replicated, and losses
and batch statistics are those of the global batch.
"""

import functools

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


def data_mesh() -> Mesh:
  """All devices along one axis, `data`."""
  # Explicit axes, the default of make_mesh, reject ordinary code.
  return jax.make_mesh(
    (jax.device_count(),), ("data",), axis_types=(AxisType.Auto,)
  )


def replicated(mesh: Mesh) -> NamedSharding:
  """Every device has the whole."""
  return NamedSharding(mesh, PartitionSpec())


def divided(mesh: Mesh, axis: int = 0) -> NamedSharding:
  """The devices share an axis."""
  return NamedSharding(mesh, PartitionSpec(*(None,) * axis, "data"))


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


def on_cpu() -> bool:
  """Whether XLA:CPU does the work."""
  return jax.default_backend() == "cpu"
