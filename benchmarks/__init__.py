# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Speed, and what it depends on: `python -m benchmarks.scaling`."""
