# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""A trained scorer in a file of its own.

    scorer = jaxad.load_scorer("bottle.jaxad")
    scorer(images).image, scorer.predict(images)

A machine that runs one needs jax and NumPy alone (and Pillow, to read image
files). `jaxad.export` writes the file.
"""

import dataclasses
import functools
import pathlib
import re
from collections.abc import Callable

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

import jaxad
from jaxad import foreign, tensor_file
from jaxad.errors import InputError
from jaxad.image_scorer import ImageScorer

# Of the file: its format, the keys of its metadata, and in front of the name of
# a program; the inputs of a program that are no weights, the last of them in
# front of the number of an array of a search.
FORMAT = 1
METADATA, DIGEST, PROGRAM = "jaxad", "sha256", "program/"
X, NAMES, FOUND = "x", "names", "found/"

# What a program may ask of XLA beyond StableHLO, by jax's own lowering.
CUSTOM_CALLS = {"shape_assertion", "cu_threefry2x32_ffi"}


class Scorer(ImageScorer):
  """A scorer that was exported; `load_scorer` makes it.

  It may be called like `score`.

  Attributes:
    path: its file.
    metadata: method, configuration, preprocessing, threshold and versions.
  """

  def __init__(self, path, metadata: dict, arrays: dict):
    self.path, self.metadata = path, metadata
    self._describe(metadata, path)
    self._arrays = arrays

  __call__ = ImageScorer.score

  @functools.cached_property
  def _weights(self):
    """On the device."""
    return {
      name: jnp.asarray(value)
      for name, value in self._arrays.items()
      if not name.startswith(PROGRAM)
    }

  @functools.cache  # noqa: B019 (a scorer lives as long as its programs)
  def _program(self, kind, size):
    backend = jax.default_backend()
    platform = {"gpu": "cuda"}.get(backend, backend)
    if platform not in self.metadata["platforms"]:
      raise InputError(
        f"{self.path}: exported for {', '.join(self.metadata['platforms'])}, "
        f"not for {platform}."
      )
    name = f"{platform}/{kind}/{size}"
    described = self.metadata["programs"][name]
    module = self._arrays[PROGRAM + name].tobytes()
    made_by = self.metadata["versions"]["jax"]
    return _Program(described, module, platform, f"{self.path}", made_by)

  def _seen_as(self, image):
    views, layout = super()._seen_as(image)
    if views.shape[1:] != self.shape:
      raise InputError(
        f"shape {list(views.shape[1:])}: what was exported takes "
        f"{list(self.shape)} alone; the run takes any size."
      )
    return views, layout

  def _dispatch(self, x, names, with_maps):
    # One program is for batches of the run's own size, as the run has it.
    size = "whole" if len(x) == self.batch_size else "any"
    program = lambda kind: self._program(kind, size)
    values = {**self._weights, X: x, NAMES: names}
    if steps := self.metadata["search_steps"]:
      values |= program("start")(values)
      for _ in range(steps):
        values |= program("step")(values)
    return program("maps" if with_maps else "scores")(values)

  def _fetch(self, scores):
    found = {"map": None, "parts": {}}
    for name, value in jax.device_get(scores).items():
      group, _, part = name.partition("/")
      if part:
        found[group][part] = value
      else:
        found[group] = value
    return found


class _Program:
  """A compiled function of named arrays, from a serialised module.

  Args:
    described: "inputs" and "outputs", each [name, dtype, shape], where the
      shape is text and may name the batch; and "convention", the version of
      the call.
    module: StableHLO.
    platform: for which it was lowered.
    path: of the file.
    made_by: the version of jax.
  """

  def __init__(
    self, described: dict, module: bytes, platform: str, path: str, made_by: str
  ):
    self._described, self._module = described, module
    self._platform, self._path, self._made_by = platform, path, made_by
    self._compiled: dict[int, Callable] = {}

  def __call__(self, values: dict) -> dict:
    """{name: array}, not waited for, of one batch."""
    inputs = [values[name] for name, *_ in self._described["inputs"]]
    size = len(values[X])
    if size not in self._compiled:
      self._compiled[size] = self._lowered(inputs).compile()
    outputs = (name for name, *_ in self._described["outputs"])
    return dict(zip(outputs, self._compiled[size](*inputs), strict=True))

  def _lowered(self, inputs):
    try:
      return jax.jit(self._exported().call).lower(*inputs)
    except InputError:
      raise
    except Exception as error:  # of many types, by version
      reason = " ".join(str(error).split())
      raise InputError(
        f"{self._path}: jax {jax.__version__} cannot run what jax "
        f"{self._made_by} exported ({reason}); install that version, or export "
        "it again."
      ) from error

  def _exported(self):
    """The module as what `jax.export` calls.

    Its own way to read one needs a package that jax does not bring along, so
    the module takes the place of that of an empty function of the same
    arguments.
    """
    scope = jax.export.SymbolicScope()
    inputs, outputs = (
      [
        (jax.export.symbolic_shape(shape, scope=scope), dtype)
        for _, dtype, shape in self._described[side]
      ]
      for side in ("inputs", "outputs")
    )
    nothing = lambda *_: tuple(jnp.zeros(*output) for output in outputs)
    export = jax.export.export(
      jax.jit(nothing, keep_unused=True), platforms=[self._platform]
    )
    found = dataclasses.replace(
      export(*(jax.ShapeDtypeStruct(*one) for one in inputs)),
      mlir_module_serialized=self._module,
      calling_convention_version=self._described["convention"],
    )
    calls = re.findall(r"custom_call\b\s*@?([^\s(]*)", found.mlir_module())
    if not set(calls) <= CUSTOM_CALLS:
      raise InputError(
        f"{self._path}: it calls functions that a scorer never calls."
      )
    return found


def load_scorer(path: str | pathlib.Path) -> Scorer:
  """Reads an exported scorer; nothing of the file is run before it is called.

  Raises:
    InputError: no such file, a damaged one, or one of a newer version.
  """
  try:
    blob = foreign.read_bytes(path)
  except OSError as error:
    raise InputError(
      f"{path}: it cannot be read ({error.strerror})."
    ) from error
  metadata, arrays = read_scorer(blob, path)
  return Scorer(path, metadata, arrays)


def read_scorer(blob: bytes, path) -> tuple[dict, dict[str, np.ndarray]]:
  """The content of a file to its metadata and arrays.

  Raises:
    InputError: it is damaged, or of a newer version.
  """
  arrays, strings = tensor_file.unpacked(blob, path)
  try:
    metadata = foreign.parse_json(strings[METADATA])
    format_, made_by = metadata["format"], metadata["versions"]["jaxad"]
    whole = strings[DIGEST] == digest(blob)
  except (ValueError, LookupError, TypeError, RecursionError) as error:
    raise InputError(
      f"{path}: not a scorer, or damaged; take a whole copy, or export it "
      "again."
    ) from error
  if format_ != FORMAT:
    raise InputError(
      f"{path}: a scorer of format {format_}, exported by jaxad {made_by}; "
      f"this is jaxad {jaxad.__version__}, which reads format {FORMAT}: "
      "install a newer one."
    )
  if not whole:
    raise InputError(
      f"{path}: it is damaged; take a whole copy, or export it again."
    )
  return metadata, arrays


def digest(blob: bytes) -> str:
  """The SHA-256 of all there is in a scorer's file but this digest."""
  header, data = tensor_file.divided(blob)
  header[tensor_file.METADATA].pop(DIGEST, None)
  return tensor_file.sha256(tensor_file.canonical(header), data)
