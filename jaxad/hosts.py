# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Several processes for one run, each with the devices of its machine.

All of them run the same program on the same data and take the same turns, so
nothing may be decided by what one process alone knows (its clock, its memory,
its disk, a signal): that is agreed on first, by `of_first`, `everywhere` or
`Stop`. Process 0 alone writes. One that fails says so to the others, which end
too; of one that is killed they learn by its connection, or its missing
heartbeat.

With one process all of this does nothing.
"""

import contextlib
import itertools
import json
import math
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

# The store of keys and values that all processes share has no public name.
from jax._src import distributed as service
from jax.experimental import multihost_utils

from jaxad import distributed
from jaxad.errors import INTERRUPTED, USAGE_ERROR, InputError

# Seconds: until all processes have met; until one that says nothing is given
# up; until all have heard of an error, which takes one on a machine that is not
# busy; until one that is lost may have said why; from the last word of one to
# its end.
MEETING, HEARTBEAT, HEARING, TELLING, LEAVING = 300, 100, 30, 5, 1

# Processes, at most.
MOST = 2**16

ADDRESS, COUNT, INDEX = (
  "JAX_COORDINATOR_ADDRESS",
  "JAX_NUM_PROCESSES",
  "JAX_PROCESS_ID",
)

# In milliseconds, as good as for ever: a week.
_LONG = 7 * 24 * 3600 * 1000

# Bytes that are sent at once.
_CHUNK = 1 << 26

# Keys of what is said, in the order of saying; why all end, and who does.
_numbers = itertools.count()
_FAILURE, _ENDED = "jaxad/failure", "jaxad/ended"

# Held by what ends this process: its own error, or that of another.
_ending = threading.Lock()

# Set when there is nothing to listen for any more.
_over = threading.Event()


def join() -> None:
  """Starts `jax.distributed`, before any other use of JAX's devices.

  Which process this is stands in the environment, see `ADDRESS`, or JAX finds
  it out (SLURM, Open MPI, Kubernetes, TPU).

  Raises:
    InputError: nothing says so, or the others are not there in time.
  """
  address = os.environ.get(ADDRESS)
  count, index = whole_number(COUNT), whole_number(INDEX)
  if address is not None:
    _check_port(address, index)
  jax.config.update("jax_cpu_collectives_implementation", "gloo")
  # JAX would take SIGTERM for itself, and knows no Ctrl-C: see `Stop`.
  jax.config.update("jax_enable_preemption_service", False)
  failure: list[Exception] = []
  _ending.acquire()  # JAX does not end well before all have met

  def start():
    try:
      jax.distributed.initialize(
        address,
        count,
        index,
        # Its own end at a timeout is a crash.
        initialization_timeout=2 * MEETING,
        heartbeat_timeout_seconds=HEARTBEAT,
      )
      jax.devices()  # waits for all, too
    except Exception as error:  # of several types
      failure.append(error)

  # Ctrl-C does not reach a thread that waits inside of JAX.
  thread = threading.Thread(target=start, daemon=True)
  thread.start()
  until = time.monotonic() + MEETING
  while thread.is_alive():
    thread.join(0.1)
    if time.monotonic() > until:
      raise InputError(
        f"--distributed: within {MEETING} s not all processes have met at "
        f"{service.global_state.coordinator_address}; start every one of them, "
        "and see that this address of process 0 can be reached from all."
      )
  if failure:
    raise InputError(_not_started(failure[0])) from failure[0]
  _ending.release()
  _listener.start()
  counts = gathered(jax.local_device_count())
  if len(set(counts)) > 1:
    raise InputError(
      f"--distributed: the processes have {', '.join(map(str, counts))} "
      "devices; give each as many, such as by JAX_LOCAL_DEVICE_IDS."
    )


def _check_port(address, index):
  port = address.rpartition(":")[2]
  if not (port.isdecimal() and 0 < int(port) < 2**16):
    raise InputError(
      f"{ADDRESS}={address}: expected the host of process 0 and a free port "
      "there, such as node1:1234."
    )
  if index != 0 or "JAX_COORDINATOR_BIND_ADDRESS" in os.environ:
    return
  try:
    socket.create_server(("", int(port))).close()
  except OSError as error:  # JAX would share it
    raise InputError(
      f"{ADDRESS}={address}: the port cannot be used ({error.strerror}); "
      f"choose another, or give every process its own {INDEX}, from 0."
    ) from error


def whole_number(name: str) -> int | None:
  """Of an environment variable; None where it is not set.

  Raises:
    InputError: it is something else.
  """
  text = os.environ.get(name)
  if text is not None and not text.isdecimal():
    raise InputError(f"{name}={text}: expected a whole number.")
  return None if text is None else int(text)


def place() -> tuple[int, int]:
  """(number of this process, how many there are), without starting anything.

  Raises:
    InputError: the environment does not say, or it cannot be.
  """
  for names in (
    (INDEX, COUNT),
    ("SLURM_PROCID", "SLURM_NTASKS"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
  ):
    index, count = map(whole_number, names)
    if index is None or count is None:
      continue
    if index >= count:
      raise InputError(
        f"{names[0]}={index}: expected a number from 0, below "
        f"{names[1]}={count}."
      )
    if count > MOST:
      raise InputError(f"{names[1]}={count}: expected no more than {MOST}.")
    return index, count
  raise InputError(
    "--distributed: nothing says which of how many processes this is; set "
    f"{INDEX} (from 0) and {COUNT}, or start it by srun."
  )


def _not_started(error):
  said = " ".join(str(error).split())
  if isinstance(error, ValueError) and "defined" in said:
    return (
      "--distributed: nothing says which of how many processes this is; set "
      f"{ADDRESS} (host:port of process 0), {COUNT} and {INDEX} (from 0), or "
      "start it by srun."
    )
  return f"--distributed: JAX cannot start several processes ({said})."


def alone() -> bool:
  """Whether there is but this process; does not start JAX's devices."""
  return not jax.distributed.is_initialized() or jax.process_count() == 1


def first() -> bool:
  """Whether this process is the one that writes."""
  return alone() or jax.process_index() == 0


def of_first(make: Callable[[], Any]) -> Any:
  """What `make` returns on process 0, where alone it is called, on all.

  Args:
    make: its result is None or what JSON can hold.
  """
  if alone():
    return make()
  key, client = f"jaxad/{next(_numbers)}", service.global_state.client
  if first():
    value = make()
    client.key_value_set(key, json.dumps(value))
    return value
  return json.loads(client.blocking_key_value_get(key, _LONG))


def gathered(value: Any) -> list:
  """The value of every process, in their order; what JSON can hold."""
  if alone():
    return [value]
  number, client = next(_numbers), service.global_state.client
  key = lambda index: f"jaxad/{number}/{index}"
  client.key_value_set(key(jax.process_index()), json.dumps(value))
  return [
    json.loads(client.blocking_key_value_get(key(index), _LONG))
    for index in range(jax.process_count())
  ]


def everywhere(condition: bool) -> bool:
  """Whether it holds on every process."""
  return all(gathered(bool(condition)))


def arrays_of_first(
  make: Callable[[], Sequence[np.ndarray]],
) -> Sequence[np.ndarray]:
  """As `of_first`, of arrays, bit by bit; the devices carry them."""
  if alone():
    return make()
  arrays = make() if first() else []
  kinds = of_first(lambda: [[v.shape, v.dtype.name] for v in arrays])
  kinds = [(tuple(shape), jnp.dtype(name)) for shape, name in kinds]
  sizes = [math.prod(shape) * dtype.itemsize for shape, dtype in kinds]
  bits = np.zeros(sum(sizes), np.uint8)
  if first():
    plain = [np.ascontiguousarray(v).reshape(-1).view(np.uint8) for v in arrays]
    bits = np.concatenate(plain)
  for k in range(0, len(bits), _CHUNK):
    part = slice(k, k + _CHUNK)
    bits[part] = multihost_utils.broadcast_one_to_all(bits[part])
  parts = np.split(bits, np.cumsum(sizes)[:-1])
  return [
    part.view(dtype).reshape(shape)
    for part, (shape, dtype) in zip(parts, kinds, strict=True)
  ]


class Stop:
  """Whether any process wants to stop: all learn it after the same dispatch.

  Each process sends its wish behind a dispatch, and the devices put the wishes
  together. The answer is read behind the next dispatch, when it has long been
  there, so nobody waits for it, nor for the slowest. JAX's own
  `multihost_utils.reached_preemption_sync_point` knows SIGTERM alone, and asks
  a server at every step.
  """

  def __init__(self):
    if alone():
      return
    mesh = distributed.data_mesh()
    n = len(distributed.local_columns(mesh, mesh.size))
    self._wish = {
      wish: distributed.put(distributed.divided(mesh), np.full(n, wish))
      for wish in (False, True)
    }
    self._any = jax.jit(jnp.any, out_shardings=distributed.replicated(mesh))
    self._sent = None

  def late(self, wish: bool) -> bool:
    """Sends a wish; whether there was any when this was called before."""
    if alone():
      return wish
    sent, self._sent = self._sent, self._any(self._wish[wish])
    return sent is not None and bool(sent)

  def now(self, wish: bool) -> bool:
    """Whether there is any; waits for all. A wish is not taken back."""
    return wish if alone() else bool(self._any(self._wish[wish]))


@contextlib.contextmanager
def together(agreed: type[BaseException]) -> Iterator[None]:
  """What all processes do; an error that one has ends the others as well.

  Process 0 alone is heard, and of the others their errors.

  Args:
    agreed: an exception that all of them raise.
  """
  if alone():
    yield
    return
  try:
    with contextlib.ExitStack() as stack:
      if not first():
        nowhere = stack.enter_context(open(os.devnull, "w"))
        stack.enter_context(contextlib.redirect_stdout(nowhere))
        stack.enter_context(contextlib.redirect_stderr(nowhere))
      try:
        yield
      except agreed:
        of_first(lambda: None)
        raise
      of_first(lambda: None)  # it may still be writing
  except agreed:
    raise
  except BaseException as error:
    _fail(error)


def _fail(error) -> NoReturn:
  """Tells the other processes of an error and raises it."""
  lost = any(word in str(error) for word in ("Gloo", "NCCL", "coordination"))
  if lost and not isinstance(error, InputError):
    time.sleep(TELLING)  # for what the other process may say of itself
    error = InputError(
      "another process of this run has ended; its output may say why. Start "
      "all again, with --resume where there is a checkpoint."
    )
  _ending.acquire()
  known = isinstance(error, InputError | OSError | MemoryError)
  stopped = isinstance(error, KeyboardInterrupt)
  said = f"{error}" if known else "it failed, see its output"
  told = [jax.process_index(), None if stopped else said]
  _say(_FAILURE, json.dumps(told))
  raise error


def _listen():
  """Ends this process when another one tells of an error."""
  client, told = service.global_state.client, None
  while told is None:
    if _over.wait(1):
      return
    with contextlib.suppress(Exception):  # nobody did
      told = client.key_value_try_get(_FAILURE)
  if not _ending.acquire(blocking=False):
    return
  index, error = json.loads(told)
  said = f"error: process {index}: {error}"
  if error is None:
    said = f"stopped, as process {index} was; start all again, with --resume"
  print(said, file=sys.__stderr__)
  _end(INTERRUPTED if error is None else USAGE_ERROR)


# A thread that waited inside of JAX would not outlive this process well.
_listener = threading.Thread(target=_listen, daemon=True)


def _say(key, value):
  with contextlib.suppress(Exception):  # it was said before, or all are gone
    service.global_state.client.key_value_set(key, value)


def leave(command: Callable[[], int]) -> int:
  """Runs a command that may have joined; returns its exit code.

  After an error it does not return.
  """
  try:
    code = command()
  except Exception:
    if not _ending.locked():
      raise
    traceback.print_exc()
    code = 1
  if _ending.locked():
    _end(code)  # JAX would wait for the others, which have gone
  if _listener.is_alive():
    _over.set()
    _listener.join()
    jax.distributed.shutdown()
  return code


def _end(code) -> NoReturn:
  for stream in (sys.__stdout__, sys.__stderr__):
    with contextlib.suppress(OSError):
      stream.flush()
  if _listener.ident is not None:  # all have met
    _say(f"{_ENDED}/{jax.process_index()}", "")
    _wait_for_others()
  os._exit(code)


def _wait_for_others():
  """The others hear by process 0 and crash without it, so it goes last."""
  until = time.monotonic() + HEARING
  for index in range(1, jax.process_count() if first() else 0):
    left = max(1, int(1000 * (until - time.monotonic())))
    with contextlib.suppress(Exception):  # it is gone
      client = service.global_state.client
      client.blocking_key_value_get(f"{_ENDED}/{index}", left)
  time.sleep(LEAVING if first() else 0)
