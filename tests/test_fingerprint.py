# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What data a run saw, and how it differs from other data."""

import csv
import dataclasses
import json
import time

import numpy as np
import pytest

from jaxad.data.examples import Examples
from jaxad.data.fingerprint import Row, difference, fingerprint, rows


def make(names, label=0, mask=True):
  shape = (len(names), 6, 5, 3)
  x = np.random.default_rng(len(names)).integers(0, 256, shape, np.uint8)
  masks = np.zeros(shape[:3], np.uint8) if mask else None
  kinds = ("good",) * len(names)
  return Examples(
    x, np.full(len(names), label, np.int32), tuple(names), kinds, masks
  )


@pytest.fixture
def splits():
  train = make([f"good/{k:03d}.png" for k in range(4)])
  test = make([f"bad/{k:03d}.png" for k in range(3)], label=1)
  return {"train": train, "test": test, "outliers": None}


def test_a_row_an_example(splits):
  found = rows(splits)
  assert [row.split for row in found] == ["train"] * 4 + ["test"] * 3
  assert found[0][:3] == ("train", "good/000.png", "good")
  assert len({row.digest for row in found}) == 7
  assert all(len(row.digest) == 16 for row in found)
  summary = fingerprint(found)
  assert {name: split["n"] for name, split in summary.items()} == {
    "train": 4,
    "test": 3,
  }
  assert json.loads(json.dumps(summary)) == summary
  assert rows(splits) == found and difference(found, rows(splits)) is None


def changes(examples):
  """The examples with one thing other in the second of them."""
  pixel, mask, label = (
    np.copy(a) for a in (examples.x, examples.mask, examples.label)
  )
  pixel[1, 2, 3, 1] ^= 1
  mask[1, 0, 0] = 1
  label[1] = 0
  kind = (examples.kind[0], "hole", *examples.kind[2:])
  turned = np.swapaxes(examples.x, 1, 2)
  yield "x", dataclasses.replace(examples, x=pixel)
  yield "mask", dataclasses.replace(examples, mask=mask)
  yield "label", dataclasses.replace(examples, label=label)
  yield "kind", dataclasses.replace(examples, kind=kind)
  yield "no mask", dataclasses.replace(examples, mask=None)
  flat = examples.x.reshape(len(label), 5, 6, 3)
  yield "shape", dataclasses.replace(examples, x=flat)
  yield "dtype", dataclasses.replace(examples, x=examples.x.view(np.int8))
  yield "order of axes", dataclasses.replace(examples, x=turned)


def test_all_there_is_of_an_example_counts(splits):
  before = rows(splits)
  for what, test in changes(splits["test"]):
    now = rows(splits | {"test": test})
    assert now[:4] == before[:4], what
    assert now[5].digest != before[5].digest, what
    summaries = fingerprint(before), fingerprint(now)
    assert summaries[0]["train"] == summaries[1]["train"]
    assert summaries[0]["test"]["digest"] != summaries[1]["test"]["digest"]
    message = difference(before, now)
    assert message.startswith(
      "the test images are not those of the run: bad/00"
    ), what
    assert "has another content" in message, what


def test_a_view_in_other_strides_is_the_same_content(splits):
  train = splits["train"]
  strided = dataclasses.replace(
    train, x=np.asfortranarray(train.x), mask=np.asfortranarray(train.mask)
  )
  assert rows({"train": strided}) == rows({"train": train})


def test_feature_rows_and_single_numbers():
  x = np.arange(12, dtype=np.float32).reshape(3, 4)
  zeros = np.zeros(3, np.int32)
  table = Examples(x, zeros, ("a", "b", "c"), ("good",) * 3, None)
  column = dataclasses.replace(table, x=x[:, 0])
  for examples in (table, column):
    assert len({row.digest for row in rows({"train": examples})}) == 3


def test_what_is_missing_new_or_changed_is_named(splits):
  before = rows(splits)
  fewer = splits | {"test": splits["test"].take(np.array([0, 2]))}
  assert difference(before, rows(fewer)) == (
    "the test images are not those of the run: bad/001.png is missing"
  )
  assert difference(rows(fewer), before) == (
    "the test images are not those of the run: bad/001.png is new"
  )
  none = splits | {"train": splits["train"].take(np.array([], int))}
  assert difference(before, rows(none)) == (
    "the training images are not those of the run: good/000.png is missing "
    "(4 differ in all)"
  )
  added = splits | {"outliers": make(["good/001.png"])}
  assert difference(before, rows(added)) == (
    "the outlier images are not those of the run: good/001.png is new"
  )


def test_what_moved_is_named_unless_the_set_has_changed(splits):
  before = rows(splits)
  train, test = splits["train"], splits["test"]
  moved = make(["good/003.png"], mask=True)
  now = {
    "train": train.take(np.arange(3)),
    "test": Examples(
      np.concatenate([test.x, moved.x]),
      np.concatenate([test.label, moved.label]),
      test.id + moved.id,
      test.kind + moved.kind,
      np.concatenate([test.mask, moved.mask]),
    ),
  }
  assert difference(before, rows(now)) == (
    "the split is not that of the run: good/003.png was a training image and "
    "is a test image now"
  )
  now["train"] = make([f"good/00{k}.png" for k in (0, 1, 2, 9)])
  message = difference(before, rows(now))
  assert "good/009.png is new" in message and "2 differ" in message


def test_another_order_is_told(splits):
  train = splits["train"]
  now = rows(splits | {"train": train.take(np.array([1, 0, 2, 3]))})
  before = rows(splits)
  assert fingerprint(now) != fingerprint(before)
  assert difference(before, now) == (
    "the images are those of the run, in another order"
  )


def test_rows_survive_a_csv_file(splits, tmp_path):
  found = rows(splits)
  with open(tmp_path / "examples.csv", "w", newline="") as file:
    csv.writer(file).writerows(found)
  with open(tmp_path / "examples.csv", newline="") as file:
    read = [Row(*line) for line in csv.reader(file)]
  assert read == found and difference(read, found) is None


def test_it_is_quick():
  x = np.zeros((400, 256, 256, 3), np.uint8)
  examples = Examples(
    x,
    np.zeros(400, np.int32),
    tuple(map(str, range(400))),
    ("good",) * 400,
    None,
  )
  rows({"train": examples.take(np.arange(9))})
  start = time.perf_counter()
  rows({"train": examples})
  # 600 MB/s on one idle core; a busy machine gets room.
  assert x.nbytes / (time.perf_counter() - start) > 100e6
