# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The files of a folder, by the folders that they lie in."""

import collections
import dataclasses
import os
import pathlib
from collections.abc import Iterator

from jaxad.data import masks as matching
from jaxad.data import names
from jaxad.data.decode import is_image
from jaxad.data.found import HIDDEN
from jaxad.data.masks import File
from jaxad.errors import InputError

# What systems leave in folders, beside files whose names begin with a dot.
_LITTER = ("thumbs.db", "desktop.ini", "__macosx")


@dataclasses.dataclass
class Layout:
  """The files of a folder, sorted by the folders that they lie in.

  Attributes:
    root: the folder.
    divided: whether it has folders for splits.
    tested: whether one of these is the test.
    images: without kinds.
    masks: likewise.
    empty: names of the folders of kinds that hold no image.
    skipped: {reason: names}.
  """

  root: pathlib.Path
  divided: bool
  tested: bool
  images: list[File]
  masks: list[File]
  empty: list[str]
  skipped: dict[str, list[str]]


def read_layout(root: pathlib.Path) -> Layout:
  """Finds the files of a folder.

  Raises:
    InputError: a folder in it cannot be read.
  """
  skipped = collections.defaultdict(list)
  files = list(_walk(root, root, skipped))
  parents = folders(root)
  splits = {path: names.split_of(path.name) for path in parents}
  divided = "train" in splits.values() or "test" in splits.values()
  held = {parent for path in files for parent in path.parents}
  images, masks = [], []
  for path in files:
    name = identify(path, root)
    place = path.relative_to(root).parts[:-1]
    # Without train/ and test/ only "validation" can be one.
    split = (place and names.split_of(place[0])) or ""
    if split:
      place = place[1:]
    of_masks = _place_of_mask(path, place, held)
    if of_masks is not None:
      above, below = of_masks
      if divided and below and names.split_of(below[0]):
        split, below = names.split_of(below[0]), below[1:]
      masks.append(File(name, path, split, above + below))
    elif split == "validation" or (divided and not split):
      skipped["in neither train nor test"].append(name)
    else:
      images.append(File(name, path, split, place))
  images, more = matching.beside(images)
  kinds = [f for p in parents if splits[p] for f in folders(p)]
  empty = [
    identify(path, root)
    for path in (kinds if divided else parents)
    if path not in held and names.masks_of(path.name) is None
  ]
  tested = "test" in splits.values()
  return Layout(root, divided, tested, images, masks + more, empty, skipped)


def _place_of_mask(path, place, held):
  """The folders above and below that of masks; None if it lies in none."""
  for i, name in enumerate(place):
    kind = names.masks_of(name)
    folder = path.parents[len(place) - 1 - i]
    if kind == "":
      return place[:i], place[i + 1 :]
    if kind and folder.with_name(kind) in held:
      return (*place[:i], kind), place[i + 1 :]
  return None


def folders(parent: pathlib.Path) -> list[pathlib.Path]:
  """The folders in `parent` by name, without hidden ones; none if it is none.

  Links are followed.
  """
  if not parent.is_dir():
    return []
  return sorted(p for p in parent.iterdir() if p.is_dir() and not _hidden(p))


def images(parent: pathlib.Path) -> list[pathlib.Path]:
  """The image files directly in `parent` by name; none if it is no folder."""
  if not parent.is_dir():
    return []
  return sorted(p for p in parent.iterdir() if is_image(p) and p.is_file())


def identify(path: pathlib.Path, root: pathlib.Path) -> str:
  """The id of an image: its path below the root."""
  return path.relative_to(root).as_posix()


def _walk(root, folder, skipped, above=()) -> Iterator[pathlib.Path]:
  """The image files below a folder; what else there is goes to `skipped`.

  Links are followed, but not to a folder that they lie in.
  """
  try:
    status = folder.stat()
    here = status.st_dev, status.st_ino
    if here in above:
      skipped["a link back to a folder above"].append(identify(folder, root))
      return
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
  except OSError as error:
    raise InputError(
      f"root={root}: {folder} cannot be read ({error.strerror}); mend it, or "
      "move it away",
      "root",
    ) from error
  for entry in entries:
    path = folder / entry.name
    if _hidden(path):
      skipped[HIDDEN].append(identify(path, root))
    elif _is(entry.is_dir):
      yield from _walk(root, path, skipped, (*above, here))
    elif not _is(entry.is_file):
      skipped["a broken link"].append(identify(path, root))
    elif is_image(path):
      yield path
    else:
      skipped["not an image file"].append(identify(path, root))


def _is(test):
  """What a test of an entry says; a link in a circle is nothing."""
  try:
    return test()
  except OSError:
    return False


def _hidden(path):
  return path.name.startswith(".") or path.name.casefold() in _LITTER
