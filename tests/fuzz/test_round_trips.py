# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What is written is what is read, whatever it is."""

import csv
import io
import os

import hypothesis
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as of_numpy
from scipy import io as of_matlab

from jaxad import (
  config,
  fields,
  listings,
  matlab_file,
  named_arrays,
  tensor_file,
)
from jaxad.data import table_files
from jaxad.errors import InputError
from jaxad.predictions import Predictions

# The same examples each time: a default test fails for what was changed.
few = hypothesis.settings(
  max_examples=30, deadline=None, database=None, derandomize=True
)

NUMBERS = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")


def arrays(*dtypes, **sides):
  shapes = of_numpy.array_shapes(min_dims=2, max_dims=4, **sides)
  return st.sampled_from(dtypes or NUMBERS).flatmap(
    lambda dtype: of_numpy.arrays(dtype, shapes)
  )


named = st.dictionaries(
  st.from_regex(
    r"[a-zA-Z]\w{0,20}",
    fullmatch=True,
    alphabet=st.characters(max_codepoint=127),
  ),
  arrays(),
  max_size=3,
)


@few
@hypothesis.given(named, st.booleans())
def test_matlab_files(arrays, packed):
  file = io.BytesIO()
  of_matlab.savemat(file, arrays, do_compression=packed)
  found = matlab_file.read(file.getvalue())
  assert found.keys() == arrays.keys()
  for name, array in arrays.items():
    assert found[name].dtype == array.dtype
    np.testing.assert_array_equal(found[name], array)


@few
@hypothesis.given(named)
def test_matlab_files_of_version_4(arrays):
  arrays = {k: np.float64(v.reshape(len(v), -1)) for k, v in arrays.items()}
  file = io.BytesIO()
  of_matlab.savemat(file, arrays, format="4")
  if file.getvalue():
    found = matlab_file.read(file.getvalue())
    for name, array in arrays.items():
      np.testing.assert_array_equal(found[name], array)


def test_what_is_no_array_of_numbers_is_left_out():
  other = {"s": "text", "c": np.array([1, "a"], object), "z": np.eye(2) * 1j}
  other |= {"d": {"a": 1.0}, "x": np.eye(3), "flag": np.eye(2) > 0}
  for packed in (False, True):
    file = io.BytesIO()
    of_matlab.savemat(file, other, do_compression=packed)
    found = matlab_file.read(file.getvalue())
    assert found.keys() == {"x", "flag"}
    np.testing.assert_array_equal(found["flag"], np.eye(2))


@few
@hypothesis.given(named, st.booleans(), st.booleans())
def test_numpy_files(tmp_path_factory, arrays, packed, in_columns):
  path = tmp_path_factory.mktemp("a") / "a.npz"
  if in_columns:
    arrays = {k: np.asfortranarray(v) for k, v in arrays.items()}
  (np.savez_compressed if packed else np.savez)(path, **arrays)
  found = named_arrays.read(path)
  assert found.keys() == arrays.keys()
  for name, array in arrays.items():
    assert found[name].dtype == array.dtype
    np.testing.assert_array_equal(found[name], array)


@few
@hypothesis.given(st.dictionaries(st.text(), arrays(*NUMBERS), max_size=3))
def test_tensor_files(arrays):
  arrays.pop(tensor_file.METADATA, None)
  found, strings = tensor_file.unpacked(
    tensor_file.packed(arrays, {"a": "ä\n"}), "a"
  )
  assert strings == {"a": "ä\n"} and found.keys() == arrays.keys()
  for name, array in arrays.items():
    np.testing.assert_array_equal(found[name], array)


@few
@hypothesis.given(
  of_numpy.arrays(
    float, (3, 2), elements=st.floats(allow_infinity=False, allow_nan=True)
  )
)
def test_tables_of_numbers(tmp_path_factory, values):
  path = tmp_path_factory.mktemp("a") / "a.csv"
  with path.open("w", newline="") as file:
    csv.writer(file).writerows([["a", "b"], *values.tolist()])
  columns = table_files.read(path).columns
  np.testing.assert_array_equal(np.stack([*columns.values()], 1), values)


def leaves(known, prefix=""):
  for name, field in known.items():
    if isinstance(field, dict):
      yield from leaves(field, f"{prefix}{name}.")
    elif name != "method":
      yield f"{prefix}{name}", field


FIELDS = dict(leaves(config.schema("ganomaly")))


@few
@hypothesis.given(st.data())
def test_a_value_that_is_shown_is_parsed_again(data):
  name = data.draw(st.sampled_from(sorted(FIELDS)))
  text = data.draw(
    st.one_of(
      st.integers().map(str),
      st.floats().map(str),
      st.sampled_from(["none", "True", "false", "1,2", "(3,)", "[1.5, 2]"]),
      st.text(),
    )
  )
  changed = config.base("ganomaly")
  try:
    config.override(changed, name, text)
  except InputError as error:
    assert str(error).startswith(f"config.{name}=")
    return
  config.check(changed)
  value = fields.parse(text, FIELDS[name].kind)
  again = config.base("ganomaly")
  config.override(again, name, listings._shown(value))
  assert again.to_dict() == changed.to_dict()


@few
@hypothesis.given(
  st.dictionaries(
    # Below a folder that is not there: what changes is scored again.
    st.binary(min_size=1).map(
      lambda b: "none/" + os.fsdecode(b.replace(b"\0", b"0"))
    ),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    max_size=4,
  )
)
def test_predictions_of_any_names(tmp_path_factory, scores):
  path = tmp_path_factory.mktemp("a")
  for _ in "ab":
    with Predictions(
      path, "run", {"value": 0.5}, (), list(scores), False
    ) as found:
      found.append(
        [
          {"path": name, "score": repr(scores[name]), "brightness": "1.0"}
          for name in found.todo
        ]
      )
      rows = {row["path"]: float(row["score"]) for row in found.rows()}
      assert rows == scores
  assert not found.todo
