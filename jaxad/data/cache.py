# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The cache folder: what can be made again from what lies elsewhere.

    datasets/    prepared copies of published sets
    decoded/     images as a detector sees them, of sets too large for memory
    downloads/   published files
    weights/     downloaded weights

Everything in it is safe to delete.
"""

import hashlib
import json
import math
import os
import pathlib
import shutil
import tempfile
import weakref

import numpy as np

from jaxad.data.arrays import FileArray
from jaxad.errors import InputError

PARTS = ("datasets", "decoded", "downloads", "weights")

# Part of every key; to be raised when decoded images change.
_FORMAT = 1


def cache_dir() -> pathlib.Path:
  """$JAXAD_CACHE, or `jaxad` in the user's cache folder."""
  if "JAXAD_CACHE" in os.environ:
    return pathlib.Path(os.environ["JAXAD_CACHE"]).expanduser()
  xdg = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
  return pathlib.Path(xdg).expanduser() / "jaxad"


def sizes() -> dict[str, int]:
  """Bytes of each part of the cache; 0 where there is none."""
  return {
    part: sum(
      path.lstat().st_size
      for path in (cache_dir() / part).rglob("*")
      if not path.is_dir()
    )
    for part in PARTS
  }


def clear(part: str) -> None:
  """Deletes a part of the cache; runs that use it go on.

  Raises:
    InputError: it cannot be deleted.
  """
  folder = cache_dir() / part
  try:
    if folder.is_dir():
      shutil.rmtree(folder)
  except OSError as error:
    raise InputError(
      f"{error.filename or folder} cannot be deleted ({error.strerror}); mend "
      "it, or choose another folder with the environment variable JAXAD_CACHE."
    ) from error


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
