# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What stands in two places agrees, and files for other programs are valid."""

import ast
import importlib
import os
import pathlib
import tomllib
import typing

import pytest
import yaml

import jaxad
from jaxad.data import one_class, transductive
from jaxad.networks import trunk

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "first_look.ipynb"


def test_type_checkers_see_the_names_that_are_imported_when_used():
  stub = ast.parse((ROOT / "jaxad" / "__init__.pyi").read_text())
  found = {
    alias.asname: node.module
    for node in stub.body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
  }
  # A method is named by the file that it lies in, not by the package.
  package = lambda module: ".".join(module.split(".")[:2])
  same = {name: package(module) for name, module in found.items()}
  assert same == {n: package(module) for n, module in jaxad._NAMES.items()}
  for name, module in found.items():
    defined = getattr(importlib.import_module(module), name)
    assert getattr(jaxad, name) is defined


@pytest.mark.parametrize(
  ("kind", "table"),
  [
    (trunk.TrunkName, trunk.TRUNKS),
    (one_class.Protocol, one_class.PROTOCOLS),
    (transductive.Protocol, transductive.PROTOCOLS),
  ],
)
def test_a_type_lists_the_keys_of_its_table(kind, table):
  assert typing.get_args(kind) == tuple(table)


def test_the_citation_is_complete_and_of_this_version():
  found = yaml.safe_load((ROOT / "CITATION.cff").read_text())
  project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
  # What the Citation File Format 1.2.0 asks for, and that texts are texts.
  assert found["cff-version"] == "1.2.0"
  assert {"message", "title", "authors", "type"} <= found.keys()
  assert all(isinstance(found[key], str) for key in ("title", "version"))
  assert found["version"] == jaxad.__version__
  assert found["license"] == project["license"]
  assert found["repository-code"] == project["urls"]["Homepage"]
  assert found["authors"] == project["authors"]


def test_issue_forms_ask_for_what_a_report_needs():
  forms = ROOT / ".github" / "ISSUE_TEMPLATE"
  for name, needed in (
    ("bug", {"what", "command", "version", "environment"}),
    ("figure", {"method", "source", "found", "version"}),
  ):
    form = yaml.safe_load((forms / f"{name}.yml").read_text())
    assert {"name", "description", "body"} <= form.keys()
    ids = {field["id"]: field for field in form["body"]}
    assert len(ids) == len(form["body"])
    required = {
      id
      for id, field in ids.items()
      if field.get("validations", {}).get("required")
    }
    assert required == needed


def test_the_workflow_runs_what_a_developer_runs():
  path = ROOT / ".github" / "workflows" / "ci.yml"
  (job,) = yaml.safe_load(path.read_text())["jobs"].values()
  assert job["steps"][-1] == {"run": ".ci/run"}
  assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_notebook_is_small_and_names_no_machine():
  text = NOTEBOOK.read_text()
  assert len(text) < 200_000
  for secret in (str(pathlib.Path.home()), "/tmp/", "site-packages"):
    assert secret not in text


@pytest.mark.slow
def test_the_notebook_finds_the_defects(tmp_path, monkeypatch):
  nbclient = pytest.importorskip("nbclient")
  nbformat = pytest.importorskip("nbformat")
  pytest.importorskip("ipykernel")
  monkeypatch.setenv("PYTHONPATH", str(ROOT))
  notebook = nbformat.read(NOTEBOOK, 4)
  client = nbclient.NotebookClient(
    notebook,
    kernel_name="python3",
    timeout=300,
    resources={"metadata": {"path": str(tmp_path)}},
  )
  client.execute()
  outputs = [
    output
    for cell in notebook.cells
    if cell.cell_type == "code"
    for output in cell.outputs
  ]
  said = "".join(o.text for o in outputs if o.output_type == "stream")
  auroc = float(said.partition("AUROC ")[2].split()[0])
  assert auroc > 0.95
  pictures = [o for o in outputs if "image/png" in o.get("data", {})]
  assert len(pictures) == 3
