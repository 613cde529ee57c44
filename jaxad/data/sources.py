# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The data sets that `load` knows.

To add one, write a function from a `Request` to a `Dataset` and name it in
`SOURCES`.
"""

import dataclasses
import functools
import os
import pathlib
import sys
from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
from PIL import Image

from jaxad.data import (
  _tf,
  dra_sets,
  folder,
  images,
  magnetic_tile,
  manifest,
  one_class,
  open_set,
  textures,
)
from jaxad.data.examples import Dataset
from jaxad.errors import InputError, one_of
from jaxad.fields import Count, CountOrZero, Range, checked


@dataclasses.dataclass(frozen=True)
class Request:
  """The checked arguments of `load`, with the same names."""

  subset: str | None
  root: pathlib.Path | None
  protocol: str
  image_size: int
  seed: int
  unreadable: str
  test_fraction: float
  normal: str | tuple[str, ...] | None
  n_train: int
  n_test_good: int
  n_test_defect: int


@checked
def load(
  name: str,
  *,
  subset: str | None = None,
  root: str | os.PathLike | None = None,
  protocol: Literal[tuple(one_class.PROTOCOLS)] = "one_vs_rest",
  image_size: images.Side | tuple[images.Side, images.Side] = 256,
  channels: Literal[1, 3] | None = None,
  seed: open_set.Seed = 0,
  unreadable: Literal["error", "skip"] = "error",
  test_fraction: Annotated[float, Range(0, 0.99, above=True)] = 0.2,
  normal: str | tuple[str, ...] | None = None,
  n_train: Count = 120,
  n_test_good: CountOrZero = 40,
  n_test_defect: CountOrZero = 80,
  setting: Literal[open_set.SETTINGS] = "general",
  known_class: str | None = None,
  n_anomalies: CountOrZero = 0,
  pool: CountOrZero | None = None,
  contamination: open_set.Contamination = 0.0,
  split_seed: open_set.Seed = 42,
  outlier_root: str | os.PathLike | None = None,
) -> Dataset:
  """Reads a whole data set into memory, decoded, as uint8.

  Every process of a run loads all of it, and puts its part of each batch on its
  own devices.

  Args:
    name: one of `SOURCES`: "textures", "folder", "mvtec_ad", "magnetic_tile",
      one of `dra_sets.SETS`: "aitex", "kolektor_sdd", "elpv", "dagm",
      "mastcam", "brain_mri", "head_ct", "hyper_kvasir", or one of
      `one_class.SETS`: "digits", "mnist", "fashion_mnist", "cifar10".
    subset: the surface of textures ("metal" if None, or "all"), the category
      of mvtec_ad, a folder below the root of folder, or the number or name of
      a class of digits, mnist, fashion_mnist and cifar10.
    root: where the images are; not used by textures and digits. Without it,
      mnist, fashion_mnist and cifar10 are downloaded once. Of folder also a
      list of images, see `jaxad.data.manifest`.
    protocol: who is normal, trained on and tested in digits, mnist,
      fashion_mnist and cifar10: one of `one_class.PROTOCOLS`; else not used.
    image_size: side of the images in pixels, or two equal ones.
    channels: 1 (grey) or 3 (RGB); None is as published for digits, mnist,
      fashion_mnist (1) and cifar10 (3), and else 3.
    seed: of the data alone: the textures, which good images a folder without a
      test holds out, and the protocol leave_one_out_80_20. The seed of a run
      changes no split.
    unreadable: "error", or "skip" to go on without unreadable images. A file
      of digits, mnist, fashion_mnist or cifar10 is always an error.
    test_fraction: share of the good images that are held out of a folder or
      list without a test.
    normal: folder only: the names of the folders of normal images, with commas
      between them, or as a tuple; None for the usual words, as good, ok and
      normal.
    n_train: textures only: normal images to train on.
    n_test_good: textures only: normal images of the test.
    n_test_defect: textures only: images of the test with a defect.
    setting: which kinds of anomaly may be labelled: one of
      `open_set.SETTINGS`; see `open_set.Rule` for this and what follows.
    known_class: the kinds that may be, in the settings "hard" and "open".
    n_anomalies: how many anomalies are drawn from the test into training.
    pool: how many leave the test; None for those that are trained on.
    contamination: share of anomalies among the normal training images.
    split_seed: of these draws; not `seed`, so that runs of several seeds learn
      from the same anomalies.
    outlier_root: a folder of other normal images, see `folder.scan_outliers`,
      that stand in for anomalies in training; a category that is named like
      the subset is left out.

  Raises:
    InputError: an argument, the folder or an image is wrong; the message says
      what was expected.
  """
  one_of("name", name, SOURCES)
  request = Request(
    subset=subset or None,
    root=pathlib.Path(root).expanduser() if root else None,
    protocol=protocol,
    image_size=images.side(image_size),
    seed=seed,
    unreadable=unreadable,
    test_fraction=test_fraction,
    normal=normal,
    n_train=n_train,
    n_test_good=n_test_good,
    n_test_defect=n_test_defect,
  )
  rule = open_set.Rule(
    setting=setting,
    known_class=known_class or None,
    n_anomalies=n_anomalies,
    pool=pool,
    contamination=contamination,
    split_seed=split_seed,
  )
  outliers = _outliers(outlier_root, request)
  dataset = rule.apply(SOURCES[name](request))
  channels = channels or dataset.train.x.shape[-1]
  if outliers is not None:
    outliers = _with_channels(outliers, channels)
  return Dataset(*(_with_channels(s, channels) for s in dataset), outliers)


def _textures(request):
  subset = request.subset or textures.SUBSETS[0]
  _check_subset("textures", subset, textures.SUBSETS)
  if request.image_size < textures.MIN_SIZE:
    raise InputError(
      f"image_size={request.image_size}: expected {textures.MIN_SIZE} or more, "
      "below which textures have no threads",
      "image_size",
    )
  # Rendering takes a while.
  count = request.n_train + request.n_test_good + request.n_test_defect
  images.check_memory(count, request.image_size)
  builders = _builders()
  values = {
    "size": request.image_size,
    "seed": request.seed,
    "n_train": request.n_train,
    "n_test_good": request.n_test_good,
    "n_test_defect": request.n_test_defect,
  }
  facts = {"subset": subset, "renderer": textures.VERSION, **values}
  config = builders.TexturesConfig(name=subset, **values)
  items = builders.records(builders.Textures, facts, config)
  return _read(items, request)


def _folder(request):
  root = _root(request, "a folder of images", or_file=True)
  if request.subset is not None:
    root = root / request.subset
    if not root.is_dir():
      raise InputError(
        f"subset={request.subset!r}: no such folder in {request.root}; "
        "expected the name of a folder in the root",
        "subset",
      )
  scan = manifest.scan if root.is_file() else folder.scan
  found = scan(
    root,
    seed=request.seed,
    test_fraction=request.test_fraction,
    normal=request.normal,
  )
  print(*found.lines, sep="\n", file=sys.stderr)
  return _read(list(found.items), request)


def _mvtec_ad(request):
  _check_subset("mvtec_ad", request.subset, folder.MVTEC_CATEGORIES)
  root = _root(request, "the folder that holds the categories of MVTec AD")
  if not (root / request.subset).is_dir():
    raise InputError(
      f"root={root}: no folder {request.subset} in it; expected the root of "
      f"MVTec AD, with {request.subset}/train/good/ and {request.subset}/test/",
      "root",
    )
  items = folder.scan_mvtec(root / request.subset)
  builders = _builders()
  facts = {"subset": request.subset, **builders.describe(root, items)}
  items = builders.records(builders.MvtecAd, facts, request.subset, root)
  return _read(items, request)


def _magnetic_tile(request):
  _check_no_subset("magnetic_tile", request)
  root = _root(request, "the folder that holds MT_Free, MT_Blowhole, ...")
  items = magnetic_tile.scan(root)
  builders = _builders()
  facts = builders.describe(root, items)
  items = builders.records(builders.MagneticTile, facts, root=root)
  return _read(items, request)


def _dra_set(name, request):
  _check_no_subset(name, request)
  root = _root(request, dra_sets.SETS[name].expected)
  items = dra_sets.scan(name, root)
  builders = _builders()
  facts = {"name": name, **dra_sets.facts(root, items)}
  items = builders.records(builders.DraSet, facts, name, root)
  return _read(items, request)


def _one_class(name, request):
  return one_class.load(
    name,
    subset=request.subset,
    protocol=request.protocol,
    root=request.root,
    image_size=request.image_size,
    seed=request.seed,
  )


SOURCES: dict[str, Callable[[Request], Dataset]] = {
  "textures": _textures,
  "folder": _folder,
  "mvtec_ad": _mvtec_ad,
  "magnetic_tile": _magnetic_tile,
  **{name: functools.partial(_dra_set, name) for name in dra_sets.SETS},
  **{name: functools.partial(_one_class, name) for name in one_class.SETS},
}


def _outliers(root, request):
  """Images of another data set, with the label 2; None without a root."""
  if not root:
    return None
  items = folder.scan_outliers(
    pathlib.Path(root).expanduser(), skip=request.subset
  )
  found = _read(items, request).train
  return dataclasses.replace(
    found,
    label=np.full(len(found.id), 2, np.int32),
    kind=("outlier",) * len(found.id),
  )


def _read(items, request):
  return images.read(items, request.image_size, request.unreadable)


def _with_channels(examples, channels):
  """The examples with 1 channel, the luma of three, or 3, copies of one."""
  x = examples.x
  if x.shape[-1] == channels:
    return examples
  if channels == 3:
    return dataclasses.replace(examples, x=np.repeat(x, 3, axis=-1))
  grey = np.empty((*x.shape[:-1], 1), np.uint8)
  for source, target in zip(x, grey, strict=True):
    target[..., 0] = Image.fromarray(source).convert("L")
  return dataclasses.replace(examples, x=grey)


def _builders():
  """The module of the TFDS builders, imported late: it needs TensorFlow."""
  _tf.tensorflow()
  from jaxad.data import builders

  return builders


def _root(request, expected, or_file=False):
  if request.root is None:
    raise InputError(f"root=None: expected {expected}", "root")
  if not (request.root.is_dir() or or_file and request.root.is_file()):
    raise InputError(
      f"root={request.root}: no such folder; expected {expected}", "root"
    )
  return request.root


def _check_no_subset(name, request):
  if request.subset is not None:
    raise InputError(
      f"subset={request.subset!r}: {name} has no subsets; leave it out",
      "subset",
    )


def _check_subset(name, subset, known):
  if subset not in known:
    raise InputError(
      f"subset={subset!r}: name a category of {name}, as {name}/{known[0]}; "
      f"there are {', '.join(known)}",
      "subset",
    )
