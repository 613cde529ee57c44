# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""All that a run shows of its test set."""

import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxad.data.examples import Examples
from jaxad.detector import Scores
from jaxad.evaluation.evaluators import Evaluation
from jaxad.report.figures import (
  extremes,
  image_sheet,
  roc_curve,
  scene_sheet,
  score_histogram,
)
from jaxad.report.heat import Scale
from jaxad.report.tables import write_array, write_scores

# Either end of the scores is shown by so many images.
SHEET_IMAGES = 8

# So many are looked at in one call.
AT_ONCE = 16

# And each kind of mistake, and what is close to one, by so many.
MISTAKES = 12


class Shown(NamedTuple):
  """The test examples that a report shows.

  Attributes:
    missed: int, the anomalous ones below the threshold, the lowest first.
    false_alarms: the normal ones above it, the highest first.
    borderline: those that are decided rightly but closely, the closest first.
    most: the most anomalous ones, the highest first.
    least: the least anomalous ones, the lowest first.
    heat: {index: float32 [h, w] in [0, 1]} of each that has a map.
    reconstruction: {index: uint8 [h, w, C]} of each that was reconstructed.
    weighted: whether the heat is that of maps weighted by the score.
  """

  missed: np.ndarray
  false_alarms: np.ndarray
  borderline: np.ndarray
  most: np.ndarray
  least: np.ndarray
  heat: dict[int, np.ndarray] = {}
  reconstruction: dict[int, np.ndarray] = {}
  weighted: bool = False

  @property
  def rows(self) -> np.ndarray:
    """All of them, sorted."""
    return np.unique(np.concatenate(self[:5]))


def chosen(found: Evaluation) -> Shown:
  """The examples to show, by their scores alone."""
  score, label = found.scores.image, found.test.label
  wrong = found.predicted != (label == 1)
  order = np.argsort(score, kind="stable")
  of = lambda rows, which: rows[which[rows]][:MISTAKES]
  closest = np.argsort(abs(score - found.threshold), kind="stable")
  return Shown(
    of(order, wrong & (label == 1)),
    of(order[::-1], wrong & (label == 0)),
    of(closest, ~wrong)[:SHEET_IMAGES],
    *extremes(score, SHEET_IMAGES),
  )


def shown_of(
  found: Evaluation,
  scale: Scale | None,
  look: Callable[[Examples], Scores] | None,
) -> Shown:
  """The examples to show, with their heat and reconstructions.

  Args:
    found: the scored test.
    scale: of the maps; None shows none.
    look: examples to scores with maps and reconstructions, where there are any;
      None takes the maps that are there.
  """
  shown = chosen(found)
  if scale is None or found.test.pixels is not None:
    return shown
  rows, maps, made = shown.rows, found.scores.map, None
  maps = None if maps is None else maps[rows]
  if look is not None:
    # A few at a time: of an image in tiles there is a map for each.
    parts = [rows[k : k + AT_ONCE] for k in range(0, len(rows), AT_ONCE)]
    seen = [look(found.test.take(part)) for part in parts]
    joined = lambda name: (
      None
      if getattr(seen[0], name) is None
      else np.concatenate([getattr(one, name) for one in seen])
    )
    maps = joined("map") if maps is None else maps
    made = joined("reconstruction")
  if maps is not None:
    heat = scale.heat(maps, found.scores.image[rows])
    shown = shown._replace(
      heat=dict(zip(rows.tolist(), heat, strict=True)),
      weighted=scale.images is not None,
    )
  if made is not None:
    made = dict(zip(rows.tolist(), made, strict=True))
    shown = shown._replace(reconstruction=made)
  return shown


def write_pictures(
  folder: pathlib.Path, found: Evaluation, shown: Shown
) -> None:
  """Writes `scores.csv` and the figures; of rows there is no sheet of images.

  Of a scene there are its map, `map.npy`, and `scene.png`.

  Args:
    folder: of the run.
    found: the scored test.
    shown: what to show of it.
  """
  test, score = found.test, found.scores.image
  write_scores(
    folder / "scores.csv", test.id, test.label, score, found.predicted
  )
  roc_curve(folder / "roc_curve.png", test.label, score, test.noun)
  score_histogram(
    folder / "score_histogram.png",
    test.label,
    score,
    found.threshold,
    test.noun,
  )
  if test.pixels is not None:
    (pixel_map,) = found.scores.map
    write_array(folder / "map.npy", pixel_map)
    truth = None if test.mask is None else test.mask[0]
    scene_sheet(folder / "scene.png", test.pixels.picture, pixel_map, truth)
    return
  if test.pictures.ndim == 2:
    return
  rows = np.union1d(shown.most, shown.least)
  image_sheet(
    folder / "images.png",
    test.pictures[rows],
    np.stack([shown.heat[i] for i in rows]) if shown.heat else None,
    score[rows],
    test.label[rows],
    [test.id[i] for i in rows],
    None if test.mask is None else test.mask[rows],
    SHEET_IMAGES,
  )
