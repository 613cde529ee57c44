# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The command `jaxad`, also `python -m jaxad`.

    jaxad run --config differnet:folder --config.data.root=DIR
    jaxad sweep --config ocgan:mnist --over data.subset=0..9 --seeds 3
    jaxad predict --run DIR --images PATH
    jaxad fields differnet:folder

A command is a module of its own, or one of the lists at the end of this file,
which only read what can be set.
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
      print("\n".join(_LISTS[args.command](args.arguments)))
      return 0
  except InputError as error:
    return _fail(error)
  if args.command == "run":
    return run(args.arguments)
  module = importlib.import_module(f"jaxad.{args.command}")
  return module.main(args.arguments)


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


def parse(argv):
  """Command line to (config, workdir, resume, seeds or None)."""
  of_run = parser(
    "run",
    "Train, evaluate and report one configuration.",
    usage="""\
jaxad run --config NAME[:DATASET[/SUBSET]] [--workdir DIR] [--resume]
                 [--seeds 0,1,2] [--config.GROUP.FIELD=VALUE ...]""",
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
  args, rest = of_run.parse_known_args(argv)
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
  parser("methods", _COMMANDS["methods"].capitalize() + ".").parse_args(
    arguments
  )
  for name in jaxad.METHODS:
    yield from (name, *map(_indented, described(name)))


def list_fields(arguments: list[str]) -> Iterator[str]:
  """Lines with every field of a configuration and its value, by groups."""
  of_fields = parser(
    "fields",
    "List every field of a run: its value where no option sets another, what it"
    "\nmeans and what it may be, and its default where that is another value.",
    epilog="Set one by jaxad run --config NAME --config.GROUP.FIELD=VALUE.",
  )
  of_fields.add_argument(
    "config",
    metavar="NAME[:DATASET[/SUBSET]]",
    help="as jaxad run --config takes it",
  )
  text = of_fields.parse_args(arguments).config
  # Reads the signatures of the data sets as well.
  from jaxad import config, config_files

  found = config_files.load(text)
  yield from _listed(config.schema(found.method), found, "config")


def show_cache(arguments: list[str]) -> Iterator[str]:
  """Lines with the size of each part of the cache; --clear PART empties it."""
  from jaxad import cache

  of_cache = parser("cache", _COMMANDS["cache"].capitalize() + ".")
  of_cache.add_argument(
    "--clear", choices=(*cache.PARTS, "all"), help="the part to empty"
  )
  part = of_cache.parse_args(arguments).clear
  for one in cache.PARTS if part == "all" else (part,):
    if one is not None:
      cache.clear(one)
  yield str(cache.cache_dir())
  for part, size in cache.sizes().items():
    yield f"{size / 1e6:12,.1f} MB  {part}"


def _listed(known, values, where):
  """The fields of a group first, then its groups."""
  groups = {k: field for k, field in known.items() if isinstance(field, dict)}
  for name, field in known.items():
    if name not in groups:
      yield f"{where}.{name} = {_shown(values[name])}"
      meaning = field.meaning[:1].upper() + field.meaning[1:]
      about = fields.expectation(field.kind)
      if values[name] != field.default:
        about += f"; by default {_shown(field.default)}"
      yield _indented(f"{meaning} ({about})")
  for name, group in groups.items():
    yield ""
    yield from _listed(group, values[name], f"{where}.{name}")


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
_LISTS = {"methods": methods, "fields": list_fields, "cache": show_cache}
