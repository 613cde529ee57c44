# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What figures are to be read with."""

import importlib.metadata
import os
import pathlib
import platform
from collections.abc import Iterable


def print_conditions(small: bool) -> None:
  if small:
    print("--small: reduced sizes; the numbers compare with no others.")
  load = os.getloadavg()[0]
  print(f"load average at the start: {load:.1f} on {os.cpu_count()} threads")


def describe(device: str, libraries: Iterable[str], precision: str) -> str:
  """One line on what the numbers were measured with."""
  versions = [f"python {platform.python_version()}"]
  for library in libraries:
    try:
      versions.append(f"{library} {importlib.metadata.version(library)}")
    except importlib.metadata.PackageNotFoundError:
      versions.append(f"no {library}")
  return "; ".join(
    [
      f"{device}, {os.cpu_count()} CPU threads",
      ", ".join(versions),
      precision,
    ]
  )


def device_name(device) -> str:
  """Model of a device of JAX."""
  return cpu_name() if device.platform == "cpu" else device.device_kind


def device_of_jax() -> tuple[str, str]:
  """(platform, model) of JAX's first device."""
  import jax

  device = jax.devices()[0]
  return device.platform, device_name(device)


def cpu_name() -> str:
  """Model of the processor."""
  try:
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
      if line.startswith("model name"):
        return line.split(":", 1)[1].strip()
  except OSError:
    pass  # not Linux
  return platform.processor() or platform.machine()
