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


# Links to one folder, and folders in each other, that are followed.
_MOST_WAYS, _DEEPEST = 64, 64


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
  walked = list(_walk(root, root, skipped))
  parents = folders(root)
  splits = {path: names.split_of(path.name) for path in parents}
  divided = "train" in splits.values() or "test" in splits.values()
  held = {above for path, _ in walked for above in (path, *path.parents)}
  images, masks = [], []
  for parent, found in walked:
    parts = place = parent.relative_to(root).parts
    # Without train/ and test/ only "validation" can be one.
    split = (place and names.split_of(place[0])) or ""
    if split:
      place = place[1:]
    around = _around_masks(parent, place, held)
    if around is not None:
      above, below = around
      if divided and below and names.split_of(below[0]):
        split, below = names.split_of(below[0]), below[1:]
      place = above + below
    files = [
      File("/".join((*parts, name)), parent / name, split, place)
      for name in found
    ]
    if around is not None:
      masks += files
    elif split == "validation" or (divided and not split):
      skipped["in neither train nor test"] += [file.id for file in files]
    else:
      pictures, beside = matching.apart(files)
      images += pictures
      masks += beside
  kinds = [f for p in parents if splits[p] for f in folders(p)]
  empty = [
    identify(path, root)
    for path in (kinds if divided else parents)
    if path not in held and names.masks_of(path.name) is None
  ]
  tested = "test" in splits.values()
  return Layout(root, divided, tested, images, masks, empty, skipped)


def _around_masks(parent, place, held):
  """The folders above and below that of masks; None if it lies in none."""
  ways = (parent, *parent.parents)[: len(place)][::-1]
  for i, (folder, name) in enumerate(zip(ways, place, strict=True)):
    kind = names.masks_of(name)
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
  return sorted(
    p for p in parent.iterdir() if p.is_dir() and not _hidden(p.name)
  )


def images(parent: pathlib.Path) -> list[pathlib.Path]:
  """The image files directly in `parent` by name; none if it is no folder."""
  if not parent.is_dir():
    return []
  return sorted(p for p in parent.iterdir() if is_image(p) and p.is_file())


def files_below(folder: pathlib.Path) -> list[pathlib.Path]:
  """All image files in a folder and the folders in it, by name.

  Hidden ones, and folders that jaxad wrote, are left out.

  Raises:
    InputError: a folder cannot be read.
  """
  walked = _walk(folder, folder, collections.defaultdict(list))
  return [path / name for path, found in walked for name in found]


def is_output(folder: pathlib.Path) -> bool:
  """Whether a run or predictions lie in a folder, and no data."""
  return any(
    all((folder / name).is_file() for name in names_) for names_ in _OUTPUTS
  )


# Files of a run, and of predictions.
_OUTPUTS = ("config.json", "examples.csv"), ("scores.csv", "scores.json")


def identify(path: pathlib.Path, root: pathlib.Path) -> str:
  """The id of an image: its path below the root."""
  return path.relative_to(root).as_posix()


def _walk(
  root, folder, skipped, above=(), ways=None
) -> Iterator[tuple[pathlib.Path, list[str]]]:
  """Folders with images, and their names; the rest goes to `skipped`.

  Links are followed, but not to a folder that they lie in. `ways` counts how
  often each folder was come to.
  """
  ways = collections.Counter() if ways is None else ways
  try:
    status = folder.stat()
    here = status.st_dev, status.st_ino
    if here in above:
      skipped["a link back to a folder above"].append(identify(folder, root))
      return
    ways[here] += 1
    # A few links, each to a folder of such links, make millions of ways.
    for fault, found, most in (
      ("links lead to it in", ways[here], _MOST_WAYS),
      ("it lies at a depth of", len(above) + 1, _DEEPEST),
    ):
      if found > most:
        raise InputError(
          f"root={root}: {folder}: {fault} {found}, more than the {most} that "
          "are followed; move it away",
          "root",
        )
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
  except OSError as error:
    raise InputError(
      f"root={root}: {folder} cannot be read ({error.strerror}); mend it, or "
      "move it away",
      "root",
    ) from error
  if is_output(folder):
    skipped["a run or predictions"].append(identify(folder, root))
    return
  found, below = [], []
  for entry in entries:
    if _hidden(entry.name):
      reason = HIDDEN
    elif _is(entry.is_dir):
      below.append(folder / entry.name)
      continue
    elif not _is(entry.is_file):
      reason = "a broken link"
    elif is_image(pathlib.PurePath(entry.name)):
      found.append(entry.name)
      continue
    else:
      reason = "not an image file"
    skipped[reason].append(identify(folder / entry.name, root))
  if found:
    yield folder, found
  for path in below:
    yield from _walk(root, path, skipped, (*above, here), ways)


def _is(test):
  """What a test of an entry says; a link in a circle is nothing."""
  try:
    return test()
  except OSError:
    return False


def _hidden(name):
  return name.startswith(".") or name.casefold() in _LITTER
