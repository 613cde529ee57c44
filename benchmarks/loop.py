# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What the training loop costs: `jaxad.fit` against its bare compiled step.

The loop feeds batches that lie on the device, augments them, writes a log and
moves a bar. The bare step is the same compiled update of one batch that is
there already, of which nobody fetches the metrics, as many steps in a dispatch.
Data are random, of a few batches, so that epochs are short.

Both run in one process and in turn, some steps each, on the same state. So a
busy machine is the same for both; a round begins and ends with idle devices.
Medians over the rounds, the first of which compiles and is left out. The CPU
time of all threads is there to check against.

A second table has how many images the data give in a second, to be compared
with how many the steps take: photographs that are decoded from JPEG, and
batches of the file in which large sets lie, which the system has in memory.
"""

import argparse
import pathlib
import tempfile
import time
from typing import NamedTuple

import numpy as np

from benchmarks import machine
from benchmarks.arguments import file_in_a_folder, names_of
from benchmarks.table import Report

WORKLOADS = {
  "ganomaly": "batches of 64 images of 32 pixels, the paper's width",
  "differnet": "batches of 24 cached images, 8 views each, the paper's flow",
  "dra": "batches of 48 images of 64 pixels, ResNet-18, CutMix and rotation",
}


class Setting(NamedTuple):
  """A workload: rows of a batch and of the data, and steps of a round."""

  batch: int
  rows: int
  steps: int


FULL = {
  "ganomaly": Setting(64, 520, 24),
  "differnet": Setting(24, 110, 5),
  "dra": Setting(48, 240, 8),
}
SMALL = {
  "ganomaly": Setting(8, 40, 4),
  "differnet": Setting(8, 30, 4),
  "dra": Setting(12, 40, 4),
}
# Those of `Log` in a run.
LOG_EVERY = 10

# Of the images that are read, and width and height of the files.
SIDES = (224, 448)
PHOTOGRAPH = (1024, 768)


def make_workload(name, small):
  """(detector, training data)."""
  import jaxad
  from jaxad.data import Examples
  from jaxad.networks.pyramid import Trunk

  n = (SMALL if small else FULL)[name].rows
  label = np.zeros(n, np.int32)
  rng = np.random.default_rng(0)
  if name == "differnet":
    sizes = {"n_blocks": 2, "hidden": 32} if small else {}
    detector = jaxad.differnet(**sizes)
    # AlexNet's 256 channels at three scales.
    x = rng.standard_normal((n, 8, 64 if small else 768), np.float32)
  elif name == "dra":
    trunk = Trunk(weights="random")
    if small:
      trunk = trunk._replace(width=8, blocks=(1,) * 4)
    detector = jaxad.dra(trunk=trunk, steps_per_epoch=5)
    x = rng.integers(0, 256, (n, 64, 64, 3), np.uint8)
    label[:10] = 1
  else:
    detector = jaxad.ganomaly(width=8 if small else 64)
    x = rng.integers(0, 256, (n, 32, 32, 3), np.uint8)
  names = tuple(f"{i:04}" for i in range(n))
  kinds = tuple("seen" if anomalous else "good" for anomalous in label)
  return detector, Examples(x, label, names, kinds, None)


def bare_dispatch(detector, data, plan):
  """`state -> state`: one dispatch of the last phase, on its first batches."""
  import jax

  from benchmarks.jax_side import compile_update
  from jaxad import distributed, feed

  mesh, k = distributed.data_mesh(), len(detector.phases) - 1
  phase = detector.phases[k]
  data = feed.as_dataset(data)
  source = feed.Feed(data, mesh, on_device=True)
  indices = feed.Indices(phase, data, plan, plan.steps_per_epoch[k])
  segments = iter([(0, plan.steps_per_dispatch)])
  (stack,) = source.stacks(indices, segments)
  gather = lambda entry: source.batch(indices, source.resident, entry)
  batches = jax.jit(jax.vmap(gather))(stack.entry)
  shardings = {
    name: distributed.replicated(mesh)
    if name in indices.shared
    else distributed.divided(mesh, axis=1)
    for name in batches
  }
  batches = jax.device_put(batches, shardings)
  update = compile_update(phase, mesh)
  return lambda state: update(state, batches)[0]


def clocks():
  """[2] seconds: on the clock, and of CPU time of all threads."""
  return np.array([time.perf_counter(), time.process_time()])


def measure(name, rounds, small):
  """A row of the table: milliseconds of a step in the loop, and of the bare."""
  import jax

  import jaxad
  from jaxad import runtime
  from jaxad.callbacks import Log, ProgressBar

  runtime.keep_memory()  # as its commands do
  setting = (SMALL if small else FULL)[name]
  detector, data = make_workload(name, small)
  where = dict(
    batch_size=setting.batch, drop_remainder=name == "ganomaly", epochs=1
  )
  dispatch = jaxad.make_plan(detector, data, **where).steps_per_dispatch
  dispatches = -(-setting.steps // dispatch)
  steps = dispatches * dispatch
  plan = jaxad.make_plan(detector, data, **where, steps=(rounds + 1) * steps)
  bare = bare_dispatch(detector, data, plan)
  times = []

  class Alternation(jaxad.Callback):
    """Lets the bare step run wherever a round of the loop is over."""

    def start(self, moment):
      self._since = clocks()

    def after(self, moment):
      if moment.step % steps:
        return
      state = jax.block_until_ready(moment.state)
      middle = clocks()
      for _ in range(dispatches):
        state = bare(state)
      moment.state = jax.block_until_ready(state)
      end = clocks()
      times.append((middle - self._since, end - middle))
      self._since = end

  state = detector.init(jax.random.key(0), {"x": data.x[:1]}, plan)
  with tempfile.TemporaryDirectory() as folder:
    log = Log(pathlib.Path(folder) / "metrics.jsonl", LOG_EVERY)
    callbacks = [log, ProgressBar(), Alternation()]
    jaxad.fit(detector, state, data, plan, callbacks, on_device=True)
  # [rounds, loop or bare, clock or CPU]
  medians = 1000 * np.median(times[1:], axis=0) / steps
  (loop, loop_cpu), (bare, bare_cpu) = medians.tolist()
  return {
    "workload": name + ("-small" if small else ""),
    "devices": jax.device_count(),
    "loop_ms": loop,
    "bare_ms": bare,
    "lost_percent": 100 * (loop / bare - 1),
    "images_per_s": 1000 * setting.batch / loop,
    "loop_cpu_ms": loop_cpu,
    "bare_cpu_ms": bare_cpu,
  }


def measure_data(side, small):
  """A row of the second table, of images of so many pixels."""
  from PIL import Image

  from jaxad.data import images
  from jaxad.data.arrays import FileArray
  from jaxad.data.examples import Item
  from jaxad.preprocess import Preprocess

  n, batch = (32, 8) if small else (512, 48)
  rng = np.random.default_rng(0)
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    for k in range(n):
      coarse = rng.integers(0, 256, (24, 32, 3), np.uint8)
      photograph = Image.fromarray(coarse).resize(PHOTOGRAPH)
      photograph.save(folder / f"{k:03}.jpg", quality=90)
    items = [
      Item("train" if k else "test", path.name, "good", path)
      for k, path in enumerate(sorted(folder.iterdir()))
    ]
    began = time.perf_counter()
    reading = images.Reading(Preprocess((side, side)))
    images.read(lambda: items, reading)
    decoded = n / (time.perf_counter() - began)
  shape = (n, side, side, 3)
  with tempfile.TemporaryFile(buffering=0) as file:
    x = FileArray(file, shape, np.uint8)
    for k in range(n):
      x[k] = rng.integers(0, 256, shape[1:], np.uint8)
    began = time.perf_counter()
    for first in range(0, n, batch):
      x[rng.permutation(n)[first : first + batch]]
    read = n / (time.perf_counter() - began)
  return {
    "pixels": side,
    "decoded_per_s": decoded,
    "read_per_s": read,
  }


def main():
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.loop",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument
  add(
    "--workloads",
    type=names_of(WORKLOADS),
    default=list(WORKLOADS),
    metavar=",".join(WORKLOADS),
  )
  add("--json", type=file_in_a_folder, metavar="FILE")
  add("--small", action="store_true", help="reduced sizes, a quick check")
  add("--rounds", type=int, default=9, help="to take the median of")
  add("--devices", type=int, help="virtual devices, of a CPU")
  args = parser.parse_args()
  for argument in ("rounds", "devices"):
    if (getattr(args, argument) or 1) < 1:
      parser.error(f"--{argument} must be at least 1")

  import jax

  if args.devices:
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", args.devices)
  machine.print_conditions(args.small)
  _, device = machine.device_of_jax()
  where = machine.describe(device, ("jax", "jaxlib"), "float32")
  print(where)
  report = Report(args.json, None, {"machine": where})
  for name in args.workloads:
    row = measure(name, args.rounds, args.small)
    report.add(name, WORKLOADS[name], [row], "loop")
  for side in SIDES:
    row = measure_data(side, args.small)
    report.add(str(side), "images a second, read and decoded", [row], "data")


if __name__ == "__main__":
  main()
