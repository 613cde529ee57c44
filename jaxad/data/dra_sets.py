# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The data sets of the DRA paper beside MVTec AD, converted by its rules.

Ding, Pang and Shen, "Catching Both Gray and Black Swans", CVPR 2022 (arXiv
2203.14506), Table 5. Each `scan` reads one set in the layout in which it was
published. Where that has no split, the normal images in the order of their ids
are divided 3:1 by `open_set.three_to_one`, and all anomalies are in the test.
"""

import dataclasses
import hashlib
import itertools
import math
import pathlib
import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxad.data.examples import Item
from jaxad.data.folder import folders, images
from jaxad.data.open_set import three_to_one
from jaxad.data.tiles import (
  Array,
  Tile,
  mask_of,
  mask_png,
  size_of,
  unreadable,
)
from jaxad.errors import InputError

# The codes of AITEX's file names. The codes stay in front, for the order in
# which the authors list the kinds.
AITEX_KINDS = {
  "002": "002_broken_end",
  "006": "006_broken_yarn",
  "010": "010_broken_pick",
  "016": "016_weft_curling",
  "019": "019_fuzzyball",
  "022": "022_cut_selvage",
  "023": "023_crease",
  "025": "025_warp_ball",
  "027": "027_knots",
  "029": "029_contamination",
  "030": "030_nep",
  "036": "036_weft_crack",
}


# Readers: from the root to the items, with images and masks still in their
# files; InputError for another layout or a missing file.


def _aitex(root):
  """Silvestre-Blanes et al., AUTEX Research Journal 2019.

  Images of 4096 x 256 pixels are cut into squares; the last may be narrower.
  Of images with a defect only the squares that its masks touch are kept, so
  those whose mask is missing or empty, two of those published, give none.
  """
  items = []
  for folder in folders(root / "NODefect_images"):
    for path in images(folder):
      for number, tile in _squares(path):
        items.append(Item("", _id(path, root, number), "good", tile))
  masks = images(root / "Mask_images")
  for path in images(root / "Defect_images"):
    code = path.stem.split("_")[1] if "_" in path.stem else ""
    if code not in AITEX_KINDS:
      raise InputError(
        f"{path}: {code!r} is not the code of a defect; expected a name such "
        "as 0001_002_00.png, with one of " + ", ".join(AITEX_KINDS)
      )
    # Two have a mask in two parts, *_mask1.png and *_mask2.png.
    parts = [m for m in masks if m.stem.startswith(f"{path.stem}_mask")]
    if not parts:
      continue
    mask = np.logical_or.reduce([mask_of(part, path) for part in parts])
    for number, tile in _squares(path):
      left, _, right, _ = tile.box
      defect = mask[:, left:right]
      if defect.any():
        name = _id(path, root, number)
        png = mask_png(defect)
        items.append(Item("test", name, AITEX_KINDS[code], tile, png))
  return _divided(items)


def _squares(path):
  """Numbers and tiles of an image of any width, each as wide as it is high."""
  width, height = size_of(path)
  for number, left in enumerate(range(0, width, height)):
    yield number, Tile(path, (left, 0, min(left + height, width), height))


def _kolektor_sdd(root):
  """Tabernik et al., Journal of Intelligent Manufacturing 2020.

  Each image is cut into three along its height; a piece is anomalous where its
  mask has a pixel, and else normal, also that of a defective image.
  """
  items = []
  for folder in folders(root):
    for path in images(folder):
      if path.stem.endswith("_label"):
        continue
      label = path.with_name(f"{path.stem}_label.bmp")
      mask = mask_of(label, path)
      height, width = mask.shape
      cuts = (0, height // 3, 2 * height // 3, height)
      for number, (top, bottom) in enumerate(itertools.pairwise(cuts)):
        name = _id(path, root, number)
        tile = Tile(path, (0, top, width, bottom))
        piece = mask[top:bottom]
        if piece.any():
          items.append(Item("test", name, "defect", tile, mask_png(piece)))
        else:
          items.append(Item("", name, "good", tile))
  return _divided(items)


def _elpv(root):
  """Deitsch et al., Solar Energy 2019: cells in electroluminescence.

  A defect of probability 0 is normal, 1 is an anomaly of the kind of the cell;
  what the experts were unsure of, 1/3 and 2/3, is left out.
  """
  items = []
  for line, row in _rows(root / "labels.csv", 3):
    name, probability, kind = row
    number = _number(probability, root / "labels.csv", line)
    if number in (0, 1):
      path = _file(root / name, root / "labels.csv", line)
      items.append(_labelled(name, kind if number else "good", path))
  return _divided(items)


def _dagm(root):
  """DAGM 2007, Wieland and Hahn; "Optical" in the paper.

  The ten classes of texture and their train and test lists are pooled; the
  kinds of anomaly are Class0 to Class9.
  """
  items = []
  for number in range(1, 11):
    for part in ("Train", "Test"):
      folder = root / f"Class{number}" / part
      if not folder.is_dir():
        continue
      labels = folder / "Label" / "Labels.txt"
      for line, row in _rows(labels, 5, first=1):
        _, defect, name, _, mask = row
        path = _file(folder / name, labels, line)
        if _number(defect, labels, line):
          kind = f"Class{number - 1}"
          mask = _file(folder / "Label" / mask, labels, line)
        else:
          kind, mask = "good", None
        items.append(_labelled(_id(path, root), kind, path, mask))
  return _divided(items)


def _mastcam(root):
  """Kerner et al., Data Mining and Knowledge Discovery 2020: Mars by Mastcam.

  The published split, without the images for validation; of the six channels
  the first three. The folder `all` of the novel ones repeats the others.
  """
  items = [
    Item(split, _id(path, root), "good", Array(path))
    for split in ("train", "test")
    for path in _arrays(root / f"{split}_typical")
  ]
  for folder in folders(root / "test_novel"):
    if folder.name != "all":
      for path in _arrays(folder):
        items.append(Item("test", _id(path, root), folder.name, Array(path)))
  return items


def _brain_mri(root):
  """Brain MRI images for brain tumor detection, N. Chakrabarty, Kaggle."""
  return _divided(
    [
      _labelled(_id(path, root), kind, path)
      for folder, kind in (("no", "good"), ("yes", "tumor"))
      for path in images(root / folder)
    ]
  )


def _head_ct(root):
  """Head CT hemorrhage, F. Kitamura, Kaggle."""
  labels = root / "labels.csv"
  places = [root, root / "head_ct", root / "head_ct" / "head_ct"]
  place = next((p for p in places[::-1] if images(p)), root)
  items = []
  for line, (number, label) in _rows(labels, 2, first=1):
    number = int(_number(number, labels, line))
    path = _file(place / f"{number:03d}.png", labels, line)
    kind = "hemorrhage" if _number(label, labels, line) else "good"
    items.append(_labelled(path.name, kind, path))
  return _divided(items)


def _hyper_kvasir(root):
  """Borgli et al., Scientific Data 2020; the upper gastrointestinal tract."""
  places = ("labeled-images/upper-gi-tract", "upper-gi-tract", ".")
  parts = ("anatomical-landmarks", "pathological-findings")
  place = next(
    (root / p for p in places if (root / p / parts[0]).is_dir()), root
  )
  items = []
  for part in parts:
    for folder in folders(place / part):
      kind = "good" if part == parts[0] else folder.name
      for path in images(folder):
        items.append(_labelled(_id(path, place), kind, path))
  return _divided(items)


class Set(NamedTuple):
  """How to read one set.

  Attributes:
    scan: from the root to the items.
    expected: what the root has to hold.
  """

  scan: Callable[[pathlib.Path], list[Item]]
  expected: str


SETS = {
  "aitex": Set(
    _aitex,
    "NODefect_images/<fabric>/*.png, Defect_images/*.png and "
    "Mask_images/*_mask.png",
  ),
  "kolektor_sdd": Set(
    _kolektor_sdd, "kos01/Part0.jpg, kos01/Part0_label.bmp and so on"
  ),
  "elpv": Set(_elpv, "labels.csv and images/cell*.png"),
  "dagm": Set(
    _dagm,
    "Class1/Train/*.PNG, Class1/Train/Label/Labels.txt and so on, to Class10, "
    "for Train and Test",
  ),
  "mastcam": Set(
    _mastcam,
    "train_typical/*.npy, test_typical/*.npy and test_novel/<kind>/*.npy",
  ),
  "brain_mri": Set(_brain_mri, "no/*.jpg and yes/*.jpg"),
  "head_ct": Set(_head_ct, "labels.csv and head_ct/000.png and so on"),
  "hyper_kvasir": Set(
    _hyper_kvasir,
    "labeled-images/upper-gi-tract/anatomical-landmarks/<place>/*.jpg and "
    "pathological-findings/<kind>/*.jpg beside it",
  ),
}


def scan(name: str, root: pathlib.Path) -> list[Item]:
  """Finds the images of a set.

  Images are not read, but masks that decide what is anomalous are.

  Args:
    name: one of `SETS`.
    root: the folder of the set.

  Returns:
    The items; images are paths, tiles or arrays, masks paths or PNG bytes.

  Raises:
    InputError: another layout, or files are missing or broken.
  """
  items = SETS[name].scan(root)
  expected = f"expected {SETS[name].expected}, as published"
  for split, label, what in (
    ("train", 0, "too few normal images"),
    ("test", 0, "too few normal images"),
    ("test", 1, "no images of anomalies"),
  ):
    if not any(i.split == split and i.label == label for i in items):
      raise InputError(f"{root} has {what} for {name}; {expected}")
  return items


def facts(root: pathlib.Path, items: list[Item]) -> dict:
  """What a prepared copy of the items depends on, see `builders.records`."""
  entries = []
  for item in items:
    entry = [item.id, item.split, item.kind]
    for source in (item.image, item.mask):
      if isinstance(source, bytes):
        entry.append(hashlib.sha256(source).hexdigest())
      elif source is not None:
        stat = source.stat()
        entry += [stat.st_size, stat.st_mtime_ns]
    entries.append(entry)
  return {"root": str(root.resolve()), "items": sorted(entries)}


def _divided(items):
  """The items, with the normal ones split 3:1 in the order of their ids."""
  good = sorted((i for i in items if i.kind == "good"), key=lambda i: i.id)
  rows, _ = three_to_one(len(good))
  train = {good[row].id for row in rows}
  return [
    dataclasses.replace(item, split="train" if item.id in train else "test")
    for item in items
  ]


def _labelled(name, kind, path, mask=None):
  return Item("test", name, kind, path, mask)


def _id(path, root, number=None):
  name = path.relative_to(root)
  if number is not None:
    name = name.with_name(f"{name.stem}_{number:02d}.png")
  return name.as_posix()


def _arrays(parent):
  if not parent.is_dir():
    return []
  return sorted(p for p in parent.glob("*.npy") if not p.name.startswith("."))


def _rows(path, columns, first=0):
  """Numbers and fields of the lines of a table, without the `first` ones."""
  if not path.is_file():
    raise InputError(f"{path} is missing; get the complete data set")
  try:
    lines = path.read_text(encoding="utf-8-sig").splitlines()
  except (OSError, UnicodeDecodeError) as error:
    raise unreadable(path, error) from None
  for number, line in enumerate(lines[first:], first + 1):
    if not line.strip():
      continue
    row = re.split(r"\s*,\s*|\s+", line.strip())
    if len(row) != columns:
      raise InputError(
        f"{path}, line {number}: {len(row)} fields; expected {columns}: get "
        "the file again"
      )
    yield number, row


def _number(text, path, line):
  try:
    number = float(text)
  except ValueError:
    number = math.nan
  if not math.isfinite(number):
    raise InputError(
      f"{path}, line {line}: {text!r} is not a number; get the file again"
    )
  return number


def _file(path, table, line):
  """The path, if there is such a file."""
  if not path.is_file():
    raise InputError(
      f"{path} is missing, named in line {line} of {table}; get the complete "
      "data set"
    )
  return path
