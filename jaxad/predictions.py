# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The folder into which a run writes what it says of new images.

    scores.csv    a row for each image: path, score, predicted (1 is anomalous),
                  brightness, the parts of the score, map, bytes and modified of
                  the file, error
    scores.json   which run and threshold they are of, and at the end a summary
    maps/         raw maps (.npy) and overlays (.png), where asked for

Rows are appended as they come, so a process that is killed loses nothing but a
last, torn row; the next one goes on behind it.
"""

import contextlib
import csv
import hashlib
import io
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import filelock
import numpy as np

from jaxad import foreign
from jaxad.errors import InputError
from jaxad.report import tables

LOCK, TABLE, SUMMARY, MAPS = ".lock", "scores.csv", "scores.json", "maps"
# Where processes that share a list have theirs.
SHARES = "shares"

# File names need not be valid UTF-8; their bytes go through as they are.
_TEXT = {"encoding": "utf-8", "errors": "surrogateescape"}


class Predictions:
  """A folder of predictions, held by one process.

  Args:
    folder: made if missing; empty, or of the same run.
    run: a digest of the run.
    threshold: {"value": a score above it is anomalous, ...}; rows that are
      there already are decided again by it.
    parts: names of the parts of the score.
    paths: of the images to score. Of those that are there already, the ones
      that could not be read or have changed since are to be scored again.
    with_maps: whether rows without a map are to be scored again, too.
    wait: seconds for another process that writes into the folder.

  Attributes:
    todo: the paths that are to be scored.

  Raises:
    InputError: it holds something else, or another process writes into it.
  """

  def __init__(
    self,
    folder: pathlib.Path,
    run: str,
    threshold: Mapping,
    parts: Sequence[str],
    paths: Sequence[str],
    with_maps: bool,
    wait: float = 0,
  ):
    self.path, self._run, self._threshold = folder, run, dict(threshold)
    self._with_maps = with_maps
    self.columns = ("path", "score", "predicted", "brightness")
    self.columns += (*(f"part_{name}" for name in parts), "map")
    self.columns += ("bytes", "modified", "error")
    with contextlib.ExitStack() as stack:
      before = stack.enter_context(held(folder, run, wait))
      self._resume(set(paths), before)
      self.todo = [path for path in paths if path not in self._done]
      self._held = stack.pop_all()

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self._file.close()
    self._held.close()

  def append(self, rows: Sequence[Mapping]) -> None:
    """Writes rows, by column, and hands them to the system."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, self.columns, restval="")
    writer.writerows(rows)
    self._file.write(text.getvalue().encode(**_TEXT))
    self._file.flush()

  def rows(self) -> Iterator[dict[str, str]]:
    """All rows that are there, in the order of writing."""
    return _rows_of(self.path, self.columns)

  def valid_rows(self, folder: pathlib.Path) -> Iterator[dict[str, str]]:
    """Those of another folder, decided by this threshold.

    Without those whose file has changed since, and those that lack a map.
    """
    for row in _rows_of(folder, self.columns):
      if _is_valid(row, self._with_maps):
        yield _decided(row, self._threshold["value"])

  def write_summary(self, summary: Mapping) -> None:
    """Writes `scores.json`: the run, the threshold, and more."""
    write_summary(self.path, self._run, self._threshold, summary)

  def _resume(self, paths, before):
    """Opens the table behind its last whole row."""
    path, limit = self.path / TABLE, self._threshold["value"]
    if not path.exists():
      self.write_summary({})
      self._write_rows([])
    self._done, kept = set(), True
    with path.open("rb") as file:
      end = len(file.readline())
      file.seek(0)
      for row, end in _whole_rows(file, self.columns):  # noqa: B007
        again = row["error"] or not _is_valid(row, self._with_maps)
        if row["path"] in paths and again:
          kept = False
        else:
          self._done.add(row["path"])
    os.truncate(path, end)
    if not kept or before not in (None, limit):
      rows = (row for row in self.rows() if row["path"] in self._done)
      self._write_rows(_decided(row, limit) for row in rows)
    self.write_summary({})
    for torn in (self.path / MAPS).glob("*.tmp"):
      torn.unlink()
    self._file = path.open("ab")

  def _write_rows(self, rows):
    with tables.replacing(self.path / TABLE, "w", newline="", **_TEXT) as file:
      writer = csv.DictWriter(file, self.columns)
      writer.writeheader()
      writer.writerows(rows)


def _rows_of(folder, columns):
  """All whole rows that are there, in the order of writing."""
  with (folder / TABLE).open("rb") as file:
    for row, _ in _whole_rows(file, columns):
      yield row


@contextlib.contextmanager
def held(
  folder: pathlib.Path, run: str, wait: float = 0
) -> Iterator[float | None]:
  """Holds a folder of predictions against other processes.

  Args:
    folder: made if missing.
    run: a digest of the run.
    wait: seconds for another process that writes into it.

  Yields:
    The threshold of the predictions that are there, or None.

  Raises:
    InputError: it holds something else, or another process writes into it.
  """
  lock = filelock.FileLock(folder / LOCK, timeout=wait)
  try:
    folder.mkdir(parents=True, exist_ok=True)
    new = not (folder / LOCK).exists()
    lock.acquire()
  except filelock.Timeout as error:
    raise InputError(
      f"--output {folder}: another process writes into it; wait for its end, "
      "or choose another folder."
    ) from error
  except OSError as error:
    raise InputError(
      f"--output {folder} cannot be written to: {error.strerror}; choose "
      "another folder."
    ) from error
  try:
    try:
      before = _threshold_of(folder, run)
    except InputError:
      if new:  # in a folder of something else
        (folder / LOCK).unlink(missing_ok=True)
      raise
    yield before
  finally:
    lock.release()


def _threshold_of(folder, run):
  others = {p.name for p in folder.iterdir()} - {LOCK, MAPS, SHARES}
  # What was being written when a process was killed.
  others = {name for name in others if not name.endswith(".tmp")}
  if not others:
    return None
  try:
    found = foreign.parse_json(foreign.read_bytes(folder / SUMMARY))
    theirs, limit = found["run"], float(found["threshold"]["value"])
  except (OSError, ValueError, TypeError, LookupError, OverflowError) as error:
    raise InputError(
      f"--output {folder} is not empty, and holds no predictions that could be "
      "continued; choose another folder."
    ) from error
  if theirs != run:
    raise InputError(
      f"--output {folder} holds predictions of another run; choose another "
      "folder."
    )
  return limit


def is_finished(folder: pathlib.Path) -> bool:
  """Whether the summary is there, which is written at the end."""
  try:
    summary = foreign.parse_json(foreign.read_bytes(folder / SUMMARY))
  except (OSError, ValueError):
    return False
  return "n_images" in summary


def write_summary(
  folder: pathlib.Path, run: str, threshold: Mapping, summary: Mapping
) -> None:
  """Writes `scores.json`: the run, the threshold, and more."""
  known = {"run": run, "threshold": threshold}
  tables.write_json(folder / SUMMARY, {**known, **summary})


def state_of(path: str) -> dict[str, str]:
  """What tells whether a file has changed, as columns; empty without a file."""
  try:
    found = os.stat(path)
  except (OSError, ValueError):  # the latter of a name with a NUL
    return {"bytes": "", "modified": ""}
  return {"bytes": str(found.st_size), "modified": str(found.st_mtime_ns)}


def _is_valid(row, with_maps):
  """Whether the file is as it was, and all that was asked for is there."""
  now = state_of(row["path"])
  same = all(row[name] == value for name, value in now.items())
  return same and bool(row["map"] or row["error"] or not with_maps)


def _decided(row, limit):
  if row["error"]:
    return row
  return row | {"predicted": int(np.float32(row["score"]) > limit)}


def _whole_rows(file, columns):
  """(row, where it ends) of each row up to the first that is torn."""
  end, last = 0, b""

  def lines():
    nonlocal end, last
    for last in file:
      end += len(last)
      yield last.decode(**_TEXT)

  reader = csv.reader(lines(), strict=True)
  try:
    head = tuple(next(reader, ()))
  except csv.Error:
    head = ()
  if head != columns:
    raise InputError(
      f"{file.name}: its first line is not {','.join(columns)}; choose another "
      "folder with --output."
    )
  try:
    for row in reader:
      if len(row) != len(columns) or not last.endswith(b"\n"):
        return
      found = dict(zip(columns, row, strict=True))
      if not _is_sound(found):
        return
      yield found, end
  except csv.Error:  # a quote that is never closed
    return


def _is_sound(row):
  """Whether all is a number that should be one."""
  if row["error"]:
    return True
  numbers = [row["score"], row["brightness"]]
  numbers += [v for name, v in row.items() if name.startswith("part_")]
  try:
    # Where a part of the score is not finite, the score was, and counts.
    values = [float(v) for v in numbers]
  except ValueError:
    return False
  return np.isfinite(values[:2]).all() and not any("_" in v for v in numbers)


def map_name(path: str) -> str:
  """A file name for the maps of an image, that no other image has."""
  stem = pathlib.PurePath(path).stem
  plain = "".join(
    c if c.isascii() and c.isalnum() or c in "-_." else "_" for c in stem
  )
  digest = hashlib.blake2b(os.fsencode(path), digest_size=6).hexdigest()
  return f"{plain[:80]}-{digest}"


def number(value: float) -> str:
  """All digits of a float32: reading them gives the same number."""
  return repr(float(np.float32(value)))
