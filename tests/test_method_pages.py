# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Each method has a page of one form, and what it states is so in the code."""

import functools
import inspect
import pathlib
import re

import pytest
from test_detector import CASES

import jaxad
from jaxad import config, config_files, fields
from jaxad.methods import ROWS, SCENES

ROOT = pathlib.Path(__file__).parents[1]
PAGES = ROOT / "docs" / "methods"
BASELINES = ("ocsvm", "knn", "pca", "gaussian", "iforest")
HEADINGS = [
  "What it learns",
  "Score",
  "Run it",
  "What differs from the paper",
  "Settings",
  "When to use it",
  "Figures",
]
BOX = ["`--config`", "labels", "data", "map", "export", "replays"]
LABELLED = ("dra", "devnet", "flos", "saoe", "mlep")
SHARED = ("open_set", "official")


def page_of(method):
  return "baselines" if method in BASELINES else method


def text_of(page):
  return (PAGES / f"{page}.md").read_text()


def section(text, heading):
  return re.split(r"^## ", text.split(f"\n## {heading}\n")[1], flags=re.M)[0]


def tables(text):
  """[[cells of a row, ...], ...] of each table, its rule left out."""
  found = []
  for block in re.findall(r"(?:^\|.*\|\n)+", text, re.M):
    lines = block.splitlines()
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    found.append([[cell.strip() for cell in row] for row in rows])
    del found[-1][1]
  return found


def box_of(method):
  head, *rows = tables(text_of(page_of(method)))[0]
  assert head == BOX
  (row,) = (row for row in rows if row[0] == f"`{method}`")
  return dict(zip(head, row, strict=True))


@functools.cache
def detector_of(method, **keywords):
  return jaxad.METHODS[method](**keywords)


def labels_of(method):
  """Whether training asks for labelled anomalies, in the words of the page."""
  keywords = {}
  if "supervision" in inspect.signature(jaxad.METHODS[method]).parameters:
    keywords = {"supervision": "weak"}
  streams = [
    stream
    for phase in detector_of(method, **keywords).phases
    for stream in phase.streams
    if stream.rows == "anomalous"
  ]
  if not streams:
    return "none"
  always = all(stream.required for stream in streams) and not keywords
  return "a few" if always else "a few, if any"


def test_there_is_a_page_for_each_method_and_no_other():
  pages = {path.stem for path in PAGES.glob("*.md")}
  assert pages == {page_of(method) for method in jaxad.METHODS} | set(SHARED)


@pytest.mark.parametrize(
  "page", sorted({page_of(method) for method in jaxad.METHODS})
)
def test_a_page_has_the_headings_of_all(page):
  text = text_of(page)
  assert re.findall(r"^#+ (.*)", text, re.M)[1:] == HEADINGS
  title, about, box = text.split("\n\n")[:3]
  assert title.startswith("# ") and box.startswith("| `--config` |")
  for words in ("In jaxad: [", "](https://", "code"):
    assert words in " ".join(about.split())
  for heading in HEADINGS:
    assert section(text, heading).strip(), heading


@pytest.mark.parametrize("method", jaxad.METHODS)
def test_what_the_box_states_is_so(method):
  box = box_of(method)
  assert box["labels"] == labels_of(method)
  data = {"images"}
  data |= {"tables"} if method in ROWS else set()
  data |= {"scenes"} if method in SCENES else set()
  assert set(box["data"].split(", ")) == data
  assert box["map"] == ("yes" if CASES[method].maps else "no")
  # What ends on the host cannot be exported.
  assert box["export"] == ("yes" if not detector_of(method).finish else "no")
  assert config_files.load(method).method == method
  link = re.search(r"\]\((.*)\)", box["replays"])[1]
  assert re.search(rf"\b{method}\b", (PAGES / link).read_text())


def known(method):
  """{full name: `Field`} of all that can be set."""

  def listed(node, where):
    for name, field in node.items():
      if isinstance(field, dict):
        yield from listed(field, f"{where}.{name}")
      else:
        yield f"{where}.{name}", field

  return dict(listed(config.schema(method), "config"))


def settings_of(method):
  """(name, default as written) of each setting that the pages list for it."""
  pages = [section(text_of(page_of(method)), "Settings")]
  if method in LABELLED:
    pages.append(section(text_of("open_set"), "Shared settings"))
  for head, *rows in (table for page in pages for table in tables(page)):
    assert head[0].startswith("setting") and head[1:] == ["default", "meaning"]
    if " of " in head[0] and head[0] != f"setting of `{method}`":
      continue
    for names, defaults, _ in rows:
      of = lambda cell: re.findall(r"`([^`]+)`", cell)
      yield from zip(of(names), of(defaults), strict=True)


@pytest.mark.parametrize("method", jaxad.METHODS)
def test_settings_exist_with_the_default_that_is_stated(method):
  fields_of = known(method)
  settings = dict(settings_of(method))
  assert settings
  for name, default in settings.items():
    field = fields_of[f"config.detector.{name}"]
    assert fields.parse(default, field.kind) == field.default, name


@pytest.mark.parametrize("method", jaxad.METHODS)
def test_every_field_that_a_page_names_exists(method):
  fields_of = known(method)
  text = text_of(page_of(method))
  for name in re.findall(r"\bconfig(?:\.[a-z_0-9]+){2,}", text):
    assert name in fields_of, name


@pytest.mark.parametrize(
  "page", sorted(path.stem for path in PAGES.glob("*.md"))
)
def test_links_lead_to_what_there_is(page):
  for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text_of(page)):
    assert link.startswith("https://") or (PAGES / link).exists(), link


def test_the_table_of_the_readme_lists_every_method():
  text = section((ROOT / "README.md").read_text(), "Methods")
  (head, *rows), *_ = tables(text)
  assert head == ["method", "paper", "`--config`", "learns from"]
  listed = []
  for linked, _, names, learns in rows:
    page = re.search(r"\]\(docs/methods/(\w+)\.md\)", linked)[1]
    for method in re.findall(r"`(\w+)`", names):
      listed.append(method)
      assert page == page_of(method)
      box = box_of(method)
      labels = "" if box["labels"] == "none" else box["labels"]
      labels = labels.replace("a few", "a few labels").replace(",", "")
      assert learns == ", ".join(filter(None, [box["data"], labels]))
  assert sorted(listed) == sorted(jaxad.METHODS)
