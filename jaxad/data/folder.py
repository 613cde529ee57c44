# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Folders of images, in the MVTec AD layout or a plain one.

MVTec layout:                       plain layout:

    train/good/**                       good/**
    train/<defect>/**                   <any other name>/**
    test/good/**
    test/<defect>/**

Images lie in these folders or in folders below them, or, where there are good
ones alone, directly in train/ or the root. `jaxad.data.names` has the words
that are understood, such as OK for good. `train/<defect>` holds labelled
anomalies for methods that learn from some. Where no folder is the test, part of
the good images is held out for it. Masks, of test images alone, lie in a folder
`ground_truth` or `masks` anywhere, or beside their images, see
`jaxad.data.masks`.

The files are read where they are: a prepared copy would go stale as soon as the
user adds an image, and needs the disk space twice.
"""

import collections
import dataclasses
import pathlib

from jaxad.data import masks as matching
from jaxad.data import names
from jaxad.data.decode import SUFFIXES
from jaxad.data.examples import Item
from jaxad.data.found import Found, held_out, lacking, listed
from jaxad.data.layout import folders, identify, images, read_layout
from jaxad.errors import InputError

MVTEC_CATEGORIES = (
  "bottle",
  "cable",
  "capsule",
  "carpet",
  "grid",
  "hazelnut",
  "leather",
  "metal_nut",
  "pill",
  "screw",
  "tile",
  "toothbrush",
  "transistor",
  "wood",
  "zipper",
)

LAYOUTS = (
  "expected train/good/, test/good/ and test/<defect>/, or good/ and "
  "<defect>/, with images in them (" + " ".join(SUFFIXES) + ")"
)


def scan(
  root: pathlib.Path,
  *,
  seed: int = 0,
  test_fraction: float = 0.2,
  normal: str | tuple[str, ...] | None = None,
) -> Found:
  """Finds the images of a folder in either layout, without reading them.

  Of masks only those of normal images are read: they must be empty.

  Args:
    root: the folder.
    seed: draws the good images held out, where no folder is the test. An image
      that is added or removed moves at most one other between the splits.
    test_fraction: which share of the good images is held out, above 0 and
      below 1; at least one image is, and at least one is left to train on.
    normal: the names of the folders of normal images, in place of the words in
      `names.NORMAL`; several with commas between them, or as a tuple.

  Raises:
    InputError: no images, no good images, folders that cannot be understood, a
      defect without its mask where another has one, or a normal image with a
      mask that marks something.
  """
  layout = read_layout(root)
  words = names.Normal.of(normal)
  images, notes = _labelled(layout, words)
  if not layout.tested:
    good = [file.id for file in images if file.kind == "good"]
    held = held_out(root, good, seed, test_fraction)
    images = [_divided(file, held) for file in images]
    notes.append(
      f"no folder is the test: {len(held)} of {len(good)} normal images are "
      "held out for it, see test_fraction"
    )
  images.sort(key=lambda file: (file.split, file.id))
  mask_of, unused = matching.attach(
    _with_kinds(layout.masks, _kinds(images, words), ""), images
  )
  items = [
    Item(file.split, file.id, file.kind, file.path, mask_of.get(file))
    for file in images
  ]
  where = collections.defaultdict(dict)
  for file in images:
    where[file.split, file.kind][_kind_folder(file)] = None
  return Found(
    root,
    tuple(items),
    where,
    {**layout.skipped, **unused},
    (*notes, *lacking(items)),
  )


def scan_mvtec(root: pathlib.Path) -> list[Item]:
  """Finds the images of one MVTec AD category, without reading them.

  Raises:
    InputError: no folder train/ or test/, or as `scan`.
  """
  for split in ("train", "test"):
    if not (root / split).is_dir():
      raise InputError(f"no images in {root / split}; {LAYOUTS}")
  return list(scan(root).items)


def scan_outliers(root: pathlib.Path, skip: str | None) -> list[Item]:
  """Finds images of another data set that stand in for anomalies.

  They are the normal ones, `train/good/`, else `good/`, else `train/good/` of
  every category below the root, else the images in the root itself.

  Args:
    root: the folder.
    skip: a category to leave out, because it is the one trained on.

  Raises:
    InputError: no such folder, or no images.
  """
  if not root.is_dir():
    raise InputError(
      f"outlier_root={root}: no such folder; expected a folder of images",
      "outlier_root",
    )
  paths = _normal_images(root)
  if not paths:
    for category in folders(root):
      if category.name != skip and read_layout(category).divided:
        paths += _normal_images(category)
  paths = paths or images(root)
  if not paths:
    raise InputError(
      f"outlier_root={root}: no images; expected them there, in good/, in "
      "train/good/, or in <category>/train/good/",
      "outlier_root",
    )
  return [Item("train", identify(path, root), "good", path) for path in paths]


def _labelled(layout, words):
  """The images with their kinds, and what is to be said of these.

  Raises:
    InputError: a split has no images, or their kinds are not clear.
  """
  has_kinds = {file.split for file in layout.images if file.place}
  images = []
  for file in layout.images:
    if file.place or file.split not in has_kinds:
      images.append(file)
    else:
      stray = layout.skipped["beside the folders of kinds"]
      stray.append(file.id)
  there = dict.fromkeys(file.place[0] for file in images if file.place)
  words.check(there)
  kinds = _kinds(images, words)
  images = _with_kinds(images, kinds, "good")
  _check_kinds(layout, images, words)
  notes = []
  for folded, kind in kinds.items():
    spelt = [name for name in there if name.casefold() == folded]
    if kind != "good" and len(spelt) > 1:
      notes.append(f"{' and '.join(spelt)} are one kind, {kind}")
  if layout.empty:
    notes.append(f"no images in {listed(layout.empty)}")
  return images, notes


def _kinds(images, words):
  """{name of a folder, without case: its kind}; the first spelling counts."""
  kinds = {}
  for file in images:
    if file.place:
      name = file.place[0]
      kind = "good" if words.holds(name) else name
      kinds.setdefault(name.casefold(), kind)
  return kinds


def _with_kinds(files, kinds, otherwise):
  """The files with the kinds of their places, or another in no such folder."""
  name = lambda file: file.place[0].casefold() if file.place else None
  return [
    dataclasses.replace(file, kind=kinds.get(name(file), otherwise))
    for file in files
  ]


def _check_kinds(layout, images, words):
  """Whether what was found can be trained and tested on.

  Raises:
    InputError: it cannot.
  """
  root = layout.root
  _check_twins(root, images)
  if not images:
    taken = ""
    if layout.masks:
      first = layout.masks[0].id
      taken = f" but {len(layout.masks)} taken for masks, such as {first}"
    raise InputError(f"root={root}: no images{taken}; {LAYOUTS}", "root")
  for file in images:
    _check_below(layout, file, words)
  learnt = [file for file in images if file.split != "test"]
  if not any(file.kind == "good" for file in learnt):
    there = listed(dict.fromkeys(map(_kind_folder, learnt)), 10)
    raise InputError(
      f"root={root}: no normal images to train on"
      + (f", but {there}; name the normal one with normal" if there else "")
      + f"; {LAYOUTS}",
      "root",
    )
  tested = [file for file in images if file.split == "test"]
  if layout.tested and not tested:
    raise InputError(
      f"root={root}: no images in the folders of {root / 'test'}; {LAYOUTS}",
      "root",
    )
  if any(not file.place for file in tested):
    raise InputError(
      f"root={root}: nothing says whether {tested[0].id} is normal; put the "
      "images of the test into test/good/ and test/<defect>/",
      "root",
    )


def _check_twins(root, images):
  """Whether no two images of a folder share a name: one could be a mask.

  Raises:
    InputError: two do.
  """
  seen = {}
  for file in images:
    twin = seen.setdefault((file.path.parent, file.stem), file)
    if twin is not file:
      raise InputError(
        f"root={root}: {twin.id} and {file.path.name} share a name; is one the "
        f"mask of the other, call it {file.stem}_mask.png, or put it into "
        "a folder masks/; are both images, rename one",
        "root",
      )


def _check_below(layout, file, words):
  """Whether no folder below that of a kind says something else.

  Raises:
    InputError: one does.
  """
  for name in file.place[1:]:
    kind = file.place[0]
    if not layout.divided and names.split_of(name):
      raise InputError(
        f"root={layout.root}: {file.id} lies in {name}/ below {kind}/; put "
        "train/ and test/ above the kinds, or, where that is a data set of its "
        f"own, give it as root, or as subset={kind}",
        "root",
      )
    if file.kind != "good" and words.holds(name):
      raise InputError(
        f"root={layout.root}: {file.id} lies in {name}/ below {kind}/, which "
        "would be a kind of defect; put the folders of normal images and of "
        "defects beside each other",
        "root",
      )


def _kind_folder(file):
  """Name of the folder that says the kind, such as train/good."""
  folder, *below = file.id.rsplit("/", max(len(file.place), 1))
  return folder if below else "."


def _divided(file, held):
  """With a split, where the folders say none: defects are for the test."""
  tested = file.id in held or not (file.split or file.kind == "good")
  return dataclasses.replace(file, split="test" if tested else "train")


def _normal_images(root):
  """The normal images to train on, in the folders for them."""
  layout, words = read_layout(root), names.Normal()
  return [
    file.path
    for file in layout.images
    if file.split != "test" and file.place and words.holds(file.place[0])
  ]
