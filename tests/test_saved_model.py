# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""A run as TensorFlow's SavedModel gives the run's scores, or is refused."""

import json

import jax
import numpy as np
import pytest
from test_detector import CASES
from trained_runs import write_run

import jaxad
from jaxad import cli
from jaxad.data._tf import tensorflow
from jaxad.image_scorer import checksum

# TensorFlow 2.21 knows the operations of this jax, not those of later ones.
READ = jax.__version__.startswith("0.10.")


@pytest.mark.parametrize(
  "method", ["mlep", pytest.param("differnet", marks=pytest.mark.slow)]
)
def test_tensorflow_gives_the_scores_of_the_run(method, tmp_path, capsys):
  changes = {"test_rotations": "random"} if method == "differnet" else {}
  write_run(tmp_path / "run", method, **changes)
  path = tmp_path / "model"
  arguments = [
    *("export", "--format=saved_model"),
    *("--run", f"{tmp_path / 'run'}", "--output", f"{path}"),
  ]
  code = cli.main(arguments)
  said = capsys.readouterr()
  if not READ:
    assert code == cli.USAGE_ERROR and not path.exists()
    assert f"cannot run {method} as jax" in said.err
    return
  assert code == 0, said.err
  tf = tensorflow()
  score = tf.saved_model.load(f"{path}").signatures["serving_default"]
  x = CASES[method].odd(5, 1)
  names = np.uint32([checksum(f"{k}") for k in range(5)])
  found = score(images=tf.constant(x), ids=tf.constant(names))
  want = jaxad.load(tmp_path / "run").score(x, with_maps=True)
  np.testing.assert_allclose(found["image"], want.image, rtol=1e-4)
  scale = np.abs(want.map).max()
  np.testing.assert_allclose(found["map"], want.map, rtol=0, atol=0.01 * scale)
  about = json.loads((path / "assets.extra/jaxad.json").read_text())
  assert about["threshold"]["value"] == 0.385
  # It is not written over.
  assert cli.main(arguments) == cli.USAGE_ERROR
  assert "it exists" in capsys.readouterr().err


def test_an_operation_that_tensorflow_lacks_is_named(
  tmp_path, capfd, monkeypatch
):
  top = lambda z, rate: jax.lax.top_k(z.reshape(z.shape[0], -1), 1)[0]
  monkeypatch.setattr("jaxad.networks.heads.top_k_mean", top)
  write_run(tmp_path / "run", "saoe")
  arguments = ["export", "--format=saved_model", f"--run={tmp_path / 'run'}"]
  code = cli.main([*arguments, f"--output={tmp_path / 'model'}"])
  (line,) = capfd.readouterr().err.splitlines()
  assert code == cli.USAGE_ERROR and "cannot run saoe" in line
  assert len(line) < 300
  assert [path.name for path in tmp_path.iterdir()] == ["run"]
