# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Decisions on a list of images that several processes share.

Each scores a stretch of the list into a folder of its own, below that of the
results, and the last one to end puts the rows together in the order of the
list. No process waits for another, and one that was stopped is started again.
All of them see one disk.
"""

import contextlib
import os
import pathlib
import shutil
import sys
from collections.abc import Callable, Sequence

from jaxad.predictions import MAPS, SHARES, Predictions, is_finished

# Seconds for which another process may be at work in the results.
_WAIT = 3600


def predict_share(
  opened: Callable[..., Predictions],
  scored: Callable[[pathlib.Path, Sequence[str]], dict],
  summed: Callable[[Predictions], dict],
  paths: Sequence[str],
  output: pathlib.Path,
  share: tuple[int, int],
) -> dict:
  """Scores one process's share of a list.

  Args:
    opened: holds a folder for these paths; waits so many seconds for it.
    scored: scores these paths into a folder; returns its summary.
    summed: writes and returns the summary of the results.
    paths: of all images, the same for all processes.
    output: the folder of the results.
    share: (number of this process, how many there are).

  Returns:
    The summary of this share; or of all, where it was the last.
  """
  index, count = share
  folder = lambda k: output / SHARES / f"{k}-of-{count}"
  cuts = [len(paths) * k // count for k in range(count + 1)]
  parts = [paths[a:b] for a, b in zip(cuts, cuts[1:], strict=False)]
  with opened(output, paths, _WAIT) as found:
    todo = set(found.todo)
  summary = scored(folder(index), [p for p in parts[index] if p in todo])
  with opened(output, paths, _WAIT) as found:
    rows, todo = {}, set(found.todo)
    for place in filter(is_finished, map(folder, range(count))):
      rows |= {row["path"]: (place, row) for row in found.valid_rows(place)}
    done = [all(p in rows for p in part if p in todo) for part in parts]
    if not all(done):
      print(
        f"{sum(done)} of {count} shares are done; the last process puts them "
        "together",
        file=sys.stderr,
      )
      return summary
    wanted = [rows[path] for path in paths if path in todo]
    for place, row in wanted:
      if row["map"]:
        _move_map(row["map"], place, output)
    found.append([row for _, row in wanted])
    # Others end too, and one that has been started again may be at work.
    for place in (output / SHARES).glob("*"):
      if is_finished(place):
        shutil.rmtree(place, ignore_errors=True)
    with contextlib.suppress(OSError):
      (output / SHARES).rmdir()
    return summed(found)


def _move_map(name, place, output):
  """With its overlay; both have gone where a process was stopped meanwhile."""
  (output / MAPS).mkdir(exist_ok=True)
  for file in (name, pathlib.PurePath(name).with_suffix(".png")):
    with contextlib.suppress(FileNotFoundError):
      os.replace(place / file, output / file)
