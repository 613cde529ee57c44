# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What `import jaxad` costs, and what runs without TensorFlow."""

import os
import pathlib
import subprocess
import sys
import time

import pytest

import jaxad

HEAVY = (
  "tensorflow",
  "tensorflow_datasets",
  "sklearn",
  "matplotlib",
  "jinja2",
  "orbax",
  "torch",
)


def python(code):
  """Runs code in a process of its own; returns (stdout, seconds)."""
  package = pathlib.Path(jaxad.__file__).parents[1]
  start = time.perf_counter()
  done = subprocess.run(
    [sys.executable, "-W", "error", "-c", code],
    env=os.environ | {"PYTHONPATH": str(package), "JAX_PLATFORMS": "cpu"},
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert done.stderr == ""
  return done.stdout, time.perf_counter() - start


def test_import_is_quick_and_loads_nothing_heavy():
  # Seconds of the process itself: those of a clock are other programs' too.
  code = (
    "import sys, time, jaxad\n"
    "print(time.process_time())\n"
    f"print(*[name for name in {HEAVY} if name in sys.modules])"
  )
  seconds = []
  while not seconds or (min(seconds) >= 3 and len(seconds) < 3):
    out, _ = python(code)
    taken, *heavy = out.split()
    assert heavy == []
    seconds.append(float(taken))
  assert min(seconds) < 3


def test_import_starts_no_backend():
  # A program may choose its devices after the import: JAX refuses this once a
  # computation has run.
  code = (
    "import jax, jaxad\n"
    "jax.config.update('jax_num_cpu_devices', 3)\n"
    "print(jax.device_count())"
  )
  assert python(code)[0].split() == ["3"]


def test_public_names():
  for name in jaxad.__all__:
    assert hasattr(jaxad, name)
  for name, factory in jaxad.METHODS.items():
    assert getattr(jaxad, name) is factory and name in jaxad.__all__


def test_training_and_scoring_need_no_tensorflow():
  code = """if True:
    import sys
    sys.modules["tensorflow"] = sys.modules["tensorflow_datasets"] = None
    import jax
    import numpy as np
    import jaxad

    detector = jaxad.differnet(
      trunk="alexnet", layer="features.0", weights="random", n_scales=1,
      n_blocks=1, hidden=4, n_transforms=1, n_transforms_test=1,
    )
    x = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    state = detector.init(jax.random.key(0), {"x": x})
    state, metrics = jax.jit(detector.phases[0].update)(state, {"x": x})
    keys = jax.random.split(jax.random.key(1), 2)
    scores = jax.jit(detector.score)(state, x, keys)
    assert np.isfinite(metrics["loss"]) and np.isfinite(scores.image).all()
    print(int(state.step), scores.image.shape)
  """
  assert python(code)[0].strip() == "1 (2,)"


@pytest.mark.parametrize(
  "module",
  [
    "data",
    "data.pipeline",
    "loop",
    "feed",
    "evaluation.scoring",
    "cli",
    "sklearn",
  ],
)
def test_tensorflow_waits_until_data_are_asked_for(module):
  code = (
    f"import sys, jaxad.{module}\n"
    "print(*[n for n in sys.modules if n.startswith('tensorflow')])"
  )
  assert python(code)[0].split() == []
