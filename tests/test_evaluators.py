# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What a report says of scored tests whose figures can be told by hand."""

import numpy as np
import pytest

from jaxad.data.examples import Examples
from jaxad.detector import Scores
from jaxad.evaluation import evaluators
from jaxad.evaluation.evaluators import Evaluation
from jaxad.report.heat import Scale
from jaxad.report.pictures import (
  AT_ONCE,
  SHEET_IMAGES,
  shown_of,
  write_pictures,
)

KINDS = ("good", "good", "hole", "hole", "cut")
SCORE = np.float32([1.0, 2.5, 3.0, 2.0, 4.0])


def evaluation(
  score=SCORE, kinds=KINDS, threshold=2.2, mask=None, map=None, **fields
):
  """Of examples of these kinds; their pixels do not matter."""
  n = len(kinds)
  label = np.int32([kind != "good" for kind in kinds])
  names = tuple(f"{kind}/{k}.png" for k, kind in enumerate(kinds))
  x = np.zeros((n, 4, 4, 3), np.uint8)
  parts = fields.pop("parts", {})
  test = Examples(x, label, names, kinds, mask)
  return Evaluation(test, Scores(score, map, parts), threshold, **fields)


NORMAL = evaluation(SCORE[:2], KINDS[:2])


def test_image_figures():
  found = evaluators.image_figures(evaluation())
  # Of six pairs one is in the wrong order.
  assert found["image_auroc"] == pytest.approx(5 / 6)
  precision = (1 + 1 + 3 / 4) / 3
  assert found["image_average_precision"] == pytest.approx(precision)
  # Above 1 all three are found, with one mistake.
  assert found["f1_max"] == pytest.approx(6 / 7)
  assert found["f1_max_threshold"] == 1.0
  figures = evaluators.image_figures(NORMAL)
  assert figures.keys() == found.keys()
  assert set(figures.values()) == {None}


def test_threshold_figures():
  found = evaluators.threshold_figures(evaluation())
  assert found == {
    "threshold": 2.2,
    "true_positive_rate": pytest.approx(2 / 3),
    "false_positive_rate": 0.5,
    "threshold_precision": pytest.approx(2 / 3),
    "threshold_f1": pytest.approx(2 / 3),
  }
  nothing = evaluators.threshold_figures(evaluation(threshold=9.0))
  assert nothing["threshold_precision"] is None
  assert nothing["threshold_f1"] == nothing["true_positive_rate"] == 0
  # What is no higher than the threshold is normal.
  at = evaluators.threshold_figures(evaluation(threshold=2.5))
  assert at["false_positive_rate"] == 0
  rates = evaluators.threshold_figures(NORMAL)
  for name in ("true_positive_rate", "threshold_precision", "threshold_f1"):
    assert rates[name] is None
  assert rates["false_positive_rate"] == 0.5


def test_kind_figures():
  assert evaluators.kind_figures(evaluation()) == {}
  found = evaluators.kind_figures(evaluation(seen_kinds=("hole", "dent")))
  assert found == {
    "image_auroc_seen": 0.75,
    "image_auroc_unseen": 1.0,
    "image_auroc_by_kind": {"cut": 1.0, "hole": 0.75},
  }
  every = evaluators.kind_figures(evaluation(seen_kinds=("hole", "cut")))
  assert every["image_auroc_unseen"] is None
  assert every["image_auroc_seen"] == pytest.approx(5 / 6)


def test_part_figures():
  parts = {"up": SCORE, "down": -SCORE, "same": 0 * SCORE}
  found = evaluators.part_figures(evaluation(parts=parts))
  assert found == {
    "image_auroc_by_part": {
      "up": pytest.approx(5 / 6),
      "down": pytest.approx(1 / 6),
      "same": 0.5,
    }
  }
  assert evaluators.part_figures(evaluation()) == {}
  alone = evaluation(SCORE[:2], KINDS[:2], parts={"up": SCORE[:2]})
  undefined = {"image_auroc_by_part": {"up": None}}
  assert evaluators.part_figures(alone) == undefined


def test_pixel_figures():
  mask = np.zeros((5, 4, 4), np.uint8)
  mask[2:, :2, 1] = 1
  found = evaluators.pixel_figures(
    evaluation(mask=mask, map=mask.astype(np.float32))
  )
  assert found == {
    "pixel_auroc": 1.0,
    "pixel_aupro": 1.0,
    "pixel_iou_at_half": 1.0,
    "pixel_iou_max": 1.0,
    "pixel_iou_max_threshold": 0.0,
    "pixel_resolution": [4, 4],
  }
  # A half says nothing of other maps.
  wide = evaluation(mask=mask, map=3 * mask.astype(np.float32))
  assert evaluators.pixel_figures(wide) == found | {"pixel_iou_at_half": None}
  for missing in (dict(mask=mask), dict(map=np.float32(mask)), {}):
    nothing = evaluators.pixel_figures(evaluation(**missing))
    assert nothing == dict.fromkeys(found)


def test_neighbour_figures():
  assert evaluators.neighbour_figures(evaluation()) == {}
  # One view of two, and a training image at 0 and at 10.
  train = np.float32([[[0.0], [0.0]], [[10.0], [10.0]]])
  views = [[0, 0], [1, 1], [10, 4], [0.5, 0.1], [14, 14]]
  test = np.float32(views)[..., None]
  # Distances 0, 1, (0 + 4) / 2, 0.3, 4.
  found = evaluators.neighbour_figures(evaluation(features=(train, test)))
  assert found == {"nearest_neighbour_auroc": pytest.approx(5 / 6)}


def sheet_of(monkeypatch):
  """What the sheet of images is given."""
  from jaxad.report import pictures

  given = []
  for name in ("roc_curve", "score_histogram"):
    monkeypatch.setattr(pictures, name, lambda *_: None)
  monkeypatch.setattr(pictures, "image_sheet", lambda *args: given.extend(args))
  return given


def test_the_sheet_shows_both_ends(tmp_path, monkeypatch):
  n = 3 * SHEET_IMAGES
  score = np.random.default_rng(0).permutation(n).astype(np.float32)
  ends = (score < SHEET_IMAGES) | (score >= n - SHEET_IMAGES)
  rows = np.flatnonzero(ends)
  kinds = ("good", "cut") * (n // 2)
  mask = np.zeros((n, 4, 4), np.uint8)
  all_maps = np.arange(n * 16, dtype=np.float32).reshape(n, 4, 4)
  scale = Scale((0, n * 16))
  asked = []

  def look(examples):
    asked.append(examples.id)
    chosen = [int(name.split("/")[1][:-4]) for name in examples.id]
    return Scores(None, all_maps[chosen])

  # Maps of all images, of those that are shown, or none.
  for of_all, by, ask in (
    (all_maps, scale, None),
    (None, scale, look),
    (None, None, None),
  ):
    found = evaluation(score, kinds, mask=mask, map=of_all)
    given = sheet_of(monkeypatch)
    write_pictures(tmp_path, found, shown_of(found, by, ask))
    _, images, maps, scores, labels, ids, masks, count = given
    assert len(images) == len(masks) == 2 * SHEET_IMAGES == 2 * count
    np.testing.assert_array_equal(scores, score[rows])
    np.testing.assert_array_equal(labels, rows % 2)
    assert ids == [found.test.id[k] for k in rows]
    if by is None:
      assert maps is None
    else:
      np.testing.assert_allclose(maps, all_maps[rows] / (n * 16), rtol=1e-6)
  # Only where they were not known, a few at a time and each once.
  once = sum(asked, ())
  assert set(ids) <= set(once) and len(set(once)) == len(once)
  assert len(asked) > 1 and max(map(len, asked)) <= AT_ONCE
  assert (tmp_path / "scores.csv").is_file()
