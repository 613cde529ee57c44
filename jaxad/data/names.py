# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The words by which folders, files and kinds of images are understood.

Neither case nor signs count: `ground_truth`, `Ground-Truth` and `groundtruth`
are one word.
"""

import dataclasses
import functools
import re
from collections.abc import Collection

from jaxad.errors import InputError

TRAIN = ("train", "training")
TEST = ("test", "testing")
VALIDATION = ("validation", "val")

# What holds masks. Not "label": bottles have labels, which may be the defect.
MASKS = ("ground_truth", "gt", "mask", "masks", "labels", "annotations")

# What holds normal images; everything else is a kind of defect.
NORMAL = (
  "good",
  "ok",
  "normal",
  "no",
  "none",
  "no_defect",
  "no_defects",
  "defect_free",
  "non_defective",
  "healthy",
  "pass",
  "io",
)

# What a mask, or a folder of masks, adds to a name.
_MASK = re.compile(r"(.+?)[ _.-]+(mask|gt|ground_?truth|label)", re.IGNORECASE)
_FOLDER = re.compile(r"(.+?)[ _.-]+(masks?|gt|ground_?truth)", re.IGNORECASE)


def split_of(name: str) -> str | None:
  """The split that a word means: "train", "test", "validation", or None."""
  if _among(name, TRAIN):
    return "train"
  if _among(name, TEST):
    return "test"
  return "validation" if _among(name, VALIDATION) else None


def masks_of(name: str) -> str | None:
  """Whose masks a folder of this name holds.

  Returns:
    "" for any; the name of another folder, as `scratch` of `scratch_masks`,
    which holds if there is one; None where it is none of masks.
  """
  if _among(name, MASKS):
    return ""
  found = _FOLDER.fullmatch(name)
  return found and found[1]


def image_of(stem: str) -> tuple[str, bool] | None:
  """The image that a file is the mask of, by their names without suffix.

  Returns:
    Its stem, and whether the name says "mask", so that the file is one even
    where there is no such image; None where the name is not that of a mask.
  """
  found = _MASK.fullmatch(stem)
  return found and (found[1], found[2].casefold() == "mask")


@dataclasses.dataclass(frozen=True)
class Normal:
  """Which folders, or kinds of a list, hold normal images.

  Attributes:
    names: their names, of which case does not count; () for the usual words.
  """

  names: tuple[str, ...] = ()

  @classmethod
  def of(cls, normal: str | tuple[str, ...] | None) -> "Normal":
    """From a name, names with commas between them, a tuple of names or None."""
    given = normal.split(",") if isinstance(normal, str) else normal or ()
    return cls(tuple(name.strip(" /\\") for name in given))

  def holds(self, name: str) -> bool:
    """Whether this folder or kind is a normal one."""
    if not self.names:
      return _among(name, NORMAL)
    return name.casefold() in {given.casefold() for given in self.names}

  def check(self, kinds: Collection[str]) -> None:
    """Whether the names fit the kinds that there are.

    Raises:
      InputError: a name is none of them, or "good" is to be a defect.
    """
    there = {kind.casefold() for kind in kinds}
    said = ",".join(self.names)
    for name in self.names:
      if name.casefold() not in there:
        raise InputError(
          f"normal={said}: no images in {name!r}; there are "
          f"{', '.join(kinds) or 'no folders with images'}",
          "normal",
        )
    if self.names and "good" in there and not self.holds("good"):
      raise InputError(
        f"normal={said}: 'good' is there too, and would be a kind of defect; "
        "name both, or rename it",
        "normal",
      )


@functools.lru_cache(4096)
def _among(name, words):
  return _plain(name) in map(_plain, words)


def _plain(name):
  return re.sub(r"[\W_]+", "", name.casefold())
