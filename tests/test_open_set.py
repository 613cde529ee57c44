# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Labelled anomalies in training: rules and readers."""

import os
import pathlib
import zlib

import numpy as np
import pytest
from PIL import Image

from jaxad import data
from jaxad.data import dra_sets, open_set
from jaxad.data.examples import Dataset, Examples
from jaxad.data.open_set import Rule
from jaxad.errors import InputError


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
  path = tmp_path_factory.mktemp("cache")
  monkeypatch.setenv("JAXAD_CACHE", str(path))
  return path


def error_of(function, *args, **keywords):
  with pytest.raises(InputError) as caught:
    function(*args, **keywords)
  assert "\n" not in str(caught.value)
  return str(caught.value)


def load_error(*args, **keywords):
  return error_of(data.load, *args, **{"image_size": 8, **keywords})


def save(path, array=None, size=12):
  """Writes an image that depends on the name of the path."""
  path.parent.mkdir(parents=True, exist_ok=True)
  if array is None:
    rng = np.random.default_rng(zlib.crc32(path.name.encode()))
    array = rng.integers(0, 256, (size, size, 3), np.uint8)
  Image.fromarray(array).save(path)
  return path


def split(names):
  """Examples of the names "<kind>/<anything>"; x tells them apart."""
  kinds = tuple(name.split("/")[-2] for name in names)
  return Examples(
    x=np.array([[zlib.crc32(name.encode())] for name in names], np.uint32),
    label=np.array([kind != "good" for kind in kinds], np.int32),
    id=tuple(names),
    kind=kinds,
    mask=np.ones((len(names), 2, 2), np.uint8),
  )


def numbered(folder, count):
  return [f"{folder}/{number:03d}.png" for number in range(count)]


def miniature(**counts):
  """8 normal images to train on, 4 to test, and so many of each kind."""
  test = numbered("test/good", 4)
  for kind, count in counts.items():
    test += numbered(f"test/{kind}", count)
  return Dataset(split(numbered("train/good", 8)), split(sorted(test)))


def anomalous(examples):
  return [
    name.removeprefix("test/").removesuffix(".png")
    for name, kind in zip(examples.id, examples.kind, strict=True)
    if kind != "good"
  ]


# Rules.

# The outcomes of the official code on this tree, listed in sorted order:
# keywords, the anomalies trained on, and those tested.
OFFICIAL = [
  (
    {"n_anomalies": 3},
    "cut/000 hole/002 hole/004",
    "cut/001 cut/002 cut/003 cut/004 cut/005 cut/006 "
    "hole/000 hole/001 hole/003 hole/005",
  ),
  (
    {"n_anomalies": 1},
    "hole/004",
    "cut/000 cut/001 cut/002 cut/003 cut/004 cut/005 cut/006 "
    "hole/000 hole/001 hole/002 hole/003 hole/005",
  ),
  (
    {"n_anomalies": 1, "pool": 3},
    "hole/004",
    "cut/001 cut/002 cut/003 cut/004 cut/005 cut/006 "
    "hole/000 hole/001 hole/003 hole/005",
  ),
  (
    {"n_anomalies": 3, "setting": "hard", "known_class": "cut"},
    "cut/000 cut/001 cut/005",
    "hole/000 hole/001 hole/002 hole/003 hole/004 hole/005",
  ),
  (
    {
      "n_anomalies": 1,
      "setting": "hard",
      "known_class": "hole",
      "split_seed": 0,
    },
    "hole/005",
    "cut/000 cut/001 cut/002 cut/003 cut/004 cut/005 cut/006",
  ),
]


@pytest.mark.parametrize(("keywords", "trained", "tested"), OFFICIAL)
def test_rule_of_the_authors(keywords, trained, tested):
  dataset = miniature(cut=7, hole=6)
  train, test = Rule(**keywords).apply(dataset)
  assert anomalous(train) == trained.split()
  assert anomalous(test) == tested.split()
  for examples in (train, test):
    assert examples.id == tuple(sorted(examples.id))
    expected = split(examples.id)
    np.testing.assert_array_equal(examples.x, expected.x)
    np.testing.assert_array_equal(examples.label, expected.label)
    assert examples.kind == expected.kind
    assert examples.label.dtype == np.int32
  assert set(dataset.train.id) < set(train.id) and train.mask is None
  assert len(test.mask) == len(test.id)
  assert sum(kind == "good" for kind in test.kind) == 4
  assert not set(train.id) & set(test.id)


def test_kinds_are_listed_one_after_the_other():
  # As folders are, though "/" sorts behind "-".
  dataset = miniature(**{"cut": 7, "cut-x": 6})
  train, _ = Rule(n_anomalies=3).apply(dataset)
  assert anomalous(train) == ["cut-x/002", "cut-x/004", "cut/000"]


def test_rule_through_load_whatever_the_order_of_the_folder(
  tmp_path, monkeypatch
):
  dataset = miniature(cut=7, hole=6)
  for name in dataset.train.id + dataset.test.id:
    save(tmp_path / name)
  load = lambda **keywords: data.load(
    "folder", root=tmp_path, image_size=8, **keywords
  )
  train, test = load(n_anomalies=3)
  assert anomalous(train) == OFFICIAL[0][1].split()
  assert data.seen_kinds(train) == ("cut", "hole")
  listing = pathlib.Path.iterdir
  backwards = lambda path: reversed(sorted(listing(path)))
  monkeypatch.setattr(pathlib.Path, "iterdir", backwards)
  again = load(n_anomalies=3, seed=5)
  assert again.train.id == train.id and again.test.id == test.id
  np.testing.assert_array_equal(again.train.x, train.x)
  assert load(n_anomalies=3, split_seed=5).train.id != train.id
  bare = load()
  assert set(bare.train.label) == {0}
  assert sorted(bare.train.id + bare.test.id) == sorted(train.id + test.id)


def test_rule_that_does_nothing():
  dataset = miniature(cut=3)
  assert Rule().apply(dataset) is dataset
  assert Rule(split_seed=3).apply(dataset) is dataset
  good = Dataset(dataset.train, split(numbered("test/good", 2)))
  assert Rule().apply(good) is good


def test_hard_drops_the_rest_of_the_known_kind():
  dataset = miniature(cut=7, hole=6, scratch=2)
  for n in (0, 7):
    train, test = Rule("hard", "cut", n_anomalies=n).apply(dataset)
    assert train.label.sum() == n
    assert set(test.kind) == {"good", "hole", "scratch"}
    assert len(test.id) == 4 + 8
  assert open_set.seen_kinds(train) == ("cut",)


def test_open_keeps_kinds_for_the_test_alone():
  dataset = miniature(cut=7, dent=5, hole=6)
  rule = Rule("open", n_anomalies=4)
  train, test = rule.apply(dataset)
  # The first half of three kinds, rounded up.
  assert set(open_set.seen_kinds(train)) == {"cut", "dent"}
  assert len(anomalous(train)) == 4 and len(anomalous(test)) == 14
  assert set(test.kind) == {"cut", "dent", "hole", "good"}
  train, test = Rule("open", "hole, dent", n_anomalies=5).apply(dataset)
  assert open_set.seen_kinds(train) == ("dent", "hole")
  train, test = Rule("open", "hole", n_anomalies=3).apply(dataset)
  assert open_set.seen_kinds(train) == ("hole",)
  assert test.kind.count("hole") == 3
  _, wide = Rule("open", "hole", n_anomalies=1, pool=3).apply(dataset)
  assert wide.id == test.id


def test_pool_alone_keeps_the_test_of_the_others():
  dataset = miniature(cut=20)
  train, test = Rule(pool=10).apply(dataset)
  assert train is dataset.train
  for n in (1, 10):
    assert Rule(n_anomalies=n, pool=10).apply(dataset).test.id == test.id


def test_contamination():
  dataset = miniature(cut=20)
  # int(8 / (1 - 0.3) * 0.3)
  train, test = Rule(n_anomalies=4, contamination=0.3).apply(dataset)
  assert len(train.id) == 8 + 4 + 3 and len(anomalous(test)) == 13
  hidden = [
    kind
    for kind, label in zip(train.kind, train.label, strict=True)
    if kind != "good" and label == 0
  ]
  assert hidden == ["cut"] * 3
  labelled = [
    name for name, n in zip(train.id, train.label, strict=True) if n == 1
  ]
  plain, _ = Rule(n_anomalies=4).apply(dataset)
  assert [name[5:-4] for name in labelled] == anomalous(plain)
  assert not set(train.id) & set(test.id)
  blind, _ = Rule(contamination=0.3).apply(dataset)
  assert blind.label.sum() == 0 and len(blind.id) == 11
  assert open_set.seen_kinds(blind) == ()


def test_wrong_rules():
  for keywords, named in (
    ({"setting": "easy"}, "general, hard, open"),
    ({"n_anomalies": -1}, "n_anomalies=-1: expected a whole number"),
    ({"n_anomalies": 1.5}, "n_anomalies=1.5: expected a whole number"),
    ({"n_anomalies": 3, "pool": 2}, "pool=2: expected 3"),
    ({"pool": -1}, "pool=-1: expected"),
    ({"contamination": 1.0}, "contamination=1.0: expected a number, 0 to 0.99"),
    ({"split_seed": -1}, "split_seed=-1: expected"),
    ({"split_seed": 2**32}, "split_seed=4294967296: expected"),
    ({"known_class": "cut"}, "setting to hard or open"),
    ({"setting": "hard"}, "known_class=None: expected the kind"),
  ):
    assert named in error_of(Rule, **keywords)
  # Before anything is read.
  assert "setting='easy'" in load_error("folder", root="x", setting="easy")


def test_rules_that_a_set_cannot_satisfy():
  apply = lambda dataset, **keywords: error_of(Rule(**keywords).apply, dataset)
  dataset = miniature(cut=7, hole=6)
  message = apply(dataset, n_anomalies=7)
  assert "more than half of the 13" in message and "to 6 or less" in message
  message = apply(dataset, n_anomalies=1, pool=13)
  assert message.startswith("pool=13: 13 of the 13 anomalies would leave")
  message = apply(dataset, contamination=0.7)
  assert message.startswith("contamination=0.7: ")
  assert "of the 13 anomalies would leave the test" in message
  for setting in ("hard", "open"):
    message = apply(dataset, setting=setting, known_class="hol")
    assert "'hol'" in message and "cut, hole" in message
    keywords = {"setting": setting, "known_class": "cut"}
    assert "one kind alone, cut" in apply(miniature(cut=7), **keywords)
  message = apply(dataset, setting="open", known_class="cut,hole")
  assert "all kinds" in message
  message = apply(dataset, setting="hard", known_class="cut", n_anomalies=8)
  assert "more than the 7" in message
  assert "no anomalous test images" in apply(miniature(), n_anomalies=1)


def test_dataset_is_two_splits_and_maybe_outliers():
  dataset = miniature(cut=1)
  train, test = dataset
  assert (train, test) == (dataset.train, dataset.test)
  assert dataset.outliers is None
  other = dataset._replace(outliers=test)
  assert other.outliers is test and other.train is train


# Folders.


def test_labelled_anomalies_of_a_folder(tmp_path):
  for name in (
    numbered("train/good", 4)
    + numbered("train/cut", 2)
    + numbered("test/good", 2)
    + numbered("test/cut", 3)
    + numbered("test/hole", 3)
  ):
    save(tmp_path / name)
  train, test = data.load("folder", root=tmp_path, image_size=8)
  assert train.id[:2] == ("train/cut/000.png", "train/cut/001.png")
  assert train.label.tolist() == [1, 1, 0, 0, 0, 0] and train.mask is None
  assert data.seen_kinds(train) == ("cut",) and len(test.id) == 8
  train, test = data.load(
    "folder", root=tmp_path, image_size=8, n_anomalies=3, pool=4
  )
  assert train.label.sum() == 5 and test.label.sum() == 2


@pytest.mark.parametrize("where", [".", "good", "train/good", "a/train/good"])
def test_outliers(tmp_path, where):
  root = tmp_path / "other"
  for name in numbered(where, 3):
    save(root / name)
  # A category of the same name as the subset, and one that is no category.
  if where.startswith("a/"):
    save(root / "b" / "train" / "good" / "000.png")
    save(root / "c" / "000.png")
  for name in (
    numbered("train/good", 2) + numbered("test/good", 1) + numbered("test/c", 4)
  ):
    save(tmp_path / "b" / name)
  dataset = data.load(
    "folder",
    root=tmp_path,
    subset="b",
    image_size=8,
    outlier_root=root,
    n_anomalies=1,
    channels=1,
  )
  assert dataset.outliers.x.shape == (3, 8, 8, 1)
  assert dataset.outliers.label.tolist() == [2, 2, 2]
  assert set(dataset.outliers.kind) == {"outlier"}
  assert dataset.train.label.tolist() == [1, 0, 0]


def test_wrong_outliers(tmp_path):
  save(tmp_path / "good" / "0.png")
  save(tmp_path / "good" / "1.png")
  load = lambda name: load_error(
    "folder", root=tmp_path, outlier_root=tmp_path / name
  )
  assert "no such folder" in load("none")
  (tmp_path / "empty").mkdir()
  assert "<category>/train/good/" in load("empty")


# Published sets.


def test_three_to_one_as_the_authors():
  # Of the official code: n, the first of the training rows and of the test.
  for n, train, test in (
    (10, [0, 7, 2, 9, 4], [8, 1, 5]),
    (98, [33, 9, 80, 11, 65], [62, 40, 94, 18, 81]),
    (100, [15, 40, 96, 9, 72], [83, 53, 70, 45, 44]),
    (1143, [970, 72, 665, 584, 649], [158, 1081, 291, 538, 367]),
    (1508, [534, 1061, 813, 1236, 1488], [578, 1146, 382, 583, 966]),
    (2256, [1483, 458, 78, 32, 1854], [1788, 1744, 1401, 1208, 461]),
    (2695, [1583, 621, 266, 2219, 290], [368, 1418, 1765, 1419, 1452]),
    (14000, [13836, 9937, 10861, 11225, 11459], [2900, 3143, 8231, 3855, 8045]),
  ):
    got_train, got_test = open_set.three_to_one(n)
    assert got_train[:5].tolist() == train
    assert got_test[:5].tolist() == test
    assert sorted([*got_train, *got_test]) == list(range(n))


@pytest.mark.parametrize(
  ("normal", "train", "test"),
  [
    (141 * 16, 1692, 564),  # AITEX: images of 4096 x 256 in squares
    (3 * 399 - 54, 857, 286),  # KolektorSDD; the paper prints 594 for 857
    (1508, 1131, 377),  # ELPV: of probability 0
    (14000, 10500, 3500),  # Optical
    (98, 73, 25),  # BrainMRI
    (100, 75, 25),  # HeadCT
    (999 + 764 + 932, 2021, 674),  # Hyper-Kvasir: pylorus, stomach, z-line
  ],
)
def test_counts_of_the_paper(normal, train, test):
  assert [len(rows) for rows in open_set.three_to_one(normal)] == [train, test]


def write(path, text):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(text)


def grey(height, width, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (height, width), np.uint8)


def make_aitex(root):
  """Height 8: 2 normal images of 4 squares, 4 with defects, of 20 pixels."""
  for fabric, name in (("a1", "0100_000_01"), ("b2", "0101_000_02")):
    save(root / "NODefect_images" / fabric / f"{name}.png", grey(8, 32))
  places = {
    "0001_002_00": {"_mask": [(0, 3), (9, 10)]},
    "0002_030_01": {"_mask1": [(1, 2)], "_mask2": [(18, 20)]},
    "0003_019_01": {},  # no mask, as one of those published
    "0004_019_01": {"_mask": []},  # an empty one
  }
  for name, masks in places.items():
    save(root / "Defect_images" / f"{name}.png", grey(8, 20, 1))
    for suffix, spans in masks.items():
      mask = np.zeros((8, 20), np.uint8)
      for left, right in spans:
        mask[2, left:right] = 255
      save(root / "Mask_images" / f"{name}{suffix}.png", mask)


def test_aitex(tmp_path):
  make_aitex(tmp_path)
  train, test = data.load("aitex", root=tmp_path, image_size=8)
  assert (len(train.id), len(test.id)) == (6, 2 + 4)
  assert set(train.kind) == {"good"}
  names = [n for n in test.id if n.startswith("Defect")]
  assert names == [
    "Defect_images/0001_002_00_00.png",
    "Defect_images/0001_002_00_01.png",
    "Defect_images/0002_030_01_00.png",
    "Defect_images/0002_030_01_02.png",
  ]
  rows = [test.id.index(name) for name in names]
  assert [test.kind[row] for row in rows] == [
    "002_broken_end",
    "002_broken_end",
    "030_nep",
    "030_nep",
  ]
  image = grey(8, 20, 1)
  np.testing.assert_array_equal(test.x[rows[1]][..., 0], image[:, 8:16])
  # The last tile is narrower, 4 x 8 pixels.
  last = Image.fromarray(image[:, 16:]).resize((8, 8), Image.BILINEAR)
  np.testing.assert_array_equal(test.x[rows[3]][..., 0], np.asarray(last))
  assert test.mask[rows[0]].sum() == 3 and test.mask[rows[1]].sum() == 1
  assert test.mask[rows[3]].sum() == 2 * 2
  normal = {name.rpartition("_")[2] for name in train.id}
  assert normal <= {"00.png", "01.png", "02.png", "03.png"}


def test_aitex_errors(tmp_path):
  make_aitex(tmp_path)
  bad = save(tmp_path / "Defect_images" / "0009_999_01.png", grey(8, 20))
  assert "'999' is not the code" in load_error("aitex", root=tmp_path)
  bad.unlink()
  mask = tmp_path / "Mask_images" / "0001_002_00_mask.png"
  save(mask, grey(8, 16))
  assert "16 x 8 pixels" in load_error("aitex", root=tmp_path)
  mask.write_bytes(b"?")
  assert "cannot be read" in load_error("aitex", root=tmp_path)


def make_kolektor(root):
  """3 images of 5 x 11 pixels; the last third of one has a defect."""
  for folder, name, defect in (
    ("kos01", "Part0", None),
    ("kos01", "Part1", slice(7, 9)),
    ("kos02", "Part0", None),
  ):
    mask = np.zeros((11, 5), np.uint8)
    if defect:
      mask[defect, 1] = 255
    save(root / folder / f"{name}.jpg", grey(11, 5))
    save(root / folder / f"{name}_label.bmp", mask)


def test_kolektor_sdd(tmp_path):
  make_kolektor(tmp_path)
  train, test = data.load("kolektor_sdd", root=tmp_path, image_size=4)
  assert (len(train.id), len(test.id)) == (6, 2 + 1)
  assert len({*train.id, *test.id}) == 9
  [row] = np.flatnonzero(test.label)
  assert test.id[row] == "kos01/Part1_02.png" and test.kind[row] == "defect"
  items = dra_sets.scan("kolektor_sdd", tmp_path)
  boxes = {i.image.box for i in items if "Part1" in i.id}
  assert boxes == {(0, 0, 5, 3), (0, 3, 5, 7), (0, 7, 5, 11)}
  whole = np.asarray(Image.open(tmp_path / "kos01" / "Part1.jpg"))
  [tile] = [i.image for i in items if i.id == "kos01/Part1_01.png"]
  (tmp_path / "tile.png").write_bytes(tile.read_bytes())
  got = np.asarray(Image.open(tmp_path / "tile.png"))
  np.testing.assert_array_equal(got, whole[3:7])
  (tmp_path / "kos02" / "Part0_label.bmp").unlink()
  assert "Part0.jpg has no mask" in load_error("kolektor_sdd", root=tmp_path)


def test_elpv(tmp_path, cache):
  rows = [
    ("0001", "1.0", "mono"),
    ("0002", "0.3333333333333333", "mono"),
    ("0003", "0.6666666666666666", "poly"),
    ("0004", "1.0", "poly"),
    *((f"{number:04d}", "0.0", "mono") for number in range(5, 10)),
  ]
  table = "".join(f"images/cell{n}.png  {p}   {k}\n" for n, p, k in rows)
  write(tmp_path / "labels.csv", table)
  for number, _, _ in rows:
    save(tmp_path / "images" / f"cell{number}.png", grey(8, 8, int(number)))
  train, test = data.load("elpv", root=tmp_path, image_size=8)
  assert (len(train.id), len(test.id)) == (3, 2 + 2)
  kinds = dict(zip(test.id, test.kind, strict=True))
  assert kinds["images/cell0001.png"] == "mono"
  assert kinds["images/cell0004.png"] == "poly"
  assert not any("0002" in n or "0003" in n for n in train.id + test.id)
  # The same table is the same prepared copy, and another one is not.
  write(tmp_path / "labels.csv", table)
  data.load("elpv", root=tmp_path, image_size=8)
  assert len(list((cache / "datasets").iterdir())) == 1
  write(tmp_path / "labels.csv", table.replace("0.6666666666666666", "1.0"))
  _, test = data.load("elpv", root=tmp_path, image_size=8)
  assert test.kind.count("poly") == 2
  assert len(list((cache / "datasets").iterdir())) == 2
  write(tmp_path / "labels.csv", table + "images/cell0099.png 0 mono\n")
  message = load_error("elpv", root=tmp_path)
  assert "cell0099.png is missing" in message and "line 10" in message
  write(tmp_path / "labels.csv", table + "images/cell0001.png none mono\n")
  assert "'none' is not a number" in load_error("elpv", root=tmp_path)
  write(tmp_path / "labels.csv", table + "images/cell0001.png\n")
  assert "line 10: 1 fields; expected 3" in load_error("elpv", root=tmp_path)


def test_dagm(tmp_path):
  for number in (1, 10):
    for part, numbers in (("Train", (1, 2, 3)), ("Test", (4, 5))):
      folder = tmp_path / f"Class{number}" / part
      lines = ["1"]
      for k in numbers:
        save(folder / f"{k:04d}.PNG", grey(8, 8, k))
        mask = f"{k:04d}_label.PNG" if k in (2, 5) else "0"
        if mask != "0":
          save(folder / "Label" / mask, np.full((8, 8), 255, np.uint8))
        lines.append(f"{k}\t{int(mask != '0')}\t{k:04d}.PNG\t0\t{mask}")
      write(folder / "Label" / "Labels.txt", "\n".join(lines))
  train, test = data.load("dagm", root=tmp_path, image_size=8)
  assert (len(train.id), len(test.id)) == (4, 2 + 4)
  kinds = dict(zip(test.id, test.kind, strict=True))
  assert kinds["Class1/Train/0002.PNG"] == "Class0"
  assert kinds["Class10/Test/0005.PNG"] == "Class9"
  np.testing.assert_array_equal(test.mask.all((1, 2)), test.label)
  (tmp_path / "Class1" / "Test" / "Label" / "0005_label.PNG").unlink()
  assert "0005_label.PNG is missing" in load_error("dagm", root=tmp_path)
  (tmp_path / "Class1" / "Test" / "Label" / "Labels.txt").unlink()
  assert "Labels.txt is missing" in load_error("dagm", root=tmp_path)


def test_mastcam(tmp_path):
  arrays = np.random.default_rng(0).uniform(0, 255.9, (7, 6, 6, 6))
  names = (
    "train_typical/a",
    "train_typical/b",
    "validation_typical/c",
    "test_typical/d",
    "test_novel/vein/e",
    "test_novel/drt/f",
    "test_novel/all/f",
  )
  for name, array in zip(names, arrays, strict=True):
    path = tmp_path / f"{name}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
  train, test = data.load("mastcam", root=tmp_path, image_size=6)
  assert train.id == ("train_typical/a.npy", "train_typical/b.npy")
  assert test.kind == ("drt", "vein", "good")
  expected = arrays[0][..., :3].astype(np.uint8)
  np.testing.assert_array_equal(train.x[0], expected)
  np.save(tmp_path / "train_typical" / "b.npy", arrays[0, 0])
  assert "b.npy holds float64 [6, 6]" in load_error("mastcam", root=tmp_path)
  (tmp_path / "train_typical" / "b.npy").write_bytes(b"?")
  assert "b.npy cannot be read" in load_error("mastcam", root=tmp_path)


def make_brain(root):
  for folder, count in (("no", 9), ("yes", 4)):
    for number in range(count):
      save(root / folder / f"{folder[0].upper()} {number}.JPG")
  return root


def test_brain_mri(tmp_path):
  make_brain(tmp_path)
  train, test = data.load("brain_mri", root=tmp_path, image_size=8)
  names = [f"no/N {number}.JPG" for number in range(9)]
  order = np.random.RandomState(42).permutation(9)
  assert train.id == tuple(names[row] for row in sorted(order[3:]))
  assert test.kind == ("good",) * 3 + ("tumor",) * 4
  train, test = data.load(
    "brain_mri", root=tmp_path, image_size=8, n_anomalies=2
  )
  assert train.label.sum() == 2 and test.label.sum() == 2


@pytest.mark.parametrize("where", [".", "head_ct", "head_ct/head_ct"])
def test_head_ct(tmp_path, where):
  lines = ["id, hemorrhage"]
  for number in range(8):
    save(tmp_path / where / f"{number:03d}.png")
    lines.append(f"{number}, {int(number < 3)}")
  write(tmp_path / "labels.csv", "\n".join(lines))
  train, test = data.load("head_ct", root=tmp_path, image_size=8)
  assert set(train.kind) == {"good"} and len(train.id) == 3
  kinds = dict(zip(test.id, test.kind, strict=True))
  assert [n for n, kind in kinds.items() if kind == "hemorrhage"] == [
    "000.png",
    "001.png",
    "002.png",
  ]
  assert len(kinds) == 3 + 2


@pytest.mark.parametrize("where", [".", "labeled-images/upper-gi-tract"])
def test_hyper_kvasir(tmp_path, where):
  for name in (
    numbered("anatomical-landmarks/pylorus", 3)
    + numbered("anatomical-landmarks/z-line", 2)
    + numbered("pathological-findings/barretts", 2)
    + numbered("pathological-findings/esophagitis-a", 1)
  ):
    save(tmp_path / where / name)
  train, test = data.load("hyper_kvasir", root=tmp_path, image_size=8)
  # RandomState(42).permutation(5) starts with 1 and 4, which are tested.
  assert train.id == tuple(
    f"anatomical-landmarks/{name}.png"
    for name in ("pylorus/000", "pylorus/002", "z-line/000")
  )
  assert test.kind == ("good",) * 2 + ("barretts",) * 2 + ("esophagitis-a",)


def test_records_hold_the_published_bytes(tmp_path, cache):
  make_brain(tmp_path)
  data.load("brain_mri", root=tmp_path, image_size=8)
  stored = b"".join(p.read_bytes() for p in cache.rglob("*.tfrecord*"))
  assert (tmp_path / "yes" / "Y 1.JPG").read_bytes() in stored


def test_changed_and_broken_files_of_tiles(tmp_path):
  make_kolektor(tmp_path)
  load = lambda: data.load("kolektor_sdd", root=tmp_path, image_size=4)
  path = tmp_path / "kos01" / "Part0.jpg"
  first = {
    n: x for part in load() for n, x in zip(part.id, part.x, strict=True)
  }
  save(path, grey(11, 5, 9))
  os.utime(path, ns=(10**18, 10**18))
  for part in load():
    for name, x in zip(part.id, part.x, strict=True):
      assert (x != first[name]).any() == name.startswith("kos01/Part0_")
  path.write_bytes(path.read_bytes()[:-40])
  message = load_error("kolektor_sdd", root=tmp_path)
  assert "kos01/Part0.jpg cannot be read" in message


def test_rules_apply_to_labelled_sets():
  train, test = data.load(
    "digits",
    subset="8",
    image_size=8,
    n_anomalies=10,
    setting="hard",
    known_class="3",
  )
  assert train.label.sum() == 10 and data.seen_kinds(train) == ("3",)
  assert "3" not in test.kind and len(set(test.kind)) == 9


@pytest.mark.parametrize("name", dra_sets.SETS)
def test_wrong_roots_of_published_sets(tmp_path, name):
  expected = dra_sets.SETS[name].expected
  assert f"expected {expected}" in load_error(name)
  message = load_error(name, root=tmp_path)
  assert "labels.csv is missing" in message or expected in message
  assert "no subsets" in load_error(name, root=tmp_path, subset="mono")


# The rendered set.


def test_textures_with_unseen_kinds():
  load = lambda **keywords: data.load(
    "textures",
    image_size=32,
    n_train=6,
    n_test_good=4,
    n_test_defect=35,
    **keywords,
  )
  train, test = load(n_anomalies=10, setting="open")
  assert data.seen_kinds(train) == ("crack", "dent", "fibre")
  assert np.bincount(train.label).tolist() == [6, 10]
  assert np.bincount(test.label).tolist() == [4, 25]
  unseen = set(test.kind) - set(train.kind)
  assert unseen == {"scratch", "stain"}
  seen = [kind for kind in test.kind if kind in data.seen_kinds(train)]
  assert len(seen) == 3 * 7 - 10
  again = load(n_anomalies=10, setting="open")
  assert again.train.id == train.id
  # The plain set is what it was.
  bare = load()
  assert len(bare.train.id) == 6 and len(bare.test.id) == 39
  where = {name: row for row, name in enumerate(bare.test.id)}
  for name, x in zip(train.id, train.x, strict=True):
    if name in where:
      np.testing.assert_array_equal(x, bare.test.x[where[name]])


# The real sets, where somebody has them.


@pytest.mark.parametrize(
  ("source", "name", "normal", "tested", "anomalies"),
  [
    ("brain_mri", "brain_mri", 73, 25, 155),
    ("folder", "mvtec_screw", 320, 41, 119),
    ("magnetic_tile", "magnetic_tile", 761, 191, 392),
  ],
)
def test_real_sets(source, name, normal, tested, anomalies):
  root = pathlib.Path(os.environ.get("JAXAD_DATA") or "") / name
  if not os.environ.get("JAXAD_DATA") or not root.is_dir():
    pytest.skip(f"JAXAD_DATA does not point to a folder with {name}/")
  dataset = data.load(source, root=root, image_size=16)
  ten = Rule(n_anomalies=10).apply(dataset)
  one = Rule(n_anomalies=1, pool=10).apply(dataset)
  assert np.bincount(ten.train.label).tolist() == [normal, 10]
  assert np.bincount(ten.test.label).tolist() == [tested, anomalies - 10]
  assert one.train.label.sum() == 1 and one.test.id == ten.test.id
  labelled = lambda train: {
    n for n, label in zip(train.id, train.label, strict=True) if label
  }
  assert labelled(one.train) < labelled(ten.train)
  assert not labelled(ten.train) & set(ten.test.id)
