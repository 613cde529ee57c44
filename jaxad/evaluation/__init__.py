# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Scores of a trained detector, and what they are worth."""
