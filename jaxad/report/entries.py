# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Reported runs, as they lie in results/: their files, and figures of them."""

import json
import pathlib
import shlex
from typing import NamedTuple

from jaxad import provenance
from jaxad.errors import InputError


class Figure(NamedTuple):
  """A number, and of several runs their mean, sample deviation and count."""

  value: float
  deviation: float | None = None
  n: int = 1


class Entry(NamedTuple):
  """A reported run.

  Attributes:
    id: name of its folder.
    config: its `config.json`.
    results: its `results.json`, of several seeds that of the first.
    seeds: its `seeds.json`, or None.
  """

  id: str
  config: dict
  results: dict
  seeds: dict | None

  @property
  def method(self) -> str:
    return self.config["method"]

  @property
  def data(self) -> str:
    """ "mnist/8"; of a folder or a file of one's own its name."""
    data = self.config["data"]
    if data["name"] in ("folder", "table", "scene") and data["root"]:
      return pathlib.PurePosixPath(data["root"]).stem
    return "/".join(filter(None, (data["name"], data["subset"])))

  @property
  def transcribed(self) -> bool:
    """Whether the folder of the run is gone."""
    return self.results.get("transcribed", False)

  @property
  def commit(self) -> str:
    """The first digits, with the mark of a checkout that was changed."""
    return provenance.short(self.results["provenance"]["commit"])

  @property
  def arguments(self) -> list[str]:
    """Of its command line."""
    return shlex.split(self.results["provenance"]["command"])

  @property
  def is_default(self) -> bool:
    """Whether it is `jaxad run --config METHOD`, of some seeds."""
    rest = [a for a in self.arguments if not a.startswith("--seeds")]
    if self.seeds:  # "--seeds 0,1,2"
      rest = [a for a in rest if not a[:1].isdigit()]
    return rest == ["jaxad", "run", "--config", self.method]

  def figure(self, name: str) -> Figure | None:
    """A figure of `results.json` by its name, None where there is none."""
    if self.seeds and name in self.seeds:
      found = self.seeds[name]
      return Figure(found["mean"], found["std"], found["n"])
    value = self.results.get(name)
    return None if value is None else Figure(value)

  def check(self) -> None:
    """Whether all is there that a page says of it.

    Raises:
      LookupError, TypeError or ValueError: something is not.
    """
    wanted = {"command", "commit"}
    if not self.transcribed:
      wanted |= {"cpu", "date", "device", "versions"}
    if missing := wanted - self.results["provenance"].keys():
      raise LookupError(f"provenance has no {', '.join(sorted(missing))}")
    for name, found in (self.seeds or {}).items():
      if name != "seeds" and not {"mean", "std", "n"} <= found.keys():
        raise LookupError(f"seeds.json: {name} has no mean, std and n")
    data = {"name", "subset", "root", "protocol"}
    if missing := data - self.config["data"].keys():
      raise LookupError(f"config.data has no {', '.join(sorted(missing))}")
    for value in (self.method, self.data, self.results["setting"]):
      if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")


def read(folder: pathlib.Path) -> list[Entry]:
  """The entries of a folder, by their names.

  Raises:
    InputError: one is no entry.
  """
  entries = []
  for path in sorted(folder.glob("*/config.json")):
    files = [path, *(path.with_name(f"{n}.json") for n in ("results", "seeds"))]
    try:
      config, results, seeds = (
        json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
        for file in files
      )
      entry = Entry(path.parent.name, config, results, seeds)
      entry.check()
      entries.append(entry)
    except (ValueError, LookupError, TypeError) as error:
      raise InputError(
        f"results/{path.parent.name}: no entry as python -m jaxad.results "
        f"--add makes it ({type(error).__name__}: {error})."
      ) from error
  return entries
