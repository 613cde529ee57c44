# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What a command sets for its process; the library itself sets nothing.

`keep_programs` has JAX keep compiled programs in the part `compiled` of the
cache folder, so that the next start loads what this one compiled. A program is
machine code: the instructions that the processor has are part of the folder's
name, so that machines of different kinds may share a cache. JAX's own settings
go before: JAX_COMPILATION_CACHE_DIR names another folder, and
JAX_ENABLE_COMPILATION_CACHE=false keeps nothing.

`keep_memory` has the C library keep freed memory. XLA:CPU asks for the memory
of a step's intermediate arrays anew in each step, and glibc gives blocks of
that size back to the system at once, which zeroes every page of them again: a
quarter of the time of a step of OCGAN. Variables MALLOC_... and GLIBC_TUNABLES
in the environment are another choice, and stay in force.
"""

import ctypes
import hashlib
import os
import pathlib
import platform

import jax

# How a kept program is packed has no public name.
from jax._src import compilation_cache

from jaxad import cache
from jaxad.errors import InputError

# Of all compiled programs together when a command starts. One run of a method
# has 5 to 50 MB of them.
MOST_BYTES = 2**30

# Parameters of glibc's mallopt, see malloc.h: blocks from this size on are the
# system's own; memory at the end of the heap goes back to the system beyond so
# much; so many heaps, since those beside the first do not grow beyond 64 MB.
_MMAP_THRESHOLD, _TRIM_THRESHOLD, _ARENA_MAX = -3, -1, -8


def prepare() -> None:
  """Both, at the start of a command."""
  keep_memory()
  keep_programs()


def keep_programs() -> None:
  """Sets JAX's persistent cache of compiled programs, where none is set."""
  if (
    not jax.config.jax_enable_compilation_cache
    or jax.config.jax_compilation_cache_dir is not None
  ):
    return
  try:
    folder = cache.cache_dir() / "compiled"
    own = folder / processor()
    own.mkdir(parents=True, exist_ok=True)
    drop_torn(own)
    trim(folder, MOST_BYTES)
  except (OSError, InputError):
    return  # no folder that can be written: as before there was a cache
  jax.config.update("jax_compilation_cache_dir", str(own))
  # Many small programs take as long as a few large ones.
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def processor() -> str:
  """A name for what machine code runs here, such as "x86_64-1f3a5b7c9d0e"."""
  try:
    lines = pathlib.Path("/proc/cpuinfo").read_text().split("\n\n")[0]
  except OSError:
    lines = platform.processor()
  names = ("model name", "flags", "Features", "CPU part")
  known = [line for line in lines.splitlines() if line.startswith(names)]
  text = "\n".join(known) or lines
  digest = hashlib.sha256(text.encode()).hexdigest()[:12]
  return f"{platform.machine()}-{digest}"


def drop_torn(folder: pathlib.Path) -> None:
  """Deletes programs that a killed process or a full disk left half-written.

  JAX would try them at every start, and never write them again. What was whole
  at the last start is not read a second time.
  """
  stamp = folder / "checked"
  checked = stamp.stat().st_mtime if stamp.exists() else 0
  stamp.touch()
  for path in folder.glob("*-cache"):
    try:
      if path.stat().st_mtime >= checked:
        compilation_cache.decompress_executable(path.read_bytes())
    except OSError:  # another process deletes them too
      continue
    except Exception:  # zlib's or zstd's
      path.unlink(missing_ok=True)


def trim(folder: pathlib.Path, most_bytes: int) -> None:
  """Deletes the files that were not used for longest, until the rest fits."""
  found = []
  for path in folder.rglob("*"):
    try:
      stat = path.stat()
    except FileNotFoundError:  # another process trims too
      continue
    if path.is_file():
      found.append((max(stat.st_atime, stat.st_mtime), stat.st_size, path))
  for _, size, path in sorted(found, reverse=True):
    most_bytes -= size
    if most_bytes < 0:
      path.unlink(missing_ok=True)


def keep_memory() -> None:
  """Sets glibc's malloc to keep what is freed, where it is glibc's."""
  choices = ("MALLOC_", "GLIBC_TUNABLES")
  chosen = any(name.startswith(choices) for name in os.environ)
  if chosen or platform.libc_ver()[0] != "glibc":
    return
  mallopt = ctypes.CDLL(None).mallopt
  # An old glibc takes no more than 32 MB. The others alone would do harm: to
  # set any of them ends glibc's own adjustment, from 128 KB on.
  if mallopt(_MMAP_THRESHOLD, 2**30) or mallopt(_MMAP_THRESHOLD, 2**25):
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_ARENA_MAX, 1)
