# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Timing of implementations of one workload against each other.

A benchmark is a script with a dict of implementations, each a module-level
function `make(workload, options) -> Program`:

    if __name__ == "__main__":
      harness.main(__doc__, WORKLOADS, {"jaxad": make_jaxad, ...}, costs)

Every implementation of a workload lives in a process of its own, in one process
group, and runs a step when told to, in turn: A, B, A, B, ... So all see the
same machine, neither allocator nor thread pool of one disturbs the other's, and
memory is given back between workloads. Medians over the repeats; compiling, and
one step to warm up, are apart.

On a busy machine no number is worth much. PyTorch's threads spin at their
barriers and then lose far more than XLA's (a step of 3 s took 17), which would
flatter jaxad; so they are told to sleep instead (OMP_WAIT_POLICY=passive,
unless the environment says otherwise), and `cpu_ms`, the CPU time of all
threads of a step, is there to check against. The load at the start is printed.

Both libraries compute in full float32 unless `--tf32` or `--bfloat16` is given,
also on devices whose default is less.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import multiprocessing
import os
import pathlib
import platform
import statistics
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

# The implementation that the others are compared with, and the one that only
# `--compiled` asks for.
BASELINE, COMPILED = "pytorch", "pytorch_compiled"


class Options(NamedTuple):
  """What the command line says about the workloads.

  Attributes:
    small: reduced sizes, to see whether everything runs.
    tf32: products of float32 may be rounded to TF32, on GPUs.
    bfloat16: the trunk's arithmetic is in bfloat16.
  """

  small: bool
  tf32: bool
  bfloat16: bool


class Program(NamedTuple):
  """One implementation, ready to run.

  Attributes:
    run: does `steps` steps and waits for their end.
    compile_s: seconds that compiling took.
    device: "cpu" or "gpu".
    device_name: model of the device.
    steps: in one call of `run`; times are given for one of them.
    items: examples in a step, for a column of examples per second; or None.
  """

  run: Callable[[], Any]
  compile_s: float
  device: str
  device_name: str
  steps: int = 1
  items: int | None = None


class Rates(NamedTuple):
  """What the device reaches: matrix products, and copies in its memory."""

  flops: float
  bytes: float


Make = Callable[[str, Options], Program]
# A workload as [(operations, bytes)], one entry for each of the parts that
# follow each other.
Costs = Mapping[str, list[tuple[float, float]]]


def main(
  description: str,
  workloads: Mapping[str, str],
  implementations: Mapping[str, Make],
  costs: Costs,
) -> None:
  """Runs the command line.

  Args:
    description: of the benchmark.
    workloads: one line on each workload, by name.
    implementations: by name, "pytorch..." only run where PyTorch is installed.
    costs: arithmetic and traffic of the full-size workloads.
  """
  args = _parse(description, workloads)
  options = Options(args.small, args.tf32, args.bfloat16)
  _set_environment(args)
  if importlib.util.find_spec("torch") is None:
    print("PyTorch is not installed (extra `bench`): no comparison.")
    implementations = _select(
      implementations, lambda n: not n.startswith(BASELINE)
    )
  elif not args.compiled:
    implementations = _select(implementations, lambda n: n != COMPILED)
  print_conditions(args.small)
  rows, rates = [], None
  for workload in args.workloads:
    new, device, name = _measure(
      workload, implementations, options, args.repeats
    )
    roofline = device != "cpu" and workload in costs and not args.small
    if roofline and not args.bfloat16:
      rates = rates or measure_rates()
      for row in new:
        row |= _efficiency(row["median_ms"] / 1000, costs[workload], rates)
    if not rows:
      precision = "tf32" if args.tf32 else "float32"
      if args.bfloat16:
        precision += ", trunk bfloat16"
      libraries = ("jax", "jaxlib", "torch")
      where = machine(name, libraries, precision)
      print(where, end="\n\n")
      print(line(dict(zip(new[0], new[0], strict=True))))
    rows += new
    for row in new:
      print(line(row), flush=True)
    # After each workload: what was measured survives an interrupt.
    if args.json:
      write_json(args.json, where, rows, workloads)
  if rates:
    print(
      f"\nmeasured: {rates.flops / 1e12:.1f} Tflop/s in a matrix product, "
      f"{rates.bytes / 1e9:.0f} GB/s read and written in a copy"
    )


def make_parser(
  description: str, workloads: Mapping[str, str]
) -> argparse.ArgumentParser:
  """The command line of every benchmark: --workloads, --json and --small."""
  listing = "\n".join(f"  {name}  {text}" for name, text in workloads.items())
  parser = argparse.ArgumentParser(
    description=f"{description}\n\nworkloads:\n{listing}",
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )

  def names(text):
    chosen = text.split(",")
    unknown = [name for name in chosen if name not in workloads]
    if unknown:
      raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}")
    return chosen

  def file(text):
    path = pathlib.Path(text)
    if not path.parent.is_dir():
      raise argparse.ArgumentTypeError(f"no such folder: {path.parent}")
    return path

  add = parser.add_argument
  example = ",".join(list(workloads)[::2][:2])
  add("--workloads", type=names, default=list(workloads), metavar=example)
  add("--json", type=file, metavar="FILE", help="write the rows to FILE")
  add("--small", action="store_true", help="reduced sizes, a quick check")
  return parser


def _parse(description, workloads):
  parser = make_parser(description, workloads)
  add = parser.add_argument
  add("--repeats", type=int, default=5, help="steps to take the median of")
  add("--compiled", action="store_true", help="torch.compile as well")
  add("--device", choices=("auto", "cpu"), default="auto")
  add("--tf32", action="store_true", help="TF32 products, both libraries")
  add("--bfloat16", action="store_true", help="trunk in bfloat16")
  args = parser.parse_args()
  if args.repeats < 1:
    parser.error("--repeats must be at least 1")
  return args


def print_conditions(small: bool) -> None:
  """What the numbers are to be read with."""
  if small:
    print("--small: reduced sizes; the numbers compare with no others.")
  load = os.getloadavg()[0]
  print(f"load average at the start: {load:.1f} on {os.cpu_count()} threads")


def _set_environment(args):
  """For the workers, which inherit it before they import a library."""
  precision = "tensorfloat32" if args.tf32 else "highest"
  os.environ["JAX_DEFAULT_MATMUL_PRECISION"] = precision
  # The libraries share the accelerator's memory.
  os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
  os.environ.setdefault("OMP_WAIT_POLICY", "passive")
  if args.device == "cpu":
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def _select(implementations, condition):
  return {n: make for n, make in implementations.items() if condition(n)}


def _measure(workload, implementations, options, repeats):
  """Returns (rows, device, device_name) of one workload."""
  workers = {}
  try:
    for name, make in implementations.items():
      # One after the other, so that they do not disturb each other's compiling.
      workers[name] = Worker(name, make, workload, options)
    times = {name: [] for name in workers}
    for _ in range(repeats):
      for name, worker in workers.items():
        times[name].append(worker.run())
  finally:
    for worker in workers.values():
      worker.close()
  devices = {worker.program.device for worker in workers.values()}
  if len(devices) > 1:
    raise SystemExit(
      f"{', '.join(workers)} run on {' and '.join(sorted(devices))}: "
      "not comparable; use --device=cpu"
    )
  medians = {
    name: [statistics.median(column) for column in zip(*t, strict=True)]
    for name, t in times.items()
  }
  baseline = medians.get(BASELINE, [None])[0]
  rows = [
    {
      "workload": workload + ("-small" if options.small else ""),
      "implementation": name,
      "median_ms": median,
      "cpu_ms": cpu,
      "compile_s": workers[name].program.compile_s,
      "ratio_to_pytorch": baseline and baseline / median,
    }
    for name, (median, cpu) in medians.items()
  ]
  for row in rows:
    if items := workers[row["implementation"]].program.items:
      row["items_per_s"] = 1000 * items / row["median_ms"]
  return rows, devices.pop(), workers["jaxad"].program.device_name


class Worker:
  """A process that holds one implementation of one workload."""

  def __init__(self, name: str, make: Make, workload: str, options: Options):
    """Starts it and waits until it is ready."""
    self._name = name
    context = multiprocessing.get_context("spawn")
    self._connection, there = context.Pipe()
    self._process = context.Process(
      target=_serve, args=(there, make, workload, options), daemon=True
    )
    self._process.start()
    there.close()
    self.program: Program = self._receive()  # its `run` stayed there

  def run(self) -> tuple[float, float]:
    """Milliseconds of one step, on the clock and of CPU time."""
    self._connection.send("run")
    clock, cpu = self._receive()
    return clock / self.program.steps, cpu / self.program.steps

  def close(self):
    self._connection.close()
    self._process.join()

  def _receive(self):
    try:
      answer = self._connection.recv()
    except EOFError:
      self._process.join()
      raise SystemExit(
        f"{self._name} died, exit code {self._process.exitcode} "
        "(-9: most likely out of memory)"
      ) from None
    if isinstance(answer, str):
      raise SystemExit(f"{self._name} failed:\n{answer}")
    return answer


def _serve(connection, make, workload, options):
  """Life of a worker: one program, run whenever the connection says so."""
  try:
    program = make(workload, options)
    program.run()
    connection.send(program._replace(run=None))
    while True:
      connection.recv()
      clock, cpu = time.perf_counter(), time.process_time()
      program.run()
      clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
      connection.send((1000 * clock, 1000 * cpu))
  except EOFError:
    pass  # closed by the other side: the workload is done
  except Exception:
    connection.send(traceback.format_exc())


def compile_jax(function, *args, donate=()):
  """Compiles for the shapes of args; returns (compiled, seconds)."""
  import jax

  start = time.perf_counter()
  compiled = jax.jit(function, donate_argnums=donate).lower(*args).compile()
  return compiled, time.perf_counter() - start


def compile_update(phase, mesh):
  """`(state, batches) -> (state, metrics)` as jaxad's loop compiles it.

  The batches are stacked, and lie on the devices; the state is donated.
  """
  import numpy as np

  from jaxad import feed
  from jaxad.data import Examples

  # A feed without data gives back the batches that it gets.
  nothing = Examples(np.zeros(0), np.zeros(0, np.int32), (), (), None)
  empty = feed.Feed(feed.as_dataset(nothing), mesh, on_device=False)
  update = feed.compile_update(phase, empty, None)
  return lambda state, batches: update(state, {}, batches)


def training_program(phase, state, batch, steps=1) -> Program:
  """Steps of one of jaxad's phases on the same batch, in one dispatch."""
  import jax
  import jax.numpy as jnp

  from jaxad import distributed

  stacked = jax.tree.map(lambda v: jnp.stack([v] * steps), batch)
  # The other side has one device too.
  mesh = jax.sharding.Mesh(jax.devices()[:1], ("data",))
  # Not aliased: a state may hold one array twice, and buffers are donated.
  whole = distributed.replicated(mesh)
  state = jax.device_put(state, whole, may_alias=False)
  update = compile_update(phase, mesh)
  compiled, seconds = compile_jax(update, state, stacked, donate=0)

  def run():
    nonlocal state
    state, metrics = compiled(state, stacked)
    jax.block_until_ready((state, metrics))

  return jax_program(run, seconds, steps, len(batch["x"]))


def scoring_program(detector, state, x, steps=1) -> Program:
  """So many times the scores of one batch, by one of jaxad's detectors."""
  import jax

  keys = jax.random.split(jax.random.key(1), len(x))
  compiled, seconds = compile_jax(detector.score, state, x, keys)

  def run():
    jax.block_until_ready([compiled(state, x, keys) for _ in range(steps)])

  return jax_program(run, seconds, steps, len(x))


def jax_program(run, seconds, steps=1, items=None) -> Program:
  """A program of JAX on its first device."""
  import jax

  platform = jax.devices()[0].platform
  return Program(run, seconds, platform, device_name(), steps, items)


def device_name() -> str:
  """Model of JAX's first device."""
  import jax

  device = jax.devices()[0]
  return cpu_name() if device.platform == "cpu" else device.device_kind


def start_torch(options: Options) -> str:
  """Seed, threads and precision of PyTorch; returns the device to use."""
  import torch

  torch.manual_seed(0)
  torch.set_num_threads(os.cpu_count())
  torch.set_float32_matmul_precision("high" if options.tf32 else "highest")
  torch.backends.cudnn.allow_tf32 = options.tf32
  return "cuda" if torch.cuda.is_available() else "cpu"


def torch_program(step, device, compiled=False, steps=1, items=None) -> Program:
  """A program of `steps` calls of `step`; the first run compiles, if asked."""
  import torch

  def run():
    for _ in range(steps):
      step()
    if device == "cuda":
      torch.cuda.synchronize()

  seconds = 0.0
  if compiled:
    start = time.perf_counter()
    run()
    seconds = time.perf_counter() - start
  if device == "cuda":
    name = torch.cuda.get_device_name()
    return Program(run, seconds, "gpu", name, steps, items)
  return Program(run, seconds, "cpu", cpu_name(), steps, items)


def measure_rates() -> Rates:
  """What the device of jaxad reaches, in a process of its own."""
  with multiprocessing.get_context("spawn").Pool(1) as pool:
    return pool.apply(_rates)


def _rates(side=8192, repeats=20):
  """Square matrix product and copy in float32, best of the repeats."""
  import jax
  import jax.numpy as jnp

  a = jax.random.normal(jax.random.key(0), (side, side))
  long = jnp.zeros(side * side)

  def best(function, x):
    compiled = jax.jit(function).lower(x).compile()
    seconds = []
    for _ in range(repeats):
      start = time.perf_counter()
      jax.block_until_ready(compiled(x))
      seconds.append(time.perf_counter() - start)
    return min(seconds)

  return Rates(
    flops=2 * side**3 / best(lambda a: a @ a, a),
    # Reads and writes; adding one keeps the copy from being elided.
    bytes=2 * long.nbytes / best(lambda x: x + 1, long),
  )


def _efficiency(seconds, parts, rates):
  """Columns for accelerators: the rate, and the share of the roofline.

  No part can take less than its operations at the rate of a matrix product, or
  its bytes at the rate of a copy. The operations are those that the workload
  needs, not those that an implementation spends.
  """
  bound = sum(max(o / rates.flops, b / rates.bytes) for o, b in parts)
  return {
    "gflops": sum(operations for operations, _ in parts) / seconds / 1e9,
    "roofline": bound / seconds,
  }


def machine(device: str, libraries: Iterable[str], precision: str) -> str:
  """One line on what the numbers were measured with."""
  versions = [f"python {platform.python_version()}"]
  for library in libraries:
    try:
      versions.append(f"{library} {importlib.metadata.version(library)}")
    except importlib.metadata.PackageNotFoundError:
      versions.append(f"no {library}")
  return "; ".join(
    [
      f"{device}, {os.cpu_count()} CPU threads",
      ", ".join(versions),
      precision,
    ]
  )


def cpu_name() -> str:
  """Model of the processor."""
  try:
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
      if line.startswith("model name"):
        return line.split(":", 1)[1].strip()
  except OSError:
    pass  # not Linux
  return platform.processor() or platform.machine()


_WIDTHS = {"workload": 9, "implementation": 17}
_FORMATS = {
  "median_ms": ".2f",
  "cpu_ms": ".2f",
  "compile_s": ".1f",
  "devices": "d",
  "loop_ms": ".2f",
  "bare_ms": ".2f",
  "lost_percent": ".1f",
  "loop_cpu_ms": ".2f",
  "bare_cpu_ms": ".2f",
  "ratio_to_pytorch": ".2f",
  "items_per_s": ".0f",
  "gflops": ".0f",
  "roofline": ".2f",
  "images_per_s": ".0f",
  "pixels": "d",
  "decoded_per_s": ".0f",
  "read_per_s": ".0f",
}


def line(row: dict) -> str:
  """A row, or the names of its columns, as one line of the table."""
  cells = []
  for name, value in row.items():
    if value is None:
      value = "-"
    elif not isinstance(value, str):
      value = format(value, _FORMATS[name])
    if name in _WIDTHS:
      cells.append(value.ljust(_WIDTHS[name]))
    else:
      cells.append(value.rjust(max(len(name), 9)))
  return "  ".join(cells)


def write_json(
  path: pathlib.Path, where: str, rows: list[dict], workloads: Mapping[str, str]
) -> None:
  """Writes all rows; what stood there before stays until they are.

  Args:
    path: the file, {"command", "commit", "machine", "workloads", "rows"}.
    where: what `machine` says.
    rows: of the table.
    workloads: one line on each, by name.
  """
  from jaxad import provenance

  found = {
    "command": provenance.command(),
    "commit": provenance.commit(),
    "machine": where,
    "workloads": dict(workloads),
    "rows": rows,
  }
  temporary = path.with_name(f"{path.name}.{os.getpid()}")
  temporary.write_text(json.dumps(found, indent=2) + "\n")
  temporary.replace(path)
