# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""AnoGAN's latent search: batched, one image at a time, and in PyTorch.

All search for the codes of the same 64 random images, with networks of full
size that are not trained, which costs the same. jaxad searches as its scorer
does: for all images at once, and as `one_by_one` for one after the other. Times
of A1 are of one step for all images; of the 500 a run takes 10 (one_by_one: 2),
whose start and scores count. A2 takes all of them, and minutes.
"""

import functools
import time

import harness
import numpy as np

WORKLOADS = {
  "A1": "a step of the search for 64 images of 28 pixels",
  "A2": "the whole search for them, 500 steps; use --repeats=1",
}
IMAGES, STEPS = 64, 500


def setting(workload, options, one_by_one=False):
  """(keywords of the detector, images, steps in a run)."""
  if options.bfloat16:
    raise ValueError("--bfloat16: the method has no frozen trunk")
  steps = STEPS if workload == "A2" else 2 if one_by_one else 10
  if not options.small:
    return {}, IMAGES, steps
  small = {
    "latent_dim": 8,
    "generator_widths": (16, 8, 4),
    "discriminator_widths": (4, 4, 16),
  }
  return small, 4, 5 if workload == "A2" else 2


def make_images(count):
  """Bytes [B, 28, 28, 1]."""
  shape = (count, 28, 28, 1)
  return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def make_jaxad(workload, options, one_by_one=False):
  """jaxad's search, as its scorer takes the steps."""
  import jax

  import jaxad
  from jaxad.data import Examples
  from jaxad.evaluation.scoring import Scorer

  keywords, count, steps = setting(workload, options, one_by_one)
  detector = jaxad.anogan(search_steps=steps, **keywords)
  x, names = make_images(count), tuple(map(str, range(count)))
  images = Examples(x, np.zeros(count, np.int32), names, ("",) * count, None)
  state = detector.init(jax.random.key(0), {"x": x})
  batch = 1 if one_by_one else count
  scorer = Scorer(detector, batch, jax.random.key(1))
  start = time.perf_counter()
  scorer.scores(state, images.take(np.arange(batch)))
  seconds = time.perf_counter() - start  # of a search, too
  run = functools.partial(scorer.scores, state, images)
  # A2 is one whole: its time is of all steps.
  per = 1 if workload == "A2" else steps
  return harness.jax_program(run, seconds, per, count)


make_one_by_one = functools.partial(make_jaxad, one_by_one=True)


def make_pytorch(workload, options):
  """The same in eager PyTorch, see `pytorch_anogan.py`."""
  import pytorch_anogan
  import torch

  device = harness.start_torch(options)
  keywords, count, steps = setting(workload, options)
  if "latent_dim" in keywords:
    keywords["nz"] = keywords.pop("latent_dim")
  images = torch.from_numpy(make_images(count)).to(device)
  x = (images.permute(0, 3, 1, 2) / 127.5 - 1).contiguous()
  with torch.device(device):
    model = pytorch_anogan.AnoGan(**keywords)
    z = torch.randn(count, model.nz).clamp(-2, 2)
  run = functools.partial(model.search, x, z, steps)
  per = 1 if workload == "A2" else steps
  program = harness.torch_program(run, device, items=count)
  return program._replace(steps=per)


if __name__ == "__main__":
  harness.main(
    __doc__,
    WORKLOADS,
    {
      "jaxad": make_jaxad,
      "one_by_one": make_one_by_one,
      "pytorch": make_pytorch,
    },
    {},
  )
