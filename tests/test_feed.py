# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Which rows make up a batch."""

from fractions import Fraction

import numpy as np
import pytest

from jaxad import feed
from jaxad.data.examples import Dataset, Examples
from jaxad.detector import Phase, Plan, Stream
from jaxad.errors import InputError
from jaxad.seeding import generator

MIXED = (
  Stream("normal", Fraction(2, 3), order="endless"),
  Stream("anomalous", Fraction(1, 3), order="endless", required=False),
)


def make(label):
  names = tuple(map(str, range(len(label))))
  x = np.arange(len(label), dtype=np.float32)[:, None]
  return Examples(x, np.asarray(label, np.int32), names, names, None)


def indices(streams, label, batch_size, outliers=None, **plan):
  examples = make(label)
  data = Dataset(examples, examples.take([]), outliers)
  phase = Phase("p", streams=tuple(streams))
  per_epoch = feed.steps_per_epoch(
    phase._replace(steps_per_epoch=plan.pop("steps_per_epoch", None)),
    data,
    batch_size,
    plan.get("drop_remainder", False),
  )
  plan = Plan(batch_size, (99,), (per_epoch,), **plan)
  return feed.Indices(phase, data, plan, per_epoch), per_epoch


def test_an_epoch_is_a_permutation_with_its_last_batch_padded():
  rows, per_epoch = indices([Stream()], [0] * 11, 4, seed=5)
  assert per_epoch == 3
  for epoch in range(3):
    batches = [rows.at(3 * epoch + k) for k in range(3)]
    x = np.concatenate([batch["x"] for batch in batches])
    weight = np.concatenate([batch["weight"] for batch in batches])
    order = generator("p/0", 5, epoch).permutation(np.arange(11))
    assert x.tolist() == [*order, order[8]]
    assert weight.tolist() == [1] * 11 + [0] and weight.dtype == np.float32
  other, _ = indices([Stream()], [0] * 11, 4, seed=6)
  assert (other.at(0)["x"] != rows.at(0)["x"]).any()


def test_a_last_smaller_batch_may_be_left_out():
  whole, _ = indices([Stream()], [0] * 11, 4)
  rows, per_epoch = indices([Stream()], [0] * 11, 4, drop_remainder=True)
  assert per_epoch == 2
  for step, same in ((0, 0), (1, 1), (2, 3), (3, 4)):
    batch = rows.at(step)
    assert batch.keys() == {"x"}
    np.testing.assert_array_equal(batch["x"], whole.at(same)["x"])


def test_the_order_of_a_batch_does_not_depend_on_what_was_asked_before():
  streams = [*MIXED, Stream("normal", count=3, name="r", order="endless")]
  label = np.isin(np.arange(23), [3, 7, 11])
  rows, _ = indices(streams, label, 8, steps_per_epoch=6)
  batches = [rows.at(step) for step in range(18)]
  for step in (17, 5, 6, 0):
    fresh, _ = indices(streams, label, 8, steps_per_epoch=6)
    for name, value in fresh.at(step).items():
      np.testing.assert_array_equal(value, batches[step][name])


def test_anomalies_repeat_and_streams_have_no_end():
  streams = [*MIXED, Stream("normal", count=4, name="r", order="endless")]
  label = np.isin(np.arange(23), [3, 7, 11])
  rows, _ = indices(streams, label, 8, steps_per_epoch=6, seed=5)
  batches = [rows.at(step) for step in range(12)]
  x = np.stack([batch["x"] for batch in batches])
  normal = np.flatnonzero(label == 0)
  for k in range(3):
    want = generator("p/0", 5, k).permutation(normal)
    np.testing.assert_array_equal(x[:, :5].ravel()[20 * k :][:20], want)
  assert all(sorted(batch[5:]) == [3, 7, 11] for batch in x)
  references = np.concatenate([batch["r"] for batch in batches])
  want = generator("p/2", 5, 0).permutation(normal)
  np.testing.assert_array_equal(references[:20], want)
  # Another stream is another order.
  assert (x[:4, :5].ravel() != references[:20]).any()


def test_sampler_of_the_authors(monkeypatch):
  """Batches of DRA's code, under NumPy's old global generator, seed 11."""
  recorded = [
    [6, 10, 2, 3, 8, 13, 11, 12],
    [4, 5, 7, 1, 0, 13, 12, 11],
    [9, 3, 5, 10, 6, 11, 13, 12],
    [7, 8, 1, 9, 2, 11, 12, 13],
  ]
  rng = np.random.RandomState(11)
  rows = {"p/0": np.arange(11), "p/1": np.arange(11, 14)}
  # The two streams draw from one generator whenever one of them runs out.
  drawn = {"p/0": [], "p/1": []}
  for tag in ("p/0", "p/1", "p/1", "p/0", "p/1", "p/1"):
    drawn[tag].append(rng.permutation(rows[tag]))

  class Drawn:
    def __init__(self, tag, seed, k):
      self.order = drawn[tag][k]

    def permutation(self, rows):
      assert sorted(rows) == sorted(self.order)
      return self.order

  monkeypatch.setattr(feed, "generator", Drawn)
  label = [0] * 11 + [1] * 3
  got, _ = indices(MIXED, label, 8, steps_per_epoch=4)
  assert [got.at(step)["x"].tolist() for step in range(4)] == recorded


def test_without_anomalies_all_rows_are_normal():
  rows, _ = indices(MIXED, [0] * 20, 8, steps_per_epoch=4)
  order = generator("p/0", 0, 0).permutation(20)
  np.testing.assert_array_equal(rows.at(0)["x"], order[:8])


def test_outliers_are_rows_of_their_own():
  outliers = make([2] * 7)
  streams = [Stream(), Stream("outliers", Fraction(1, 2), name="o")]
  rows, _ = indices(streams, [0] * 16, 4, outliers=outliers)
  assert rows.source("o") == "outliers" and rows.source("x") == "x"
  batches = [rows.at(step) for step in range(4)]
  assert {b["o"].shape for b in batches} == {(2,)}
  assert set(np.concatenate([b["o"] for b in batches])) == set(range(7))


@pytest.mark.parametrize(
  ("streams", "label", "message"),
  [
    ([Stream()], [1, 1], "no normal training images"),
    ([Stream(), Stream("anomalous")], [0, 0], "n_anomalies=10"),
    ([Stream(), Stream("outliers", name="o")], [0, 0], "outlier_root"),
  ],
)
def test_rows_that_are_missing(streams, label, message):
  with pytest.raises(InputError, match=message):
    indices(streams, label, 2)
