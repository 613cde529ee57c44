# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Which rows make up a batch, and how they come to the devices."""

import types
from fractions import Fraction

import jax
import numpy as np
import pytest

import jaxad
from jaxad import distributed, feed
from jaxad.data.examples import Dataset, Examples
from jaxad.detector import Phase, Stream
from jaxad.errors import InputError
from jaxad.feed import Feed, Indices, as_dataset, columns
from jaxad.plan import Plan
from jaxad.seeding import generator


def examples_of(label, seed=0):
  label = np.int32(label)
  n = len(label)
  x = np.random.default_rng(seed).integers(0, 256, (n, 2, 2, 1), np.uint8)
  names = tuple(f"{k:03d}" for k in range(n))
  return Examples(x, label, names, names, None)


# 20 normal examples, and at rows 3, 7 and 11 anomalies.
ANOMALIES = np.int32([3, 7, 11])
LABEL = np.isin(np.arange(23), ANOMALIES)
NORMAL = np.flatnonzero(~LABEL)

ELEVEN = as_dataset(examples_of([0] * 11))
LABELLED = Dataset(
  examples_of(LABEL), examples_of([]), examples_of([2] * 6, seed=1)
)


def endless(rows, **fields):
  return Stream(rows, order="endless", **fields)


def shared(*rows, **fields):
  """Streams that divide a batch evenly."""
  return [Stream(kind, Fraction(1, len(rows)), **fields) for kind in rows]


BALANCED = (
  endless("normal", share=Fraction(2, 3)),
  endless("anomalous", share=Fraction(1, 3), required=False),
)


def phase_of(*streams, **fields):
  return Phase("p", lambda *_: None, streams=streams, **fields)


def indices(*streams, data=ELEVEN, batch_size=4, drop_remainder=False, seed=5):
  """The rows of batches, where an epoch is one pass of the first stream."""
  phase = phase_of(*streams)
  plan = Plan(batch_size, (100,), (1,), drop_remainder, seed)
  per_epoch = feed.steps_per_epoch(phase, data, batch_size, drop_remainder)
  return Indices(phase, data, plan, per_epoch)


def batches(found, n, first=0):
  return [found.at(k) for k in range(first, first + n)]


def column(batches, name="x"):
  return np.concatenate([batch[name] for batch in batches])


def assert_same(some, others):
  assert len(some) == len(others)
  for a, b in zip(some, others, strict=True):
    assert a.keys() == b.keys()
    for name in a:
      assert a[name].dtype == b[name].dtype
      np.testing.assert_array_equal(a[name], b[name])


# Epochs.


def test_an_epoch_has_every_row_once_and_the_last_batch_is_padded():
  found = indices(Stream())
  assert found.padded and not found.labelled
  epoch = batches(found, 3)
  for batch in epoch:
    assert batch.keys() == {"x", "weight"}
    assert batch["x"].shape == batch["weight"].shape == (4,)
    assert batch["x"].dtype == np.int32
    assert batch["weight"].dtype == np.float32
  rows = column(epoch)
  assert sorted(rows[:11]) == [*range(11)]
  assert column(epoch, "weight").tolist() == [1] * 11 + [0]
  # Padding repeats an example of its batch.
  assert rows[11] == epoch[2]["x"][0]


def test_order_is_a_function_of_seed_and_epoch():
  order = lambda epoch, seed: column(
    batches(indices(Stream(), seed=seed), 3, 3 * epoch)
  )[:11]
  want = generator("p/0", 5, 2).permutation(11)
  np.testing.assert_array_equal(order(2, 5), want)
  assert sorted(order(3, 5)) == sorted(want)
  assert (order(3, 5) != want).any()
  assert (order(2, 6) != want).any()


MIXED = (
  *BALANCED,
  endless("normal", count=3, name="reference"),
  Stream("outliers", Fraction(2, 3), name="outlier"),
  Stream(name="again", order="once"),
)


@pytest.mark.parametrize("first", [0, 1, 4, 17])
def test_a_batch_is_a_function_of_seed_and_number(first):
  """Whatever was asked for before it: what was seen is not remembered."""
  new = lambda: indices(*MIXED, data=LABELLED, batch_size=9)
  whole = batches(new(), 18)
  assert_same(batches(new(), 18 - first, first), whole[first:])
  found = new()
  backwards = [found.at(k) for k in reversed(range(18))]
  assert_same(backwards[::-1], whole)
  other = batches(indices(*MIXED, data=LABELLED, batch_size=9, seed=6), 18)
  for name in ("x", "reference", "outlier", "again"):
    assert (column(other, name) != column(whole, name)).any()


def test_drop_remainder():
  padded = indices(Stream())
  found = indices(Stream(), drop_remainder=True)
  assert not found.padded
  rows = [{"x": batch["x"]} for batch in batches(padded, 5)]
  # The batches of the first epoch but the last, then those of the second.
  assert_same(batches(found, 4), [rows[0], rows[1], rows[3], rows[4]])


@pytest.mark.parametrize(
  ("n", "drop_remainder", "want"), [(11, False, 3), (11, True, 2), (12, 0, 3)]
)
def test_steps_of_an_epoch(n, drop_remainder, want):
  data = as_dataset(examples_of([0] * n))
  phase = phase_of(Stream())
  assert feed.steps_per_epoch(phase, data, 4, drop_remainder) == want
  stated = phase._replace(steps_per_epoch=7)
  assert feed.steps_per_epoch(stated, data, 4, drop_remainder) == 7
  # Whole batches are not weighted.
  padded = indices(Stream(), data=data, drop_remainder=drop_remainder).padded
  assert padded == (want * 4 > n)


def test_once_is_one_permutation_for_all_epochs():
  found = indices(Stream(order="once"))
  epochs = [batches(found, 3, 3 * k) for k in range(3)]
  assert_same(epochs[1], epochs[0])
  assert_same(epochs[2], epochs[0])
  assert_same(epochs[0], batches(indices(Stream()), 3))


def test_two_streams_are_shuffled_apart():
  found = indices(Stream(), Stream(name="other"))
  epoch = batches(found, 3)
  rows = {name: column(epoch, name)[:11] for name in ("x", "other")}
  for order in rows.values():
    assert sorted(order) == [*range(11)]
  assert (rows["x"] != rows["other"]).any()
  # Also those of two phases.
  phase = phase_of(Stream())._replace(name="q")
  second = Indices(phase, ELEVEN, Plan(4, (100,), (1,), seed=5), 3)
  assert (column(batches(second, 3))[:11] != rows["x"]).any()


def test_a_shorter_stream_begins_anew_within_an_epoch():
  found = indices(*shared("normal", "anomalous"), data=LABELLED, batch_size=8)
  epoch = batches(found, 5)
  assert sorted(column(epoch)[column(epoch) % 4 != 3]) == sorted(
    row for row in NORMAL if row % 4 != 3
  )
  for batch in epoch:
    assert set(batch["x"][:4]) <= set(NORMAL)
    assert sorted(batch["x"][4:7]) == [3, 7, 11]
    assert batch["weight"].tolist() == [1] * 7 + [0]


# Endless streams.


def test_endless_streams_are_permutations_end_to_end():
  found = indices(*BALANCED, data=LABELLED, batch_size=8)
  assert found.labelled and not found.padded
  rows = np.stack([batch["x"] for batch in batches(found, 9)])
  assert all(batch.keys() == {"x"} for batch in batches(found, 9))
  normal = rows[:, :5].ravel()
  for k in range(3):
    piece = normal[20 * k : 20 * (k + 1)]
    want = generator("p/0", 5, k).permutation(NORMAL)
    np.testing.assert_array_equal(piece, want[: len(piece)])
  for k in range(9):
    want = generator("p/1", 5, k).permutation(ANOMALIES)
    np.testing.assert_array_equal(rows[k, 5:], want)


def test_an_epoch_has_a_step_where_a_batch_is_longer_than_the_data():
  phase = phase_of(endless("normal", share=Fraction(5)))
  for drop_remainder in (False, True):
    assert feed.steps_per_epoch(phase, ELEVEN, 4, drop_remainder) == 1


def test_a_batch_may_be_longer_than_a_permutation():
  found = indices(endless("anomalous"), data=LABELLED, batch_size=8)
  rows = column(batches(found, 3))
  for k in range(8):
    want = generator("p/0", 5, k).permutation(ANOMALIES)
    np.testing.assert_array_equal(rows[3 * k : 3 * (k + 1)], want)


def test_sampler_of_the_authors_of_dra(monkeypatch):
  """Their recorded batches, under NumPy's old global generator, seed 11."""
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

  def replayed(tag, seed, k):
    def permutation(these):
      np.testing.assert_array_equal(these, rows[tag])
      return drawn[tag][k].astype(np.int32)

    return types.SimpleNamespace(permutation=permutation)

  monkeypatch.setattr(feed, "generator", replayed)
  data = as_dataset(examples_of([0] * 11 + [1] * 3))
  found = indices(*BALANCED, data=data, batch_size=8)
  for first in range(4):
    got = [found.at(k)["x"] for k in range(first, 4)]
    assert np.stack(got).tolist() == recorded[first:]
    assert got[0].dtype == np.int32


# Sizes.


@pytest.mark.parametrize(
  ("streams", "batch_size", "want"),
  [
    (BALANCED, 8, [5, 3]),
    (BALANCED, 48, [32, 16]),
    (shared("normal", "anomalous"), 8, [4, 4]),
    (shared("normal", "anomalous"), 9, [4, 5]),
    # Each ends at floor(8 k / 3).
    (shared("normal", "anomalous", "normal"), 8, [2, 3, 3]),
    # Streams of another name begin at the start of theirs.
    ((Stream(), *shared("normal", "normal", name="z")), 5, [5, 2, 3]),
    # As critics that see five batches a step.
    ((Stream(), Stream(share=Fraction(5), name="z")), 4, [4, 20]),
    ((Stream(), Stream(count=3, name="reference")), 4, [4, 3]),
    ((Stream(), Stream(count=3, name="reference")), 16, [16, 3]),
  ],
)
def test_shares_of_a_batch(streams, batch_size, want):
  found = columns(phase_of(*streams), LABELLED, batch_size)
  assert [each.size for each in found] == want
  rows = indices(*streams, data=LABELLED, batch_size=batch_size).at(0)
  sizes = {}
  for stream, size in zip(streams, want, strict=True):
    sizes[stream.name] = sizes.get(stream.name, 0) + size
  rows.pop("weight", None)
  assert {name: len(row) for name, row in rows.items()} == sizes


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    (dict(batch_size=0), "batch_size=0: expected a whole number, 1 to"),
    (dict(batch_size=4.0), "batch_size=4.0: expected a whole number"),
    (dict(seed=-1), "seed=-1: expected a whole number, 0 to"),
    (dict(epochs=-1), "epochs=-1: expected a whole number, 0 to"),
    (dict(steps=0), "steps=0: expected a whole number, 1 to"),
    (dict(steps_per_dispatch=0), "steps_per_dispatch=0: expected"),
    (
      dict(batch_size=12, drop_remainder=True),
      "batch_size=12: with drop_remainder.* no batch of 11",
    ),
  ],
)
def test_plans_that_make_no_batches(fields, message):
  detector = jaxad.Detector(None, (phase_of(Stream()),), None)
  with pytest.raises(InputError, match=message) as caught:
    jaxad.make_plan(detector, ELEVEN, **{"batch_size": 4} | fields)
  assert "\n" not in str(caught.value) and caught.value.argument in fields


def test_labels_are_those_of_the_streams():
  (batch,) = batches(indices(*BALANCED, data=LABELLED, batch_size=8), 1)
  assert LABEL[batch["x"]].tolist() == [0] * 5 + [1] * 3
  found = indices(Stream("all"), data=LABELLED)
  assert found.labelled
  assert sorted(column(batches(found, 6))[:23]) == [*range(23)]


def test_outliers_are_rows_of_their_own():
  streams = Stream(), Stream("outliers", Fraction(1, 2), name="outlier")
  found = indices(*streams, data=LABELLED)
  assert found.source("outlier") == "outliers" and found.source("x") == "x"
  assert not found.labelled
  epoch = batches(found, 5)
  assert {batch["outlier"].shape for batch in epoch} == {(2,)}
  order = generator("p/1", 5, 0).permutation(6)
  # There are three batches of them in an epoch, from which it goes on.
  want = np.concatenate([order, order[:4]])
  np.testing.assert_array_equal(column(epoch, "outlier"), want)


# Missing rows.


NO_ANOMALIES = LABELLED._replace(train=LABELLED.train.take(NORMAL))


def test_the_stream_before_takes_the_place_of_what_is_not_required():
  found = indices(*BALANCED, data=NO_ANOMALIES, batch_size=8)
  plain = indices(endless("normal"), data=NO_ANOMALIES, batch_size=8)
  assert_same(batches(found, 6), batches(plain, 6))
  # The step asks for labels none the less.
  assert found.labelled and not plain.labelled
  for on_device in (True, False):
    (batch,) = stacks_of(found, NO_ANOMALIES, [(0, 1)], on_device)
    assert batch["label"].tolist() == [0] * 8
  # A stream of another name is left out.
  spare = endless("outliers", name="outlier", required=False)
  without = LABELLED._replace(outliers=None)
  for data, names in ((without, {"x"}), (LABELLED, {"x", "outlier"})):
    found = indices(endless("normal"), spare, data=data)
    assert found.at(0).keys() == names


@pytest.mark.parametrize(
  ("rows", "data", "words"),
  [
    ("anomalous", NO_ANOMALIES, "no anomalous training.*n_anomalies=10"),
    ("outliers", ELEVEN, "no outliers.*outlier_root"),
    (
      "normal",
      as_dataset(examples_of([1, 1])),
      "no normal training.*the label 0",
    ),
    (
      "all",
      as_dataset(examples_of([])),
      "there are no training images.*: expected some",
    ),
  ],
)
def test_rows_that_are_required(rows, data, words):
  phase = phase_of(Stream(rows))
  with pytest.raises(InputError, match=words) as caught:
    columns(phase, data, 4)
  assert "\n" not in str(caught.value)


# To the devices.


def stacks_of(found, data, segments, on_device):
  """Batches as a step reads them, each as a dict of NumPy arrays."""
  held = Feed(data, distributed.data_mesh(), on_device)
  assert held.on_device == on_device
  assert held.resident.keys() == (
    {"x", "label"} | ({"outliers"} if data.outliers else set())
    if on_device
    else set()
  )
  result = []
  for stack in held.stacks(found, iter(segments)):
    for k in range(stack.end - stack.first):
      entry = jax.tree.map(lambda v, k=k: v[k], stack.entry)
      batch = held.batch(found, held.resident, entry)
      result.append(jax.tree.map(np.asarray, batch))
  return result


@pytest.mark.parametrize("on_device", [True, False])
def test_a_batch_holds_what_its_rows_say(on_device):
  found = indices(*MIXED, data=LABELLED, batch_size=9)
  segments = [(2, 5), (5, 6), (6, 8)]
  got = stacks_of(found, LABELLED, segments, on_device)
  assert len(got) == 6
  for batch, rows in zip(got, batches(found, 6, 2), strict=True):
    assert batch.keys() == rows.keys() | {"label"}
    train, outliers = LABELLED.train, LABELLED.outliers
    np.testing.assert_array_equal(batch["x"], train.x[rows["x"]])
    np.testing.assert_array_equal(batch["label"], LABEL[rows["x"]])
    for name in ("reference", "again"):
      np.testing.assert_array_equal(batch[name], train.x[rows[name]])
    np.testing.assert_array_equal(batch["outlier"], outliers.x[rows["outlier"]])
    assert batch["label"].dtype == np.int32
    for name in ("x", "reference", "outlier"):
      assert batch[name].dtype == np.uint8


@pytest.mark.parametrize("on_device", [True, False])
def test_padding_has_the_weight_zero(on_device):
  found = indices(Stream())
  got = stacks_of(found, ELEVEN, [(0, 3)], on_device)
  weight = column(got, "weight")
  assert weight.tolist() == [1] * 11 + [0] and weight.dtype == np.float32
  assert all(batch.keys() == {"x", "weight"} for batch in got)


@pytest.fixture
def as_process(monkeypatch):
  """Stands for one of three processes: arrays stay on the host."""

  def choose(index):
    thirds = lambda mesh, n: np.arange(n // 3) + index * n // 3
    monkeypatch.setattr(distributed, "local_columns", thirds)
    monkeypatch.setattr(distributed, "put", lambda sharding, value: value)

  return choose


@pytest.mark.parametrize("on_device", [True, False])
def test_processes_share_a_batch(as_process, on_device):
  streams = (
    *BALANCED,
    endless("normal", count=4, name="reference"),
    endless("outliers", name="outlier"),
  )
  found = indices(*streams, data=LABELLED, batch_size=6)
  segments = [(0, 2), (2, 3)]
  whole = stacks_of(found, LABELLED, segments, on_device)
  parts = []
  for index in range(3):
    as_process(index)
    parts.append(stacks_of(found, LABELLED, segments, on_device))
  for batch, *each in zip(whole, *parts, strict=True):
    for name in ("x", "label", "outlier"):
      assert all(len(part[name]) == 2 for part in each)
      joined = np.concatenate([part[name] for part in each])
      np.testing.assert_array_equal(joined, batch[name])
    # Of what has a number, every one has all.
    for part in each:
      np.testing.assert_array_equal(part["reference"], batch["reference"])


def test_processes_share_the_padding(as_process):
  found = indices(Stream(), batch_size=6)
  whole = stacks_of(found, ELEVEN, [(0, 2)], True)
  for index in range(3):
    as_process(index)
    part = stacks_of(found, ELEVEN, [(0, 2)], True)
    for batch, mine in zip(whole, part, strict=True):
      rows = slice(2 * index, 2 * index + 2)
      np.testing.assert_array_equal(mine["weight"], batch["weight"][rows])
      np.testing.assert_array_equal(mine["x"], batch["x"][rows])


def test_outliers_look_like_the_training_images():
  others = examples_of([2, 2])
  for x, words in (
    (np.zeros((2, 3, 3, 1), np.uint8), r"outliers.*\(3, 3, 1\).*\(2, 2, 1\)"),
    (np.zeros((2, 2, 2, 1), np.float32), "outliers.*float32.*expected.*uint8"),
  ):
    outliers = Examples(x, others.label, others.id, others.kind, None)
    data = LABELLED._replace(outliers=outliers)
    with pytest.raises(InputError, match=words) as caught:
      Feed(data, distributed.data_mesh())
    assert "\n" not in str(caught.value)


# One pass, for fits.


def passed(kind, batch_size=8, seed=5, data=LABELLED):
  held = Feed(data, distributed.data_mesh())
  found = held.one_pass(kind, batch_size, seed)
  return [jax.tree.map(np.asarray, batch) for batch in found]


@pytest.mark.parametrize(
  ("kind", "rows"),
  [("normal", NORMAL), ("anomalous", ANOMALIES), ("all", np.arange(23))],
)
def test_one_pass_has_every_row_of_a_kind_once(kind, rows):
  found = passed(kind)
  n = len(rows)
  assert len(found) == -(-n // 8)
  for batch in found:
    assert batch.keys() == {"x", "weight", "label"}
    assert len(batch["x"]) == len(batch["weight"]) == len(batch["label"]) == 8
    assert batch["weight"].dtype == np.float32
    assert batch["label"].dtype == np.int32
  weight = column(found, "weight")
  assert weight.tolist() == [1] * n + [0] * (len(weight) - n)
  order = generator("fit", 5).permutation(rows)
  assert (order != rows).any()
  np.testing.assert_array_equal(column(found)[:n], LABELLED.train.x[order])
  np.testing.assert_array_equal(column(found, "label")[:n], LABEL[order])
  # Padding is an example too, for steps that cannot leave it out.
  np.testing.assert_array_equal(found[-1]["x"][-1], found[-1]["x"][0])
  assert (column(passed(kind, seed=6))[:n] != column(found)[:n]).any()


def test_processes_share_a_pass(as_process):
  whole = passed("all", batch_size=6)
  parts = []
  for index in range(3):
    as_process(index)
    parts.append(passed("all", batch_size=6))
  joined = [
    {name: np.concatenate([part[name] for part in each]) for name in batch}
    for batch, *each in zip(whole, *parts, strict=True)
  ]
  assert_same(joined, whole)


def test_a_pass_over_nothing():
  with pytest.raises(InputError, match="no anomalous training"):
    passed("anomalous", data=NO_ANOMALIES)
