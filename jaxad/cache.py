# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The cache folder: what can be made again from what lies elsewhere.

    compiled/    compiled programs, see `jaxad.runtime`
    datasets/    prepared copies of published sets
    decoded/     images as a detector sees them, of sets too large for memory
    downloads/   published files
    weights/     downloaded weights

Everything in it is safe to delete.
"""

import os
import pathlib
import shutil

from jaxad.errors import InputError

PARTS = ("compiled", "datasets", "decoded", "downloads", "weights")


def cache_dir() -> pathlib.Path:
  """$JAXAD_CACHE, or `jaxad` in the user's cache folder.

  Raises:
    InputError: the user has none.
  """
  xdg = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
  folder = os.environ.get("JAXAD_CACHE") or os.path.join(xdg, "jaxad")
  try:
    return pathlib.Path(folder).expanduser()
  except RuntimeError as error:
    raise InputError(
      f"{folder}: there is no home folder; set JAXAD_CACHE to a folder that "
      "can be written to."
    ) from error


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
    # What is in it: it may be a link to a larger disk.
    for path in folder.iterdir() if folder.is_dir() else ():
      if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
      else:
        path.unlink(missing_ok=True)
  except OSError as error:
    raise InputError(
      f"{error.filename or folder} cannot be deleted ({error.strerror}); mend "
      "it, or choose another folder with the environment variable JAXAD_CACHE."
    ) from error
