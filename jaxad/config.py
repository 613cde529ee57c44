# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The fields of a run's configuration, read off what they configure.

The groups are `data`, the keywords of `jaxad.data.load`; `train` and `eval`,
the fields of `Train` and `Eval`; and `detector`, the keywords of the method. A
keyword that takes a value with fields of its own, such as `Trunk`, is a group
again: `config.detector.trunk.name`.

A file in `configs/` has a function `get_config(preset)` that takes `base(...)`
and sets what its method and data need. `preset` is what follows the colon in
`--config NAME:DATASET/SUBSET`, or None.
"""

import inspect
import typing
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, NamedTuple

from ml_collections import ConfigDict

from jaxad import data, fields
from jaxad.detector import Detector
from jaxad.errors import InputError, under
from jaxad.evaluation.thresholds import DEFAULTS
from jaxad.fields import Count, CountOrZero, ProperShare, Range, Seed, Steps
from jaxad.methods import METHODS, ROWS, SCENES
from jaxad.networks.trunk import is_at_hand

Holdout = Annotated[float, Range(0, 0.99)]

# Twenty images, from which a rate of one in twenty can be told at all, are a
# fifth of a hundred; smaller sets have none to spare.
HOLDOUT = 0.2


class Train(NamedTuple):
  """How long to train, and in which steps.

  Attributes:
    epochs: passes over the training data.
    steps: updates, in place of epochs; None goes by the epochs.
    batch_size: examples in an update, over all devices.
    drop_remainder: leave a last, smaller batch out, or pad it.
    cached_views: views of each image whose frozen features are computed once; 0
      draws new views in every step, as papers do.
    steps_per_dispatch: updates in one call of the compiled function; None is 1
      on a CPU, 16 on accelerators.
    log_every: steps between two lines of the log.
    tensorboard: also write the log for TensorBoard, a package of its own.
    checkpoint_every: steps between two checkpoints; None makes five in a run.
    model_devices: devices that share the large parameters, each with its part;
      a divisor of all devices. No number depends on it.
    split_optimizer: whether all devices share the large arrays of the
      optimiser, each with its part. No number depends on it.
    matmul_precision: of float32 products: "default" is the fastest that the
      device has, "highest" is float32 itself. On a CPU they are one.
    dtype: of the products of a network in training; "bfloat16" is mixed
      precision, parameters and all else stay float32.
  """

  epochs: Count = 1
  steps: Steps | None = None
  batch_size: Count = 32
  drop_remainder: bool = False
  cached_views: CountOrZero = 0
  steps_per_dispatch: Count | None = None
  log_every: Steps = 10
  tensorboard: bool = False
  checkpoint_every: Steps | None = None
  model_devices: Count = 1
  split_optimizer: bool = False
  matmul_precision: Literal["default", "high", "highest"] = "default"
  dtype: Literal["float32", "bfloat16"] = "float32"


class Eval(NamedTuple):
  """How to test, and what to report.

  Attributes:
    batch_size: examples scored at once; no score depends on it.
    every: epochs between two evaluations; None evaluates after training only.
    select: the state to report: the "last" one; "held_out", that of the lowest
      negative log-likelihood of held-out normal images; or "best_on_test",
      which is optimistic.
    patience: epochs without a lower mean score of the held-out normal images
      after which training ends; None trains to its end.
    protocol: "official" also tests as the authors' code does, where that
      differs.
    threshold: rule that makes a threshold of scores of normal examples, see
      `jaxad.evaluation.thresholds`.
    threshold_value: number of the rule; None is its default.
    threshold_images: how many they are at most, where none were held out; of a
      scene, pixels.
    contamination: share of the test that is called anomalous for further
      figures, those of the highest scores, as papers on tables have it; None
      for none.
    maps: pixel maps of "all" test images if there are masks to compare with, of
      those on the "sheet" of the report, or "none".
    nearest_neighbour: also score cached features by their distance to those of
      the training images.
  """

  batch_size: Count = 8
  every: Count | None = None
  select: Literal["last", "held_out", "best_on_test"] = "last"
  patience: Count | None = None
  protocol: Literal["standard", "official"] = "standard"
  threshold: Literal[tuple(DEFAULTS)] = "kde"
  threshold_value: Annotated[float, Range(0, 1000)] | None = None
  threshold_images: Count = 200
  contamination: ProperShare | None = None
  maps: Literal["all", "sheet", "none"] = "all"
  nearest_neighbour: bool = False


class Field(NamedTuple):
  """What is known of one field: its type, default value and meaning."""

  kind: Any
  default: Any
  meaning: str


def described(what, default=None) -> dict:
  """The fields of a function or of a value, from its signature and docstring.

  Args:
    what: a function with keywords, or a named tuple type.
    default: a value whose attributes are the defaults; None takes those of the
      signature.

  Returns:
    {name: `Field`, or for a group such a dict}; keywords without a default are
    left out.
  """
  function = getattr(what, "func", what)  # of a functools.partial
  kinds = typing.get_type_hints(function, include_extras=True)
  meanings = fields.meanings(function)
  found = {}
  for name, parameter in inspect.signature(what).parameters.items():
    value = getattr(default, name, parameter.default)
    if value is parameter.empty:
      continue
    kind = kinds[name]
    if fields.is_group(kind):
      found[name] = described(kind, value)
    else:
      found[name] = Field(kind, value, meanings.get(name, ""))
  return found


def schema(method: str) -> dict:
  """All fields of a configuration: {name: `Field`, or for a group a dict}."""
  return {
    "method": Field(Literal[tuple(METHODS)], method, "named by --config."),
    "seed": Field(Seed, 0, "of the run: parameters, order, what is drawn."),
    "data": {
      "name": Field(str, "textures", fields.meanings(data.load)["name"]),
      **described(data.load),
      "holdout": Field(
        Holdout,
        HOLDOUT,
        "part of the normal training images that is kept from training, for "
        "the threshold. With 0 the threshold comes from training images.",
      ),
    },
    "train": described(Train),
    "eval": described(Eval),
    "detector": described(METHODS[method]),
  }


def base(
  method: str, preset: str | None = None, default: str = "textures"
) -> ConfigDict:
  """All fields with their defaults, on the data of a preset.

  Args:
    method: a key of `METHODS`.
    preset: DATASET or DATASET/SUBSET, for `data.name` and `data.subset`.
    default: the preset in place of None.
  """
  # Values are checked when all are set, by types that know more than Python's.
  config = ConfigDict(_defaults(schema(method)), type_safe=False)
  config.data.name, _, subset = (preset or default).partition("/")
  config.data.subset = subset or None
  if config.data.name in data.TABLES:
    plain = lambda value: getattr(value, "_asdict", lambda: value)()
    config.detector.update(
      {k: plain(v) for k, v in ROWS.get(method, {}).items()}
    )
    config.eval.batch_size = 1024
  if config.data.name in data.SCENES:
    config.detector.update(SCENES.get(method, {}))
    # All pixels are trained on, and few are anomalous.
    config.data.holdout = 0.0
    config.eval.batch_size = 1
    config.eval.threshold = "quantile"
    config.eval.threshold_value = 0.99
    config.eval.threshold_images = 10_000
  return config.lock()


def open_set(method: str, preset: str | None) -> ConfigDict:
  """Fields for methods that learn from a few labelled anomalies.

  With a data set the setting of DRA's paper (448 px, batches of 48, ten
  anomalies of any kind); on the embedded textures one for minutes on a CPU,
  whose test has kinds that training did not see.
  """
  config = base(method, preset)
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
  config.detector.trunk.weights = "random"
  config.detector.trunk.width = 16
  config.detector.trunk.blocks = (1, 1, 1, 1)
  config.detector.trunk.layer = "layer2"
  config.detector.optimizer.learning_rate = 1e-3
  config.detector.optimizer.schedule = "late"
  config.detector.optimizer.decay_every = 8
  return config


def completed(config: dict) -> dict:
  """A stored configuration with the defaults of fields that it lacks.

  Those that came after the version that stored it.
  """
  method = config.get("method")
  if not isinstance(method, str) or method not in METHODS:
    return config
  return _filled(config, _defaults(schema(method)))


def _filled(given, defaults):
  """`given`, with what it lacks of a nested dict."""
  if not isinstance(given, dict) or not isinstance(defaults, dict):
    return given
  return {
    name: _filled(given.get(name, default), default)
    for name, default in defaults.items()
  } | {name: value for name, value in given.items() if name not in defaults}


def _defaults(field):
  if isinstance(field, dict):
    return {name: _defaults(part) for name, part in field.items()}
  return field.default


def baseline(method: str, preset: str | None) -> ConfigDict:
  """Fields for what is fitted to frozen features, or to rows of a table.

  Images of one channel, such as digits, get three. Without the package of the
  trunk's weights the embedded textures are seen by a random one.
  """
  config = base(method, preset)
  config.train.batch_size = 32
  if config.data.name in data.TABLES:
    return config
  config.data.channels = 3
  config.data.image_size = 224
  config.eval.batch_size = 32
  if config.data.name == "textures" and not is_at_hand(
    config.detector.trunk.name
  ):
    config.detector.trunk.weights = "random"
  return config


def check(config: ConfigDict) -> None:
  """Whether every field is there and has a value that its type allows.

  Raises:
    InputError: one has not; the message begins with its full name.
  """
  fields.check("config.method", config.get("method"), Literal[tuple(METHODS)])
  _check(config, schema(config.method), "config")


def _check(node, known, where):
  if not isinstance(node, ConfigDict):
    raise InputError(
      f"{where}={node!r}: expected the group of {_names(known)}."
    )
  for name in sorted(node.keys() ^ known.keys()):
    fault = "no such field" if name in node else "it is missing"
    raise InputError(
      f"{where}.{name}: {fault}; {where} has {_names(known)}.",
      f"{where}.{name}",
    )
  for name, field in known.items():
    full = f"{where}.{name}"
    if isinstance(field, dict):
      _check(node[name], field, full)
    else:
      fields.check(full, node[name], field.kind)


def data_arguments(config: ConfigDict) -> dict[str, Any]:
  """The keywords of `data.load` that a configuration holds."""
  keywords = _arguments(data.load, config.data)
  del keywords["holdout"]
  return keywords


def build_detector(config: ConfigDict) -> Detector:
  """The detector of a configuration.

  Raises:
    InputError: the fields of `config.detector` do not fit together.
  """
  factory = METHODS[config.method]
  with under("config.detector"):
    return factory(**_arguments(factory, config.detector))


def detector_without_weights(config: Mapping) -> Detector:
  """Of the same networks, which asks for no file of weights."""

  def random(node):
    if not isinstance(node, Mapping):
      return node
    node = {name: random(value) for name, value in node.items()}
    return node | {"weights": "random"} if "weights" in node else node

  config = {**config, "detector": random(config["detector"])}
  return build_detector(ConfigDict(config))


def value(kind: type, node: ConfigDict) -> Any:
  """The value, such as a `Train`, whose fields a group holds."""
  return kind(**_arguments(kind, node))


def _arguments(what, node):
  kinds = typing.get_type_hints(getattr(what, "func", what))
  return {
    name: value(kinds[name], part) if isinstance(part, ConfigDict) else part
    for name, part in node.items()
  }


# Overrides.


def override(config: ConfigDict, name: str, text: str) -> None:
  """Sets one field, as `--config.train.epochs=3` does.

  Args:
    config: changed in place.
    name: path of the field, "train.epochs".
    text: its value. A tuple is written with commas, in brackets or not.

  Raises:
    InputError: an unknown field, or a value that it may not have.
  """
  *parents, leaf = name.split(".")
  node, known = config, schema(config.method)
  for parent in parents:
    known = known.get(parent)
    if not isinstance(known, dict):
      raise InputError(
        f"config.{name}: no such field; the groups are {_names(config)}."
      )
    node = node[parent]
  full, where = f"config.{name}", ".".join(["config", *parents])
  if leaf not in known:
    raise InputError(f"{full}: no such field; {where} has {_names(known)}.")
  field = known[leaf]
  if isinstance(field, dict):
    raise InputError(f"{full} is a group; set one of {_names(field)} in it.")
  if name == "method":
    raise InputError(f"{full}: the file given with --config says the method.")
  found = fields.parse(text, field.kind)
  fields.check(full, found, field.kind)
  node[leaf] = found
  if name == "eval.threshold":
    # The number that a configuration has is of its own rule.
    config.eval.threshold_value = None


def _names(node):
  return ", ".join(sorted(node))


def first_difference(
  a: dict, b: dict, prefix: str = "config", ignore: Collection[str] = ()
) -> str | None:
  """Describes the first field in which two nested dicts differ, or None.

  Args:
    a: as `ConfigDict.to_dict` makes it, or as it came back from JSON, where
      tuples are lists.
    b: likewise.
    prefix: of the names.
    ignore: full names of fields that may differ, "config.data.root".
  """
  plain = lambda value: list(value) if isinstance(value, tuple) else value
  for key in sorted(a.keys() | b.keys()):
    name, left, right = f"{prefix}.{key}", plain(a.get(key)), plain(b.get(key))
    if name in ignore:
      continue
    if isinstance(left, dict) and isinstance(right, dict):
      if found := first_difference(left, right, name, ignore):
        return found
    elif left != right:
      return f"{name} is {left!r} there and {right!r} here"
  return None
