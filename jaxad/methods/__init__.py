# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The methods, one paper a file."""

from jaxad.methods.differnet import differnet
from jaxad.methods.ganomaly import ganomaly
from jaxad.methods.ocgan import ocgan
from jaxad.methods.skip_ganomaly import skip_ganomaly

METHODS = {
  "differnet": differnet,
  "ganomaly": ganomaly,
  "ocgan": ocgan,
  "skip_ganomaly": skip_ganomaly,
}
