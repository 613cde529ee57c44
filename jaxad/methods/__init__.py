# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The methods, one paper a file."""

from jaxad.methods.differnet import differnet

METHODS = {"differnet": differnet}
