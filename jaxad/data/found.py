# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What was understood of a folder or a list of images."""

import collections
import dataclasses
import os
import pathlib
import zlib
from collections.abc import Collection, Iterable, Mapping

from jaxad import seeding
from jaxad.data.examples import Item
from jaxad.errors import InputError

# How many names a line lists.
_SHOWN = 3

HIDDEN = "hidden"


@dataclasses.dataclass(frozen=True)
class Found:
  """The images that were found, and what is to be said of them.

  Attributes:
    root: the folder, or the list.
    items: the images, sorted by split and id.
    where: {(split, kind): the folders it was read from}.
    skipped: {reason: names of the files that were not read}.
    notes: what else a reader should know, a sentence each.
  """

  root: pathlib.Path
  items: tuple[Item, ...]
  where: Mapping[tuple[str, str], Collection[str]]
  skipped: Mapping[str, Collection[str]]
  notes: tuple[str, ...]

  @property
  def lines(self) -> list[str]:
    """A table of splits and kinds, what was skipped, and the notes."""
    count, masks = collections.Counter(), collections.Counter()
    for item in self.items:
      key = item.split, item.kind
      count[key] += 1
      masks[key] += item.mask is not None
    rows = [("split", "kind", "images", "masks", "read from")]
    # Training and normal images first.
    order = lambda key: (key[0] != "train", key[1] != "good", key[1])
    for split, kind in sorted(count, key=order):
      key = split, kind
      name = "normal" if kind == "good" else kind
      counts = str(count[key]), str(masks[key] or "-")
      rows.append((split, name, *counts, ", ".join(self.where[key])))
    width = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"jaxad: {len(self.items)} images in {self.root}"]
    for split, kind, images, masked, where in rows:
      lines.append(
        f"  {split:{width[0]}}  {kind:{width[1]}}  {images:>{width[2]}}  "
        f"{masked:>{width[3]}}  {where}"
      )
    for reason, files in self.skipped.items():
      which = "" if reason == HIDDEN else f" ({listed(files)})"
      lines.append(f"  not read, {reason}: {len(files)}{which}")
    return lines + [f"NOTE: {note}" for note in self.notes]


def listed(names: Collection[str], n: int = _SHOWN) -> str:
  """The first n names, and whether there are more."""
  return ", ".join(list(names)[:n]) + (", ..." if len(names) > n else "")


def held_out(
  root: pathlib.Path, ids: Collection[str], seed: int, fraction: float
) -> set[str]:
  """The normal images that are kept for the test where nothing says which.

  Each has a number of its own: an image that is added or removed moves at most
  one other.

  Raises:
    InputError: there are fewer than two.
  """
  if len(ids) < 2:
    raise InputError(
      f"root={root}: {len(ids) or 'no'} normal image; expected two or more, to "
      "train on and to hold out for the test",
      "root",
    )
  n = min(max(round(fraction * len(ids)), 1), len(ids) - 1)
  return set(sorted(ids, key=lambda name: _rank(name, seed))[:n])


def _rank(name, seed):
  number = zlib.crc32(os.fsencode(name))
  return seeding.generator("held-out image", seed, number).random(), name


def lacking(items: Iterable[Item]) -> list[str]:
  """Says which class the test lacks, and what that means."""
  tested = [item for item in items if item.split == "test"]
  kinds = sorted({item.kind for item in tested})
  if "good" not in kinds:
    return [
      "the test has no normal images, so there will be no AUROC; if one of "
      f"{', '.join(kinds)} is normal, name it with normal, beside that of the "
      "training images"
    ]
  if kinds == ["good"]:
    return [
      "the test has no images with a defect: there will be a threshold and "
      "scores, but no AUROC"
    ]
  return []
