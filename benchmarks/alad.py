# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""ALAD's training step against an eager rendering of the official one.

Networks and batch are the official ones for CIFAR-10; images are random bytes,
which jaxad takes as they are and PyTorch already in [-1, 1]. A step is both
runs, that of the discriminators and that of G and E, all five updates and the
moving average of the parameters, with codes and masks of dropout drawn anew.
"""

import functools

import harness
import numpy as np

WORKLOADS = {"L1": "ALAD, training step, 32 images of 32 pixels"}
STEPS = 16


def setting(options, on_cpu):
  """(sizes of the networks, batch, steps in a run)."""
  from jaxad.networks.alad import IMAGES, Layers

  if options.bfloat16:
    raise ValueError("--bfloat16: the method has no frozen trunk")
  steps = 1 if on_cpu else STEPS
  if not options.small:
    return IMAGES, 32, steps
  small = Layers(
    latent_dim=6,
    encoder=(4, 5, 6),
    generator=(6, 5, 4),
    xz_data=(4, 5, 6),
    xz_code=(6, 6),
    xz_joint=(10,),
    xx=(4, 4),
    zz=(7, 5),
  )
  return small, 4, steps


def make_images(batch):
  """Bytes [2, B, 32, 32, 3], of both runs."""
  shape = (2, batch, 32, 32, 3)
  return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def make_jaxad(workload, options):
  """jaxad's step, as its training loop compiles it."""
  import jax
  import jax.numpy as jnp

  import jaxad
  from jaxad import distributed

  del workload  # there is one
  layers, count, steps = setting(options, distributed.on_cpu())
  detector = jaxad.alad(images=layers)
  x, x_again = jnp.asarray(make_images(count))
  batch = {"x": x, "x_again": x_again}
  state = detector.init(jax.random.key(0), batch)
  return harness.training_program(detector.phases[0], state, batch, steps)


def make_pytorch(workload, options):
  """The same in eager PyTorch, see `pytorch_alad.py`."""
  import pytorch_alad
  import torch

  del workload
  device = harness.start_torch(options)
  layers, count, steps = setting(options, device == "cpu")
  images = torch.from_numpy(make_images(count)).to(device)
  x, x_again = (images.permute(0, 1, 4, 2, 3) / 127.5 - 1).contiguous()
  with torch.device(device):
    model = pytorch_alad.Alad(layers)
  step = functools.partial(model.train_step, x, x_again)
  return harness.torch_program(step, device, steps=steps, items=count)


if __name__ == "__main__":
  harness.main(
    __doc__,
    WORKLOADS,
    {"jaxad": make_jaxad, "pytorch": make_pytorch},
    {},
  )
