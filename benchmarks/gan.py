# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""GANomaly, Skip-GANomaly and OCGAN against the official steps in PyTorch.

Sizes are the official ones, but for OCGAN's batch on a CPU: 64, since a step of
the official 512, which accelerators get, takes long there. Images are random
bytes. jaxad takes them as they are, PyTorch already in [-1, 1]; loading is no
part of any workload.

Networks this small are bound by launches on an accelerator. Both sides take 16
steps there before the clock is read, jaxad's training in one dispatch as its
training loop does.

The scores of the official code are taken as its test takes them: GANomaly's and
Skip-GANomaly's on batch statistics, and for OCGAN all four, which jaxad has
among its `parts`. The noise of OCGAN's images is the same in every epoch: the
official code draws it when it loads them, jaxad in each step anew.
"""

import functools
import itertools
from typing import NamedTuple

import harness
import numpy as np

WORKLOADS = {
  "G1": "GANomaly, training step, 64 images of 32 pixels",
  "G2": "Skip-GANomaly, training step, 64 images of 32 pixels",
  "G3": "OCGAN as released, training step, 64 (CPU) or 512 images of 61 pixels",
  "G4": "OCGAN as released, training step with mining, images as G3",
  "G5": "GANomaly, scores of 64 images",
  "G6": "Skip-GANomaly, scores of 64 images",
  "G7": "OCGAN as released, scores of 64 images",
}
TRAINING = ("G1", "G2", "G3", "G4")
METHODS = {
  "ganomaly": ("G1", "G5"),
  "skip_ganomaly": ("G2", "G6"),
  "ocgan": ("G3", "G4", "G7"),
}


class Sizes(NamedTuple):
  """Batch, image side, code length, width of the networks and of D.

  GANomaly's discriminator has no width of its own.
  """

  batch: int
  side: int
  latent: int
  width: int
  width_d: int


FULL = {
  "ganomaly": Sizes(64, 32, 100, 64, 64),
  "skip_ganomaly": Sizes(64, 32, 100, 64, 64),
  "ocgan": Sizes(64, 61, 16, 64, 8),
}
SMALL = {
  "ganomaly": Sizes(4, 32, 10, 8, 8),
  "skip_ganomaly": Sizes(4, 32, 10, 8, 8),
  "ocgan": Sizes(2, 61, 6, 4, 4),
}
OCGAN_BATCH = 512
OCGAN_NOISE = 0.02
STEPS = 16


def setting(workload, options, on_cpu):
  """(method, sizes, steps in a run) of a workload."""
  if options.bfloat16:
    raise ValueError("--bfloat16: these methods have no frozen trunk")
  method = next(m for m, names in METHODS.items() if workload in names)
  sizes = (SMALL if options.small else FULL)[method]
  official = method == "ocgan" and workload in TRAINING and not options.small
  if official and not on_cpu:
    sizes = sizes._replace(batch=OCGAN_BATCH)
  return method, sizes, 1 if on_cpu else STEPS


def make_images(sizes):
  """Bytes [B, S, S, 3]."""
  shape = (sizes.batch, sizes.side, sizes.side, 3)
  return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def make_detector(method, sizes):
  import jaxad

  widths = {"latent_dim": sizes.latent, "width": sizes.width}
  if method != "ganomaly":
    widths["width_d"] = sizes.width_d
  if method == "ocgan":
    # Noise at test, as the official code has it.
    return jaxad.ocgan(variant="released", depth=3, test_noise=True, **widths)
  return getattr(jaxad, method)(**widths)


def make_jaxad(workload, options):
  """jaxad's step, as its training loop compiles it, or its score."""
  import jax
  import jax.numpy as jnp

  from jaxad import distributed

  method, sizes, steps = setting(workload, options, distributed.on_cpu())
  detector = make_detector(method, sizes)
  batch = {"x": jnp.asarray(make_images(sizes))}
  state = detector.init(jax.random.key(0), batch)
  if workload in TRAINING:
    phase = detector.phases[1 if workload == "G4" else 0]
    return harness.training_program(phase, state, batch, steps)
  return harness.scoring_program(detector, state, batch["x"], steps)


def make_pytorch(workload, options, compiled=False):
  """The official step, see `pytorch_gan.py`."""
  import pytorch_gan as official
  import torch

  device = harness.start_torch(options)
  method, sizes, steps = setting(workload, options, device == "cpu")
  images = torch.from_numpy(make_images(sizes)).to(device)
  x = (images.permute(0, 3, 1, 2) / 127.5 - 1).contiguous()
  inputs = (x,)
  with torch.device(device):
    if method == "ganomaly":
      model = official.Ganomaly(sizes.side, 3, sizes.latent, sizes.width)
    elif method == "skip_ganomaly":
      model = official.SkipGanomaly(
        sizes.side, 3, sizes.latent, sizes.width, sizes.width_d
      )
    else:
      model = official.Ocgan(3, sizes.latent, sizes.width, sizes.width_d)
      # The original adds its noise when images are loaded.
      inputs = (x + OCGAN_NOISE * torch.randn_like(x), x)
  if compiled:
    # What one network computes is used by two backward passes.
    torch._functorch.config.donated_buffer = False
    for network in model.networks:
      network.compile()
  step = model.train_step if workload in TRAINING else model.score
  step = functools.partial(step, *inputs)
  if workload == "G4":
    step = functools.partial(step, mine=True)
  return harness.torch_program(step, device, compiled, steps, sizes.batch)


make_pytorch_compiled = functools.partial(make_pytorch, compiled=True)


# The arithmetic that a step needs, which is less than the official one spends.


def layers(channels, sides, kernel):
  """(multiply-adds an image, weights) of each of a chain of convolutions.

  Args:
    channels: of the feature maps, one more than there are layers.
    sides: of the smaller map of each layer, the input of a transposed one. Taps
      on padding count.
    kernel: its side.
  """
  weights = [kernel**2 * a * b for a, b in itertools.pairwise(channels)]
  return [(w * s**2, w) for w, s in zip(weights, sides, strict=True)]


def forward(network):
  return sum(operations for operations, _ in network)


def backward(network, weights=True, inputs=True):
  """Gradients of the weights and of the input; without it, all but layer 1's.

  Each costs what the forward pass costs.
  """
  down = forward(network if inputs else network[1:])
  return down + (forward(network) if weights else 0)


def parts(operations, batch, *networks):
  """The passes of all images, and Adam.

  It reads weights, gradients and moments, and writes all but gradients.
  """
  weights = sum(w for network in networks for _, w in network)
  return [(2 * batch * operations, 0.0), (0.0, 7 * 4 * weights)]


def ganomaly_costs():
  sides = (16, 8, 4, 1)
  encode = layers((3, 64, 128, 256, 100), sides, 4)
  decode = encode[::-1]
  critic = layers((3, 64, 128, 256, 1), sides, 4)
  operations = (
    forward(encode + decode + encode)
    + backward(encode + decode + encode, inputs=False)
    # Real and fake; the generator matches features, which one layer follows.
    + 2 * forward(critic)
    + backward(critic[:-1], weights=False)
    + 2 * backward(critic, inputs=False)
  )
  return parts(operations, 64, encode, decode, encode, critic)


def skip_ganomaly_costs():
  down = layers((3, 64, 128, 256, 512, 512), (16, 8, 4, 2, 1), 4)
  # With the skip connections, the inputs are twice as wide as the outputs.
  up = [
    *layers((512, 512), (1,), 4),
    *layers((1024, 256), (2,), 4),
    *layers((512, 128), (4,), 4),
    *layers((256, 64), (8,), 4),
    *layers((128, 3), (16,), 4),
  ]
  critic = layers((3, 64, 128, 256, 100), (16, 8, 4, 1), 4)
  operations = (
    forward(down + up)
    + backward(down + up, inputs=False)
    + 2 * forward(critic)
    + backward(critic, weights=False)
    + 2 * backward(critic, inputs=False)
  )
  return parts(operations, 64, down, up, critic)


def ocgan_costs():
  """Without the dense layers of the latent discriminator."""
  sides = (29, 13, 5, 1)
  encode = layers((3, 64, 128, 256, 16), sides, 5)
  decode = encode[::-1]
  visual = layers((3, 8, 16, 32, 1), sides, 5)
  classify = layers((3, 64, 128, 256, 1), sides, 5)
  operations = (
    forward(encode + decode)  # constants
    # The discriminators, then the classifier: generated and given.
    + forward(decode)
    + 2 * forward(visual)
    + 2 * backward(visual, inputs=False)
    + forward(decode)
    + 2 * forward(classify)
    + 2 * backward(classify, inputs=False)
    # The auto-encoder: reconstructed and generated.
    + forward(encode + decode)
    + backward(encode + decode, inputs=False)
    + forward(decode)
    + backward(decode, inputs=False)
    + forward(visual)
    + backward(visual, weights=False)
  )
  return parts(operations, OCGAN_BATCH, encode, decode, visual, classify)


# Of the training steps on an accelerator.
COSTS = {
  "G1": ganomaly_costs(),
  "G2": skip_ganomaly_costs(),
  "G3": ocgan_costs(),
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
