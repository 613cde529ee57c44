# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The command `jaxad`, also `python -m jaxad`.

    jaxad run --config differnet:folder --config.data.root=DIR
    jaxad sweep --config ocgan:mnist --over data.subset=0..9 --seeds 3
    jaxad predict --run DIR --images PATH
    jaxad fields differnet:folder

A command is a module of its own, or one of `jaxad.listings`, which only show
what there is.
"""

import argparse
import contextlib
import datetime
import errno
import importlib
import os
import pathlib
import signal
import sys
import threading
from collections.abc import Callable, Sequence

import jaxad
from jaxad.errors import INTERRUPTED, USAGE_ERROR, InputError


class Parser(argparse.ArgumentParser):
  """One that says in one line what is wrong with the arguments."""

  def error(self, message: str):
    """Raises an `InputError`."""
    raise InputError(f"{message}; see {self.prog} --help.")


def parser(command: str, description: str, **keywords) -> Parser:
  """Of `jaxad COMMAND`; line breaks of an epilog are kept."""
  return Parser(
    prog=f"jaxad {command}".strip(),
    description=description,
    allow_abbrev=False,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    **keywords,
  )


@contextlib.contextmanager
def _no_interrupt_lost():
  """One that comes in a callback of the garbage collector, as JAX has, too.

  Python drops what is raised there, so it is raised again.
  """
  before = sys.unraisablehook

  def again(dropped):
    if not issubclass(dropped.exc_type, KeyboardInterrupt):
      return before(dropped)
    threading.Timer(0.1, signal.raise_signal, (signal.SIGINT,)).start()

  sys.unraisablehook = again
  try:
    yield
  finally:
    sys.unraisablehook = before


@_no_interrupt_lost()
def main(argv: list[str] | None = None) -> int:
  """Runs the command line; returns the exit code."""
  width = max(map(len, _COMMANDS))
  commands = "".join(f"  {k:<{width}}  {v}\n" for k, v in _COMMANDS.items())
  of_all = parser(
    "",
    "Deep anomaly detection in JAX.",
    usage="jaxad [--help] [--version] COMMAND ...",
    epilog=f"commands:\n{commands}\njaxad COMMAND --help says more of each.",
  )
  of_all.add_argument("--version", action="version", version=version())
  of_all.add_argument(
    "command", nargs="?", choices=_COMMANDS, help=argparse.SUPPRESS
  )
  of_all.add_argument(
    "arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS
  )
  try:
    args = of_all.parse_args(argv)
    if args.command is None:
      of_all.error("name a command")
    if args.command in _LISTS:
      from jaxad.listings import LISTS

      return _show("\n".join(LISTS[args.command](args.arguments)))
    if args.command == "run":
      return run(args.arguments)
    module = importlib.import_module(f"jaxad.{args.command}")
    return module.main(args.arguments)
  except InputError as error:
    return _fail(error)
  except KeyboardInterrupt:  # of an import, or a command that keeps no state
    print("stopped; start again.", file=sys.stderr)
    return INTERRUPTED


def _show(text):
  try:
    print(text, flush=True)
  except OSError as error:
    # What is left goes nowhere when Python ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):  # of `| head`, which has enough
      return 0
    return _fail(_disk_trouble(error))
  return 0


def version() -> str:
  """What --version prints."""
  return f"jaxad {jaxad.__version__}"


@_no_interrupt_lost()
def run(argv: list[str] | None = None) -> int:
  """`jaxad run`: trains, evaluates and reports one configuration."""
  try:
    from jaxad import hosts

    return hosts.leave(lambda: _run(argv))
  except KeyboardInterrupt:  # while libraries are imported
    print(_stopped(None), file=sys.stderr)
    return INTERRUPTED


def _run(argv):
  from absl import logging

  from jaxad import callbacks, hosts, workdir
  from jaxad import run as runs

  # Orbax tells at length how long a save took, and why one failed.
  logging.set_verbosity(logging.FATAL)
  folder = None

  def command(argv):
    nonlocal folder
    with sigterm_as_interrupt():
      if _arguments_of_run(argv)[0].distributed:
        hosts.join()
      with hosts.together(callbacks.Interrupted):
        config, folder, resume, seeds = parse(argv)
        workdir.check_same_command(config.to_dict(), resume=resume, seeds=seeds)
        folder = pathlib.Path(hosts.of_first(lambda: str(folder)))
        if seeds:
          runs.run_seeds(config, seeds, folder, resume)
        else:
          runs.run(config, folder, resume)

  try:
    return guarded(command, argv, RUN_OUT_OF_MEMORY)
  except (callbacks.Interrupted, KeyboardInterrupt):
    print(_stopped(folder), file=sys.stderr)
    return INTERRUPTED


OUT_OF_MEMORY = "not enough memory; lower --batch-size, where there is one."
RUN_OUT_OF_MEMORY = (
  "not enough memory; lower config.train.batch_size, config.eval.batch_size, "
  "config.data.image_size or the sizes in config.detector."
)


def guarded(
  command: Callable, argv: list[str] | None, out_of_memory: str = OUT_OF_MEMORY
) -> int:
  """Runs a command; what may be wrong outside of it becomes one line.

  Args:
    command: takes the arguments; raises `InputError`, or what the system does.
    argv: its arguments.
    out_of_memory: what to do where there is not enough.

  Returns:
    The exit code: 0, or 2 after an error.
  """
  import jax

  from jaxad import runtime

  runtime.prepare()
  try:
    command(argv)
  except InputError as error:
    return _fail(error)
  except OSError as error:
    return _fail(_disk_trouble(error))
  except (MemoryError, jax.errors.JaxRuntimeError) as error:
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
      return _fail(out_of_memory)
    raise
  return 0


def parser_of_run(command: str, description: str) -> Parser:
  """Of a command that works on a finished run."""
  found = parser(command, description)
  found.add_argument(
    "--run",
    required=True,
    type=pathlib.Path,
    metavar="DIR",
    help="folder of a finished run",
  )
  return found


def _fail(message):
  print(f"error: {message}", file=sys.stderr)
  return USAGE_ERROR


def _disk_trouble(error):
  if error.errno == errno.ENOSPC:
    where = "" if error.filename is None else f" ({error.filename})"
    return f"the disk is full{where}; free some space."
  if error.filename is None:  # not of a file
    return f"{error}."
  return f"{error.filename}: {error.strerror}; mend it, or name another file."


def _stopped(workdir):
  """Nothing can be resumed before a run is written down."""
  found = workdir is not None and [
    *workdir.glob("config.json"),
    *workdir.glob("seed-*/config.json"),
  ]
  if found:
    return f"stopped; continue with --resume --workdir {workdir}"
  return "stopped before anything was written; start again."


@contextlib.contextmanager
def sigterm_as_interrupt():
  """SIGTERM ends a run as Ctrl-C does."""

  def interrupt(*_):
    raise KeyboardInterrupt

  try:
    before = signal.signal(signal.SIGTERM, interrupt)
  except ValueError:  # only the main thread may set handlers
    yield
    return
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, before)


def _arguments_of_run(argv):
  """(what `jaxad run` takes, the fields)."""
  of_run = parser(
    "run",
    "Train, evaluate and report one configuration.",
    usage="""\
jaxad run --config NAME[:DATASET[/SUBSET]] [--workdir DIR] [--resume]
                 [--seeds 0,1,2] [--distributed]
                 [--config.GROUP.FIELD=VALUE ...]""",
    epilog="""\
examples:
  jaxad run --config differnet:folder --config.data.root=DIR
  jaxad run --config vae:mnist/8 --config.data.root=DIR --config.train.epochs=3

jaxad methods lists the methods, and jaxad fields NAME what can be set.""",
  )
  of_run.add_argument("--version", action="version", version=version())
  of_run.add_argument(
    "--config",
    required=True,
    metavar="NAME",
    help="a method, or a file such as configs/differnet.py; and the data",
  )
  of_run.add_argument(
    "--workdir",
    type=pathlib.Path,
    metavar="DIR",
    help="folder of the run (default: runs/METHOD-DATASET-TIME)",
  )
  of_run.add_argument(
    "--resume",
    action="store_true",
    help="go on with the run in --workdir",
  )
  of_run.add_argument(
    "--seeds",
    metavar="0,1,2",
    help="a run for each seed, and the mean of their figures",
  )
  of_run.add_argument(
    "--distributed",
    action="store_true",
    help="one of several processes for this run, see docs/many_machines.md",
  )
  return of_run.parse_known_args(argv)


def parse(argv):
  """Command line to (config, workdir, resume, seeds or None)."""
  args, rest = _arguments_of_run(argv)
  from jaxad.seeds import parse_seeds

  config = configured(args.config, fields_given(rest))
  if args.resume and args.workdir is None:
    raise InputError("--resume needs the --workdir of the run to continue.")
  seeds = parse_seeds(args.seeds) if args.seeds is not None else None
  return config, args.workdir or _default_workdir(config), args.resume, seeds


def fields_given(arguments: list[str]) -> list[tuple[str, str]]:
  """`--config.GROUP.FIELD=VALUE` and `--config.GROUP.FIELD VALUE`, as pairs.

  Raises:
    InputError: an argument is neither.
  """
  given = []
  rest = iter(arguments)
  for token in rest:
    name, equals, value = token.partition("=")
    if not name.startswith("--config."):
      raise InputError(f"{token}: no such option; see --help.")
    if not equals:
      value = next(rest, None)
      if value is None:
        raise InputError(f"{name}: needs a value, {name}=VALUE.")
    given.append((name.removeprefix("--config."), value))
  return given


def configured(text: str, given: Sequence[tuple[str, str]]):
  """The configuration of `--config TEXT` with fields set.

  Raises:
    InputError: as `config_files.load` and `config.override`.
  """
  from jaxad import config as configs
  from jaxad import config_files

  config = config_files.load(text)
  # A rule takes away the number of another, and one's own comes after it.
  for name, value in sorted(given, key=lambda it: it[0] != "eval.threshold"):
    configs.override(config, name, value)
  return config


def dated_workdir(*parts: str | None) -> pathlib.Path:
  """`runs/PART-...-TIME`, where no other folder was named."""
  stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
  return pathlib.Path("runs") / "-".join([*filter(None, parts), stamp])


def _default_workdir(config):
  return dated_workdir(config.method, config.data.name, config.data.subset)


_COMMANDS = {
  "run": "train, evaluate and report one configuration",
  "sweep": "run a grid of configurations and seeds, and compare them",
  "predict": "score new images, rows or scenes with a finished run",
  "threshold": "show the threshold of a finished run, or set another",
  "export": "write a finished run as one file for another machine",
  "methods": "list the methods and their papers",
  "fields": "list what can be set, with its value and meaning",
  "cache": "show how large the cache is, or empty it",
}
_LISTS = ("methods", "fields", "cache")
