# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Which mask belongs to which image, by their names and places."""

import collections
import dataclasses
import functools
import pathlib
from collections.abc import Sequence

from jaxad.data import names
from jaxad.data.decode import decode_mask
from jaxad.errors import InputError

# Why a mask is not read.
OF_NORMAL = "an empty mask of a normal image"
OF_TRAINING = "a mask of a training image"


@dataclasses.dataclass(frozen=True, eq=False)
class File:
  """An image or a mask, as it was found.

  Attributes:
    id: its path relative to the root.
    path: of it.
    split: "train", "test", or "" where nothing says.
    place: the folders in which it lies, from that of its kind on, without
      those that split the data or hold masks.
    kind: as in `Examples`; of a mask "" where its place says none.
  """

  id: str
  path: pathlib.Path
  split: str
  place: tuple[str, ...]
  kind: str = ""

  @functools.cached_property
  def stem(self) -> str:
    """Its name without the suffix."""
    return self.path.stem

  @property
  def inner(self) -> tuple[str, ...]:
    """The folders below that of the kind."""
    return self.place[1:] if self.kind else self.place


def apart(files: Sequence[File]) -> tuple[list[File], list[File]]:
  """(images, masks) of a folder that holds both: 000.png and 000_mask.png."""
  there = {file.stem.casefold() for file in files}
  images, masks = [], []
  for file in files:
    image, sure = names.image_of(file.stem) or ("", False)
    (masks if sure or image.casefold() in there else images).append(file)
  return images, masks


def attach(
  masks: Sequence[File], images: Sequence[File]
) -> tuple[dict[File, pathlib.Path], dict[str, list[str]]]:
  """Finds the masks of the defects that are tested on.

  Args:
    masks: with the split and kind that their places say, or "".
    images: with theirs.

  Returns:
    ({image: its mask}, {reason: names of the masks that are not used}).

  Raises:
    InputError: a defect has no mask where another has one, no mask fits, or
      that of a normal image marks something.
  """
  left, found, unused = list(masks), {}, {}
  for split, normal in (
    ("test", False),
    ("test", True),
    ("train", True),
    ("train", False),
  ):
    pairs = match(
      [mask for mask in left if mask.split in ("", split)],
      [
        image
        for image in images
        if image.split == split and (image.kind == "good") == normal
      ],
      # A name alone does not make a mask that of a normal image.
      _BY_KIND if normal else _BY_KIND + _BY_NAME,
    )
    used = set(pairs.values())
    left = [mask for mask in left if mask not in used]
    if (split, normal) == ("test", False):
      found = pairs
      continue
    reason = OF_NORMAL if normal else OF_TRAINING
    if normal:
      for image, mask in pairs.items():
        check_empty(image.id, mask.path)
    if pairs:
      unused.setdefault(reason, []).extend(mask.id for mask in used)
  _check_fit(left, found, images)
  if left:
    unused["a mask that fits no image"] = [mask.id for mask in left]
  return {image: mask.path for image, mask in found.items()}, unused


def _check_fit(left, found, images):
  defects = [i for i in images if i.split == "test" and i.kind != "good"]
  if left and defects and not found:
    image = defects[0]
    raise InputError(
      f"no mask fits an image with a defect: there are {len(left)}, such as "
      f"{left[0].id}, but none of {image.id}; expected {image.stem}_mask"
      f".png in a folder ground_truth/{image.place[0]}/: rename them, or move "
      "them away to go without"
    )
  missing = next((image for image in defects if image not in found), None)
  near = [mask.id for mask in left if missing and _alike(mask, missing)]
  check_complete(
    [image.id for image in defects],
    {image.id: mask.id for image, mask in found.items()},
    f" ({near[0]} lies elsewhere, or fits others too)" if near else "",
  )


def _alike(mask, image):
  stems = [stem.casefold() for stem in _marked(mask) + _whole(mask)]
  return image.stem.casefold() in stems


# What a mask and its image have in common, from sure to just enough; and which
# masks may be known by that.
_BY_KIND = (
  (lambda mask: True, lambda file, name: (file.place, name)),
  (
    lambda mask: mask.kind,
    lambda file, name: (file.kind, _folded(file.inner), name.casefold()),
  ),
  (lambda mask: mask.kind, lambda file, name: (file.kind, name.casefold())),
)
_BY_NAME = (
  (
    lambda mask: not mask.kind,
    lambda file, name: (_folded(file.inner), name.casefold()),
  ),
  (lambda mask: not mask.place, lambda file, name: name.casefold()),
)


def match(
  masks: Sequence[File], images: Sequence[File], ways: Sequence
) -> dict[File, File]:
  """The mask of each image that has one.

  A mask has the name of its image, or that with `_mask` behind it, and the same
  place. Failing that, the name must be unique: among all of a kind, or, where
  masks are not sorted by kinds, among all images.

  Args:
    masks: of which each fits one image at most.
    images: likewise.
    ways: to know a mask, `_BY_KIND` and `_BY_NAME`.

  Returns:
    {image: its mask}.
  """
  found = {}
  for fits, common in ways:
    for names_of in (_marked, _whole):
      offered = _unique(
        (common(mask, name), mask)
        for mask in masks
        if fits(mask)
        for name in names_of(mask)
      )
      if not offered:
        continue
      wanted = _unique((common(image, image.stem), image) for image in images)
      pairs = {
        wanted[key]: offered[key]
        for key in wanted.keys() & offered.keys()
        if _compatible(wanted[key].inner, offered[key].inner)
      }
      found |= pairs
      used = set(pairs.values())
      masks = [mask for mask in masks if mask not in used]
      images = [image for image in images if image not in pairs]
  return found


def check_complete(
  defects: Sequence[str], having: dict[str, str], hint: str = ""
) -> None:
  """Whether all defects that are tested on have a mask, or none has.

  Args:
    defects: the ids of the images.
    having: {id: name of its mask}.
    hint: put into the message.

  Raises:
    InputError: one has none where another has.
  """
  missing = [name for name in defects if name not in having]
  if not missing or not having:
    return
  name, *others = missing
  more = f" (and {len(others)} more)" if others else ""
  # Best one of the same folder.
  like = min(having, key=lambda other: (_folder(other) != _folder(name), other))
  raise InputError(
    f"{name}{more} has no mask{hint}, while {like} has {having[like]}; add it, "
    "all black where nothing is to be marked, or move all masks away to go "
    "without pixel figures"
  )


def check_empty(name: str, mask: pathlib.Path) -> None:
  """Whether the mask of a normal image marks nothing.

  Raises:
    InputError: it marks something, or cannot be read.
  """
  marked = int(decode_mask(mask).sum())
  if marked:
    raise InputError(
      f"{name} is a normal image, but its mask {mask} marks {marked} pixels; "
      "move the image to its kind of defect, or remove the mask"
    )


def _marked(mask):
  image = names.image_of(mask.stem)
  return [image[0]] if image else []


def _whole(mask):
  return [mask.stem]


def _unique(pairs):
  """{key: value} of the keys that come once."""
  found = collections.defaultdict(list)
  for key, value in pairs:
    found[key].append(value)
  return {key: values[0] for key, values in found.items() if len(values) == 1}


def _folded(place):
  return tuple(name.casefold() for name in place)


def _compatible(a, b):
  """Whether one way down goes on where the other ends."""
  pairs = zip(_folded(a), _folded(b), strict=False)
  return all(x == y for x, y in pairs)


def _folder(name):
  return name.rpartition("/")[0]
