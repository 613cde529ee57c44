# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""A user's script, which mypy checks strictly and nobody runs."""

import pathlib
from typing import assert_type

import jax
import numpy as np

import jaxad
from jaxad import callbacks, data
from jaxad.evaluation.scoring import Scorer
from jaxad.evaluation.thresholds import threshold
from jaxad.export import export
from jaxad.image_scorer import ImageScores
from jaxad.loop import Moment
from jaxad.sklearn import AnomalyDetector


def train(folder: pathlib.Path) -> np.ndarray:
  dataset = data.load("digits", subset="0", image_size=32)
  detector = jaxad.ganomaly(width=16)
  assert_type(detector, jaxad.Detector)
  plan = jaxad.make_plan(
    detector, dataset, batch_size=32, epochs=2, drop_remainder=True
  )
  state = detector.init(jax.random.key(0), {"x": dataset.train.x[:1]}, plan)
  log = callbacks.Log(folder / "metrics.jsonl", every=10)
  state = jaxad.fit(detector, state, dataset, plan, [log, Stop()])
  assert_type(state, jaxad.State)
  assert_type(state.replace(opt_state=None), jaxad.State)
  scores = Scorer(detector, 100, jax.random.key(1)).scores(state, dataset.test)
  print(threshold(scores.image, "quantile", 0.95))
  return np.asarray(scores.image)


class Stop(jaxad.Callback):
  """Ends a phase at the hundredth step."""

  def next_stop(self, step: int) -> int | None:
    return 100 if step < 100 else None

  def after(self, moment: Moment) -> bool:
    return moment.step >= 100


def decide(folder: str, images: list[np.ndarray]) -> np.ndarray:
  run = jaxad.load(folder)
  assert_type(run, jaxad.Run)
  found = run.score(images, with_maps=True)
  assert_type(found, ImageScores)
  for one in run.stream(images):
    print(one.score > run.threshold, one.parts)
  export(run, "parts.jaxad")
  return jaxad.load_scorer("parts.jaxad").predict(images)


def detector_of_parts() -> jaxad.Detector:
  return jaxad.dra(
    trunk=jaxad.Trunk(name="squeezenet1_1"),
    augmentation=jaxad.Augmentation(rotation=10.0),
    criterion=jaxad.Criterion(margin=4.0),
    optimizer=jaxad.ClippedAdam(learning_rate=1e-3),
  )


def mistakes() -> None:
  """Where mypy finds nothing, an ignored error is one."""
  jaxad.ganomaly(width="wide")  # type: ignore[arg-type]
  jaxad.ganomaly(depth=3)  # type: ignore[call-arg]
  jaxad.Trunk(name="resnet19")  # type: ignore[arg-type]
  data.load("digits", protocol="all")  # type: ignore[arg-type]
  print(jaxad.load("runs/parts").scores)  # type: ignore[attr-defined]
  jaxad.load_scorer(3)  # type: ignore[arg-type]
  AnomalyDetector(epochs="many")  # type: ignore[arg-type]


def outliers(rows: np.ndarray) -> np.ndarray:
  try:
    return AnomalyDetector("alad", epochs=100).fit(rows).predict(rows)
  except jaxad.InputError as error:
    raise SystemExit(f"{error}") from error
