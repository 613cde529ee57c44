# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Which images a command is to look at."""

import csv
import glob
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TextIO

from jaxad.data.decode import is_image
from jaxad.errors import InputError


def find_images(given: Sequence[str], stdin: TextIO) -> list[str]:
  """The paths of images, each once, in the order in which they are given.

  Args:
    given: each a folder, of which all images are taken, at any depth and by
      name; a file; a pattern such as "parts/*.png"; a .csv file with a column
      path, relative to the file; or "-", a list of paths on standard input.
    stdin: that input.

  Raises:
    InputError: there is no such thing, or no image in it.
  """
  found = {}
  for one in given:
    n = 0
    for path in _images(one, stdin):
      n += 1
      found.setdefault(os.path.abspath(path), path)
    if not n:
      raise InputError(
        f"{one}: no images; expected a folder of images, a file, a pattern, a "
        ".csv file with a column path, or - for a list on standard input."
      )
  return list(found.values())


def _images(given: str, stdin: TextIO) -> Iterator[str]:
  if given == "-":
    yield from _lines(stdin)
  elif os.path.isdir(given):
    yield from _below(given)
  elif os.path.isfile(given):
    if given.lower().endswith(".csv"):
      yield from _listed(pathlib.Path(given))
    else:
      yield given
  else:
    matches = sorted(glob.glob(given, recursive=True))
    for match in matches:
      if os.path.isfile(match):
        yield match


def _lines(lines: Iterable[str]) -> Iterator[str]:
  for line in lines:
    if line := line.rstrip("\r\n"):
      yield line


def _below(folder: str) -> Iterator[str]:
  """All images in a folder and the folders in it; hidden ones are none."""
  for parent, folders, names in os.walk(folder):
    folders[:] = sorted(name for name in folders if not name.startswith("."))
    for name in sorted(names):
      if is_image(pathlib.Path(name)):
        yield os.path.join(parent, name)


def _listed(path: pathlib.Path) -> Iterator[str]:
  with path.open(
    encoding="utf-8-sig", errors="surrogateescape", newline=""
  ) as file:
    reader = csv.DictReader(file)
    names = {
      str(name).strip().lower(): name for name in reader.fieldnames or ()
    }
    if "path" not in names:
      raise InputError(
        f"{path}: no column path in its first line; expected one."
      )
    for row in reader:
      if name := row[names["path"]]:
        yield os.path.join(path.parent, name)
