# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The magnetic tile defects of Huang et al. 2018, split as by DifferNet.

Huang et al., "Surface defect saliency of magnetic tile", The Visual Computer
2018. As published, the folders `MT_<Kind>/Imgs` hold `<name>.jpg` and the pixel
mask `<name>.png`; `MT_Free` is normal. The authors of DifferNet (arXiv
2008.12577) train on 761 of the 952 normal images, those that
`magnetic_tile_train.txt` lists, and test on all others.
"""

import pathlib

from jaxad.data.examples import Item
from jaxad.data.folder import folders, images
from jaxad.errors import InputError

_EXPECTED = (
  "expected MT_Free/Imgs/, MT_Blowhole/Imgs/, MT_Break/Imgs/, ... with <name>."
  "jpg and its mask <name>.png, as published"
)


def train_list() -> frozenset[str]:
  """The names of the 761 images that the authors train on."""
  path = pathlib.Path(__file__).with_name("magnetic_tile_train.txt")
  return frozenset(path.read_text(encoding="utf-8").split())


def scan(root: pathlib.Path) -> list[Item]:
  """Finds the images, without reading them.

  Raises:
    InputError: the layout is another one, images of the training list are
      missing, or a defect has no mask.
  """
  listed = train_list()
  items = []
  for folder in folders(root):
    if not folder.name.startswith("MT_"):
      continue
    kind = folder.name.removeprefix("MT_").lower()
    paths = images(folder / "Imgs")
    masks = {p.stem: p for p in paths if p.suffix.lower() == ".png"}
    for path in paths:
      if path.suffix.lower() not in (".jpg", ".jpeg"):
        continue
      name = path.relative_to(root).as_posix()
      if kind == "free":
        split = "train" if path.name in listed else "test"
        items.append(Item(split, name, "good", path))
      elif path.stem in masks:
        items.append(Item("test", name, kind, path, masks[path.stem]))
      else:
        raise InputError(
          f"{name} has no mask; expected {path.with_suffix('.png')}"
        )
  if not any(item.label == 0 for item in items):
    raise InputError(f"no images in {root / 'MT_Free' / 'Imgs'}; {_EXPECTED}")
  if not any(item.label == 1 for item in items):
    raise InputError(f"no images of defects in {root}; {_EXPECTED}")
  found = {item.image.name for item in items if item.split == "train"}
  missing = sorted(listed - found)
  if missing:
    raise InputError(
      f"{len(missing)} of the {len(listed)} images of the training list are "
      f"missing in {root / 'MT_Free' / 'Imgs'}, the first is {missing[0]}; "
      "get the complete data set"
    )
  return items
