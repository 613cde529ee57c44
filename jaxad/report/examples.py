# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The examples of a test as a page shows them: images, rows, or a scene."""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter

from jaxad.columns import Columns
from jaxad.data.examples import Examples
from jaxad.evaluation.evaluators import Evaluation
from jaxad.report.charts import CLASSES
from jaxad.report.heat import EDGE, grey, heated, outlines, scale_of
from jaxad.report.html import SMALL, picture_uri
from jaxad.report.pictures import Shown
from jaxad.resize import resized

# The longest side of a picture on a page, in pixels, and of that of a scene.
SIDE, SCENE_SIDE = 320, 640

# Pixels of a scene: anomalous ones that are found, anomalous ones that are
# missed, and normal ones above the threshold.
DECISIONS = ("#1b2126", "#d55e00", "#56b4e9")

# Lines around spots of heat in a picture, at most; the longest ones.
_MOST_LINES = 40

# Deviation by which heat is smoothed for them, as a share of the longest side.
_SMOOTHING = 0.015

# Columns of a row that are shown, those that are the most unusual.
_MOST_COLUMNS = 4


def cards(found: Evaluation, shown: Shown) -> dict[int, dict]:
  """Each example to show: its name, score, class and views, by its index.

  A view has "title", "uri", "width" and "height", "alt", and the lines "truth"
  and "edge" (attributes d of SVG paths).
  """
  test, rows = found.test, shown.rows
  pictures = test.pictures[rows]
  masks = None if test.mask is None else test.mask[rows]
  made = {}
  for k, i in enumerate(rows.tolist()):
    image = np.asarray(pictures[k])
    size = _size(image.shape[:2], SIDE)
    small = lambda v, size=size: resized(v, size)
    name = f"{test.kind[i]} {test.id[i]}"
    views = [_view("image", small(image), f"The image {name}.")]
    mask = np.zeros((1, 1)) if masks is None else np.asarray(masks[k]) != 0
    truth = _paths(small(np.float32(mask))) if mask.any() else []
    if i in shown.heat:
      heat = small(shown.heat[i])
      view = _view(
        "heat map",
        heated(grey(small(image)), heat),
        f"Heat map of {name}; its hottest spot is {100 * heat.max():.0f} % of "
        "the scale.",
      )
      # Spots that touch have one line, and specks none.
      smooth = gaussian_filter(np.nan_to_num(heat), _SMOOTHING * max(size))
      edge = _paths(smooth, EDGE)
      views.append(view | {"truth": truth, "edge": edge})
    elif truth:
      views[0]["truth"] = truth
    if i in shown.reconstruction:
      image = small(shown.reconstruction[i])
      views.append(_view("reconstruction", image, f"What is made of {name}."))
    made[i] = _of_example(found, i) | {"views": views}
  return made


def _of_example(found, i):
  test = found.test
  label, called = int(test.label[i]), bool(found.predicted[i])
  return {
    "id": test.id[i],
    "kind": test.kind[i],
    "class": CLASSES[label],
    "right": called == (label == 1),
    "score": float(found.scores.image[i]),
  }


def _view(title, image, alt):
  height, width = image.shape[:2]
  return {
    "title": title,
    "uri": picture_uri(image),
    "alt": alt,
    "width": width,
    "height": height,
    "coarse": max(height, width) <= SMALL,
    "truth": [],
    "edge": [],
  }


def _size(size, most):
  """The same aspect, within `most` pixels."""
  share = min(1, most / max(size))
  return tuple(max(1, round(share * side)) for side in size)


def _paths(area, level=0.5):
  """Lines around what is above a level, as attributes d of SVG paths."""
  paths = []
  for line in outlines(area, level)[:_MOST_LINES]:
    # From the middles of pixels to their corners.
    points = [f"{x:.1f},{y:.1f}" for x, y in line + 0.5]
    paths.append(f"M{' '.join(points)}")
  return paths


def scene_views(found: Evaluation) -> list[dict]:
  """A scene: in false colours, its heat, and what is decided of its pixels."""
  test = found.test
  (pixel_map,) = found.scores.map
  picture = test.pixels.picture
  size = _size(picture.shape[:2], SCENE_SIDE)
  shape, odd, called = picture.shape[:2], test.label == 1, found.predicted

  def whole(values):
    flat = np.zeros(shape[0] * shape[1], bool)
    flat[test.pixels.rows] = values
    return flat.reshape(shape)

  seen = resized(picture, size)
  heat = scale_of(pixel_map, found.scores.image, scene=True).heat(pixel_map, 0)
  decided = np.full((*shape, 3), 255, np.uint8)
  for flags, colour in zip(
    (odd & called, odd & ~called, ~odd & called), DECISIONS, strict=True
  ):
    decided[whole(flags)] = [int(colour[k : k + 2], 16) for k in (1, 3, 5)]
  views = [
    _view("false colours", seen, "The scene in false colours."),
    _view(
      "score",
      heated(grey(seen), resized(heat, size)),
      "The scene in grey under the heat of its scores.",
    ),
    _view(
      f"above the threshold: {int(called.sum()):,} pixels",
      resized(decided, size),
      f"Of {int(odd.sum())} anomalous pixels {int((odd & called).sum())} are "
      f"above the threshold, and {int((~odd & called).sum())} normal ones.",
    ),
  ]
  if odd.any():
    views[1]["truth"] = _paths(resized(np.float32(whole(odd)), size))
  return views


def unusual_rows(
  found: Evaluation,
  train: Examples,
  columns: Columns | None,
  rows: Sequence[int],
) -> dict[int, dict]:
  """Rows of a table, and where they depart the most from the training rows.

  How far a value is off is counted in interquartile ranges of its column from
  the median, or in deviations where that range is nothing.

  Args:
    found: the scored test.
    train: what was trained on.
    columns: of the table; None numbers them.
    rows: indices of the test.

  Returns:
    {index: name, score and class, and "columns", each with "name", "value",
    "usual" and "off", which is None where no training row had another value}.
  """
  test = found.test
  known = test.raw is not None and train.raw is not None
  values = test.raw if known else np.asarray(test.x[np.arange(len(test.id))])
  normal = train.raw if known else np.asarray(train.x[np.arange(len(train.id))])
  names = _names(columns) if known and columns else None
  if names is None:
    names = [f"column {k}" for k in range(values.shape[1])]
  with np.errstate(all="ignore"):
    low, usual, high = np.nanquantile(normal, (0.25, 0.5, 0.75), axis=0)
    spread = np.where(high > low, high - low, np.nanstd(normal, axis=0))
  made = {}
  for i in np.asarray(rows).tolist():
    with np.errstate(divide="ignore", invalid="ignore"):
      off = (values[i] - usual) / spread
    far = np.where(np.isnan(off), 0, np.abs(off))
    order = np.argsort(-far, kind="stable")[:_MOST_COLUMNS]
    made[i] = _of_example(found, i) | {
      "columns": [
        {
          "name": names[k],
          "value": float(values[i, k]),
          "usual": float(usual[k]),
          "off": float(off[k]) if np.isfinite(off[k]) else None,
        }
        for k in order
        if far[k] > 0
      ]
    }
  return made


def _names(columns):
  """A name of each value of a row."""
  found = []
  for name, texts in zip(columns.names, columns.texts, strict=True):
    found += [f"{name} = {text}" for text in texts] if texts else [name]
  return found
