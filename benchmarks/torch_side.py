# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""PyTorch's side of the workloads that have one, see `pytorch_*.py`.

jaxad takes images as bytes, PyTorch already as its networks want them. The
scores of the official code are taken as its test takes them: GANomaly's and
Skip-GANomaly's on batch statistics, OCGAN's all four, which jaxad has among its
`parts`. OCGAN's noise is the same in every epoch there: the official code draws
it when it loads the images, jaxad in each step anew.
"""

import functools
import os
import time
import types

import torch

from benchmarks import (
  machine,
  pytorch_alad,
  pytorch_anogan,
  pytorch_differnet,
  pytorch_dra,
  pytorch_fanogan,
  pytorch_gan,
)
from benchmarks.harness import Options, Program, peak_memory, steps_in_a_run
from benchmarks.workload import make_array
from benchmarks.workloads import SMALL_RESNET, WORKLOADS

OCGAN_NOISE = 0.02
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def make(name: str, options: Options, compiled: bool = False) -> Program:
  """PyTorch's program of a workload, eager or compiled."""
  device = start(options)
  workload = WORKLOADS[name]
  size = workload.size(options.small, device == "cpu")
  with torch.device(device):
    step, items = MAKES[workload.method](
      workload, size, options, device, compiled
    )
  if workload.kind == "search":
    whole = workload.part == "search"
    steps, per = 1, (1 if whole else size.steps)
    items = items if whole else None  # a step finishes none
  else:
    steps = per = steps_in_a_run(device)
  return program(step, device, compiled, steps, items)._replace(steps=per)


def start(options: Options) -> str:
  """Seed, threads and precision of PyTorch; returns the device to use."""
  torch.manual_seed(0)
  torch.set_num_threads(os.cpu_count())
  torch.set_float32_matmul_precision("high" if options.tf32 else "highest")
  torch.backends.cudnn.allow_tf32 = options.tf32
  return "cuda" if torch.cuda.is_available() else "cpu"


def program(step, device, compiled=False, steps=1, items=None) -> Program:
  """A program of `steps` calls of `step`; the first run compiles, if asked."""

  def run():
    for _ in range(steps):
      step()
    if device == "cuda":
      torch.cuda.synchronize()

  seconds = 0.0
  if compiled:
    began = time.perf_counter()
    run()
    seconds = time.perf_counter() - began
  if device == "cuda":
    name, peak = torch.cuda.get_device_name(), torch.cuda.max_memory_allocated
    torch.cuda.reset_peak_memory_stats()
    return Program(run, seconds, "gpu", name, steps, items, peak=peak)
  name, peak = machine.cpu_name(), peak_memory()
  return Program(run, seconds, "cpu", name, steps, items, peak=peak)


def tensor(array, device):
  """An array with its channels after the batch."""
  x = torch.from_numpy(array).to(device)
  return x.movedim(-1, 1) if x.ndim == 4 else x


def centred(workload, size, device, n=None):
  """Images in [-1, 1], a batch or n of them."""
  x = tensor(make_array(workload, size, n), device)
  return (x / 127.5 - 1).contiguous()


def normalised(array, device):
  """Images as ImageNet's networks take them."""
  mean, std = (
    torch.tensor(v, device=device).reshape(3, 1, 1) for v in (MEAN, STD)
  )
  return ((tensor(array, device) / 255 - mean) / std).contiguous()


def labels(method, batch, device):
  """In the order of the official samplers: a third, or a half of each kind."""
  kinds = torch.tensor((0, 1) if method == "devnet" else (0, 2, 1))
  return kinds.repeat_interleave(batch // len(kinds)).to(device)


def differnet(workload, size, options, device, compiled):
  """96 or 64 views, or features of so many."""
  sizes = {k: size.keywords.get(k, v) for k, v in FLOW.items()}
  dtype = torch.bfloat16 if options.bfloat16 else torch.float32
  model = pytorch_differnet.DifferNet(**sizes, trunk_dtype=dtype)
  optimizer = pytorch_differnet.make_optimizer(model)
  views = size
  if workload.part == "map":  # of views that are turned already
    views = size._replace(batch=size.keywords.get("n_transforms_test", 64))
  x = make_array(workload, views)
  if workload.part == "flow":
    x = torch.from_numpy(x).to(device)
    loss = lambda: model.loss(x)
  else:
    x = normalised(x, device)
    frozen = workload.part == "frozen"
    loss = lambda: pytorch_differnet.image_loss(model, x, frozen)
  if compiled:
    loss = torch.compile(loss)
  by_kind = {
    "step": lambda: pytorch_differnet.train(loss, optimizer),
    "score": lambda: pytorch_differnet.score(loss),
    "map": lambda: pytorch_differnet.pixel_gradient(loss, x),
  }
  return by_kind[workload.kind], size.batch


FLOW = {"n_blocks": 8, "hidden": 2048}


def dra(workload, size, options, device, compiled):
  """DRA and DevNet."""
  small = size.keywords["trunk"] == SMALL_RESNET
  sizes = {"width": 8, "blocks": 1} if small else {}
  if workload.method == "dra":
    make, n = pytorch_dra.Dra, size.keywords.get("n_references", 5)
    references = [normalised(make_array(workload, size, n), device)]
  else:
    make, references = pytorch_dra.DevNet, []
  model = make(**sizes, bfloat16=options.bfloat16)
  x = normalised(make_array(workload, size), device)
  if compiled:
    # Else the second scale compiles for images of any size.
    model.compile(dynamic=False)
  if workload.kind == "score":
    step = functools.partial(model.score, *references, x)
  else:
    label = labels(workload.method, size.batch, device)
    step = functools.partial(model.train_step, *references, x, label)
  return step, size.batch


def gan(workload, size, options, device, compiled):
  """GANomaly, Skip-GANomaly and OCGAN."""
  del options
  x = centred(workload, size, device)
  inputs = (x,)
  keywords = {"latent_dim": 100, "width": 64, "width_d": 64} | dict(
    size.keywords
  )
  side, latent = size.shape[0], keywords["latent_dim"]
  width, width_d = keywords["width"], keywords["width_d"]
  if workload.method == "ganomaly":
    model = pytorch_gan.Ganomaly(side, 3, latent, width)
  elif workload.method == "skip_ganomaly":
    model = pytorch_gan.SkipGanomaly(side, 3, latent, width, width_d)
  else:
    model = pytorch_gan.Ocgan(
      3, *(size.keywords.get(k, v) for k, v in OCGAN.items())
    )
    inputs = (x + OCGAN_NOISE * torch.randn_like(x), x)
  compile_networks(model, compiled)
  step = model.score if workload.kind == "score" else model.train_step
  step = functools.partial(step, *inputs)
  if workload.part == "mining":
    step = functools.partial(step, mine=True)
  return step, size.batch


OCGAN = {"latent_dim": 16, "width": 64, "width_d": 8}


def compile_networks(model, compiled):
  """Each network by itself."""
  if compiled:
    # What one network computes is used by two backward passes.
    torch._functorch.config.donated_buffer = False
    for network in model.networks:
      network.compile()


def fanogan(workload, size, options, device, compiled):
  del options
  sizes = {"width": 64, "latent_dim": 128, "critic_iters": 5} | dict(
    size.keywords
  )
  batches = sizes["critic_iters"] if workload.part == "train" else 1
  x = centred(workload, size, device, batches * size.batch)
  model = pytorch_fanogan.Fanogan(1, *sizes.values())
  compile_networks(model, compiled)
  if workload.part == "train":
    step = functools.partial(model.gan_step, x.split(size.batch))
  else:
    model.freeze()
    step = {"encoder": model.encoder_step, "score": model.score}[workload.part]
    step = functools.partial(step, x)
  return step, len(x)


def alad(workload, size, options, device, compiled):
  del options
  x = centred(workload, size, device, 2 * size.batch).unflatten(0, (2, -1))
  given = size.keywords["images"].fields if size.keywords else {}
  model = pytorch_alad.Alad(types.SimpleNamespace(**ALAD | given))
  compile_networks(model, compiled)
  if workload.kind == "score":
    return functools.partial(model.score, x[0]), size.batch
  return functools.partial(model.train_step, *x), size.batch


ALAD = {
  "latent_dim": 100,
  "encoder": (128, 256, 512),
  "generator": (512, 256, 128),
  "xz_data": (128, 256, 512),
  "xz_code": (512, 512),
  "xz_joint": (1024,),
  "xx": (64, 128),
  "zz": (64, 32),
  "xz_dropout": 0.2,
  "xx_dropout": 0.2,
  "zz_dropout": 0.2,
  "spectral_norm": True,
}


def anogan(workload, size, options, device, compiled):
  del options
  keywords = dict(size.keywords)
  if "latent_dim" in keywords:
    keywords["nz"] = keywords.pop("latent_dim")
  x = centred(workload, size, device)
  model = pytorch_anogan.AnoGan(size.shape[0], 1, **keywords)
  compile_networks(model, compiled)
  z = torch.randn(size.batch, model.nz).clamp(-2, 2)
  step = functools.partial(model.search, x, z, size.steps)
  return step, size.batch


MAKES = {
  "differnet": differnet,
  "dra": dra,
  "devnet": dra,
  **dict.fromkeys(("ganomaly", "skip_ganomaly", "ocgan"), gan),
  "fanogan": fanogan,
  "alad": alad,
  "anogan": anogan,
}
