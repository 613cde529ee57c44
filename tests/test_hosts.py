# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Several processes for one run, on loopback, against one process."""

import csv
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from jaxad import hosts, run, tensor_file, workdir
from jaxad.cli import INTERRUPTED, USAGE_ERROR
from jaxad.errors import InputError

ROOT = pathlib.Path(__file__).parents[1]

COMMON = {"train.log_every": 1, "eval.batch_size": 8}
TRUNK = {"weights": "random", "layer": "layer1", "width": 4}

# Small runs, of batches that four devices can share.
RUNS = {
  "differnet": {
    "data.image_size": 64,
    "data.holdout": 0.2,
    "data.n_train": 20,
    "data.n_test_good": 4,
    "data.n_test_defect": 5,
    "train.epochs": 2,
    "train.batch_size": 8,
    "eval.maps": "all",
    "detector.trunk": "alexnet",
    "detector.weights": "random",
    "detector.layer": "features.2",
    "detector.n_scales": 1,
    "detector.n_blocks": 2,
    "detector.hidden": 16,
    "detector.n_transforms": 2,
    "detector.n_transforms_test": 2,
  },
  "ocgan": {
    "data.subset": 8,
    "train.steps": 6,
    "train.batch_size": 16,
    "eval.every": 1,
    "detector.width": 4,
    "detector.width_d": 2,
    "detector.latent_dim": 4,
    "detector.mining_steps": 1,
  },
  "dra": {
    "data.image_size": 32,
    "data.n_train": 16,
    "data.n_test_good": 8,
    "data.n_test_defect": 35,
    "train.epochs": 2,
    "train.batch_size": 12,
    "detector.steps_per_epoch": 3,
    **{f"detector.trunk.{name}": value for name, value in TRUNK.items()},
    "detector.trunk.blocks": "1,1,1,1",
  },
  "rx": {"data.name": "table", "train.batch_size": 16},
}

# Joins once, for several runs: most of the time goes to imports.
SEVERAL = """
import json, pathlib, sys
from jaxad import callbacks, cli, hosts, run
beside = lambda: None
{patch}
def several():
  hosts.join()
  with hosts.together(callbacks.Interrupted):
    for arguments in json.loads(sys.argv[1]):
      config, workdir, resume, _ = cli.parse(arguments)
      run.run(config, workdir, resume)
    beside()
  return 0
sys.exit(hosts.leave(several))
"""

# The command itself, perhaps with something else in one process.
COMMAND = """
import json, os, signal, sys
from jaxad import callbacks, cli, errors, hosts
me = int(os.environ["JAX_PROCESS_ID"])
{patch}
sys.exit(cli.main(["run", "--distributed", *json.loads(sys.argv[1])]))
"""

# Neighbours in the mesh belong to different processes.
SHUFFLED = """
import jax
from jaxad import distributed
def data_mesh():
  devices = sorted(jax.devices(), key=lambda d: (-d.id % 2048, d.process_index))
  auto = (jax.sharding.AxisType.Auto,)
  return jax.sharding.Mesh(devices, ("data",), axis_types=auto)
distributed.data_mesh = data_mesh
"""


# What one says and what is saved comes to all, to the last bit.
TOLD = """
import jax.numpy as jnp, numpy as np
from jaxad.checkpoints import Checkpoints
from jaxad.detector import State
def beside():
  me = jax.process_index()
  assert hosts.gathered(me) == [0, 1] and hosts.of_first(lambda: me) == 0
  assert hosts.everywhere(True) and not hosts.everywhere(me == 0)
  stop = hosts.Stop()
  heard = [stop.late(me == 1 and k == 2) for k in range(5)]
  assert heard == [False, False, False, True, False]
  assert stop.now(me == 1) and not stop.now(False)
  bits = lambda state: [
    np.asarray(v).tobytes()
    for v in jax.tree.leaves(state.replace(key=jax.random.key_data(state.key)))
  ]
  new = lambda seed, *w: State.new(
    jax.random.key(seed), jnp.array(w), jnp.ones(2, jnp.bfloat16) * seed, ()
  )
  state = new(7, -0.0, 3e-45, 0.1).replace(step=jnp.int32(3))
  whole = distributed.replicated(distributed.data_mesh())
  checkpoints = Checkpoints(pathlib.Path("checkpoints") / str(me))
  checkpoints.save(distributed.placed(state, whole), dict(a=1))
  assert checkpoints.latest_step() == 3
  for like in (new(0, 0.0, 0.0, 0.0), distributed.placed(state, whole)):
    found, position = checkpoints.restore(like)
    assert bits(found) == bits(state) and position == dict(a=1)
    assert not found.key.is_fully_addressable
  checkpoints.close()
"""


def arguments_of(method, workdir, *more, **changes):
  """Of a small run; keywords have "_" for ".", after the group."""
  fields = COMMON | RUNS[method]
  for name, value in changes.items():
    group, _, field = name.partition("_")
    fields[f"{group}.{field}"] = value
  return [
    f"--config={ROOT / 'configs' / method}.py",
    f"--workdir={workdir}",
    *more,
    *(f"--config.{k}={v}" for k, v in fields.items()),
  ]


def flow_on(table, workdir):
  """Arguments of a run that takes steps, and soon."""
  fields = {"data.root": table, "train.steps": 8, "train.batch_size": 8}
  fields |= {"detector.hidden": 8, "detector.n_blocks": 2}
  return [
    f"--config={ROOT / 'configs' / 'differnet'}.py:table",
    f"--workdir={workdir}",
    *(f"--config.{k}={v}" for k, v in fields.items()),
  ]


def start(count, script, arguments, devices=1, slurm=False):
  """Processes that run a script; `arguments` may be a function of the index."""
  with socket.socket() as one:
    one.bind(("127.0.0.1", 0))
    port = one.getsockname()[1]
  found = []
  for index in range(count):
    given = arguments(index) if callable(arguments) else arguments
    flags = f" --xla_force_host_platform_device_count={devices}"
    said = {"JAX_PROCESS_ID": f"{index}", "JAX_NUM_PROCESSES": f"{count}"}
    said |= {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}"}
    if slurm:
      said = {
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": f"{count}",
        "SLURM_PROCID": f"{index}",
        "SLURM_LOCALID": f"{index}",
        "JAX_COORDINATOR_PORT": f"{port}",
      }
    environment = {
      **os.environ,
      **said,
      "JAX_PLATFORMS": "cpu",
      "PYTHONPATH": f"{ROOT}",
      "XLA_FLAGS": os.environ["XLA_FLAGS"] + flags,
    }
    found.append(
      subprocess.Popen(
        [sys.executable, "-c", script, json.dumps(given)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
      )
    )
  return found


def ended(processes):
  """[(exit code, stdout, stderr)]"""
  try:
    said = [process.communicate(timeout=400) for process in processes]
  finally:
    for process in processes:
      process.kill()
  return [(p.returncode, *s) for p, s in zip(processes, said, strict=True)]


def lines_of(said):
  """What was printed, but for what gloo's threads say at the start."""
  said = re.sub(r"\[Gloo\] Rank .+? ranks is : \d+", "", said)
  return [line for line in said.splitlines() if line]


def check_ended_well(found):
  for code, _, err in found:
    assert code == 0, err


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("JAXAD_CACHE", str(tmp_path_factory.mktemp("cache")))
    compiled = str(tmp_path_factory.mktemp("programs"))
    patch.setenv("JAX_COMPILATION_CACHE_DIR", compiled)
    patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    yield


@pytest.fixture(scope="module")
def table(tmp_path_factory):
  """A table of parts, of which the last ones are odd."""
  rng = np.random.default_rng(0)
  x = rng.normal(size=(90, 4)) @ rng.normal(size=(4, 4))
  x[70:] += 3
  path = tmp_path_factory.mktemp("table") / "parts.csv"
  lines = [
    f"{','.join(map(str, row))},{int(k >= 70)}" for k, row in enumerate(x)
  ]
  path.write_text("\n".join(["a,b,c,d,label", *lines]) + "\n")
  return path


@pytest.fixture(scope="module")
def all_of(table):
  """Arguments of all methods, with their workdirs in a folder."""

  def made(folder):
    root = {"rx": {"data_root": table}}
    return [
      arguments_of(method, folder / method, **root.get(method, {}))
      for method in RUNS
    ]

  return made


@pytest.fixture(scope="module")
def alone(tmp_path_factory, all_of):
  """The workdirs of runs by this process alone."""
  folder = tmp_path_factory.mktemp("alone")
  for arguments in all_of(folder):
    assert run.main(arguments) == 0
  return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory, all_of):
  """Those of two processes with two devices each, in a strange order."""
  folder = tmp_path_factory.mktemp("two")
  script = SEVERAL.format(patch=SHUFFLED)
  check_ended_well(ended(start(2, script, all_of(folder), devices=2)))
  return folder


@pytest.fixture(scope="module")
def four(tmp_path_factory, all_of):
  """Those of four processes, as SLURM starts them."""
  folder = tmp_path_factory.mktemp("four")
  script = SEVERAL.format(patch="")
  check_ended_well(ended(start(4, script, all_of(folder), slurm=True)))
  return folder


def weights_of(workdir):
  blob = (workdir / "model.safetensors").read_bytes()
  return tensor_file.unpacked(blob, workdir)[0]


def scores_of(workdir):
  with (workdir / "scores.csv").open() as file:
    return {row["id"]: float(row["score"]) for row in csv.DictReader(file)}


def metrics_of(workdir):
  path = workdir / "metrics.jsonl"  # a fit writes none
  lines = path.read_text().splitlines() if path.exists() else []
  return [json.loads(line) for line in lines]


TIMES = ("train_seconds", "embed_seconds", "ms_per_image", "images_per_s")


def assert_close(found, expected, where="", rtol=1e-4, atol=1e-5):
  """Two trees of JSON agree up to rounding, but for times and places."""
  if isinstance(expected, dict):
    assert found.keys() == expected.keys(), where
    for name in expected.keys() - {*TIMES, "provenance"}:
      assert_close(found[name], expected[name], f"{where}/{name}", rtol, atol)
  elif isinstance(expected, list):
    assert len(found) == len(expected), where
    for k, pair in enumerate(zip(found, expected, strict=True)):
      assert_close(*pair, f"{where}/{k}", rtol, atol)
  elif isinstance(expected, float):
    assert found == pytest.approx(expected, rel=rtol, abs=atol), where
  else:
    assert found == expected, where


def assert_same_run(workdir, expected):
  """One set of files, as of one process, up to the order of sums."""
  names = lambda folder: sorted(
    f"{path.relative_to(folder)}"
    for path in folder.rglob("*")
    if "checkpoints/" not in f"{path}"
  )
  assert names(workdir) == names(expected)
  found, wanted = weights_of(workdir), weights_of(expected)
  assert found.keys() == wanted.keys()
  for name, value in wanted.items():
    np.testing.assert_allclose(
      found[name], value, rtol=1e-4, atol=1e-5, err_msg=name
    )
  found, wanted = scores_of(workdir), scores_of(expected)
  assert list(found) == list(wanted)
  assert_close(found, wanted)
  for read in (
    metrics_of,
    lambda folder: json.loads((folder / "results.json").read_text()),
    lambda folder: json.loads((folder / "config.json").read_text()),
  ):
    assert_close(read(workdir), read(expected))


def test_two_processes_fit_a_table(table, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  script = SEVERAL.format(patch=SHUFFLED + TOLD)
  of = lambda name: arguments_of("rx", tmp_path / name, data_root=table)
  together = start(2, script, [of("two")], devices=2)
  assert run.main(of("one")) == 0
  check_ended_well(ended(together))
  assert_same_run(tmp_path / "two", tmp_path / "one")
  # Process 0 alone writes.
  assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["0"]


@pytest.mark.whole
@pytest.mark.parametrize("method", RUNS)
def test_two_processes_are_as_one(two, alone, method):
  assert_same_run(two / method, alone / method)
  results = json.loads((two / method / "results.json").read_text())
  assert results["provenance"]["device"] == "4 x cpu in 2 processes"


@pytest.mark.whole
@pytest.mark.parametrize("method", RUNS)
def test_four_processes_are_as_one(four, alone, method):
  assert_same_run(four / method, alone / method)


STOPPED = """
class Signalled(callbacks.Saving):
  def metrics(self, moment, step, values):
    if me == 1 and step == 3:
      os.kill(os.getpid(), signal.SIGTERM)
callbacks.Saving = Signalled
"""


@pytest.mark.whole
def test_a_signal_to_one_stops_all_at_one_step(two, tmp_path):
  workdir = tmp_path / "run"
  arguments = arguments_of("ocgan", workdir)
  script = COMMAND.format(patch=SHUFFLED + STOPPED)
  for code, out, err in ended(start(2, script, arguments, devices=2)):
    assert code == INTERRUPTED, err
    assert f"--resume --workdir {workdir}" in err and not lines_of(out)
  steps = [int(path.name) for path in (workdir / "checkpoints").iterdir()]
  assert 3 < max(steps) < 6
  assert not (workdir / "results.json").exists()
  # One process goes on, in another folder, to the same but for rounding.
  shutil.copytree(workdir, tmp_path / "alone")
  one = arguments_of("ocgan", tmp_path / "alone", "--resume")
  assert run.main(one) == 0
  assert_same_run(tmp_path / "alone", two / "ocgan")
  # Two go on as if nothing had been, to the last bit.
  script = COMMAND.format(patch=SHUFFLED)
  found = ended(start(2, script, [*arguments, "--resume"], devices=2))
  check_ended_well(found)
  assert "everything is in" in found[0][1]
  assert not lines_of(found[1][1] + found[1][2])
  found, wanted = weights_of(workdir), weights_of(two / "ocgan")
  for name, value in wanted.items():
    np.testing.assert_array_equal(found[name], value)
  assert scores_of(workdir) == scores_of(two / "ocgan")


# Process 1 is slow to go; without process 0 JAX would end it by a crash.
SLOW = """
import time
end = hosts._end
hosts._end = lambda code: (time.sleep(3 * me), end(code))
"""


@pytest.mark.whole
def test_other_data_on_one_of_them_are_told(table, tmp_path):
  lines = table.read_text().splitlines()
  other = tmp_path / "other.csv"
  other.write_text("\n".join([*lines[:10], "9,9,9,9,0", *lines[11:]]) + "\n")
  given = lambda index: arguments_of(
    "rx", tmp_path / "run", data_root=[table, other][index]
  )
  for code, _, err in ended(start(2, COMMAND.format(patch=SLOW), given)):
    assert code == USAGE_ERROR
    assert "process 1 of the run is not like process 0" in err
    assert "has another content" in err and "Traceback" not in err
  assert not (tmp_path / "run").exists()


@pytest.mark.whole
def test_another_command_for_one_of_them_is_told(table, tmp_path):
  given = lambda index: arguments_of(
    "rx", tmp_path / "run", data_root=table, train_batch_size=16 + 16 * index
  )
  for code, _, err in ended(start(2, COMMAND.format(patch=""), given)):
    assert code == USAGE_ERROR
    assert "config.train.batch_size is 16 there and 32 here" in err


FAILED = """
class Failing(callbacks.Saving):
  def metrics(self, moment, step, values):
    if me == {index} and step == 3:
      {what}
callbacks.Saving = Failing
"""


@pytest.mark.whole
@pytest.mark.parametrize("index", [0, 1])
def test_an_error_of_one_ends_all(table, tmp_path, index):
  patch = FAILED.format(
    index=index, what="raise errors.InputError('here is the reason')"
  )
  arguments = flow_on(table, tmp_path / "run")
  for code, _, err in ended(start(2, COMMAND.format(patch=patch), arguments)):
    assert code == USAGE_ERROR
    assert err.count("error: ") == 1 and "here is the reason" in err


@pytest.mark.whole
def test_the_end_of_one_ends_all(table, tmp_path):
  what = "os.kill(os.getpid(), signal.SIGKILL)"
  patch = FAILED.format(index=1, what=what)
  arguments = flow_on(table, tmp_path / "run")
  (code, _, err), killed = ended(
    start(2, COMMAND.format(patch=patch), arguments)
  )
  assert killed[0] == -signal.SIGKILL
  assert code == USAGE_ERROR, err
  assert "another process of this run has ended" in err


@pytest.mark.whole
@pytest.mark.parametrize("index", [0, 1])
def test_who_is_not_there_is_not_waited_for(tmp_path, index):
  script = COMMAND.format(patch="hosts.MEETING = 2")
  one = start(2, script, arguments_of("ocgan", tmp_path / "run"))
  one[1 - index].kill()
  code, _, err = ended(one)[index]
  assert code == USAGE_ERROR
  assert "within 2 s not all processes have met at 127.0.0.1:" in err


# What the environment says.


@pytest.fixture
def nowhere(monkeypatch):
  for name in ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID", "SLURM_PROCID"):
    monkeypatch.delenv(name, raising=False)
  return monkeypatch


def test_the_environment_says_which_process_this_is(nowhere):
  with pytest.raises(InputError, match="set JAX_PROCESS_ID .*srun"):
    hosts.place()
  nowhere.setenv("SLURM_PROCID", "2")
  nowhere.setenv("SLURM_NTASKS", "5")
  assert hosts.place() == (2, 5)
  nowhere.setenv("JAX_PROCESS_ID", "1")
  nowhere.setenv("JAX_NUM_PROCESSES", "3")
  assert hosts.place() == (1, 3)
  nowhere.setenv("JAX_PROCESS_ID", "3")
  with pytest.raises(InputError, match="JAX_PROCESS_ID=3: .*below .*=3"):
    hosts.place()
  nowhere.setenv("JAX_PROCESS_ID", "-1")
  with pytest.raises(InputError, match="JAX_PROCESS_ID=-1: expected a whole"):
    hosts.place()
  nowhere.setenv("JAX_PROCESS_ID", "1")
  nowhere.setenv("JAX_NUM_PROCESSES", "99999999999")
  with pytest.raises(InputError, match="=99999999999: expected no more than"):
    hosts.place()


@pytest.mark.parametrize("address", ["node1", "node1:0", "node1:65536"])
def test_the_address_has_a_port(monkeypatch, address):
  monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", address)
  match = f"ADDRESS={address}: .*such as node1:1234"
  with pytest.raises(InputError, match=match):
    hosts.join()


def test_two_that_say_they_are_the_first(monkeypatch):
  """JAX would have both, and end one of them by a crash."""
  with socket.socket() as other:
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    other.bind(("127.0.0.1", 0))
    other.listen()
    address = f"127.0.0.1:{other.getsockname()[1]}"
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", address)
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    monkeypatch.setenv("JAX_PROCESS_ID", "0")
    with pytest.raises(InputError, match="port cannot .*its own JAX_PROCESS"):
      hosts.join()


@pytest.mark.parametrize("field", ["batch_size", "split_optimizer"])
def test_what_processes_must_have_in_common(monkeypatch, field):
  config = {"train": {"batch_size": 4, "split_optimizer": False}}
  theirs = {"train": config["train"] | {field: 2}}
  answers = iter([theirs, {}])
  monkeypatch.setattr(hosts, "of_first", lambda make: next(answers) or make())
  with pytest.raises(InputError, match=f"config.train.{field} is 2 there"):
    workdir.check_same_command(config)


def test_one_process_asks_nobody():
  assert hosts.alone() and hosts.first() and hosts.everywhere(True)
  assert hosts.of_first(lambda: 3) == 3 and hosts.gathered("a") == ["a"]
  assert not hosts.everywhere(False)
  stop = hosts.Stop()
  assert stop.late(True) and not stop.late(False) and stop.now(True)
