# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""jaxad's side of every workload: steps as its training loop compiles them."""

import functools
import math
import time

import jax
import jax.numpy as jnp
import numpy as np

import jaxad
from benchmarks import machine
from benchmarks.harness import Options, Program, peak_memory, steps_in_a_run
from benchmarks.workload import Size, Value, Workload, make_array
from benchmarks.workloads import WORKLOADS
from jaxad import distributed, feed, runtime
from jaxad.data import Dataset, Examples
from jaxad.evaluation.scoring import Scorer

# Of the labelled anomalies that some methods learn from, see `make_data`.
ANOMALIES = 10


def make(name: str, options: Options) -> Program:
  """jaxad's program of a workload."""
  runtime.keep_memory()  # as its commands do
  workload = WORKLOADS[name]
  size = workload.size(options.small, distributed.on_cpu())
  detector = make_detector(workload, size, options.bfloat16)
  by_kind = {"step": training, "fit": fitting, "search": searching}
  make = by_kind.get(workload.kind, scoring)
  return make(workload, size, detector)


def make_detector(workload: Workload, size: Size, bfloat16: bool = False):
  """The detector of a workload.

  Raises:
    ValueError: there is no trunk whose arithmetic could be in bfloat16.
  """
  keywords = {
    name: value.make() if isinstance(value, Value) else value
    for name, value in size.keywords.items()
  }
  if workload.kind == "search":
    keywords["search_steps"] = size.steps
  if bfloat16:
    if workload.method == "differnet":
      keywords["trunk_dtype"] = "bfloat16"
    elif "trunk" in keywords:
      keywords["trunk"] = keywords["trunk"]._replace(dtype="bfloat16")
    else:
      raise ValueError(f"{workload.method}: --bfloat16 is of a trunk's alone")
  return getattr(jaxad, workload.method)(**keywords)


def make_data(workload: Workload, size: Size) -> Dataset:
  """A data set with all that a phase may ask for, no larger than needed."""
  phase = _phases(workload, size)[workload.phase]
  asked = {stream.rows for stream in phase.streams}
  n = size.batch + ANOMALIES * ("anomalous" in asked)
  label = np.zeros(n, np.int32)
  label[size.batch :] = 1
  train = _examples(make_array(workload, size, n), label)
  outliers = None
  if "outliers" in asked:
    outliers = _examples(make_array(workload, size), np.ones(size.batch))
  return Dataset(train, train.take([]), outliers)


def _phases(workload, size):
  return make_detector(workload, size).phases


def _examples(x, label):
  names = tuple(f"{i:05}" for i in range(len(x)))
  kinds = tuple("seen" if anomalous else "good" for anomalous in label)
  return Examples(x, np.int32(label), names, kinds, None)


def make_batches(workload: Workload, size: Size, detector, steps: int):
  """(a plan, the batches of so many steps, stacked) of the workload's phase."""
  data = make_data(workload, size)
  phases, number = detector.phases, workload.phase % len(detector.phases)
  plan = jaxad.make_plan(
    detector,
    data,
    batch_size=size.batch,
    drop_remainder=True,
    steps=100 * len(phases),
  )
  # One device does all, as on the other side.
  source = feed.Feed(data, one_device(), on_device=True)
  indices = feed.Indices(
    phases[number], data, plan, plan.steps_per_epoch[number]
  )
  entries = [indices.at(k) for k in range(steps)]
  stacked = jax.tree.map(lambda *rows: jnp.stack(rows), *entries)
  gather = lambda entry: source.batch(indices, source.resident, entry)
  return plan, jax.jit(jax.vmap(gather))(stacked)


def one_device() -> jax.sharding.Mesh:
  return jax.sharding.Mesh(jax.devices()[:1], ("data",))


def compile_update(phase, mesh):
  """`(state, batches) -> (state, metrics)` as jaxad's loop compiles it.

  The batches are stacked, and lie on the devices; the state is donated.
  """
  # A feed without data gives back the batches that it gets.
  nothing = Examples(np.zeros(0), np.zeros(0, np.int32), (), (), None)
  empty = feed.Feed(feed.as_dataset(nothing), mesh, on_device=False)
  update = feed.compile_update(phase, empty, None)
  return lambda state, batches: update(state, {}, batches)


def training(workload: Workload, size: Size, detector) -> Program:
  """Steps of one of the detector's phases, in one dispatch."""
  steps = steps_in_a_run(jax.default_backend())
  plan, batches = make_batches(workload, size, detector, steps)
  first = jax.tree.map(lambda v: v[0], batches)
  state = detector.init(jax.random.key(0), first, plan)
  mesh = one_device()
  # Not aliased: a state may hold one array twice, and buffers are donated.
  whole = distributed.replicated(mesh)
  state = jax.device_put(state, whole, may_alias=False)
  update = compile_update(detector.phases[workload.phase], mesh)
  compiled, found = compile_jax(update, state, batches, donate=0)

  def run():
    nonlocal state
    state, metrics = compiled(state, batches)
    jax.block_until_ready((state, metrics))

  return program(run, found, steps, len(first["x"]))


def scoring(workload: Workload, size: Size, detector) -> Program:
  """Scores of one batch, or its heat maps."""
  steps = steps_in_a_run(jax.default_backend())
  x = jnp.asarray(make_array(workload, size))
  state = initial_state(detector, x)
  keys = jax.random.split(jax.random.key(1), len(x))

  def score(state, x, keys):
    # Without what a run of jaxad does not ask for.
    if workload.kind == "map":
      return (detector.localize or detector.score)(state, x, keys).map
    scores = detector.score(state, x, keys)
    return scores._replace(map=None, maps={}, reconstruction=None)

  compiled, found = compile_jax(score, state, x, keys)

  def run():
    jax.block_until_ready([compiled(state, x, keys) for _ in range(steps)])

  # Of a scene every pixel is scored.
  items = math.prod(x.shape[:-1]) if workload.floats else len(x)
  return program(run, found, steps, items)


def initial_state(detector, x):
  """Of a scene by its spectra, which methods are trained on."""
  if x.ndim == 4 and x.dtype == jnp.float32:
    x = x[0, 0]
  return detector.init(jax.random.key(0), {"x": x})


def fitting(workload: Workload, size: Size, detector) -> Program:
  """A fit to all rows, in batches as it gets them."""
  data = make_data(workload, size)
  state = initial_state(detector, data.train.x)
  source = feed.Feed(data, distributed.data_mesh())
  batches = list(source.one_pass("normal", min(size.batch, 32), seed=0))
  fit = detector.phases[workload.phase].fit
  run = lambda: jax.block_until_ready(fit(state, iter(batches)))
  began = time.perf_counter()
  run()
  seconds = time.perf_counter() - began  # of a fit, too
  return program(run, (seconds, None, None), 1, size.batch)


def searching(workload: Workload, size: Size, detector) -> Program:
  """Steps of a search, with its start and its scores, as a run takes them."""
  n = size.batch
  images = _examples(make_array(workload, size), np.zeros(n))
  state = detector.init(jax.random.key(0), {"x": images.x})
  batch = 1 if workload.part == "one_by_one" else n
  scorer = Scorer(detector, batch, jax.random.key(1))
  began = time.perf_counter()
  scorer.scores(state, images.take(np.arange(batch)))
  seconds = time.perf_counter() - began  # of a search, too
  run = functools.partial(scorer.scores, state, images)
  found = jax.eval_shape(
    detector.search.start, state, images.x, jax.random.split(state.key, n)
  )
  step = jax.jit(detector.search.step).lower(state, images.x, found)
  # The whole search is one: its time is of all steps, which finish images.
  whole = workload.part == "search"
  per = 1 if whole else size.steps
  operations = count(step, "flops")
  if operations is not None:
    operations *= size.steps if whole else 1
  return program(run, (seconds, operations, None), per, n if whole else None)


def compile_jax(function, *args, donate=()):
  """Compiles for the shapes of args.

  Returns:
    (compiled, (seconds, operations, bytes)), the last two as XLA counts them:
    operations of the program before it is optimised, since library calls that
    take their place count as nothing.
  """
  began = time.perf_counter()
  lowered = jax.jit(function, donate_argnums=donate).lower(*args)
  compiled = lowered.compile()
  seconds = time.perf_counter() - began
  counted = count(lowered, "flops"), count(compiled, "bytes accessed")
  return compiled, (seconds, *counted)


def count(stage, name) -> float | None:
  """A figure of `cost_analysis`, or None where the backend has none."""
  try:
    found = (stage.cost_analysis() or {}).get(name)
  except (NotImplementedError, jax.errors.JaxRuntimeError):
    return None
  return found if found and found > 0 else None


def program(run, found, steps=1, items=None) -> Program:
  """A program of JAX on its first device.

  Args:
    run: see `Program`.
    found: (seconds, operations, bytes) of compiling it.
    steps: in a run.
    items: in a step.
  """
  device = jax.devices()[0]
  seconds, operations, traffic = found
  return Program(
    *(run, seconds, device.platform, machine.device_name(device)),
    *(steps, items, operations, traffic, peak_memory(device)),
  )
