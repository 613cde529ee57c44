# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What lies where a file is looked for, and names that are made to harm."""

import os
import pathlib

import numpy as np
import pytest
from PIL import Image

import jaxad
from jaxad import foreign, inputs
from jaxad.data import folder, lists, manifest, scene_files, table_files
from jaxad.data.decode import decode, decode_mask, read_header
from jaxad.errors import InputError
from jaxad.pretrained import read_tensors

READERS = {
  "a.png": (decode, read_header, decode_mask),
  "a.csv": (table_files.read, lambda p: list(lists.read(p, (), ""))),
  "a.npz": (table_files.read, scene_files.read, read_tensors),
  "a.mat": (table_files.read, scene_files.read),
  "a.parquet": (table_files.read,),
  "a.hdr": (scene_files.read,),
  "a.pth": (read_tensors,),
  "a.jaxad": (jaxad.load_scorer,),
  "model.json": (lambda path: jaxad.load(path.parent),),
}


def picture(path, **keywords):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.new("L", (8, 8), 99).save(path, **keywords)
  return path


def images(root):
  for split in ("train", "test"):
    picture(root / split / "good" / "a.png")
  return root


@pytest.mark.parametrize("name", READERS)
def test_only_files_are_opened(tmp_path, name):
  """A pipe would be waited for, and a device is read to no end."""
  path = tmp_path / name
  for make in (
    lambda: os.mkfifo(path),
    lambda: path.symlink_to("/dev/zero"),
    lambda: path.symlink_to(path),
    lambda: path.mkdir(),
  ):
    make()
    if name == "a.hdr":
      (tmp_path / "a.dat").touch()
    for read in READERS[name]:
      with pytest.raises(InputError, match=name):
        read(path)
    path.rmdir() if path.is_dir() else path.unlink()


def test_what_is_no_file_is_no_image_of_a_folder(tmp_path):
  root = images(tmp_path)
  os.mkfifo(root / "train" / "good" / "b.png")
  (root / "train" / "good" / "c.png").symlink_to("/dev/zero")
  found = folder.scan(root)
  assert [item.id for item in found.items if item.split == "train"] == [
    "train/good/a.png"
  ]


def test_links_in_a_circle_end(tmp_path):
  root = images(tmp_path)
  (root / "train" / "good" / "back").symlink_to(root)
  (root / "train" / "good" / "self").symlink_to("self")
  assert len(folder.scan(root).items) == 2


def test_links_that_make_a_million_ways_are_refused(tmp_path):
  root = images(tmp_path)
  for k in range(20):
    for name in "ab":
      (tmp_path / f"{k}").mkdir(exist_ok=True)
      (tmp_path / f"{k}" / name).symlink_to(tmp_path / f"{k + 1}")
  picture(tmp_path / "20" / "a.png")
  with pytest.raises(InputError, match="links lead to it in 65"):
    folder.scan(root)


def test_folders_of_any_depth_are_no_recursion(tmp_path):
  deep = pathlib.Path(*"a" * 100)
  (images(tmp_path) / "train" / "good" / deep).mkdir(parents=True)
  with pytest.raises(InputError, match="depth of 65"):
    folder.scan(tmp_path)


NAMES = ["-a.png", "a\nb.png", "\x1b[2Ja.png", " .png", "a\u202eb.png"]
NAMES += ["$(touch x).png", os.fsdecode(b"\xff\xfe.png"), "é" * 100 + ".png"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_name_and_breaks_no_line(tmp_path, name):
  path = images(tmp_path) / "train" / "good" / name
  path.write_bytes(b"no image")
  with pytest.raises(InputError) as caught:
    jaxad.data.load("folder", root=tmp_path, image_size=8)
  assert str(caught.value).isprintable() and "no image" not in str(caught.value)
  picture(path, format="PNG")
  data = jaxad.data.load("folder", root=tmp_path, image_size=8)
  assert f"train/good/{name}" in data.train.id
  assert f"{path}" in inputs.find_images([f"{tmp_path}"], None)


def test_a_list_reads_what_it_names_and_only_images(tmp_path):
  """Its paths may lead anywhere; what is no image is not shown."""
  (tmp_path / "secret").write_text("password")
  picture(tmp_path / "b.png")
  for path in (tmp_path / "secret", "../x/../secret", "/etc/passwd"):
    (tmp_path / "a.csv").write_text(f"path,kind\n{path},good\nb.png,good\n")
    with pytest.raises(InputError) as caught:
      jaxad.data.load("folder", root=tmp_path / "a.csv", image_size=8)
    assert "password" not in str(caught.value)
  for path in ("a" * 5000, "a\0b", "\udcff", "/dev/zero", "."):
    text = f"path,kind\n{path},good\n"
    (tmp_path / "a.csv").write_text(text, errors="surrogateescape")
    with pytest.raises(InputError, match="a.csv"):
      manifest.scan(tmp_path / "a.csv")


def test_postscript_in_a_png_is_not_run(tmp_path):
  """Pillow would hand it to Ghostscript."""
  path = picture(tmp_path / "a.png", format="EPS")
  with pytest.raises(InputError, match="a.png: not an image file"):
    decode(path)


def test_more_megapixels_are_read_where_that_is_wanted(tmp_path, monkeypatch):
  path = picture(tmp_path / "a.png")
  monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
  with pytest.raises(InputError, match="JAXAD_MEGAPIXELS"):
    decode(path)
  monkeypatch.setenv("JAXAD_MEGAPIXELS", "many")
  with pytest.raises(InputError, match="JAXAD_MEGAPIXELS=many"):
    decode(path)
  monkeypatch.setenv("JAXAD_MEGAPIXELS", "1")
  assert decode(path).shape == (8, 8, 3)


def test_a_long_text_of_many_rows_takes_its_memory_once(tmp_path):
  pyarrow = pytest.importorskip("pyarrow")
  from pyarrow import parquet

  row = np.zeros(2**14, np.int32)
  texts = pyarrow.DictionaryArray.from_arrays(row, ["a" * 2**18])  # 4 GiB
  path = tmp_path / "a.parquet"
  parquet.write_table(pyarrow.table({"a": texts}), path, store_schema=False)
  assert path.stat().st_size < 2**20
  (column,) = table_files.read(tmp_path / "a.parquet").columns.values()
  assert len(column) == 2**14 and len({id(text) for text in column}) < 9


def test_numbers_that_are_none_are_refused_or_texts(tmp_path):
  path = tmp_path / "a.csv"
  for text in ("inf", "-Infinity", "1e999"):
    path.write_text(f"a,b\n1,2\n{text},3\n")
    with pytest.raises(InputError, match="a of row 3 is no finite number"):
      table_files.read(path)
  path.write_text("a\n12_34\n")  # 1234 to Python
  assert table_files.read(path).columns["a"].tolist() == ["12_34"]
  for text in ("NaN", "-Infinity", "1e999", "[" * 10**5):
    with pytest.raises(ValueError):
      foreign.parse_json(text)


@pytest.mark.parametrize("dtype", [">f4", "<f4", ">i2", ">f8", "<i8"])
def test_bytes_of_either_order_are_the_same_numbers(tmp_path, dtype):
  x = np.arange(12).reshape(3, 4).astype(dtype)
  np.savez(tmp_path / "a.npz", X=x, y=np.zeros(3, dtype))
  columns = table_files.read(tmp_path / "a.npz").columns
  np.testing.assert_array_equal(columns["x1"], [1, 5, 9])
  found = read_tensors(tmp_path / "a.npz")["X"]
  assert found.dtype.isnative
  np.testing.assert_array_equal(found, x)
