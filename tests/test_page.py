# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The page of a run, of scored tests that nothing was trained for."""

import base64
import html.parser
import io
import pathlib
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from jaxad import splits, trained
from jaxad.columns import Columns
from jaxad.config_files import load as config_of
from jaxad.data.examples import Dataset, Examples, Pixels, Tiles
from jaxad.detector import Scores
from jaxad.evaluation import evaluators
from jaxad.evaluation.evaluators import Evaluation
from jaxad.evaluation.scoring import _of_images
from jaxad.preprocess import Preprocess
from jaxad.report import heat, page, pictures
from jaxad.report.html import chart_uri, picture_uri
from jaxad.report.tables import printable

THRESHOLD = 1.0

# One that each does what no page may take for markup.
SIGN = "\N{REPLACEMENT CHARACTER}"
ODD = ("a/<b>bold</b>.png", "two\nlines & more.png", "caf\udce9.png")


def examples(kinds, shape=(40, 60, 3), mask=None, **fields):
  n = len(kinds)
  x = np.random.default_rng(0).integers(0, 256, (n, *shape), np.uint8)
  names = [f"test/{kind}/{k:03d}.png" for k, kind in enumerate(kinds)]
  names[: len(ODD)] = ODD[: len(names)]
  label = np.int32([kind != "good" for kind in kinds])
  return Examples(x, label, tuple(names), tuple(kinds), mask, **fields)


def write(folder, test, score, config="differnet", warned=(), **fields):
  """The text of the page of a test with these scores."""
  maps = fields.pop("maps", None)
  made = fields.pop("reconstruction", None)
  train = fields.pop("train", test.take(np.flatnonzero(test.label == 0)))
  columns = fields.pop("columns", None)
  normal = np.float32([0.2, 0.4, 0.5, 0.9])
  scores = Scores(np.float32(score), maps, fields.pop("parts", {}))
  found = Evaluation(test, scores, THRESHOLD, **fields)
  shown = pictures.chosen(found)
  if maps is not None and test.pixels is None:
    scale = heat.scale_of(maps[test.label == 0], normal)
    look = lambda one: Scores(None, maps[shown.rows], {}, {}, made)
    shown = pictures.shown_of(found, scale, look)
  results = {
    "expected_false_positive_rate": 0.05,
    "expected_false_positive_interval": (0.001, 0.24),
    "n_threshold": 20,
    "threshold_from": "held-out images",
    "n_train": 96,
    "n_train_anomalies": 0,
    "n_test": len(test.label),
    "train_seconds": 93.0,
    "matmul_precision": "default",
    "fingerprint": {"data": {"test": {"digest": "a1"}}, "weights": None},
    "provenance": {
      "command": "jaxad run --config 'a<b'",
      "commit": None,
      "date": "2026-03-01T12:30:00+01:00",
      "device": "1 x cpu",
      "cpu": "a CPU",
      "versions": {"jax": "0.10"},
    },
  }
  for evaluate in evaluators.ALWAYS:
    results |= evaluate(found)
  page.write_page(
    folder,
    config=config_of(config).to_dict(),
    images=splits.Splits(Dataset(train, test, None, columns), test, True),
    found=found,
    normal_scores=normal,
    shown=shown,
    results=results,
    warned=warned,
  )
  return (folder / page.PAGE).read_text()


class Reader(html.parser.HTMLParser):
  """What is open at the end, what is loaded, and all text."""

  VOID = {"meta", "img", "image", "path", "br", "link", "input"}

  def __init__(self, text):
    super().__init__()
    self.open, self.loaded, self.words, self.ids = [], [], [], []
    self.feed(text)
    self.close()

  def handle_starttag(self, tag, attributes):
    if tag not in self.VOID:
      self.open.append(tag)
    self.ids.append(tag)
    self.loaded += [v for k, v in attributes if k in ("src", "href")]

  def handle_startendtag(self, tag, attributes):
    self.loaded += [v for k, v in attributes if k in ("src", "href")]

  def handle_endtag(self, tag):
    if tag not in self.VOID:
      assert self.open.pop() == tag

  def handle_data(self, data):
    if self.open and self.open[-1] not in ("style", "title"):
      self.words.append(data)

  @property
  def text(self):
    return " ".join(" ".join(self.words).split())


def read(text):
  """A page that is whole and loads nothing."""
  found = Reader(text)
  assert found.open == [] and found.ids.count("h1") == 1
  assert "script" not in found.ids and "link" not in found.ids
  assert all(uri.startswith("data:image/") for uri in found.loaded)
  assert not re.search(r"https?:|url\(|@import", text)
  assert SIGN in text or "\\udc" not in text
  return found.text


# Four normal ones, of which one is a false alarm, and one of three is missed.
KINDS = ("good", "good", "scratch", "good", "good", "scratch", "dent")
SCORE = (0.2, 1.5, 0.7, 0.4, 0.9, 2.0, 3.0)


def maps_of(test, score):
  """Warm where the score is high, in one corner."""
  maps = np.random.default_rng(1).random((len(score), *test.x.shape[1:3]))
  maps[:, :10, :15] += 3 * np.array(score)[:, None, None]
  return np.float32(maps)


def mask_of(kinds, shape=(40, 60)):
  mask = np.zeros((len(kinds), *shape), np.uint8)
  mask[[kind != "good" for kind in kinds], 2:9, 3:12] = 1
  return mask


def test_a_page_says_what_is_found_and_what_it_costs(tmp_path):
  test = examples(KINDS, mask=mask_of(KINDS))
  (tmp_path / "metrics.jsonl").write_text(
    '{"step": 1, "epoch": 1, "phase": "a", "loss": 3.5, "images_per_s": 2}\n'
    '{"step": 9, "epoch": 1, "phase": "a", "loss": 1.5, "test_image_auroc": 1}'
  )
  text = write(
    tmp_path,
    test,
    SCORE,
    maps=maps_of(test, SCORE),
    parts={"l1": np.float32(SCORE), "l2": -np.float32(SCORE)},
    reconstruction=np.zeros((7, 40, 60, 3), np.uint8),
    warned=["WARNING: best_on_test chose."],
    seen_kinds=("dent",),
  )
  said = read(text)
  for words in (
    "DifferNet on textures",
    "It finds 2 of 3 defects and rejects 1 of 4 good parts .",
    "Of 100 good parts about 5 will be rejected (95 % interval 0.1 to 24.0",
    "image AUROC 0.833",
    "Missed defects: 1",
    "False alarms: 1",
    "Best_on_test chose.",
    "The test has only 3 anomalous examples, of which each is 33 % of a rate.",
    "jaxad run --config 'a<b'",
    "1 March 2026, 12:30",
    "40 x 60 pixels, colour",
    "dent (seen in training) 1 1 100 % 1.0000",
    "scratch 2 1 50 % 0.7500",
    "l1 0.8333",
    "l2 0.1667",
    "pixel AUROC",
  ):
    assert words in said, words
  # The missed one comes before the false alarm, and both before the charts.
  order = ["two lines & more.png", f"caf{SIGN}.png"]
  places = [said.index(name) for name in (*order[::-1], "Scores and decisions")]
  assert places == sorted(places)
  assert "<b>bold" not in text and "a/<b>bold</b>.png" in said
  # Every picture has its heat, its contours and what was made of it.
  assert text.count('class="truth"') > 0 and text.count('class="edge"') > 0
  views = re.findall(r"<figcaption>(.*?)</figcaption>", text)
  shown = views.count("image")
  assert shown >= 7 and views.count("heat map") == shown
  assert views.count("reconstruction") == shown


CASES = {
  "without masks": {},
  "without maps": {"maps": None},
  "no anomalies": {"kinds": ("good",) * 4},
  "nothing normal": {"kinds": ("dent",) * 3},
  "one image": {"kinds": ("dent",)},
  "grey": {"shape": (8, 8, 1)},
  "tall": {"shape": (700, 30, 3)},
  "unlabelled digits": {"config": "ganomaly", "shape": (32, 32, 1)},
}


@pytest.mark.parametrize("name", CASES)
def test_a_page_of(tmp_path, name):
  case = {"kinds": KINDS, "shape": (40, 60, 3), "maps": 1} | CASES[name]
  kinds = case["kinds"]
  test = examples(kinds, case["shape"])
  score = np.linspace(0.2, 3, len(kinds))
  maps = maps_of(test, score) if case["maps"] else None
  if name == "nothing normal" or name == "one image":
    maps = None
  text = write(
    tmp_path,
    test,
    score,
    case.get("config", "differnet"),
    maps=maps,
    train=examples(("good",) * 3, case["shape"]),
  )
  said = read(text)
  assert ("heat map" in said) == (maps is not None)
  assert "the true defect" not in said
  if name == "no anomalies":
    assert "It rejects" in said and "so it cannot say" in said
    assert "image AUROC" not in said
  if name in ("nothing normal", "one image"):
    assert "It finds" in said and "rejects" not in said
  if name == "unlabelled digits":
    assert "normal images" in said and "good parts above" not in said


def test_a_page_has_no_more_than_its_images(tmp_path):
  n = 200
  kinds = ("good", "dent") * (n // 2)
  test = examples(kinds, (16, 16, 3))
  # All are decided wrongly.
  score = np.where(test.label == 1, 0.5, 1.5) + np.linspace(0, 0.1, n)
  text = write(tmp_path, test, score, maps=maps_of(test, score))
  said = read(text)
  limit = pictures.MISTAKES
  assert f"The first {limit} of 100 are shown." in said
  assert text.count("<article") <= 2 * limit + 3 * pictures.SHEET_IMAGES
  assert "Borderline None." in said.replace("Borderline Decided", "")


def test_a_table_shows_what_is_unusual_in_a_row(tmp_path):
  rng = np.random.default_rng(0)
  columns = Columns(("width", "colour", "fixed"), ((), ("red", "blue"), ()))
  normal = np.column_stack(
    [rng.normal(5, 1, 50), rng.integers(0, 2, (50, 2)), np.full(50, 7)]
  )
  raw = normal[:6].copy()
  raw[4, 0], raw[5, 3], raw[0, 1] = 60, 8, np.nan
  kinds = ("good",) * 4 + ("anomalous",) * 2

  def rows(raw, kinds):
    n = len(raw)
    label = np.int32([kind != "good" for kind in kinds])
    names = tuple(f"<{k}>" for k in range(n))
    return Examples(np.float32(raw), label, names, kinds, None, raw=raw)

  said = read(
    write(
      tmp_path,
      rows(raw, kinds),
      [0.1, 0.2, 0.3, 1.2, 2, 3],
      "alad:breast_cancer",
      train=rows(normal, ("good",) * 50),
      columns=columns,
    )
  )
  assert "It finds 2 of 2 anomalous rows and rejects 1 of 4 normal rows" in said
  assert re.search(r"<4> anomalous 2 width 60 \(\d\.\d+; \+\d\d\.\d\)", said)
  assert "<5> anomalous 3 fixed 8 (7; no other value in training)" in said
  assert "colour = red" in said and "4 columns" in said


def test_a_scene_shows_its_map_truth_and_detections(tmp_path):
  side, rng = 20, np.random.default_rng(0)
  truth = np.zeros((side, side), np.uint8)
  truth[3:5, 4:8] = 1
  score = rng.random((side, side)) + 2 * truth
  score[3, 4], score[10, 10] = 0.5, 2.5
  names = tuple(f"{k // side},{k % side}" for k in range(side**2))
  kinds = tuple("anomalous" if v else "good" for v in truth.ravel())
  picture = rng.integers(0, 256, (side, side, 3), np.uint8)
  test = Examples(
    np.zeros((1, side, side, 5), np.float32),
    np.int32(truth.ravel()),
    names,
    kinds,
    truth[None],
    pixels=Pixels("s", np.arange(side**2), picture),
  )
  text = write(
    tmp_path, test, score.ravel(), "rx", maps=np.float32(score[None])
  )
  said = read(text)
  for words in (
    "RX on scene",
    "It finds 7 of 8 anomalous pixels and rejects 1 of 392 normal pixels",
    "false colours score above the threshold: 8 pixels",
    "5 bands",
  ):
    assert words in said, words
  assert "Missed" not in said and "The most anomalous" not in said


def test_the_page_of_seeds_links_to_their_pages(tmp_path):
  (tmp_path / "seed-0").mkdir()
  (tmp_path / "seed-0" / page.PAGE).touch()
  found = [
    {
      "true_positive_rate": 0.5,
      "false_positive_rate": None,
      "expected_false_positive_rate": 0.052,
      "provenance": {"command": "jaxad <run>", "date": "2026-03-01T12:30"},
    }
  ] * 2
  auroc = {"mean": 0.95, "std": 0.0707, "values": [0.9, 1.0]}
  summary = {"image_auroc": auroc, "seeds": [0, 7]}
  page.write_seeds_page(tmp_path, config_of("vae"), summary, found)
  text = (tmp_path / page.PAGE).read_text()
  said = Reader(text)
  assert set(said.loaded) == {"seed-0/report.html"}
  for words in (
    "2 runs that differ in their seed alone, 1 March 2026, 12:30",
    "jaxad <run>",
    "mean deviation seed 0 seed 7",
    "image AUROC 0.9500 0.0707 0.9000 1.0000",
    "that of the sample, with n - 1 (n = 2)",
    "image AUROC 0.9500 , deviation 0.0707 over 2 seeds.",
    "anomalies found 50.0 % 50.0 %",
    "normal ones rejected - -",
    "expected rejections of new normal ones 5.2 %",
  ):
    assert words in said.text, words
  # Of a single one there is no deviation.
  auroc = {"mean": 0.9, "std": None, "values": [0.9]}
  summary = {"image_auroc": auroc, "seeds": [7]}
  page.write_seeds_page(tmp_path, config_of("vae"), summary, found[:1])
  said = Reader((tmp_path / page.PAGE).read_text()).text
  assert "image AUROC 0.9000 0.9000" in said and "None" not in said


def test_what_is_drawn_of_tiles_is_one_image_again():
  rng = np.random.default_rng(0)
  preprocess = Preprocess((16, 16), tile=50, overlap=0.3)
  images = [
    np.kron(rng.integers(0, 256, shape), np.ones((25, 25, 1))).astype(np.uint8)
    for shape in ((6, 9, 3), (4, 5, 3), (1, 1, 3))
  ]
  views, layouts = zip(*map(preprocess.views, images), strict=True)
  pictures = np.stack([preprocess.overview(one, (40, 48)) for one in images])
  x = np.concatenate(views)
  tiles = Tiles(preprocess, layouts, np.zeros(len(x), bool), pictures)
  n = len(images)
  test = Examples(x, np.zeros(n, int), tuple("abc"), ("good",) * n, None, tiles)
  scores = Scores(np.zeros(len(x)), np.float32(x[..., 0]), {}, {}, x)
  found = _of_images(scores, test)
  assert found.reconstruction.dtype == np.uint8
  assert found.reconstruction.shape == pictures.shape
  # The same blocks; their edges are as sharp as the tiles.
  off = np.abs(found.reconstruction - pictures.astype(float)).mean((1, 2, 3))
  assert (off < 15).all(), off
  by_map = np.abs(found.reconstruction[..., 0] - found.map).mean((1, 2))
  assert (by_map < 10).all(), by_map


def test_maps_with_a_scale_of_their_own_leave_normal_images_cold():
  # As KDAD and DevNet have them: 0 to 1 in every image, whatever its score.
  rng = np.random.default_rng(0)
  normal_scores = np.float32(rng.normal(1, 0.1, 40))
  maps = rng.random((3, 16, 16), np.float32)
  maps[:, 4:8, 4:8] = 1
  scores = np.float32([1.0, 1.1, 3.0])  # usual, at the edge, and a defect
  scale = heat.scale_of(maps, normal_scores, relative=True)
  usual, near, odd = scale.heat(maps, scores)
  assert usual.max() < 0.05 and near.max() < 0.5
  assert odd.max() == 1 and odd[5, 5] == 1
  # It is seen in the pictures: the image stays as it is, or glows.
  image = np.full((16, 16, 1), 128, np.uint8)
  off = lambda heat_: np.abs(heat.heated(image, heat_) - 128.0).max()
  assert off(usual) < 5 and off(odd) > 60


@pytest.mark.parametrize(
  "method, relative",
  [("kdad", True), ("devnet", True), ("differnet", True), ("dra", False)],
)
def test_a_trained_run_knows_whether_its_maps_compare(method, relative):
  scores = np.linspace(0, 1, 21)
  rule = {"value": 1.0, "rule": "max", "rule_value": None, "source": "x"}
  found = trained.Run(
    pathlib.Path(),
    {
      "method": method,
      "config": config_of(method).to_dict(),
      "example": {"shape": [32, 32, 3], "dtype": "uint8"},
      "preprocess": None,
      "batch_size": 4,
      "key": [0, 0],
      "threshold": rule,
      "normal": {"id": [""] * 21, "score": scores.tolist(), "brightness": None},
      "weights_sha256": "",
      "map_limits": [0.0, 1.0],
    },
    lambda *_: None,
  )
  # A normal image with the map that it has where each has a scale of its own.
  warmest = found.scale.heat(np.eye(8), 0.5).max()
  assert warmest == (0 if relative else 1)
  assert found.scale.heat(np.eye(8), 9.0).max() == 1


def test_maps_of_one_scale_are_heat_by_normal_ones():
  rng = np.random.default_rng(0)
  normal = rng.random((8, 20, 20), np.float32)
  scale = heat.scale_of(normal, np.zeros(8))
  low, high = scale.pixels
  assert low == pytest.approx(0.5, abs=0.05)
  assert high == pytest.approx(0.5 + 3 * 0.5, abs=0.1)
  maps = np.float32([[[0.0, low], [high, 9]], [[np.nan, 1], [1, 1]]])
  found = scale.heat(maps, np.zeros(2))
  assert found[0].ravel() == pytest.approx([0, 0, 1, 1])
  assert np.isnan(found[1, 0, 0])
  # The edge is where hardly any pixel of a normal image is.
  assert (scale.heat(normal, np.zeros(8)) > heat.EDGE).mean() < 0.002
  # Where all are the same, what is above them is hot.
  flat = heat.scale_of(np.ones((2, 4, 4)), np.zeros(2))
  assert flat.heat(np.float32([[1, 2]]), 0).tolist() == [[0, 1]]


def test_heat_covers_nothing_where_it_is_cold():
  image = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
  share = np.zeros((4, 5), np.float32)
  share[0, 0], share[1, 1] = 1, np.nan
  found = heat.heated(image, share)
  np.testing.assert_array_equal(found[2:], image[2:])
  assert found[0, 0, 0] > 200  # yellow
  assert (found[1, 1] <= image[1, 1] / 3 + 1).all()


def test_outlines_are_closed_also_at_the_edge():
  area = np.zeros((6, 8))
  area[0:2, 0:3] = 1
  (line,) = heat.outlines(area)
  np.testing.assert_array_equal(line[0], line[-1])
  assert line.min() == -0.5 and line[:, 0].max() == 2.5


def test_pictures_and_charts_are_whole_and_equal():
  from matplotlib.figure import Figure

  small = np.random.default_rng(0).integers(0, 256, (9, 7, 1), np.uint8)
  head, _, data = picture_uri(small).partition(",")
  assert head == "data:image/png;base64"
  with Image.open(io.BytesIO(base64.b64decode(data))) as image:
    np.testing.assert_array_equal(np.asarray(image), small[..., 0])
  assert picture_uri(np.zeros((99, 9, 3), np.uint8)).startswith("data:image/j")

  def chart():
    figure = Figure()
    figure.add_subplot().plot([0, 1])
    return chart_uri(figure)

  assert chart() == chart()
  assert printable("a\nb\x00\udcff<") == f"a\nb{SIGN}{SIGN}<"


CHROMIUM = next(
  filter(
    None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
  ),
  None,
)


@pytest.mark.skipif(
  CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome"
)
def test_a_browser_shows_the_page(tmp_path):
  test = examples(KINDS, mask=mask_of(KINDS))
  write(tmp_path, test, SCORE, maps=maps_of(test, SCORE))
  address = (tmp_path / page.PAGE).as_uri()

  def browse(*arguments):
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu"]
    command += ["--no-first-run", "--disable-background-networking"]
    command += ["--disable-component-update", "--disable-sync"]
    # No network, neither for the page nor for the browser itself.
    command += ["--host-resolver-rules=MAP * ~NOTFOUND"]
    command += ["--hide-scrollbars", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
      [*command, *arguments, address],
      capture_output=True,
      timeout=120,
      check=True,
    )
    return done.stdout.decode()

  shot = tmp_path / "page.png"
  dom = browse(
    "--dump-dom",
    f"--screenshot={shot}",
    "--window-size=1000,1600",
  )
  said = Reader(dom).text
  assert "It finds 2 of 3 defects" in said and "Missed defects: 1" in said
  with Image.open(shot) as file:
    image = np.asarray(file.convert("RGB")).astype(int)
  assert image.shape == (1600, 1000, 3)
  # Mostly paper, with ink, the orange of anomalies and the colours of heat.
  assert 0.3 < (image.min(-1) > 250).mean() < 0.99
  near = lambda colour: (np.abs(image - colour).max(-1) < 20).sum()
  assert near((27, 33, 38)) > 500 and near((213, 94, 0)) > 30
  assert near((86, 180, 233)) > 50  # the line around what is hot
