# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""How fast jaxad is; run from a checkout: `python -m benchmarks.run --help`.

`python -m benchmarks.scaling` is for several devices.
"""
