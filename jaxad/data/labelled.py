# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Published sets of small images with class labels, read from their own files.

`read` knows these layouts, and finds out which one it is given:

    {train,t10k}-{images-idx3,labels-idx1}-ubyte, plain or .gz (MNIST); also
        with a dot in place of the second hyphen
    data_batch_1 ... data_batch_5, test_batch (CIFAR-10 for Python), there or
        in cifar-10-batches-py/
    the same with .bin (CIFAR-10 for C), there or in cifar-10-batches-bin/
    one .npz with x_train, y_train, x_test and y_test (Keras), or with the
        streams of JPEG files: {train,test}_{jpeg,offset,label}
    {train,test}/<class>/*.png, or any other images

The files need not be complete in numbers, but whole and of the published size.
No TensorFlow is needed.
"""

import math
import pathlib
import re
import zipfile
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxad import foreign, named_arrays
from jaxad.data import array_files, folder
from jaxad.data.decode import decode
from jaxad.errors import InputError
from jaxad.preprocess import Preprocess

SPLITS = ("train", "test")

LAYOUTS = (
  "train-images-idx3-ubyte(.gz) and so on, data_batch_1(.bin) and so on, one "
  ".npz with x_train and so on, or train/<class>/*.png and test/<class>/*.png"
)

_BATCHES = {
  "train": tuple(f"data_batch_{number}" for number in range(1, 6)),
  "test": ("test_batch",),
}


class Split(NamedTuple):
  """One official split, in the order of the files.

  Attributes:
    x: uint8 [N, H, W, C].
    label: int64 [N], the number of the class.
    id: N unique names: the path of an image file, else "<split>/<index>".
  """

  x: np.ndarray
  label: np.ndarray
  id: tuple[str, ...]


def read(
  root: pathlib.Path, shape: tuple[int, int, int], classes: Sequence[str]
) -> dict[str, Split]:
  """Reads the splits "train" and "test" in whatever layout they are.

  Args:
    root: a folder, or an .npz file.
    shape: (H, W, C), the published size of an image.
    classes: names of the classes, by number.

  Raises:
    InputError: another layout, or a file is missing, broken, or of other
      images.
  """
  if root.is_file() and root.suffix == ".npz":
    return _npz(root, shape, classes)
  if not root.is_dir():
    problem = "not an .npz file" if root.is_file() else "no such folder"
    raise InputError(f"root={root}: {problem}; expected {LAYOUTS}", "root")
  idx = {split: _idx_paths(root, split) for split in SPLITS}
  if any(path.is_file() for paths in idx.values() for path in paths):
    return read_idx(idx, shape, classes)
  for suffix, name, reader in (
    ("", "cifar-10-batches-py", array_files.pickled),
    (".bin", "cifar-10-batches-bin", array_files.records),
  ):
    for parent in (root, root / name):
      paths = {
        split: [parent / (name + suffix) for name in names]
        for split, names in _BATCHES.items()
      }
      if any(path.is_file() for group in paths.values() for path in group):
        return _batches(paths, reader, shape, classes)
  archives = sorted(root.glob("*.npz"))
  if len(archives) == 1:
    return _npz(archives[0], shape, classes)
  if archives:
    raise InputError(
      f"root={root}: {len(archives)} .npz files; give the path of one of them",
      "root",
    )
  if any((root / split).is_dir() for split in SPLITS):
    return _folders(root, shape, classes)
  raise InputError(f"root={root}: no known files; expected {LAYOUTS}", "root")


def class_number(text: str, classes: Sequence[str]) -> int | None:
  """The class of this number or name; None if there is none.

  Capitals do not matter, nor what stands between words: "Ankle boot" is the
  class "ankle_boot".
  """
  numbers = {name: number for number, name in enumerate(classes)}
  numbers |= {str(number): number for number in range(len(classes))}
  return numbers.get(re.sub("[ _/-]+", "_", text.lower()))


def ids(split: str, n: int) -> tuple[str, ...]:
  """Names of n images that have none."""
  return tuple(f"{split}/{index:05d}" for index in range(n))


# The idx files of MNIST.


def read_idx(
  paths: dict[str, tuple[pathlib.Path, pathlib.Path]],
  shape: tuple[int, int, int],
  classes: Sequence[str],
) -> dict[str, Split]:
  """Reads idx files, plain or gzipped, whatever they are called.

  Args:
    paths: the images and the labels of each split.
    shape: as in `read`.
    classes: as in `read`.

  Raises:
    InputError: as `read`.
  """
  return {
    split: _checked(
      split,
      array_files.idx(x, 3),
      array_files.idx(label, 1),
      f"{x} and {label.name}",
      shape,
      classes,
    )
    for split, (x, label) in paths.items()
  }


def _idx_paths(root, split):
  """Where the images and the labels are, or should be."""
  stem = {"train": "train", "test": "t10k"}[split]
  paths = []
  for content, rank in (("images", 3), ("labels", 1)):
    names = [
      f"{stem}-{content}{joint}idx{rank}-ubyte{suffix}"
      for joint in "-."
      for suffix in ("", ".gz")
    ]
    found = [root / name for name in names if (root / name).is_file()]
    paths.append(found[0] if found else root / names[0])
  return tuple(paths)


# The batches of CIFAR-10.


def _batches(paths, reader, shape, classes):
  splits = {}
  for split, group in paths.items():
    parts = [reader(path, math.prod(shape)) for path in group]
    planes = np.concatenate([x for x, _ in parts])
    # As published, one channel follows the other.
    x = planes.reshape(-1, shape[2], *shape[:2]).transpose(0, 2, 3, 1)
    label = np.concatenate([label for _, label in parts])
    splits[split] = _checked(split, x, label, group[0].parent, shape, classes)
  return splits


# NumPy archives.


_NAMES = [
  name.format(split)
  for split in SPLITS
  for name in ("x_{}", "y_{}", "{}_jpeg", "{}_offset", "{}_label")
]


def _npz(path, shape, classes):
  if not zipfile.is_zipfile(path):
    raise InputError(f"{path} is not an .npz file, or damaged; get it again")
  try:
    archive = named_arrays.read(path, _NAMES)
    for first, reader in (("x_train", _keras), ("train_jpeg", _jpeg)):
      if first in archive:
        return reader(archive, path, shape, classes)
    found = ", ".join(zipfile.ZipFile(path).namelist()) or "nothing"
  except InputError:
    raise
  except Exception as error:  # Broken archives raise nearly anything.
    raise InputError(
      f"{path} cannot be read ({foreign.reason(error)}); get it again"
    ) from None
  raise InputError(
    f"{path} has {found}; expected x_train, y_train, x_test and y_test"
  )


def _keras(archive, path, shape, classes):
  return {
    split: _checked(
      split, archive[f"x_{split}"], archive[f"y_{split}"], path, shape, classes
    )
    for split in SPLITS
  }


def _jpeg(archive, path, shape, classes):
  """All files of a split end to end; file i is from offset[i] to [i + 1]."""
  splits = {}
  for split in SPLITS:
    stream = archive[f"{split}_jpeg"].tobytes()
    offset = archive[f"{split}_offset"]
    x = np.empty((max(len(offset) - 1, 0), *shape), np.uint8)
    for i in range(len(x)):
      source = stream[offset[i] : offset[i + 1]]
      x[i] = _decoded(source, shape, f"{path}: {split}_jpeg, image {i}")
    label = archive[f"{split}_label"]
    splits[split] = _checked(split, x, label, path, shape, classes)
  return splits


# Image files.


def _folders(root, shape, classes):
  splits = {}
  for split in SPLITS:
    paths, label = [], []
    for parent in folder.folders(root / split):
      number = class_number(parent.name, classes)
      if number is None:
        raise InputError(
          f"{parent} is not a class; expected folders {', '.join(classes)}"
        )
      found = folder.images(parent)
      paths += found
      label += [number] * len(found)
    x = np.empty((len(paths), *shape), np.uint8)
    for i, path in enumerate(paths):
      x[i] = _decoded(path, shape, path)
    names = [path.relative_to(root).as_posix() for path in paths]
    label = np.array(label, np.int64)
    where = root / split
    splits[split] = _checked(split, x, label, where, shape, classes, names)
  return splits


def _decoded(source, shape, name):
  """An image file, given by path or content, as uint8 of `shape`."""
  try:
    x = Preprocess(shape[:2]).eight_bits(decode(source))
  except InputError as error:
    reason = str(error).removeprefix(f"{name}: ")
    raise InputError(f"{name}: {reason}; replace it") from None
  if x.shape[:2] != shape[:2]:
    raise InputError(
      f"{name} is of {x.shape[0]} x {x.shape[1]} pixels; expected the "
      f"published {shape[0]} x {shape[1]}, or use name=folder for others"
    )
  if shape[2] == 1 and (x != x[..., :1]).any():
    raise InputError(f"{name} is in colour; expected grey, as published")
  return x[..., : shape[2]]


# What all layouts share.


def _checked(split, x, label, where, shape, classes, names=()):
  """The `Split` of images and labels that fit together."""
  if x.ndim == 3:
    x = x[..., None]
  if x.dtype != np.uint8 or x.shape[1:] != shape:
    raise InputError(
      f"{where}: the {split} images are {x.dtype} {list(x.shape)}; expected "
      f"uint8 [N, {', '.join(map(str, shape))}]"
    )
  # Keras has [N, 1] for CIFAR-10.
  label = label.reshape(-1)
  if len(label) != len(x):
    raise InputError(
      f"{where}: {len(x)} {split} images, but {len(label)} labels; expected as "
      "many: get them again"
    )
  if label.dtype.kind not in "iu":
    raise InputError(
      f"{where}: the {split} labels are {label.dtype}; expected integers"
    )
  label = label.astype(np.int64)
  wrong = label[(label < 0) | (label >= len(classes))]
  if len(wrong):
    raise InputError(
      f"{where}: {wrong[0]} among the {split} labels; expected 0 to "
      f"{len(classes) - 1}"
    )
  count = np.bincount(label, minlength=len(classes))
  if not count.all():
    missing = int(count.argmin())
    name = "" if classes[missing] == str(missing) else f" ({classes[missing]})"
    raise InputError(
      f"{where}: no {split} image of class {missing}{name}; expected some of "
      "every class"
    )
  names = names or ids(split, len(x))
  return Split(x, label, tuple(names))
