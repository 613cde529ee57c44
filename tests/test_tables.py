# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Tables as data: files, columns, splits, and what the scale is fitted to."""

import csv
import dataclasses
import json

import jax
import numpy as np
import pytest
from scipy import io as of_matlab

import jaxad
from jaxad import data, export, predict, run, splits
from jaxad.columns import Columns
from jaxad.data import table_files
from jaxad.data.fingerprint import rows
from jaxad.data.tables import TableOptions
from jaxad.errors import InputError
from jaxad.evaluation.evaluators import Evaluation, contamination_figures
from jaxad.predict_rows import predict_rows


def written(folder, text, name="parts.csv"):
  path = folder / name
  path.write_text(text)
  return path


def loaded(path, test_fraction=0.5, normal=None, **options):
  return data.load(
    "table",
    root=path,
    test_fraction=test_fraction,
    normal=normal,
    table=TableOptions(**options),
  )


def parts(n=20, odd=4):
  """A CSV file of normal rows and, at its end, anomalous ones."""
  lines = ["serial,speed,heat,material,label"]
  for k in range(n + odd):
    label = "worn" if k >= n else "ok"
    lines.append(f"s{k},{k},{100 + 3 * k},{'ab'[k % 2]},{label}")
  return "\n".join(lines) + "\n"


@pytest.fixture
def csv_file(tmp_path):
  return written(tmp_path, parts())


def test_a_table_is_divided_and_scaled(csv_file, capsys):
  train, test = loaded(csv_file, ignore=("serial",), text="one_hot")
  assert train.x.shape == (10, 4) and test.x.shape == (14, 4)
  assert train.x.dtype == test.x.dtype == np.float32
  assert train.label.sum() == 0 and test.label.sum() == 4
  assert set(test.kind) == {"good", "worn"}
  np.testing.assert_allclose(train.x[:, :2].mean(0), 0, atol=1e-6)
  np.testing.assert_allclose(train.x[:, :2].std(0), 1, rtol=1e-6)
  # Speed and heat rise together, and materials are what they are.
  np.testing.assert_allclose(test.x[:, 0], test.x[:, 1], rtol=1e-5)
  np.testing.assert_array_equal(train.x[:, 2:].sum(1), 1)
  # Lines of the file, of which the first is that of the names.
  assert test.id[-4:] == ("22", "23", "24", "25")
  said = capsys.readouterr().err
  assert "labels: by the column label" in said
  assert "24 rows of 3 columns" in said and "10 normal, 4 anomalous" in said


def test_the_order_of_the_file_may_divide_a_table(tmp_path):
  """Anomalies, which are all tested, do not count where they stand."""
  rows = ["1", "0", "0", "0", "1", "0", "0", "1"]  # 5 are normal
  file = written(tmp_path, "y,x\n" + "".join(f"{y},7\n" for y in rows))
  of = lambda **options: loaded(file, 0.4, scale="none", **options)
  for divide, tested in (("first", "34"), ("last", "78")):
    train, test = of(divide=divide)
    ids = "".join(sorted(test.id))
    assert ids == "".join(sorted("269" + tested))
    assert train.label.sum() == 0 and test.label.sum() == 3
    assert not set(train.id) & set(test.id)


def test_the_scale_is_that_of_what_is_trained_on():
  detector = jaxad.differnet(**jaxad.methods.ROWS["differnet"])
  found = splits.load({"name": "wine", "seed": 3}, 0.25, 200, detector)
  train, held, test = found.data.train, found.normal, found.data.test
  np.testing.assert_allclose(train.x.mean(0), 0, atol=1e-6)
  np.testing.assert_allclose(train.x.std(0), 1, rtol=1e-5)
  assert np.abs(held.x.mean(0)).max() > 0.05
  # One scale for all, which goes with the run.
  columns = found.data.preprocess
  for one in (train, held, test):
    np.testing.assert_array_equal(one.x, columns.seen(one.raw))
  same = Columns.from_json(json.loads(json.dumps(columns.to_json())))
  assert same == columns
  # A row as people have it.
  view, _ = columns.views(dict(zip(columns.names, test.raw[0], strict=True)))
  np.testing.assert_array_equal(view[0], test.x[0])
  np.testing.assert_array_equal(columns.views(test.raw[0])[0][0], test.x[0])


def test_a_fingerprint_is_that_of_the_rows_themselves(tmp_path):
  options = {"ignore": ("serial",), "text": "drop"}
  file = written(tmp_path, parts())
  digests = lambda: {
    row.id: row.digest for row in rows({"train": loaded(file, **options).train})
  }
  before = digests()
  file.write_text(parts().replace("s0,0,", "s0,0.5,"))
  changed = {k for k, v in digests().items() if v != before[k]}
  assert changed <= {"02"}


@pytest.mark.parametrize("scale", ["standard", "min_max", "none"])
def test_scales(scale):
  raw = np.float64([[0, 5, 7], [4, 15, 7], [2, 10, 7]])
  columns = Columns(("a", "b", "c"), ((),) * 3, scale=scale).fitted(raw)
  x = columns.seen(raw)
  if scale == "standard":
    np.testing.assert_allclose(x.std(0)[:2], 1, rtol=1e-6)
    np.testing.assert_array_equal(x[:, 2], 0)
  elif scale == "min_max":
    np.testing.assert_array_equal(x[:, :2], [[0, 0], [1, 1], [0.5, 0.5]])
    np.testing.assert_array_equal(x[:, 2], 0)
  else:
    np.testing.assert_array_equal(x, raw)
  # Far off is far off, but finite, also in a column that was constant.
  far = columns.seen(np.float64([[1e300, -1e300, 8]]))
  assert np.isfinite(far).all() and (np.abs(far[0, :2]) >= 1e5).all()
  assert far[0, 2] == (8 if scale == "none" else 1)


def test_missing_values(tmp_path):
  text = parts().replace("s3,3,", "s3,?,").replace("s22,22,", "s22,,")
  file = written(tmp_path, text)
  options = {"ignore": ("serial",), "text": "drop"}
  with pytest.raises(InputError, match="parts.csv: 2 values.*speed, line 5"):
    loaded(file, **options)
  skipped = loaded(file, missing="skip", **options)
  assert not {"05", "24"} & {*skipped.train.id, *skipped.test.id}
  dataset = loaded(file, missing="median", **options)
  columns = dataset.preprocess
  row = dataset.test.id.index("24")
  median = np.nanmedian(dataset.train.raw[:, 0])
  assert np.isnan(dataset.test.raw[row, 0]) and columns.fill[0] == median
  full, _ = columns.views([median, dataset.test.raw[row, 1]])
  np.testing.assert_array_equal(dataset.test.x[row], full[0])


def test_columns_that_are_constant_or_texts(tmp_path, capsys):
  text = parts().replace(",a,", ",steel,").replace(",b,", ",steel,")
  text = "\n".join(
    f"{line},{'2' if k else 'mode'}" for k, line in enumerate(text.splitlines())
  )
  file = written(tmp_path, text)
  with pytest.raises(InputError, match="column serial has texts.*one_hot"):
    loaded(file)
  with pytest.raises(InputError, match="material has texts.*'steel'"):
    loaded(file, ignore=("serial",))
  dropped = loaded(file, text="drop", constant="drop")
  assert dropped.preprocess.names == ("speed", "heat")
  assert "mode; left out" in capsys.readouterr().err
  kept = loaded(file, text="drop")
  assert kept.preprocess.names == ("speed", "heat", "mode")
  with pytest.raises(InputError, match="one value alone.*mode.*drop"):
    loaded(file, text="drop", constant="error")


def test_a_text_that_training_did_not_see_is_none_of_them(csv_file):
  dataset = loaded(csv_file, ignore=("serial",), text="one_hot")
  view, _ = dataset.preprocess.views([1, 2, "c"])
  np.testing.assert_array_equal(view[0, 2:], 0)


def test_the_file_may_say_its_split(tmp_path):
  lines = parts().splitlines()
  names = ["train" if k % 2 else "Test" for k in range(len(lines))]
  names[0], names[-1] = "split", "train"
  rows = (f"{a},{b}" for a, b in zip(lines, names, strict=True))
  file = written(tmp_path, "\n".join(rows))
  train, test = loaded(file, ignore=("serial",), text="drop")
  assert train.label.sum() == 3  # labelled anomalies of the training split
  assert len(train.id) + len(test.id) == 24
  numbers = file.read_text().replace("train", "0").replace("Test", "1")
  with pytest.raises(InputError, match="line 2: split '0.0'"):
    loaded(written(tmp_path, numbers, "n.csv"), ignore=("serial",), text="drop")
  file.write_text(file.read_text().replace("Test", "later", 1))
  with pytest.raises(InputError, match="line 3: split 'later'"):
    loaded(file, ignore=("serial",), text="drop")


def test_both_ways_to_divide():
  whole = data.load("breast_cancer", test_fraction=0.5)
  assert (whole.test.label == 1).sum() == 212
  # As the authors of ALAD do, who halve all rows.
  options = TableOptions(divide="all")
  half = data.load("breast_cancer", test_fraction=0.5, table=options)
  assert len(half.test.label) == 284 and half.train.label.sum() == 0
  assert 80 < half.test.label.sum() < 130
  options = TableOptions(divide="all", test_share=0.2)
  fifth = data.load("breast_cancer", test_fraction=0.5, table=options)
  normal = int((fifth.test.label == 0).sum())
  assert fifth.test.label.sum() == int(normal / 4)
  same = data.load("breast_cancer", test_fraction=0.5, table=options)
  assert same.test.id == fifth.test.id
  other = data.load("breast_cancer", test_fraction=0.5, seed=1)
  assert other.test.id != whole.test.id


def test_arrays_of_the_public_outlier_sets(tmp_path):
  x = np.random.default_rng(0).normal(size=(30, 3))
  y = np.r_[np.zeros(25), np.ones(5)]
  of_matlab.savemat(tmp_path / "a.mat", {"X": x, "y": y[:, None]})
  np.savez(tmp_path / "a.npz", X=x, y=y.astype(np.int64))
  for name in ("a.mat", "a.npz"):
    train, test = loaded(tmp_path / name)
    assert train.x.shape == (13, 3) and set(test.kind) == {"good", "anomaly"}
    np.testing.assert_array_equal(
      np.sort(test.raw[test.label == 1], 0), np.sort(x[25:], 0)
    )
  np.savez(tmp_path / "b.npz", rows=x)
  with pytest.raises(InputError, match="b.npz: expected an array X"):
    loaded(tmp_path / "b.npz")


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("", "line 1 is empty"),
    ("1,2\n3,4\n", "line 1 has numbers"),
    ("a,a\n1,2\n", "the name 'a'"),
    ("a,label\n1,0,3\n", "line 2: 3 values for 2 columns"),
    ("a,label\n", "it has no rows"),
    ("a,label\n1,bad\n2,worse\n", "no normal rows.*bad, worse.*normal"),
    ("a,label\n1,0\n2,\n", "line 3: it has no label"),
    ("label\n0\n0\n0\n", "no columns of features"),
  ],
)
def test_what_is_no_table(tmp_path, text, message):
  with pytest.raises(InputError, match=message) as caught:
    loaded(written(tmp_path, text))
  assert "parts.csv" in str(caught.value) and "\n" not in str(caught.value)


def test_wrong_options(csv_file, tmp_path):
  with pytest.raises(InputError, match="table.label='kind': there is no such"):
    loaded(csv_file, label="kind")
  with pytest.raises(InputError, match="table.ignore: there is no column id"):
    loaded(csv_file, ignore=("id",))
  with pytest.raises(InputError, match="normal=fine: no .*'fine'"):
    loaded(csv_file, normal="fine")
  with pytest.raises(InputError, match="folder; expected a table"):
    loaded(tmp_path)
  with pytest.raises(InputError, match="expected a table .*csv"):
    loaded(written(tmp_path, "x", "parts.xlsx"))
  with pytest.raises(InputError, match="normal kind of wine.*class_0"):
    data.load("wine", subset="3")


def test_normal_labels_by_name(csv_file):
  train, test = loaded(csv_file, normal="worn", ignore=("serial",), text="drop")
  assert set(train.kind) == {"good"} and set(test.kind) == {"good", "ok"}
  assert len(train.id) == 2 and test.label.sum() == 20


def test_columns_of_another_table():
  columns = Columns(("a", "b"), ((), ("x", "y")))
  assert columns.of_values == ("a", "b", "b")
  columns = columns.fitted(columns.encoded({"a": [1, 2], "b": ["x", "y"]}))
  with pytest.raises(InputError, match="no column b; there are a, c"):
    columns.encoded({"a": [1], "c": [2]})
  with pytest.raises(InputError, match="column a: .*fast"):
    columns.views(["fast", "x"])
  with pytest.raises(InputError, match="column a has no value"):
    columns.views([None, "x"])
  with pytest.raises(InputError, match=r"shape \[1\]: expected 2 values, a, b"):
    columns.views([1.0])
  with pytest.raises(InputError, match="differ in length"):
    Columns(("a", "b"), ((),))


def test_figures_at_a_share():
  label = np.int32([0, 0, 0, 0, 0, 0, 1, 1, 1, 1])
  score = np.float32([0, 1, 2, 3, 4, 9, 5, 6, 7, 8])
  x = np.zeros((10, 2), np.float32)
  test = data.Examples(x, label, tuple("abcdefghij"), ("",) * 10, None)
  of = lambda share: contamination_figures(
    Evaluation(test, jaxad.Scores(score), 0.0, contamination=share)
  )
  assert of(None) == {}
  # 9, 8, 7 and 6 are called anomalous.
  assert of(0.4) == {
    "contamination": 0.4,
    "contamination_precision": 0.75,
    "contamination_recall": 0.75,
    "contamination_f1": 0.75,
  }


def test_ids_sort_as_their_lines(tmp_path):
  file = written(tmp_path, "a\n" + "1\n" * 12)
  ids = table_files.read(file).ids
  assert ids[0] == "02" and ids[-1] == "13" and list(ids) == sorted(ids)


# A whole run, on to the deployed file.


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """(folder of a run on a table, the table)."""
  folder = tmp_path_factory.mktemp("table")
  file = written(folder, parts(120, 20))
  arguments = [
    "--config=differnet:table",
    f"--config.data.root={file}",
    "--config.data.table.ignore=serial",
    "--config.data.table.text=one_hot",
    "--config.data.table.missing=median",
    "--config.eval.contamination=0.4",
    "--config.train.steps=30",
    "--config.detector.hidden=8",
    "--config.detector.n_blocks=2",
    f"--workdir={folder / 'run'}",
  ]
  assert run.main(arguments) == 0
  return folder / "run", file


@pytest.mark.whole
def test_a_run_on_a_table(trained):
  results = json.loads((trained[0] / "results.json").read_text())
  assert results["image_auroc"] > 0.9 and results["contamination_f1"] > 0.5
  assert results["threshold_from"] == "held-out rows"
  names = {path.name for path in trained[0].iterdir()}
  assert {"roc_curve.png", "score_histogram.png", "scores.csv"} <= names
  assert "images.png" not in names


@pytest.mark.whole
def test_predictions_are_the_scores_of_the_run(trained, tmp_path, capsys):
  folder, file = trained
  lines = file.read_text().splitlines()
  lines[3] = lines[3].replace("s2,2,", "s2,,")
  new = written(tmp_path, "\n".join(lines))
  command = [f"--run={folder}", f"--table={new}", f"--output={tmp_path / 'o'}"]
  assert predict.main(command) == 0
  assert "of 140 rows are anomalous" in capsys.readouterr().out
  with (tmp_path / "o" / "scores.csv").open() as found:
    rows = list(csv.DictReader(found))
  assert [row["serial"] for row in rows] == [f"s{k}" for k in range(140)]
  score = {int(row["line"]): float(row["score"]) for row in rows}
  with (folder / "scores.csv").open() as found:
    tested = {int(r["id"]): float(r["score"]) for r in csv.DictReader(found)}
  tested.pop(4, None)
  for line, want in tested.items():
    assert score[line] == pytest.approx(want, rel=1e-5, abs=1e-5)
  # The same folder again, and never for another run.
  assert predict.main(command) == 0
  (tmp_path / "o" / "scores.json").write_text('{"run": "x"}')
  assert predict.main(command) == 2
  new.write_text("speed,heat\n1,2\n")
  assert predict.main([*command[:2], f"--output={tmp_path / 'p'}"]) == 2
  assert "no column material" in capsys.readouterr().err


@pytest.mark.whole
def test_a_row_without_a_value_is_told(trained, tmp_path):
  """Where training knew no gaps, a row with one has no score."""
  described = jaxad.load(trained[0])
  columns = described.preprocess
  described.preprocess = dataclasses.replace(columns, missing="error", fill=())
  new = written(tmp_path, "speed,heat,material\n1,100,a\n2,,b\n3,109,a\n")
  limit = {"value": 0.0, "rule": "given", "rule_value": None}
  told = predict_rows(described, new, tmp_path / "o", threshold=limit)
  assert (told["n_rows"], told["n_errors"]) == (3, 1)
  with (tmp_path / "o" / "scores.csv").open() as found:
    errors = [row["error"] for row in csv.DictReader(found)]
  assert errors[0] == errors[2] == "" and "heat has no value" in errors[1]


@pytest.mark.whole
def test_a_score_that_is_no_number_is_an_error(trained, tmp_path):
  broken = jaxad.load(trained[0])
  params = jax.tree.map(lambda v: v * np.nan, broken.state.params)
  broken.state = broken.state.replace(params=params)
  new = written(tmp_path, "speed,heat,material\n1,100,a\n2,103,b\n")
  limit = {"value": 0.0, "rule": "given", "rule_value": None}
  told = predict_rows(broken, new, tmp_path / "o", threshold=limit)
  assert (told["n_rows"], told["n_errors"], told["n_anomalous"]) == (2, 2, 0)
  with (tmp_path / "o" / "scores.csv").open() as found:
    rows = list(csv.DictReader(found))
  assert {row["error"] for row in rows} == {"its score is not finite"}
  assert {row["predicted"] for row in rows} == {""}


@pytest.mark.whole
def test_an_exported_scorer_takes_rows(trained, tmp_path):
  loaded_run = jaxad.load(trained[0])
  export.export(loaded_run, tmp_path / "a.jaxad")
  scorer = jaxad.load_scorer(tmp_path / "a.jaxad")
  raw = [{"speed": k, "heat": 100 + 3 * k, "material": "b"} for k in range(5)]
  want = loaded_run.score(raw)
  np.testing.assert_array_equal(scorer(raw).image, want.image)
  in_order = np.array([[k, 100 + 3 * k, "b"] for k in range(5)], object)
  np.testing.assert_array_equal(scorer(in_order).image, want.image)
  dataset = loaded(
    trained[1],
    0.2,
    ignore=("serial",),
    text="one_hot",
    missing="median",
  )
  figures = loaded_run.evaluate(dataset)
  results = json.loads((trained[0] / "results.json").read_text())
  assert figures["image_auroc"] == pytest.approx(results["image_auroc"])


@pytest.mark.whole
def test_methods_of_images_take_no_tables(tmp_path, capsys):
  arguments = ["--config=ganomaly:wine", f"--workdir={tmp_path / 'run'}"]
  assert run.main(arguments) == 2
  said = capsys.readouterr().err
  assert "config.data.name=wine" in said and "differnet" in said
