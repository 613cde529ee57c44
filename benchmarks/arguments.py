# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Arguments that several commands take."""

import argparse
import pathlib
from collections.abc import Callable, Collection


def names_of(known: Collection[str]) -> Callable[[str], list[str]]:
  """A type of argument: some of these, with commas."""

  def names(text):
    chosen = text.split(",")
    if unknown := [name for name in chosen if name not in known]:
      raise argparse.ArgumentTypeError(
        f"unknown: {', '.join(unknown)}; expected some of {', '.join(known)}"
      )
    return chosen

  return names


def file_in_a_folder(text: str) -> pathlib.Path:
  """A type of argument: a file to write, in a folder that exists."""
  path = pathlib.Path(text)
  if not path.parent.is_dir():
    raise argparse.ArgumentTypeError(f"no such folder: {path.parent}")
  return path
