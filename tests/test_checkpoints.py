# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Checkpoints: whole or not at all, and one line where the disk fails."""

import errno
import gc
import shutil

import chex
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from jaxad import checkpoints as saved
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


@pytest.fixture
def failed_reads():
  """Orbax leaves coroutines behind where a read fails; they end here."""
  yield
  gc.collect()


def broken_reads(test):
  unawaited = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore:coroutine .* was never awaited",
  )
  return unawaited(pytest.mark.usefixtures("failed_reads")(test))


def files_of(folder):
  return sorted(path for path in folder.rglob("*") if path.is_file())


@broken_reads
def test_where_no_checkpoint_can_be_read(checkpoints, tmp_path):
  folder = tmp_path / "checkpoints"
  for step in (3, 6):
    checkpoints.save(state_at(step), {"epoch": 1})
  checkpoints.close()
  for path in files_of(folder):
    path.write_bytes(b"")
  for step, message in ((6, "/6 cannot be read.*--resume"), (None, "no check")):
    with pytest.raises(InputError, match=message) as caught:
      checkpoints.restore(state_at(0), step)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
  assert checkpoints.latest_step() == 6  # nothing was moved


@broken_reads
def test_the_checkpoint_before_a_damaged_one_is_taken(
  checkpoints, tmp_path, capsys
):
  folder = tmp_path / "checkpoints"
  for step in (3, 6):
    checkpoints.save(state_at(step), {"epoch": step})
  checkpoints.close()
  for path in files_of(folder / "6/state"):
    path.write_bytes(b"")
  state, position = checkpoints.restore(state_at(0))
  assert_same(state, state_at(3))
  assert position == {"epoch": 3}
  assert "step 6 is damaged" in capsys.readouterr().err
  assert (folder / "6.damaged").is_dir()
  # Training comes to that step again, and past it.
  for step in (6, 9, 12):
    checkpoints.save(state_at(step), {"epoch": step})
    assert_same(checkpoints.restore(state_at(0))[0], state_at(step))
  names = {path.name for path in folder.iterdir()}
  assert names == {"9", "12", "6.damaged"}
  checkpoints.close()
  assert Checkpoints(folder).latest_step() == 12


def test_a_checkpoint_without_a_checksum_is_one_of_before(
  checkpoints, monkeypatch
):
  save = ocp.args.JsonSave
  monkeypatch.setattr(
    ocp.args, "JsonSave", lambda saved: save(saved["position"])
  )
  checkpoints.save(state_at(3), {"epoch": 1})
  state, position = checkpoints.restore(state_at(0))
  assert_same(state, state_at(3))
  assert position == {"epoch": 1}


def test_a_checksum_without_the_position_is_one_of_before(
  checkpoints, monkeypatch
):
  checksum = saved.checksum
  with monkeypatch.context() as patch:
    patch.setattr(saved, "checksum", lambda arrays, _: checksum(arrays))
    checkpoints.save(state_at(3), {"epoch": 1})
  assert checkpoints.restore(state_at(0))[1] == {"epoch": 1}


def test_training_that_has_gone_back_saves_again(tmp_path):
  """Of the best, one that came later is no reason to drop a better one."""
  best = Checkpoints(tmp_path / "best", keep=1)
  best.save(state_at(100), {"auroc": 0.9})
  best.save(state_at(80), {"auroc": 0.95})
  state, position = best.restore(state_at(0))
  best.close()
  assert_same(state, state_at(80))
  assert position == {"auroc": 0.95}
  assert [path.name for path in (tmp_path / "best").iterdir()] == ["80"]


@broken_reads
def test_no_damage_goes_unseen(checkpoints, tmp_path):
  """Every file of a checkpoint cut short or changed: the one before, or all."""
  folder = tmp_path / "checkpoints"
  for step in (3, 6):
    checkpoints.save(state_at(step), {"epoch": step})
  checkpoints.close()
  rng = np.random.default_rng(0)
  whole = tmp_path / "whole"
  shutil.copytree(folder, whole)
  fallen_back = 0
  files = [*files_of(whole / "6/state"), *4 * files_of(whole / "6/position")]
  for name in [path.relative_to(whole) for path in files]:
    for cut in (True, False):
      content = bytearray((whole / name).read_bytes())
      place = rng.integers(len(content))
      if cut:
        del content[place:]
      else:
        content[place] ^= 1 << rng.integers(8)
      shutil.rmtree(folder)
      shutil.copytree(whole, folder)
      (folder / name).write_bytes(content)
      state, position = checkpoints.restore(state_at(0))
      checkpoints.close()
      assert position in ({"epoch": 3}, {"epoch": 6})
      assert_same(state, state_at(position["epoch"]))
      fallen_back += position["epoch"] == 3
  assert fallen_back > 3
