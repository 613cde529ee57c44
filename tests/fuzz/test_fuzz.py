# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""No file makes a reader crash, hang, take a lot of memory or run a program.

`python -m pytest tests/fuzz -m slow` feeds each reader 10,000 inputs.
"""

import json
import pathlib
import subprocess
import sys

import pytest
from fuzz import MEMORY, SECONDS
from readers import READERS

HERE = pathlib.Path(__file__).parent


def fuzzed(inputs, *readers):
  """{reader: what was found}; in a process without threads, which may fork."""
  command = [sys.executable, HERE / "fuzz.py", *readers, f"--inputs={inputs}"]
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  assert not done.returncode, done.stderr
  found = map(json.loads, done.stdout.splitlines())
  return {one.pop("reader"): one for one in found}


@pytest.fixture(scope="module")
def few():
  return fuzzed(100)


def check(found, inputs):
  assert not found["faults"], "\n".join(found["faults"][:5])
  assert found["inputs"] >= inputs
  assert found["slowest"] < SECONDS and found["peak_mb"] * 1e6 < MEMORY


@pytest.mark.parametrize("reader", READERS)
def test_a_damaged_file_is_read_or_refused_in_one_line(few, reader):
  check(few[reader], 100)


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_ten_thousand_damaged_files(reader):
  check(fuzzed(10_000, reader)[reader], 10_000)
