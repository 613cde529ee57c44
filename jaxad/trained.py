# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""A trained run as two files, and what can be done with it.

    run = jaxad.load("runs/bottle")
    run.score(images).image, run.predict(images), run.threshold

`model.safetensors` holds the arrays that scoring needs, `model.json` all else:
configuration, preprocessing, threshold and the scores that it comes from. Both
are checked against their digests when they are read, and neither the data nor
the weights file of the trunk is needed again.
"""

import contextlib
import dataclasses
import functools
import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxad
from jaxad import config as configs
from jaxad import data, distributed, foreign, tensor_file
from jaxad.bands import Bands
from jaxad.columns import Columns
from jaxad.data.examples import Dataset, Examples
from jaxad.described import DescribedRun
from jaxad.detector import Detector, State
from jaxad.errors import InputError
from jaxad.evaluation import evaluators
from jaxad.evaluation.evaluators import Evaluation
from jaxad.evaluation.scoring import Scorer
from jaxad.image_scorer import ImageScorer
from jaxad.plan import Plan
from jaxad.preprocess import Preprocess
from jaxad.report import heat, tables

FORMAT = 1
DESCRIPTION, WEIGHTS = "model.json", "model.safetensors"

# Images whose brightness is computed at once.
_AT_ONCE = 64


class Normal(NamedTuple):
  """The normal images that the threshold comes from.

  Attributes:
    id: of each.
    score: float64 [N].
    brightness: float64 [N], the mean of the uint8 pixels that the detector saw;
      None for rows and scenes.
  """

  id: tuple[str, ...]
  score: np.ndarray
  brightness: np.ndarray | None


class Run(ImageScorer):
  """A trained run; `load` makes it.

  Attributes:
    path: its folder.
    method: a key of `METHODS`.
    config: all its fields, a nested dict.
    detector: of the configuration.
    state: of the detector, as it was reported; without an optimiser.
    key: typed PRNG key, from which and an id comes what is drawn for an image.
    threshold_rule: (rule, value or None), see `jaxad.evaluation.thresholds`.
    threshold_source: "held-out images" or "training images"; or rows.
    normal: the images that the threshold comes from.
    scale: what makes heat of maps, by normal images, for pictures that can be
      compared; see `jaxad.report.heat`.
    description: all that stands in `model.json`.
  """

  def __init__(self, path: pathlib.Path, description: dict, state_of):
    self.path, self.description = path, description
    self._describe(description, path / DESCRIPTION)
    try:
      more = DescribedRun.of(description)
    except InputError as error:
      raise InputError(f"{path / DESCRIPTION}: {error}") from error
    self.method, self.config = more.method, more.config
    data_of_key = jnp.array(more.key, jnp.uint32)
    try:
      self.key = jax.random.wrap_key_data(data_of_key)
    except (TypeError, ValueError) as error:
      raise InputError(f"{path / DESCRIPTION}: {_DAMAGED}") from error
    self.threshold_rule = more.rule, more.rule_value
    self.threshold_source = more.source
    brightness = more.brightness
    self.normal = Normal(
      more.id,
      np.array(more.score, np.float64),
      None if brightness is None else np.array(brightness, np.float64),
    )
    self.detector = _detector(self.config, path / DESCRIPTION)
    self.state = state_of(self.detector, self.shape, self.dtype)

    limits, images = more.map_limits, None
    if not self._of_scenes and (limits is None or self.detector.relative_maps):
      limits, images = None, heat.score_limits(self.normal.score)
    self.scale = heat.Scale(limits, images)

  @functools.cached_property
  def part_names(self) -> tuple[str, ...]:
    """Names of the parts of a score, sorted."""
    shape = lambda *s: jax.ShapeDtypeStruct(s, self.dtype)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 1))
    x = shape(1, *self.shape)
    found = jax.eval_shape(self.detector.score, self.state, x, keys)
    return tuple(sorted(found.parts))

  @functools.cached_property
  def scorer(self) -> Scorer:
    """Scores examples as the run did."""
    return Scorer(self.detector, self.batch_size, self.key)

  def precision(self) -> contextlib.AbstractContextManager:
    """In which float32 matrices are multiplied as the run did."""
    return jax.default_matmul_precision(
      self.config["train"]["matmul_precision"]
    )

  def evaluate(self, dataset: Dataset | Examples) -> dict:
    """The figures of `results.json` on other data, at this threshold.

    Args:
      dataset: its test is scored; images as the detector sees them, see
        `jaxad.data.load`. Rows of a table, or a scene, are scaled as those of
        the run.

    Raises:
      InputError: they are not of the shape that it sees.
    """
    if isinstance(dataset, Dataset):
      test, kinds = dataset.test, data.seen_kinds(dataset.train)
    else:
      test, kinds = dataset, ()
    if test.raw is not None and isinstance(self.preprocess, Columns | Bands):
      test = dataclasses.replace(test, x=self.preprocess.seen(test.raw))
    # A scene may have any size.
    sizes = 0 if test.pixels is None else -1
    if tuple(test.x.shape[1:])[sizes:] != self.shape[sizes:]:
      raise InputError(
        f"examples of shape {list(test.x.shape[1:])}: the run in {self.path} "
        f"takes {list(self.shape)}."
      )
    with self.precision():
      scores = self.scorer.scores(self.state, test, test.mask is not None)
    found = Evaluation(test, scores, self.threshold, kinds)
    figures: dict[str, Any] = {}
    for evaluate in evaluators.ALWAYS:
      figures |= evaluate(found)
    return figures | {"n_test": len(test.label)}

  def _rounded(self, batch_size):
    return distributed.rounded(batch_size)

  def _dispatch(self, x, names, with_maps):
    with self.precision():
      return self.scorer.dispatch(self.state, x, names, with_maps)

  def _fetch(self, scores):
    return self.scorer.fetch(scores)._asdict()


def load(folder: str | pathlib.Path) -> Run:
  """Reads a trained run.

  Raises:
    InputError: there is none, a file is damaged, or it was written by a newer
      version.
  """
  folder = pathlib.Path(folder)
  described = read_description(folder)

  def state_of(detector, shape, dtype):
    blob = _read(folder / WEIGHTS)
    if tensor_file.sha256(blob) != described["weights_sha256"]:
      raise InputError(
        f"{folder / WEIGHTS}: it is damaged, or not of this run; take a whole "
        "copy of the folder."
      )
    arrays, _ = tensor_file.unpacked(blob, folder / WEIGHTS)
    return _state(detector, shape, dtype, arrays, folder)

  return Run(folder, described, state_of)


def read_description(folder: pathlib.Path) -> dict:
  """What stands in `model.json`.

  Raises:
    InputError: there is none, it is damaged, or of a newer version.
  """
  path = folder / DESCRIPTION
  blob = _read(path)
  try:
    found = foreign.parse_json(blob)
    if not isinstance(found, dict):
      raise ValueError
    newer = type(found["format"]) is int and found["format"] > FORMAT
    digest = found.pop("digest")
    whole = tensor_file.sha256(tensor_file.canonical(found)) == digest
  except (ValueError, LookupError, RecursionError) as error:
    raise InputError(f"{path}: {_DAMAGED}") from error
  if newer:
    raise InputError(
      f"{path}: of format {found['format']}, which this jaxad "
      f"({jaxad.__version__}) does not know; install a newer one."
    )
  if not whole:
    raise InputError(f"{path}: {_DAMAGED}")
  return found


_DAMAGED = "it is damaged; take a whole copy of the folder."


def write_description(folder: pathlib.Path, described: Mapping) -> None:
  """Writes `model.json` with its digest."""
  # As it will be read.
  plain = json.loads(tensor_file.canonical(described))
  digest = tensor_file.sha256(tensor_file.canonical(plain))
  tables.write_json(folder / DESCRIPTION, plain | {"digest": digest})


def save(
  folder: pathlib.Path,
  *,
  config: Mapping,
  state: State,
  preprocess: Preprocess | Columns | Bands | None,
  normal: Examples,
  scores: np.ndarray,
  threshold: float,
  source: str,
  key: jax.Array,
  fingerprint: Mapping,
  scale: heat.Scale | None = None,
) -> None:
  """Writes a trained run.

  Args:
    folder: of the run.
    config: all fields, a nested dict.
    state: that is reported.
    preprocess: of the data; None for rows of features.
    normal: examples that the threshold comes from.
    scores: of them, [N] float32.
    threshold: the number itself.
    source: where these examples come from.
    key: of the scorer.
    fingerprint: of the data and the weights file.
    scale: of its maps; None where none were made.
  """
  arrays = {name: np.asarray(v) for name, v in arrays_of(state).items()}
  blob = tensor_file.packed(arrays, {"format": str(FORMAT)})
  with tables.replacing(folder / WEIGHTS, "wb") as file:
    file.write(blob)
  described = {
    "format": FORMAT,
    "jaxad": jaxad.__version__,
    "method": config["method"],
    "config": config,
    "preprocess": None if preprocess is None else preprocess.to_json(),
    "example": {
      "shape": list(normal.x.shape[1:]),
      "dtype": np.dtype(normal.x.dtype).name,
    },
    "batch_size": config["eval"]["batch_size"],
    "key": jax.random.key_data(key).tolist(),
    "threshold": {
      "value": threshold,
      "rule": config["eval"]["threshold"],
      "rule_value": config["eval"]["threshold_value"],
      "source": source,
    },
    "normal": {
      "id": list(normal.id),
      "score": np.float64(scores).tolist(),
      "brightness": _brightness(normal),
    },
    "map_limits": scale and scale.pixels and list(scale.pixels),
    "weights_sha256": tensor_file.sha256(blob),
    "fingerprint": fingerprint,
  }
  write_description(folder, described)


def _brightness(examples):
  """The mean of each image's pixels, over all of its tiles; or None."""
  if examples.noun != "images":
    return None
  x, means = examples.x, []
  for first in range(0, len(x), _AT_ONCE):
    part = x[np.arange(first, min(first + _AT_ONCE, len(x)))]
    means += part.mean(tuple(range(1, part.ndim)), dtype=float).tolist()
  if examples.tiles is not None:
    parts = np.split(np.array(means), examples.tiles.cuts[1:-1])
    means = [float(part.mean()) for part in parts]
  return means


def arrays_of(state: State) -> dict[str, Any]:
  """What scoring needs of a state, by the paths in it."""
  name = functools.partial(jax.tree_util.keystr, simple=True, separator="/")
  leaves = jax.tree_util.tree_leaves_with_path(_parts(state))
  return {name(path): leaf for path, leaf in leaves}


def with_arrays(state: State, arrays: Mapping[str, Any]) -> State:
  """A state like this one, of other arrays; the inverse of `arrays_of`."""
  leaves = [arrays[name] for name in arrays_of(state)]
  structure = jax.tree.structure(_parts(state))
  return state.replace(**jax.tree.unflatten(structure, leaves))


def _parts(state):
  return {
    "params": state.params,
    "collections": state.collections,
    "extras": state.extras,
  }


def _detector(config, path) -> Detector:
  """Of a configuration; the trunk's weights come from the run itself."""
  try:
    return configs.detector_without_weights(config)
  except (AttributeError, LookupError, TypeError, ValueError) as error:
    raise InputError(
      f"{path}: this jaxad ({jaxad.__version__}) does not know the "
      f"configuration ({error}); install the version that trained it."
    ) from error


def abstract_state(detector: Detector, shape: tuple[int, ...], dtype) -> State:
  """The shapes and dtypes of a state, for examples of this shape.

  Raises:
    InputError: the detector does not take such examples.
  """
  batch = {"x": jax.ShapeDtypeStruct((1, *shape), dtype)}
  # Any plan: the optimiser that asks for one is left out.
  n = len(detector.phases)
  plan = Plan(1, ends=tuple(range(1, n + 1)), steps_per_epoch=(1,) * n)
  init = functools.partial(detector.init, plan=plan)
  return jax.eval_shape(init, jax.random.key(0), batch)


def _state(detector, shape, dtype, arrays, folder) -> State:
  like = abstract_state(detector, shape, dtype)
  expected = {n: (v.shape, v.dtype) for n, v in arrays_of(like).items()}
  found = {n: (v.shape, v.dtype) for n, v in arrays.items()}
  if found != expected:
    name = min(n for n in found | expected if found.get(n) != expected.get(n))
    raise InputError(
      f"{folder / WEIGHTS}: {name} is not what this jaxad "
      f"({jaxad.__version__}) expects of the configuration; install the "
      "version that trained it."
    )
  whole = distributed.replicated(distributed.data_mesh())
  zero = jnp.zeros((), jnp.int32)
  like = like.replace(
    step=zero, phase=zero, key=jax.random.key(0), opt_state=None
  )
  return with_arrays(like, jax.device_put(arrays, whole))


def _read(path):
  try:
    return foreign.read_bytes(path)
  except FileNotFoundError as error:
    raise InputError(
      f"{path}: no such file; name the folder of a finished run. One of an "
      "older jaxad gets it by --resume."
    ) from error
  except OSError as error:
    raise InputError(
      f"{path}: it cannot be read ({error.strerror})."
    ) from error
