# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Pretrained weights: reading the usual files into Flax variables.

    tensors = read_tensors("resnet18-f37072fd.pth")
    variables = load_variables(variables, tensors, "resnet18-f37072fd.pth")

No file is trusted: nothing in it is executed, and every size and offset is
checked before use. PyTorch is not needed.
"""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import jax.numpy as jnp
import numpy as np

from jaxad import foreign, named_arrays
from jaxad.errors import InputError
from jaxad.pretrained.torch_file import read_torch_file

__all__ = ["load_variables", "read_tensors"]

# Prefixes that wrappers put before the names: DataParallel, the official
# DifferNet code, and both together.
PREFIXES = (
  "",
  "module.",
  "feature_extractor.",
  "module.feature_extractor.",
)

# Name of a Flax variable to that of the PyTorch tensor.
TORCH_NAMES = {
  "kernel": "weight",
  "scale": "weight",
  "bias": "bias",
  "mean": "running_mean",
  "var": "running_var",
}

# What a message lists at most.
_LISTED = 4


def read_tensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Reads the named tensors of a weights file.

  Args:
    path: a PyTorch state dict (.pth or .pt, zip or legacy format), .safetensors
      or .npz.

  Returns:
    Tensors by name, in the shape and dtype of the file; possibly read-only.

  Raises:
    InputError: no such file, another suffix, a damaged file, or a pickle that
      would call for anything but tensors.
  """
  path = os.fspath(path)
  readers = {
    ".pth": read_torch_file,
    ".pt": read_torch_file,
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
  }
  suffix = os.path.splitext(path)[1].lower()
  if suffix not in readers:
    raise InputError(
      f"weights={path}: expected a file with the suffix {', '.join(readers)}",
      "weights",
    )
  if not os.path.isfile(path):
    raise InputError(f"weights={path}: there is no such file", "weights")
  try:
    return readers[suffix](path)
  except OSError as error:
    raise InputError(
      f"weights={path}: cannot be read ({error.strerror or error})", "weights"
    ) from error


def _read_safetensors(path):
  from safetensors import SafetensorError
  from safetensors.numpy import load_file

  try:
    return load_file(path)
  # NumPy lacks some of the format's dtypes.
  except (SafetensorError, AttributeError, KeyError) as error:
    raise _damaged(path, "safetensors file", error) from error


def _read_npz(path):
  try:
    return named_arrays.read(pathlib.Path(path))
  except ValueError as error:
    raise _damaged(path, ".npz file of plain arrays", error) from error


def _damaged(path, what, error):
  return InputError(
    f"weights={path}: not a sound {what} ({foreign.reason(error)}); fetch it "
    "again",
    "weights",
  )


def load_variables(
  variables: Mapping[str, Any],
  tensors: Mapping[str, np.ndarray],
  source: str | os.PathLike,
) -> dict[str, Any]:
  """Fills Flax variables with tensors in PyTorch's names and layouts.

  The name of a tensor is the path of the variable joined with dots, its last
  part translated by `TORCH_NAMES`. Kernels go from (out, in, height, width) to
  (height, width, in, out) and from (out, in) to (in, out). All tensors may bear
  one of `PREFIXES`; tensors that nothing asks for are ignored.

  Args:
    variables: {"params": ..., "batch_stats": ...}, arrays or only their shapes
      (`jax.eval_shape`).
    tensors: from `read_tensors`.
    source: the file that they come from, for the messages.

  Returns:
    The same tree with `jax.Array` leaves of the dtypes in `variables`.

  Raises:
    InputError: tensors are missing or have another shape.
  """
  leaves = flax.traverse_util.flatten_dict(dict(variables))
  names = {path: _torch_name(path) for path in leaves}
  prefix = max(
    PREFIXES, key=lambda p: sum(p + name in tensors for name in names.values())
  )
  filled, missing, misshapen = {}, [], []
  for path, leaf in leaves.items():
    name = prefix + names[path]
    if name not in tensors:
      missing.append(name)
      continue
    tensor = tensors[name]
    expected = _torch_shape(path, leaf.shape)
    if tensor.shape != expected:
      misshapen.append(f"{name} is {tensor.shape}, expected {expected}")
      continue
    if path[-1] == "kernel":
      # (out, in, ...) to (..., in, out)
      tensor = np.moveaxis(tensor, (0, 1), (-1, -2))
    filled[path] = jnp.asarray(tensor, leaf.dtype)
  problems = []
  if missing:
    problems.append(f"{len(missing)} missing: {_first(missing, ', ')}")
  if misshapen:
    problems.append(f"{len(misshapen)} misshapen: {_first(misshapen, '; ')}")
  if problems:
    raise InputError(
      f"weights={source}: the tensors do not fit the network; "
      f"{'; '.join(problems)} (of {len(leaves)})",
      "weights",
    )
  return flax.traverse_util.unflatten_dict(filled)


def _torch_name(path):
  """("params", "layer1.0.conv1", "kernel") to "layer1.0.conv1.weight"."""
  *modules, leaf = path[1:]
  return ".".join([*modules, TORCH_NAMES.get(leaf, leaf)])


def _torch_shape(path, shape):
  if path[-1] == "kernel":
    return (shape[-1], shape[-2], *shape[:-2])
  return tuple(shape)


def _first(entries, separator):
  shown = separator.join(entries[:_LISTED])
  return shown + (f"{separator}..." if len(entries) > _LISTED else "")
