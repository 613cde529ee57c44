# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""A run as one file: the same bits, on a bare machine, or a clear error."""

import numpy as np
import pytest
from trained_runs import images_of, write_run

import jaxad
from jaxad.export import export


def assert_same(a, b):
  np.testing.assert_array_equal(a.image, b.image)
  assert a.parts.keys() == b.parts.keys()
  for name, part in a.parts.items():
    np.testing.assert_array_equal(part, b.parts[name])
  assert (a.map is None) == (b.map is None)
  for one, other in zip(a.map or (), b.map or (), strict=True):
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("method", jaxad.METHODS)
def test_the_scorer_gives_the_bits_of_the_run(method, tmp_path, monkeypatch):
  monkeypatch.setattr("jaxad.export.PLATFORMS", ("cpu",))
  changes = {"test_rotations": "random"} if method == "differnet" else {}
  write_run(tmp_path / "run", method, **changes)
  run = jaxad.load(tmp_path / "run")
  path = tmp_path / "run.jaxad"
  export(run, path)
  found = jaxad.load_scorer(path)
  images = images_of(6)
  assert found.threshold == run.threshold == 0.385
  plain = run.score(images)
  assert len(set(plain.image.tolist())) == 6
  assert np.isfinite(plain.image).all()
  # Batches of the run's own size, the last of them padded, and of another.
  assert_same(found(images), plain)
  assert_same(found(images, True), run.score(images, True))
  other = found(images, True, batch_size=3)
  np.testing.assert_allclose(other.image, plain.image, rtol=1e-3)
  assert [m.shape for m in other.map] == [i.shape[:2] for i in images]
