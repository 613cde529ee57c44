# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""How a training step scales over devices, and what they say to each other.

    python -m benchmarks.scaling --small
    python -m benchmarks.scaling --methods differnet --devices 1,2,4,8 \
        --json scaling.json --plot scaling.svg

A point is a process of its own, which compiles the step as `jaxad.fit` does and
runs it on so many devices. Where there is no accelerator XLA makes devices of
the CPU. They share its cores, so no step gets faster: what a point then shows
is the work of all devices together, and `kept` is the work of one device with
the same batch over it. 1.00 says that to divide a batch costs nothing. Of real
devices `kept` is the efficiency, the time of perfect scaling over this one.

Weak scaling has the same rows on each device; strong scaling has one batch,
which the largest number of devices fills.

Bytes are those of the arrays that a device puts into collectives in a step,
read off the compiled program; `by hand` is what a formula below says of them.

The model of the points has three numbers of this machine: fixed time and time
of a row from two points on one device, and alpha and beta of all-reduces that
each point times. So what it says of several devices is a check. The projection
takes the same model to machines that are not at hand, by their data sheets.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks import by_hand, projection
from benchmarks.arguments import file_in_a_folder, names_of
from benchmarks.table import replace


class Study(NamedTuple):
  """A method at one size.

  Attributes:
    detector: makes it.
    shape: of an example.
    dtype: likewise.
    batch: rows of a device.
    anomalies: labelled ones among the data.
  """

  detector: Callable[[], Any]
  shape: tuple[int, ...]
  dtype: str
  batch: int
  anomalies: int = 0


def differnet(small: bool) -> Study:
  """A flow of four blocks at 128 pixels; `small` has fewer parameters."""
  import jaxad

  sizes = dict(n_blocks=2, hidden=64) if small else dict(n_blocks=4, hidden=512)
  make = lambda: jaxad.differnet(weights="random", n_scales=1, **sizes)
  side = 64 if small else 128
  return Study(make, (side, side, 3), "uint8", 2 if small else 4)


def dra(small: bool) -> Study:
  import jaxad
  from jaxad.networks.pyramid import Trunk

  trunk = Trunk(weights="random", width=16, blocks=(1,) * 4)
  if small:
    trunk = trunk._replace(width=8, layer="layer2")
  make = lambda: jaxad.dra(trunk=trunk, steps_per_epoch=4, n_references=5)
  return Study(make, (64, 64, 3), "uint8", 6 if small else 12, anomalies=6)


def ganomaly(small: bool) -> Study:
  import jaxad

  make = lambda: jaxad.ganomaly(width=8 if small else 32)
  return Study(make, (32, 32, 3), "uint8", 4 if small else 16)


STUDIES = {"differnet": differnet, "dra": dra, "ganomaly": ganomaly}

# A point.


def measure(method: str, small: bool, batch: int, steps: int) -> dict:
  """Compiles a step as `jaxad.fit` does and runs it, on all devices there are.

  Args:
    method: a key of `STUDIES`.
    small: its size.
    batch: rows over all devices.
    steps: to take the median of; 0 compiles only.
  """
  import jax
  import numpy as np

  import jaxad
  from benchmarks.collectives import by_kind, collectives_of
  from jaxad import distributed, feed, runtime
  from jaxad.data import Examples

  runtime.keep_memory()  # as its commands do
  study = STUDIES[method](small)
  n = 2 * batch
  rng = np.random.default_rng(0)
  x = rng.integers(0, 256, (n, *study.shape), study.dtype)
  label = np.int32(np.arange(n) < study.anomalies)
  names = tuple(map(str, range(n)))
  data = feed.as_dataset(Examples(x, label, names, names, None))
  detector = study.detector()
  plan = jaxad.make_plan(
    detector, data, batch_size=batch, steps=steps + 1, drop_remainder=True
  )
  mesh = distributed.data_mesh()
  whole = distributed.replicated(mesh)
  init = jax.jit(lambda key: detector.init(key, {"x": x[:1]}, plan))
  state = jax.device_put(init(jax.random.key(0)), whole)
  k = len(detector.phases) - 1
  phase = detector.phases[k]
  held = feed.Feed(data, mesh, on_device=True)
  indices = feed.Indices(phase, data, plan, plan.steps_per_epoch[k])
  each = plan.steps_per_dispatch
  (stack,) = held.stacks(indices, iter([(0, each)]))
  update = feed.compile_update(phase, held, indices)
  began = time.perf_counter()
  compiled = update.lower(state, held.resident, stack.entry).compile()
  compile_s = time.perf_counter() - began
  devices = jax.device_count()
  found = collectives_of(compiled.as_text(), devices)
  point = {
    "method": method,
    "platform": jax.default_backend(),
    "device": jax.devices()[0].device_kind,
    "devices": devices,
    "batch": batch,
    "compile_s": compile_s,
    "bytes": {kind: size / each for kind, size in by_kind(found).items()},
    "messages": sum(c.times * (c.hops > 0) for c in found) / each,
    "sent": sum(c.times * c.sent for c in found) / each,
    "hops": sum(c.times * c.hops for c in found) / each,
    "by_hand": 0
    if devices == 1
    else by_hand.exchanged(
      method, state, study.shape, merged=jax.default_backend() != "cpu"
    ),
  }
  if not steps:
    return point
  times = []
  for _ in range(steps + 1):  # the first one is left out
    began = time.perf_counter()
    state, metrics = compiled(state, held.resident, stack.entry)
    jax.block_until_ready((state, metrics))
    times.append((time.perf_counter() - began) / each)
  alpha, beta = ring_of(mesh) if devices > 1 else (0.0, float("inf"))
  point |= {
    "ms": 1e3 * statistics.median(times[1:]),
    "alpha": alpha,
    "beta": beta,
  }
  return point


def ring_of(mesh) -> tuple[float, float]:
  """(alpha, beta) of a ring, from all-reduces of one number and of many."""
  import jax
  import jax.numpy as jnp

  from jaxad import distributed

  n = mesh.size

  def best(size, repeats=5, rounds=20):
    whole = distributed.replicated(mesh)
    x = jax.device_put(jnp.ones((n, size)), distributed.divided(mesh))
    total = jax.jit(lambda x: x.sum(0), out_shardings=whole).lower(x).compile()
    seconds = []
    for _ in range(repeats):
      began = time.perf_counter()
      for _ in range(rounds):
        done = total(x)
      jax.block_until_ready(done)
      seconds.append((time.perf_counter() - began) / rounds)
    return min(seconds)

  few, many = 1, 2**20
  short, long = best(few), best(many)
  hops = 2 * (n - 1)
  beta = hops / n * 4 * (many - few) / max(long - short, 1e-9)
  return short / hops, beta


def in_a_process(point: dict, devices: int) -> dict:
  """`measure` in a process that sees so many devices."""
  from jaxad import processes

  environment = dict(os.environ)
  platform, count = processes.devices()
  if platform == "gpu":
    given = environment.get("CUDA_VISIBLE_DEVICES", "")
    named = given.split(",") if given else list(map(str, range(count)))
    environment["CUDA_VISIBLE_DEVICES"] = ",".join(named[:devices])
  elif platform == "cpu":
    flags = environment.get("XLA_FLAGS", "")
    environment["XLA_FLAGS"] = (
      f"{flags} --xla_force_host_platform_device_count={devices}"
    )
  done = subprocess.run(
    [sys.executable, "-m", "benchmarks.scaling", "--point", json.dumps(point)],
    capture_output=True,
    text=True,
    env=environment,
  )
  if done.returncode:
    raise SystemExit(f"{point} on {devices} devices failed:\n{done.stderr}")
  found = json.loads(done.stdout.splitlines()[-1])
  if found["devices"] != devices:
    raise SystemExit(
      f"--devices: {devices} asked for, and JAX finds {found['devices']} "
      f"{found['platform']} devices."
    )
  return found


# A study.


def points_of(
  method: str, small: bool, devices: list[int], steps: int
) -> list[dict]:
  """Both scalings of a method, over so many devices; see `with_model`."""
  b = STUDIES[method](small).batch
  batches = {
    "weak": {n: b * n for n in devices},
    "strong": {n: b * max(devices) for n in devices},
  }
  known: dict[tuple[int, int], dict] = {}
  points = []
  for scaling, of in batches.items():
    for n, batch in of.items():
      if (n, batch) not in known:  # the largest one is a point of both
        point = dict(method=method, small=small, batch=batch, steps=steps)
        known[n, batch] = in_a_process(point, n)
      points.append({"scaling": scaling} | known[n, batch])
  return with_model(points) if steps and 1 in devices else points


def with_model(points: list[dict]) -> list[dict]:
  """Adds `model_ms`, what the points on one device say of the others; `kept`.

  Args:
    points: of one method, with two batches on one device.
  """
  ones = sorted((p["batch"], p["ms"]) for p in points if p["devices"] == 1)
  (few, short), (many, long) = ones[0], ones[-1]
  a_row = max(0.0, (long - short) / (many - few)) if many > few else 0.0
  fixed = max(0.0, short - a_row * few)
  for point in points:
    n, batch = point["devices"], point["batch"]
    exchange = 1e3 * (
      point["hops"] * point["alpha"] + point["sent"] / point["beta"]
    )
    # Virtual devices take turns; each has the fixed part to itself.
    turns = n if point["platform"] == "cpu" else 1
    point["model_ms"] = turns * (fixed + a_row * batch / n) + exchange
    alone = fixed + a_row * batch
    if turns == n:
      point["kept"] = alone / point["ms"]
    else:
      point["kept"] = (fixed + a_row * batch / n) / point["ms"]
  return points


_COLUMNS = {
  "method": lambda p: p["method"].ljust(9),
  "scaling": lambda p: p["scaling"].ljust(7),
  "devices": lambda p: f"{p['devices']:7d}",
  "batch": lambda p: f"{p['batch']:5d}",
  "ms": lambda p: f"{p['ms']:8.1f}" if "ms" in p else "       -",
  "model_ms": lambda p: f"{p['model_ms']:8.1f}" if "model_ms" in p else "-",
  "kept": lambda p: f"{p['kept']:5.2f}" if "kept" in p else "    -",
  "bytes": lambda p: f"{sum(p['bytes'].values()):11.0f}",
  "by_hand": lambda p: "-" if p["by_hand"] is None else f"{p['by_hand']:11d}",
  "messages": lambda p: f"{p['messages']:8.0f}",
  "kinds": lambda p: ", ".join(p["bytes"]) or "none",
}


def table(points: list[dict]) -> str:
  """The points, a line each."""
  rows = [list(_COLUMNS)]
  rows += [[cell(p) for cell in _COLUMNS.values()] for p in points]
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  return "\n".join(
    "  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True))
    for row in rows
  )


# The projection.


def projected(methods: list[str]) -> list[dict]:
  """Rows of `projection.project`, for the methods that have a formula."""
  steps = by_hand.steps_at_paper_size()
  return [
    {"method": method} | row
    for method in methods
    if method in steps
    for row in projection.project(steps[method])
  ]


def _print_projection(rows):
  print("\nprojection, papers' sizes; it assumes that")
  for line in projection.ASSUMPTIONS:
    print(f"  {line}")
  for machine in projection.MACHINES:
    print(f"  {machine.name}: {machine.sources}")
  head = "method     machine                          devices"
  print(f"\n{head}   weak ms  kept  strong ms  speed-up  exchange ms")
  for r in rows:
    print(
      f"{r['method']:9}  {r['machine']:31}  {r['devices']:7d}  "
      f"{r['weak_ms']:8.2f}  {r['weak']:4.2f}  {r['strong_ms']:9.2f}  "
      f"{r['strong']:8.1f}  {r['exchange_ms']:11.2f}"
    )


def main(argv: list[str] | None = None) -> None:
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.scaling",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )

  def counts(text):
    return [int(n) for n in text.split(",")]

  add = parser.add_argument
  add(
    "--methods",
    type=names_of(STUDIES),
    default=list(STUDIES),
    metavar="differnet,dra",
  )
  add("--devices", type=counts, default=[1, 2, 4, 8], metavar="1,2,4,8")
  add("--small", action="store_true", help="reduced sizes, a quick check")
  add("--steps", type=int, default=5, help="to take the median of; 0: compile")
  file = dict(type=file_in_a_folder, metavar="FILE")
  add("--json", help="write all to FILE", **file)
  add("--plot", help="draw (.svg, .png)", **file)
  add("--point", type=json.loads, help=argparse.SUPPRESS)
  args = parser.parse_args(argv)
  if args.point:
    print(json.dumps(measure(**args.point)))
    return
  if min(args.devices) < 1 or args.steps < 0:
    parser.error("--devices must be at least 1, --steps at least 0")
  from jaxad import provenance

  points: list[dict] = []
  for method in args.methods:
    new = points_of(method, args.small, args.devices, args.steps)
    if not points:
      kind = f"{new[0]['platform']}, {new[0]['device']}"
      print(f"{kind}, {os.cpu_count()} CPU threads")
      if new[0]["platform"] == "cpu":
        print(
          "virtual devices that share the cores: ms is the work of all of "
          "them, not a speed-up"
        )
    points += new
    print(table(new), flush=True)
  timed = [p for p in points if "model_ms" in p and p["devices"] > 1]
  if timed:
    errors = [abs(p["model_ms"] / p["ms"] - 1) for p in timed]
    print(
      f"the model of the points is off by {100 * statistics.median(errors):.0f}"
      f" % in the median and {100 * max(errors):.0f} % at most"
    )
  ahead = projected(args.methods)
  _print_projection(ahead)
  if args.json:
    found = {
      "command": provenance.command(),
      "commit": provenance.commit(),
      "points": points,
      "projection": ahead,
      "assumptions": projection.ASSUMPTIONS,
      "machines": [machine._asdict() for machine in projection.MACHINES],
    }
    replace(args.json, json.dumps(found, indent=2) + "\n")
  if args.plot:
    projection.plot([p for p in points if "model_ms" in p], ahead, args.plot)


if __name__ == "__main__":
  main()
