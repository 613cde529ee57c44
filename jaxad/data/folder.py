# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Folders of images, in the MVTec AD layout or a plain one.

MVTec layout:                       plain layout:

    train/good/*.png                    good/*.png
    train/<defect>/*.png                <any other name>/*.png
    test/good/*.png                     ground_truth/<name>/*_mask.png
    test/<defect>/*.png
    ground_truth/<defect>/*_mask.png

`ground_truth` is optional, and of test images alone. So is `train/<defect>`:
labelled anomalies for methods that learn from some. In the plain layout part of
the good images is held out for the test, and they may also lie directly in the
root where there is nothing else. Only directories count: stray files beside
them, hidden files and what is not an image are ignored.

The files are read where they are: a prepared copy would go stale as soon as the
user adds an image, and needs the disk space twice.
"""

import os
import pathlib
import zlib

from jaxad import seeding
from jaxad.data.decode import SUFFIXES, is_image
from jaxad.data.examples import Item
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
  root: pathlib.Path, *, seed: int = 0, test_fraction: float = 0.2
) -> list[Item]:
  """Finds the images of a folder in either layout, without reading them.

  Args:
    root: the folder.
    seed: draws the good images held out, in the plain layout. An image that is
      added or removed moves at most one other between the splits.
    test_fraction: which share of the good images is held out, above 0 and
      below 1; at least one image is, and at least one is left to train on.

  Raises:
    InputError: no such folder, no images, no good images, or a defect without
      its mask.
  """
  if (root / "train").is_dir() or (root / "test").is_dir():
    return scan_mvtec(root)
  good, bad = _plain(root)
  if len(good) < 2:
    raise InputError(
      f"root={root}: one good image; expected two or more, to train on and to "
      "hold out for the test",
      "root",
    )
  held_out = min(max(round(test_fraction * len(good)), 1), len(good) - 1)
  ranked = sorted(good, key=lambda path: _rank(_id(path, root), seed))
  items = [
    Item("test" if i < held_out else "train", _id(path, root), "good", path)
    for i, path in enumerate(ranked)
  ]
  return items + bad


def _rank(name, seed):
  """A number of the image itself: others do not reshuffle the split."""
  number = zlib.crc32(os.fsencode(name))
  return seeding.generator("held-out image", seed, number).random(), name


def _plain(root):
  """The paths of the good images and the items of the bad ones."""
  kinds = [d for d in folders(root) if d.name != "ground_truth"]
  loose = images(root)
  bad = [d for d in kinds if d.name != "good" and images(d)]
  if (root / "good").is_dir():
    good = images(root / "good")
  elif loose and not bad:
    good = loose
  else:
    good = []
  if not good:
    found = "no good images" if bad else "no images"
    raise InputError(f"root={root}: {found}; {LAYOUTS}", "root")
  return good, [item for d in bad for item in _defects(root, d)]


def scan_mvtec(root: pathlib.Path) -> list[Item]:
  """Finds the images of one MVTec AD category, without reading them.

  Raises:
    InputError: no such folder, no images, no good images to train on, or a
      defect without its mask.
  """
  train = root / "train"
  items = [
    Item("train", _id(path, root), folder.name, path)
    for folder in folders(train)
    for path in images(folder)
  ]
  if all(item.label for item in items):
    raise InputError(f"no images in {train / 'good'}; {LAYOUTS}")
  test = root / "test"
  for folder in folders(test):
    if folder.name == "good":
      paths = images(folder)
      items += [Item("test", _id(p, root), "good", p) for p in paths]
    else:
      items += _defects(root, folder)
  if all(item.split == "train" for item in items):
    raise InputError(f"no images in the folders of {test}; {LAYOUTS}")
  return items


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
  categories = [f for f in folders(root) if f.name != skip]
  for places in (
    [root / "train" / "good"],
    [root / "good"],
    [category / "train" / "good" for category in categories],
    [root],
  ):
    paths = [path for place in places for path in images(place)]
    if paths:
      return [Item("train", _id(path, root), "good", path) for path in paths]
  raise InputError(
    f"outlier_root={root}: no images; expected them there, in good/, in "
    "train/good/, or in <category>/train/good/",
    "outlier_root",
  )


def _defects(root, folder):
  """Items of the images of one kind of defect, with masks where there are."""
  truth = root / "ground_truth"
  masks = {path.stem: path for path in images(truth / folder.name)}
  items = []
  for path in images(folder):
    mask = masks.get(f"{path.stem}_mask", masks.get(path.stem))
    if mask is None and truth.is_dir():
      raise InputError(
        f"{_id(path, root)} has no mask; expected {truth / folder.name}/"
        f"{path.stem}_mask.png: add it, or move ground_truth away to go "
        "without masks"
      )
    items.append(Item("test", _id(path, root), folder.name, path, mask))
  return items


def folders(parent: pathlib.Path) -> list[pathlib.Path]:
  """The folders in `parent` by name, without hidden ones; none if it is none.

  Links are followed.
  """
  if not parent.is_dir():
    return []
  found = (p for p in parent.iterdir() if p.is_dir())
  return sorted(p for p in found if not p.name.startswith("."))


def images(parent: pathlib.Path) -> list[pathlib.Path]:
  """The image files directly in `parent` by name; none if it is no folder."""
  if not parent.is_dir():
    return []
  return sorted(p for p in parent.iterdir() if is_image(p) and p.is_file())


def _id(path, root):
  return path.relative_to(root).as_posix()
