# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""brain_mri with its names in another order, and so another split.

python other_order.py DATA/brain_mri TARGET SEED
"""

import pathlib
import random
import sys


def main(source, target, seed):
  for kind in ("no", "yes"):
    folder = pathlib.Path(target) / kind
    folder.mkdir(parents=True)
    paths = sorted((pathlib.Path(source).resolve() / kind).iterdir())
    random.Random(int(seed)).shuffle(paths)
    for i, path in enumerate(paths):
      (folder / f"{i:03d}_{path.name}").symlink_to(path)


if __name__ == "__main__":
  main(*sys.argv[1:])
