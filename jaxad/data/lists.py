# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Files that list images: CSV, or JSON objects, a line each."""

import csv
import io
import os
import pathlib
from collections.abc import Collection, Iterator, Sequence

from jaxad import foreign
from jaxad.errors import InputError

_JSON = (".jsonl", ".ndjson", ".json")
SUFFIXES = (".csv", ".tsv", *_JSON)


def read(
  path: pathlib.Path, needed: Sequence[Collection[str]], expected: str
) -> Iterator[tuple[int, dict[str, str]]]:
  """The lines of a list.

  Names of columns are taken without case, texts without the blanks around them.

  Args:
    path: of the file.
    needed: columns, of each group of which a CSV file must have one.
    expected: the same in words.

  Yields:
    (number of the line, {column: text}).

  Raises:
    InputError: it cannot be read, is no list, or has not these columns; the
      message begins with the path.
  """
  if path.suffix.lower() not in SUFFIXES:
    raise InputError(
      f"{path}: expected a folder of images, or a list of them "
      f"({' '.join(SUFFIXES)})"
    )
  try:
    # File names need not be valid UTF-8.
    blob = foreign.read_bytes(path)
    text = blob.decode("utf-8-sig", errors="surrogateescape")
  except OSError as error:
    raise InputError(
      f"{path}: cannot be read ({error.strerror}); mend it"
    ) from error
  if "\0" in text:
    raise InputError(f"{path}: not plain text; save it as UTF-8")
  if path.suffix.lower() in _JSON:
    lines = _json_lines(path, text)
  else:
    lines = _csv_lines(path, text, needed, expected)
  for line, texts in lines:
    yield line, {k.strip().casefold(): v.strip() for k, v in texts.items()}


def path_of(list_: pathlib.Path, text: str) -> pathlib.Path:
  """The file that a list names; paths are relative to it."""
  path = list_.parent / text
  # Lists come from Windows, too. What is no name at all is the name of nothing.
  there = os.path.exists(path)
  return path if there else list_.parent / text.replace("\\", "/")


def _csv_lines(path, text, needed, expected):
  first = text.partition("\n")[0]
  # A German Excel writes semicolons.
  delimiter = max(",;\t", key=first.count)
  lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
  try:
    header = [name.strip().casefold() for name in next(lines, [])]
    if not all({*group} & {*header} for group in needed):
      there = ", ".join(header) or "missing"
      raise _error(path, 1, f"the columns are {there}; expected {expected}")
    for values in lines:
      if len(values) > len(header):
        raise _error(
          path,
          lines.line_num,
          f"{len(values)} values for {len(header)} columns; put a path that "
          f"contains {delimiter!r} into quotes",
        )
      if any(values):
        yield lines.line_num, dict(zip(header, values, strict=False))
  except csv.Error as error:
    raise _error(path, lines.line_num, f"{error}; mend it") from error


def _json_lines(path, text):
  for line, one in enumerate(text.split("\n"), 1):
    if not one.strip():
      continue
    try:
      values = foreign.parse_json(one)
    except ValueError:
      values = None
    if not isinstance(values, dict):
      raise _error(
        path, line, 'expected an object, as {"path": "a.png", "kind": "good"}'
      )
    for key, value in values.items():
      if isinstance(value, dict | list):
        raise _error(path, line, f"{key} is {value!r}; expected a text")
    yield line, {k: "" if v is None else str(v) for k, v in values.items()}


def _error(path, line, problem):
  return InputError(f"{path}: line {line}: {problem}")
