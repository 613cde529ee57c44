# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Devices: one code path from one CPU to many hosts.

Batches are sharded over a mesh axis `data`, the state is replicated, and losses
and batch statistics are those of the global batch.
"""

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


def local_columns(n: int) -> slice:
  """This process's part of n entries that the devices share."""
  part = n // jax.process_count()
  first = jax.process_index() * part
  return slice(first, first + part)


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
