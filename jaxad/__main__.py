# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""`python -m jaxad` is the command `jaxad`."""

import sys

from jaxad.cli import main

sys.exit(main())
