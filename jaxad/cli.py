# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The command `jaxad`, also `python -m jaxad`.

    jaxad run --config differnet:folder --config.data.root=DIR
    jaxad sweep --config ocgan:mnist --over data.subset=0..9 --seeds 3
    jaxad export --run DIR --output FILE
    jaxad threshold --run DIR
    jaxad methods
    jaxad fields differnet

Each but the last two is a module of its own; those only read what can be set.
"""

import argparse
import contextlib
import datetime
import errno
import importlib
import pathlib
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence

import jaxad
from jaxad import fields
from jaxad.errors import InputError
from jaxad.methods import described

WIDTH = 80
USAGE_ERROR, INTERRUPTED = 2, 130


def main(argv: list[str] | None = None) -> int:
  """Runs the command line; returns the exit code."""
  parser = argparse.ArgumentParser(
    prog="jaxad",
    description="Deep anomaly detection in JAX.",
    epilog="jaxad run --help says more of a run.",
    allow_abbrev=False,
  )
  parser.add_argument("--version", action="version", version=version())
  parser.add_argument(
    "command",
    choices=("run", *_MODULES, *_LISTS),
    help="run: train, evaluate and report one configuration; export: write a "
    "trained run as one file; predict: score new images; sweep: run a grid of "
    "configurations; threshold: show or set the threshold of a run; methods: "
    "list the methods; fields METHOD: list all that can be set; cache: show or "
    "clear the cache",
  )
  parser.add_argument(
    "arguments", nargs=argparse.REMAINDER, help="of the command"
  )
  args = parser.parse_args(argv)
  if args.command == "run":
    return run(args.arguments)
  if args.command in _MODULES:
    module = importlib.import_module(f"jaxad.{args.command}")
    return module.main(args.arguments)
  try:
    lines = _LISTS[args.command](args.arguments)
    print("\n".join(lines))
  except InputError as error:
    return _fail(error)
  return 0


def version() -> str:
  """What --version prints."""
  return f"jaxad {jaxad.__version__}"


def run(argv: list[str] | None = None) -> int:
  """`jaxad run`: trains, evaluates and reports one configuration."""
  try:
    return _run(argv)
  except KeyboardInterrupt:  # while libraries are imported
    print(_stopped(None), file=sys.stderr)
    return INTERRUPTED


def _run(argv):
  from absl import logging

  from jaxad import callbacks
  from jaxad import run as runs

  # Orbax tells at length how long a save took, and why one failed.
  logging.set_verbosity(logging.FATAL)
  workdir = None

  def command(argv):
    nonlocal workdir
    with sigterm_as_interrupt():
      config, workdir, resume, seeds = parse(argv)
      if seeds:
        runs.run_seeds(config, seeds, workdir, resume)
      else:
        runs.run(config, workdir, resume)

  try:
    return guarded(command, argv, RUN_OUT_OF_MEMORY)
  except (callbacks.Interrupted, KeyboardInterrupt):
    print(_stopped(workdir), file=sys.stderr)
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


def parser_of_run(command: str, description: str) -> argparse.ArgumentParser:
  """Of a command that works on a finished run."""
  parser = argparse.ArgumentParser(
    prog=f"jaxad {command}", description=description, allow_abbrev=False
  )
  parser.add_argument(
    "--run",
    required=True,
    type=pathlib.Path,
    metavar="DIR",
    help="folder of a finished run",
  )
  return parser


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


def parse(argv):
  """Command line to (config, workdir, resume, seeds or None)."""
  parser = argparse.ArgumentParser(
    prog="python -m jaxad.run",
    description="Train, evaluate and report one configuration.",
    epilog="Any field is set by --config.GROUP.FIELD=VALUE, for example "
    "--config.train.epochs=3 --config.detector.weights=alexnet.pth; jaxad "
    "fields METHOD lists them.",
    allow_abbrev=False,
  )
  parser.add_argument("--version", action="version", version=version())
  parser.add_argument(
    "--config",
    required=True,
    metavar="NAME[:DATASET[/SUBSET]]",
    help="a method's name or a file as in configs/, and the data to run it on",
  )
  parser.add_argument(
    "--workdir",
    type=pathlib.Path,
    help="folder of the run (default: runs/METHOD-DATASET-TIME)",
  )
  parser.add_argument(
    "--resume",
    action="store_true",
    help="continue the run in --workdir from its last checkpoint",
  )
  parser.add_argument(
    "--seeds",
    metavar="0,1,2",
    help="one run for each of these seeds, and the mean of their figures",
  )
  args, rest = parser.parse_known_args(argv)
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


def methods(arguments: list[str]) -> Iterator[str]:
  """Lines with the name, the title and the paper of every method."""
  if arguments:
    raise InputError(f"jaxad methods: takes no arguments, got {arguments[0]}.")
  for name in jaxad.METHODS:
    yield from (name, *map(_indented, described(name)))


def list_fields(arguments: list[str]) -> Iterator[str]:
  """Lines with every field of a method's configuration, by groups."""
  # Reads the signatures of the data sets as well.
  from jaxad import config

  if len(arguments) != 1:
    raise InputError("jaxad fields METHOD: name one method, see jaxad methods.")
  (method,) = arguments
  if method not in jaxad.METHODS:
    raise InputError(
      f"jaxad fields {method}: no such method; there are "
      f"{', '.join(jaxad.METHODS)}."
    )
  yield from _listed(config.schema(method), "config")


def show_cache(arguments: list[str]) -> Iterator[str]:
  """Lines with the size of each part of the cache; --clear PART empties it."""
  from jaxad import cache

  expected = f"expected nothing, or --clear and one of {', '.join(cache.PARTS)}"
  if arguments:
    if len(arguments) != 2 or arguments[0] != "--clear":
      raise InputError(f"jaxad cache {' '.join(arguments)}: {expected}.")
    if arguments[1] not in (*cache.PARTS, "all"):
      raise InputError(f"--clear {arguments[1]}: {expected}, or all.")
    parts = cache.PARTS if arguments[1] == "all" else (arguments[1],)
    for part in parts:
      cache.clear(part)
  yield str(cache.cache_dir())
  for part, size in cache.sizes().items():
    yield f"{size / 1e6:12,.1f} MB  {part}"


def _listed(known, where):
  """The fields of a group first, then its groups."""
  groups = {k: field for k, field in known.items() if isinstance(field, dict)}
  for name, field in known.items():
    if name not in groups:
      yield f"{where}.{name} = {_shown(field.default)}"
      meaning = field.meaning[:1].upper() + field.meaning[1:]
      yield _indented(f"{meaning} ({fields.expectation(field.kind)})")
  for name, group in groups.items():
    yield ""
    yield from _listed(group, f"{where}.{name}")


def _indented(text):
  return textwrap.fill(
    " ".join(text.split()),
    WIDTH,
    initial_indent="    ",
    subsequent_indent="    ",
    break_on_hyphens=False,
  )


def _shown(value):
  """As it is written on the command line."""
  if isinstance(value, tuple):
    return ",".join(map(str, value))
  return str(value)


_MODULES = ("predict", "export", "sweep", "threshold")
_LISTS = {"methods": methods, "fields": list_fields, "cache": show_cache}
