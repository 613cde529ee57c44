# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What is trained on is tested, and training knows nobody's label."""

import numpy as np
import pytest

import jaxad
from jaxad import config_files, data, splits
from jaxad.data.fingerprint import difference, fingerprint, rows
from jaxad.data.tables import TableOptions
from jaxad.errors import InputError
from jaxad.run import run


def digits(**keywords):
  keywords = {"protocol": "contaminated", "contamination": 0.5} | keywords
  return data.load("digits", subset="3", image_size=8, **keywords)


@pytest.mark.parametrize("c", [0.1, 0.3, 0.9])
def test_all_of_the_class_and_the_first_of_the_others(c):
  everything = data.load("digits", subset="3", image_size=8)
  found = digits(protocol="contaminated_test", contamination=c)
  label = everything.test.label
  n = int((label == 0).sum())
  first = np.flatnonzero(label == 1)[: int(c * n)]
  want = everything.test.take(np.union1d(np.flatnonzero(label == 0), first))
  assert found.test.id == want.id and found.test.kind == want.kind
  np.testing.assert_array_equal(found.test.x, want.x)
  np.testing.assert_array_equal(found.test.label, want.label)
  assert found.test.label.sum() == int(c * n)


def test_both_splits():
  everything = data.load("digits", subset="3", image_size=8)
  found = digits()
  n = len(everything.train.id) + int((everything.test.label == 0).sum())
  assert len(found.test.id) == n + n // 2
  assert set(everything.train.id) < set(found.test.id)


@pytest.mark.parametrize("protocol", ["contaminated", "contaminated_test"])
def test_training_has_the_same_rows_without_labels(protocol):
  found = digits(protocol=protocol)
  assert found.transductive and found.train.id == found.test.id
  np.testing.assert_array_equal(found.train.x, found.test.x)
  assert not found.train.label.any() and found.test.label.any()
  assert found.train.label.dtype == np.int32
  again = digits(protocol=protocol, seed=7)
  assert again.train.id == found.train.id  # nothing is drawn
  assert not data.load("digits", subset="3", image_size=8).transductive


def test_every_row_of_the_mixture_is_learnt_from():
  """By any method; none tells the anomalous ones."""
  found = splits.load(
    dict(
      name="digits",
      subset="3",
      image_size=8,
      protocol="contaminated",
      contamination=0.5,
      seed=0,
    ),
    holdout=0.0,
    threshold_images=50,
    detector=jaxad.rsrae(),
  )
  assert len(found.data.train.id) == len(digits().train.id)
  assert not found.held_out and len(found.normal.id) == 50
  assert set(found.normal.id) < set(found.data.train.id)


def test_none_can_be_held_out():
  fields = dict(name="digits", subset="3", protocol="contaminated", seed=0)
  fields |= dict(image_size=8, contamination=0.5)
  with pytest.raises(InputError, match="holdout=0.2: .*set it to 0") as caught:
    splits.load(fields, 0.2, 50, jaxad.rsrae())
  assert caught.value.argument == "holdout"


def test_the_fingerprint_knows_the_share():
  seen = lambda found: rows({"train": found.train, "test": found.test})
  a, b = seen(digits()), seen(digits(contamination=0.4))
  assert difference(a, seen(digits())) is None
  assert fingerprint(a)["train"] != fingerprint(a)["test"]  # the labels
  assert "missing" in difference(a, b)


def write_table(path):
  lines = ["a,b,label"]
  lines += [f"{k},{k % 7},0" for k in range(40)]
  lines += [f"{1000 + k},{k % 5},1" for k in range(30)]
  path.write_text("\n".join(lines) + "\n")
  return path


def test_rows_of_a_table(tmp_path):
  found = data.load(
    "table",
    root=write_table(tmp_path / "rows.csv"),
    protocol="contaminated",
    contamination=0.25,
  )
  assert found.transductive and found.test.label.tolist() == [0] * 40 + [1] * 10
  # The first in the order of their lines, and the scale is of them all.
  assert found.test.raw[40:, 0].tolist() == [1000 + k for k in range(10)]
  np.testing.assert_allclose(found.train.x.mean(0), 0, atol=1e-6)
  np.testing.assert_allclose(found.train.x.std(0), 1, rtol=1e-5)
  np.testing.assert_array_equal(found.train.x, found.test.x)


@pytest.mark.parametrize(
  "keywords, message",
  [
    (dict(contamination=0.0), "contamination=0.0: .*makes no anomalies"),
    (
      dict(contamination=0.001),
      "contamination=0.001: of 183 normal .*no anomalies",
    ),
    (dict(n_anomalies=3), "protocol=contaminated: .*leave n_anomalies"),
    (dict(pool=3), "protocol=contaminated: .*pool"),
    (dict(protocol="mixed"), "protocol='mixed': .*contaminated_test"),
  ],
)
def test_wrong_arguments(keywords, message):
  with pytest.raises(InputError, match=message):
    digits(**keywords)


@pytest.mark.parametrize(
  "options, message",
  [
    (dict(constant="drop"), "table.constant=drop: it goes by the labels"),
    (dict(constant="error"), "table.constant=error: .*take keep"),
    (dict(text="one_hot"), "table.text=one_hot: .*take drop"),
  ],
)
def test_columns_are_not_chosen_by_labels(tmp_path, options, message):
  with pytest.raises(InputError, match=message):
    data.load(
      "table",
      root=write_table(tmp_path / "rows.csv"),
      protocol="contaminated",
      contamination=0.25,
      table=TableOptions(**options),
    )


def test_a_scene_is_one_already():
  with pytest.raises(InputError, match="protocol=contaminated: a scene"):
    data.load("scene", protocol="contaminated", contamination=0.1)


def test_too_few_anomalies(tmp_path):
  path = write_table(tmp_path / "rows.csv")
  load = lambda c: data.load(
    "table", root=path, protocol="contaminated", contamination=c
  )
  assert load(0.75).test.label.sum() == 30
  message = "contamination=0.8: of 40 normal .*32 anomalies.* has 30"
  with pytest.raises(InputError, match=message):
    load(0.8)


@pytest.mark.whole
@pytest.mark.parametrize("method", ["rsrae", "adae"])
def test_a_run(method, tmp_path, capsys):
  config = config_files.load(method)
  config.data.update(
    protocol="contaminated", contamination=0.5, image_size=8, holdout=0.0
  )
  config.train.epochs = 2
  config.eval.batch_size = 64
  results = run(config, tmp_path / "run")
  assert results["n_train"] == results["n_test"] > 100
  assert results["n_train_anomalies"] == 0
  assert 0 < results["image_auroc"] < 1
  assert results["expected_false_positive_rate"] is None
  assert "outliers and all" in capsys.readouterr().out
  assert jaxad.load(tmp_path / "run").score(np.zeros((1, 8, 8, 1), np.uint8))
