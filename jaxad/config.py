# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The fields of a run's configuration, the same for every method.

A file in `configs/` has a function `get_config(preset)` that takes `base(...)`
and sets what its method and data need. `preset` is what follows the colon in
`--config FILE:DATASET/SUBSET`, or None.
"""

import ast
import importlib.util
import inspect
import pathlib
import typing

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from jaxad import data
from jaxad.errors import InputError
from jaxad.methods import METHODS


def base(method: str) -> ConfigDict:
  """All fields with their defaults; `detector` is the factory's keywords."""
  return ConfigDict(
    {
      "method": method,
      "seed": 0,
      "data": {"name": "textures"}
      | _keywords(data.load)
      | {
        # Part of the normal training images that is kept from training, for the
        # threshold. With 0 it comes from training images.
        "holdout": 0.0,
      },
      "train": {
        "epochs": 1,
        "steps": placeholder(int),  # in place of epochs
        "batch_size": 32,
        "drop_remainder": False,  # drop a last, smaller batch, or pad it
        # Views of each image whose frozen features are computed once; 0
        # draws new views in every step, as papers do.
        "cached_views": 0,
        # None: 1 on CPU, 16 on accelerators.
        "steps_per_dispatch": placeholder(int),
        "log_every": 10,  # steps
        "checkpoint_every": placeholder(int),  # steps; None: five in a run
      },
      "eval": {
        "batch_size": 8,
        "every": placeholder(int),  # epochs; None: after training only
        "select": "last",  # or "best_on_test": optimistic, see docs
        # "official": also as the authors' test code has it, see docs.
        "protocol": "standard",
        "threshold": "quantile",  # or "max", "sigma", "kde"
        "threshold_value": placeholder(float),  # None: the rule's default
        "threshold_images": 200,  # at most, where they are training images
        # Pixel maps: "all" test images if there are masks to compare them
        # with, those on the "sheet" of the report, or "none".
        "maps": "all",
        "nearest_neighbour": False,  # score the frozen features this way too
      },
      "detector": _keywords(METHODS[method]),
    }
  ).lock()


def open_set(method: str, preset: str | None) -> ConfigDict:
  """Fields for methods that learn from a few labelled anomalies.

  With a data set the setting of DRA's paper (448 px, batches of 48, ten
  anomalies of any kind); on the embedded textures one for minutes on a CPU,
  whose test has kinds that training did not see.
  """
  config = base(method)
  config.data.name, _, subset = (preset or "textures").partition("/")
  config.data.subset = subset or None
  # A folder may have labelled anomalies of its own.
  config.data.n_anomalies = 0 if config.data.name == "folder" else 10
  if config.data.name != "textures":
    config.data.image_size = 448
    config.train.epochs = 30
    config.train.batch_size = 48
    config.eval.batch_size = 16
    return config
  config.data.image_size = 128
  config.data.setting = "open"
  config.data.holdout = 0.2
  config.train.epochs = 12
  config.train.batch_size = 24
  config.eval.batch_size = 40
  # A thin trunk learns from nothing in minutes, given a higher rate. Defects of
  # a few pixels are lost beyond layer2.
  config.detector.weights = "random"
  config.detector.trunk_width = 16
  config.detector.trunk_blocks = "1,1,1,1"
  config.detector.layer = "layer2"
  config.detector.learning_rate = 1e-3
  config.detector.schedule = "late"
  config.detector.decay_every = 8
  return config


def _keywords(function):
  """{keyword: default}; the name and the seed are set elsewhere."""
  return {
    name: _default(parameter)
    for name, parameter in inspect.signature(function).parameters.items()
    if parameter.default is not parameter.empty and name != "seed"
  }


def _default(parameter):
  """The default; where that is None, one that knows the annotated type."""
  if parameter.default is not None:
    return parameter.default
  return placeholder(typing.get_args(parameter.annotation)[0])


def load(text: str) -> ConfigDict:
  """Reads `FILE[:DATASET[/SUBSET]]`.

  Raises:
    InputError: no such file, it has no `get_config`, or that sets a field that
      does not exist.
  """
  # A path may have a colon of its own.
  path, _, preset = (text, "", "") if _is_file(text) else text.rpartition(":")
  path = path or text
  if not _is_file(path):
    raise InputError(
      f"--config {path}: no such file; give a file such as "
      "configs/differnet.py."
    )
  spec = importlib.util.spec_from_file_location("config", path)
  if spec is None:
    raise InputError(f"--config {path}: not a Python file (*.py).")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  if not hasattr(module, "get_config"):
    raise InputError(f"--config {path}: it defines no get_config(preset).")
  try:
    return module.get_config(preset or None)
  except (AttributeError, KeyError, TypeError) as error:
    line = " ".join(str(error).split())
    raise InputError(f"--config {path}: {line}") from error


def _is_file(path):
  return pathlib.Path(path).is_file()


def override(config: ConfigDict, name: str, text: str) -> None:
  """Sets one field, as `--config.train.epochs=3` does.

  Args:
    config: changed in place.
    name: path of the field, "train.epochs".
    text: the value as a Python literal, or else a plain string.

  Raises:
    InputError: an unknown field, or a value of another type.
  """
  *parents, leaf = name.split(".")
  node = config
  for parent in parents:
    node = node.get(parent) if isinstance(node, ConfigDict) else None
  full = f"config.{name}"
  if not isinstance(node, ConfigDict):
    raise InputError(f"{full}: no such field; the groups are {_names(config)}.")
  if leaf not in node:
    where = ".".join(["config", *parents])
    raise InputError(f"{full}: no such field; {where} has {_names(node)}.")
  current = node.get(leaf)
  if isinstance(current, ConfigDict):
    raise InputError(f"{full} is a group; set one of {_names(current)} in it.")
  default = base(config.method)
  for part in name.split("."):
    default = default[part]
  kind = node.get_type(leaf)
  node[leaf] = _parse(full, text, kind, optional=default is None)


def _parse(name, text, kind, optional):
  """The text as a value of type `kind`, or None where that is allowed."""
  if optional and text.lower() == "none":
    return None
  if kind is str:
    return text
  try:
    value = ast.literal_eval(text)
  except (ValueError, SyntaxError):
    value = {"true": True, "false": False}.get(text.lower())
  if kind is float and type(value) is int:
    value = float(value)
  if type(value) is not kind:
    raise InputError(f"{name}={text}: expected {kind.__name__}.")
  return value


def _names(node):
  return ", ".join(sorted(node))


def first_difference(a: dict, b: dict, prefix: str = "config") -> str | None:
  """Describes the first field in which two nested dicts differ, or None."""
  for key in sorted(a.keys() | b.keys()):
    name, left, right = f"{prefix}.{key}", a.get(key), b.get(key)
    if isinstance(left, dict) and isinstance(right, dict):
      found = first_difference(left, right, name)
      if found:
        return found
    elif left != right:
      return f"{name} is {left!r} there and {right!r} here"
  return None
