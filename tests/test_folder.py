# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Folders and lists of images as people have them."""

import json
import os
import pathlib

import numpy as np
import pytest
from PIL import Image

import jaxad.data
from jaxad.data import folder, manifest, names
from jaxad.errors import InputError


def make(root, *files):
  """Empty files: nothing but masks of normal images is read to find them."""
  for name in files:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
  return root


def numbered(parent, n, ending=".png"):
  return [f"{parent}/{i:03d}{ending}" for i in range(n)]


def draw(path, value, mode="L"):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.new(mode, (8, 8), value).save(path)


def labels(found):
  """{id: (split, kind)}."""
  return {item.id: (item.split, item.kind) for item in found.items}


def masks(found, root):
  """{id: name of its mask}."""
  return {
    item.id: item.mask.relative_to(root).as_posix()
    for item in found.items
    if item.mask is not None
  }


def error(root, scan=folder.scan, **keywords):
  with pytest.raises(InputError) as caught:
    scan(root, **keywords)
  message, argument = str(caught.value), caught.value.argument
  assert "\n" not in message
  assert argument is None or message.startswith(f"{argument}=")
  return message


def said(found, text):
  """Whether a line says it."""
  return any(text in line for line in found.lines)


GOOD = ("train/good/000.png", "train/good/001.png")


# What is read.


def test_the_layout_of_mvtec(tmp_path):
  make(tmp_path, *numbered("train/good", 4), "readme.txt")
  for kind in ("good", "cut", "hole"):
    make(tmp_path, *numbered(f"test/{kind}", 2))
  for kind in ("cut", "hole"):
    make(tmp_path, *numbered(f"ground_truth/{kind}", 2, "_mask.png"))
  found = folder.scan(tmp_path)
  expected = {name: ("train", "good") for name in numbered("train/good", 4)}
  for kind in ("good", "cut", "hole"):
    expected |= {name: ("test", kind) for name in numbered(f"test/{kind}", 2)}
  assert labels(found) == expected
  assert masks(found, tmp_path) == {
    f"test/{kind}/00{i}.png": f"ground_truth/{kind}/00{i}_mask.png"
    for kind in ("cut", "hole")
    for i in range(2)
  }
  assert found.lines == [
    f"jaxad: 10 images in {tmp_path}",
    "  split  kind    images  masks  read from",
    "  train  normal       4      -  train/good",
    "  test   normal       2      -  test/good",
    "  test   cut          2      2  test/cut",
    "  test   hole         2      2  test/hole",
    "  not read, not an image file: 1 (readme.txt)",
  ]


def test_load_says_what_it_understood(tmp_path, capfd):
  for name in (*numbered("good", 5), *numbered("bad", 2)):
    draw(tmp_path / name, 7, "RGB")
  dataset = jaxad.data.load("folder", root=tmp_path, image_size=8)
  lines = capfd.readouterr().err.splitlines()
  assert lines == folder.scan(tmp_path).lines
  assert "  test   bad          2      -  bad" in lines
  assert len(dataset.train.id) == 4
  (tmp_path / "good").rename(tmp_path / "fine")
  load = lambda **keywords: jaxad.data.load(
    "folder", root=tmp_path, image_size=8, **keywords
  )
  assert load(normal="fine").train.kind == ("good",) * 4
  assert load(normal=("fine",), test_fraction=0.6).test.label.sum() == 2


def test_folders_below_kinds_are_read(tmp_path):
  make(tmp_path, *GOOD, *numbered("train/good/lot2/b", 3))
  make(tmp_path, "test/good/a.png", "test/scratch/lot2/a.png")
  make(tmp_path, "ground_truth/scratch/lot2/a_mask.png")
  found = folder.scan(tmp_path)
  assert len(found.items) == 7
  assert labels(found)["train/good/lot2/b/000.png"] == ("train", "good")
  assert labels(found)["test/scratch/lot2/a.png"] == ("test", "scratch")
  assert list(masks(found, tmp_path)) == ["test/scratch/lot2/a.png"]
  assert found.where["train", "good"].keys() == {"train/good"}


def test_links_are_followed_and_circles_end(tmp_path):
  make(tmp_path / "data", *numbered("good", 3), "bad/sub/a.png")
  make(tmp_path, "elsewhere/g.webp")
  root = tmp_path / "data"
  (root / "good" / "g.webp").symlink_to(tmp_path / "elsewhere" / "g.webp")
  (root / "burn").symlink_to(tmp_path / "elsewhere")
  (root / "bad" / "sub" / "up").symlink_to(root)
  (root / "bad" / "itself").symlink_to(root / "bad" / "itself")
  (root / "bad" / "gone.png").symlink_to(root / "nothing.png")
  found = folder.scan(root)
  assert len(found.items) == 6
  assert labels(found)["burn/g.webp"] == ("test", "burn")
  assert said(found, "a link back to a folder above: 1 (bad/sub/up)")
  assert said(found, "a broken link: 2 (bad/gone.png, bad/itself)")


def test_what_is_no_image_is_counted(tmp_path):
  make(tmp_path, *GOOD, "test/bad/a.PNG", "test/bad/b.Jpeg", "test/bad/c.TIF")
  make(tmp_path, "test/bad/notes.txt", "test/bad/d.heic", "test/stray.png")
  make(tmp_path, "stray.png", "test/bad/.e.png", "test/.cache/f.png")
  make(tmp_path, "test/bad/Thumbs.db", "test/.DS_Store", "__MACOSX/good/g.png")
  (tmp_path / "test" / "empty").mkdir()
  found = folder.scan(tmp_path)
  assert [item.id for item in found.items if item.label] == [
    f"test/bad/{name}" for name in ("a.PNG", "b.Jpeg", "c.TIF")
  ]
  assert "  not read, hidden: 5" in found.lines
  assert said(found, "not an image file: 2 (test/bad/d.heic, test/bad/notes")
  assert said(found, "beside the folders of kinds: 1 (test/stray.png)")
  assert said(found, "in neither train nor test: 1 (stray.png)")
  assert "NOTE: no images in test/empty" in found.lines
  assert said(found, "NOTE: the test has no normal images")


def test_names_of_any_bytes(tmp_path):
  if os.name == "nt":
    pytest.skip("names are UTF-16")
  bad = os.fsencode(tmp_path) + b"/Kratzer \xfc tief"
  make(tmp_path, *numbered("good", 6))
  os.mkdir(bad)
  open(bad + b"/bild \xe4.png", "w").close()
  found = folder.scan(tmp_path)
  assert len(found.items) == 7
  (item,) = (item for item in found.items if item.label)
  assert os.fsencode(item.id) == b"Kratzer \xfc tief/bild \xe4.png"
  assert "Kratzer" in "\n".join(found.lines)


def test_a_folder_that_cannot_be_read(tmp_path, monkeypatch):
  make(tmp_path, *numbered("good", 3), "bad/a.png")
  scandir = os.scandir

  def refuse(path):
    if pathlib.Path(path).name == "bad":
      raise PermissionError(13, "Permission denied", str(path))
    return scandir(path)

  monkeypatch.setattr(os, "scandir", refuse)
  assert "bad cannot be read (Permission denied)" in error(tmp_path)


# Which images are normal.


@pytest.mark.parametrize(
  "word", ["good", "OK", "Normal", "no", "No_Defect", "defect-free", "i.O."]
)
def test_words_for_normal(tmp_path, word):
  make(tmp_path, *GOOD, *numbered(f"test/{word}", 2), "test/nok/000.png")
  found = folder.scan(tmp_path)
  kinds = [item.kind for item in found.items if item.split == "test"]
  assert sorted(kinds) == ["good", "good", "nok"]


def test_the_words_are_documented():
  page = pathlib.Path(__file__).parents[1] / "docs" / "data.md"
  text = page.read_text(encoding="utf-8")
  for word in (*names.NORMAL, *names.MASKS):
    assert f"`{word}`" in text, word


def test_words_for_splits(tmp_path):
  make(tmp_path, "Training/OK/0.png", "TESTING/ok/0.png", "TESTING/dent/0.png")
  make(tmp_path, "Ground-Truth/dent/0.png", "validation/ok/0.png")
  found = folder.scan(tmp_path)
  assert labels(found) == {
    "Training/OK/0.png": ("train", "good"),
    "TESTING/ok/0.png": ("test", "good"),
    "TESTING/dent/0.png": ("test", "dent"),
  }
  assert len(masks(found, tmp_path)) == 1
  assert said(found, "in neither train nor test: 1 (validation/ok/0.png)")
  make(tmp_path / "plain", *numbered("good", 3), "bad/0.png", "val/0.png")
  assert len(folder.scan(tmp_path / "plain").items) == 4


def test_several_normal_folders(tmp_path):
  make(tmp_path, *numbered("good", 3), *numbered("OK", 3), *numbered("dent", 2))
  found = folder.scan(tmp_path)
  assert sum(item.label for item in found.items) == 2
  assert len(found.items) == 8
  assert {*found.where["train", "good"], *found.where["test", "good"]} == {
    "good",
    "OK",
  }


@pytest.mark.parametrize(
  "normal", ["Lot_a,lot_b", "lot_a, lot_b/", ("lot_a", "lot_b")]
)
def test_normal_folders_by_name(tmp_path, normal):
  make(tmp_path, *numbered("lot_a", 3), *numbered("lot_b", 3), "no/0.png")
  found = folder.scan(tmp_path, normal=normal)
  assert sum(item.label for item in found.items) == 1
  # The usual words do not count any more.
  assert labels(found)["no/0.png"] == ("test", "no")


def test_wrong_names_of_normal_folders(tmp_path):
  make(tmp_path, *numbered("good", 3), *numbered("fine", 3))
  message = error(tmp_path, normal="fin")
  assert message.startswith("normal=fin: no images in 'fin'; there are ")
  assert "fine, good" in message
  assert "'good' is there too" in error(tmp_path, normal="fine")
  assert len(folder.scan(tmp_path, normal="fine,good").items) == 6


def test_labels_are_not_guessed(tmp_path):
  make(tmp_path / "a", *GOOD, "test/fine/0.png", "test/scratch/0.png")
  found = folder.scan(tmp_path / "a")
  (note,) = (line for line in found.lines if line.startswith("NOTE"))
  assert "no normal images" in note and "fine, scratch" in note
  make(tmp_path / "b", *numbered("parts", 3), *numbered("bad", 3))
  message = error(tmp_path / "b")
  assert "no normal images to train on, but bad, parts; name the" in message
  make(tmp_path / "c", *GOOD, *numbered("test", 3))
  assert "whether test/000.png is normal" in error(tmp_path / "c")
  make(tmp_path / "d", "train/0.png", "train/lot2/0.png", "test/good/0.png")
  assert "but train/lot2; name" in error(tmp_path / "d")
  make(tmp_path / "e", *GOOD, "test/images/good/0.png", "test/images/cut/0.png")
  message = error(tmp_path / "e")
  assert "test/images/good/0.png lies in good/ below images/" in message
  make(tmp_path / "f", "bottle/train/good/0.png", "cable/train/good/0.png")
  assert "subset=bottle" in error(tmp_path / "f")
  make(tmp_path / "g", "good/train/0.png", "good/test/0.png", "bad/test/0.png")
  assert "put train/ and test/ above the kinds" in error(tmp_path / "g")


def test_one_kind_in_two_spellings(tmp_path):
  make(tmp_path, *GOOD, "train/scratch/0.png", "test/good/0.png")
  make(tmp_path, "test/Scratch/0.png", "test/scratch/0.png")
  make(tmp_path, "ground_truth/Scratch/0.png", "ground_truth/scratch/0.png")
  found = folder.scan(tmp_path)
  assert {item.kind for item in found.items} == {"good", "Scratch"}
  assert "NOTE: Scratch and scratch are one kind, Scratch" in found.lines
  assert masks(found, tmp_path) == {
    f"test/{kind}/0.png": f"ground_truth/{kind}/0.png"
    for kind in ("Scratch", "scratch")
  }


# Splits.


@pytest.mark.parametrize("where", ["good", ".", "train", "train/good"])
def test_good_images_alone(tmp_path, where):
  make(tmp_path, *numbered(where, 5))
  found = folder.scan(tmp_path)
  assert [item.split for item in found.items] == ["test"] + ["train"] * 4
  assert not any(item.label for item in found.items)
  assert said(found, "NOTE: no folder is the test: 1 of 5 normal images")
  assert said(found, "NOTE: the test has no images with a defect")


def test_images_directly_in_train(tmp_path):
  make(tmp_path, *numbered("train", 3), "test/good/0.png", "test/cut/0.png")
  found = folder.scan(tmp_path)
  assert [found.items[i].kind for i in (2, 3, 4)] == ["good"] * 3
  assert found.items[4].id == "train/002.png"


def test_labelled_anomalies_stay_in_training(tmp_path):
  make(tmp_path, *numbered("train/good", 5), "train/cut/0.png")
  found = folder.scan(tmp_path)
  assert labels(found)["train/cut/0.png"] == ("train", "cut")
  assert sum(item.split == "test" for item in found.items) == 1


def test_an_image_more_or_less_moves_at_most_one_other(tmp_path):
  make(tmp_path, *(f"good/{number}.png" for number in range(40)))
  split = lambda seed: labels(folder.scan(tmp_path, seed=seed))
  seeds = range(8)
  before = [split(seed) for seed in seeds]
  assert len({tuple(sorted(b.items())) for b in before}) == 8
  for change in ("40.png", "7.png"):
    path = tmp_path / "good" / change
    path.unlink() if path.exists() else path.touch()
    after = [split(seed) for seed in seeds]
    for a, b in zip(before, after, strict=True):
      assert sum(a[name] != b[name] for name in a.keys() & b.keys()) <= 1
    before = after


def test_the_images_held_out_stay_the_same(tmp_path):
  make(tmp_path, *numbered("good", 10), "bad/0.png")
  held = lambda seed: [
    item.id
    for item in folder.scan(tmp_path, seed=seed).items
    if item.split == "test" and not item.label
  ]
  assert held(0) == HELD[0] and held(1) == HELD[1]


# Of the first version that drew them so: runs may be continued.
HELD = (
  ["good/003.png", "good/009.png"],
  ["good/000.png", "good/005.png"],
)


def test_wrong_folders(tmp_path):
  (tmp_path / "empty").mkdir()
  message = error(tmp_path / "empty")
  assert "no images; expected" in message and "train/good/" in message
  make(tmp_path / "bad_only", "bad/0.png")
  assert "no normal images" in error(tmp_path / "bad_only")
  # A stray picture beside folders of unknown meaning is no normal example.
  make(tmp_path / "bad_only", "overview.png")
  assert "no normal images" in error(tmp_path / "bad_only")
  make(tmp_path / "half", "train/good/0.png", "test/good/notes.txt")
  assert "no images in the folders of" in error(tmp_path / "half")
  make(tmp_path / "other", "test/good/0.png")
  assert "no normal images to train on; expected" in error(tmp_path / "other")
  make(tmp_path / "one", "good/0.png")
  assert "two or more" in error(tmp_path / "one")
  make(tmp_path / "masks", "good/0_mask.png")
  assert "but 1 taken for masks, such as good/0_" in error(tmp_path / "masks")


# Masks.


@pytest.mark.parametrize(
  "name",
  [
    "ground_truth/cut/a_mask.png",
    "ground_truth/cut/a.png",
    "ground_truth/cut/A_Mask.BMP",
    "ground_truth/CUT/a-gt.tif",
    "ground_truth/test/cut/a.png",
    "Masks/cut/a_label.png",
    "masks/a.jpg",
    "gt/lot1/a_GT.png",
    "test/ground_truth/cut/a_mask.png",
    "test/masks/cut/lot1/a_mask.png",
    "test/cut/masks/a.png",
    "test/cut/lot1/a_mask.png",
    "test/cut/lot1/a_gt.png",
    "test/cut/lot1/masks/a.png",
    "test/cut_masks/lot1/a.png",
    "ground_truth/cut/lot1/a_mask.png",
  ],
)
def test_places_of_masks(tmp_path, name):
  make(tmp_path, *GOOD, "test/good/a.png", "test/cut/lot1/a.png", name)
  found = folder.scan(tmp_path)
  assert masks(found, tmp_path) == {"test/cut/lot1/a.png": name}
  assert len(found.items) == 4


@pytest.mark.parametrize(
  "files",
  [
    numbered("scratch", 3, "_mask.png"),
    numbered("masks", 3),
    numbered("masks/scratch", 3, "_mask.jpg"),
    numbered("scratch_mask", 3),
  ],
)
def test_masks_are_no_images_of_a_plain_folder(tmp_path, files):
  make(tmp_path, *numbered("good", 5), *numbered("scratch", 3), *files)
  found = folder.scan(tmp_path)
  pairs = zip(numbered("scratch", 3), files, strict=True)
  assert masks(found, tmp_path) == dict(pairs)
  assert len(found.items) == 8


def test_a_name_that_only_looks_like_that_of_a_mask(tmp_path):
  make(tmp_path, *numbered("good", 3), "bad/left_gt.png", "solder_mask/0.png")
  make(tmp_path, "cap/1.png", "cap_label/0.png")
  found = folder.scan(tmp_path)
  kinds = {name: kind for name, (_, kind) in labels(found).items()}
  assert kinds["bad/left_gt.png"] == "bad"
  assert kinds["solder_mask/0.png"] == "solder_mask"
  assert kinds["cap_label/0.png"] == "cap_label"


def test_two_files_of_one_name_may_be_image_and_mask(tmp_path):
  make(tmp_path, *numbered("good", 3), "cut/0.jpg", "cut/0.png")
  message = error(tmp_path)
  assert "cut/0.jpg and 0.png share a name" in message
  assert "call it 0_mask.png" in message
  (tmp_path / "cut" / "0.png").rename(tmp_path / "cut" / "0_mask.png")
  assert len(folder.scan(tmp_path).items) == 4


def test_a_mask_mirrors_the_folder_below(tmp_path):
  make(tmp_path, *GOOD, "test/cut/a/0.png", "test/cut/b/0.png")
  make(tmp_path, "ground_truth/cut/a/0.png", "ground_truth/cut/b/0_mask.png")
  assert masks(folder.scan(tmp_path), tmp_path) == {
    "test/cut/a/0.png": "ground_truth/cut/a/0.png",
    "test/cut/b/0.png": "ground_truth/cut/b/0_mask.png",
  }
  # The name alone would fit, but the folder says otherwise.
  make(tmp_path, "test/cut/c/9.png", "ground_truth/cut/d/9.png")
  message = error(tmp_path)
  assert message.startswith("test/cut/c/9.png has no mask (ground_truth/cut/d")


def test_the_marked_name_is_preferred(tmp_path):
  make(tmp_path, *GOOD, "test/cut/0.png")
  make(tmp_path, "ground_truth/cut/0.png", "ground_truth/cut/0_mask.png")
  found = folder.scan(tmp_path)
  assert masks(found, tmp_path) == {
    "test/cut/0.png": "ground_truth/cut/0_mask.png"
  }
  assert said(found, "fits no image: 1 (ground_truth/cut/0.png)")


def test_a_defect_without_its_mask(tmp_path):
  make(tmp_path, *GOOD, *numbered("test/cut", 2), "test/hole/000.png")
  make(tmp_path, "ground_truth/cut/000_mask.png")
  assert error(tmp_path) == (
    "test/cut/001.png (and 1 more) has no mask, while test/cut/000.png has "
    "ground_truth/cut/000_mask.png; add it, all black where nothing is to be "
    "marked, or move all masks away to go without pixel figures"
  )


def test_a_mask_that_could_be_of_two_images(tmp_path):
  make(tmp_path, *numbered("good", 3), "cut/0.png", "hole/0.png", "cut/1.png")
  make(tmp_path, "masks/0.png", "masks/1.png")
  message = error(tmp_path)
  assert message.startswith("cut/0.png (and 1 more) has no mask (masks/0.png")


def test_masks_that_fit_nothing(tmp_path):
  make(tmp_path, *GOOD, "test/cut/0.png", "ground_truth/cut/x_mask.png")
  message = error(tmp_path)
  assert message.startswith("no mask fits an image with a defect: there are ")
  assert "ground_truth/cut/x_mask.png" in message and "0_mask.png" in message
  make(tmp_path, "ground_truth/cut/0_mask.png")
  found = folder.scan(tmp_path)
  assert said(found, "fits no image: 1 (ground_truth/cut/x_mask.png)")
  # Without images there is nothing to fit.
  make(tmp_path / "good_only", *numbered("good", 3), "masks/0.png")
  assert said(folder.scan(tmp_path / "good_only"), "fits no image: 1")


def test_masks_of_normal_images_are_empty(tmp_path):
  make(tmp_path, *GOOD, "test/OK/0.png", "test/cut/0.png")
  make(tmp_path, "ground_truth/cut/0.png")
  draw(tmp_path / "ground_truth" / "OK" / "0.png", 0)
  found = folder.scan(tmp_path)
  assert list(masks(found, tmp_path)) == ["test/cut/0.png"]
  assert said(found, "empty mask of a normal image: 1 (ground_truth/OK/0.png)")
  draw(tmp_path / "ground_truth" / "OK" / "0.png", 2)
  message = error(tmp_path)
  assert "test/OK/0.png is a normal image" in message
  assert "marks 64 pixels" in message
  # By name alone it may be that of a defect that is gone.
  (tmp_path / "ground_truth" / "OK" / "0.png").unlink()
  make(tmp_path, "ground_truth/000.png")
  assert said(folder.scan(tmp_path), "fits no image: 1 (ground_truth/000.png)")


def test_masks_of_training_images_are_not_used(tmp_path):
  make(tmp_path, *GOOD, "train/cut/0.png", "train/cut/0_mask.png")
  make(tmp_path, "test/cut/0.png", "ground_truth/cut/0.png")
  found = folder.scan(tmp_path)
  assert masks(found, tmp_path) == {"test/cut/0.png": "ground_truth/cut/0.png"}
  assert said(found, "of a training image: 1 (train/cut/0_mask.png)")


# Lists.


def write(path, *lines, encoding="utf-8"):
  path.write_text("\n".join(lines), encoding=encoding)
  return path


@pytest.fixture
def parts(tmp_path):
  """A folder without meaning: a.png to f.png, and a mask."""
  return make(tmp_path, *(f"parts/{c}.png" for c in "abcdef"), "m/f.png")


def test_csv(parts):
  path = write(
    parts / "list.csv",
    "Path,SPLIT,Kind,mask,camera",
    "parts/a.png,train,good,,1",
    '"parts/b.png",Training,OK,,1',
    "parts/c.png,train,scratch",
    "",
    "parts/d.png,test,good,,2",
    "parts/e.png,val,good,,2",
    "parts/f.png,test,scratch,m/f.png,2",
  )
  found = manifest.scan(path)
  assert labels(found) == {
    "parts/a.png": ("train", "good"),
    "parts/b.png": ("train", "good"),
    "parts/c.png": ("train", "scratch"),
    "parts/d.png": ("test", "good"),
    "parts/f.png": ("test", "scratch"),
  }
  assert masks(found, parts) == {"parts/f.png": "m/f.png"}
  assert found.lines[0] == f"jaxad: 5 images in {path}"
  assert found.lines[-1].endswith("in neither train nor test: 1 (parts/e.png)")


def test_csv_of_a_spreadsheet(parts):
  path = write(
    parts / "list.CSV",
    "path;label",
    *(rf"parts\{c}.png;0" for c in "abcd"),
    "parts/e.png;1",
    "parts/f.png;1",
    encoding="utf-8-sig",
  )
  found = manifest.scan(path, test_fraction=0.5)
  kinds = [(item.split, item.kind) for item in found.items]
  assert kinds.count(("train", "good")) == kinds.count(("test", "good")) == 2
  assert kinds.count(("test", "defect")) == 2
  assert {item.id for item in found.items} == {
    f"parts/{c}.png" for c in "abcdef"
  }
  assert said(found, "NOTE: no line is of the test: 2 of 4")


@pytest.mark.parametrize("name", ["list.jsonl", "list.ndjson", "list.json"])
def test_json_lines(parts, name):
  rows = [
    {"path": "parts/a.png", "kind": "Fine", "Split": "train", "mask": None},
    {"path": str(parts / "parts" / "b.png"), "label": "fine", "split": "test"},
    {"path": "../x/f.png", "kind": "cut", "split": "test", "mask": "m/f.png"},
  ]
  root = parts / "lists"
  make(parts, "x/f.png", "lists/parts/a.png", "lists/m/f.png")
  path = write(root / name, *map(json.dumps, rows))
  found = manifest.scan(path, normal="fine")
  assert labels(found) == {
    (parts / "x" / "f.png").as_posix(): ("test", "cut"),
    (parts / "parts" / "b.png").as_posix(): ("test", "good"),
    "parts/a.png": ("train", "good"),
  }
  assert "no images in 'ok'" in error(path, manifest.scan, normal="ok")


WRONG_LISTS = {
  "no kind": (
    ("path,mask", "parts/a.png,"),
    "line 1: the columns are path, ma",
  ),
  "no rows": (("path,kind",), "the list is empty"),
  "empty": ((), "line 1: the columns are missing"),
  "no path": (
    ("path,kind", "parts/a.png,good", ",good"),
    "line 3: it names no",
  ),
  "no file": (
    ("path,kind", "parts/x.png,good"),
    "line 2: there is no file par",
  ),
  "no mask": (
    (
      "path,split,kind,mask",
      "parts/a.png,train,ok,",
      "parts/b.png,test,cut,x.png",
    ),
    "line 3: there is no file x.png",
  ),
  "twice": (
    ("path,kind", "parts/a.png,good", "parts/../parts/a.png,cut"),
    "line 3: parts/a.png is in line 2 already",
  ),
  "a comma": (("path,kind", "parts/a,b.png,good"), "line 2: 3 values for 2"),
  "empty kind": (("path,kind", "parts/a.png,"), "line 2: it has no kind"),
  "half split": (
    ("path,split,kind", "parts/a.png,train,good", "parts/b.png,,good"),
    "line 3: it has no split, and line 2 has one",
  ),
  "split": (("path,split,kind", "parts/a.png,tain,good"), "line 2: split 'tai"),
  "labels": (
    ("path,kind,label", "parts/a.png,good,1"),
    "line 2: kind good and label 1 disagree",
  ),
  "no good": (
    ("path,split,kind", "parts/a.png,train,cut", "parts/b.png,test,good"),
    "no normal images to train on",
  ),
  "numbers": (
    ("path,kind", "parts/a.png,0", "parts/b.png,1"),
    "no normal images to train on, but 0, 1; expected good, or name the normal",
  ),
  "one good": (("path,kind", "parts/a.png,good"), "two or more"),
  "masks": (
    (
      "path,kind,mask",
      "parts/a.png,good",
      "parts/b.png,good",
      "parts/e.png,cut",
      "parts/f.png,cut,m/f.png",
    ),
    "parts/e.png has no mask, while parts/f.png has m/f.png",
  ),
}


@pytest.mark.parametrize("case", WRONG_LISTS)
def test_wrong_lists(parts, case):
  lines, expected = WRONG_LISTS[case]
  path = write(parts / "list.csv", *lines)
  assert expected in error(path, manifest.scan)


def test_wrong_json_lines(parts):
  path = write(parts / "list.jsonl", '{"path": "parts/a.png", "kind": 3}', "[]")
  assert "line 2: expected an object" in error(path, manifest.scan)
  write(path, "", '{"path": ["a.png"]}')
  assert "line 2: path is ['a.png']; expected" in error(path, manifest.scan)
  write(path, "{")
  assert "line 1: expected an object" in error(path, manifest.scan)
  path = parts / "list.xlsx"
  path.write_bytes(b"PK\0")
  assert "expected a folder of images, or a list" in error(path, manifest.scan)
  path.rename(parts / "list.csv")
  assert "save it as UTF-8" in error(parts / "list.csv", manifest.scan)


def test_a_list_loads_like_its_folder(tmp_path):
  for name in (*numbered("good", 4), *numbered("bad", 2)):
    draw(tmp_path / name, 7, "RGB")
    draw(tmp_path / name.replace("bad", "masks"), 255)
  rows = [f"{name},ok," for name in numbered("good", 4)]
  rows += [f"bad/00{i}.png,bad,masks/00{i}.png" for i in range(2)]
  path = write(tmp_path / "list.csv", "path,kind,mask", *rows)
  listed, there = (
    jaxad.data.load("folder", root=root, image_size=8)
    for root in (path, tmp_path)
  )
  for a, b in zip(listed, there, strict=True):
    assert (a.id, a.kind) == (b.id, b.kind)
    np.testing.assert_array_equal(a.x, b.x)
  np.testing.assert_array_equal(listed.test.mask, there.test.mask)
  assert listed.test.mask.any()
  with pytest.raises(InputError, match="^subset='x': no such folder in .*csv"):
    jaxad.data.load("folder", root=path, subset="x")


# Images of another data set.


@pytest.mark.parametrize(
  "files",
  [
    ("train/OK/lot2/0.png", "good/1.png"),
    ("Good/0.png", "Good/0_mask.png", "cut/1.png"),
    ("nut/train/ok/0.png", "own/train/ok/1.png", "own/cut/1.png"),
    ("0.png",),
  ],
)
def test_outliers(tmp_path, files):
  make(tmp_path, *files)
  items = folder.scan_outliers(tmp_path, skip="own")
  assert [item.id for item in items] == [files[0]]


def test_what_jaxad_wrote_is_no_data(tmp_path):
  root = make(
    tmp_path,
    *numbered("good", 4),
    *numbered("scratch", 2),
    "runs/a/config.json",
    "runs/a/examples.csv",
    "runs/a/images.png",
    "out/scores.csv",
    "out/scores.json",
    "out/maps/000.png",
  )
  found = folder.scan(root)
  assert {item.kind for item in found.items} == {"good", "scratch"}
  assert found.skipped["a run or predictions"] == ["out", "runs/a"]
