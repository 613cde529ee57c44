# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Decisions on a list of images that several processes share.

Each scores a stretch of the list into a folder of its own, below that of the
results, and the last one to end puts the rows together in the order of the
list. No process waits for another, and one that was stopped is started again.
All of them see one disk.
"""

import hashlib
import os
import pathlib
import shutil
import sys
from collections.abc import Callable, Sequence

from jaxad.predictions import (
  MAPS,
  SHARES,
  SUMMARY,
  Predictions,
  rows_of,
  summary_of,
)
from jaxad.report import tables

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
  names = "\0".join(paths).encode(errors="surrogateescape")
  listed = hashlib.sha256(names).hexdigest()
  with opened(output, paths, _WAIT) as found:
    todo = set(found.todo)
  summary = scored(folder(index), [p for p in parts[index] if p in todo])
  summary |= {"list": listed}
  tables.write_json(folder(index) / SUMMARY, summary)
  with opened(output, paths, _WAIT) as found:
    done = [summary_of(folder(k)).get("list") == listed for k in range(count)]
    if not all(done):
      print(
        f"{sum(done)} of {count} shares are done; the last process puts them "
        "together",
        file=sys.stderr,
      )
      return summary
    todo = set(found.todo)
    for k, part in enumerate(parts):
      rows = {row["path"]: row for row in rows_of(folder(k), found.columns)}
      found.append([rows[path] for path in part if path in todo])
      for file in (folder(k) / MAPS).glob("*"):
        (output / MAPS).mkdir(exist_ok=True)
        os.replace(file, output / MAPS / file.name)
    shutil.rmtree(output / SHARES)
    return summed(found)
