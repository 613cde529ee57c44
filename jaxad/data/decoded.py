# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Decoded images of sets that are too large for memory, in the cache."""

import hashlib
import json
import math
import pathlib
import shutil
import tempfile
import weakref

import numpy as np

from jaxad.cache import cache_dir
from jaxad.data.arrays import FileArray
from jaxad.errors import InputError

# Part of every key; to be raised when decoded images change.
_FORMAT = 1


class Decoded:
  """Arrays of one decoded set, in the folder `decoded/<key>` of the cache.

  They are written into a folder of another name, which takes this one when it
  is complete. Two processes may do so at once.

  Args:
    facts: all that the arrays depend on, as JSON can hold it.
  """

  def __init__(self, facts):
    text = json.dumps([_FORMAT, facts], sort_keys=True)
    key = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
    self._folder = cache_dir() / "decoded" / key[:16]

  def found(self) -> tuple[dict[str, FileArray], dict] | None:
    """The arrays by name and what was kept beside them, or None."""
    try:
      kept = json.loads((self._folder / "kept.json").read_text())
      arrays = {
        name: FileArray(open(self._folder / name, "rb", 0), shape, np.uint8)
        for name, shape in kept["shapes"].items()
      }
    except (OSError, ValueError, LookupError):
      return None
    whole = all(array.is_whole() for array in arrays.values())
    return (arrays, kept["beside"]) if whole else None

  def start(self, shapes: dict[str, tuple]) -> dict[str, FileArray]:
    """Files for uint8 arrays of these names and shapes, full of zeros.

    Raises:
      InputError: the disk has no room for them, or cannot be written.
    """
    need = sum(map(math.prod, shapes.values()))
    parent = self._folder.parent
    try:
      parent.mkdir(parents=True, exist_ok=True)
      free = shutil.disk_usage(parent).free
      if need > free:
        raise InputError(
          f"the decoded images take {need / 1e9:.2f} GB in {parent}, where "
          f"{free / 1e9:.2f} are free; lower image_size, free some space (jaxad"
          " cache --clear decoded), or choose another folder with the "
          "environment variable JAXAD_CACHE."
        )
      self._scratch = pathlib.Path(
        tempfile.mkdtemp(prefix=f".{self._folder.name}-", dir=parent)
      )
      self._remove = weakref.finalize(
        self, shutil.rmtree, self._scratch, ignore_errors=True
      )
      self._shapes, found = shapes, {}
      for name, shape in shapes.items():
        file = open(self._scratch / name, "w+b", 0)
        file.truncate(math.prod(shape))
        found[name] = FileArray(file, shape, np.uint8)
      return found
    except OSError as error:
      raise InputError(
        f"cannot keep decoded images in {parent} ({error.strerror}); mend it, "
        "or choose another folder with the environment variable JAXAD_CACHE."
      ) from error

  def complete(self, beside) -> None:
    """All is written: the next run may find it, with what JSON holds beside."""
    kept = {"shapes": self._shapes, "beside": beside}
    (self._scratch / "kept.json").write_text(json.dumps(kept))
    try:
      self._scratch.rename(self._folder)
    except OSError:
      # Another process was first, with the same content; or a damaged copy is
      # in the way, which the open files do without.
      pass
    self._remove()
