# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Where a result comes from: command, code, versions, machine, day."""

import datetime
import importlib.metadata
import pathlib
import platform
import shlex
import subprocess
import sys

import jax

import jaxad


def provenance() -> dict:
  """What `results.json` says of its origin."""
  return {
    "command": command(),
    "commit": commit(),
    "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    "device": device(),
    "cpu": _cpu(),
    "versions": _versions(),
  }


def command() -> str:
  """As this process was given it, without where the package lies."""
  program, *arguments = sys.argv
  program = pathlib.Path(program)
  if program.parent == pathlib.Path(jaxad.__file__).parent:
    module = f"jaxad.{program.stem}".removesuffix(".__main__")
    return shlex.join(["python", "-m", module, *arguments])
  return shlex.join([program.name, *arguments])


def device() -> str:
  """How many devices of which model, and in how many processes."""
  found = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
  count = jax.process_count()
  return found if count == 1 else f"{found} in {count} processes"


def commit() -> str | None:
  """Of the checkout that the package lies in, with a mark where it differs."""
  folder = pathlib.Path(jaxad.__file__).parent

  def git(*args):
    return subprocess.run(
      ["git", "-C", folder, *args],
      capture_output=True,
      text=True,
      check=True,
      timeout=10,
    ).stdout.strip()

  try:
    # Installed below somebody else's repository, it is not of that.
    git("ls-files", "--error-unmatch", "__init__.py")
    changed = git("status", "--porcelain", "--untracked-files=no", ".")
    return git("rev-parse", "HEAD") + ("+changes" if changed else "")
  except (OSError, subprocess.SubprocessError):
    return None


def short(commit: str | None) -> str:
  """The first digits, and "+" of a checkout that was changed."""
  number, plus, _ = (commit or "unknown").partition("+")
  return number[:7] + plus


def _cpu():
  """The processor's model, as far as the system tells."""
  try:
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
  except OSError:
    return platform.processor() or platform.machine()
  names = [line for line in lines if line.startswith("model name")]
  return names[0].partition(":")[2].strip() if names else platform.machine()


def _versions():
  names = ("jax", "flax", "optax", "orbax-checkpoint", "numpy")
  found = {name: importlib.metadata.version(name) for name in names}
  return found | {
    "jaxad": jaxad.__version__,
    "python": platform.python_version(),
  }
