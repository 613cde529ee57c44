# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Timing of implementations of one workload against each other.

Every implementation of a workload lives in a process of its own, in one process
group, and runs a step when told to, in turn: A, B, A, B, ... So all see the
same machine, neither allocator nor thread pool of one disturbs the other's, and
memory is given back between workloads. Medians over the repeats; compiling, and
one step to warm up, are apart. An implementation that fails, or gives no answer
within its time, leaves the others as they are.

On a busy machine no number is worth much. PyTorch's threads spin at their
barriers and then lose far more than XLA's (a step of 3 s took 17), which would
flatter jaxad; so they are told to sleep instead (OMP_WAIT_POLICY=passive,
unless the environment says otherwise), and `cpu_ms`, the CPU time of all
threads of a step, is there to check against. The load at the start is printed.

Both libraries compute in full float32 unless told otherwise, also on devices
whose default is less.
"""

import multiprocessing
import os
import pathlib
import statistics
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

# The implementations that others are compared with.
BASELINE, COMPILED = "pytorch", "pytorch_compiled"
# Steps in one dispatch of an accelerator, as in jaxad's training loop: small
# networks are bound by launches there.
STEPS = 16


def steps_in_a_run(device: str) -> int:
  """Of both libraries, before the clock is read."""
  return 1 if device == "cpu" else STEPS


class Options(NamedTuple):
  """What the command line says about the workloads.

  Attributes:
    small: reduced sizes, to see whether everything runs.
    tf32: products of float32 may be rounded to TF32, on GPUs.
    bfloat16: the trunk's arithmetic is in bfloat16.
  """

  small: bool = False
  tf32: bool = False
  bfloat16: bool = False


class Program(NamedTuple):
  """One implementation, ready to run.

  Attributes:
    run: does `steps` steps and waits for their end.
    compile_s: seconds that compiling took, with a first run where it is a part
      of that.
    device: "cpu", "gpu" or "tpu".
    device_name: model of the device.
    steps: in one call of `run`; times are given for one of them.
    items: examples in a step.
    operations: floating-point operations of a step as XLA counts them before
      it optimises, the body of a loop once; or None.
    bytes: that a step reads and writes, as XLA counts them in what it compiled.
    peak: `() -> bytes`, the most memory that was in use; see `peak_memory`.
  """

  run: Callable[[], Any] | None
  compile_s: float
  device: str
  device_name: str
  steps: int = 1
  items: int | None = None
  operations: float | None = None
  bytes: float | None = None
  peak: Callable[[], int | None] | None = None


class Rates(NamedTuple):
  """What the device reaches: matrix products, and copies in its memory."""

  flops: float
  bytes: float


class Failed(Exception):
  """An implementation that gave no answer; the message says why."""


def set_environment(platform: str | None, tf32: bool) -> None:
  """For the workers, which inherit it before they import a library."""
  precision = "tensorfloat32" if tf32 else "highest"
  os.environ["JAX_DEFAULT_MATMUL_PRECISION"] = precision
  # The libraries share the accelerator's memory.
  os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
  os.environ.setdefault("OMP_WAIT_POLICY", "passive")
  if platform:
    os.environ["JAX_PLATFORMS"] = {
      "cpu": "cpu",
      "gpu": "cuda,cpu",
      "tpu": "tpu,cpu",
    }[platform]
  # One GPU of several, as PyTorch has: jaxad would divide fits and searches.
  seen = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
  os.environ["CUDA_VISIBLE_DEVICES"] = "" if platform == "cpu" else seen


def measure(
  makes: Mapping[str, Callable[[], Program]], repeats: int, limit: float
) -> dict[str, dict]:
  """Times the implementations of one workload in turn.

  Args:
    makes: of each implementation, what makes it; pickled.
    repeats: steps, of which the median is taken.
    limit: seconds that making one, and each of its runs, may take.

  Returns:
    {name: row of the table}, with "error" in place of figures where one failed.
  """
  rows: dict[str, dict] = {name: {} for name in makes}
  workers, times = {}, {}

  def attempt(name, action):
    try:
      return action()
    except Failed as error:
      rows[name]["error"] = str(error)
      if name in workers:
        workers.pop(name).close()

  try:
    for name, make in makes.items():
      # One after the other, so that they do not disturb each other's compiling.
      worker = attempt(name, lambda name=name, make=make: Worker(make, limit))
      if worker is not None:
        workers[name], times[name] = worker, []
    for _ in range(repeats):
      for name, worker in list(workers.items()):
        if (one := attempt(name, worker.run)) is not None:
          times[name].append(one)
    devices = {worker.program.device for worker in workers.values()}
    for name, worker in workers.items():
      rows[name] = _row(worker, times[name])
      if len(devices) > 1 and name != "jaxad":
        rows[name]["error"] = (
          f"runs on {worker.program.device}, jaxad does not: not comparable"
        )
  finally:
    for worker in workers.values():
      worker.close()
  return rows


def _row(worker, times):
  """What was measured of one implementation."""
  program = worker.program
  clock, cpu = (
    statistics.median(column) for column in zip(*times, strict=True)
  )
  return {
    "device": program.device,
    "device_name": program.device_name,
    "median_ms": clock,
    "cpu_ms": cpu,
    "compile_s": program.compile_s,
    "items_per_s": program.items and 1000 * program.items / clock,
    "peak_mb": worker.peak and worker.peak / 1e6,
    "gflop": program.operations and program.operations / 1e9,
    "gbyte": program.bytes and program.bytes / 1e9,
  }


class Worker:
  """A process that holds one implementation of one workload."""

  def __init__(self, make: Callable[[], Program], limit: float):
    """Starts it and waits until it is ready.

    Raises:
      Failed: it is not, for a reason of its own or within the limit.
    """
    context = multiprocessing.get_context("spawn")
    self._connection, there = context.Pipe()
    self._limit, self.peak = limit, None
    self._process = context.Process(
      target=_serve, args=(there, make), daemon=True
    )
    self._process.start()
    there.close()
    try:
      self.program: Program = self._receive()  # its functions stayed there
    except Failed:
      self.close()
      raise

  def run(self) -> tuple[float, float]:
    """Milliseconds of one step, on the clock and of CPU time.

    Raises:
      Failed: see above.
    """
    self._connection.send("run")
    clock, cpu, self.peak = self._receive()
    return clock / self.program.steps, cpu / self.program.steps

  def close(self):
    self._connection.close()
    self._process.join(timeout=10)
    if self._process.is_alive():  # in the middle of a step
      self._process.kill()
      self._process.join()

  def _receive(self):
    if not self._connection.poll(self._limit):
      self._process.kill()
      raise Failed(f"no answer within {self._limit:.0f} s")
    try:
      answer = self._connection.recv()
    except EOFError:
      self._process.join()
      raise Failed(
        f"died with exit code {self._process.exitcode} (-9: most likely out of "
        "memory)"
      ) from None
    if isinstance(answer, str):
      raise Failed(answer)
    return answer


def _serve(connection, make):
  """Life of a worker: one program, run whenever the connection says so."""
  try:
    program = make()
    peak = program.peak or (lambda: None)
    program.run()
    connection.send(program._replace(run=None, peak=None))
    while True:
      connection.recv()
      clock, cpu = time.perf_counter(), time.process_time()
      program.run()
      clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
      connection.send((1000 * clock, 1000 * cpu, peak()))
  except EOFError:
    pass  # closed by the other side: the workload is done
  except Exception:
    connection.send(traceback.format_exc())


def in_process(function: Callable, *args, limit: float):
  """`function(*args)` in a process of its own.

  Raises:
    Failed: it raised, died, or took longer than the limit.
  """
  context = multiprocessing.get_context("spawn")
  here, there = context.Pipe()
  process = context.Process(target=_answer, args=(there, function, args))
  process.start()
  there.close()
  try:
    if not here.poll(limit):
      raise Failed(f"no answer within {limit:.0f} s")
    answer, error = here.recv()
  except EOFError:
    raise Failed("died without an answer") from None
  finally:
    process.kill()
    process.join()
  if error:
    raise Failed(error)
  return answer


def _answer(connection, function, args):
  try:
    connection.send((function(*args), None))
  except Exception:
    connection.send((None, traceback.format_exc()))


def measure_rates(limit: float) -> Rates:
  """What the device of jaxad reaches, in a process of its own."""
  return in_process(_rates, limit=limit)


def _rates(side=None, length=8192**2, repeats=10):
  """Square matrix product and copy in float32, best of the repeats.

  Both are large enough for the device, and the copy for no cache.
  """
  import jax
  import jax.numpy as jnp

  from jaxad import runtime

  runtime.keep_memory()  # else a copy is of pages that have to be zeroed
  device = jax.default_backend()
  side = side or (2048 if device == "cpu" else 8192)
  steps = steps_in_a_run(device)  # for one wait, which takes as long as a copy
  a = jax.random.normal(jax.random.key(0), (side, side))
  long = jnp.zeros(length)

  def best(function, x):
    compiled = jax.jit(function).lower(x).compile()
    seconds = []
    for _ in range(repeats):
      start = time.perf_counter()
      for _ in range(steps):
        done = compiled(x)
      jax.block_until_ready(done)
      seconds.append((time.perf_counter() - start) / steps)
    return min(seconds)

  return Rates(
    flops=2 * side**3 / best(lambda a: a @ a, a),
    # Reads and writes; adding one keeps the copy from being elided.
    bytes=2 * long.nbytes / best(lambda x: x + 1, long),
  )


def roofline(seconds: float, parts, rates: Rates) -> float:
  """The share that a step reaches of what the device could.

  No part can take less than its operations at the rate of a matrix product, or
  its bytes at the rate of a copy.

  Args:
    seconds: of the step.
    parts: [(operations, bytes)] of what follows each other in it.
    rates: of the device.
  """
  return sum(max(o / rates.flops, b / rates.bytes) for o, b in parts) / seconds


def peak_memory(device=None) -> Callable[[], int | None]:
  """A function that tells the most memory that was in use.

  On an accelerator that is JAX's on the device since the start, compiling
  included; on a CPU what this process had resident, from now on where the
  system can begin anew, else since its start.

  Args:
    device: JAX's, or None for the process.
  """
  if device is not None and device.platform != "cpu":
    return lambda: (device.memory_stats() or {}).get("peak_bytes_in_use")
  try:
    pathlib.Path("/proc/self/clear_refs").write_text("5")
  except OSError:
    pass  # not Linux, or not allowed
  return _resident


def _resident():
  try:
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    (found,) = (line for line in lines if line.startswith("VmHWM:"))
    return 1024 * int(found.split()[1])
  except (OSError, ValueError):
    return None
