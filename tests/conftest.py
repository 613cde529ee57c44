# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Options of the test suite."""


def pytest_addoption(parser):
  parser.addoption(
    "--goldens",
    metavar="DIR",
    default=None,
    help="replay the recordings in DIR/<method>/*.npz instead of ours",
  )
