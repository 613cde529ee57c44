# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The map of another scene, by a run that was trained on one of its bands.

`maps/` gets the score of each pixel (.npy), and a picture of the scene in false
colours under it (.png), both named like its file. `scores.json` says which run
and threshold it is of, and how many pixels are above that.
"""

import pathlib
import sys

import numpy as np

from jaxad import drift, trained
from jaxad.data import scene_files, scenes
from jaxad.errors import InputError
from jaxad.evaluation.metrics import pixel_auroc
from jaxad.predictions import MAPS, held, map_name, write_summary
from jaxad.report import tables
from jaxad.report.figures import overlay


def predict_scene(
  run: trained.Run, path: pathlib.Path, output: pathlib.Path, *, threshold: dict
) -> dict:
  """Scores a scene into a folder; maps of other scenes stay there.

  Args:
    run: what scores.
    path: of the scene, with as many bands as that of the run.
    output: the folder; new, or with predictions of the same run.
    threshold: {"value": a score above it is anomalous, "rule", "rule_value"}.

  Returns:
    What stands in `scores.json`.

  Raises:
    InputError: the scene has other bands, or the folder holds something else.
  """
  options = run.config["data"]["scene"]
  scene = _read(path, options)
  try:
    (one,) = run.stream([scene.cube], [path.name], with_maps=True)
  except InputError as error:
    said = str(error).removeprefix(f"scene {path.name}: ")
    raise InputError(f"{path}: {said}") from error
  if not np.isfinite(one.map).all():
    raise InputError(f"{path}: some of its scores are not finite.")
  limit, digest = threshold["value"], run.description["weights_sha256"]
  scores = one.map.ravel()
  shifts, warnings = drift.compare(
    run.normal.score, None, scores, np.zeros(0), limit
  )
  name = map_name(path.name)
  summary = {
    "n_pixels": scores.size,
    "n_errors": 0,
    "n_anomalous": int((scores > limit).sum()),
    "score": float(one.score),
    "map": str(output / MAPS / f"{name}.npy"),
    "picture": str(output / MAPS / f"{name}.png"),
    "drift": {
      name: found and found._asdict() for name, found in shifts.items()
    },
    "warnings": warnings,
  }
  if scene.truth is not None:
    summary["pixel_auroc"] = pixel_auroc(scene.truth[None], one.map[None])
  with held(output, digest):
    write_summary(output, digest, threshold, {})
    (output / MAPS).mkdir(exist_ok=True)
    tables.write_array(summary["map"], one.map)
    heat = run.scale.heat(one.map, one.score)
    overlay(summary["picture"], scenes.picture(scene), heat)
    write_summary(output, digest, threshold, summary)
  return {**summary, "output": str(output)}


def _read(path, options):
  """A scene, by the names that the run had for its arrays where they are."""
  if not path.is_file():
    raise InputError(f"{path}: no such file; expected a scene.")
  variable = options["variable"]
  # Another scene need not have a truth.
  for names in ((variable, options["truth"]), (variable, None)):
    try:
      return scene_files.read(path, *names)
    except InputError:
      continue
  scene = scene_files.read(path)
  if variable is not None:
    print(
      f"NOTE: {path} has no array {variable}, that of the training: another "
      "one was taken",
      file=sys.stderr,
    )
  return scene
