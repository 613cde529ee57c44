# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Finds a weights file that an installed Python package holds."""

import importlib.metadata

from jaxad.errors import InputError
from jaxad.pretrained.download import sha256_of


def is_installed(package: str) -> bool:
  """Whether there is such a package, by the name it has at the index."""
  try:
    importlib.metadata.distribution(package)
  except importlib.metadata.PackageNotFoundError:
    return False
  return True


def packaged(package: str, name: str, sha256_prefix: str) -> str:
  """The path of a file of a package; nothing of the package is run.

  Args:
    package: its name at the index.
    name: path of the file in it.
    sha256_prefix: the first hexadecimal digits of its SHA-256.

  Returns:
    Path of a file whose hash is right.

  Raises:
    InputError: the package is not installed, or its file is not that.
  """
  if not is_installed(package):
    raise InputError(
      f"the package {package} is not installed; pip install {package}"
    )
  path = str(importlib.metadata.distribution(package).locate_file(name))
  try:
    sound = sha256_of(path).startswith(sha256_prefix)
  except OSError:
    sound = False
  if not sound:
    raise InputError(
      f"{path} is missing or not the file that was published; "
      f"pip install --force-reinstall {package}"
    )
  return path
