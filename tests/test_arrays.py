# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Arrays in files, and sets that are too large for memory."""

import os

import numpy as np
import pytest
from PIL import Image

import jaxad.data
from jaxad import cache
from jaxad.data import decoded as copies
from jaxad.data import images
from jaxad.data.arrays import FileArray, joined, part
from jaxad.errors import InputError
from jaxad.feed import fits


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
  monkeypatch.setenv("JAXAD_CACHE", str(tmp_path / "cache"))
  return tmp_path / "cache"


@pytest.fixture
def both(tmp_path):
  """(an array, the same in a file)."""
  x = np.random.default_rng(0).normal(size=(7, 3, 2)).astype(np.float32)
  path = tmp_path / "x"
  path.write_bytes(x.tobytes())
  return x, FileArray(open(path, "rb", 0), x.shape, x.dtype)


@pytest.mark.parametrize(
  "index",
  [
    3,
    slice(1, 5, 2),
    slice(0),
    np.array([6, 0, 0]),
    np.array([[1, 2], [3, 4]]),
    np.array([True, False] * 3 + [True]),
    np.array([], int),
  ],
)
def test_rows_are_those_of_the_array(both, index):
  x, file = both
  assert file.shape == x.shape and file.nbytes == x.nbytes and len(file) == 7
  np.testing.assert_array_equal(file[index], x[index])


def test_views_of_views(both):
  x, file = both
  rows = np.array([5, 1, 3])
  np.testing.assert_array_equal(file.take(rows)[1:], x[rows][1:])
  taken = part(file, slice(2, 6))
  assert isinstance(taken, FileArray) and taken.shape == (4, 3, 2)
  np.testing.assert_array_equal(np.asarray(taken), x[2:6])
  twice = joined(taken, file.take([0]))
  assert isinstance(twice, FileArray)
  np.testing.assert_array_equal(twice[:], x[[2, 3, 4, 5, 0]])
  np.testing.assert_array_equal(joined(x, taken), np.concatenate([x, x[2:6]]))


def test_a_file_that_was_cut_short(both, tmp_path):
  _, file = both
  os.truncate(tmp_path / "x", 100)
  with pytest.raises(OSError, match="cut short"):
    file[6]


def make_set(root, n=6, size=24):
  rng = np.random.default_rng(0)
  for split, kind in (("train", "good"), ("test", "good"), ("test", "cut")):
    for k in range(n):
      path = root / split / kind / f"{k}.png"
      path.parent.mkdir(parents=True, exist_ok=True)
      x = rng.integers(0, 256, (size, size, 3), np.uint8)
      Image.fromarray(x).save(path)
      if kind == "cut":
        path = root / "ground_truth" / kind / f"{k}_mask.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        mask = np.zeros((size, size), np.uint8)
        mask[k : k + 4, :9] = 255
        Image.fromarray(mask).save(path)
  return root


@pytest.mark.parametrize("keywords", [{}, {"tile": 12}, {"n_anomalies": 2}])
def test_a_large_set_lies_in_a_file_and_is_the_same(
  tmp_path, monkeypatch, folder, keywords
):
  make_set(tmp_path / "set")
  load = lambda: jaxad.data.load(
    "folder", root=tmp_path / "set", image_size=16, **keywords
  )
  small, decode = load(), images.decode
  assert isinstance(small.train.x, np.ndarray) and not folder.exists()
  monkeypatch.setattr(images, "MEMORY_SHARE", 0)
  for _ in range(2):  # made, and found again
    large = load()
    for a, b in zip(small, large, strict=True):
      assert isinstance(b.x, FileArray)
      np.testing.assert_array_equal(a.x, b.x[:])
      assert a.id == b.id and a.kind == b.kind
      if a.mask is not None:
        np.testing.assert_array_equal(a.mask, b.mask[:])
    assert small.preprocess == large.preprocess
    assert len(list((folder / "decoded").iterdir())) == 1
    monkeypatch.setattr(images, "decode", None)  # the second finds them
  monkeypatch.setattr(images, "decode", decode)
  assert not fits({"x": large.train.x})
  # A file that changes is read again.
  path = tmp_path / "set" / "train" / "good" / "0.png"
  Image.fromarray(np.full((24, 24, 3), 7, np.uint8)).save(path)
  assert (load().train.x[:] == 7).any((1, 2, 3)).any()
  assert len(list((folder / "decoded").iterdir())) == 2


def test_the_cache_is_shown_and_cleared(tmp_path, monkeypatch, folder, capsys):
  from jaxad import cli

  make_set(tmp_path / "set")
  monkeypatch.setattr(images, "MEMORY_SHARE", 0)
  test = jaxad.data.load("folder", root=tmp_path / "set", image_size=100).test
  before = test.x[3]
  assert cli.main(["cache"]) == 0
  assert "0.7 MB  decoded" in capsys.readouterr().out
  assert cli.main(["cache", "--clear", "decoded"]) == 0
  assert cache.sizes()["decoded"] == 0
  # Who reads them goes on.
  np.testing.assert_array_equal(test.x[3], before)
  assert cli.main(["cache", "--clear", "pixels"]) == 2
  said = capsys.readouterr().err
  assert "invalid choice: 'pixels'" in said and "'decoded'" in said


def test_a_cache_without_a_name_is_the_usual_one(tmp_path, monkeypatch):
  """Not the folder one stands in, which `jaxad cache` would clear."""
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  for value in ("", None):
    if value is None:
      monkeypatch.delenv("JAXAD_CACHE")
    else:
      monkeypatch.setenv("JAXAD_CACHE", value)
    assert cache.cache_dir() == tmp_path / "jaxad"


def test_a_part_of_the_cache_may_be_a_link(tmp_path, monkeypatch):
  monkeypatch.setenv("JAXAD_CACHE", str(tmp_path / "cache"))
  for name in ("large/weights/sub", "other", "cache"):
    (tmp_path / name).mkdir(parents=True)
  (tmp_path / "large/weights/sub/a").write_text("a")
  (tmp_path / "other/kept").write_text("b")
  (tmp_path / "large/weights/link").symlink_to(tmp_path / "other")
  (tmp_path / "cache/weights").symlink_to(tmp_path / "large/weights")
  cache.clear("weights")
  assert not list((tmp_path / "cache/weights").iterdir())
  assert (tmp_path / "other/kept").exists()


def test_a_disk_that_is_too_small(tmp_path, monkeypatch, folder):
  make_set(tmp_path / "set")
  monkeypatch.setattr(images, "MEMORY_SHARE", 0)
  usage = copies.shutil.disk_usage(tmp_path)._replace(free=1000)
  monkeypatch.setattr(copies.shutil, "disk_usage", lambda _: usage)
  with pytest.raises(InputError, match="GB .* are free; lower image_size"):
    jaxad.data.load("folder", root=tmp_path / "set", image_size=16)
  assert list((folder / "decoded").iterdir()) == []


def test_unreadable_images_of_a_large_set(tmp_path, monkeypatch, capfd):
  make_set(tmp_path / "set")
  (tmp_path / "set" / "train" / "good" / "2.png").write_bytes(b"")
  monkeypatch.setattr(images, "MEMORY_SHARE", 0)
  load = lambda **keywords: jaxad.data.load(
    "folder", root=tmp_path / "set", image_size=16, **keywords
  )
  with pytest.raises(InputError, match="2.png is unreadable"):
    load()
  for _ in range(2):  # it is said again when the copy is found
    train = load(unreadable="skip").train
    assert train.x.shape == (5, 16, 16, 3)
    assert "skipped 1 unreadable of 18" in capfd.readouterr().err
