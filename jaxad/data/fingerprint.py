# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What data a run saw, small enough to be written down beside its results.

    seen = rows({"train": dataset.train, "test": dataset.test})
    results["data"] = fingerprint(seen)
    if problem := difference(rows_of_the_run, seen):
      raise InputError(problem)

The content of the examples counts, and their ids, which are relative to the
root; where the root is does not.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxad.data.examples import Examples

# How a message calls the images of a split.
_NAMES = {
  "train": "training",
  "outliers": "outlier",
  "held_out": "held-out",
}


class Row(NamedTuple):
  """One example, as a line of a table.

  Attributes:
    split: the name of its split.
    id: as in `Examples`.
    kind: as in `Examples`.
    digest: 16 hexadecimal digits of all there is of the example: id, kind,
      label, and the shape, dtype and bytes of its pixels and of its mask.
  """

  split: str
  id: str
  kind: str
  digest: str


def rows(splits: Mapping[str, Examples | None]) -> list[Row]:
  """The rows of all examples, in the order of the splits.

  Args:
    splits: examples by the name of their split: "train", "test", "outliers",
      "held_out"; a split may be None.
  """
  return [
    Row(name, examples.id[i], examples.kind[i], _digest(examples, i))
    for name, examples in splits.items()
    if examples is not None
    for i in range(len(examples.id))
  ]


def fingerprint(rows: Sequence[Row]) -> dict[str, dict]:
  """{split: {"n": number of examples, "digest": one of them all, in order}}."""
  found = {}
  for split, _, _, digest in rows:
    found.setdefault(split, []).append(digest)
  return {
    split: {"n": len(digests), "digest": _hash("".join(digests)).hexdigest()}
    for split, digests in found.items()
  }


def difference(before: Sequence[Row], now: Sequence[Row]) -> str | None:
  """What is other than it was, in one line; None where nothing is.

  Args:
    before: the rows that a run saw; also tuples of text, as from a CSV file.
    now: the rows of the data at hand.

  Returns:
    The first example that is missing, new, has another content or has moved to
    another split, and how many examples differ in all.
  """
  old = {(split, name): digest for split, name, _, digest in before}
  new = {(split, name): digest for split, name, _, digest in now}
  missing = [key for key in old if key not in new]
  added = [key for key in new if key not in old]
  changed = [key for key in old if key in new and old[key] != new[key]]
  # An id that left one split and came into another.
  came = {name: split for split, name in added}
  moved = {name: split for split, name in missing if name in came}
  # What moved may do so because of what is missing or new.
  found = [(key, "is missing") for key in missing if key[1] not in moved]
  found += [(key, "is new") for key in added if key[1] not in moved]
  found += [(key, "has another content") for key in changed]
  count = len(found) + len(moved)
  total = f" ({count} differ in all)" if count > 1 else ""
  if found:
    (split, name), what = found[0]
    return (
      f"the {_name(split)} images are not those of the run: {name} {what}"
      f"{total}"
    )
  for name, split in moved.items():
    return (
      f"the split is not that of the run: {name} was {_article(split)} image "
      f"and is {_article(came[name])} image now{total}"
    )
  if list(old) != list(new):
    return "the images are those of the run, in another order"
  return None


def _digest(examples, i):
  rows = i if examples.tiles is None else examples.tiles.rows([i])
  # The scale of a table, or of a scene, is that of all its rows.
  of = examples.x if examples.raw is None else examples.raw
  mask = examples.mask
  if examples.pixels is not None:
    mask = None  # a label says as much
    rows = np.unravel_index(examples.pixels.rows[i], of.shape[:-1])
  x = np.ascontiguousarray(of[rows])
  mask = None if mask is None else mask[i]
  facts = [examples.id[i], examples.kind[i], int(examples.label[i])]
  facts += [x.shape, x.dtype.str, mask is not None]
  state = _hash(json.dumps(facts))
  # A single number has no bytes to be viewed.
  state.update(x.reshape(-1).view(np.uint8))
  if mask is not None:
    state.update(np.ascontiguousarray(mask).reshape(-1).view(np.uint8))
  return state.hexdigest()


def _hash(text):
  return hashlib.blake2b(text.encode(), digest_size=8)


def _name(split):
  return _NAMES.get(split, split)


def _article(split):
  name = _name(split)
  return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
