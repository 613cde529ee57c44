# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""f-AnoGAN's two training steps against PyTorch.

Sizes are the official ones: 64 grey images of 64 pixels a batch, networks of
width 64, codes of 128. Images are random bytes; jaxad takes them as they are,
PyTorch already in [-1, 1]. On an accelerator both sides take 16 steps before
the clock is read, jaxad's in one dispatch as its training loop does.
"""

import functools
from typing import NamedTuple

import harness
import numpy as np

WORKLOADS = {
  "F1": "f-AnoGAN, step of the generator and five batches of the critic",
  "F2": "f-AnoGAN, step of the encoder",
}


class Sizes(NamedTuple):
  """Batch, width, code length and batches of the critic in a step."""

  batch: int
  width: int
  latent: int
  critic_iters: int


FULL = Sizes(64, 64, 128, 5)
SMALL = Sizes(4, 4, 8, 2)
SIDE = 64
STEPS = 16


def setting(workload, options, on_cpu):
  """(sizes, images in a step, steps in a run) of a workload."""
  if options.bfloat16:
    raise ValueError("--bfloat16: the method has no frozen trunk")
  sizes = SMALL if options.small else FULL
  batches = sizes.critic_iters if workload == "F1" else 1
  return sizes, batches * sizes.batch, 1 if on_cpu else STEPS


def make_images(n):
  """Bytes [n, S, S, 1]."""
  return np.random.default_rng(0).integers(0, 256, (n, SIDE, SIDE, 1), np.uint8)


def make_jaxad(workload, options):
  """jaxad's step, as its training loop compiles it."""
  import jax
  import jax.numpy as jnp

  import jaxad
  from jaxad import distributed

  sizes, n, steps = setting(workload, options, distributed.on_cpu())
  detector = jaxad.fanogan(
    width=sizes.width, latent_dim=sizes.latent, critic_iters=sizes.critic_iters
  )
  batch = {"x": jnp.asarray(make_images(n))}
  state = detector.init(jax.random.key(0), batch)
  phase = detector.phases[0 if workload == "F1" else 1]
  return harness.training_program(phase, state, batch, steps)


def make_pytorch(workload, options, compiled=False):
  """The official step, see `pytorch_fanogan.py`."""
  import pytorch_fanogan as official
  import torch

  device = harness.start_torch(options)
  sizes, n, steps = setting(workload, options, device == "cpu")
  images = torch.from_numpy(make_images(n)).to(device)
  x = (images.permute(0, 3, 1, 2) / 127.5 - 1).contiguous()
  with torch.device(device):
    model = official.Fanogan(1, sizes.width, sizes.latent, sizes.critic_iters)
  # A gradient of a gradient is beyond torch.compile.
  if compiled and workload == "F2":
    for network in model.networks:
      network.compile()
  if workload == "F1":
    step = functools.partial(model.gan_step, x.split(sizes.batch))
  else:
    model.freeze()
    step = functools.partial(model.encoder_step, x)
  return harness.torch_program(step, device, compiled, steps, n)


make_pytorch_compiled = functools.partial(make_pytorch, compiled=True)


if __name__ == "__main__":
  harness.main(
    __doc__,
    WORKLOADS,
    {
      "jaxad": make_jaxad,
      "pytorch": make_pytorch,
      harness.COMPILED: make_pytorch_compiled,
    },
    {},
  )
