# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Decoding, folder layouts and TFDS builders."""

import inspect
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from pictures import pixels, save
from PIL import Image

import jaxad.data
from jaxad import fields
from jaxad.data import magnetic_tile
from jaxad.errors import InputError


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
  path = tmp_path_factory.mktemp("cache")
  monkeypatch.setenv("JAXAD_CACHE", str(path))
  return path


def make_mvtec(root, masks=True):
  """4 train, 2 good test, 3 hole and 2 cut images; returns the root."""
  for number in range(4):
    save(root / "train" / "good" / f"{number:03d}.png")
  for number in range(2):
    save(root / "test" / "good" / f"{number:03d}.png")
  for kind, count in (("hole", 3), ("cut", 2)):
    for number in range(count):
      save(root / "test" / kind / f"{number:03d}.png")
      if masks:
        mask = np.zeros((24, 24), np.uint8)
        mask[: number + 1, :5] = 255
        save(root / "ground_truth" / kind / f"{number:03d}_mask.png", mask)
  return root


def make_magnetic_tile(root, monkeypatch):
  """3 + 2 normal images, 2 cracks and a blowhole; returns the root."""
  for number in range(5):
    save(root / "MT_Free" / "Imgs" / f"exp{number}.jpg")
    save(root / "MT_Free" / "Imgs" / f"exp{number}.png", pixels(0, 24, 1) * 0)
  for kind, number in (("Crack", 0), ("Crack", 1), ("Blowhole", 0)):
    stem = root / f"MT_{kind}" / "Imgs" / f"exp{number}"
    save(stem.with_suffix(".jpg"), pixels(number, 30, 1))
    mask = np.zeros((30, 30), np.uint8)
    mask[:10] = 255
    save(stem.with_suffix(".png"), mask)
  names = frozenset(f"exp{number}.jpg" for number in (0, 2, 3))
  monkeypatch.setattr(magnetic_tile, "train_list", lambda: names)
  return root


def load_error(*args, **keywords):
  with pytest.raises(InputError) as caught:
    jaxad.data.load(*args, **keywords)
  message, argument = str(caught.value), caught.value.argument
  assert "\n" not in message and "data." not in message
  # An argument stands in front, for a command to put its group before it.
  assert argument is None or message.startswith(f"{argument}=")
  return message


# Folders.


def test_mvtec_layout(tmp_path):
  make_mvtec(tmp_path)
  train, test = jaxad.data.load("folder", root=tmp_path, image_size=24)
  assert train.id == tuple(f"train/good/{k:03d}.png" for k in range(4))
  assert train.label.tolist() == [0] * 4 and train.label.dtype == np.int32
  assert train.kind == ("good",) * 4 and train.mask is None
  assert test.id == (
    "test/cut/000.png",
    "test/cut/001.png",
    "test/good/000.png",
    "test/good/001.png",
    "test/hole/000.png",
    "test/hole/001.png",
    "test/hole/002.png",
  )
  assert test.kind[1:5] == ("cut", "good", "good", "hole")
  assert test.label.tolist() == [1, 1, 0, 0, 1, 1, 1]
  assert test.x.shape == (7, 24, 24, 3) and test.x.dtype == np.uint8
  assert test.mask.shape == (7, 24, 24) and test.mask.dtype == np.uint8
  assert test.mask.sum((1, 2)).tolist() == [5, 10, 0, 0, 5, 10, 15]
  for name, x in zip(test.id, test.x, strict=True):
    np.testing.assert_array_equal(x, np.asarray(Image.open(tmp_path / name)))


def test_without_ground_truth_there_are_no_masks(tmp_path):
  make_mvtec(tmp_path, masks=False)
  dataset = jaxad.data.load("folder", root=tmp_path, image_size=8)
  assert dataset.test.mask is None and len(dataset.test.label) == 7


def test_unreadable_mask_is_an_error_even_with_skip(tmp_path):
  make_mvtec(tmp_path)
  (tmp_path / "ground_truth" / "cut" / "001_mask.png").write_bytes(b"?")
  message = load_error("folder", root=tmp_path, image_size=8, unreadable="skip")
  assert "mask of test/cut/001.png" in message


def test_plain_layout(tmp_path):
  for number in range(10):
    save(tmp_path / "good" / f"{number}.png")
  for number in range(3):
    save(tmp_path / "bad" / f"{number}.png")
  save(tmp_path / "burn" / "0.png")
  load = lambda **keywords: jaxad.data.load(
    "folder", root=tmp_path, image_size=8, **keywords
  )
  train, test = load()
  assert len(train.id) == 8 and set(train.kind) == {"good"}
  assert sorted(test.kind) == ["bad"] * 3 + ["burn"] + ["good"] * 2
  assert not set(train.id) & set(test.id)
  assert test.id == tuple(sorted(test.id))
  assert load().train.id == train.id
  assert load(seed=1).train.id != train.id
  assert len(load(test_fraction=0.5).train.id) == 5
  assert len(load(test_fraction=0.01).train.id) == 9
  assert len(load(test_fraction=0.99).train.id) == 1
  assert "test_fraction" in load_error("folder", root=tmp_path, test_fraction=1)


def test_subset_is_a_folder_below_the_root(tmp_path):
  make_mvtec(tmp_path / "screw", masks=False)
  dataset = jaxad.data.load(
    "folder", root=tmp_path, subset="screw", image_size=8
  )
  assert dataset.train.id[0] == "train/good/000.png"
  assert "bolt" in load_error("folder", root=tmp_path, subset="bolt")


def test_wrong_folders(tmp_path):
  assert load_error("folder") == "root=None: expected a folder of images"
  message = load_error("folder", root=tmp_path / "none")
  assert message.startswith(f"root={tmp_path / 'none'}: no such folder")


def test_unreadable_image(tmp_path, capfd):
  make_mvtec(tmp_path)
  for name in ("train/good/001.png", "test/hole/001.png"):
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:600])
  message = load_error("folder", root=tmp_path, image_size=8)
  assert "test/hole/001.png" in message
  assert "without with unreadable=skip" in message
  capfd.readouterr()
  train, test = jaxad.data.load(
    "folder", root=tmp_path, image_size=24, unreadable="skip"
  )
  assert capfd.readouterr().err.splitlines()[-1] == (
    "jaxad: skipped 2 unreadable of 11 images: test/hole/001.png, "
    "train/good/001.png"
  )
  assert train.id == tuple(f"train/good/00{k}.png" for k in (0, 2, 3))
  assert len(test.id) == 6
  # Images and masks stay together behind the gap.
  assert test.mask.sum((1, 2)).tolist() == [5, 10, 0, 0, 5, 15]
  for name, x in zip(train.id, train.x, strict=True):
    np.testing.assert_array_equal(x, np.asarray(Image.open(tmp_path / name)))


@pytest.mark.parametrize(
  ("folders", "expected"),
  [
    (
      ("train/good",),
      "none of the 4 normal training images could be read, such as "
      "train/good/000.png; replace them",
    ),
    (
      ("test/good", "test/hole", "test/cut"),
      "none of the 7 test images could be read, such as test/cut/000.png; "
      "replace them",
    ),
  ],
)
def test_nothing_left_of_a_split(tmp_path, folders, expected):
  make_mvtec(tmp_path)
  # A labelled anomaly is nothing to train on alone.
  save(tmp_path / "train" / "cut" / "000.png")
  for name in folders:
    for path in (tmp_path / name).iterdir():
      path.write_bytes(b"")
  assert expected == load_error(
    "folder", root=tmp_path, image_size=8, unreadable="skip"
  )


def test_unknown_names():
  message = load_error("mnits")
  assert "'mnits'" in message and "mvtec_ad" in message
  assert "skip" in load_error("folder", root=".", unreadable="ignore")


WRONG = {
  "image_size": (0, -1, 1.5, float("nan"), 10**9, "big", (64, 64, 64)),
  "channels": (0, 2, "rgb"),
  "seed": (-1, 0.5, float("nan"), 10**12),
  "split_seed": (-1, float("nan"), 2**32),
  "test_fraction": (0, 1, -0.1, float("nan"), "half"),
  "normal": (3, (1, "good")),
  "n_train": (0, -1, float("nan"), 10**9),
  "n_test_good": (-1, 10**9),
  "n_test_defect": (-1, 10**9, 2.5),
  "n_anomalies": (-1, 10**9, float("nan")),
  "pool": (-1, 10**9),
  "contamination": (-1, 1, float("nan")),
  "setting": ("easy", 3),
  "protocol": ("two_vs_rest", None),
  "unreadable": ("ignore", True),
  "subset": (3,),
  "root": (3,),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values_are_told_before_anything_is_read(name):
  for value in WRONG[name]:
    with pytest.raises(InputError) as caught:
      jaxad.data.load("folder", **{"root": "/nowhere", name: value})
    message = str(caught.value)
    assert caught.value.argument == name
    assert message.startswith(f"{name}={value!r}: expected "), message
    assert "\n" not in message


def test_every_keyword_is_explained():
  meanings = fields.meanings(jaxad.data.load)
  assert list(meanings) == list(inspect.signature(jaxad.data.load).parameters)
  assert all(len(text) > 10 for text in meanings.values())


# TFDS builders.


@pytest.mark.whole
def test_mvtec_ad_equals_folder(tmp_path, capfd):
  make_mvtec(tmp_path / "screw")
  keywords = {"root": tmp_path, "subset": "screw", "image_size": 16}
  expected = jaxad.data.load("folder", **keywords)
  capfd.readouterr()
  for _ in ("prepare", "reuse"):
    got = jaxad.data.load("mvtec_ad", **keywords)
    for a, b in zip(got, expected, strict=True):
      assert a.id == b.id and a.kind == b.kind
      np.testing.assert_array_equal(a.x, b.x)
      np.testing.assert_array_equal(a.label, b.label)
    np.testing.assert_array_equal(got.test.mask, expected.test.mask)
    assert got.train.mask is None
  out, err = capfd.readouterr()
  assert out == "" and err == ""


def test_mvtec_ad_errors(tmp_path):
  assert "root=None: expected" in load_error("mvtec_ad", subset="pill")
  message = load_error("mvtec_ad", root=tmp_path, subset="pills")
  assert "'pills'" in message and "zipper" in message
  assert load_error("mvtec_ad", root=tmp_path).startswith(
    "subset=None: name a category of mvtec_ad, as mvtec_ad/bottle; there are "
    "bottle, cable, "
  )
  message = load_error("mvtec_ad", root=tmp_path, subset="pill")
  assert "pill/train/good/" in message
  (tmp_path / "pill").mkdir()
  assert "no images" in load_error("mvtec_ad", root=tmp_path, subset="pill")


def test_published_bytes_are_kept(tmp_path, cache):
  make_mvtec(tmp_path / "wood")
  content = (tmp_path / "wood" / "test" / "cut" / "001.png").read_bytes()
  jaxad.data.load("mvtec_ad", root=tmp_path, subset="wood", image_size=8)
  stored = b"".join(p.read_bytes() for p in cache.rglob("*.tfrecord*"))
  assert content in stored


@pytest.mark.whole
def test_another_root_or_changed_files_never_serve_stale_data(tmp_path, cache):
  for name in ("a", "b"):
    make_mvtec(tmp_path / name / "grid")
  changed = tmp_path / "b" / "grid" / "train" / "good" / "000.png"
  save(changed, pixels(77))
  load = lambda name: jaxad.data.load(
    "mvtec_ad", root=tmp_path / name, subset="grid", image_size=24
  )
  first, second = load("a").train.x[0], load("b").train.x[0]
  np.testing.assert_array_equal(second, pixels(77))
  assert (first != second).any()
  save(changed, pixels(78))
  os.utime(changed, ns=(10**18, 10**18))
  np.testing.assert_array_equal(load("b").train.x[0], pixels(78))
  changed.unlink()
  assert len(load("b").train.x) == 3
  np.testing.assert_array_equal(load("a").train.x[0], first)
  assert len(list((cache / "datasets").iterdir())) == 4


@pytest.mark.whole
def test_interrupted_preparation_leaves_nothing(tmp_path, cache, monkeypatch):
  make_mvtec(tmp_path / "tile")
  load = lambda: jaxad.data.load(
    "mvtec_ad", root=tmp_path, subset="tile", image_size=8
  )
  from jaxad.data import builders

  read = builders._content
  calls = []

  def interrupted(source):
    calls.append(source)
    if len(calls) > 6:
      raise KeyboardInterrupt
    return read(source)

  monkeypatch.setattr(builders, "_content", interrupted)
  with pytest.raises(KeyboardInterrupt):
    load()
  assert len(calls) == 7
  assert list((cache / "datasets").iterdir()) == []
  monkeypatch.setattr(builders, "_content", read)
  assert len(load().train.label) == 4


def test_cache_that_cannot_be_written(tmp_path, monkeypatch):
  (tmp_path / "file").touch()
  monkeypatch.setenv("JAXAD_CACHE", str(tmp_path / "file"))
  message = load_error("textures", image_size=32, n_train=1)
  assert "JAXAD_CACHE" in message


def test_magnetic_tile(tmp_path, monkeypatch):
  make_magnetic_tile(tmp_path, monkeypatch)
  train, test = jaxad.data.load("magnetic_tile", root=tmp_path, image_size=15)
  assert train.id == tuple(f"MT_Free/Imgs/exp{k}.jpg" for k in (0, 2, 3))
  assert test.id == (
    "MT_Blowhole/Imgs/exp0.jpg",
    "MT_Crack/Imgs/exp0.jpg",
    "MT_Crack/Imgs/exp1.jpg",
    "MT_Free/Imgs/exp1.jpg",
    "MT_Free/Imgs/exp4.jpg",
  )
  assert test.kind == ("blowhole", "crack", "crack", "good", "good")
  assert test.label.tolist() == [1, 1, 1, 0, 0]
  assert test.mask.sum((1, 2)).tolist() == [75, 75, 75, 0, 0]


def test_magnetic_tile_errors(tmp_path, monkeypatch):
  message = load_error("magnetic_tile", root=tmp_path)
  assert "MT_Free" in message and "expected" in message
  make_magnetic_tile(tmp_path, monkeypatch)
  assert "no subsets" in load_error(
    "magnetic_tile", root=tmp_path, subset="Crack"
  )
  imgs = tmp_path / "MT_Free" / "Imgs"
  (imgs / "exp2.jpg").unlink()
  (imgs / "exp3.jpg").unlink()
  message = load_error("magnetic_tile", root=tmp_path)
  assert "2 of the 3" in message and "exp2.jpg" in message
  make_magnetic_tile(tmp_path, monkeypatch)
  (tmp_path / "MT_Crack" / "Imgs" / "exp1.png").unlink()
  message = load_error("magnetic_tile", root=tmp_path)
  assert "MT_Crack/Imgs/exp1.jpg has no mask" in message


def test_the_list_of_the_authors():
  names = magnetic_tile.train_list()
  assert len(names) == 761
  assert all(name.endswith(".jpg") for name in names)


def test_textures(cache):
  keywords = {
    "image_size": 40,
    "n_train": 3,
    "n_test_good": 2,
    "n_test_defect": 5,
  }
  train, test = jaxad.data.load("textures", **keywords)
  assert train.x.shape == (3, 40, 40, 3) and train.mask is None
  assert sorted(test.label.tolist()) == [0, 0, 1, 1, 1, 1, 1]
  kinds = {"good", "crack", "dent", "fibre", "scratch", "stain"}
  assert set(test.kind) == kinds
  np.testing.assert_array_equal(test.mask.any((1, 2)), test.label)
  assert test.id == tuple(sorted(test.id))
  again = jaxad.data.load("textures", **keywords)
  np.testing.assert_array_equal(again.test.x, test.x)
  assert len(list((cache / "datasets").iterdir())) == 1
  other = jaxad.data.load("textures", seed=1, **keywords)
  assert (other.train.x != train.x).any()
  mixed = jaxad.data.load("textures", subset="all", **keywords)
  assert (mixed.train.x != train.x).any()


def test_textures_errors():
  assert "fabric" in load_error("textures", subset="fabrik")
  assert "n_train" in load_error("textures", n_train=0)
  assert "n_test_defect" in load_error("textures", n_test_defect=-1)
  assert "32" in load_error("textures", image_size=16)


def test_no_tensorflow_at_import_and_no_noise():
  code = (
    "import sys, jaxad.data\n"
    "assert 'tensorflow' not in sys.modules\n"
    "assert 'tensorflow_datasets' not in sys.modules\n"
    "try: jaxad.data.load('folder', root='/nowhere')\n"
    "except ValueError: pass\n"
    "assert 'tensorflow' not in sys.modules\n"
    "jaxad.data.load('textures', image_size=32, n_train=1, n_test_good=1,\n"
    "                n_test_defect=1)\n"
    "assert 'tensorflow' in sys.modules\n"
  )
  # What TensorFlow writes it writes past Python, so from another process.
  done = subprocess.run(
    [sys.executable, "-W", "error", "-c", code],
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )
  assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# The real sets, where somebody has them.


def real(name):
  root = os.environ.get("JAXAD_DATA")
  if not root or not (pathlib.Path(root) / name).is_dir():
    pytest.skip(f"JAXAD_DATA does not point to a folder with {name}/")
  return pathlib.Path(root) / name


def test_real_magnetic_tile():
  dataset = jaxad.data.load(
    "magnetic_tile", root=real("magnetic_tile"), image_size=64
  )
  assert len(dataset.train.label) == 761
  assert np.bincount(dataset.test.label).tolist() == [191, 392]
  marked = dataset.test.mask.any((1, 2))
  assert not marked[dataset.test.label == 0].any()
  # At full size, masks of all but four defects mark something.
  assert 340 < marked.sum() <= 388


def test_real_screw():
  dataset = jaxad.data.load("folder", root=real("mvtec_screw"), image_size=64)
  assert len(dataset.train.label) == 320
  assert np.bincount(dataset.test.label).tolist() == [41, 119]
  assert dataset.test.mask is None
