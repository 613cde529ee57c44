# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""docs/first_hour.md, followed to the letter on a folder of rendered parts."""

import csv
import json
import pathlib
import re

import pytest
from PIL import Image

import jaxad
from jaxad import cli, data

ROOT = pathlib.Path(jaxad.__file__).parents[1]


@pytest.fixture
def home(tmp_path, monkeypatch):
  """A folder with parts/good, parts/scratch and new."""
  found = data.load(
    "textures", image_size=448, n_train=30, n_test_good=6, n_test_defect=12
  )
  train, test = found
  for examples in (train, test):
    for name, kind, x in zip(
      examples.id, examples.kind, examples.x, strict=True
    ):
      where = "parts/good" if examples is train else "new"
      if kind == "scratch":
        where = "parts/scratch"
      path = tmp_path / where / f"{kind}-{pathlib.Path(name).stem}.png"
      path.parent.mkdir(parents=True, exist_ok=True)
      Image.fromarray(x).save(path)
  monkeypatch.chdir(tmp_path)
  return tmp_path


@pytest.mark.slow
def test_the_first_hour(home, capfd):
  page = (ROOT / "docs/first_hour.md").read_text()
  blocks = re.findall(r"^```bash\n(.*?)^```$", page, re.M | re.S)
  commands = [line for block in blocks for line in block.splitlines()]
  assert len(commands) == 6
  said = {}
  for command in commands:
    program, *words = command.split()
    assert program == "jaxad" and cli.main(words) == 0, command
    said[words[0], len(said)] = capfd.readouterr()
  first = said["run", 0]
  assert "32 images in parts" in first.err and "good parts" in first.out
  found = json.loads((home / "runs/parts/results.json").read_text())
  assert found["image_auroc"] > 0.9
  n = len(list((home / "new").iterdir()))
  for output in ("runs/parts/predictions", "strict"):
    with (home / output / "scores.csv").open() as file:
      rows = list(csv.DictReader(file))
    assert len(rows) == n and not any(row["error"] for row in rows)
  defects = [row for row in rows if "/good" not in row["path"]]
  assert sum(row["predicted"] == "1" for row in defects) > len(defects) / 2
  maps = home / "runs/parts/predictions"
  with (maps / "scores.csv").open() as file:
    for row in csv.DictReader(file):
      picture = (maps / row["map"]).with_suffix(".png")
      with Image.open(picture) as image:
        assert image.size == (448, 448)
