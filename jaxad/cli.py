# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The command `jaxad`, also `python -m jaxad`.

jaxad run --config differnet:folder --config.data.root=DIR
jaxad methods
jaxad fields differnet
"""

import argparse
import inspect
import sys
import textwrap
from collections.abc import Iterator

import jaxad
from jaxad import fields
from jaxad.errors import InputError

WIDTH = 80
USAGE_ERROR = 2


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
    choices=("run", "methods", "fields"),
    help="run: train, evaluate and report one configuration; methods: list the "
    "methods; fields METHOD: list all that can be set",
  )
  parser.add_argument(
    "arguments", nargs=argparse.REMAINDER, help="of the command"
  )
  args = parser.parse_args(argv)
  if args.command == "run":
    # Only a run needs all that it imports.
    from jaxad import run

    return run.main(args.arguments)
  try:
    lines = _LISTS[args.command](args.arguments)
    print("\n".join(lines))
  except InputError as error:
    print(f"error: {error}", file=sys.stderr)
    return USAGE_ERROR
  return 0


def version() -> str:
  """What --version prints."""
  return f"jaxad {jaxad.__version__}"


def methods(arguments: list[str]) -> Iterator[str]:
  """Lines with the name, the title and the paper of every method."""
  if arguments:
    raise InputError(f"jaxad methods: takes no arguments, got {arguments[0]}.")
  for name, factory in jaxad.METHODS.items():
    # A variant of another method says itself what it is.
    variant = hasattr(factory, "func")
    text = inspect.getdoc(factory if variant else inspect.getmodule(factory))
    title, paper, *_ = text.split("\n\n")
    yield from (name, _indented(title), _indented(paper))


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


_LISTS = {"methods": methods, "fields": list_fields}
