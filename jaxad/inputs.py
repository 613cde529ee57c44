# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Which images a command is to look at."""

import csv
import glob
import io
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from jaxad.data.decode import is_image
from jaxad.data.layout import files_below
from jaxad.errors import InputError

_LISTS = (".csv", ".tsv")


def find_images(given: Sequence[str], stdin: BinaryIO) -> list[str]:
  """The absolute paths of images, each once, in the order of what is given.

  Args:
    given: each a folder, of which all images are taken, at any depth and by
      name; a file; a pattern such as "parts/*.png", of whose matches folders
      and images are taken; a .csv or .tsv file with a column path, relative to
      the file; or "-", a list of paths on standard input.
    stdin: that input.

  Raises:
    InputError: there is no such thing, no image in it, or it cannot be read.
  """
  found = {}
  for one in given:
    paths = [os.path.abspath(path) for path in _images(one, stdin)]
    if not paths:
      raise InputError(
        f"{one}: no images; expected a folder of images, a file, a pattern, a "
        ".csv file with a column path, or - for a list on standard input."
      )
    found |= dict.fromkeys(paths)
  return list(found)


def _images(given: str, stdin: BinaryIO) -> Iterator[str]:
  if given == "-":
    # File names need not be valid text.
    lines = (os.fsdecode(line.rstrip(b"\r\n")) for line in stdin)
    yield from (line for line in lines if line.strip())
  elif os.path.isdir(given):
    yield from _below(given)
  elif os.path.isfile(given):
    if given.lower().endswith(_LISTS):
      yield from _listed(pathlib.Path(given))
    else:
      yield given
  else:
    for match in sorted(glob.glob(given, recursive=True)):
      if os.path.isdir(match) and "**" not in given:
        yield from _below(match)
      elif is_image(pathlib.Path(match)) and os.path.isfile(match):
        yield match


def _below(folder: str) -> Iterator[str]:
  """All images in a folder and the folders in it; hidden ones are none."""
  for path in files_below(pathlib.Path(folder)):
    if is_image(path):
      yield str(path)


def _listed(path: pathlib.Path) -> Iterator[str]:
  text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
  first = text.partition("\n")[0]
  # A German Excel writes semicolons.
  delimiter = max(",;\t", key=first.count)
  lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
  try:
    header = [name.strip().casefold() for name in next(lines, [])]
    if "path" not in header:
      raise InputError(
        f"{path}: no column path in its first line; expected one."
      )
    at = header.index("path")
    for row in lines:
      name = row[at].strip() if len(row) > at else ""
      if name:
        # Windows writes backslashes.
        if not (path.parent / name).exists():
          name = name.replace("\\", "/")
        yield str(path.parent / name)
  except csv.Error as error:
    raise InputError(
      f"{path}, line {lines.line_num}: {error}; mend it."
    ) from error
