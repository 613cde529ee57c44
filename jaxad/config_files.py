# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The files in `configs/`, by name or path.

A file may have a `PAPER`: {preset: {figure: value}}, what its paper states for
a data set and subset, "mnist/8"; without a subset, "mnist", the mean over all.
"""

import contextlib
import os
import pathlib
import traceback
import types
from collections.abc import Mapping

from ml_collections import ConfigDict

from jaxad.config import check
from jaxad.data.one_class import SETS
from jaxad.errors import InputError


def folder() -> pathlib.Path:
  """Where the files lie: beside this one if installed, else in the checkout."""
  here = pathlib.Path(__file__).parent
  installed = here / "configs"
  return installed if installed.is_dir() else here.parent / "configs"


def load(text: str) -> ConfigDict:
  """Reads `NAME[:DATASET[/SUBSET]]`, NAME being a file or one of `configs/`.

  Raises:
    InputError: no such file, an error in it, or it sets a field that does not
      exist or to what it may not be.
  """
  name, preset = split(text)
  path = _path(name)
  module = _module(path)
  with _faults_of(path):
    config = module.get_config(preset or None)
  if not isinstance(config, ConfigDict):
    raise InputError(
      f"--config {path}: get_config returned {type(config).__name__}; expected "
      "what jaxad.config.base makes."
    )
  try:
    check(config)
  except InputError as error:
    raise InputError(f"--config {path}: {error}") from error
  return config


def paper(text: str) -> Mapping[str, float]:
  """The figures that a method's paper states for a data set.

  Args:
    text: as `load` takes it; a class may have its number or its name.

  Returns:
    {name in `results.json`: value}; empty where nothing is known.

  Raises:
    InputError: no such file, or an error in it.
  """
  name, preset = split(text)
  dataset, _, subset = preset.partition("/")
  if dataset in SETS and subset.isdecimal():
    classes = dict(enumerate(SETS[dataset].classes))
    preset = f"{dataset}/{classes.get(int(subset), subset)}"
  return dict(getattr(_module(_path(name)), "PAPER", {}).get(preset, {}))


def papers(name: str) -> Mapping[str, Mapping[str, float]]:
  """All that the paper of a method states: {DATASET[/SUBSET]: figures}.

  Args:
    name: of a file in `configs/`, or its path.

  Raises:
    InputError: no such file, or an error in it.
  """
  return dict(getattr(_module(_path(name)), "PAPER", {}))


def split(text: str) -> tuple[str, str]:
  """`NAME:PRESET` as (NAME, PRESET); the latter is "" where there is none."""
  # A path may have a colon of its own.
  if _find(text):
    return text, ""
  name, _, preset = text.rpartition(":")
  return (name, preset) if name else (text, "")


def _path(name):
  path = _find(name)
  if path is None:
    known = ", ".join(sorted(file.stem for file in folder().glob("*.py")))
    raise InputError(
      f"--config {name}: no such file; give a file such as "
      f"configs/differnet.py, or one of {known}."
    )
  return path


def _find(name):
  """The file of this path, or of this name in `folder()`; None without."""
  # What is no name at all is that of no file.
  if os.path.isfile(name):
    return pathlib.Path(name)
  path = folder() / f"{name}.py"
  return path if path.parent == folder() and os.path.isfile(path) else None


def _module(path):
  if path.suffix != ".py":
    raise InputError(f"--config {path}: not a Python file (*.py).")
  # Compiled from its text: importing would leave a cache beside the file.
  module = types.ModuleType("config")
  module.__file__ = str(path)
  with _faults_of(path):
    exec(compile(path.read_bytes(), str(path), "exec"), vars(module))
  if not hasattr(module, "get_config"):
    raise InputError(f"--config {path}: it defines no get_config(preset).")
  return module


@contextlib.contextmanager
def _faults_of(path):
  """What goes wrong in a file becomes one line."""
  try:
    yield
  except InputError:
    raise
  except Exception as error:
    raise InputError(f"--config {path}: {_where(error, path)}") from error


def _where(error, path):
  """One line: "line 3: KeyError: 'x'", the line being of the file."""
  if isinstance(error, SyntaxError) and error.filename == str(path):
    return f"line {error.lineno}: {error.msg}."
  frames = traceback.extract_tb(error.__traceback__)
  lines = [frame.lineno for frame in frames if frame.filename == str(path)]
  said = " ".join(traceback.format_exception_only(error)[-1].split())
  return f"line {lines[-1]}: {said}" if lines else said
