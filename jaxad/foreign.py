# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What is checked of files that others wrote, see docs/security.md."""

import errno
import json
import math
import os
import pathlib
import stat

# What packed files may take: so many bytes, or so many times their own size.
# Measurements shrink to a tenth, a bomb to a thousandth.
SMALL, RATIO = 2**27, 64


def check_unpacked(size: int, packed: int) -> None:
  """Whether a file may unpack to so many bytes.

  Raises:
    ValueError: it may not.
  """
  if size > max(SMALL, RATIO * packed):
    raise ValueError(
      f"it has {packed:,} bytes and unpacks to {size:,} or more; save it "
      "unpacked if that is right"
    )


def check_plain(path: str | os.PathLike) -> None:
  """Whether a path is that of a file, before it is opened.

  A pipe would be waited for, and a device may have no end.

  Raises:
    OSError: there is none, or it is neither a file nor a link to one.
  """
  try:
    mode = os.stat(path).st_mode
  except ValueError as error:  # a name with a zero
    raise OSError(errno.EINVAL, "no name of a file", f"{path}") from error
  if not stat.S_ISREG(mode):
    raise OSError(errno.EINVAL, "no plain file", f"{path}")


def read_bytes(path: str | os.PathLike) -> bytes:
  """The content of a file.

  Raises:
    OSError: it cannot be read, or is no plain file, see `check_plain`.
  """
  check_plain(path)
  return pathlib.Path(path).read_bytes()


def parse_json(text: str | bytes):
  """The value that JSON says.

  Raises:
    ValueError: it is none, is nested too deep, or has a number that is none,
      or too large for one.
  """
  try:
    return json.loads(text, parse_float=_finite, parse_constant=_finite)
  except RecursionError as error:
    raise ValueError("it is nested too deep") from error


def _finite(text):
  value = float(text)
  if not math.isfinite(value):
    raise ValueError(f"{text} is no finite number")
  return value


def reason(error: Exception) -> str:
  """What an error says, in one line."""
  return " ".join(str(error).split()) or type(error).__name__
