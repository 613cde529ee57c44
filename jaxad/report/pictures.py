# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""All that a run shows of its test set."""

import pathlib

import numpy as np

from jaxad.evaluation.evaluators import Evaluation
from jaxad.report.figures import (
  extremes,
  image_sheet,
  roc_curve,
  scene_sheet,
  score_histogram,
)
from jaxad.report.tables import write_array, write_scores

# The sheet shows this many images of either end.
SHEET_IMAGES = 8


def write_pictures(folder: pathlib.Path, found: Evaluation, maps_of) -> None:
  """Writes `scores.csv` and the figures; of rows there is no sheet of images.

  Of a scene there are its map, `map.npy`, and `scene.png`.

  Args:
    folder: of the run.
    found: the scored test.
    maps_of: examples to their pixel maps, or to None to show none.
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
  shown = np.sort(np.concatenate(extremes(score, SHEET_IMAGES)))
  maps, limits = found.scores.map, None
  if maps is not None:
    # One scale for all images of the set, where their maps are known.
    limits = maps.min(), np.quantile(maps, 0.999)
    maps = maps[shown]
  else:
    maps = maps_of(test.take(shown))
  image_sheet(
    folder / "images.png",
    test.pictures[shown],
    maps,
    score[shown],
    test.label[shown],
    [test.id[i] for i in shown],
    None if test.mask is None else test.mask[shown],
    limits,
    SHEET_IMAGES,
  )
