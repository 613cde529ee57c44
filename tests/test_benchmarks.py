# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The benchmarks run, and compare the same computation."""

import functools
import importlib
import importlib.util
import itertools
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxad
from jaxad import config_files
from jaxad.methods.differnet import pooled_features
from jaxad.methods.dra import HEADS
from jaxad.networks.alad import IMAGES
from jaxad.networks.trunk import make_trunk

ROOT = pathlib.Path(__file__).parents[1]
GOLDENS = ROOT / "tests" / "equivalence" / "goldens"
# As where they are run: a checkout, whether jaxad is installed or not.
sys.path.insert(0, str(ROOT))
from benchmarks.workloads import ALL, RENDERED, WORKLOADS  # noqa: E402

WITH_TORCH = importlib.util.find_spec("torch") is not None


@pytest.fixture
def load(monkeypatch):
  """Returns a function that imports a module of the benchmarks."""
  return lambda name: importlib.import_module(f"benchmarks.{name}")


def run_python(*arguments, before=()):
  paths = [*before, ROOT, os.environ.get("PYTHONPATH", "")]
  path = os.pathsep.join(map(str, filter(None, paths)))
  return subprocess.run(
    [sys.executable, *arguments],
    capture_output=True,
    text=True,
    env=os.environ | {"PYTHONPATH": path},
  )


@pytest.fixture
def without_tensorflow(tmp_path):
  """A folder to look in first, where TensorFlow cannot be imported."""
  folder = tmp_path / "without"
  folder.mkdir()
  for name in ("tensorflow", "tensorflow_datasets"):
    (folder / f"{name}.py").write_text("raise ImportError('not there')")
  return folder


# The table of workloads.


def test_every_method_is_timed():
  by_default = {w.name for w in ALL if not w.extra}
  for method in jaxad.METHODS:
    assert {f"{method}/train", f"{method}/score"} <= by_default
  assert len(WORKLOADS) == len(ALL)  # no name twice
  assert set(WORKLOADS) >= RENDERED


SETTINGS = {
  **dict.fromkeys(("adae", "alae", "alocc", "anogan"), "mnist/0"),
  **dict.fromkeys(("egbad", "ganomaly", "rsrae"), "mnist/0"),
  **dict.fromkeys(("caae", "cavga", "fanogan", "vae"), "folder"),
  **dict.fromkeys(("devnet", "dra", "flos", "mlep", "saoe"), "mvtec_ad/bottle"),
  "kdad": "mvtec_ad/bottle",
  "skip_ganomaly": "cifar10/bird",
}


@pytest.mark.parametrize("method", SETTINGS)
def test_sizes_are_those_of_the_papers(method):
  """As the configurations have them, and of networks as they are by default."""
  config = config_files.load(f"{method}:{SETTINGS[method]}")
  size = WORKLOADS[f"{method}/train"].full
  assert size.batch == config.train.batch_size
  assert size.shape[:2] == (config.data.image_size,) * 2
  narrowed = {"width", "width_d", "latent_dim", "hidden", "blocks"}
  assert not narrowed & set(size.keywords)


def test_differnet_has_the_views_of_a_batch():
  config = config_files.load("differnet:mvtec_ad/bottle")
  for part in ("train", "frozen", "flow"):
    views = config.train.batch_size * config.detector.n_transforms
    assert WORKLOADS[f"differnet/{part}"].full.batch == views
  scored = WORKLOADS["differnet/score"].full
  assert scored.batch == config.detector.n_transforms_test
  assert scored.shape[0] == config.data.image_size


def test_on_a_cpu_ocgan_has_fewer_images():
  workload = WORKLOADS["ocgan/train"]
  assert workload.size(small=False, on_cpu=True).batch == 64
  assert workload.size(small=False, on_cpu=False).batch == 512


@pytest.mark.parametrize("method", ["dra", "devnet", "saoe"])
def test_batches_are_those_of_the_streams(load, method):
  jax_side = load("jax_side")
  workload = WORKLOADS[f"{method}/train"]
  size = workload.full._replace(shape=(2, 2, 3))
  detector = jax_side.make_detector(workload, size)
  _, batches = jax_side.make_batches(workload, size, detector, steps=2)
  anomalies = 24 if method == "devnet" else 16
  assert batches["label"].sum(1).tolist() == [anomalies] * 2
  assert batches["x"].shape == (2, 48, 2, 2, 3)
  if method == "dra":
    assert batches["reference"].shape == (2, 5, 2, 2, 3)


def abstract(workload, size, detector):
  """(state, batch) of a workload, of which nothing is computed."""
  floats = workload.floats or len(size.shape) < 3
  kind = jnp.float32 if floats else jnp.uint8
  like = lambda n: jax.ShapeDtypeStruct((n, *size.shape), kind)
  batch = {"x": like(size.batch), "x_again": like(size.batch)}
  batch["label"] = jax.ShapeDtypeStruct((size.batch,), jnp.int32)
  if workload.method == "dra":
    batch["reference"] = like(5)
  if workload.method == "saoe":
    batch["outlier"] = like(size.batch)
  first = batch
  if workload.floats and len(size.shape) == 3:  # of a scene its spectra
    first = {"x": jax.ShapeDtypeStruct((1, size.shape[-1]), kind)}
  state = jax.eval_shape(detector.init, jax.random.key(0), first)
  return state, batch


@pytest.mark.whole
@pytest.mark.parametrize(
  "name",
  [
    # A step of three networks takes long to trace.
    pytest.param(w.name, marks=[pytest.mark.slow] * (w.kind == "step"))
    for w in ALL
    if not w.extra and w.kind != "fit"
  ],
)
def test_methods_take_their_full_sizes(load, name):
  workload = WORKLOADS[name]
  detector = load("jax_side").make_detector(workload, workload.full)
  state, batch = abstract(workload, workload.full, detector)
  phase = detector.phases[workload.phase]
  if phase.step and workload.method == "fanogan" and workload.phase == 0:
    x = batch["x"]
    batch["x"] = jax.ShapeDtypeStruct((5 * x.shape[0], *x.shape[1:]), x.dtype)
  if workload.kind == "step":
    _, metrics = jax.eval_shape(phase.update, state, batch)
    assert metrics["loss"].shape == ()
  elif workload.kind in ("score", "search"):
    n = batch["x"].shape[0]
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), n))
    scores = jax.eval_shape(detector.score, state, batch["x"], keys)
    assert scores.image.shape == (n,)


@pytest.mark.whole
@pytest.mark.parametrize(
  "name", ["differnet/flow", "differnet/train", "dra/train", "devnet/score"]
)
def test_needed_operations_are_those_of_the_program(load, name):
  """As accelerators get it, to a tenth: XLA leaves out what is padding.

  The program of a CPU has fewer, where it convolves by Winograd's algorithm.
  """
  jax_side, workload = load("jax_side"), WORKLOADS[name]
  detector = jax_side.make_detector(workload, workload.full)
  state, batch = abstract(workload, workload.full, detector)
  if workload.kind == "score":
    n = workload.full.batch
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), n))
    traced = jax.jit(detector.score).trace(state, batch["x"], keys)
  else:
    update = detector.phases[workload.phase].update
    traced = jax.jit(update).trace(state, batch)
  lowered = traced.lower(lowering_platforms=("cuda",))
  needed = sum(operations for operations, _ in workload.needs)
  assert jax_side.count(lowered, "flops") == pytest.approx(needed, rel=0.1)


# Timing.


def test_an_implementation_that_fails_leaves_the_others(load):
  Program, measure = load("harness").Program, load("harness").measure
  of = functools.partial(functools.partial, Program, time.monotonic, 1.5)
  rows = measure(
    {
      "jaxad": of("cpu", "x", steps=2, items=6),
      "raises": functools.partial(json.loads, "{"),
      "hangs": functools.partial(time.sleep, 60),
      "elsewhere": of("gpu", "y"),
    },
    repeats=3,
    limit=6,
  )
  assert "JSONDecodeError" in rows["raises"]["error"]
  assert rows["hangs"]["error"] == "no answer within 6 s"
  assert "not comparable" in rows["elsewhere"]["error"]
  ours = rows["jaxad"]
  assert "error" not in ours and ours["compile_s"] == 1.5
  assert ours["items_per_s"] * ours["median_ms"] == pytest.approx(6000)


def test_times_are_those_of_one_step(load):
  harness = load("harness")

  class Connection:
    """The parent's end and the worker's in one: two orders, then the end."""

    def __init__(self):
      self.orders, self.answers = ["run", "run"], []

    def recv(self):
      if not self.orders:
        raise EOFError
      return self.orders.pop()

    def send(self, answer):
      self.answers.append(answer)

  ran = []
  make = lambda: harness.Program(
    lambda: ran.append(1), 0.0, "cpu", "", steps=16, peak=lambda: 7
  )
  connection = Connection()
  harness._serve(connection, make)
  program, *times = connection.answers
  assert (program.steps, program.run) == (16, None)
  assert len(ran) == 3  # one of them to warm up
  assert len(times) == 2 and times[0][2] == 7
  worker = object.__new__(harness.Worker)
  worker.program, worker._connection = program, Connection()
  worker._receive = lambda: (32.0, 64.0, 7)
  assert worker.run() == (2.0, 4.0)
  assert worker.peak == 7


def test_the_peak_is_what_was_in_use_since(load):
  peak = load("harness").peak_memory()
  before = peak()
  if before is None:
    pytest.skip("only Linux says what a process has resident")
  block = np.ones(2**24)  # 128 MiB
  assert peak() - before > 0.9 * block.nbytes


def test_the_share_of_the_roofline(load):
  harness = load("harness")
  rates = harness.Rates(flops=100.0, bytes=10.0)
  # 2 s of products, then 3 s of traffic.
  parts = [(200.0, 1.0), (1.0, 30.0)]
  assert harness.roofline(10.0, parts, rates) == pytest.approx(0.5)


@pytest.mark.parametrize(("device", "steps"), [("cpu", 1), ("gpu", 16)])
def test_rates_are_of_products_and_copies(load, monkeypatch, device, steps):
  """A clock that a look at moves on by a second."""
  monkeypatch.setattr("time.perf_counter", itertools.count().__next__)
  monkeypatch.setattr("jax.default_backend", lambda: device)
  rates = load("harness")._rates(side=8, length=100, repeats=2)
  # Multiplications and additions; what is read and what is written.
  assert rates == (steps * 2 * 8**3, steps * 2 * 4 * 100)


@pytest.mark.parametrize(
  ("module", "function", "arguments"),
  [
    ("harness", "_rates", (8, 100, 1)),
    ("jax_side", "make", ("rx/score", None)),
    ("loop", "measure", ("ganomaly", 1, True)),
    ("scaling", "measure", ("ganomaly", True, 4, 0)),
  ],
)
def test_what_is_timed_keeps_memory(
  load, monkeypatch, module, function, arguments
):
  """Before anything else, so that the first array is kept."""

  def keep():
    raise InterruptedError

  monkeypatch.setattr("jaxad.runtime.keep_memory", keep)
  with pytest.raises(InterruptedError):
    getattr(load(module), function)(*arguments)


@pytest.mark.parametrize(
  ("platform", "before", "seen"),
  [
    (None, None, "0"),
    ("gpu", "2,3", "2"),
    ("gpu", "", ""),  # hidden
    ("cpu", "2,3", ""),
  ],
)
def test_workers_see_one_gpu(load, monkeypatch, platform, before, seen):
  name = "CUDA_VISIBLE_DEVICES"
  environment = {} if before is None else {name: before}
  monkeypatch.setattr("os.environ", environment)
  load("harness").set_environment(platform, tf32=False)
  assert environment[name] == seen


def test_the_process_of_pytorch_has_no_jax():
  """It imports the command's module, too, as any that is spawned."""
  lines = ["import sys", "from benchmarks import run"]
  if WITH_TORCH:
    lines += [
      "from benchmarks import harness, torch_side",
      "for name in ('alad/score', 'devnet/score'):",
      "  torch_side.make(name, harness.Options(small=True)).run()",
    ]
  lines.append("assert not {'jax', 'flax'} & set(sys.modules)")
  result = run_python("-c", "\n".join(lines))
  assert result.returncode == 0, result.stderr


# The command.


@pytest.mark.parametrize(
  "argument",
  [
    "--workloads=differnet/nothing",
    "--methods=nothing",
    "--repeats=0",
    "--json=/nowhere/rows.json",
    "--baseline=keras",
  ],
)
def test_bad_arguments_are_refused_before_measuring(load, argument, capsys):
  with pytest.raises(SystemExit) as refused:
    load("run").parse([argument])
  assert refused.value.code == 2
  assert argument[: argument.index("=")] in capsys.readouterr().err


def test_commands_in_the_text_of_pages_parse(load):
  """Those in blocks are tested with the pages."""
  found = []
  for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
    # A command may go on in the next line.
    text = " ".join(page.read_text().split())
    found += re.findall(r"`python -m benchmarks\.run( -[^`]*)`", text)
  assert len(found) >= 5
  for arguments in found:
    if "--help" not in arguments:
      load("run").parse(shlex.split(arguments))


def test_what_is_asked_for_is_run_in_its_order(load):
  run = load("run")
  names = lambda *args: [w.name for w in run.chosen(run.parse(list(args)))]
  assert names("--methods=vae,rx") == [
    *("vae/train", "vae/score"),
    *("rx/train", "rx/score"),
  ]
  assert names("-w", "dra/quick") == ["dra/quick"]
  assert "dra/quick" not in names()


def test_baselines_are_asked_for(load):
  run, harness = load("run"), load("harness")
  for baseline, expected in {
    "none": ["jaxad"],
    "pytorch": ["jaxad", "pytorch"],
    "compiled": ["jaxad", "pytorch", "pytorch_compiled"],
  }.items():
    args = run.parse([f"--baseline={baseline}"])
    of = lambda name, args=args: list(
      run.implementations(WORKLOADS[name], args, harness.Options())
    )
    assert of("ganomaly/train") == expected
    assert of("fanogan/train") == expected[:2]  # eager
    assert of("vae/train") == ["jaxad"]


@pytest.fixture
def answers(load, monkeypatch):
  """Other processes find a CPU, and measure nothing; [limits they got]."""
  harness, limits = load("harness"), []
  found = {"_rates": harness.Rates(1e12, 1e10)}

  def in_process(function, *args, limit):
    limits.append(limit)
    return found.get(function.__name__, ("cpu", "a processor"))

  monkeypatch.setattr(harness, "set_environment", lambda *args: None)
  monkeypatch.setattr(harness, "in_process", in_process)
  monkeypatch.setattr(harness, "measure", lambda *args: {})
  return limits


def test_another_device_than_asked_for_is_refused(load, answers, capsys):
  assert load("run").main(["--platform=gpu", "-w=rx/score"]) == 1
  said = capsys.readouterr().err
  assert said == "--platform gpu: JAX finds a cpu alone, a processor\n"
  assert load("run").main(["--platform=cpu", "-w=rx/score"]) == 0


def test_the_limit_is_of_all_that_is_measured(load, answers):
  assert load("run").main(["--limit=7", "-w=rx/score"]) == 0
  assert answers == [7.0, 7.0]  # the device, and its rates


def measured(ms, **changes):
  row = dict(device="cpu", device_name="x", median_ms=ms, cpu_ms=ms)
  row |= dict(compile_s=1.0, items_per_s=1.0, peak_mb=1.0)
  return row | dict(gflop=None, gbyte=None) | changes


def test_rows_have_ratios_and_the_share_of_the_roofline(load, monkeypatch):
  run = load("run")
  found = {
    "jaxad": measured(10.0, gflop=1.0, gbyte=0.1),
    "pytorch": measured(20.0),
    "pytorch_compiled": {"error": "Traceback\nValueError: no"},
  }
  monkeypatch.setattr(run.harness, "measure", lambda *args: found)
  rates = {"flops": 200e9, "bytes": 1e12}
  args = run.parse(["--baseline=compiled"])
  rows = run.rows_of(WORKLOADS["ganomaly/train"], args, None, rates)
  ours, theirs, failed = rows
  assert ours["ratio_to_pytorch"] == 2.0 and theirs["ratio_to_pytorch"] == 1.0
  assert ours["ratio_to_pytorch_compiled"] is None
  assert ours["roofline"] == pytest.approx(0.5)  # 5 of 10 ms
  assert theirs["roofline"] is None  # whose operations nobody counted
  assert "median_ms" not in failed and "ValueError" in failed["error"]
  # What a step needs is known of both.
  rows = run.rows_of(WORKLOADS["differnet/flow"], args, None, rates)
  assert rows[0]["roofline"] == pytest.approx(2 * rows[1]["roofline"])


def test_files_have_what_was_measured_so_far(load, tmp_path, capsys):
  table = load("table")
  files = tmp_path / "rows.json", tmp_path / "rows.md"
  report = table.Report(*files, {"machine": "x", "rates": None})
  row = {"workload": "a", "implementation": "jaxad", **measured(2.0)}
  row = {k: v for k, v in row.items() if not k.startswith("device")}
  report.add("a", "the first", [row])
  first = json.loads(files[0].read_text())
  assert first["rows"] == [row] and first["workloads"] == {"a": "the first"}
  assert not report.failed
  error = {"workload": "b", "implementation": "jaxad", "error": "T\nE: why"}
  report.add("b", "the second", [error])
  then = json.loads(files[0].read_text())
  assert then["rows"] == [row] and then["errors"][0]["error"] == "E: why"
  assert report.failed
  assert "| a | jaxad | 2.00 |" in files[1].read_text()
  assert "- b, jaxad: E: why" in files[1].read_text()
  assert {path.name for path in tmp_path.iterdir()} == {"rows.json", "rows.md"}


def test_a_changed_checkout_is_named(load, tmp_path, monkeypatch):
  commit = f"{'1' * 40}+changes"
  monkeypatch.setattr("jaxad.provenance.commit", lambda: commit)
  file = tmp_path / "rows.md"
  load("table").Report(None, file, {}).add("a", "the first", [])
  assert "commit 1111111+\n" in file.read_text()


@pytest.mark.whole
def test_a_small_run_writes_rows_without_tensorflow(
  tmp_path, without_tensorflow
):
  files = tmp_path / "rows.json", tmp_path / "rows.md"
  result = run_python(
    *("-m", "benchmarks.run", "--small", "--repeats=2", "--platform=cpu"),
    "--workloads=differnet/flow,ganomaly/score",
    *(f"--json={files[0]}", f"--markdown={files[1]}"),
    before=[without_tensorflow],
  )
  assert result.returncode == 0, result.stderr
  assert "compare with no others" in result.stdout
  found = json.loads(files[0].read_text())
  assert "CPU threads" in found["machine"]
  assert found["command"].startswith("python -m benchmarks.run --small")
  sides = ["jaxad", "pytorch"] if WITH_TORCH else ["jaxad"]
  expected = [
    (f"{name}-small", side)
    for name in ("differnet/flow", "ganomaly/score")
    for side in sides
  ]
  rows = found["rows"]
  assert [(r["workload"], r["implementation"]) for r in rows] == expected
  for row in rows:
    assert row["median_ms"] > 0
    assert row["items_per_s"] * row["median_ms"] == pytest.approx(4000)
    if row["implementation"] == "jaxad":
      assert min(row["gflop"], row["gbyte"], row["compile_s"]) > 0
      assert (row["ratio_to_pytorch"] is not None) == WITH_TORCH


@pytest.mark.whole
def test_the_script_for_devices_runs(tmp_path, without_tensorflow):
  """Its checks; figures are of the command that is tested above."""
  result = subprocess.run(
    ["bash", "benchmarks/device.sh", "--small", "--platform", "cpu", tmp_path],
    cwd=ROOT,
    capture_output=True,
    text=True,
    env=os.environ
    | {"PYTHON": sys.executable, "PYTHONPATH": str(without_tensorflow)}
    | {"ONLY": "checks"},
  )
  assert result.returncode == 0, result.stdout + result.stderr
  assert "ok: matrix product" in result.stdout
  assert "FAILED" not in result.stdout
  assert "== done" in (tmp_path / "log.txt").read_text()


def test_the_script_for_devices_writes_where_it_is_called(tmp_path):
  result = subprocess.run(
    ["bash", ROOT / "benchmarks" / "device.sh"],
    cwd=tmp_path,
    capture_output=True,
    text=True,
    env=os.environ | {"OUT": "out", "ONLY": "nothing"},
  )
  assert result.returncode == 0, result.stderr
  assert "== done" in (tmp_path / "out" / "log.txt").read_text()


def test_the_script_for_devices_asks_for_what_there_is(load):
  script = (ROOT / "benchmarks" / "device.sh").read_text()
  script = script.replace("\\\n", " ")
  parts = re.findall(r"^figures (\w+) \d+ (.+)$", script, re.M)
  assert [name for name, _ in parts][0] == "large"
  for _, arguments in parts:
    assert load("run").parse(shlex.split(arguments)).workloads


def test_differences_are_found(load):
  difference = load("check_device").difference
  a = np.array([1.0, -4.0])
  assert difference(a + [0.0, 0.04], a) == pytest.approx(0.01)
  assert difference(np.array([1.0, np.nan]), a) == float("inf")


# Each at its small size.

# One of each kind; all others take long to compile.
QUICK = ("skip_ganomaly/score", "devnet/train", "rx/train", "rx/score")
QUICK += ("anogan/score", "hadgan/score", "alad/score", "fanogan/score")


@pytest.mark.whole
@pytest.mark.parametrize(
  "name",
  [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
    for name in WORKLOADS
  ],
)
def test_small_workloads_run(load, name):
  workload, options = WORKLOADS[name], load("harness").Options(small=True)
  program = load("jax_side").make(name, options)
  program.run()
  if workload.method == "fanogan" and workload.part == "train":
    items = 8  # four for each of two moves of the critic
  elif workload.floats and workload.kind == "score":
    items = 64  # pixels
  else:
    items = workload.small.batch
  if workload.kind == "search" and workload.part != "search":
    items = None  # of which a step finishes none
  assert program.items == items
  if name in RENDERED and WITH_TORCH:
    theirs = load("torch_side").make(name, options)
    theirs.run()
    assert (theirs.items, theirs.steps) == (items, program.steps)


@pytest.mark.whole
def test_a_trunk_may_be_in_bfloat16(load):
  jax_side, workload = load("jax_side"), WORKLOADS["devnet/score"]
  options = load("harness").Options(small=True, bfloat16=True)
  jax_side.make(workload.name, options).run()
  if WITH_TORCH:
    load("torch_side").make(workload.name, options).run()
  with pytest.raises(ValueError, match="ganomaly: --bfloat16"):
    jax_side.make("ganomaly/score", options)


# The training loop.

LOOPS = ["differnet"] + [
  pytest.param(name, marks=pytest.mark.slow) for name in ("ganomaly", "dra")
]


@pytest.mark.whole
@pytest.mark.parametrize("workload", LOOPS)
def test_small_loop_writes_a_row_without_tensorflow(tmp_path, workload):
  """On two devices, which share the batch of the bare step as the loop's."""
  file = tmp_path / "rows.json"
  result = run_python(
    "-c",
    "import sys; from benchmarks import loop; loop.main(); "
    "assert 'tensorflow' not in sys.modules",
    *("--small", f"--workloads={workload}", "--rounds=2", "--devices=2"),
    f"--json={file}",
  )
  assert result.returncode == 0, result.stderr
  assert "compare with no others" in result.stdout
  found = json.loads(file.read_text())
  (row,), data = found["loop"], found["data"]
  assert [d["pixels"] for d in data] == [224, 448]
  assert all(d["decoded_per_s"] > 0 and d["read_per_s"] > 0 for d in data)
  assert (row["workload"], row["devices"]) == (f"{workload}-small", 2)
  assert row["bare_ms"] > 0
  lost = 100 * (row["loop_ms"] - row["bare_ms"]) / row["bare_ms"]
  assert row["lost_percent"] == pytest.approx(lost)


@pytest.mark.whole
@pytest.mark.parametrize("workload", LOOPS)
def test_the_bare_step_is_that_of_the_loop(load, workload):
  loop = load("loop")
  detector, data = loop.make_workload(workload, small=True)
  plan = jaxad.make_plan(
    detector, data, batch_size=8 * 3, drop_remainder=True, steps=1
  )

  def make_state():
    state = detector.init(jax.random.key(0), {"x": data.x[:1]}, plan)
    # Past what is fitted before.
    return state.replace(phase=jnp.int32(len(detector.phases) - 1))

  expected = jaxad.fit(detector, make_state(), data, plan)
  state = loop.bare_dispatch(detector, data, plan)(make_state())
  chex.assert_trees_all_close(state.params, expected.params, atol=1e-6)
  moved = jax.tree.map(
    lambda a, b: np.abs(a - b).max(), state.params, make_state().params
  )
  assert max(jax.tree.leaves(moved)) > 1e-5


@pytest.fixture
def official(load):
  pytest.importorskip("torch")
  return load("pytorch_differnet")


def state_dict(tree, prefix=""):
  """Flax parameters in the names and layouts of the PyTorch model."""
  tensors = {}
  for name, value in tree.items():
    # "features.0" of the trunk is its entry 0, "coupling_0" that of the flow.
    name = name.removeprefix("features.").removeprefix("coupling_")
    if isinstance(value, dict):
      tensors |= state_dict(value, f"{prefix}{name}.")
    elif name == "kernel":
      kernel = np.moveaxis(np.asarray(value), (-1, -2), (0, 1))
      tensors[f"{prefix}weight"] = kernel
    else:
      tensors[f"{prefix}{name}"] = np.asarray(value)
  return tensors


@pytest.mark.parametrize("frozen", [False, True])
def test_both_sides_take_the_same_step(official, frozen):
  import torch

  detector = jaxad.differnet(weights="random", n_blocks=2, hidden=16)
  x = np.random.default_rng(0).standard_normal((4, 256, 256, 3), np.float32)
  state = detector.init(jax.random.key(0), {"x": x})
  model = official.DifferNet(n_blocks=2, hidden=16)
  tensors = {k: torch.tensor(v) for k, v in state_dict(state.params).items()}
  model.load_state_dict(tensors)
  optimizer = official.make_optimizer(model)
  views = torch.tensor(x.transpose(0, 3, 1, 2))
  loss = official.train(
    lambda: official.image_loss(model, views, frozen), optimizer
  )

  @jax.jit
  def step(state, x):
    variables = {"params": state.params["trunk"]}
    y = pooled_features(make_trunk("alexnet"), variables, x, 3)
    return detector.phases[0].step(state, {"x": y[:, None]}, None)

  stepped, metrics = step(state, jnp.asarray(x))
  np.testing.assert_allclose(loss, metrics["loss"], rtol=1e-5)
  assert (model.trunk[0].weight.grad is None) == frozen
  parameters = dict(model.named_parameters())
  expected = state_dict(stepped.params)
  assert set(parameters) == set(expected)
  moved = 0.0
  for name, value in expected.items():
    got = parameters[name].detach().numpy()
    # The first step of Adam moves a parameter by at most the learning rate.
    np.testing.assert_allclose(got, value, rtol=0, atol=2e-4 * 1e-3)
    moved = max(moved, np.abs(value - tensors[name].numpy()).max())
  assert moved > 1e-4


def test_both_sides_score_alike(official):
  import torch

  detector = jaxad.differnet(
    weights="random", n_blocks=2, hidden=16, n_transforms_test=4
  )
  y = np.random.default_rng(0).standard_normal((4, 768), np.float32)
  state = detector.init(jax.random.key(0), {"x": y})
  model = official.DifferNet(n_blocks=2, hidden=16)
  flow = {k: torch.tensor(v) for k, v in state_dict(state.params).items()}
  model.load_state_dict(flow, strict=False)
  _, loss, score = official.score(lambda: model.loss(torch.tensor(y)))
  scores = detector.score(state, jnp.asarray(y[None]), None)
  np.testing.assert_allclose(loss, scores.parts["nll"][0], rtol=1e-5)
  np.testing.assert_allclose(score, scores.image[0], rtol=1e-5)


# The methods of the PyTorch side against recordings of the official code, which
# jaxad's are compared with in tests/equivalence.


@pytest.fixture
def double():
  torch = pytest.importorskip("torch")
  default = torch.get_default_dtype()
  torch.set_default_dtype(torch.float64)
  yield
  torch.set_default_dtype(default)


@pytest.fixture
def official_gan(load, double):
  return load("pytorch_gan")


def load_recording(method):
  import torch

  with np.load(GOLDENS / method / "golden.npz") as arrays:
    return {
      k: torch.tensor(arrays[k], dtype=torch.float64)
      for k in arrays
      if not k.startswith("hp/")  # some are names
    }


def group(recording, prefix):
  return {
    k.removeprefix(prefix): v
    for k, v in recording.items()
    if k.startswith(prefix)
  }


def variables(network):
  """Parameters and running statistics, in the order of the recordings."""
  return [
    v
    for k, v in network.state_dict().items()
    if not k.endswith("num_batches_tracked")
  ]


def fill(networks, names, recording, prefix="param/"):
  for network, name in zip(networks, names, strict=True):
    values = group(recording, f"{prefix}{name}.").values()
    for variable, value in zip(variables(network), values, strict=True):
      variable.copy_(value)


def assert_moved_alike(
  networks, names, recording, prefix, statistics, atol=2e-7
):
  """After few steps of length 2e-4, so to a thousandth of a step."""
  for network, name in zip(networks, names, strict=True):
    expected = group(recording, f"{prefix}{name}.")
    for variable, (key, value) in zip(
      variables(network), expected.items(), strict=True
    ):
      if statistics or "running" not in key:
        np.testing.assert_allclose(
          variable, value, rtol=1e-5, atol=atol, err_msg=f"{name}.{key}"
        )


@pytest.mark.parametrize("method", ["ganomaly", "skip_ganomaly"])
def test_ganomaly_is_the_official_one(official_gan, method):
  import torch

  recording, names = load_recording(method), ("netG", "netD")
  if method == "ganomaly":
    model = official_gan.Ganomaly(32, 3, 10, 8)
  else:
    model = official_gan.SkipGanomaly(32, 3, 10, 4, 4)
  fill(model.networks, names, recording)
  for k in (1, 2, 3):
    losses = model.train_step(recording[f"input/x{k}"])
    for loss, name in zip(losses, ("err_g", "err_d"), strict=True):
      expected = recording[f"loss/step{k}/{name}"]
      np.testing.assert_allclose(loss.detach(), expected, rtol=1e-6)
  assert_moved_alike(model.networks, names, recording, "after3/", True)
  scores = [model.score(x) for x in recording["score/x"].split(4)]
  np.testing.assert_allclose(
    torch.cat(scores), recording["score/batchstat_raw"], rtol=1e-5
  )


def test_anogan_searches_as_recorded(load, double):
  import torch

  official, recording = load("pytorch_anogan"), load_recording("anogan")
  with np.load(GOLDENS / "anogan" / "golden.npz") as arrays:
    hp = {k[3:]: arrays[k].item() for k in arrays if k.startswith("hp/")}
  param = lambda name: recording[f"param/{name}"]
  generator, discriminator = (
    [param(f"{network}/{layer}").shape[axis] for layer, axis in layers]
    for network, layers in {
      "generator": [
        ("layer_1/fc/bias", 0),
        ("layer_3/conv/kernel", 3),
        ("layer_3/conv/bias", 0),
      ],
      "discriminator": [
        (f"layer_{k}/bias", 0) for k in ("1/conv", "2/conv", "3/fc")
      ],
    }.items()
  )
  x, z0 = (recording[f"input/score0/{name}"] for name in ("x", "z0"))
  _, side, _, channels = x.shape
  numbered = lambda name, n: [hp[f"search_{name}_{k}"] for k in range(n)]
  model = official.AnoGan(
    *(side, channels, z0.shape[1], generator, discriminator),
    lam=hp["score_weight"],
    rates=numbered("lr", 3),
    boundaries=numbered("boundary", 2),
  )
  for network, name in zip(
    model.networks, ("generator", "discriminator"), strict=True
  ):
    averages = "ema_after3" if name == "generator" else "after3"
    for key, variable in network.state_dict().items():
      layer, leaf = key.split(".")
      kind, number = layer[:-1], layer[-1]
      if leaf == "num_batches_tracked":
        continue
      scope = {"bn": "batch_normalization"}.get(kind, kind)
      theirs = {"running_mean": "moving_mean", "running_var": "moving_variance"}
      if kind == "bn":
        theirs |= {"weight": "gamma", "bias": "beta"}
      leaf = theirs.get(leaf, "kernel" if leaf == "weight" else leaf)
      group_of = "after3" if leaf.startswith("moving") else averages
      value = recording[f"{group_of}/{name}/layer_{number}/{scope}/{leaf}"]
      if value.ndim == 2:
        value = value.T
      elif value.ndim == 4:
        value = value.permute(3, 2, 0, 1)
      variable.copy_(value)
  scores, z = model.search(x.permute(0, 3, 1, 2), z0, hp["search_steps"])
  np.testing.assert_allclose(scores, recording["score0/final"], rtol=1e-4)
  want = recording[f"score0/z_after{hp['search_steps']}"]
  assert torch.abs(z - want).max() < 1e-4


@pytest.mark.parametrize("mine", [False, True])
def test_ocgan_is_the_official_one(official_gan, mine):
  """One step; of the next, other running variances are a part."""
  import torch

  recording = load_recording("ocgan")
  draws = group(recording, "mine/input/step0/" if mine else "input/step0/")
  model = official_gan.Ocgan(3, 6, 4, 3, lambda_rec=10.0)
  names = ("En", "De", "D", "D2", "SD")
  fill(model.networks, names, recording)
  uniform = ["mu_unused", "real_latent", "mu", "eps"]
  masks = ["mine", "D_eps", "SD_eps", "G_rec", "G_eps2"]
  if not mine:
    uniform, masks = ["mu", "real_latent", "eps"], masks[1:]
  # What the original draws and does not use was not recorded.
  model._uniform = lambda like: draws.get(uniform.pop(0), like)

  class Dropout(torch.nn.Module):
    def forward(self, x):
      return 2 * x * draws[f"dropout_{masks.pop(0)}"] if self.training else x

  model.decoder[7 + 1] = Dropout()
  x = group(recording, "input/step0/")
  model.train_step(x["real_in"], x["real_out"], mine)
  assert not uniform and not masks
  if not mine:
    assert_moved_alike(model.networks, names, recording, "after1/", False)
    return
  recorded = [i for i, name in enumerate(names) if name not in ("D", "D2")]
  expected = group(recording, "mine/after1/")
  moved = [model.networks[i] for i in recorded]
  names = [names[i] for i in recorded]
  # Where the recording, in float32, has gradients near zero.
  assert_moved_alike(moved, names, expected, "", False, atol=4e-6)


@pytest.mark.parametrize("method", ["dra", "devnet"])
def test_dra_is_the_official_one(load, double, method):
  official, recording = load("pytorch_dra"), load_recording(method)

  def recorded(prefix):
    tensors = {}
    for name, value in group(recording, prefix).items():
      name = name.replace("feature_extractor.net.", "trunk.")
      name = re.sub(r"^conv\.", "head.scoring.", name)  # DevNet
      tensors[re.sub(r"^(\w+)_head\.", r"heads.\1.", name)] = value
    return tensors

  make = official.Dra if method == "dra" else official.DevNet
  model = make(width=4, top_k=float(recording["input/cfg_topk"]))
  model.load_state_dict(recorded("param/"))
  means, stds = (recording[f"input/ref_{k}"].flatten() for k in ("mean", "std"))
  priors = iter(zip(means, stds, strict=True))  # of one loss after the other
  model.prior = lambda like: next(priors)
  references = lambda k: (
    (recording["input/ref_images"][k],) if method == "dra" else ()
  )
  losses = "loss/train_heads" if method == "dra" else "loss/train"
  for k in range(3):
    x, label = recording["input/images"][k], recording["input/labels"]
    loss = model.train_step(*references(k), x, label)
    np.testing.assert_allclose(loss, recording[losses][k], rtol=1e-6)
  assert next(priors, None) is None
  expected = recorded("after3/")
  found = model.state_dict()
  assert {name for name in found if "num_batches" not in name} == set(expected)
  for name, value in expected.items():
    np.testing.assert_allclose(
      found[name], value, rtol=1e-5, atol=2e-7, err_msg=name
    )
  scores = model.score(*references(0), recording["input/test_images"])
  np.testing.assert_allclose(scores, recording["score/total"], rtol=1e-6)


def test_alad_has_the_sizes_of_ours(load):
  pytest.importorskip("torch")
  assert IMAGES._asdict() == load("torch_side").ALAD


def test_both_sides_of_dra_have_the_same_losses(load):
  """On the batch of the benchmark: no augmentation, the same images."""
  torch = pytest.importorskip("torch")
  jax_side, torch_side = load("jax_side"), load("torch_side")
  workload = WORKLOADS["dra/train"]
  size = workload.small
  detector = jax_side.make_detector(workload, size)
  label = torch_side.labels("dra", size.batch, "cpu")
  images = jax_side.make_array(workload, size)
  references = jax_side.make_array(workload, size, 2)
  batch = {"x": images, "reference": references, "label": label.numpy()}
  batch = jax.tree.map(jnp.asarray, batch)
  state = detector.init(jax.random.key(0), batch)

  model = load("pytorch_dra").Dra(width=8, blocks=1)
  model.prior = lambda like: (0.0, 1.0)
  parts = {
    r"heads\.fc": "heads.holistic.fc",
    r"heads\.conv\.": "heads.composite.conv.0.",
    r"heads\.norm\.": "heads.composite.conv.1.",
    r"\.scale$": ".weight",
  }
  tensors = {}
  for name, value in state_dict(state.params).items():
    for ours, theirs in parts.items():
      name = re.sub(ours, theirs, name)
    tensors[name] = torch.tensor(value)
  missing, unexpected = model.load_state_dict(tensors, strict=False)
  assert not unexpected
  assert all("running" in k or "num_batches" in k for k in missing)

  phase = detector.phases[-1]
  draws = phase.draw(jax.random.key(1), batch)
  draws["prior"] = jnp.zeros(4), jnp.ones(4)
  expected = jax.jit(
    lambda *args: [phase.step(*args)[1][name] for name in HEADS]
  )(state, batch, draws)
  inputs = (torch_side.normalised(v, "cpu") for v in (references, images))
  losses = model.train_step(*inputs, label)
  np.testing.assert_allclose(losses, expected, rtol=1e-4)


# f-AnoGAN, whose recording is of grey images of 64 pixels.


def fill_fanogan(network, name, recording, when="param"):
  """PyTorch's parameters from "name.Res1.Conv1.Filters" and the like."""
  import torch

  layers = {"input": "Input", "output": "Output", "norm": "OutputN"}
  layers |= {"norm1": "BN1", "norm2": "BN2", "conv1": "Conv1"}
  layers |= {"conv2": "Conv2", "shortcut": "Shortcut"}
  leaves = {"weight": ("Filters", "W", "gamma", "scale")}
  leaves |= {"bias": ("Biases", "b", "beta", "offset")}
  leaves |= {"running_mean": ("moving_mean",)}
  leaves |= {"running_var": ("moving_variance",)}
  found = {}
  for key, value in group(recording, f"{when}/{name}/").items():
    layer, _, leaf = key.rpartition("/")
    key = leaf if "." in leaf else f"{layer}.{leaf}"
    found[key.removeprefix(f"{name}.")] = value
  for key, variable in network.state_dict().items():
    *path, layer, leaf = key.split(".")
    if leaf == "num_batches_tracked":
      continue
    block = f"Res{int(path[1]) + 1}." if path else ""
    theirs = (f"{block}{layers[layer]}.{name}" for name in leaves[leaf])
    value = next(found[k] for k in theirs if k in found)
    if value.ndim == 4:
      value = value.permute(3, 2, 0, 1)
    with torch.no_grad():
      variable.copy_(value.T if value.ndim == 2 else value)


def test_fanogan_has_the_official_losses(load, double):
  official, recording = load("pytorch_fanogan"), load_recording("fanogan")
  model = official.Fanogan(1, 2, 6, 2)
  names = ("Generator", "Discriminator", "Encoder")
  for network, name in zip(model.networks, names, strict=True):
    fill_fanogan(network, name, recording)
  draws = group(recording, "input/loop0/critic0/")
  x = 2 * draws["x_uint8"] / 255 - 1
  fake = model.generator(draws["z"])
  np.testing.assert_allclose(
    fake.detach().flatten(1), recording["out/fake"], rtol=0, atol=1e-5
  )
  loss = model.critic_loss(x, fake.detach(), draws["alpha"][:, :, None, None])
  expected = recording["loss/loop0/critic0/disc_cost"]
  np.testing.assert_allclose(loss.detach(), expected, rtol=1e-5)


def test_fanogan_has_the_official_scores(load, double):
  official, recording = load("pytorch_fanogan"), load_recording("fanogan")
  model = official.Fanogan(1, 2, 6, 2)
  names = {"Generator": "loop", "Discriminator": "loop", "Encoder": "enc"}
  for network, (name, phase) in zip(model.networks, names.items(), strict=True):
    fill_fanogan(network, name, recording, f"after_{phase}3")
  model.freeze()
  scores = model.score(2 * recording["input/score/x_uint8"] / 255 - 1)
  expected = recording["score/anomaly_score"]
  np.testing.assert_allclose(scores, expected, rtol=1e-5)
