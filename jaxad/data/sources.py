# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The data sets that `load` knows.

To add one, write a function from a `Request` to a `Dataset` and name it in
`SOURCES`.
"""

import contextlib
import dataclasses
import functools
import os
import pathlib
import sys
from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np

from jaxad.data import (
  _tf,
  dra_sets,
  folder,
  images,
  magnetic_tile,
  manifest,
  one_class,
  open_set,
  scenes,
  tables,
  textures,
  transductive,
)
from jaxad.data.examples import Dataset
from jaxad.errors import InputError, one_of
from jaxad.fields import Count, CountOrZero, Range, checked
from jaxad.preprocess import Fit, Overlap, Preprocess, Rule, Side

MaskThreshold = Annotated[float, Range(0, 65535, below=True)]


@dataclasses.dataclass(frozen=True)
class Request:
  """The checked arguments of `load`, with the same names."""

  subset: str | None
  root: pathlib.Path | None
  protocol: str
  preprocess: Preprocess
  channels: int | None
  seed: int
  unreadable: str
  mask_threshold: float | None
  test_fraction: float
  normal: str | tuple[str, ...] | None
  n_train: int
  n_test_good: int
  n_test_defect: int
  table: tables.TableOptions
  scene: scenes.SceneOptions


@checked
def load(
  name: str,
  *,
  subset: str | None = None,
  root: str | os.PathLike | None = None,
  protocol: Literal[one_class.Protocol, transductive.Protocol] = "one_vs_rest",
  image_size: Side | tuple[Side, Side] = 256,
  channels: Literal[1, 3] | None = None,
  fit: Fit = "squash",
  tile: Count | None = None,
  overlap: Overlap = 0.25,
  tile_rule: Rule = "max",
  levels: tuple[float, float] | None = None,
  mask_threshold: MaskThreshold | None = None,
  seed: open_set.Seed = 0,
  unreadable: Literal["error", "skip"] = "error",
  test_fraction: Annotated[float, Range(0, 0.99, above=True)] = 0.2,
  normal: str | tuple[str, ...] | None = None,
  n_train: Count = 120,
  n_test_good: CountOrZero = 40,
  n_test_defect: CountOrZero = 80,
  setting: open_set.Setting = "general",
  known_class: str | None = None,
  n_anomalies: CountOrZero = 0,
  pool: CountOrZero | None = None,
  contamination: open_set.Contamination = 0.0,
  split_seed: open_set.Seed = 42,
  outlier_root: str | os.PathLike | None = None,
  table: tables.TableOptions = tables.TableOptions(),
  scene: scenes.SceneOptions = scenes.SceneOptions(),
) -> Dataset:
  """Reads a data set, decoded, as uint8: into memory, or a file of the cache.

  Every process of a run loads all of it, and puts its part of each batch on its
  own devices.

  Args:
    name: of images: "folder", one's own; "textures" and "digits", embedded;
      "mnist", "fashion_mnist", "cifar10", "mvtec_ad", "magnetic_tile", "aitex",
      "kolektor_sdd", "elpv", "dagm", "mastcam", "brain_mri", "head_ct",
      "hyper_kvasir", published. Of rows: "table", a file; "breast_cancer" and
      "wine", embedded. And "scene", a hyperspectral one.
    subset: the surface of textures ("metal" if None, or "all"), the category
      of mvtec_ad, a folder below the root of folder, the number or name of a
      class of digits, mnist, fashion_mnist and cifar10, or the normal kind of
      wine.
    root: where the images are; not used by textures, digits and embedded
      tables. Without it, mnist, fashion_mnist and cifar10 are downloaded once.
      Of folder also a list of images, see `jaxad.data.manifest`; of table the
      file, see `jaxad.data.table_files`; of scene likewise, see
      `jaxad.data.scene_files`, and without it one is rendered.
    protocol: of digits, mnist, fashion_mnist and cifar10: whether the class of
      the subset is normal ("one_vs_rest") or anomalous ("leave_one_out"), and
      whether the split is the published one or 80 to 20. Or of any set
      "contaminated" or "contaminated_test": what is tested is trained on,
      unlabelled, with a share of anomalies in it, `contamination`.
    image_size: of what the detector sees, in pixels: the side of a square, or
      height and width.
    channels: 1 (grey) or 3 (RGB); None is as published for digits, mnist,
      fashion_mnist (1) and cifar10 (3), and else 3.
    fit: how an image of another aspect gets this size: "squash" (the aspect is
      not kept, as in papers), "pad" (with black) or "crop" (the middle).
    tile: side in pixels of the squares that each image is cut into, for defects
      that are small in it; None takes images whole.
    overlap: the share of a tile that it has in common with the next, at least.
    tile_rule: of an image's score, from those of its tiles.
    levels: the values that become black and white in images of more than 8 bits
      a channel; None finds them, for all images of the set at once.
    mask_threshold: what a mask's value must exceed to be a defect; None is 0,
      and 127 for masks in JPEG or WebP and those of the published sets.
    seed: of the data alone: the textures, the rendered scene, which good images
      a folder without a test holds out, and the protocol leave_one_out_80_20.
      The seed of a run changes no split.
    unreadable: "error", or "skip" to go on without unreadable images. A file
      of digits, mnist, fashion_mnist or cifar10 is always an error.
    test_fraction: share of the good images that are held out of a folder or
      list without a test, or of the rows of a table.
    normal: the names of the folders of normal images, or the labels of normal
      rows, with commas between them, or as a tuple; None for the usual words,
      as good, ok and normal.
    n_train: textures only: normal images to train on.
    n_test_good: textures only: normal images of the test.
    n_test_defect: textures only: images of the test with a defect.
    setting: which kinds of anomaly may be labelled: all ("general"); one, the
      rest of which leaves the test ("hard"); or some, the rest of which is
      tested with the others ("open"). See `open_set.Rule`.
    known_class: the kinds that may be, in the settings "hard" and "open".
    n_anomalies: how many anomalies are drawn from the test into training.
    pool: how many leave the test; None for those that are trained on.
    contamination: share of anomalies among the normal training images. In a
      transductive protocol the anomalies for each normal example.
    split_seed: of these draws; not `seed`, so that runs of several seeds learn
      from the same anomalies.
    outlier_root: a folder of other normal images that stand in for anomalies
      in training; a category that is named like the subset is left out.
    table: how tables are read; they have none of what is said of images above.
    scene: how scenes are read; likewise.

  Raises:
    InputError: an argument, the folder or an image is wrong; the message says
      what was expected.
  """
  one_of("name", name, SOURCES)
  mixing = protocol in transductive.PROTOCOLS
  request = Request(
    subset=subset or None,
    root=pathlib.Path(root).expanduser() if root else None,
    protocol="one_vs_rest" if mixing else protocol,
    preprocess=Preprocess(
      size=size_of(image_size),
      channels=channels or 3,
      fit=fit,
      levels=levels,
      tile=tile,
      overlap=overlap,
      rule=tile_rule,
    ),
    channels=channels,
    seed=seed,
    unreadable=unreadable,
    mask_threshold=mask_threshold,
    test_fraction=test_fraction,
    normal=normal,
    n_train=n_train,
    n_test_good=n_test_good,
    n_test_defect=n_test_defect,
    table=table,
    scene=scene,
  )
  rule = open_set.Rule(
    setting=setting,
    known_class=known_class or None,
    n_anomalies=n_anomalies,
    pool=pool,
    contamination=0.0 if mixing else contamination,
    split_seed=split_seed,
  )
  if mixing and not rule.is_idle:
    raise InputError(
      f"protocol={protocol}: what is trained on is what is tested, so no "
      "anomaly is moved; leave n_anomalies, pool and setting out.",
      "protocol",
    )
  if mixing and name in tables.NAMES:
    # Which are decided by the rows that are labelled normal.
    for field, usual in (("constant", ("keep",)), ("text", ("error", "drop"))):
      if getattr(request.table, field) not in usual:
        raise InputError(
          f"table.{field}={getattr(request.table, field)}: it goes by the "
          f"labels, which protocol={protocol} hides; take {usual[-1]}.",
          f"table.{field}",
        )
  outliers = _outliers(outlier_root, request)
  dataset = rule.apply(SOURCES[name](request))
  if mixing:
    dataset = transductive.mixed(dataset, protocol, contamination)
  return dataclasses.replace(dataset, outliers=outliers)


def size_of(image_size) -> tuple[int, int]:
  """(H, W) of `image_size`, one number or two."""
  if isinstance(image_size, tuple):
    if len(image_size) != 2:
      raise InputError(
        f"image_size={image_size}: expected one number, or height and width, "
        "such as 256,192.",
        "image_size",
      )
    return int(image_size[0]), int(image_size[1])
  return int(image_size), int(image_size)


def _textures(request):
  subset = request.subset or textures.SUBSETS[0]
  _check_subset("textures", subset, textures.SUBSETS)
  _check_no_tiles("textures", request)
  side = max(request.preprocess.size)
  if side < textures.MIN_SIZE:
    raise InputError(
      f"image_size={side}: expected {textures.MIN_SIZE} or more, below which "
      "textures have no threads",
      "image_size",
    )
  builders = _builders()
  values = {
    "size": side,
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
  items = sorted(found.items, key=lambda item: (item.split, item.id))
  return _read(lambda: items, request)


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
  return _published(items, request)


def _magnetic_tile(request):
  _check_no_subset("magnetic_tile", request)
  root = _root(request, "the folder that holds MT_Free, MT_Blowhole, ...")
  items = magnetic_tile.scan(root)
  builders = _builders()
  facts = builders.describe(root, items)
  items = builders.records(builders.MagneticTile, facts, root=root)
  return _published(items, request)


def _dra_set(name, request):
  _check_no_subset(name, request)
  root = _root(request, dra_sets.SETS[name].expected)
  items = dra_sets.scan(name, root)
  builders = _builders()
  facts = {"name": name, **dra_sets.facts(root, items)}
  items = builders.records(builders.DraSet, facts, name, root)
  return _published(items, request)


def _one_class(name, request):
  _check_no_tiles(name, request)
  return one_class.load(
    name,
    subset=request.subset,
    protocol=request.protocol,
    root=request.root,
    preprocess=request.preprocess,
    channels=request.channels,
    seed=request.seed,
  )


def _table(request):
  root = _root(request, "a table (.csv, .mat, .npz, .parquet)", or_file=True)
  if not root.is_file():
    raise InputError(f"root={root}: a folder; expected a table", "root")
  with _named_root(root):
    return tables.load_file(
      root, request.normal, request.test_fraction, request.seed, request.table
    )


def _scene(request):
  _check_no_subset("scene", request)
  _check_no_tiles("scene", request)
  if request.root is None:
    return scenes.load_rendered(request.seed, request.scene)
  said = "a scene (.mat, .npz, .npy, or ENVI with its .hdr)"
  root = _root(request, said, or_file=True)
  if not root.is_file():
    raise InputError(f"root={root}: a folder; expected {said}", "root")
  with _named_root(root):
    return scenes.load_file(root, request.scene)


def _embedded_table(name, request):
  return tables.load_embedded(
    name, request.subset, request.test_fraction, request.seed, request.table
  )


@contextlib.contextmanager
def _named_root(root):
  """Puts the file before an error that names none of its own."""
  try:
    yield
  except InputError as error:
    if error.argument is not None:
      raise
    text = str(error).removeprefix(f"{root}: ")
    raise InputError(f"root={root}: {text}", "root") from error


SOURCES: dict[str, Callable[[Request], Dataset]] = {
  "textures": _textures,
  "folder": _folder,
  "mvtec_ad": _mvtec_ad,
  "magnetic_tile": _magnetic_tile,
  **{name: functools.partial(_dra_set, name) for name in dra_sets.SETS},
  **{name: functools.partial(_one_class, name) for name in one_class.SETS},
  "scene": _scene,
  "table": _table,
  **{
    name: functools.partial(_embedded_table, name) for name in tables.EMBEDDED
  },
}


def _outliers(root, request):
  """Images of another data set, with the label 2; None without a root."""
  if not root:
    return None
  items = folder.scan_outliers(
    pathlib.Path(root).expanduser(), skip=request.subset
  )
  found = _read(lambda: items, request).train
  return dataclasses.replace(
    found,
    label=np.full(len(found.id), 2, np.int32),
    kind=("outlier",) * len(found.id),
  )


def _read(items, request, mask_threshold=None):
  reading = images.Reading(
    request.preprocess,
    request.unreadable,
    mask_threshold
    if request.mask_threshold is None
    else request.mask_threshold,
  )
  return images.read(items, reading)


def _published(items, request):
  """Their masks were drawn in white; what is darker is blur."""
  return _read(items, request, mask_threshold=127)


def _check_no_tiles(name, request):
  if request.preprocess.tile is not None:
    raise InputError(
      f"tile={request.preprocess.tile}: it cuts up large images, which {name} "
      "has none of; leave it out",
      "tile",
    )


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
