# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Which images a command is to look at."""

import glob
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from jaxad.data import lists
from jaxad.data.decode import is_image
from jaxad.data.layout import files_below
from jaxad.errors import InputError


def find_images(given: Sequence[str], stdin: BinaryIO) -> list[str]:
  """The absolute paths of images, each once, in the order of what is given.

  Args:
    given: each a folder, of which all images are taken, at any depth and by
      name; a file; a pattern such as "parts/*.png", of whose matches folders
      and images are taken; a list, see `jaxad.data.lists`, of which the column
      path counts; or "-", paths on standard input, a line each.
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
        "list with a column path (.csv, .jsonl), or - for paths on standard "
        "input."
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
    if given.lower().endswith(lists.SUFFIXES):
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
  for _, texts in lists.read(path, (("path",),), "path"):
    if name := texts.get("path"):
      yield str(lists.path_of(path, name))
