# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Compiled programs and freed memory, which commands keep."""

import errno
import os
import pathlib
import platform
import subprocess
import sys
import types

import jax
import pytest

from jaxad import runtime

# A command that compiles, and counts what it compiled and loaded.
COMMAND = """
import collections
import sys

import jax
import jax.numpy as jnp

from jaxad import cli

found = collections.Counter()
jax.monitoring.register_event_listener(
  lambda event, **_: found.update([event.rsplit("/", 1)[-1]])
)
fn = lambda x: jnp.linalg.norm(jnp.sin(x) @ x)
code = cli.guarded(lambda argv: print(float(jax.jit(fn)(jnp.eye(3)))), [])
print(found["cache_misses"], found["cache_hits"])
sys.exit(code)
"""


def run(script, folder, **environment):
  """The lines that a script prints in a process with a cache of its own."""
  own = {"JAX_COMPILATION_CACHE_DIR", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES"}
  inherited = {k: v for k, v in os.environ.items() if k not in own}
  done = subprocess.run(
    [sys.executable, "-W", "ignore", "-c", script],
    env=inherited | {"JAXAD_CACHE": str(folder)} | environment,
    check=True,
    capture_output=True,
    text=True,
  )
  return done.stdout.splitlines()


def files(folder):
  return [path for path in folder.rglob("*") if path.is_file()]


def test_the_second_start_compiles_nothing(tmp_path):
  value, counts = run(COMMAND, tmp_path)
  misses, _ = map(int, counts.split())
  own = tmp_path / "compiled" / runtime.processor()
  written = [path for path in files(own) if path.name != "checked"]
  assert len(written) == misses > 0
  assert run(COMMAND, tmp_path) == [value, f"0 {misses}"]
  # As a killed process and a full disk leave them: they are made once more.
  for size, path in enumerate(written):
    path.write_bytes(path.read_bytes()[:-7] if size else b"")
  assert run(COMMAND, tmp_path) == [value, f"{misses} 0"]
  assert run(COMMAND, tmp_path) == [value, f"0 {misses}"]


def test_settings_of_jax_go_before(tmp_path):
  own = tmp_path / "own"
  options = {
    "JAX_COMPILATION_CACHE_DIR": str(own),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
  }
  run(COMMAND, tmp_path / "cache", **options)
  assert files(own) and not files(tmp_path / "cache")
  run(COMMAND, tmp_path / "none", JAX_ENABLE_COMPILATION_CACHE="false")
  assert not files(tmp_path / "none")


def test_an_import_sets_nothing(tmp_path):
  script = """
import jax
import jaxad
from jaxad import cli, loop, methods, run, runtime, sklearn
print(jax.config.jax_compilation_cache_dir)
"""
  assert run(script, tmp_path) == ["None"]


@pytest.mark.parametrize("why", ["file", "read-only", "no home"])
def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch, why):
  monkeypatch.setenv("JAXAD_CACHE", str(tmp_path / "cache"))
  if why == "file":
    (tmp_path / "cache").write_text("")
  elif why == "no home":
    monkeypatch.setenv("JAXAD_CACHE", "~nobody-of-this-name/cache")
  else:
    (tmp_path / "cache/compiled" / runtime.processor()).mkdir(parents=True)

    def refuse(*_):
      raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(pathlib.Path, "touch", refuse)
  before = jax.config.jax_compilation_cache_dir
  try:
    jax.config.update("jax_compilation_cache_dir", None)
    runtime.keep_programs()
    assert jax.config.jax_compilation_cache_dir is None
  finally:
    jax.config.update("jax_compilation_cache_dir", before)


def test_processors_have_folders_of_their_own(monkeypatch):
  names = set()
  for flags, megahertz in (("avx", 1), ("avx", 2), ("avx avx512f", 1)):
    text = f"processor : 0\nflags : {flags}\ncpu MHz : {megahertz}\n\nflags :"
    monkeypatch.setattr(pathlib.Path, "read_text", lambda _, text=text: text)
    names.add(runtime.processor())
  assert len(names) == 2


def test_what_was_not_used_for_longest_goes(tmp_path):
  (tmp_path / "a").mkdir()
  ages = {"a/old": 10, "new": 1, "a/older": 20}
  for name, age in ages.items():
    (tmp_path / name).write_bytes(bytes(100))
    os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
  # Read since it was written.
  os.utime(tmp_path / "a/old", (1e9, 1e9 - 10))
  runtime.trim(tmp_path, 300)
  assert len(files(tmp_path)) == 3
  runtime.trim(tmp_path, 299)
  assert {p.name for p in files(tmp_path)} == {"old", "new"}
  runtime.trim(tmp_path, 199)
  assert {p.name for p in files(tmp_path)} == {"old"}


@pytest.mark.parametrize(
  ("most", "wanted"),
  [
    (2**31, [(-3, 2**30), (-1, 2**31 - 1), (-8, 1)]),
    (2**25, [(-3, 2**30), (-3, 2**25), (-1, 2**31 - 1), (-8, 1)]),
    (0, [(-3, 2**30), (-3, 2**25)]),
  ],
)
def test_what_an_old_glibc_is_asked_for(monkeypatch, most, wanted):
  asked = []

  def mallopt(parameter, value):
    asked.append((parameter, value))
    return int(parameter != -3 or value <= most)

  for name in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES"):
    monkeypatch.delenv(name, raising=False)
  monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.31"))
  library = types.SimpleNamespace(mallopt=mallopt)
  monkeypatch.setattr(runtime.ctypes, "CDLL", lambda _: library)
  runtime.keep_memory()
  assert asked == wanted


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_freed_memory_is_kept(tmp_path):
  script = """
import ctypes
import resource
import threading
from jaxad import runtime

runtime.keep_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p

def use():
  block = ctypes.c_void_p(libc.malloc(ctypes.c_size_t(2**27)))
  libc.memset(block, 1, ctypes.c_size_t(2**27))
  libc.free(block)

def work():
  faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  use()
  before = faults()
  for _ in range(4):
    use()
  print(faults() - before)

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""
  pages = 4 * 2**27 // os.sysconf("SC_PAGESIZE")
  (kept,) = run(script, tmp_path)
  (given_back,) = run(script, tmp_path, MALLOC_ARENA_MAX="8")
  assert int(kept) < pages / 20 < pages / 2 < int(given_back)
