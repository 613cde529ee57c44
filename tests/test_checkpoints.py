# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Checkpoints: whole or not at all, and one line where the disk fails."""

import errno
import shutil

import chex
import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
import pytest

from jaxad.checkpoints import Checkpoints
from jaxad.detector import State
from jaxad.errors import InputError


def assert_same(a, b):
  """Two states agree in every bit."""
  bits = lambda s: s.replace(key=jax.random.key_data(s.key))
  chex.assert_trees_all_equal(bits(a), bits(b))
  chex.assert_trees_all_equal_shapes_and_dtypes(bits(a), bits(b))


def state_at(step):
  params = {"w": jnp.arange(3.0) + step}
  state = State.new(
    jax.random.key(1), params, {}, (jnp.zeros(3),), mean=jnp.zeros(3)
  )
  return state.replace(step=jnp.int32(step))


@pytest.fixture
def checkpoints(tmp_path):
  checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
  yield checkpoints
  checkpoints.close()


def test_checkpoints_keep_the_newest(checkpoints, tmp_path):
  folder = tmp_path / "checkpoints"
  assert checkpoints.latest_step() is None and not folder.exists()
  for step in (3, 6, 9):
    checkpoints.save(state_at(step), {"epoch": step, "train_seconds": 0.5})
    assert (folder / f"{step}").is_dir()  # it has waited
    assert checkpoints.latest_step() == step
  assert sorted(path.name for path in folder.iterdir()) == ["6", "9"]
  for step in (None, 9, 6):
    state, position = checkpoints.restore(state_at(0), step)
    assert_same(state, state_at(step or 9))
    assert position == {"epoch": step or 9, "train_seconds": 0.5}


def test_a_step_is_saved_once(checkpoints):
  checkpoints.save(state_at(3), {"epoch": 1})
  checkpoints.save(state_at(3), {"epoch": 2})
  assert checkpoints.restore(state_at(0))[1] == {"epoch": 1}


def test_relative_folders_stay_where_they_were(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  relative = Checkpoints("here")
  (tmp_path / "elsewhere").mkdir()
  monkeypatch.chdir(tmp_path / "elsewhere")
  relative.save(state_at(3), {})
  relative.close()
  assert (tmp_path / "here" / "3").is_dir()


@pytest.mark.parametrize(
  ("error", "message"),
  [
    (OSError(errno.ENOSPC, "x"), "disk is full.*--resume"),
    (ValueError("RESOURCE_EXHAUSTED: No space left on device"), "disk is full"),
    (PermissionError(errno.EACCES, "x"), "permission denied.*--workdir"),
  ],
)
@pytest.mark.parametrize("where", ["save", "wait_until_finished"])
def test_a_full_disk_is_one_line(
  checkpoints, tmp_path, monkeypatch, error, message, where
):
  checkpoints.save(state_at(3), {"epoch": 1})

  def fail(*args, **keywords):
    raise error

  with monkeypatch.context() as patch:
    patch.setattr(ocp.CheckpointManager, where, fail)
    with pytest.raises(InputError, match=message) as caught:
      checkpoints.save(state_at(6), {"epoch": 2})
  assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
  if where == "save":
    assert checkpoints.latest_step() == 3
    state, position = checkpoints.restore(state_at(0))
    assert_same(state, state_at(3))
    assert position == {"epoch": 1}
    # With space again it goes on.
    checkpoints.save(state_at(6), {"epoch": 2})
    assert checkpoints.latest_step() == 6


def test_other_errors_stay_what_they_are(checkpoints, monkeypatch):
  def fail(*args, **keywords):
    raise ValueError("a mistake in the program")

  monkeypatch.setattr(ocp.CheckpointManager, "save", fail)
  with pytest.raises(ValueError, match="a mistake") as caught:
    checkpoints.save(state_at(3), {})
  assert not isinstance(caught.value, InputError)


def test_an_unfinished_checkpoint_does_not_count(checkpoints, tmp_path):
  checkpoints.save(state_at(3), {"epoch": 1})
  checkpoints.close()
  # What a kill leaves behind: orbax renames the folder when all is written.
  folder = tmp_path / "checkpoints"
  shutil.copytree(folder / "3", folder / "6.orbax-checkpoint-tmp")
  assert checkpoints.latest_step() == 3
  assert_same(checkpoints.restore(state_at(0))[0], state_at(3))
  checkpoints.save(state_at(6), {"epoch": 2})
  assert checkpoints.latest_step() == 6
  assert_same(checkpoints.restore(state_at(0))[0], state_at(6))


def test_a_damaged_checkpoint_is_one_line(checkpoints, tmp_path):
  checkpoints.save(state_at(3), {"epoch": 1})
  checkpoints.close()
  for path in (tmp_path / "checkpoints/3/state").rglob("*"):
    if path.is_file():
      path.write_bytes(b"")
  with pytest.raises(
    InputError, match="checkpoints/3 cannot be read.*--resume"
  ) as caught:
    checkpoints.restore(state_at(0))
  assert "\n" not in str(caught.value)
