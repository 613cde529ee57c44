# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The grid of a sweep: lists of values, and a configuration for each cell."""

import functools
import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

from jaxad import checks, config_files
from jaxad.cli import configured
from jaxad.config import first_difference
from jaxad.data.folder import MVTEC_CATEGORIES
from jaxad.data.one_class import SETS
from jaxad.errors import InputError
from jaxad.seeds import parse_seeds

# Those of which `--config NAME:DATASET/SUBSET` is made: a method may have other
# settings for each of them.
PRESET = ("data.name", "data.subset")

# What tells where the data lie and how they are read, not what is learned from
# and tested on: with all else the same a paper's figure can be compared.
READING = frozenset(
  f"data.{field}"
  for field in (
    "root",
    "outlier_root",
    "image_size",
    "channels",
    "fit",
    "levels",
    "mask_threshold",
    "unreadable",
    "holdout",
    "seed",
  )
)


# How many classes a set has.
CLASSES = {
  **{name: len(published.classes) for name, published in SETS.items()},
  "mvtec_ad": len(MVTEC_CATEGORIES),
}


class Axis(NamedTuple):
  """A field, and the texts of the values that it takes in turn.

  Attributes:
    name: "config" for what `--config` takes, else a field, "data.subset".
    values: at least one, all different.
  """

  name: str
  values: tuple[str, ...]


class Cell(NamedTuple):
  """One configuration of the grid.

  Attributes:
    name: of its folder; no other cell has it.
    config: what `--config` takes.
    values: its place on each axis.
    fields: (field, value) pairs that are set besides.
  """

  name: str
  config: str
  values: tuple[str, ...]
  fields: tuple[tuple[str, str], ...]

  def load(self):
    """The configuration, checked as a run checks it before it reads data.

    Raises:
      InputError: a field that does not exist, a value that it may not have, or
        fields that do not fit together.
    """
    config = configured(self.config, self.fields)
    checks.checked_detector(config)
    return config

  def paper(self) -> dict[str, float]:
    """What the paper states; empty where the cell learns from other data."""
    return dict(_paper(self.config, self.fields))


@functools.cache
def _paper(text, fields):
  found = config_files.paper(text)
  if not found:
    return {}
  theirs = config_files.load(text).data.to_dict()
  ours = configured(text, fields).data.to_dict()
  changed = first_difference(theirs, ours, "data", READING)
  return {} if changed else found


def paper_of_all(cells: Sequence[Cell]) -> dict[str, float]:
  """What the paper states as the mean over the classes of a set.

  Args:
    cells: that differ in their class alone.

  Returns:
    The mean of what it states for each of them, or its own where they are all
    classes of the set.
  """
  papers = [cell.paper() for cell in cells]
  means = {
    figure: sum(paper[figure] for paper in papers) / len(papers)
    for figure in papers[0]
    if all(figure in paper for paper in papers)
  }
  name, preset = config_files.split(cells[0].config)
  dataset = preset.partition("/")[0]
  if len(cells) == CLASSES.get(dataset):
    means |= cells[0]._replace(config=f"{name}:{dataset}").paper()
  return means


def parse_axis(text: str) -> Axis:
  """`FIELD=VALUE,...`; `a..b` is all whole numbers from a to b.

  A tuple stands in brackets: `detector.trunk.blocks=(1,1,1,1),(2,2,2,2)`.

  Raises:
    InputError: no such list, or a value twice.
  """
  name, equals, listed = text.partition("=")
  name = name.removeprefix("--").removeprefix("config.")
  # Commas in brackets separate nothing.
  values = re.split(r",(?![^(\[]*[)\]])", listed)
  values = [one for value in values for one in _range(value.strip())]
  if not (name and equals and all(values)):
    raise InputError(
      f"--over {text}: expected FIELD=VALUE,VALUE, such as data.subset=0..9."
    )
  _check_different(f"--over {name}", values)
  if name in ("seed", "method", "config"):
    other = "--seeds" if name == "seed" else "--config NAME,NAME"
    raise InputError(f"--over {name}: give several with {other}.")
  return Axis(name, tuple(values))


def _range(value):
  found = re.fullmatch(r"(-?\d+)\.\.(-?\d+)", value)
  if not found:
    return [value]
  first, last = map(int, found.groups())
  if first > last:
    raise InputError(f"{value}: ends before it begins; give {last}..{first}.")
  return map(str, range(first, last + 1))


def _check_different(where, values):
  twice = [value for value in values if values.count(value) > 1]
  if twice:
    raise InputError(f"{where}: {twice[0]} is there twice; give it once.")


def seed_list(text: str) -> list[int]:
  """ "3" to [0, 1, 2], and "0,5" or "0..4" to the seeds that are named.

  Raises:
    InputError: neither a number from 1 on nor such a list.
  """
  if text.isdecimal():
    if int(text) == 0:
      raise InputError("--seeds 0: expected how many, from 1 on, or a list.")
    return list(range(int(text)))
  return parse_seeds(",".join(",".join(_range(p)) for p in text.split(",")))


def axes_of(configs: str, over: Sequence[str]) -> list[Axis]:
  """The axes of a grid, that of the configurations first.

  Args:
    configs: what `--config` takes, several with commas between them.
    over: what each `--over` takes.

  Raises:
    InputError: a list that is none, or a field or value twice.
  """
  listed = [text.strip() for text in configs.split(",")]
  _check_different("--config", listed)
  axes = [Axis("config", tuple(listed)), *map(parse_axis, over)]
  _check_different("--over", [axis.name for axis in axes])
  return axes


def cells(
  axes: Sequence[Axis], fields: Sequence[tuple[str, str]]
) -> list[Cell]:
  """A cell for each combination of values, the last axis the fastest.

  Args:
    axes: of `axes_of`.
    fields: (field, value) pairs that all cells have.

  Raises:
    InputError: what is given in two places.
  """
  names = {axis.name for axis in axes}
  for field, _ in fields:
    if field in names:
      raise InputError(
        f"--config.{field} and --over {field}: give one of them."
      )
    if field == "seed":
      raise InputError("--config.seed: give --seeds.")
    if field in PRESET and names & {*PRESET}:
      raise InputError(
        f"--config.{field}: give the data as --config NAME:DATASET[/SUBSET]."
      )
  found, taken = [], set()
  for values in itertools.product(*(axis.values for axis in axes)):
    over = dict(zip((axis.name for axis in axes), values, strict=True))
    text = _with_preset(over.pop("config"), over)
    rest = [(name, over[name]) for name in over if name not in PRESET]
    name = _folder(values[0], over)
    while name in taken:
      name += "+"
    taken.add(name)
    found.append(Cell(name, text, values, (*fields, *rest)))
  return found


def _with_preset(text, over):
  """NAME:DATASET/SUBSET, where the data are on an axis."""
  if not over.keys() & {*PRESET}:
    return text
  name, preset = config_files.split(text)
  dataset, _, subset = preset.partition("/")
  for field, given in (("data.name", dataset), ("data.subset", subset)):
    if field in over and given:
      raise InputError(f"--over {field} and --config {text}: give one of them.")
  dataset = (
    over.get("data.name") or dataset or config_files.load(text).data.name
  )
  subset = over.get("data.subset") or subset
  return f"{name}:{dataset}/{subset}" if subset else f"{name}:{dataset}"


def _folder(text, over):
  """Of the values, without what a file name should not hold."""
  name, preset = config_files.split(text)
  stem = re.split(r"[/\\]", name)[-1].removesuffix(".py")
  parts = ["-".join(filter(None, [stem, preset]))]
  for field, value in over.items():
    leaf = field.rpartition(".")[2]
    shared = sum(other.rpartition(".")[2] == leaf for other in over) > 1
    value = value.strip("/")
    parts.append(f"{field if shared else leaf}-{value}")
  # Names of files have an end: a value may be a long path.
  clean = (re.sub(r"[^\w.+-]+", "-", part)[:80].strip("-") for part in parts)
  return "_".join(clean)


def difference(theirs: dict, ours: dict, ignore: Sequence[str]) -> str | None:
  """The first option in which two sweeps differ, or None."""
  ignore = {f"sweep.{name}" for name in ignore}
  found = first_difference(theirs, ours, "sweep", ignore)
  return found and found.removeprefix("sweep.")
