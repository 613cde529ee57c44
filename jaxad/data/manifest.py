# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Lists of images: a CSV file, or one of JSON objects, a line each.

    path,split,kind,mask                {"path": "a.png", "kind": "good"}
    parts/0001.png,train,good,          {"path": "b.png", "kind": "scratch",
    parts/0002.png,test,scratch,m/2.png    "mask": "b_mask.png"}

Paths are relative to the file. `mask` and `split` may be left out; without the
split part of the normal images is held out for the test, and all others are in
it. `label` may stand for `kind`, also as 0 for normal and 1 for a defect.
"""

import collections
import os
import pathlib
from typing import NamedTuple

from jaxad.data import lists, names
from jaxad.data.examples import Item
from jaxad.data.found import Found, held_out, lacking, listed
from jaxad.data.masks import OF_NORMAL, OF_TRAINING, check_complete, check_empty
from jaxad.errors import InputError

# One of each; and how a message says so.
_NEEDED = (("path",), ("kind", "label"))
_EXPECTED = "path and kind, and if you like split and mask"

# As a label; true or false in JSON.
_LABELS = dict.fromkeys(("0", "0.0", "false"), "good") | dict.fromkeys(
  ("1", "1.0", "true"), "defect"
)


class _Row(NamedTuple):
  """The texts of a line, "" where there is none, and its number."""

  line: int
  path: str
  split: str
  kind: str
  label: str
  mask: str


def scan(
  root: pathlib.Path,
  *,
  seed: int = 0,
  test_fraction: float = 0.2,
  normal: str | tuple[str, ...] | None = None,
) -> Found:
  """Finds the images of a list, without reading them.

  Args:
    root: the file.
    seed: as in `folder.scan`.
    test_fraction: likewise.
    normal: the kinds that are normal, in place of the words in `names.NORMAL`.

  Raises:
    InputError: the list cannot be read, names a file that is not there, or one
      twice, or does not say what the images are; the message has the line.
  """
  rows = _rows(root)
  words = names.Normal.of(normal)
  words.check(dict.fromkeys(row.kind or row.label for row in rows))
  splits = [_split(root, row, rows[0]) for row in rows]
  kinds, notes = _kinds(root, rows, words)
  ids = _ids(root, rows)
  good = [
    name
    for name, split, kind in zip(ids, splits, kinds, strict=True)
    if kind == "good" and split in ("", "train")
  ]
  if not good:
    raise InputError(
      f"root={root}: no normal images to train on, but "
      f"{listed(dict.fromkeys(kinds), 10)}; expected good, or name the normal "
      "kind with normal",
      "root",
    )
  if "test" not in splits:
    held = held_out(root, good, seed, test_fraction)
    splits = [
      "test" if name in held or not (split or kind == "good") else split
      for name, split, kind in zip(ids, splits, kinds, strict=True)
    ]
    notes.append(
      f"no line is of the test: {len(held)} of {len(good)} normal images are "
      "held out for it, see test_fraction"
    )
  items, skipped = [], collections.defaultdict(list)
  for row, name, split, kind in zip(rows, ids, splits, kinds, strict=True):
    if split == "validation":
      skipped["in neither train nor test"].append(name)
      continue
    mask = _mask(root, row, split, kind, skipped)
    path = _file(root, row, row.path)
    items.append(Item(split or "train", name, kind, path, mask))
  items.sort(key=lambda item: (item.split, item.id))
  check_complete(
    [item.id for item in items if item.split == "test" and item.label],
    {
      item.id: pathlib.Path(os.path.relpath(item.mask, root.parent)).as_posix()
      for item in items
      if item.mask is not None
    },
  )
  where = {(item.split, item.kind): (root.name,) for item in items}
  return Found(root, tuple(items), where, skipped, (*notes, *lacking(items)))


def _mask(root, row, split, kind, skipped):
  """The path of a row's mask; None where it has none, or is not read."""
  if not row.mask:
    return None
  mask = _file(root, row, row.mask)
  if kind == "good":
    check_empty(row.path, mask)
    skipped[OF_NORMAL].append(row.mask)
  elif split != "test":
    skipped[OF_TRAINING].append(row.mask)
  else:
    return mask
  return None


def _rows(root):
  """The lines of the file.

  Raises:
    InputError: it cannot be read, or has not the columns.
  """
  try:
    rows = [
      _Row(line, *(texts.get(name, "") for name in _Row._fields[1:]))
      for line, texts in lists.read(root, _NEEDED, _EXPECTED)
    ]
  except InputError as error:
    raise InputError(f"root={error}", "root") from error
  for row in rows:
    if not row.path:
      raise _error(root, row.line, "it names no path")
  if not rows:
    raise InputError(f"root={root}: the list is empty", "root")
  return rows


def _split(root, row, first):
  """What a row says, or ""; all rows say something, or none does."""
  if bool(row.split) != bool(first.split):
    has, lacks = (row, first) if row.split else (first, row)
    raise _error(
      root,
      lacks.line,
      f"it has no split, and line {has.line} has one; expected train or test",
    )
  split = names.split_of(row.split) if row.split else ""
  if split is None:
    raise _error(root, row.line, f"split {row.split!r}; expected train or test")
  return split


def _kinds(root, rows, words):
  """The kind of each row, and what is to be said of them."""
  kinds, spellings = [], {}
  for row in rows:
    named = row.kind, _LABELS.get(row.label.casefold(), row.label)
    said = ["good" if words.holds(text) else text for text in named if text]
    if not said:
      raise _error(root, row.line, "it has no kind, such as good or scratch")
    if len({kind == "good" for kind in said}) > 1:
      raise _error(
        root, row.line, f"kind {row.kind} and label {row.label} disagree"
      )
    spelt = spellings.setdefault(said[0].casefold(), {})
    spelt[said[0]] = None
    kinds.append(next(iter(spelt)))
  notes = [
    f"{' and '.join(spelt)} are one kind, {next(iter(spelt))}"
    for spelt in spellings.values()
    if len(spelt) > 1
  ]
  return kinds, notes


def _ids(root, rows):
  """The path of each row relative to the list, where it lies below it."""
  here = os.path.abspath(root.parent)
  lines = {}
  for row in rows:
    path = os.path.abspath(_file(root, row, row.path))
    if path.startswith(os.path.join(here, "")):
      path = os.path.relpath(path, here)
    name = pathlib.Path(path).as_posix()
    if name in lines:
      raise _error(root, row.line, f"{name} is in line {lines[name]} already")
    lines[name] = row.line
  return list(lines)


def _file(root, row, text):
  """The path that a row names.

  Raises:
    InputError: there is no such file.
  """
  path = lists.path_of(root, text)
  if os.path.isfile(path):
    return path
  raise _error(
    root, row.line, f"there is no file {text}; paths are relative to the list"
  )


def _error(root, line, problem):
  return InputError(f"root={root}: line {line}: {problem}", "root")
