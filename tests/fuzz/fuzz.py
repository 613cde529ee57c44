# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Feeds damaged and hostile files to the readers of `readers.py`.

    python tests/fuzz/fuzz.py --inputs 10000 table_csv image_png

Each reader gets a process of its own, whose memory and time are limited: a
crash, a hang or a bomb ends that alone. An input is a file that can be read,
changed at random by a seed and its number, so `--first 4711 --inputs 1 --keep`
makes one again. Prints what was found as a line of JSON for each reader.
"""

import argparse
import faulthandler
import json
import os
import pathlib
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings

SECONDS, MEMORY = 5, 2**30

# What formats, and those who attack them, like to see.
WORDS = [
  *(b"\0", b"\n", b"\r", b'"', b"'", b",", b";", b"=", b":", b"-", b"\\"),
  *(b"{", b"}", b"[", b"]", b"(", b")", b"null", b"true", b"[]", b"{}"),
  *(b"0", b"-1", b"nan", b"NaN", b"inf", b"-Infinity", b"1e999", b"1e-999"),
  *(b"9" * 20, b"9" * 400, b"9" * 5000, b"2147483648", b"18446744073709551616"),
  *(b"../", b"/etc/passwd", b"C:\\x", b"~", b"\x1b[2J", b"\x7f"),
  *(b"\xff\xfe", b"\xed\xb2\x80", b"\xef\xbb\xbf", "\u2028".encode()),
  *(b"[" * 5000, b'{"a":' * 5000, b"," * 5000, b"\n" * 5000),
]
NUMBERS = [0, 1, 2, -1, -2, 127, 128, 255, 2**15, 2**16 - 1, 2**24]
NUMBERS += [2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**63]


def mutated(rng: random.Random, blob: bytes, other: bytes = b"") -> bytes:
  """A file with a few places changed; `other` gives it another end."""
  blob = bytearray(blob)
  for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
    at = rng.randrange(len(blob) + 1)
    if rng.random() < 0.5:  # headers lie in front
      at = min(at, rng.randrange(256))
    end = at + rng.choice((1, 1, 2, 4, 8, rng.randrange(1, 64)))
    kind = rng.randrange(8)
    if kind == 0:
      del blob[at:]
    elif kind == 1:
      del blob[at:end]
    elif kind == 2:
      blob[at:at] = blob[at:end] * rng.choice((1, 2, 100))
    elif kind == 3:
      word = rng.choice(WORDS)
      blob[at : rng.choice((at, at + len(word)))] = word
    elif kind == 4:
      size, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
      number = rng.choice(NUMBERS) % 256**size
      blob[at : at + size] = number.to_bytes(size, order)
    elif kind == 5 and other:
      blob[at:] = other[rng.randrange(len(other)) :]
    elif at < len(blob):
      blob[at] = rng.randrange(256) if kind == 6 else blob[at] ^ 1 << at % 8
  return bytes(blob)


def changed(rng: random.Random, value):
  """JSON with one of its values replaced, removed or wrapped."""
  if isinstance(value, dict | list) and value and rng.random() < 0.85:
    value = value.copy()
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key = rng.choice(keys)
    if rng.random() < 0.1:
      del value[key]
    else:
      value[key] = changed(rng, value[key])
    return value
  odd = [None, True, 0, -1, 0.5, 1e308, 2**31, 2**70, "", "x", "../x", [], {}]
  odd += [[value], {"a": value}, [value] * 3, "9" * 400, [-1, 2**40], "nan"]
  return rng.choice(odd)


def attempt(reader, path: pathlib.Path, sound: bool) -> str | None:
  """What is wrong with how a file was read or refused, or None.

  Args:
    reader: of it.
    path: of it.
    sound: whether it may be read at all.
  """
  from jaxad.errors import InputError

  try:
    reader.read(path)
    return None if sound else "it is read, and should be refused"
  except InputError as error:
    said = str(error)
    if not said.isprintable() or len(said) > 2000:
      return f"no line to be read: {said[:500]!r}"
    if reader.named and path.name not in said and str(path.parent) not in said:
      return f"it does not name the file: {said}"
  except Exception:
    return traceback.format_exc(limit=-4)
  return None


def fuzz(name, reader, hostile, first: int, n: int, folder) -> dict:
  """Reads n inputs; to be called in a process that may end by it.

  Raises:
    InputError: a file of the corpus is refused.
  """
  # A file is read as it is, or refused; a warning is neither.
  warnings.simplefilter("error", RuntimeWarning)
  path = folder / reader.file
  corpus, faults = reader.corpus(folder), []
  for blob in corpus:
    path.write_bytes(blob)
    reader.read(path)
  # Says where it hangs, and ends the process, also within a library.
  faulthandler.register(signal.SIGALRM, chain=True)
  base = _limit_memory()
  start = time.perf_counter()
  slowest = 0.0
  for k in range(first - len(hostile), first + n):
    rng = random.Random(f"{name} {k}")
    if k < first:
      blob = hostile[k - first]
    else:
      blob = reader.mutate(rng, rng.choice(corpus), rng.choice(corpus))
    path.write_bytes(blob)
    (folder.parent / "number").write_text(f"{k}")
    signal.alarm(SECONDS)
    began = time.perf_counter()
    fault = attempt(reader, path, k >= first)
    slowest = max(slowest, time.perf_counter() - began)
    signal.alarm(0)
    if fault:
      faults.append(f"input {k} of {name}: {fault}")
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
  return {
    "reader": name,
    "inputs": n + len(hostile),
    "seconds": round(time.perf_counter() - start, 2),
    "slowest": round(slowest, 3),
    "peak_mb": round((peak - base) / 1e6),
    "faults": faults,
  }


def _limit_memory():
  """Bytes resident now; from here on no more than `MEMORY` can be added."""
  status = dict(
    line.split(":") for line in open("/proc/self/status").read().splitlines()
  )
  size = lambda key: int(status[key].split()[0]) * 1024
  limit = size("VmSize") + MEMORY
  resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
  return size("VmHWM")


def run(name: str, reader, first: int, n: int) -> dict:
  """`fuzz` in a process of its own; how that ended, if not by itself."""
  with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
    folder, said = pathlib.Path(folder), pathlib.Path(folder, "said")
    (folder / "number").write_text("none")
    hostile = reader.hostile()
    child = os.fork()
    if not child:
      try:
        with said.open("w") as file:
          os.dup2(file.fileno(), 2)
        (folder / "in").mkdir()
        found = fuzz(name, reader, hostile, first, n, folder / "in")
        (folder / "found.json").write_text(json.dumps(found))
        os._exit(0)
      except BaseException:
        traceback.print_exc()
      finally:
        os._exit(1)
    _, status = os.waitpid(child, 0)
    if status == 0:
      return json.loads((folder / "found.json").read_text())
    at = (folder / "number").read_text()
    ended = f"input {at} of {name} ended it with {status}: {said.read_text()}"
    return {"reader": name, "faults": [ended]}


def main():
  from readers import READERS

  parser = argparse.ArgumentParser()
  parser.add_argument("readers", nargs="*", help="all where none is named")
  parser.add_argument("--inputs", type=int, default=10_000)
  parser.add_argument("--first", type=int, default=0)
  args = parser.parse_args()
  for name in args.readers or READERS:
    found = run(name, READERS[name], args.first, args.inputs)
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
  sys.exit(main())
