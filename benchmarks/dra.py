# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""DRA and DevNet against the official steps in PyTorch, at the official size.

Images are random bytes, a third of DRA's each normal, pseudo and seen; of
DevNet's half are anomalies. The trunk, ResNet-18, is randomly initialised and
trained with the rest. jaxad takes bytes, PyTorch images already normalised.

Loading and augmentation are no part of the official step, whose images come
augmented from data workers. jaxad turns images and makes pseudo anomalies on
the device, within its step. So D1, D2 and D4 are without augmentation on both
sides, and D5 is D1 with jaxad's: what it takes more than D1 is the cost.
PyTorch's D5 is its D1.

With --bfloat16 the trunk's arithmetic is in bfloat16; its parameters and the
heads stay float32.
"""

import functools
from typing import NamedTuple

import harness
import numpy as np

WORKLOADS = {
  "D1": "official training step: 48 + 5 images of 448 pixels, two scales",
  "D2": "D1 with 12 + 5 images, for a quick number on a CPU",
  "D3": "scores of 48 images with 5 references",
  "D4": "DevNet, official training step, 48 images of 448 pixels, two scales",
  "D5": "D1 with jaxad's augmentation: CutMix and rotation",
}


class Sizes(NamedTuple):
  """Batch, references, image side; channels and blocks of the trunk's layers.

  The channels are those of the first layer.
  """

  batch: int = 48
  references: int = 5
  side: int = 448
  width: int = 64
  blocks: int = 2


SMALL = Sizes(6, 2, 64, 8, 1)
STEPS = 16


def setting(workload, options):
  """(name of the method, sizes)."""
  method = "devnet" if workload == "D4" else "dra"
  if options.small:
    return method, SMALL
  return method, Sizes(batch=12 if workload == "D2" else 48)


def make_batch(method, sizes):
  """Bytes [B, S, S, 3] and labels, in the order of the official sampler."""
  rng = np.random.default_rng(0)
  make = lambda n: rng.integers(
    0, 256, (n, sizes.side, sizes.side, 3), np.uint8
  )
  batch = {"x": make(sizes.batch)}
  kinds = (0, 1)
  if method == "dra":
    batch["reference"] = make(sizes.references)
    kinds = (0, 2, 1)
  label = np.repeat(np.int32(kinds), sizes.batch // len(kinds))
  return batch | {"label": label}


def make_detector(workload, options):
  import jaxad
  from jaxad.layers.augmentation import Augmentation
  from jaxad.networks.pyramid import Trunk
  from jaxad.optim import ClippedAdam

  method, sizes = setting(workload, options)
  trunk = Trunk(
    weights="random",
    width=sizes.width,
    blocks=(sizes.blocks,) * 4,
    dtype="bfloat16" if options.bfloat16 else "float32",
  )
  keywords = {}
  if method == "dra":
    keywords["n_references"] = sizes.references
  if workload != "D5":
    keywords["augmentation"] = Augmentation(rotation=0.0)
    if method == "dra":
      keywords["pseudo"] = "none"
  # No schedule: it would need a plan, and takes no time.
  optimizer = ClippedAdam(schedule="constant")
  return getattr(jaxad, method)(trunk=trunk, optimizer=optimizer, **keywords)


def make_jaxad(workload, options):
  """jaxad's step, as its training loop compiles it, or its score."""
  import jax
  import jax.numpy as jnp

  from jaxad import distributed

  steps = 1 if distributed.on_cpu() else STEPS
  detector = make_detector(workload, options)
  batch = make_batch(*setting(workload, options))
  batch = jax.tree.map(jnp.asarray, batch)
  state = detector.init(jax.random.key(0), batch)
  if workload == "D3":
    return harness.scoring_program(detector, state, batch["x"], steps)
  if workload == "D5":
    # The step makes pseudo anomalies of normal images by itself.
    batch["label"] = jnp.where(batch["label"] == 1, 1, 0)
  return harness.training_program(detector.phases[-1], state, batch, steps)


def make_model(workload, options):
  """The official method, see `pytorch_dra.py`."""
  import pytorch_dra as official

  method, sizes = setting(workload, options)
  make = official.DevNet if method == "devnet" else official.Dra
  return make(sizes.width, sizes.blocks, bfloat16=options.bfloat16)


def make_inputs(batch, device):
  """A batch as PyTorch takes it: [references,] images, labels."""
  import torch

  mean = torch.tensor((0.485, 0.456, 0.406), device=device).reshape(3, 1, 1)
  std = torch.tensor((0.229, 0.224, 0.225), device=device).reshape(3, 1, 1)
  images = []
  for name in ("reference", "x"):
    if name in batch:
      x = torch.from_numpy(batch[name]).to(device).permute(0, 3, 1, 2)
      images.append(((x / 255 - mean) / std).contiguous())
  return *images, torch.from_numpy(batch["label"]).to(device)


def make_pytorch(workload, options, compiled=False):
  """The official step."""
  import torch

  device = harness.start_torch(options)
  method, sizes = setting(workload, options)
  *images, label = make_inputs(make_batch(method, sizes), device)
  with torch.device(device):
    model = make_model(workload, options)
  if compiled:
    # Else the second scale compiles for images of any size.
    model.compile(dynamic=False)
  if workload == "D3":
    step = functools.partial(model.score, *images)
  else:
    step = functools.partial(model.train_step, *images, label)
  steps = 1 if device == "cpu" else STEPS
  return harness.torch_program(step, device, compiled, steps, sizes.batch)


make_pytorch_compiled = functools.partial(make_pytorch, compiled=True)

# Full size: multiply-adds an image, both scales: of the trunk, of its first
# convolution, which has no gradient to pass on, and of the composite head's 3x3
# convolution; and parameters.
_TRUNK, _FIRST, _COMPOSITE = 9.067e9, 0.590e9, 0.578e9
_TRUNK_PARAMETERS, _HEADS_PARAMETERS = 11.18e6, 2.49e6


def training_costs(images, references=0):
  """Three passes, and Adam.

  It reads weights, gradients and moments, and writes all but gradients. The
  maps that norms read and write are not counted.
  """
  composite = images * _COMPOSITE if references else 0.0
  trunk = (images + references) * (3 * _TRUNK - _FIRST)
  parameters = _TRUNK_PARAMETERS + (_HEADS_PARAMETERS if references else 0.0)
  return [(2 * (trunk + 3 * composite), 0.0), (0.0, 7 * 4 * parameters)]


COSTS = {
  "D1": training_costs(48, 5),
  "D2": training_costs(12, 5),
  "D3": [(2 * (53 * _TRUNK + 48 * _COMPOSITE), 0.0)],
  "D4": training_costs(48),
}


if __name__ == "__main__":
  harness.main(
    __doc__,
    WORKLOADS,
    {
      "jaxad": make_jaxad,
      "pytorch": make_pytorch,
      harness.COMPILED: make_pytorch_compiled,
    },
    COSTS,
  )
