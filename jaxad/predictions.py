# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The folder into which a run writes what it says of new images.

    scores.csv    a row for each image: path, score, predicted (1 is anomalous),
                  brightness, the parts of the score, map, error
    scores.json   which run and threshold they are of, and at the end a summary
    maps/         raw maps (.npy) and overlays (.png), where asked for

Rows are appended as they come and never rewritten, so a process that is killed
loses nothing but a last, torn row; the next one goes on behind it.
"""

import csv
import hashlib
import io
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import filelock
import numpy as np

from jaxad.errors import InputError
from jaxad.report import tables

LOCK, TABLE, SUMMARY, MAPS = ".lock", "scores.csv", "scores.json", "maps"

# File names need not be valid UTF-8; their bytes go through as they are.
_TEXT = {"encoding": "utf-8", "errors": "surrogateescape"}


class Predictions:
  """A folder of predictions, held by one process.

  Args:
    folder: made if missing; empty, or of the same stamp.
    stamp: what all rows depend on, as JSON can hold it: run, threshold, maps.
    parts: names of the parts of the score.

  Raises:
    InputError: it holds something else, or another process writes into it.
  """

  def __init__(
    self, folder: pathlib.Path, stamp: Mapping, parts: Sequence[str]
  ):
    self.path, self._stamp = folder, dict(stamp)
    self.columns = ("path", "score", "predicted", "brightness")
    self.columns += (*(f"part_{name}" for name in parts), "map", "error")
    self._lock = filelock.FileLock(folder / LOCK, timeout=0)
    try:
      folder.mkdir(parents=True, exist_ok=True)
      self._lock.acquire()
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
      self._check_stamp()
      self._resume()
    except BaseException:
      self._lock.release()
      raise

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self._file.close()
    self._lock.release()

  def append(self, rows: Sequence[Mapping]) -> None:
    """Writes rows, by column, and hands them to the system."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, self.columns, restval="", lineterminator="\n")
    writer.writerows(rows)
    self._file.write(text.getvalue().encode(**_TEXT))
    self._file.flush()

  def rows(self) -> Iterator[dict[str, str]]:
    """All rows that are there, in the order of writing."""
    with (self.path / TABLE).open("rb") as file:
      for row, _ in _whole_rows(file, self.columns):
        yield row

  def finish(self, summary: Mapping) -> None:
    """Writes the summary beside the rows."""
    tables.write_json(self.path / SUMMARY, {**self._stamp, **summary})

  def _check_stamp(self):
    path = self.path / SUMMARY
    others = {p.name for p in self.path.iterdir()} - {LOCK, MAPS}
    # What was being written when a process was killed.
    others = {name for name in others if not name.endswith(".tmp")}
    if not others:
      tables.write_json(path, self._stamp)
      return
    try:
      theirs = json.loads(path.read_text())
      same = {name: theirs.get(name) for name in self._stamp}
    except (OSError, ValueError, AttributeError) as error:
      raise InputError(
        f"--output {self.path} is not empty, and holds no predictions that "
        "could be continued; choose another folder."
      ) from error
    plain = json.loads(json.dumps(self._stamp))
    for name, value in plain.items():
      if same[name] != value:
        raise InputError(
          f"--output {self.path} holds predictions of another {name} "
          f"({same[name]} there, {value} here); choose another folder."
        )

  def _resume(self):
    """Opens the table behind its last whole row; errors are tried again."""
    path = self.path / TABLE
    self.done = set()
    if not path.exists():
      with tables.replacing(path, "w", newline="", **_TEXT) as file:
        csv.writer(file, lineterminator="\n").writerow(self.columns)
    failed = False
    with path.open("rb") as file:
      end = len(file.readline())
      file.seek(0)
      for row, end in _whole_rows(file, self.columns):  # noqa: B007
        failed |= bool(row["error"])
        if not row["error"]:
          self.done.add(row["path"])
    os.truncate(path, end)
    if failed:
      kept = (row for row in self.rows() if not row["error"])
      with tables.replacing(path, "w", newline="", **_TEXT) as file:
        writer = csv.DictWriter(file, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)
    self._file = path.open("ab")


def _whole_rows(file, columns):
  """(row, where it ends) of each row up to the first that is torn."""
  end, last = 0, b""

  def lines():
    nonlocal end, last
    for last in file:
      end += len(last)
      yield last.decode(**_TEXT)

  reader = csv.reader(lines(), strict=True)
  if tuple(next(reader, ())) != columns:
    raise InputError(
      f"{file.name}: its first line is not {','.join(columns)}; choose another "
      "folder with --output."
    )
  try:
    for row in reader:
      if len(row) != len(columns) or not last.endswith(b"\n"):
        return
      yield dict(zip(columns, row, strict=True)), end
  except csv.Error:  # a quote that is never closed
    return


def map_name(path: str) -> str:
  """A file name for the maps of an image, that no other image has."""
  stem = pathlib.PurePath(path).stem
  plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in stem)
  digest = hashlib.blake2b(os.fsencode(path), digest_size=6).hexdigest()
  return f"{plain[:80]}-{digest}"


def number(value: float) -> str:
  """All digits of a float32: reading them gives the same number."""
  return repr(float(np.float32(value)))
