# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The pages say what is so, and can be followed to the letter.

How a block of a page is fenced says what becomes of it:

    ```bash      run, in the order of the page, by `bash -euo pipefail`
    ```python    run, all of a page in one process; with title="FILE" behind the
                 language it is written into that file instead
    ```sh        parsed alone: it wants a GPU, a published data set or hours

So is a command, or a whole block of Python, that names /path/to/... or $DATA.
Commands are looked for in all blocks. A page is followed in a folder that has
what `readers_home` puts there; one that uses runs/parts without making it
begins where docs/first_hour.md has trained.
"""

import argparse
import csv
import functools
import html
import importlib
import json
import os
import pathlib
import re
import shlex
import shutil
import string
import subprocess
import typing
import venv

import numpy as np
import pytest
import readers_home
from PIL import Image

import jaxad
from jaxad import cli, fields, listings
from jaxad import config as configs

ROOT = pathlib.Path(jaxad.__file__).parents[1]
PAGES = sorted(
  str(path.relative_to(ROOT))
  for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
  # What was, is not mended.
  if path.name != "CHANGELOG.md"
)

_BLOCK = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```$", re.M | re.S)
# What is indented by four behind an empty line and is no item of a list.
_INDENTED = re.compile(r"(?<=\n\n)(?:    [^\n]*\n|\n(?=    ))+")


class Block(typing.NamedTuple):
  """A block of code: what stands behind its fence, and its text."""

  info: str
  text: str

  @property
  def language(self):
    return self.info.partition(" ")[0]

  @property
  def title(self):
    found = re.search(r'title="(.+?)"', self.info)
    return found and found[1]


@functools.cache
def text_of(page):
  return (ROOT / page).read_text()


@functools.cache
def fenced(page):
  return [Block(info, text) for _, info, text in _BLOCK.findall(text_of(page))]


def blocks(page):
  rest = _BLOCK.sub("", text_of(page))
  return [*fenced(page), *(Block("", t) for t in _INDENTED.findall(rest))]


def prose(page):
  """The page without its blocks."""
  return _INDENTED.sub("\n", _BLOCK.sub("", text_of(page)))


# Commands.


def logical_lines(text):
  """Lines, those that end with a backslash or within quotes with the next."""
  line = ""
  for part in text.splitlines(keepends=True):
    line += part
    if not line.endswith("\\\n") and line.count('"') % 2 == 0:
      yield line
      line = ""
  if line:
    yield line


def commands(block):
  """The words of each command of ours in a block, variables filled in.

  Of the values in a loop the first is taken.
  """
  known = {"DATA": "data", "WEIGHTS": "weights"}
  filled = lambda text: string.Template(text).safe_substitute(known)
  for line in logical_lines(block.text):
    line = line.replace("\\\n", " ").replace("\n", " ").strip()
    loop = re.fullmatch(r"for (\w+) in (\S+).*; do", line)
    if loop:
      known[loop[1]] = filled(loop[2])
      continue
    for part in re.split(r"\s(?:&&|\||&)(?:\s|$)", line):
      try:
        words = shlex.split(filled(part), comments=True)
      except ValueError:  # no command
        continue
      while words and re.match(r"[A-Z_]+=", words[0]):
        name, _, value = words.pop(0).partition("=")
        known[name] = value
      if words[:1] == ["srun"]:
        words = words[words.index("jaxad") :]
      if words[:2] == ["python", "-m"] and words[2].startswith("jaxad"):
        yield ["jaxad", *words[2].split(".")[1:], *words[3:]]
      elif len(words) > 1 and words[0] in ("jaxad", "python"):
        yield words


class Parsed(Exception):
  """Raised where a command has read its arguments and would begin."""


@pytest.fixture
def parse(monkeypatch):
  """Has a command read its arguments; what it refuses raises."""

  def stop(*_):
    raise Parsed

  def read(command, words):
    if command == "run":
      cli.parse(words)
      return
    if command in ("methods", "fields", "cache"):
      assert list(listings.LISTS[command](words))
      return
    with monkeypatch.context() as patch, pytest.raises(Parsed):
      if command == "sweep":
        # It reads fields of configurations as well.
        patch.setattr("jaxad.sweep._sweep", stop)
      else:
        patch.setattr(argparse.ArgumentParser, "error", _refused)
        parse_args = argparse.ArgumentParser.parse_args

        def then_stop(*args):
          parse_args(*args)
          stop()

        patch.setattr(argparse.ArgumentParser, "parse_args", then_stop)
      module = command if "." in command else f"jaxad.{command}"
      assert not importlib.import_module(module).main(words)

  return read


def _refused(parser, message):
  raise AssertionError(f"{parser.prog}: {message}")


@pytest.mark.parametrize("page", PAGES)
def test_every_command_parses(page, parse, tmp_path, monkeypatch):
  monkeypatch.setenv("JAXAD_CACHE", str(tmp_path))
  monkeypatch.chdir(ROOT)
  for block in blocks(page):
    if block.language == "python":
      compile(block.text, page, "exec")
      continue
    for program, *words in commands(block):
      if program == "jaxad":
        parse(words[0], words[1:])
      elif words[0] == "-m" and words[1].startswith("benchmarks."):
        monkeypatch.syspath_prepend(str(ROOT))
        parse(words[1], words[2:])
      elif words[0].endswith(".py"):
        assert (ROOT / words[0]).is_file(), words


# Names.


@functools.cache
def every_field():
  """{"detector.trunk.name": its types in the methods that have it}."""
  found = {}

  def collect(known, where):
    for name, field in known.items():
      full = f"{where}{name}"
      found.setdefault(full, [])
      if isinstance(field, dict):
        collect(field, f"{full}.")
      else:
        found[full].append(field.kind)

  for method in jaxad.METHODS:
    collect(configs.schema(method), "")
  return found


@pytest.mark.parametrize("page", PAGES)
def test_every_field_that_is_named_exists(page):
  named = re.findall(
    r"\bconfig\.((?:data|train|eval|detector)\.\w[\w.]*\w|seed\b)"
    r"(?:=([^\s`\"']+))?",
    prose(page),
  )
  for name, value in named:
    assert name in every_field(), name
    if value:
      value = value.rstrip(".,;:)")
      assert any(_takes(name, value, kind) for kind in every_field()[name]), (
        f"{name}={value}"
      )


def _takes(name, value, kind):
  try:
    fields.check(name, fields.parse(value, kind), kind)
  except jaxad.InputError:
    # As K in train.cached_views=K.
    return value.isupper()
  return True


@pytest.mark.parametrize("page", PAGES)
def test_every_file_of_ours_that_is_named_exists(page):
  folders = "jaxad|tests|configs|docs|benchmarks|results"
  named = re.findall(rf"`((?:{folders})/[\w./-]+\.\w+)`", prose(page))
  for name in named:
    # Of a method that the reader adds.
    if re.search("NAME|linear_autoencoder", name):
      continue
    assert (ROOT / name).is_file(), name


def slug(heading):
  """The anchor of a heading, as GitHub makes it."""
  shown = re.sub(r"\[([^]]*)\]\([^)]*\)|[`*]", r"\1", heading)
  kept = re.sub(r"[^\w\- ]", "", html.unescape(shown).strip().lower())
  return kept.replace(" ", "-")


def anchors(page):
  """Of the headings, numbered where they are alike."""
  text, seen = _BLOCK.sub("", text_of(page)), {}
  for heading in re.findall(r"^#+ (.+)$", text, re.M):
    name = slug(heading)
    n = seen[name] = seen.get(name, -1) + 1
    yield f"{name}-{n}" if n else name


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_every_link_leads_somewhere(page):
  for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
    if re.match(r"\w+:", target):
      continue
    path, _, anchor = target.partition("#")
    file = (ROOT / page).parent / path if path else ROOT / page
    assert file.resolve().is_relative_to(ROOT) and file.exists(), target
    if anchor:
      other = str(file.resolve().relative_to(ROOT))
      assert anchor in anchors(other), target


def test_every_page_is_in_the_table_of_contents():
  linked = re.findall(r"\]\(([^)#\s]+)", prose("docs/index.md"))
  listed = {str((ROOT / "docs" / path).resolve()) for path in linked}
  for page in PAGES:
    if page.startswith("docs/") and pathlib.Path(page).parts[1] not in (
      "index.md",
      "experiments",
      "methods",
    ):
      assert str(ROOT / page) in listed, page


def test_every_public_name_is_on_the_page_of_the_api():
  page = text_of("docs/api.md")
  named = set(re.findall(r"^::: (.+)$|heading: ([\w.]+)", page, re.M))
  named = {name for pair in named for name in pair}
  assert {f"jaxad.{name}" for name in jaxad.__all__} <= named


# To the letter.

# The other pages of the root are for those who work on the repository.
READ = [page for page in PAGES if page.startswith(("README", "docs/"))]

# What CI runs, with which the README opens.
BY_CI = {"README.md": 2}

FOLLOWER = """
import json, pathlib, subprocess, sys

names = {"__name__": "__main__"}
sys.path.insert(0, "")
for language, title, text in json.load(open(sys.argv[1])):
  if title:
    path = pathlib.Path(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
  elif language == "bash":
    subprocess.run(["bash", "-euo", "pipefail", "-c", text], check=True)
  else:
    exec(compile(text, "block", "exec"), names)
"""


def followed(page):
  """The blocks of a page that are run, in order."""
  wanting = re.compile(r"/path/to/|\$DATA")
  kept = [b for b in fenced(page) if b.language in ("bash", "python")]
  todo = []
  for block in kept[BY_CI.get(page, 0) :]:
    parts = [block.text]
    if block.language == "bash":
      parts = logical_lines(block.text)
    text = "".join(part for part in parts if not wanting.search(part))
    if text.strip():
      todo.append(block._replace(text=text))
  return todo


@pytest.fixture(scope="session")
def place(tmp_path_factory):
  """A fresh virtual environment with this checkout installed, and a cache."""
  folder = tmp_path_factory.mktemp("place")
  venv.create(folder / "venv", with_pip=True)
  pip = [folder / "venv/bin/python", "-m", "pip", "install", "--quiet"]
  subprocess.run([*pip, "--no-compile", ROOT], check=True)
  return folder


@pytest.fixture(scope="session")
def furnished(place):
  home = place / "home"
  home.mkdir()
  readers_home.furnish(home)
  return home


@pytest.fixture(scope="session")
def trained(place, furnished):
  """A home where the first block of docs/first_hour.md has been run."""
  home = place / "trained"
  shutil.copytree(furnished, home)
  follow(place, home, fenced("docs/first_hour.md")[:1])
  return home


def follow(place, home, todo):
  """Runs blocks in a folder; returns what they print."""
  script, plan = place / "follow.py", place / "plan.json"
  script.write_text(FOLLOWER)
  plan.write_text(json.dumps([(b.language, b.title, b.text) for b in todo]))
  programs = place / "venv/bin"
  unwanted = ("PYTHONPATH", "XLA_FLAGS")
  env = {k: v for k, v in os.environ.items() if k not in unwanted} | {
    "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    "VIRTUAL_ENV": str(programs.parent),
    "JAXAD_CACHE": str(place / "cache"),
    "HOME": str(home),
  }
  done = subprocess.run(
    [programs / "python", script, plan],
    cwd=home,
    env=env,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )
  assert done.returncode == 0, done.stdout
  return done.stdout


def needs_trained(page):
  text = "\n".join(block.text for block in followed(page))
  return "runs/parts" in text and "--workdir runs/parts" not in text


@pytest.mark.slow
@pytest.mark.parametrize("page", list(filter(followed, READ)))
def test_the_page_can_be_followed(page, place, request, tmp_path):
  start = "trained" if needs_trained(page) else "furnished"
  home = tmp_path / "home"
  shutil.copytree(request.getfixturevalue(start), home)
  said = follow(place, home, followed(page))
  check = CHECKS.get(page)
  if check is not None:
    check(home, said)


# What the pages promise.


def rows_of(path):
  with path.open() as file:
    return list(csv.DictReader(file))


def check_first_hour(home, said):
  assert "60 images in parts" in said and "good parts" in said
  found = json.loads((home / "runs/parts/results.json").read_text())
  assert found["image_auroc"] > 0.9
  names = sorted(path.name for path in (home / "new").iterdir())
  for output in ("runs/parts/predictions", "strict"):
    rows = rows_of(home / output / "scores.csv")
    assert sorted(pathlib.Path(row["path"]).name for row in rows) == names
    assert not any(row["error"] for row in rows)
    odd = [int(row["predicted"]) for row in rows]
    good = readers_home.N_NEW_GOOD
    assert sum(odd[good:]) > len(odd[good:]) / 2 > good / 2 >= sum(odd[:good])
  maps = home / "runs/parts/predictions"
  for row in rows_of(maps / "scores.csv"):
    with Image.open((maps / row["map"]).with_suffix(".png")) as image:
      assert image.size == (448, 448)


def check_deploy(home, said):
  run = jaxad.load(home / "runs/parts")
  scorer = jaxad.load_scorer(home / "parts.jaxad")
  paths = [home / f"new/{k:03d}.png" for k in (0, 1)]
  found = run.score(paths, with_maps=True)
  assert found.map[0].shape == (448, 448)
  np.testing.assert_array_equal(scorer(paths).image, found.image)
  assert scorer.threshold == run.threshold


def check_thresholds(home, said):
  run = jaxad.load(home / "runs/parts")
  assert run.threshold == np.quantile(run.normal.score, 0.9)


def check_tables(home, said):
  rows = rows_of(home / "runs/pumps/predictions/scores.csv")
  truth = [row["label"] for row in rows_of(home / "today.csv")]
  score = [float(row["score"]) for row in rows]
  of = lambda kind: [s for s, t in zip(score, truth, strict=True) if t == kind]
  assert min(of("hot")) > sorted(of("ok"))[len(of("ok")) // 2]


def check_scenes(home, said):
  found = json.loads(
    (home / "runs/airport/predictions/scores.json").read_text()
  )
  assert found["pixel_auroc"] > 0.9 and not found["warnings"]


def check_two_devices(home, said):
  found = json.loads((home / "runs/two/results.json").read_text())
  assert found["image_auroc"] > 0.9
  assert found["provenance"]["device"].startswith("2 ")


CHECKS = {
  "docs/deploy.md": check_deploy,
  "docs/first_hour.md": check_first_hour,
  "docs/many_machines.md": check_two_devices,
  "docs/scenes.md": check_scenes,
  "docs/tables.md": check_tables,
  "docs/thresholds.md": check_thresholds,
}
