# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Commands as processes of their own, several at a time, each with its share.

On a CPU a share is a part of the cores; with CUDA it is a device, and on a TPU
a chip. Other accelerators are one share.
"""

import collections
import contextlib
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from jaxad.errors import InputError

# Seconds between two looks at the processes: nothing beside a run.
_PAUSE = 0.1

_COUNT = """
import jax
from jax.extend import backend

platform, devices = jax.default_backend(), jax.local_devices()
if "rocm" in backend.get_backend().platform_version.lower():
  platform = "rocm"
if platform == "tpu":  # a chip may be two devices
  devices = {tuple(device.coords) for device in devices}
print(platform, len(devices))
"""


class Share(NamedTuple):
  """What of the machine a process has.

  Attributes:
    cores: numbers of its CPU cores; () for all.
    environment: variables by which it sees its device alone.
  """

  cores: tuple[int, ...] = ()
  environment: tuple[tuple[str, str], ...] = ()


class Job(NamedTuple):
  """A command, and where what it prints goes.

  Attributes:
    key: by which the caller knows it.
    command: program and arguments.
    log: file to which its output is appended.
  """

  key: object
  command: Sequence[str]
  log: pathlib.Path


def devices() -> tuple[str, int]:
  """("cpu", 1), ("gpu", n) with CUDA, ("tpu", chips), or (other, n).

  Another process counts them: one that has used a device keeps it.

  Raises:
    InputError: JAX does not start.
  """
  if os.environ.get("JAX_PLATFORMS") == "cpu":
    return "cpu", 1
  done = subprocess.run(
    [sys.executable, "-c", _COUNT], capture_output=True, text=True
  )
  if done.returncode:
    said = (done.stderr.strip() or "nothing was said").splitlines()[-1]
    raise InputError(f"JAX finds no device to run on: {said}")
  platform, count = done.stdout.split()[-2:]
  return platform, int(count)


def shares(platform: str, count: int, jobs: int | None) -> list[Share]:
  """The shares of so many processes at a time.

  Args:
    platform: of `devices`.
    count: likewise.
    jobs: how many; None is one for each device, and one on a CPU.

  Raises:
    InputError: more than there are devices.
  """
  if platform == "cpu":
    return _of_cores(jobs or 1)
  if platform not in ("gpu", "tpu"):
    count = 1
  if jobs and jobs > count:
    raise InputError(
      f"--jobs {jobs}: each run has a device of its own, and there "
      f"{'is' if count == 1 else 'are'} {count}; lower it."
    )
  if count == 1:
    return [Share()]
  return [Share((), _visible(platform, k)) for k in range(jobs or count)]


def _of_cores(jobs):
  if jobs == 1 or not hasattr(os, "sched_setaffinity"):
    return [Share()] * jobs
  cores = sorted(os.sched_getaffinity(0))
  edges = [len(cores) * k // jobs for k in range(jobs + 1)]
  return [
    Share(tuple(cores[low : max(high, low + 1)]))
    for low, high in zip(edges, edges[1:], strict=False)
  ]


def _visible(platform, k):
  if platform == "gpu":
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    named = given.split(",") if given else []
    return (("CUDA_VISIBLE_DEVICES", named[k] if named else str(k)),)
  return (
    ("TPU_VISIBLE_CHIPS", str(k)),
    ("TPU_CHIPS_PER_PROCESS_BOUNDS", "1,1,1"),
    ("TPU_PROCESS_BOUNDS", "1,1,1"),
  )


def run_all(
  jobs: Sequence[Job],
  shares: Sequence[Share],
  environment: Mapping[str, str],
  ended: Callable[[Job, int | None], None],
) -> None:
  """Runs all jobs, one on each share at a time, in their order.

  Ctrl-C ends the running ones by SIGTERM, upon which a run writes a checkpoint,
  and waits for them; a second one kills them.

  Args:
    jobs: what to run; one that fails is no reason for another not to run.
    shares: as many run at a time.
    environment: variables that all of them have besides those of this process.
    ended: called with each job that has ended, and its exit code; None for one
      that was stopped here.

  Raises:
    KeyboardInterrupt: after Ctrl-C, when all have ended.
  """
  waiting = collections.deque(jobs)
  running: dict[int, tuple[Job, subprocess.Popen]] = {}

  def collect(stopped=False):
    for k, (job, process) in list(running.items()):
      code = process.poll()
      if code is not None:
        del running[k]
        ended(job, None if stopped and code else code)

  try:
    while waiting or running:
      for k, share in enumerate(shares):
        if k not in running and waiting:
          job = waiting.popleft()
          running[k] = job, _start(job, share, environment)
      time.sleep(_PAUSE)
      collect()
  finally:
    _end(running, collect)


def _end(running, collect):
  """Ends what still runs, after an error or Ctrl-C."""
  processes = [process for _, process in running.values()]
  if not processes:
    return
  print(
    f"\nstopping {len(processes)} runs: they write checkpoints; a second "
    "Ctrl-C kills them",
    file=sys.stderr,
    flush=True,
  )
  try:
    for process in processes:
      process.terminate()
    for process in processes:
      process.wait()
  finally:
    for process in processes:
      process.kill()
      process.wait()
    collect(stopped=True)


def _start(job, share, environment):
  """The process has the cores of the thread that starts it."""
  job.log.parent.mkdir(parents=True, exist_ok=True)
  with job.log.open("ab") as log, _on(share.cores):
    log.write(f"$ {shlex.join(job.command)}\n".encode(errors="replace"))
    log.flush()
    return subprocess.Popen(
      job.command,
      stdin=subprocess.DEVNULL,
      stdout=log,
      stderr=subprocess.STDOUT,
      env={**os.environ, **environment, **dict(share.environment)},
      # Ctrl-C in the terminal is for this process, which tells the others.
      start_new_session=True,
    )


@contextlib.contextmanager
def _on(cores):
  if not cores:
    yield
    return
  before = os.sched_getaffinity(0)
  os.sched_setaffinity(0, cores)
  try:
    yield
  finally:
    os.sched_setaffinity(0, before)


def reason(code: int, log: pathlib.Path) -> str:
  """Why a command failed: the last line of its output, or the signal."""
  if code < 0:
    with contextlib.suppress(ValueError):
      name = signal.Signals(-code).name
      hint = ", perhaps for want of memory" if name == "SIGKILL" else ""
      return f"ended by {name}{hint}"
  text = log.read_bytes().decode(errors="replace").replace("\r", "\n")
  text = text[text.rfind("\n$ ") + 1 :]  # what the last command said
  lines = [line.strip() for line in text.splitlines()[1:] if line.strip()]
  errors = [line for line in lines if line.startswith("error: ")]
  said = (errors or lines or [f"exit code {code}"])[-1]
  return said.removeprefix("error: ")


def now_and_then(call: Callable[[], None]) -> Callable[[], None]:
  """The same, but for a twentieth of the time: a large page takes seconds."""
  after = 0.0

  def calls():
    nonlocal after
    began = time.monotonic()
    if began >= after:
      call()
      now = time.monotonic()
      after = now + 20 * (now - began)

  return calls
