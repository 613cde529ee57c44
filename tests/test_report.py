# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Files of an evaluation: they exist, read back, and are what they show."""

import csv
import json
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxad.errors import InputError
from jaxad.report import figures, notes, tables
from jaxad.report.heat import heated


def pixels(path):
  """The RGB pixels of a PNG file, decoded to the last row."""
  with Image.open(path) as image:
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB"))


def sheet_inputs(n, height=12, width=12, channels=3):
  rng = np.random.default_rng(0)
  masks = np.zeros((n, height, width), np.uint8)
  masks[::2, 2:6, 3:7] = 1
  return dict(
    images=rng.integers(0, 256, (n, height, width, channels), np.uint8),
    heat=rng.random((n, height, width), np.float32),
    scores=rng.random(n, np.float32),
    labels=np.arange(n) % 2,
    ids=[f"crack/{k:03d}.png" for k in range(n)],
    masks=masks,
  )


def color_share(image, color):
  """Share of pixels near a "#rrggbb" colour."""
  target = [int(color[k : k + 2], 16) for k in (1, 3, 5)]
  return np.mean(np.abs(image.astype(int) - target).max(-1) < 12)


def test_write_json_is_sorted_plain_and_whole(tmp_path):
  path = tmp_path / "results.json"
  tables.write_json(
    path,
    {
      "b": np.float32(0.5),
      "a": np.arange(2),
      "c": {"flag": np.bool_(True), "none": None},
      "d": jnp.float32(2),
    },
  )
  text = path.read_text()
  assert text.startswith('{\n  "a": [\n    0,\n    1\n  ],\n  "b": 0.5,')
  assert text.endswith("}\n")
  assert json.loads(text)["c"] == {"flag": True, "none": None}
  assert json.loads(text)["d"] == 2
  assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("bad", [np.nan, np.float32("inf"), np.array([np.nan])])
def test_write_json_refuses_nan_and_keeps_the_old_file(tmp_path, bad):
  path = tmp_path / "results.json"
  tables.write_json(path, {"a": 1})
  with pytest.raises(ValueError, match="JSON compliant"):
    tables.write_json(path, {"a": bad})
  assert json.loads(path.read_text()) == {"a": 1}
  assert list(tmp_path.iterdir()) == [path]


def test_write_json_names_the_type_that_it_cannot_write(tmp_path):
  with pytest.raises(TypeError, match="set"):
    tables.write_json(tmp_path / "results.json", {"a": {1}})


def test_write_array_reads_back(tmp_path):
  path = tmp_path / "train.npy"
  tables.write_array(path, jnp.arange(6.0).reshape(2, 3))
  np.testing.assert_array_equal(np.load(path), [[0, 1, 2], [3, 4, 5]])
  with pytest.raises(ValueError):
    tables.write_array(path, np.array([{}]))
  assert np.load(path).shape == (2, 3)
  assert list(tmp_path.iterdir()) == [path]


def test_write_scores_reads_back(tmp_path):
  path = tmp_path / "scores.csv"
  ids = ['a, "b".png', "two\nlines", "ü.png", "raw\udcff.png"]
  scores = np.array([0.1, -1e-30, 1 / 3, 12345.678], np.float32)
  tables.write_scores(path, ids, [0, 1, 0, 1], scores, scores > 0.2)
  data = path.read_bytes()
  assert data.startswith(b"id,label,score,predicted\n")
  assert b"\r" not in data and b"raw\xff.png" in data
  with open(path, newline="", errors="surrogateescape") as file:
    rows = list(csv.DictReader(file))
  assert [row["id"] for row in rows] == ids
  assert [row["label"] for row in rows] == ["0", "1", "0", "1"]
  assert [row["predicted"] for row in rows] == ["0", "0", "1", "1"]
  np.testing.assert_array_equal([float(row["score"]) for row in rows], scores)
  # Where there is no threshold.
  tables.write_scores(path, ids, [0, 1, 0, 1], scores)
  assert path.read_bytes().startswith(b"id,label,score\n")
  with open(path, newline="", errors="surrogateescape") as file:
    bare = list(csv.DictReader(file))
  for row, whole in zip(bare, rows, strict=True):
    assert row == {k: v for k, v in whole.items() if k != "predicted"}


def test_write_scores_refuses_columns_of_unequal_length(tmp_path):
  with pytest.raises(InputError, match=r"got \[1, 2, 2, 2\]"):
    tables.write_scores(tmp_path / "s.csv", ["a"], [0, 1], [1.0, 2.0], [0, 1])


def test_failed_write_leaves_the_old_file_alone(tmp_path):
  path = tmp_path / "scores.csv"
  tables.write_scores(path, ["a"], [0], [1.0], [0])
  before = path.read_bytes()
  with pytest.raises(ValueError):
    tables.write_scores(path, ["a", "b"], [0, 0], [1.0, "x"], [0, 0])
  assert path.read_bytes() == before
  assert list(tmp_path.iterdir()) == [path]


def test_results_table():
  table = tables.results_table(
    {
      "image_auroc": np.float32(0.98766),
      "pixel_aupro": None,
      "threshold": 1.23456789,
      "n_test": 83,
      "method": "differnet",
      "config": {"left": "out"},
    }
  )
  assert table.splitlines() == [
    "image AUROC     0.9877",
    "AUPRO                -",
    "threshold      1.23457",
    "n test              83",
    "method       differnet",
  ]
  assert tables.results_table({}) == ""


def test_extremes():
  most, least = figures.extremes([3.0, 1.0, 2.0, 5.0, 4.0], 2)
  assert most.tolist() == [3, 4] and least.tolist() == [1, 2]
  most, least = figures.extremes([3.0, 1.0, 2.0])
  assert most.tolist() == [0, 2] and least.tolist() == [1]
  most, least = figures.extremes([3.0])
  assert most.tolist() == [0] and least.size == 0


def test_roc_curve(tmp_path):
  path = tmp_path / "roc.png"
  figures.roc_curve(path, [0, 1, 0, 1], [0.1, 0.4, 0.35, 0.8])
  assert pixels(path).shape == (600, 600, 3)
  assert color_share(pixels(path), figures.COLORS[1]) > 0.001
  figures.roc_curve(tmp_path / "none.png", [0, 0], [0.1, 0.4])
  assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
  "label, score, threshold",
  [
    ([0, 0, 1, 1], [0.0, 0.2, 0.5, 0.9], 0.3),
    ([0, 0, 1, 1], [1e-3, 2e-3, 5.0, 900.0], 0.1),
    ([0, 0, 1, 1], [1e-3, 2e-3, 5.0, 900.0], -1.0),
    ([0, 0], [1.0, 1.0], None),
    ([1], [-3.0], 40.0),
  ],
)
def test_score_histogram(tmp_path, label, score, threshold):
  path = tmp_path / "histogram.png"
  figures.score_histogram(path, label, np.float32(score), threshold)
  assert pixels(path).shape == (480, 840, 3)


@pytest.mark.parametrize("n", [1, 2, 5, 16, 20])
def test_image_sheet_of_any_number(tmp_path, n):
  path = tmp_path / "sheet.png"
  figures.image_sheet(path, **sheet_inputs(n))
  image = pixels(path)
  columns = max(3, min(8, (n + 1) // 2))
  blocks = 1 if n == 1 else 2
  assert image.shape[1] == pytest.approx(120 * (1.8 * columns + 1), abs=1)
  assert image.shape[0] == pytest.approx(120 * 4.3 * blocks, abs=1)


@pytest.mark.parametrize(
  "change",
  [
    {"heat": None},
    {"heat": None, "masks": None},
    {"masks": None},
    {"heat": np.zeros((3, 12, 12))},
    {"masks": np.ones((3, 12, 12), bool)},
    {
      "ids": ["$x$_{.png", "a/very/long/path/to/some/image/000.png", "\udcff\n"]
    },
  ],
)
def test_image_sheet_variants(tmp_path, change):
  path = tmp_path / "sheet.png"
  figures.image_sheet(path, **{**sheet_inputs(3), **change})
  assert pixels(path).std() > 0


def test_image_sheet_of_grey_and_oblong_images(tmp_path):
  path = tmp_path / "sheet.png"
  figures.image_sheet(path, **sheet_inputs(4, height=8, width=16, channels=1))
  assert pixels(path).shape[0] == pytest.approx(120 * 2 * 2.5, abs=1)


def test_the_sheet_leaves_cold_images_as_they_are(tmp_path):
  inputs = sheet_inputs(2) | {"masks": None}
  inputs["images"][:] = 255
  inputs["scores"], inputs["labels"] = [9.0, 1.0], [1, 0]
  inputs["heat"] = np.zeros((2, 12, 12), np.float32)
  inputs["heat"][0, :6], inputs["heat"][1, :6] = 1, 0.1
  figures.image_sheet(tmp_path / "sheet.png", **inputs)
  image = pixels(tmp_path / "sheet.png")
  half = image.shape[0] // 2
  left = image[:, : image.shape[1] * 2 // 3]  # without the colour bars
  hot = heated(inputs["images"][0], inputs["heat"][0])[0, 0]
  yellow = f"#{bytes(hot).hex()}"
  assert color_share(left[:half], yellow) > 0.02
  assert color_share(left[half:], yellow) == 0


def test_equal_results_are_equal_files(tmp_path):
  for name in ("a.png", "b.png"):
    figures.image_sheet(tmp_path / name, **sheet_inputs(3))
  a, b = (tmp_path / name for name in ("a.png", "b.png"))
  assert a.read_bytes() == b.read_bytes()


@pytest.mark.parametrize(
  "change, message",
  [
    ({"images": np.zeros((3, 12, 12), np.uint8)}, "images"),
    ({"images": np.zeros((3, 12, 12, 2), np.uint8)}, "images"),
    ({"heat": np.zeros((3, 6, 6))}, r"heat \(3, 6, 6\)"),
    ({"heat": np.full((3, 12, 12), np.nan)}, "NaN"),
    ({"masks": np.zeros((2, 12, 12))}, r"masks \(2, 12, 12\)"),
    ({"ids": ["a"]}, r"got \[3, 3, 1\]"),
    ({"scores": [1.0, np.nan, 2.0]}, "NaN"),
  ],
)
def test_image_sheet_refuses(tmp_path, change, message):
  with pytest.raises(InputError, match=message):
    figures.image_sheet(tmp_path / "s.png", **{**sheet_inputs(3), **change})
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [(20, 12), (12, 20)])
def test_scene_sheet(tmp_path, shape):
  """Wider by a truth, and by the ROC curve where that has both kinds."""
  rng = np.random.default_rng(0)
  picture = np.full((*shape, 3), 90, np.uint8)
  score, truth = rng.random(shape), np.zeros(shape, np.uint8)
  widths = []
  for found in (None, truth, truth + (score > 0.9)):
    figures.scene_sheet(tmp_path / "a.png", picture, score, found)
    image = pixels(tmp_path / "a.png")
    widths.append(image.shape[1])
    curve = color_share(image, figures.COLORS[1]) > 0
    assert curve == (found is not None and found.any())
  assert widths == sorted(set(widths))
  with pytest.raises(InputError, match="expected finite numbers"):
    figures.scene_sheet(tmp_path / "b.png", picture, score * np.nan)
  assert not (tmp_path / "b.png").exists()


def test_no_global_matplotlib_state(tmp_path):
  code = f"""
import sys
import numpy as np
from jaxad.report import figures
figures.roc_curve({str(tmp_path / "r.png")!r}, [0, 1], [0.0, 1.0])
figures.score_histogram({str(tmp_path / "h.png")!r}, [0, 1], [0.0, 1.0], 0.5)
figures.image_sheet(
  {str(tmp_path / "s.png")!r}, np.zeros((1, 4, 4, 3), np.uint8),
  np.ones((1, 4, 4)), [1.0], [0], ["a"],
)
assert "matplotlib.pyplot" not in sys.modules
"""
  subprocess.run([sys.executable, "-c", code], check=True)
  assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
  ("source", "rate", "mixture", "words"),
  [
    ("held-out images", 0.05, False, []),
    ("training rows", None, False, ["--config.data.holdout"]),
    # A scene refuses a holdout.
    ("training pixels", None, False, ["pixels of the scene itself"]),
    ("training images", None, True, ["outliers and all"]),
  ],
)
def test_what_weakens_a_threshold_is_said(source, rate, mixture, words):
  results = {
    "threshold_from": source,
    "expected_false_positive_rate": rate,
    "n_threshold": 20,
  }
  said = notes.of_threshold(results, mixture)
  assert len(said) == len(words)
  assert all(one in text for one, text in zip(words, said, strict=True))
  assert source != "training pixels" or "holdout" not in said[0]
