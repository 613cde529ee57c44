# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The lines of a log as scalars that TensorBoard shows.

They are written without TensorFlow, by the package tensorboard alone.
"""

import importlib.util
import pathlib
import struct
import time

from jaxad.errors import InputError


def check_installed() -> None:
  """Whether there is a package to write with.

  Raises:
    InputError: there is none.
  """
  if importlib.util.find_spec("tensorboard") is None:
    raise InputError(
      "tensorboard: the package of this name is not installed; pip install "
      "'jaxad[log]', or leave it out.",
      "tensorboard",
    )


class EventFiles:
  """A folder of event files, one for each time that training goes on.

  Args:
    folder: where they lie; made when training starts.

  Raises:
    InputError: tensorboard is not installed.
  """

  def __init__(self, folder: pathlib.Path):
    check_installed()
    self._folder = folder

  def start(self, step: int) -> None:
    """Drops what lies behind a step, and begins a file."""
    from tensorboard.compat.proto.event_pb2 import SessionLog

    self._folder.mkdir(exist_ok=True)
    files = sorted(self._folder.glob("events.out.tfevents.[0-9]*[0-9]"))
    for file in files:
      _cut(file, step)
    # They are read in the order of their names.
    last = int(files[-1].name.rpartition(".")[2]) if files else -1
    self._file = self._folder / f"events.out.tfevents.{last + 1:04d}"
    self._append(file_version="brain.Event:2")
    # A TensorBoard that looks on forgets the later steps that it has read.
    start = SessionLog(status=SessionLog.START)
    self._append(step=step + 1, session_log=start)

  def write(self, line: dict) -> None:
    """Appends the numbers of a line, under the name of its phase if any."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    group = f"{line['phase']}/" if "phase" in line else ""
    values = [
      Summary.Value(tag=f"{group}{name}", simple_value=value)
      for name, value in line.items()
      if name not in ("step", "phase") and value is not None
    ]
    self._append(step=line["step"], summary=Summary(value=values))

  def _append(self, **event):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    blob = Event(wall_time=time.time(), **event).SerializeToString()
    with self._file.open("ab") as file:
      RecordWriter(file).write(blob)


def _cut(file, step):
  """Removes events that a resumed run is about to write again."""
  from google.protobuf.message import DecodeError
  from tensorboard.compat.proto.event_pb2 import Event

  blob, end = file.read_bytes(), 0
  # A record is its length and a checksum of it, an event, and one of that.
  while len(blob) >= end + 12:
    (size,) = struct.unpack_from("<Q", blob, end)
    event, after = blob[end + 12 : end + 12 + size], end + 16 + size
    try:
      if after > len(blob) or Event.FromString(event).step > step:
        break
    except DecodeError:  # a kill may leave anything at the end
      break
    end = after
  if end < len(blob):
    with file.open("r+b") as opened:
      opened.truncate(end)
