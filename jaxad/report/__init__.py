# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What an evaluation leaves behind: tables, JSON, CSV and PNG files."""
