# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Labelled sets as data for anomaly detection: one class against the rest.

A protocol says who is normal and who is tested; papers differ in it, and their
figures cannot be compared across protocols.
"""

import dataclasses
import pathlib
import sys
from collections.abc import Callable
from typing import Literal

import numpy as np

from jaxad.cache import cache_dir
from jaxad.data import _tf, images, labelled
from jaxad.data.examples import Dataset, Examples
from jaxad.data.labelled import Split
from jaxad.errors import InputError
from jaxad.preprocess import Preprocess

_IDX = (
  "train-images-idx3-ubyte.gz",
  "train-labels-idx1-ubyte.gz",
  "t10k-images-idx3-ubyte.gz",
  "t10k-labels-idx1-ubyte.gz",
)

_TIMEOUT = 30  # seconds to wait for a server


@dataclasses.dataclass(frozen=True)
class Published:
  """A labelled set as it was published.

  Attributes:
    shape: (H, W, C) of an image.
    classes: names of the classes, by number.
    folder: where its files are published; None where nothing is downloaded.
    files: the names of its four idx files or of its archive there; TFDS has
      their checksums.
  """

  shape: tuple[int, int, int]
  classes: tuple[str, ...]
  folder: str | None = None
  files: tuple[str, ...] = _IDX


DIGITS = tuple(map(str, range(10)))

SETS = {
  # Alpaydin and Kaynak 1998, the test part of UCI's optdigits; scikit-learn
  # brings it along.
  "digits": Published((8, 8, 1), DIGITS),
  # LeCun et al., "Gradient-based learning applied to document recognition",
  # Proceedings of the IEEE 1998.
  "mnist": Published(
    (28, 28, 1), DIGITS, "https://storage.googleapis.com/cvdf-datasets/mnist"
  ),
  # Xiao, Rasul and Vollgraf, arXiv 1708.07747.
  "fashion_mnist": Published(
    (28, 28, 1),
    (
      "t_shirt_top",
      "trouser",
      "pullover",
      "dress",
      "coat",
      "sandal",
      "shirt",
      "sneaker",
      "bag",
      "ankle_boot",
    ),
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
  ),
  # Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
  "cifar10": Published(
    (32, 32, 3),
    (
      "airplane",
      "automobile",
      "bird",
      "cat",
      "deer",
      "dog",
      "frog",
      "horse",
      "ship",
      "truck",
    ),
    "https://www.cs.toronto.edu/~kriz",
    ("cifar-10-binary.tar.gz",),
  ),
}


# Protocols: from labels to the rows that are normal, trained on, and tested.
#
# Args:
#   label: int [N], the train split in its order and then the test split.
#   n_train: how many of them are the train split.
#   chosen: the number of the class that the subset names.
#   seed: of what is drawn.
#
# Returns:
#   (normal, train, test): bool [N], and int rows in any order.


def one_vs_rest(label, n_train, chosen, seed):
  """The class is normal: its train split, against the whole test split.

  Protocol 2 of OCGAN (Perera et al., CVPR 2019), and that of Deep SVDD (Ruff
  et al., ICML 2018).
  """
  del seed
  normal = label == chosen
  rows = np.arange(len(label))
  return normal, rows[normal & (rows < n_train)], rows[n_train:]


def one_vs_rest_80_20(label, n_train, chosen, seed):
  """The class is normal: 80 % of it to train, 20 % against as many others.

  Protocol 1 of OCGAN (Perera et al., CVPR 2019). The splits are pooled, and
  nothing is drawn: the first images of the class are trained on, and the first
  of each other class are tested, the same number of each.
  """
  del n_train, seed
  normal = label == chosen
  mine = np.flatnonzero(normal)
  cut = len(mine) * 4 // 5
  others = [other for other in np.unique(label) if other != chosen]
  share = max(1, round((len(mine) - cut) / len(others)))
  negatives = [np.flatnonzero(label == other)[:share] for other in others]
  return normal, mine[:cut], np.concatenate([mine[cut:], *negatives])


def leave_one_out(label, n_train, chosen, seed):
  """The class is anomalous: the others' splits, and all of it in the test.

  GANomaly's code without a seed (Akcay et al., ACCV 2018).
  """
  del seed
  normal = label != chosen
  rows = np.arange(len(label))
  in_train = normal & (rows < n_train)
  return normal, rows[in_train], rows[~in_train]


def leave_one_out_80_20(label, n_train, chosen, seed):
  """The class is anomalous: 80 % of the others, drawn from the seed, to train.

  GANomaly's paper, and its code with a seed (Akcay et al., ACCV 2018). The
  splits are pooled; the other 20 % and all of the class are tested.
  """
  del n_train
  normal = label != chosen
  order = np.flatnonzero(normal)
  # The generator of the official code.
  np.random.RandomState(seed).shuffle(order)
  cut = len(order) * 4 // 5
  test = np.concatenate([order[cut:], np.flatnonzero(~normal)])
  return normal, order[:cut], test


Protocol = Literal[
  "one_vs_rest",
  "one_vs_rest_80_20",
  "leave_one_out",
  "leave_one_out_80_20",
]

PROTOCOLS: dict[str, Callable] = {
  "one_vs_rest": one_vs_rest,
  "one_vs_rest_80_20": one_vs_rest_80_20,
  "leave_one_out": leave_one_out,
  "leave_one_out_80_20": leave_one_out_80_20,
}


def load(
  name: str,
  *,
  subset: str | None,
  protocol: str,
  root: pathlib.Path | None,
  preprocess: Preprocess,
  channels: int | None,
  seed: int,
) -> Dataset:
  """Reads a labelled set and divides it by a protocol.

  Args:
    name: one of `SETS`.
    subset: number or name of the class that is normal, or that is anomalous.
    protocol: one of `PROTOCOLS`.
    root: where the files are, see `labelled.read`; None downloads them once.
      Not used by digits.
    preprocess: what a detector sees of the images.
    channels: of that; None for the published ones.
    seed: of the protocol that draws.

  Returns:
    The data set. Its kinds are "good" and the names of the anomalous classes.

  Raises:
    InputError: an unknown class, no files, or wrong ones.
  """
  published = SETS[name]
  chosen = _chosen(name, subset, published.classes)
  if name == "digits":
    splits = _digits()
  elif root is None:
    splits = _downloaded(name, published)
  else:
    splits = labelled.read(root, published.shape, published.classes)
  train, test = splits["train"], splits["test"]
  pool = Split(
    x=np.concatenate([train.x, test.x]),
    label=np.concatenate([train.label, test.label]),
    id=train.id + test.id,
  )
  normal, *parts = PROTOCOLS[protocol](
    pool.label, len(train.label), chosen, seed
  )
  preprocess = dataclasses.replace(
    preprocess, channels=channels or pool.x.shape[-1]
  )
  return Dataset(
    *(
      _examples(pool, rows, normal, published.classes, preprocess)
      for rows in parts
    ),
    preprocess=preprocess,
  )


def _chosen(name, subset, classes):
  """The number of the class that the subset names."""
  number = labelled.class_number(subset or "", classes)
  if number is None:
    known = (
      " ".join(dict.fromkeys((str(i), c))) for i, c in enumerate(classes)
    )
    raise InputError(
      f"subset={subset!r}: name a class of {name}, as {name}/{classes[-1]}; "
      f"there are {', '.join(known)}",
      "subset",
    )
  return number


def _digits():
  """The 1797 scans that scikit-learn brings along, 0 to 16 made 0 to 255.

  They have no official split. The first two thirds are the train split here:
  the order follows the writers, so that most of those tested were not seen.
  """
  from sklearn.datasets import load_digits

  digits = load_digits()
  x = (digits.images.astype(np.int64) * 255 + 8) // 16
  x, label = x.astype(np.uint8)[..., None], digits.target
  cut = len(x) * 2 // 3
  return {
    "train": Split(x[:cut], label[:cut], labelled.ids("train", cut)),
    "test": Split(x[cut:], label[cut:], labelled.ids("test", len(x) - cut)),
  }


def _downloaded(name, published):
  """The published files, by TFDS, which keeps them in the cache.

  The files, and not the records that TFDS would make of them: those are
  shuffled, and the protocols need the published order.
  """
  _tf.tensorflow()
  import requests
  import tensorflow_datasets as tfds

  from jaxad.data import builders

  cache = cache_dir() / "downloads"
  complete = cache / name / "complete"
  urls = [f"{published.folder}/{file}" for file in published.files]
  try:
    if not complete.is_file():
      print(f"jaxad: downloading {name} to {cache}", file=sys.stderr)
      # TFDS would try for minutes where there is no network.
      with requests.get(urls[0], stream=True, timeout=_TIMEOUT) as response:
        response.raise_for_status()
    with builders.quiet():
      manager = tfds.download.DownloadManager(
        download_dir=cache, dataset_name=name, force_checksums_validation=True
      )
      paths = [pathlib.Path(p) for p in manager.download_and_extract(urls)]
    complete.touch()
  except Exception as error:  # TFDS and what it calls raise nearly anything.
    raise InputError(
      f"{name} cannot be downloaded ({' '.join(str(error).split())}); get "
      f"{', '.join(published.files)} from {published.folder} elsewhere and "
      "give the folder (of an archive, unpacked) as root"
    ) from error
  if len(paths) == 1:
    return labelled.read(paths[0], published.shape, published.classes)
  idx = {"train": paths[:2], "test": paths[2:]}
  return labelled.read_idx(idx, published.shape, published.classes)


def _examples(pool, rows, normal, classes, preprocess):
  """These rows, sorted by id, as examples."""
  rows = np.array(sorted(rows, key=pool.id.__getitem__))
  return Examples(
    x=_seen(pool.x, rows, preprocess),
    label=(~normal[rows]).astype(np.int32),
    id=tuple(pool.id[row] for row in rows),
    kind=tuple(
      "good" if normal[row] else classes[pool.label[row]] for row in rows
    ),
    mask=None,
  )


def _seen(x, rows, preprocess):
  """[N, h, w, c] uint8 to these rows as a detector sees them."""
  shape = (len(rows), *preprocess.size, preprocess.channels)
  if x.shape[1:] == shape[1:]:
    return x[rows]
  found = images.allocate({"x": shape})["x"]
  for k, row in enumerate(rows):
    found[k] = preprocess.views(x[row])[0][0]
  return found
