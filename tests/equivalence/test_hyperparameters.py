# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Every hyper-parameter that a recording states is read, and matters.

One at a time is changed in a copy of a recording, which then must not replay.
"""

import subprocess
import sys

import numpy as np
import pytest
from recording import COMMITTED

# Where half of a number would make no difference, or no sense.
OTHERS = {
  "activation": "relu",
  "adam_eps": 0.01,
  "b1": 0.7,
  "bn_eps": 0.1,
  "clip": 1.0,
  "clip_eps": 0.5,
  "consistency": "encoded",
  "cosine_eps": 10.0,
  "criterion": "bce",
  "d_lat_sign": -1,
  "hinge": "sample",
  "lambda2": 0.0,
  "latent": "linear",
  "hadgan-rec": "l21",
  "ln_eps": 0.1,
  "loss": "MSE",
  "loss_layers": "6,9,12",
  "minmax_eps": 0.5,
  "noise_std": 0.5,
  "normalize_eps": 1.0,
  "objective": "v1",
  "pixel_norm_eps": 0.5,
  "pad3": "SAME",
  "prep_normalized_degrees": 90.0,
  "rec": "mse",
  "rec_eps": 1.0,
  "refine": "mse_clean",
  "reinit_below": 10.0,
  "rms_eps": 0.1,
  "rx_ridge": 0.1,
  "score_degree": 2,
  "score_eps": 0.1,
  "score_layers": "9,12",
  "score_method": "cross-e",
  "search_eps": 0.5,
  "sn_eps": 0.1,
  "total": "LG+lamLT",
  "variant": "paper",
  "weight_decay": 0.1,
}

# What changes nothing by what else the recordings say: no sample of adVAE's is
# beyond its margin (tests/test_variational.py tells them apart), and HADGAN's
# has another loss.
ALIKE = {"advae-hinge", "hadgan-l21_eps"}


def cases():
  for file in sorted(COMMITTED.glob("*/*.npz")):
    with np.load(file) as arrays:
      for key in arrays:
        name = f"{file.parent.name}-{key[3:]}"
        if key.startswith("hp/") and name not in ALIKE:
          yield pytest.param(file, key, id=name)


def other(method, name, value):
  for key in (f"{method}-{name}", name):
    if key in OTHERS:
      return np.array(OTHERS[key])
  if value.dtype.kind == "f":
    return value / 2
  return ~value if value.dtype.kind == "b" else value + 1


@pytest.mark.slow
@pytest.mark.parametrize("file, key", list(cases()))
def test_a_changed_hyperparameter_does_not_replay(file, key, tmp_path):
  method = file.parent.name
  with np.load(file) as arrays:
    changed = dict(arrays)
  changed[key] = other(method, key.removeprefix("hp/"), changed[key])
  (tmp_path / method).mkdir()
  np.savez(tmp_path / method / file.name, **changed)
  tests = "test_devnet.py" if method == "flos" else f"test_{method}.py"
  command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0"]
  command += [f"--goldens={tmp_path}", str(COMMITTED.parent / tests)]
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  # 1: a test failed; a file that cannot be collected gives 2.
  assert done.returncode == 1, done.stdout[-2000:]
