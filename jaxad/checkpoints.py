# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Checkpoints of a run: the state and where in the data it stands (orbax).

They are made of plain arrays, which know of no device, so a run goes on with
any number of devices and processes. Of several processes the first one alone
reads and writes them: orbax would have each write a part, into a folder that
all can see.
"""

import contextlib
import errno
import json
import pathlib
import shutil
import sys
import zlib

import jax
import numpy as np
import orbax.checkpoint as ocp

from jaxad import distributed, hosts
from jaxad.detector import State
from jaxad.errors import InputError


class Checkpoints:
  """The checkpoints in one folder, each written whole or not at all.

  Args:
    folder: where they go; made when the first one is saved.
    keep: how many of the newest stay.
  """

  def __init__(self, folder: str | pathlib.Path, keep: int = 2):
    # Orbax takes a relative path from wherever the process stands later.
    self._folder = pathlib.Path(folder).resolve()
    self._keep = keep
    self._open_manager = None

  @property
  def _manager(self):
    if self._open_manager is None:
      self._folder.mkdir(parents=True, exist_ok=True)
      options = ocp.CheckpointManagerOptions(
        max_to_keep=self._keep,
        cleanup_tmp_directories=True,  # what a killed run left half-written
        create=False,  # which is for all processes
        multiprocessing_options=ocp.options.MultiprocessingOptions(
          primary_host=0, active_processes={0}, barrier_sync_key_prefix="first"
        ),
      )
      self._open_manager = ocp.CheckpointManager(self._folder, options=options)
    return self._open_manager

  def latest_step(self) -> int | None:
    """Step of the newest whole checkpoint, None where there is none."""
    return hosts.of_first(
      lambda: self._manager.latest_step() if self._folder.is_dir() else None
    )

  def save(self, state: State, position: dict) -> None:
    """Writes the state and returns when it is on disk.

    It waits, because the next training step donates the state's buffers and
    because a run that is killed afterwards must find it.

    Args:
      state: what to save; a step that is there already is left alone, and
        later ones, of a training that was resumed before them, are deleted.
      position: plain JSON values that go with it.

    Raises:
      InputError: the disk is full or the folder cannot be written.
    """
    step = int(state.step)
    if step == self.latest_step() or not hosts.first():
      return
    arrays = _plain(state)
    with _disk_errors(self._folder):
      self._check_space(arrays)
      for later in self._manager.all_steps():
        if later > step:  # orbax would save nothing, and say nothing
          self._manager.delete(later)
      self._manager.save(
        step,
        args=ocp.args.Composite(
          state=ocp.args.StandardSave(arrays),
          position=ocp.args.JsonSave(
            {"position": position, "checksum": checksum(arrays, position)}
          ),
        ),
      )
      self._manager.wait_until_finished()

  def _check_space(self, arrays):
    """Asks first: a write that fails half-way is told of at great length."""
    needed = sum(v.nbytes for v in jax.tree.leaves(arrays))
    self._folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(self._folder).free < 1.1 * needed:
      raise OSError(errno.ENOSPC, "No space left", str(self._folder))

  def restore(self, like: State, step: int | None = None):
    """Reads a checkpoint.

    Args:
      like: a state of the same structure; arrays come back with its dtypes and
        shardings.
      step: which one; None is the newest that can be read. Newer ones are set
        aside as `STEP.damaged`, with a warning.

    Returns:
      The state and its position.

    Raises:
      InputError: all are damaged, or of a state of another structure.
    """
    plain, position = _plain(like), None
    if hosts.first():
      plain, position = self._restored(plain, step)
    leaves, structure = jax.tree.flatten(plain)
    leaves = hosts.arrays_of_first(lambda: leaves)
    position = hosts.of_first(lambda: position)
    return _as(jax.tree.unflatten(structure, leaves), like), position

  def _restored(self, like, step):
    if step is not None:
      return self._read(like, step)
    steps = sorted(self._manager.all_steps(), reverse=True)
    failure = None
    for k, step in enumerate(steps):
      try:
        found = self._read(like, step)
      except InputError as error:
        failure = error.__cause__
        continue
      for damaged in steps[:k]:
        self._set_aside(damaged, step)
      return found
    raise InputError(
      f"no checkpoint in {self._folder} can be read; start again in another "
      "--workdir."
    ) from failure

  def _read(self, like, step):
    args = ocp.args.Composite(
      state=ocp.args.StandardRestore(like),
      position=ocp.args.JsonRestore(),
    )
    try:
      restored = self._manager.restore(step, args=args)
      state, saved = restored.state, restored.position
      told = lambda tree: jax.tree.map(lambda v: (v.shape, v.dtype), tree)
      if told(state) != told(like):
        raise ValueError("arrays of another shape")
      if not saved.keys() & {"position", "checksum"}:  # of an older jaxad
        return state, saved
      # Most of what lies on the disk has no checksum of its own. An older jaxad
      # left the position out.
      position, known = saved["position"], saved["checksum"]
      if known not in (checksum(state, position), checksum(state)):
        raise ValueError("other bits than were saved")
    except (MemoryError, jax.errors.JaxRuntimeError):
      raise
    except Exception as error:  # of many types, also of none of their own
      raise InputError(
        f"the checkpoint {self._folder / str(step)} cannot be read; remove it "
        "and continue with --resume from the one before it."
      ) from error
    return state, position

  def _set_aside(self, step, used):
    damaged = self._folder / f"{step}.damaged"
    shutil.rmtree(damaged, ignore_errors=True)
    (self._folder / str(step)).rename(damaged)
    self._manager.reload()
    print(
      f"WARNING: the checkpoint of step {step} is damaged and now {damaged}; "
      f"training goes on from that of step {used}.",
      file=sys.stderr,
    )

  def close(self) -> None:
    if self._open_manager is not None:
      self._open_manager.close()
      self._open_manager = None


def _plain(state):
  """A state of arrays on the host, with the data of keys in their place."""
  data = lambda v: jax.random.key_data(v) if _is_key(v) else v
  return jax.tree.map(np.asarray, jax.device_get(jax.tree.map(data, state)))


def _as(plain, like):
  """The inverse of `_plain`, on the devices of another state."""

  def typed(array, leaf):
    if not _is_key(leaf):
      return array
    return jax.random.wrap_key_data(array, impl=jax.random.key_impl(leaf))

  state = jax.tree.map(typed, plain, like)
  if jax.process_count() > 1:
    whole = distributed.replicated(distributed.data_mesh())
    return distributed.placed(state, whole)
  return jax.tree.map(
    lambda v, leaf: jax.device_put(v, leaf.sharding), state, like
  )


def _is_key(leaf):
  return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def checksum(arrays: State, position: dict | None = None) -> int:
  """CRC-32 of all entries of a state, bit by bit, and of what goes with it."""
  found = 0
  if position is not None:
    found = zlib.crc32(json.dumps(position, sort_keys=True).encode())
  for leaf in jax.tree.leaves(arrays):
    found = zlib.crc32(np.ascontiguousarray(leaf), found)
  return found


@contextlib.contextmanager
def _disk_errors(folder):
  """Turns a full or read-only disk into one line that says so."""
  try:
    yield
  except Exception as error:
    # Orbax and TensorStore wrap the system's error in types of their own.
    text = f"{error} {error.__cause__ or ''}"
    full = getattr(error, "errno", None) == errno.ENOSPC
    if full or "No space left" in text or "ENOSPC" in text:
      raise InputError(
        f"the disk is full: no room for a checkpoint in {folder}; free some "
        "space and continue with --resume (the last whole checkpoint is kept)."
      ) from error
    if isinstance(error, PermissionError) or "Permission denied" in text:
      raise InputError(
        f"cannot write checkpoints to {folder}: permission denied; choose "
        "another --workdir."
      ) from error
    raise
