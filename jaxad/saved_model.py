# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""A trained run as a TensorFlow SavedModel, for servers that take nothing else.

Its signature `serving_default` takes `images`, uint8 [B, H, W, C] of the size
that the detector sees, and `ids`, uint32 [B], the CRC-32 of each id; it gives
`image` [B] and `map` [B, H, W]. What it was made of, with the threshold, lies
in `assets.extra/jaxad.json`.
"""

import contextlib
import os
import pathlib
import re
import sys
import tempfile

import jax
import numpy as np

from jaxad import trained
from jaxad.data._tf import tensorflow
from jaxad.errors import InputError
from jaxad.export import check_exportable
from jaxad.image_scorer import SCORING, checksum, example_keys
from jaxad.report import tables

# Of the check: two batches, of which the one is no multiple of the other.
_SIZES = (1, 3)
_TOLERANCE = 1e-3


def export_saved_model(run: trained.Run, path: pathlib.Path) -> None:
  """Writes a run as a SavedModel, if that scores as the run does.

  Args:
    run: from `jaxad.load`.
    path: of the folder, which must not exist.

  Raises:
    InputError: it does exist, or TensorFlow cannot run the method's operations.
  """
  if path.exists():
    raise InputError(
      f"--output {path}: it exists; choose another name, or remove it."
    )
  check_exportable(run)
  parent = path.absolute().parent
  with tempfile.TemporaryDirectory(dir=parent, prefix=".jaxad-") as folder:
    whole = pathlib.Path(folder) / "model"
    with _undisturbed():
      _write(run, whole)
      _check(run, whole)
    extra = whole / "assets.extra"
    extra.mkdir()
    about = {k: v for k, v in run.description.items() if k != "normal"}
    tables.write_json(extra / "jaxad.json", about)
    os.replace(whole, path)


def _write(run, folder):
  tf = tensorflow()
  from jax.experimental import jax2tf  # imports it too, but not quietly

  key = jax.random.fold_in(run.key, SCORING)
  of_images = len(run.shape) > 1
  score = of_images and run.detector.localize or run.detector.score
  arrays = trained.arrays_of(run.state)

  def program(arrays, x, names):
    state = trained.with_arrays(run.state, arrays)
    scores = score(state, x, example_keys(key, names))
    maps = {} if scores.map is None else {"map": scores.map}
    return {"image": scores.image} | maps

  with run.precision():
    convert = jax2tf.convert(
      program,
      polymorphic_shapes=[None, "b, ...", "b"],
      with_gradient=False,
      native_serialization_platforms=("cpu", "cuda", "tpu"),
    )
    module = tf.Module()
    module.weights = [tf.Variable(value) for value in arrays.values()]
    module.score = tf.function(
      lambda images, ids: convert(
        dict(zip(arrays, module.weights, strict=True)), images, ids
      ),
      autograph=False,
      input_signature=[
        tf.TensorSpec((None, *run.shape), tf.as_dtype(run.dtype), "images"),
        tf.TensorSpec((None,), tf.uint32, "ids"),
      ],
    )
    tf.saved_model.save(module, str(folder), module.score)


def _check(run, folder):
  """Compares it with the run."""
  tf = tensorflow()
  rng = np.random.default_rng(0)
  loaded = tf.saved_model.load(str(folder)).signatures["serving_default"]
  for size in _SIZES:
    # Bytes of images, or rows as they are after scaling.
    x = rng.integers(0, 256, (size, *run.shape)).astype(run.dtype)
    x = x if run.dtype == np.uint8 else x / 128 - 1
    names = np.uint32([checksum(str(k)) for k in range(size)])
    try:
      found = loaded(images=tf.constant(x), ids=tf.constant(names))
    except tf.errors.OpError as error:
      raise InputError(
        f"--format saved_model: TensorFlow {tf.__version__} cannot run "
        f"{run.method} as jax {jax.__version__} writes it "
        f"({_reason(error)}); leave --format out."
      ) from error
    with run.precision():
      want = run.scorer.dispatch(run.state, x, names, False)
    if not np.allclose(found["image"], want.image, rtol=_TOLERANCE):
      raise InputError(
        f"--format saved_model: TensorFlow {tf.__version__} gives other scores "
        f"for {run.method}; leave --format out."
      )


def _reason(error):
  """The operation that is not known, or else the version of the language."""
  said = " ".join(str(error.message).split())
  known = r"operation '[\w.]+'", r"failed to deserialize [\w ]+ using [\w.]+"
  found = filter(None, (re.search(pattern, said) for pattern in known))
  return next((match[0] for match in found), said[:200])


@contextlib.contextmanager
def _undisturbed():
  """TensorFlow without what it would do to the process.

  It writes pages on an error past Python's stderr, and its XLA ends the process
  at a flag that it does not know.
  """
  flags = os.environ.pop("XLA_FLAGS", None)
  sys.stderr.flush()
  stderr = os.dup(2)
  try:
    with open(os.devnull, "w") as nothing:
      os.dup2(nothing.fileno(), 2)
    yield
  finally:
    os.dup2(stderr, 2)
    os.close(stderr)
    if flags is not None:
      os.environ["XLA_FLAGS"] = flags
