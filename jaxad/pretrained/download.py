# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Fetches a weights file once, checks it, and keeps it in a cache folder."""

import hashlib
import http.client
import os
import sys
import urllib.error
import urllib.parse
import urllib.request

import filelock

from jaxad.cache import cache_dir
from jaxad.errors import InputError

_CHUNK = 1 << 20  # bytes
_TIMEOUT = 60  # seconds without a byte


def fetch(
  url: str, sha256_prefix: str, folder: str | os.PathLike | None = None
) -> str:
  """The path of the file behind `url`, downloaded unless it is there.

  It arrives as `<name>.part` and gets its name only when it is whole and its
  hash is right. A download that broke off is resumed where the server can.

  Args:
    url: where the file is.
    sha256_prefix: the first hexadecimal digits of its SHA-256.
    folder: the file goes to its folder "weights"; None is the cache.

  Returns:
    Path of a file whose hash is right.

  Raises:
    InputError: no network, a broken connection, a wrong hash, or a folder that
      cannot be written to.
  """
  folder = os.path.join(folder or cache_dir(), "weights")
  name = os.path.basename(urllib.parse.urlsplit(url).path)
  path = os.path.join(folder, name)
  try:
    if _is_right(path, sha256_prefix):
      return path
    os.makedirs(folder, exist_ok=True)
    with filelock.FileLock(os.path.join(folder, ".lock")):
      # Not where another process has fetched it meanwhile.
      if not _is_right(path, sha256_prefix):
        _fetch(url, sha256_prefix, path)
  except (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
  ) as e:
    raise InputError(
      f"{url}: cannot be downloaded ({_reason(e)}); {_remedy(path)}"
    ) from e
  except OSError as e:
    raise InputError(
      f"{url}: cannot be stored ({e}); set JAXAD_CACHE to a folder "
      "that can be written to"
    ) from e
  return path


def _is_right(path, sha256_prefix):
  return os.path.isfile(path) and sha256_of(path).startswith(sha256_prefix)


def _fetch(url, sha256_prefix, path):
  part = path + ".part"
  # A complete .part is left when the last run stopped before the check.
  if not _is_right(part, sha256_prefix):
    _download(url, part, path)
  digest = sha256_of(part)
  if not digest.startswith(sha256_prefix):
    os.remove(part)
    raise InputError(
      f"{url}: the download has SHA-256 {digest}, expected {sha256_prefix}...; "
      f"it was deleted; run again, or {_remedy(path)}"
    )
  os.replace(part, path)


def _remedy(path):
  return (
    f"download it elsewhere and put it at {path}, or give its own path as the "
    "weights"
  )


def _reason(error):
  return " ".join(str(getattr(error, "reason", error) or error).split())


def sha256_of(path: str | os.PathLike) -> str:
  """The SHA-256 of a file, 64 hexadecimal digits.

  Raises:
    OSError: the file cannot be read.
  """
  with open(path, "rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _download(url, part, path):
  """Appends to `part` what it lacks."""
  offset = os.path.getsize(part) if os.path.isfile(part) else 0
  try:
    response = _open(url, offset)
  except urllib.error.HTTPError as error:
    error.close()
    # 416: the .part is as long as the file, or longer, and yet not right.
    if error.code != 416 or not offset:
      raise
    offset = 0
    response = _open(url, 0)
  with response:
    if offset and not _continues(response, offset):
      offset = 0
    length = response.headers.get("Content-Length")
    total = offset + int(length) if length else None
    with open(part, "ab" if offset else "wb") as file:
      done = _copy(response, file, offset, total, os.path.basename(path))
  if total is not None and done < total:
    raise InputError(
      f"{url}: the connection broke after {done} of {total} bytes; run "
      f"again to resume, or {_remedy(path)}"
    )


def _open(url, offset):
  headers = {"Range": f"bytes={offset}-"} if offset else {}
  request = urllib.request.Request(url, headers=headers)
  return urllib.request.urlopen(request, timeout=_TIMEOUT)


def _continues(response, offset):
  """Whether the server sends the rest only; it may send it all, with 200."""
  span = response.headers.get("Content-Range", "")
  return response.status == 206 and span.startswith(f"bytes {offset}-")


def _copy(response, file, done, total, name):
  """Copies to the end with progress on stderr; the bytes in the file then."""
  shown = None
  # read1: what has arrived before a connection breaks is kept.
  while chunk := response.read1(_CHUNK):
    file.write(chunk)
    done += len(chunk)
    percent = f"{100 * done // total}%" if total else "?"
    if percent != shown:
      shown = percent
      megabytes = f"{done / 1e6:.1f} MB"
      print(f"\r{name}: {percent}, {megabytes}", end="", file=sys.stderr)
  print(file=sys.stderr)
  return done
