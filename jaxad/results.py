# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The page docs/results.md, made from the runs that lie in results/.

    python -m jaxad.results --add runs/bottle --id differnet-bottle
    python -m jaxad.results --write
    python -m jaxad.results --check

An entry, results/ID/, has `config.json` and `results.json` of a finished run,
and `seeds.json` where there were several seeds: small files, without the places
where data, weights and the run lay. In `results.json` stand besides `setting`,
"paper" or "reduced", and where they were given `variant`, which tells it from
another run of the method on the same data, and `note`. `transcribed` marks
figures of a run whose folder is gone; they say which commit they are of.
"""

import argparse
import difflib
import json
import os
import pathlib
import re
import shlex
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from jaxad.errors import InputError
from jaxad.report import results_page, tables
from jaxad.report.entries import Entry

CHECKOUT = pathlib.Path(__file__).parents[1]
SETTINGS = ("reduced", "paper")

_ID = re.compile(r"[a-z0-9][a-z0-9_.-]*")
# On Unix and on Windows; "$DATA/mnist" and "km/h" are none.
_ABSOLUTE = re.compile(r"(?:^|[\s'\"=:,])(?:/(?=\w)|~/|[A-Za-z]:\\)")
# Fields that hold a path, and what stands for their folder.
_PATHS = {"root": "DATA", "outlier_root": "DATA", "weights": "WEIGHTS"}
# Other spellings of a command.
_PROGRAMS = {"jaxad": ["jaxad"], "jaxad.run": ["jaxad", "run"]}
_PLAIN = re.compile(r"[\w$./:=,+@%-]+")


def main(argv: list[str] | None = None) -> int:
  """The command `python -m jaxad.results`; returns the exit code."""
  from jaxad import cli

  return cli.guarded(_command, argv)


def _command(argv):
  parser = argparse.ArgumentParser(
    prog="python -m jaxad.results",
    description="Make docs/results.md from the runs in results/.",
    allow_abbrev=False,
  )
  what = parser.add_mutually_exclusive_group(required=True)
  what.add_argument(
    "--add",
    type=pathlib.Path,
    metavar="WORKDIR",
    help="copy the figures of a finished run into results/",
  )
  what.add_argument(
    "--write", action="store_true", help="write docs/results.md"
  )
  what.add_argument(
    "--check",
    action="store_true",
    help="check that docs/results.md is what --write would write",
  )
  parser.add_argument(
    "--id", help="name of the entry (default: METHOD-DATA[-VARIANT])"
  )
  parser.add_argument(
    "--setting",
    choices=SETTINGS,
    help="paper: the paper's setting; reduced: a smaller one (default)",
  )
  parser.add_argument(
    "--variant", help="distinguishes runs of one method on the same data"
  )
  parser.add_argument("--note", help="a line for the reader of results.json")
  args = parser.parse_args(argv)
  of_entry = {
    name: getattr(args, name)
    for name in ("id", "setting", "variant", "note")
    if getattr(args, name) is not None
  }
  if of_entry and args.add is None:
    raise InputError(f"--{next(iter(of_entry))}: it belongs to --add.")
  page = CHECKOUT / "docs" / "results.md"
  if not page.is_file():
    raise InputError(
      f"{page} is missing; use python -m jaxad.results in a checkout of jaxad."
    )
  if args.add is not None:
    print(add(args.add, CHECKOUT / "results", **of_entry))
    return
  text = results_page.page(CHECKOUT / "results")
  if args.write:
    with tables.replacing(page, "w", encoding="utf-8", newline="\n") as file:
      file.write(text)
  elif fault := difference(page.read_text(encoding="utf-8"), text):
    raise InputError(
      f"docs/results.md is not what results/ says: {fault}; make it anew with "
      "python -m jaxad.results --write."
    )


def difference(found: str, expected: str) -> str | None:
  """The first line in which two texts differ, in one line; None without."""
  found, expected = found.splitlines(), expected.splitlines()
  steps = difflib.SequenceMatcher(None, found, expected, autojunk=False)
  for kind, first, last, start, end in steps.get_opcodes():
    if kind == "equal":
      continue
    said = repr(found[first]) if first < last else "missing"
    wanted = repr(expected[start]) if start < end else "nothing"
    return f"line {first + 1} is {said}, expected {wanted}"
  return None


def add(
  workdir: pathlib.Path,
  results: pathlib.Path,
  id: str | None = None,
  setting: str = "reduced",
  variant: str | None = None,
  note: str | None = None,
) -> pathlib.Path:
  """Copies the figures of a finished run, or of its seeds, as an entry.

  Args:
    workdir: folder of the run, or of `--seeds`.
    results: folder of the entries.
    id: of the entry; None is METHOD-DATA[-VARIANT].
    setting: "paper" or "reduced".
    variant: what tells it from other runs of the method on the data.
    note: a line on it.

  Returns:
    The folder of the entry.

  Raises:
    InputError: the run is not finished, there is such an entry, or a path of
      this machine would stand in it.
  """
  files = _files(workdir)
  config = files["config.json"]
  found = Entry("", config, files["results.json"], files.get("seeds.json"))
  name = id or "-".join(
    part.replace("/", "-").replace(" ", "-")
    for part in (found.method, found.data, variant)
    if part
  )
  if not _ID.fullmatch(name):
    raise InputError(
      f"--id {name}: expected small letters, digits, '-', '_' and '.'."
    )
  target = results / name
  if target.exists():
    raise InputError(f"results/{name} is there already; give another --id.")
  said = {"setting": setting, "variant": variant, "note": note}
  files["results.json"] |= {k: v for k, v in said.items() if v is not None}
  places = _places(config)
  files = {file: cleaned(content, places) for file, content in files.items()}
  for file, content in files.items():
    if fault := absolute_path(content, file):
      raise InputError(
        f"--add {workdir}: {fault} is a path of this machine; run it with "
        "data and weights alone given by path, and by a configuration's name."
      )
  with tempfile.TemporaryDirectory(dir=results, prefix=".") as scratch:
    whole = pathlib.Path(scratch) / name
    whole.mkdir()
    for file, content in files.items():
      tables.write_json(whole / file, content)
    whole.rename(target)
  return target


def _files(workdir):
  """{name: content} of a finished run; of seeds, the first has the details."""
  first = workdir
  # A sweep has the log of each beside it.
  seeds = [p for p in workdir.glob("seed-*") if p.name[5:].isdecimal()]
  seeds.sort(key=lambda path: int(path.name[5:]))
  wanted = {"config.json": first, "results.json": first}
  if seeds:
    wanted = {"config.json": seeds[0], "results.json": seeds[0]}
    wanted["seeds.json"] = workdir
  files = {}
  for name, folder in wanted.items():
    try:
      files[name] = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
      raise InputError(
        f"--add {workdir}: it holds no finished run ({folder / name} is "
        "missing); let the run end, or name its folder."
      ) from error
    except ValueError as error:
      raise InputError(
        f"--add {workdir}: {folder / name} is no JSON; name the folder of a "
        "run."
      ) from error
  return files


def _places(config):
  """{path as the run had it: the same below $DATA or $WEIGHTS}."""
  places = {}
  for name, value in config.items():
    if isinstance(value, Mapping):
      places |= _places(value)
    # Weights may be "imagenet" or "random" as well.
    elif (
      name in _PATHS
      and isinstance(value, str)
      and (name != "weights" or pathlib.Path(value).suffix)
    ):
      places[value] = _below(pathlib.Path(value), _PATHS[name])
  return places


def _below(path, variable):
  root = os.environ.get(variable)
  if root and path.absolute().is_relative_to(pathlib.Path(root).absolute()):
    path = path.absolute().relative_to(pathlib.Path(root).absolute())
  elif not path.as_posix().startswith("$"):
    path = pathlib.Path(path.name)
  else:
    return path.as_posix()
  return f"${variable}/{path.as_posix()}"


def cleaned(value: Any, places: Mapping[str, str], field: str = "") -> Any:
  """The same without places of this machine.

  Args:
    value: as from JSON.
    places: {path: what stands for it}.
    field: its name, "command" for a command line.
  """
  if isinstance(value, dict):
    return {k: cleaned(v, places, k) for k, v in value.items()}
  if isinstance(value, list):
    return [cleaned(v, places) for v in value]
  if not isinstance(value, str):
    return value
  return (
    _cleaned_command(value, places)
    if field == "command"
    else (places.get(value, value))
  )


def _cleaned_command(command, places):
  """`jaxad run ...`, without the folder of the run, to be pasted."""
  tokens = shlex.split(command)
  for module, program in _PROGRAMS.items():
    if tokens[:3] == ["python", "-m", module]:
      tokens[:3] = program
  kept, rest = [], iter(tokens)
  for token in rest:
    name, equals, value = token.partition("=")
    if name == "--workdir":
      if not equals:
        next(rest, None)
      continue
    if token == "--resume":
      continue
    if equals and value in places:
      token = f"{name}={places[value]}"
    kept.append(places.get(token, token))
  # What stands for a folder is not quoted: the shell fills it in.
  return " ".join(
    token if _PLAIN.fullmatch(token) else shlex.quote(token) for token in kept
  )


def absolute_path(value: Any, where: str) -> str | None:
  """The first text with an absolute path, as "where: text"; None without."""
  if isinstance(value, dict):
    value = [(f"{where}: {k}", v) for k, v in value.items()]
  elif isinstance(value, list):
    value = [(where, v) for v in value]
  elif isinstance(value, str) and _ABSOLUTE.search(value):
    return f"{where} ({value})"
  else:
    return None
  found = (absolute_path(v, name) for name, v in value)
  return next(filter(None, found), None)


if __name__ == "__main__":
  sys.exit(main())
