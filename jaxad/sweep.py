# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Runs a grid of configurations, each under several seeds, and compares them.

    python -m jaxad.sweep --config ocgan:mnist --over data.subset=0..9 --seeds 3
    python -m jaxad.sweep --config vae,pca --over data.subset=0,1,2 --jobs 2

Each run is `python -m jaxad.run` in a process of its own: one that fails stops
no other. `sweep.csv`, `sweep.md` and `sweep.html` are written as runs end.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import sys
from collections.abc import Sequence

import filelock
import jax

from jaxad import cli, grid, processes
from jaxad.errors import InputError
from jaxad.provenance import command
from jaxad.report.sweeps import Row, write_sweep
from jaxad.report.tables import write_json
from jaxad.seeds import FIGURES, aggregate, summarize
from jaxad.workdir import FREE, LOCK, Workdir, config_of

SOME_FAILED = 1

# What a run is.
FINISHED, FAILED, STOPPED, TO_DO = "finished", "failed", "stopped", "to do"


@dataclasses.dataclass
class Run:
  """One run of the grid.

  Attributes:
    cell: its configuration.
    seed: its `config.seed`.
    folder: its workdir.
    state: "finished", "failed", "stopped" or "to do".
    results: its `results.json`, when it is finished.
    reason: why it failed, else "".
  """

  cell: grid.Cell
  seed: int
  folder: pathlib.Path
  state: str = TO_DO
  results: dict | None = None
  reason: str = ""

  @property
  def log(self) -> pathlib.Path:
    """The file of its output; its workdir is for what it writes itself."""
    return self.folder.with_name(f"{self.folder.name}.log")

  @property
  def name(self) -> str:
    """For the screen."""
    return f"{self.cell.name} seed {self.seed}"


def main(argv: list[str] | None = None) -> int:
  """The command `python -m jaxad.sweep`; returns the exit code."""
  failed, workdir = 0, None

  def run(argv):
    nonlocal failed, workdir
    args = _parsed(argv)
    workdir = args.workdir
    failed = _sweep(args)

  try:
    with cli.sigterm_as_interrupt():
      code = cli.guarded(run, argv)
  except KeyboardInterrupt:
    begun = workdir is not None and (workdir / "sweep.json").exists()
    print(
      f"stopped; the same command with --resume --workdir {workdir} goes on."
      if begun
      else "stopped before anything was started.",
      file=sys.stderr,
    )
    return cli.INTERRUPTED
  return code or (SOME_FAILED if failed else 0)


def _parsed(argv):
  parser = cli.parser(
    "sweep",
    "Run a grid of configurations under several seeds, and compare them with"
    "\neach other and with the papers.",
    epilog="""\
example:
  jaxad sweep --config ocgan:mnist,vae:mnist --over data.subset=0..9 --seeds 3

--config.GROUP.FIELD=VALUE sets a field of all runs; jaxad fields NAME lists
them.""",
  )
  parser.add_argument(
    "--config",
    required=True,
    metavar="NAME,...",
    help="the methods, each with its data as in jaxad run",
  )
  parser.add_argument(
    "--over",
    action="append",
    default=[],
    metavar="FIELD=VALUE,...",
    help="a field and its values, 0..9 for ten; may be given several times",
  )
  parser.add_argument(
    "--seeds",
    default="1",
    metavar="N|0,5",
    help="how many seeds, from 0 on, or which (default: 1)",
  )
  parser.add_argument(
    "--jobs",
    type=int,
    metavar="N",
    help="runs at a time (default: one for each accelerator, one on a CPU)",
  )
  parser.add_argument(
    "--workdir",
    type=pathlib.Path,
    metavar="DIR",
    help="folder of the sweep (default: runs/sweep-METHOD-TIME)",
  )
  parser.add_argument(
    "--resume",
    action="store_true",
    help="go on with the sweep in --workdir; what failed is tried again",
  )
  args, rest = parser.parse_known_args(argv)
  args.fields = cli.fields_given(rest)
  args.axes = grid.axes_of(args.config, args.over)
  args.seeds = grid.seed_list(args.seeds)
  args.cells = grid.cells(args.axes, args.fields)
  if args.jobs is not None and args.jobs < 1:
    raise InputError(f"--jobs {args.jobs}: expected a number from 1 on.")
  if args.resume and args.workdir is None:
    raise InputError("--resume needs the --workdir of the sweep to go on with.")
  if args.workdir is None:
    first = args.cells[0].name.partition("_")[0]
    args.workdir = cli.dated_workdir("sweep", first)
  return args


def _sweep(args) -> int:
  """How many runs failed."""
  platform, count = processes.devices()
  if platform != "cpu":  # The devices are for the runs.
    jax.config.update("jax_platforms", "cpu")
  jobs = args.jobs and min(args.jobs, len(args.cells) * len(args.seeds))
  shares = processes.shares(platform, count, jobs)
  configs = _checked(args.cells)
  with _taken(args.workdir, args.resume, _described(args)):
    runs = [
      Run(cell, seed, args.workdir / cell.name / f"seed-{seed}")
      for seed in args.seeds
      for cell in args.cells
    ]
    for run in runs if args.resume else ():
      config = configs[run.cell.name]
      config.seed = run.seed
      _look_at(run, config)
    report = processes.now_and_then(lambda: _report(args, runs))
    try:
      _run(runs, shares, args.workdir, report)
    finally:  # of a sweep that is stopped, too
      _report(args, runs)
  failed = [run for run in runs if run.state == FAILED]
  for run in failed:
    print(f"FAILED {run.name}: {run.reason} ({run.log})", file=sys.stderr)
  print(f"the table is in {args.workdir / 'sweep.html'}")
  return len(failed)


def _checked(cells):
  """{name of a cell: its configuration}; a wrong one is told before any run."""
  configs = {}
  for cell in cells:
    try:
      configs[cell.name] = cell.load()
    except InputError as error:
      if len(cells) == 1:
        raise
      raise InputError(f"{cell.name}: {error}") from error
  return configs


def _described(args):
  """The grid as it is written down: {option: value}."""
  return {
    **{
      "--config" if axis.name == "config" else f"--over {axis.name}": list(
        axis.values
      )
      for axis in args.axes
    },
    **{f"--config.{field}": value for field, value in args.fields},
    "--seeds": args.seeds,
  }


@contextlib.contextmanager
def _taken(workdir, resume, described):
  """The folder, for this process alone, with the grid written down in it.

  Raises:
    InputError: it holds something else, or another process works in it.
  """
  path = workdir / "sweep.json"
  if resume and not path.is_file():
    raise InputError(
      f"--resume: {workdir} holds no sweep (no sweep.json); leave --resume out "
      "to start one."
    )
  if resume:
    try:
      theirs = dict(json.loads(path.read_text()))
    except ValueError as error:
      raise InputError(
        f"{path}: it is damaged; start the sweep in another --workdir."
      ) from error
    where = [f"--{field}" for field in FREE]
    if found := grid.difference(theirs, described, where):
      raise InputError(
        f"--resume: {workdir} is another sweep: {found}; give the same grid, "
        "or another --workdir."
      )
  elif workdir.exists() and any(workdir.iterdir()):
    raise InputError(
      f"--workdir {workdir} is not empty; go on with its sweep with --resume, "
      "or choose another folder."
    )
  workdir.mkdir(parents=True, exist_ok=True)
  lock = filelock.FileLock(workdir / LOCK, timeout=0)
  try:
    lock.acquire()
  except filelock.Timeout as error:
    raise InputError(
      f"--workdir {workdir}: another process is at work in it; wait for its "
      "end, or choose another folder."
    ) from error
  with lock:
    write_json(path, described)
    yield


def _look_at(run, config):
  """What there is of a run, which must be of this configuration."""
  if config_of(run.folder) is None:
    return
  with Workdir(run.folder, config.to_dict(), resume=True) as found:
    run.results = found.results()
  run.state = FINISHED if run.results else STOPPED


def _command(run: Run) -> Sequence[str]:
  """What is given to the system."""
  fields = (*run.cell.fields, ("seed", str(run.seed)))
  return (
    sys.executable,
    "-m",
    "jaxad.run",
    f"--config={run.cell.config}",
    *(f"--config.{field}={value}" for field, value in fields),
    f"--workdir={run.folder}",
    *(["--resume"] if config_of(run.folder) else []),
  )


def _run(runs, shares, workdir, report):
  """Runs what is not finished; the table is written after each."""
  left = [run for run in runs if run.state != FINISHED]
  # What one run compiles the others take, those of a later --resume too.
  compiled = workdir / "compiled"
  environment = {
    "JAX_COMPILATION_CACHE_DIR": str(compiled.resolve()),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
  }
  if "JAX_COMPILATION_CACHE_DIR" in os.environ:  # the user's own
    environment = {}

  def ended(job, code):
    run = job.key
    if code == 0:
      run.results = json.loads((run.folder / "results.json").read_text())
      run.state = FINISHED
    elif code is None:
      run.state = STOPPED
    else:
      run.state, run.reason = FAILED, processes.reason(code, run.log)
    done = sum(run.state in (FINISHED, FAILED) for run in runs)
    print(f"[{done}/{len(runs)}] {run.name}: {_said(run)}", flush=True)
    report()

  jobs = [processes.Job(run, _command(run), run.log) for run in left]
  print(
    f"{len(runs)} runs, {len(left)} of them to do, {len(shares)} at a time",
    flush=True,
  )
  try:
    processes.run_all(jobs, shares, environment, ended)
  finally:
    if all(run.state == FINISHED for run in runs):
      shutil.rmtree(compiled, ignore_errors=True)


def _said(run):
  if run.state != FINISHED:
    return f"{run.state}: {run.reason}" if run.reason else run.state
  found = {
    "image AUROC": run.results.get("image_auroc"),
    "pixel AUROC": run.results.get("pixel_auroc"),
  }
  shown = [f"{name} {v:.4f}" for name, v in found.items() if v is not None]
  return ", ".join(shown) or "finished"


def _report(args, runs):
  """Tables and page of what there is."""
  rows = []
  for cell in args.cells:
    mine = [run for run in runs if run.cell is cell]
    found = [run.results for run in mine if run.results]
    folder = args.workdir / cell.name
    if len(found) == len(mine) and not (folder / "seeds.json").exists():
      summarize(folder, found, args.seeds)
    rows.append(Row(cell.values, len(mine), aggregate(found), cell.paper()))
  names = [axis.name for axis in args.axes]
  finished = [run for run in runs if run.results]
  write_sweep(
    args.workdir,
    args.axes,
    list(_with_means(names, args.cells, rows)),
    [
      {
        **dict(zip(names, run.cell.values, strict=True)),
        "seed": run.seed,
        "state": run.state,
        **{name: (run.results or {}).get(name) for name in FIGURES},
        "folder": run.folder.relative_to(args.workdir).as_posix(),
        "error": run.reason,
      }
      for run in runs
    ],
    {
      "title": f"Sweep of {', '.join(args.axes[0].values)}",
      "command": command(),
      "provenance": finished[0].results["provenance"] if finished else None,
    },
  )


def _with_means(names, cells, rows):
  """After the classes of a method their mean, of the seeds' means over them."""
  if "data.subset" not in names:
    yield from rows
    return
  at = names.index("data.subset")
  groups: dict[tuple, list[int]] = {}
  for k, row in enumerate(rows):
    values = (*row.values[:at], "mean", *row.values[at + 1 :])
    groups.setdefault(values, []).append(k)
  last = {members[-1]: values for values, members in groups.items()}
  for k, row in enumerate(rows):
    yield row
    if k not in last:
      continue
    members = groups[last[k]]
    mine = [rows[m] for m in members]
    if len(mine) > 1 and all(row.n == row.of for row in mine):
      paper = grid.paper_of_all([cells[m] for m in members])
      yield Row(last[k], row.of, aggregate(_over_classes(mine)), paper)


def _over_classes(rows):
  """Of each seed the mean figures over the classes, as of a run."""
  shared = set.intersection(*(set(row.figures) for row in rows))
  return [
    {
      name: sum(row.figures[name]["values"][k] for row in rows) / len(rows)
      for name in shared
    }
    for k in range(rows[0].of)
  ]


if __name__ == "__main__":
  sys.exit(main())
