# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The commands that only show what there is: `jaxad methods`, fields, cache."""

import textwrap
from collections.abc import Iterator

import jaxad
from jaxad import cache, fields
from jaxad.cli import parser
from jaxad.methods import described

WIDTH = 80


def methods(arguments: list[str]) -> Iterator[str]:
  """Lines with the name, the title and the paper of every method."""
  parser("methods", "List the methods and their papers.").parse_args(arguments)
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
  of_cache = parser("cache", "Show how large the cache is, or empty it.")
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


LISTS = {"methods": methods, "fields": list_fields, "cache": show_cache}
