# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Labelled sets: the formats of their files, the protocols, the channels."""

import dataclasses
import functools
import gzip
import hashlib
import http.server
import io
import os
import pathlib
import pickle
import struct
import subprocess
import sys
import tarfile
import threading

import jax
import numpy as np
import pytest
from PIL import Image

import jaxad
from jaxad import config as configs
from jaxad import config_files, data
from jaxad.data import labelled, one_class
from jaxad.errors import InputError

GREY, COLOUR = (28, 28, 1), (32, 32, 3)
CLASSES = one_class.SETS["cifar10"].classes
DIFFERNET = pathlib.Path(__file__).parents[1] / "configs" / "differnet.py"


def miniature(shape):
  """{split: (x, label)}: 5 images of each class to train, 3 to test."""
  rng = np.random.default_rng(0)
  splits = {}
  for split, count in (("train", 5), ("test", 3)):
    label = rng.permutation(np.repeat(np.arange(10), count))
    x = rng.integers(0, 256, (len(label), *shape), np.uint8)
    splits[split] = x, label
  return splits


def error_of(function, *args, **keywords):
  with pytest.raises(InputError) as caught:
    function(*args, **keywords)
  assert "\n" not in str(caught.value)
  return str(caught.value)


def load_error(name, **keywords):
  return error_of(
    data.load, name, **{"subset": "3", "image_size": 8, **keywords}
  )


# Writers of the formats: miniature to files in a folder; the result is what
# `root` is to be.


def idx_bytes(x):
  header = bytes([0, 0, 8, x.ndim]) + struct.pack(f">{x.ndim}I", *x.shape)
  return header + x.astype(np.uint8).tobytes()


def write_idx(folder, splits, joint="-", zipped=False):
  for split, stem in (("train", "train"), ("test", "t10k")):
    x, label = splits[split]
    for name, array in (("images", x[..., 0]), ("labels", label)):
      content = idx_bytes(array)
      path = folder / f"{stem}-{name}{joint}idx{array.ndim}-ubyte"
      if zipped:
        path, content = (
          path.with_name(path.name + ".gz"),
          gzip.compress(content),
        )
      path.write_bytes(content)
  return folder


def planes(x):
  """[N, 3072], one channel after the other."""
  return np.ascontiguousarray(x.transpose(0, 3, 1, 2)).reshape(len(x), -1)


def batches(splits):
  """(name, x, label) of the six files, of unequal lengths."""
  x, label = splits["train"]
  for number, rows in enumerate(np.split(np.arange(50), [7, 20, 30, 41]), 1):
    yield f"data_batch_{number}", x[rows], label[rows]
  yield "test_batch", *splits["test"]


def python_2_pickle(x, label):
  """The dict as Python 2 and its NumPy wrote it, opcode by opcode."""
  short = lambda text: b"U" + bytes([len(text)]) + text
  pixels = planes(x)
  shape = b"K" + bytes([len(x)]) + b"M" + struct.pack("<H", pixels.shape[1])
  array = (
    b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85"
    + short(b"b")
    + b"\x87R(K\x01"
    + shape
    + b"\x86cnumpy\ndtype\n"
    + short(b"u1")
    + b"K\x00K\x01\x87R(K\x03"
    + short(b"|")
    + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
    + struct.pack("<i", pixels.size)
    + pixels.tobytes()
    + b"tb"
  )
  labels = b"](" + b"".join(b"K" + bytes([n]) for n in label) + b"e"
  return (
    b"\x80\x02}("
    + short(b"batch_label")
    + short(b"training batch 1 of 5")
    + short(b"labels")
    + labels
    + short(b"data")
    + array
    + b"u."
  )


def python_3_pickle(x, label, protocol, key=str.encode):
  batch = {key("data"): planes(x), key("labels"): label.tolist()}
  return pickle.dumps(batch, protocol=protocol)


def write_pickles(folder, splits, dump, inner="."):
  (folder / inner).mkdir(exist_ok=True)
  for name, x, label in batches(splits):
    (folder / inner / name).write_bytes(dump(x, label))
  return folder


def write_binary(folder, splits, inner="."):
  def dump(x, label):
    rows = np.concatenate([label[:, None].astype(np.uint8), planes(x)], 1)
    return rows.tobytes()

  write_pickles(folder, splits, dump, inner)
  for path in (folder / inner).iterdir():
    path.rename(path.with_suffix(".bin"))
  return folder


def write_keras(folder, splits, column=False, itself=True):
  arrays = {}
  for split, (x, label) in splits.items():
    arrays[f"x_{split}"] = x[..., 0] if x.shape[-1] == 1 else x
    arrays[f"y_{split}"] = label[:, None] if column else label
  path = folder / "set.npz"
  np.savez_compressed(path, **arrays)
  return path if itself else folder


def class_folder(label, classes):
  # By number or by name.
  return str(label) if label % 2 else classes[label]


def write_folders(folder, splits, classes):
  for split, (x, label) in splits.items():
    for i in range(len(x)):
      parent = folder / split / class_folder(label[i], classes)
      parent.mkdir(parents=True, exist_ok=True)
      image = x[i, ..., 0] if x.shape[-1] == 1 else x[i]
      Image.fromarray(image).save(parent / f"{i:03d}.png")
  return folder


def write_jpeg(folder, splits):
  arrays = {}
  for split, (x, label) in splits.items():
    files = []
    for image in x:
      file = io.BytesIO()
      Image.fromarray(image).save(file, "JPEG", quality=75)
      files.append(file.getvalue())
    arrays[f"{split}_jpeg"] = np.frombuffer(b"".join(files), np.uint8)
    arrays[f"{split}_offset"] = np.cumsum([0, *map(len, files)])
    arrays[f"{split}_label"] = label.astype(np.uint8)
  np.savez(folder / "jpeg.npz", **arrays)
  return folder


FORMATS = {
  "idx": (GREY, write_idx),
  "idx with a dot": (GREY, functools.partial(write_idx, joint=".")),
  "idx.gz": (GREY, functools.partial(write_idx, zipped=True)),
  "Keras, grey": (GREY, write_keras),
  "Keras in a folder": (GREY, functools.partial(write_keras, itself=False)),
  "Keras, colour": (COLOUR, functools.partial(write_keras, column=True)),
  "Python 2": (COLOUR, functools.partial(write_pickles, dump=python_2_pickle)),
  "batches-py": (
    COLOUR,
    functools.partial(
      write_pickles, dump=python_2_pickle, inner="cifar-10-batches-py"
    ),
  ),
  "bytes as keys": (
    COLOUR,
    functools.partial(
      write_pickles, dump=functools.partial(python_3_pickle, protocol=2)
    ),
  ),
  "Python 3": (
    COLOUR,
    functools.partial(
      write_pickles,
      dump=functools.partial(python_3_pickle, protocol=4, key=str),
    ),
  ),
  "binary": (COLOUR, write_binary),
  "batches-bin": (
    COLOUR,
    functools.partial(write_binary, inner="cifar-10-batches-bin"),
  ),
}


@pytest.mark.parametrize("case", FORMATS)
def test_formats_are_read_exactly(tmp_path, case):
  shape, write = FORMATS[case]
  splits = miniature(shape)
  root = write(tmp_path, splits)
  found = labelled.read(root, shape, CLASSES)
  for split, (x, label) in splits.items():
    got = found[split]
    assert got.x.dtype == np.uint8 and got.label.dtype == np.int64
    np.testing.assert_array_equal(got.x, x)
    np.testing.assert_array_equal(got.label, label)
    assert got.id == tuple(f"{split}/{i:05d}" for i in range(len(x)))


@pytest.mark.parametrize(("shape", "name"), [(GREY, "mnist"), (COLOUR, None)])
def test_folders_of_classes(tmp_path, shape, name):
  classes = one_class.SETS[name or "cifar10"].classes
  splits = miniature(shape)
  found = labelled.read(
    write_folders(tmp_path, splits, classes), shape, classes
  )
  for split, (x, label) in splits.items():
    rows = [int(pathlib.Path(name).stem) for name in found[split].id]
    assert sorted(rows) == list(range(len(x)))
    np.testing.assert_array_equal(found[split].x, x[rows])
    np.testing.assert_array_equal(found[split].label, label[rows])
    for row, name in zip(rows, found[split].id, strict=True):
      parent = class_folder(label[row], classes)
      assert name == f"{split}/{parent}/{row:03d}.png"


def test_streams_of_jpeg(tmp_path):
  splits = miniature(COLOUR)
  found = labelled.read(write_jpeg(tmp_path, splits), COLOUR, CLASSES)
  for split, (x, label) in splits.items():
    np.testing.assert_array_equal(found[split].label, label)
    for image, got in zip(x, found[split].x, strict=True):
      file = io.BytesIO()
      Image.fromarray(image).save(file, "JPEG", quality=75)
      np.testing.assert_array_equal(got, np.asarray(Image.open(file)))


# Wrong files.


def grey(tmp_path):
  return write_idx(tmp_path, miniature(GREY))


def rewrite(path, change):
  path.write_bytes(change(path.read_bytes()))
  return path


def test_nothing_known(tmp_path):
  message = load_error("mnist", root=tmp_path)
  assert str(tmp_path) in message and "train-images-idx3-ubyte" in message
  assert "no such folder" in load_error("mnist", root=tmp_path / "none")
  (tmp_path / "a.txt").touch()
  message = load_error("mnist", root=tmp_path / "a.txt")
  assert "not an .npz file" in message
  for name in "ab":
    np.savez(tmp_path / f"{name}.npz", x=[0])
  assert "2 .npz files" in load_error("mnist", root=tmp_path)


@pytest.mark.parametrize(
  "name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]
)
@pytest.mark.parametrize(
  ("change", "words"),
  [
    (lambda b: b[:-1], "bytes after its header; expected"),
    (lambda b: b + b"0", "bytes after its header; expected"),
    (lambda b: b[:3], "not an idx file"),
    (lambda b: b"", "starts with nothing"),
    (lambda b: b"\0\0\x0d" + b[3:], "starts with 00000d"),
    (lambda b: gzip.compress(b)[:-9], "broken gzip file"),
    (lambda b: gzip.compress(b)[:30], "broken gzip file"),
  ],
)
def test_broken_idx(tmp_path, name, change, words):
  path = rewrite(grey(tmp_path) / name, change)
  message = load_error("mnist", root=tmp_path)
  assert str(path) in message and words in message


def test_idx_files_that_do_not_fit(tmp_path):
  x, label = miniature(GREY)["train"]
  images = grey(tmp_path) / "train-images-idx3-ubyte"
  labels = tmp_path / "train-labels-idx1-ubyte"
  images.write_bytes(idx_bytes(x[:-2, ..., 0]))
  message = load_error("mnist", root=tmp_path)
  assert "48 train images, but 50 labels" in message and labels.name in message
  images.write_bytes(idx_bytes(x[:, 2:, :, 0]))
  message = load_error("mnist", root=tmp_path)
  assert str(images) in message and "[50, 26, 28, 1]" in message
  assert "[N, 28, 28, 1]" in message
  images.write_bytes(idx_bytes(x[..., 0]))
  labels.write_bytes(idx_bytes(np.where(label == 7, 11, label)))
  assert "11 among the train labels" in load_error("mnist", root=tmp_path)
  labels.write_bytes(idx_bytes(np.where(label == 7, 8, label)))
  assert "no train image of class 7;" in load_error("mnist", root=tmp_path)
  message = load_error("fashion_mnist", root=tmp_path)
  assert "no train image of class 7 (sneaker)" in message
  labels.unlink()
  message = load_error("mnist", root=tmp_path)
  assert f"{labels} cannot be read" in message
  # The images are there twice: as the labels of another format's name.
  labels.write_bytes(images.read_bytes())
  assert "not an idx file of 1 axes" in load_error("mnist", root=tmp_path)


def test_files_of_another_set(tmp_path):
  assert "uint8 [N, 32, 32, 3]" in load_error("cifar10", root=grey(tmp_path))
  (tmp_path / "c").mkdir()
  write_binary(tmp_path / "c", miniature(COLOUR))
  message = load_error("mnist", root=tmp_path / "c")
  assert "data_batch_1.bin" in message and "multiple of 785" in message


@pytest.mark.parametrize(
  ("content", "words"),
  [
    (b"", "not a batch of CIFAR-10"),
    (b"\x80\x02}(U", "not a batch of CIFAR-10"),
    (b"no pickle", "not a batch of CIFAR-10"),
    (pickle.dumps([1]), "holds object data ()"),
    (pickle.dumps({"data": [[1.5]], "labels": [1]}), "holds float64 data"),
    (
      python_3_pickle(np.zeros((2, 32, 32, 3), np.uint8), np.arange(3), 2),
      "2 images and labels (3,)",
    ),
    (pickle.dumps({"data": np.zeros((2, 9), np.uint8)}, 2), "(2, 9)"),
  ],
)
def test_broken_pickles(tmp_path, content, words):
  write_pickles(tmp_path, miniature(COLOUR), python_2_pickle)
  (tmp_path / "data_batch_4").write_bytes(content)
  message = load_error("cifar10", root=tmp_path)
  assert str(tmp_path / "data_batch_4") in message and words in message


class Harmful:
  def __init__(self, function, *args):
    self._call = function, args

  def __reduce__(self):
    return self._call


@pytest.mark.parametrize(
  ("function", "args", "name"),
  [
    (os.mkdir, ("{}/harm",), f"{os.name}.mkdir"),
    (eval, ("open('{}/harm', 'w')",), "builtins.eval"),
    (getattr, ("", "join"), "builtins.getattr"),
    (np.load, ("{}/harm",), "numpy.load"),
  ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickles_run_no_program(tmp_path, function, args, name, protocol):
  write_pickles(tmp_path, miniature(COLOUR), python_2_pickle)
  args = [arg.format(tmp_path) for arg in args]
  (tmp_path / "test_batch").write_bytes(
    pickle.dumps({"data": Harmful(function, *args)}, protocol=protocol)
  )
  message = load_error("cifar10", root=tmp_path)
  assert "test_batch" in message and "refused" in message
  assert name.replace("builtins", "") in message
  assert not (tmp_path / "harm").exists()


def test_pickles_encode_bytes_only(tmp_path):
  write_pickles(tmp_path, miniature(COLOUR), python_2_pickle)
  content = b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13tR."
  (tmp_path / "test_batch").write_bytes(content)
  assert "encodes by 'rot13'" in load_error("cifar10", root=tmp_path)


def test_missing_batches(tmp_path):
  write_binary(tmp_path, miniature(COLOUR))
  for name in ("test_batch.bin", "data_batch_3.bin"):
    (tmp_path / name).rename(tmp_path / "away")
    message = load_error("cifar10", root=tmp_path)
    assert f"{tmp_path / name} cannot be read" in message
    (tmp_path / "away").rename(tmp_path / name)
  rewrite(tmp_path / "data_batch_3.bin", lambda b: b[:-7])
  message = load_error("cifar10", root=tmp_path)
  assert "data_batch_3.bin" in message and "multiple of 3073" in message


def test_broken_npz(tmp_path):
  path = write_keras(tmp_path, miniature(GREY))
  whole = path.read_bytes()
  with np.load(path) as archive:
    arrays = dict(archive)
  load = lambda **changed: (
    np.savez(path, **arrays | changed),
    load_error("mnist", root=path),
  )[1]
  assert "uint8" in load(x_train=arrays["x_train"] / 255)
  assert "float64" in load(y_test=arrays["y_test"].astype(float))
  assert "-1 among the test labels" in load(y_test=arrays["y_test"] - 1)
  assert "30 test images, but 300" in load(y_test=np.eye(10)[arrays["y_test"]])
  message = load(y_train=np.array([{}], object))
  assert str(path) in message and "cannot be read" in message
  del arrays["y_test"]
  assert "y_test" in load()
  del arrays["x_train"]
  message = load()
  assert "has y_train, x_test; expected x_train" in message
  # A flipped byte in the middle of the images, and a file cut short.
  damaged = bytearray(whole)
  damaged[len(whole) // 3] ^= 255
  path.write_bytes(damaged)
  assert "cannot be read" in load_error("mnist", root=path)
  path.write_bytes(whole[:-100])
  assert "not an .npz file, or damaged" in load_error("mnist", root=path)


def test_arrays_of_others_in_an_archive_are_left_alone(tmp_path):
  path = write_jpeg(tmp_path, miniature(COLOUR)) / "jpeg.npz"
  before = data.load("cifar10", root=path).train.x
  with np.load(path) as archive:
    arrays = dict(archive)
  np.savez(path, **arrays, notes=np.array([{"by": "somebody"}]))
  np.testing.assert_array_equal(data.load("cifar10", root=path).train.x, before)


def test_broken_streams_of_jpeg(tmp_path):
  path = write_jpeg(tmp_path, miniature(COLOUR)) / "jpeg.npz"
  with np.load(path) as archive:
    arrays = dict(archive)
  for name, value, words in (
    ("train_offset", arrays["train_offset"] // 2, "train_jpeg, image"),
    ("test_offset", arrays["test_offset"] * 0.5, "cannot be read"),
    ("test_offset", arrays["test_offset"][:-1], "29 test images, but 30"),
  ):
    np.savez(path, **arrays | {name: value})
    message = load_error("cifar10", root=path)
    assert str(path) in message and words in message


def test_wrong_image_files(tmp_path):
  classes = one_class.SETS["mnist"].classes
  write_folders(tmp_path, miniature(GREY), classes)
  path = sorted((tmp_path / "train" / "4").iterdir())[0]
  content = path.read_bytes()
  rewrite(path, lambda b: b[:50])
  message = load_error("mnist", root=tmp_path)
  assert message.count(str(path)) == 1 and "replace it" in message
  Image.fromarray(np.zeros((28, 20), np.uint8)).save(path)
  assert f"{path} is of 28 x 20 pixels" in load_error("mnist", root=tmp_path)
  Image.fromarray(miniature((28, 28, 3))["train"][0][0]).save(path)
  assert f"{path} is in colour" in load_error("mnist", root=tmp_path)
  # Grey in three channels is grey.
  path.write_bytes(content)
  expected = data.load("mnist", subset="4", root=tmp_path, image_size=28)
  Image.open(io.BytesIO(content)).convert("RGB").save(path)
  got = data.load("mnist", subset="4", root=tmp_path, image_size=28)
  np.testing.assert_array_equal(got.train.x, expected.train.x)
  (tmp_path / "test" / "extra").mkdir()
  message = load_error("mnist", root=tmp_path)
  assert f"{tmp_path / 'test' / 'extra'} is not a class" in message
  (tmp_path / "test" / "extra").rmdir()
  (tmp_path / "test").rename(tmp_path / "testing")
  message = load_error("mnist", root=tmp_path)
  assert f"{tmp_path / 'test'}: no test image of class 0" in message


# Protocols, on labels alone.


def splits_of(protocol, label, n_train, chosen, seed=0):
  """(train, test) rows, checked for what holds in every protocol."""
  label = np.asarray(label)
  normal, train, test = one_class.PROTOCOLS[protocol](
    label, n_train, chosen, seed
  )
  one_normal = protocol.startswith("one_vs_rest")
  np.testing.assert_array_equal(normal, (label == chosen) == one_normal)
  assert normal[train].all()
  assert len({*train, *test}) == len(train) + len(test)
  assert 0 < normal[test].sum() < len(test)
  return train, test


# Three classes: rows 0 to 8 are the train split.
LABEL = [0, 1, 2, 1, 0, 1, 1, 2, 0, 1, 0, 2, 1]


def test_one_vs_rest():
  train, test = splits_of("one_vs_rest", LABEL, 9, 1)
  assert train.tolist() == [1, 3, 5, 6]
  assert test.tolist() == [9, 10, 11, 12]


def test_leave_one_out():
  train, test = splits_of("leave_one_out", LABEL, 9, 1)
  assert train.tolist() == [0, 2, 4, 7, 8]
  assert test.tolist() == [1, 3, 5, 6, 9, 10, 11, 12]


def test_one_vs_rest_80_20():
  # Of the 6 images of class 1 four train, two are tested with one each.
  train, test = splits_of("one_vs_rest_80_20", LABEL, 9, 1)
  assert train.tolist() == [1, 3, 5, 6]
  assert sorted(test) == [0, 2, 9, 12]
  # Of 30 images six are tested, with round(6 / 3) of each other class.
  label = [0, 1, 2, 3] * 30
  train, test = splits_of("one_vs_rest_80_20", label, 100, 2)
  assert train.tolist() == list(range(2, 96, 4))
  assert sorted(test) == [0, 1, 3, 4, 5, 7, 98, 102, 106, 110, 114, 118]


def test_leave_one_out_80_20():
  # As the official code: the images are pooled, their positions shuffled.
  label = np.array(LABEL)
  pooled = np.flatnonzero(label != 1)
  position = np.arange(len(pooled))
  np.random.RandomState(3).shuffle(position)
  cut = int(len(pooled) * 0.80)
  train, test = splits_of("leave_one_out_80_20", label, 9, 1, seed=3)
  assert train.tolist() == pooled[position[:cut]].tolist()
  assert sorted(test) == sorted([*pooled[position[cut:]], 1, 3, 5, 6, 9, 12])
  again, _ = splits_of("leave_one_out_80_20", label, 9, 1, seed=3)
  assert train.tolist() == again.tolist()
  other, _ = splits_of("leave_one_out_80_20", label, 9, 1, seed=4)
  assert set(train) != set(other)
  assert "seed=4294967296" in load_error("digits", seed=2**32)


# Images of each digit in the splits of MNIST.
MNIST_TRAIN = (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
MNIST_TEST = (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
EVEN = [6000] * 10, [1000] * 10
CIFAR = [5000] * 10, [1000] * 10


@pytest.mark.parametrize(
  ("counts", "chosen", "protocol", "expected"),
  [
    # (to train, normal to test, anomalous to test).
    ((MNIST_TRAIN, MNIST_TEST), 8, "one_vs_rest", (5851, 974, 9026)),
    # 6825 images of the 8: 5460 + 1365, and 9 * round(1365 / 9 = 151.7).
    ((MNIST_TRAIN, MNIST_TEST), 8, "one_vs_rest_80_20", (5460, 1365, 1368)),
    ((MNIST_TRAIN, MNIST_TEST), 8, "leave_one_out", (54149, 9026, 6825)),
    (
      (MNIST_TRAIN, MNIST_TEST),
      8,
      "leave_one_out_80_20",
      (50540, 12635, 6825),
    ),
    (EVEN, 3, "one_vs_rest", (6000, 1000, 9000)),
    (EVEN, 3, "one_vs_rest_80_20", (5600, 1400, 9 * 156)),
    (CIFAR, 2, "one_vs_rest", (5000, 1000, 9000)),
    (CIFAR, 2, "one_vs_rest_80_20", (4800, 1200, 9 * 133)),
    (CIFAR, 2, "leave_one_out", (45000, 9000, 6000)),
    (CIFAR, 2, "leave_one_out_80_20", (43200, 10800, 6000)),
  ],
)
def test_published_counts(counts, chosen, protocol, expected):
  rng = np.random.default_rng(0)
  parts = [rng.permutation(np.repeat(np.arange(10), n)) for n in counts]
  label = np.concatenate(parts)
  train, test = splits_of(protocol, label, len(parts[0]), chosen)
  tested = label[test] == chosen
  if protocol.startswith("leave_one_out"):
    tested = ~tested
  assert (len(train), tested.sum(), (~tested).sum()) == expected


# Whole data sets.


def names_of(splits, wanted):
  """The sorted ids of the images whose (split, label) is wanted."""
  return sorted(
    f"{split}/{i:05d}"
    for split, (_, label) in splits.items()
    for i in range(len(label))
    if wanted(split, label[i])
  )


def test_members_of_a_data_set(tmp_path):
  splits = miniature(COLOUR)
  write_binary(tmp_path, splits)
  load = lambda **keywords: data.load(
    "cifar10", subset="bird", root=tmp_path, image_size=32, **keywords
  )
  train, test = load()
  in_train = names_of(splits, lambda split, c: split == "train" and c == 2)
  assert list(train.id) == in_train and set(train.kind) == {"good"}
  assert list(test.id) == names_of(splits, lambda split, _: split == "test")
  assert test.label.sum() == 27 and test.label.dtype == np.int32
  train, test = load(protocol="leave_one_out")
  in_train = names_of(splits, lambda split, c: split == "train" and c != 2)
  in_test = names_of(splits, lambda split, c: split == "test" or c == 2)
  assert list(train.id) == in_train and list(test.id) == in_test
  assert test.label.sum() == 8 and set(test.kind) == {"good", "bird"}
  for protocol in one_class.PROTOCOLS:
    for examples in load(protocol=protocol, seed=5):
      assert list(examples.id) == sorted(set(examples.id))
      assert examples.mask is None
      for row, name in enumerate(examples.id):
        split, index = name.split("/")
        x, label = (array[int(index)] for array in splits[split])
        np.testing.assert_array_equal(examples.x[row], x)
        anomalous = (label == 2) == protocol.startswith("leave_one_out")
        assert examples.label[row] == anomalous
        kind = CLASSES[label] if anomalous else "good"
        assert examples.kind[row] == kind
  drawn = [load(protocol="leave_one_out_80_20", seed=s) for s in (0, 0, 1)]
  assert drawn[0].train.id == drawn[1].train.id != drawn[2].train.id


@pytest.mark.parametrize("size", [61, 16, 28])
def test_resize_is_that_of_pillow(tmp_path, size):
  splits = miniature(GREY)
  write_idx(tmp_path, splits)
  train, test = data.load("mnist", subset="3", root=tmp_path, image_size=size)
  assert test.x.shape == (30, size, size, 1) and test.x.dtype == np.uint8
  for got, x in zip(test.x, splits["test"][0], strict=True):
    image = Image.fromarray(x[..., 0])
    image = image.resize((size, size), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(got[..., 0], np.asarray(image))


def test_names_of_classes(tmp_path):
  root = grey(tmp_path)
  load = lambda subset: data.load(
    "fashion_mnist", subset=subset, root=root, image_size=28
  )
  expected = load("9").train.id
  for subset in ("ankle_boot", "Ankle boot"):
    assert load(subset).train.id == expected
  assert load("T-shirt/top").train.id == load("0").train.id != expected
  message = load_error("fashion_mnist", root=root, subset="boot")
  assert "'boot'" in message and "0 t_shirt_top, 1 trouser" in message
  message = load_error("mnist", root=root, subset=None)
  assert "None" in message and "0, 1, 2, 3, 4, 5, 6, 7, 8, 9" in message
  for subset in ("10", "-1", "eight", "1.0"):
    assert repr(subset) in load_error("mnist", root=root, subset=subset)
  message = load_error("mnist", root=root, protocol="two_vs_rest")
  assert "'two_vs_rest'" in message and "leave_one_out_80_20" in message


# The embedded set.


def test_digits():
  from sklearn.datasets import load_digits

  digits = load_digits()
  train, test = data.load("digits", subset="8", image_size=8)
  assert test.x.shape == (599, 8, 8, 1) and test.x.dtype == np.uint8
  assert test.id[0] == "test/00000" and test.id[-1] == "test/00598"
  np.testing.assert_array_equal(test.label, digits.target[1198:] != 8)
  scaled = np.floor(digits.images * 255 / 16 + 0.5)
  np.testing.assert_array_equal(test.x[..., 0], scaled[1198:])
  in_train = np.flatnonzero(digits.target[:1198] == 8)
  assert train.id == tuple(f"train/{i:05d}" for i in in_train)
  np.testing.assert_array_equal(train.x[..., 0], scaled[in_train])
  assert train.x.max() == 255 and train.x.min() == 0
  message = load_error("digits", subset=None)
  assert "subset=None" in message and "8, 9" in message
  assert "'eight'" in load_error("digits", subset="eight")


@pytest.mark.whole
def test_no_tensorflow_for_local_files(tmp_path):
  code = (
    "import sys, jaxad.data\n"
    "assert 'sklearn' not in sys.modules\n"
    "jaxad.data.load('digits', subset='1', image_size=16)\n"
    f"jaxad.data.load('mnist', subset='1', root={str(grey(tmp_path))!r})\n"
    "assert 'tensorflow' not in sys.modules\n"
  )
  done = subprocess.run(
    [sys.executable, "-W", "error", "-c", code],
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )
  assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# Channels.


def test_three_channels_are_copies_of_grey():
  load = lambda channels: data.load(
    "digits", subset="8", image_size=8, channels=channels
  )
  for expected, got in zip(load(None), load(3), strict=True):
    assert expected.x.shape[1:] == (8, 8, 1) and got.x.shape[1:] == (8, 8, 3)
    assert (got.x == expected.x).all() and got.id == expected.id
  np.testing.assert_array_equal(load(1).test.x, load(None).test.x)


def test_one_channel_is_luma(tmp_path):
  splits = miniature(COLOUR)
  write_binary(tmp_path, splits)
  load = lambda channels: data.load(
    "cifar10", subset="3", root=tmp_path, image_size=32, channels=channels
  )
  got = load(1).test
  assert got.x.shape == (30, 32, 32, 1) and got.id == load(None).test.id
  for x, row in zip(got.x, splits["test"][0], strict=True):
    luma = np.asarray(Image.fromarray(row).convert("L"))
    np.testing.assert_array_equal(x[..., 0], luma)
  np.testing.assert_array_equal(load(3).test.x, splits["test"][0])


@pytest.mark.whole
def test_channels_of_a_folder(tmp_path):
  values = np.random.default_rng(0).integers(0, 256, (6, 24, 24), np.uint8)
  for number, image in enumerate(values):
    path = tmp_path / ("good" if number < 4 else "bad") / f"{number}.png"
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(image).save(path)
  load = lambda channels: data.load(
    "folder", root=tmp_path, image_size=24, channels=channels
  )
  # Grey X-rays keep their values.
  got = load(1)
  assert got.train.x.shape == (3, 24, 24, 1)
  for examples in got:
    for x, name in zip(examples.x, examples.id, strict=True):
      number = int(pathlib.Path(name).stem)
      np.testing.assert_array_equal(x[..., 0], values[number])
  assert load(None).train.x.shape == load(3).train.x.shape == (3, 24, 24, 3)
  keywords = {"image_size": 32, "n_train": 1, "n_test_good": 1}
  got = data.load("textures", channels=1, n_test_defect=1, **keywords)
  assert got.test.x.shape == (2, 32, 32, 1) and got.test.mask.shape[0] == 2


@pytest.mark.parametrize("channels", [0, 2, 4, -1, "3", "grey", 2.5])
def test_wrong_channels(channels):
  message = load_error("digits", channels=channels)
  assert message.startswith(f"channels={channels!r}: expected")


def test_differnet_needs_three_channels():
  detector = jaxad.differnet(weights="random", n_scales=1)
  x = np.zeros((1, 64, 64, 1), np.uint8)
  message = error_of(detector.init, jax.random.key(0), {"x": x})
  assert message.startswith("channels=1: ") and "set it to 3" in message


# Configurations.


def test_config():
  config = config_files.load(f"{DIFFERNET}:mnist/8")
  assert (config.data.name, config.data.subset) == ("mnist", "8")
  assert config.data.protocol == "one_vs_rest" and config.data.channels is None
  configs.override(config, "data.protocol", "leave_one_out")
  configs.override(config, "data.channels", "3")
  assert config.data.protocol == "leave_one_out" and config.data.channels == 3
  configs.override(config, "data.channels", "none")
  assert config.data.channels is None
  message = error_of(configs.override, config, "data.channels", "grey")
  assert "config.data.channels='grey': expected one of 1, 3" in message


# Downloads, from a server of our own.


@pytest.fixture
def server(tmp_path, monkeypatch):
  """A folder that is served; `serve` makes TFDS know what is in it."""
  monkeypatch.setenv("JAXAD_CACHE", str(tmp_path / "cache"))
  folder = tmp_path / "served"
  folder.mkdir()
  requested = []

  class Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *args):
      super().__init__(*args, directory=folder)

    def log_message(self, *args):
      requested.append(self.path)

  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"

    def serve(name, url=url):
      changed = dataclasses.replace(one_class.SETS[name], folder=url)
      monkeypatch.setitem(one_class.SETS, name, changed)
      from tensorflow_datasets.core.download import checksums

      infos = {
        f"{url}/{path.name}": checksums.UrlInfo(
          size=path.stat().st_size,
          checksum=hashlib.sha256(path.read_bytes()).hexdigest(),
          filename=path.name,
        )
        for path in folder.iterdir()
      }
      monkeypatch.setattr(checksums, "get_all_url_infos", lambda: infos)

    yield folder, requested, serve
    server.shutdown()
    thread.join()


def test_download_of_idx_files(server, tmp_path, capfd):
  folder, requested, serve = server
  splits = miniature(GREY)
  write_idx(folder, splits, zipped=True)
  serve("mnist")
  capfd.readouterr()
  for _ in ("download", "reuse"):
    _, test = data.load("mnist", subset="3", image_size=28)
    np.testing.assert_array_equal(test.x, splits["test"][0])
    assert test.id[0] == "test/00000"
  out, err = capfd.readouterr()
  downloads = tmp_path / "cache" / "downloads"
  assert out == "" and err == f"jaxad: downloading mnist to {downloads}\n"
  count = len(requested)
  data.load("mnist", subset="4", image_size=28)
  assert len(requested) == count


def test_download_of_an_archive(server, tmp_path):
  folder, _, serve = server
  splits = miniature(COLOUR)
  inner = tmp_path / "cifar-10-batches-bin"
  write_binary(tmp_path, splits, inner.name)
  with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as archive:
    archive.add(inner, inner.name)
  serve("cifar10")
  _, test = data.load("cifar10", subset="3", image_size=32)
  np.testing.assert_array_equal(test.x, splits["test"][0])


def test_download_that_cannot_be(server, tmp_path, monkeypatch):
  folder, _, serve = server
  # Nobody listens on port 1.
  serve("mnist", "http://127.0.0.1:1")
  message = load_error("mnist")
  assert "mnist cannot be downloaded" in message and "127.0.0.1:1" in message
  assert "train-images-idx3-ubyte.gz" in message
  assert "as root" in message
  serve("mnist")
  assert "404" in load_error("mnist")
  # Something else is there now than what TFDS knows.
  write_idx(folder, miniature(GREY), zipped=True)
  serve("mnist")
  rewrite(folder / "train-labels-idx1-ubyte.gz", lambda b: b + b"\0")
  message = load_error("mnist")
  assert "mnist cannot be downloaded" in message and "checksum" in message
  (tmp_path / "file").touch()
  monkeypatch.setenv("JAXAD_CACHE", str(tmp_path / "file"))
  assert "cannot be downloaded" in load_error("mnist")


def test_tfds_knows_the_published_files():
  from tensorflow_datasets.core.download import checksums

  known = checksums.get_all_url_infos()
  for published in one_class.SETS.values():
    for file in published.files if published.folder else ():
      assert known[f"{published.folder}/{file}"].filename == file


# The real sets, where somebody has them.


def real(name):
  root = os.environ.get("JAXAD_DATA")
  if not root or not (pathlib.Path(root) / name).is_dir():
    pytest.skip(f"JAXAD_DATA does not point to a folder with {name}/")
  return pathlib.Path(root) / name


@pytest.mark.parametrize(
  ("name", "train", "test"),
  [
    (
      "mnist",
      "6bbc9ace898e44ae57da46a324031adb",
      "2646ac647ad5339dbf082846283269ea",
    ),
    (
      "fashion_mnist",
      "f4a8712d7a061bf5bd6d2ca38dc4d50a",
      "8181f5470baa50b63fa0f6fddb340f0a",
    ),
  ],
)
def test_real_idx(name, train, test):
  splits = labelled.read(real(name), GREY, one_class.SETS[name].classes)
  for split, expected in (("train", train), ("test", test)):
    content = idx_bytes(splits[split].x[..., 0])
    assert hashlib.md5(content).hexdigest() == expected
  counts = [np.bincount(splits[s].label).tolist() for s in ("train", "test")]
  official = (MNIST_TRAIN, MNIST_TEST) if name == "mnist" else EVEN
  assert counts == [list(official[0]), list(official[1])]


def test_real_mnist_at_32_pixels():
  dataset = data.load(
    "mnist",
    subset="8",
    root=real("mnist"),
    protocol="leave_one_out",
    image_size=32,
  )
  assert dataset.train.x.shape == (54149, 32, 32, 1)
  assert np.bincount(dataset.test.label).tolist() == [9026, 6825]


def test_real_cifar10_jpeg():
  dataset = data.load(
    "cifar10", subset="bird", root=real("cifar10_jpeg"), image_size=32
  )
  assert dataset.train.x.shape == (1000, 32, 32, 3)
  assert np.bincount(dataset.test.label).tolist() == [1000, 9000]
  mean = dataset.test.x.mean((0, 1, 2)) / 255
  np.testing.assert_allclose(mean, [0.4941, 0.4851, 0.4504], atol=1e-4)
