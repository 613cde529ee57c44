# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""How fast jaxad is, from a checkout: `python -m benchmarks.run --help`.

What several devices make of it: `python -m benchmarks.scaling --help`.
"""
