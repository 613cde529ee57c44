# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Times the methods at the sizes of their papers, beside PyTorch's.

    python -m benchmarks.run                          # all, on what JAX finds
    python -m benchmarks.run --methods ganomaly,ocgan --platform cpu
    python -m benchmarks.run --small --methods vae    # whether it runs
    python -m benchmarks.run --workloads dra/train --baseline compiled

Run it from a checkout. A row for each workload and library: median and CPU time
of a step, compiling, examples a second, the most memory that the process had
(on an accelerator: the device's), operations and bytes of a step as XLA counts
them (what runs in a loop counts once), the share of what the device could do at
the rates that were measured just before, and how much faster jaxad is. Another
table says what the training loop adds to a step. Both are written after each
workload.

PyTorch comes with `pip install '.[bench]'`; where it is missing, or has no such
workload, jaxad is timed alone. TensorFlow is not needed.
"""

import argparse
import functools
import importlib
import importlib.util
import sys

from benchmarks import harness, loop, machine, workloads
from benchmarks.arguments import file_in_a_folder, names_of
from benchmarks.table import Report, told

BASELINES = ("none", "pytorch", "compiled")


def parse(arguments=None) -> argparse.Namespace:
  """The command line, checked."""
  listing = "\n".join(
    f"  {w.name:22} {w.title}{' (only by name)' if w.extra else ''}"
    for w in workloads.ALL
  )
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.run",
    description=f"{__doc__}\nworkloads:\n{listing}",
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  methods = list(dict.fromkeys(w.method for w in workloads.ALL))
  add = parser.add_argument
  add("--methods", type=names_of(methods), metavar="METHOD,...")
  add(
    *("--workloads", "-w"),
    type=names_of(workloads.WORKLOADS),
    metavar="METHOD/PART,...",
  )
  add("--baseline", choices=BASELINES, default="pytorch", help="beside jaxad")
  add("--platform", choices=("cpu", "gpu", "tpu"), help="of JAX")
  add("--repeats", type=int, default=5, help="steps to take the median of")
  add(
    "--limit",
    type=float,
    default=600.0,
    metavar="SECONDS",
    help="that compiling one implementation, or one of its runs, may take",
  )
  add("--small", action="store_true", help="reduced sizes, a quick check")
  add("--tf32", action="store_true", help="TF32 products, both libraries")
  add("--bfloat16", action="store_true", help="trunk in bfloat16")
  add("--no-loop", action="store_true", help="without the training loop's part")
  add(
    "--json",
    type=file_in_a_folder,
    metavar="FILE",
    help="write the rows to FILE",
  )
  add(
    "--markdown",
    type=file_in_a_folder,
    metavar="FILE",
    help="write the table to FILE",
  )
  args = parser.parse_args(arguments)
  if args.repeats < 1:
    parser.error("--repeats must be at least 1")
  if args.methods and args.workloads:
    parser.error("--methods or --workloads, not both")
  return args


def chosen(args) -> list[workloads.Workload]:
  """The workloads that the command line asks for, in its order."""
  if args.workloads:
    return [workloads.WORKLOADS[name] for name in args.workloads]
  found = [w for w in workloads.ALL if not w.extra]
  if args.methods:
    found = [w for m in args.methods for w in found if w.method == m]
  return found


def implementations(workload, args, options) -> dict:
  """{name: what makes its program}; jaxad first."""
  side = lambda name, **more: functools.partial(
    make, f"benchmarks.{name}_side", workload.name, options, **more
  )
  makes = {"jaxad": side("jax")}
  if workload.name in workloads.RENDERED:
    if args.baseline != "none":
      makes[harness.BASELINE] = side("torch")
    if args.baseline == "compiled" and workload.name not in workloads.EAGER:
      makes[harness.COMPILED] = side("torch", compiled=True)
  return makes


def make(module: str, *args, **kwargs) -> harness.Program:
  """The program of one side; its process does not import the other's."""
  return importlib.import_module(module).make(*args, **kwargs)


def rows_of(workload, args, options, rates) -> list[dict]:
  """A row for each implementation of a workload."""
  makes = implementations(workload, args, options)
  measured = harness.measure(makes, args.repeats, args.limit)
  median = lambda name: measured.get(name, {}).get("median_ms")
  needs = () if args.small else workload.needs
  rows = []
  for name, found in measured.items():
    row = {
      "workload": workload.name + ("-small" if args.small else ""),
      "implementation": name,
    }
    if "error" in found:
      rows.append(row | {"error": found["error"]})
      continue
    row |= {k: v for k, v in found.items() if not k.startswith("device")}
    parts = needs
    if not parts and row["gflop"]:
      parts = ((1e9 * row["gflop"], 1e9 * (row["gbyte"] or 0.0)),)
    time = row["median_ms"]
    row["roofline"] = None
    if rates and parts:
      row["roofline"] = harness.roofline(
        time / 1000, parts, harness.Rates(**rates)
      )
    for other in (harness.BASELINE, harness.COMPILED):
      theirs = median(other)
      row[f"ratio_to_{other}"] = theirs / time if theirs else None
    rows.append(row)
  return rows


def loop_rows(name: str, args) -> list[dict]:
  """What the training loop adds to a step."""
  try:
    return [
      harness.in_process(
        loop.measure, name, 2 * args.repeats - 1, args.small, limit=args.limit
      )
    ]
  except harness.Failed as error:
    return [{"workload": name, "implementation": "loop", "error": str(error)}]


def main(arguments=None) -> int:
  """Runs the command line; 1 if something that was asked for failed."""
  args = parse(arguments)
  options = harness.Options(args.small, args.tf32, args.bfloat16)
  harness.set_environment(args.platform, args.tf32)
  if args.baseline != "none" and importlib.util.find_spec("torch") is None:
    print("PyTorch is not installed (extra `bench`): no comparison.")
    args.baseline = "none"
  machine.print_conditions(args.small)
  try:
    kind, name = harness.in_process(machine.device_of_jax, limit=args.limit)
    if args.platform not in (None, kind):
      asked = f"--platform {args.platform}"
      print(f"{asked}: JAX finds a {kind} alone, {name}", file=sys.stderr)
      return 1
    rates = None
    if not (args.small or args.bfloat16):  # they are of float32
      rates = harness.measure_rates(args.limit)._asdict()
  except harness.Failed as error:
    print(f"no device for JAX: {error}", file=sys.stderr)
    return 1
  if kind == "tpu":
    args.baseline = "none"  # PyTorch would run on the host
  precision = "tf32" if args.tf32 else "float32"
  precision += ", trunk bfloat16" if args.bfloat16 else ""
  where = machine.describe(name, ("jax", "jaxlib", "torch"), precision)
  print(where)
  if rates:
    print(told(rates))
  conditions = {"machine": where, "rates": rates}
  report = Report(args.json, args.markdown, conditions)
  for workload in chosen(args):
    rows = rows_of(workload, args, options, rates)
    report.add(workload.name, workload.title, rows)
  if not (args.workloads or args.no_loop or args.bfloat16):
    for method, title in loop.WORKLOADS.items():
      if not args.methods or method in args.methods:
        rows = loop_rows(method, args)
        report.add(f"{method}/loop", title, rows, "loop")
  return int(report.failed)


if __name__ == "__main__":
  sys.exit(main())
