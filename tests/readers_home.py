# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What a reader of the pages in docs/ has at hand, made of embedded data.

    parts/good, parts/scratch, parts/dent    photographs of parts, 448 px
    new/000.png, ...                         more of them: good ones, then bad
    pumps.csv, today.csv                     rows of measurements
    airport.mat, later.mat                   hyperspectral scenes

Good images of new/ come first.
"""

import csv
import pathlib

import numpy as np
from PIL import Image
from scipy import io as of_matlab

from jaxad import data

# Good images in new/.
N_NEW_GOOD = 6


def furnish(home: pathlib.Path) -> None:
  """Writes all of it into a folder."""
  write_parts(home)
  write_pumps(home / "pumps.csv", seed=0, n=240)
  write_pumps(home / "today.csv", seed=1, n=40)
  write_scenes(home)


def write_parts(home):
  """Rendered metal: 36 good parts, twelve of each of two kinds of defect."""
  train, test, *_ = data.load(
    "textures",
    image_size=448,
    n_train=36,
    n_test_good=N_NEW_GOOD,
    n_test_defect=60,
  )
  new = []
  for k, x in enumerate(train.x):
    _save(home / f"parts/good/{k:03d}.png", x)
  for k, (kind, x) in enumerate(zip(test.kind, test.x, strict=True)):
    if kind in ("scratch", "dent"):
      _save(home / f"parts/{kind}/{k:03d}.png", x)
    elif kind == "good":
      new.insert(0, x)
    elif len(new) < 3 * N_NEW_GOOD:
      new.append(x)
  for k, x in enumerate(new):
    _save(home / f"new/{k:03d}.png", x)


def _save(path, x):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(x).save(path)


def write_pumps(path, seed, n):
  """Speed, pressure and heat of pumps; one in ten runs hot for its speed."""
  rng = np.random.default_rng(seed)
  with path.open("w", newline="") as file:
    rows = csv.writer(file)
    rows.writerow(("serial", "speed", "pressure", "heat", "label"))
    for k in range(n):
      hot = k % 10 == 9
      speed = rng.normal(1480, 25)
      pressure = 4 + (speed - 1480) / 100 + rng.normal(0, 0.05)
      heat = 60 + (speed - 1480) / 10 + 12 * hot + rng.normal(0, 0.8)
      values = (f"{value:.2f}" for value in (speed, pressure, heat))
      rows.writerow((f"P{seed}{k:04d}", *values, "hot" if hot else "ok"))


def write_scenes(home):
  """One scene, and the same on another flight: turned, with other noise."""
  scene = data.load("scene").test
  cube, truth = scene.x[0], scene.mask[0]
  of_matlab.savemat(home / "airport.mat", {"data": cube, "map": truth})
  noise = np.random.default_rng(0).normal(0, 0.002, cube.shape)
  later = {"data": np.float32(cube + noise)[::-1], "map": truth[::-1]}
  of_matlab.savemat(home / "later.mat", later)
