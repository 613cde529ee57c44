# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The command `jaxad`, and the wheel that it is installed from."""

import pathlib
import subprocess
import sys
import zipfile

import pytest

import jaxad
from jaxad import cli, config, provenance

ROOT = pathlib.Path(__file__).parents[1]


def output(capsys, *argv):
  assert cli.main(list(argv)) == 0
  out, err = capsys.readouterr()
  assert not err
  assert all(len(line) <= 80 for line in out.splitlines())
  return out


def test_methods(capsys):
  out = output(capsys, "methods")
  names = [line for line in out.splitlines() if not line.startswith(" ")]
  assert names == list(jaxad.METHODS)
  assert "\ndevnet\n    DevNet: " in out
  words = " ".join(out.split())
  for paper in ("FLOS: DevNet with the focal loss", "(arXiv 2203.14506)"):
    assert paper in words


@pytest.mark.parametrize("method", jaxad.METHODS)
def test_fields(capsys, method):
  out = output(capsys, "fields", method)
  lines = out.splitlines()
  words = " ".join(out.split())

  def listed(known, where):
    for name, field in known.items():
      if isinstance(field, dict):
        yield from listed(field, f"{where}.{name}")
      else:
        yield f"{where}.{name} = "
        assert " ".join(field.meaning.split())[1:] in words

  names = list(listed(config.schema(method), "config"))
  for name in names:
    assert sum(line.startswith(name) for line in lines) == 1, name
  assert sum(line.startswith("config.") for line in lines) == len(names)
  assert "Updates in an epoch. (a whole number, 1 to 65536)" in words or (
    method not in ("dra", "devnet", "flos", "saoe", "mlep")
  )


def test_what_is_listed_can_be_set(capsys):
  """Defaults are shown as the command line takes them."""
  for line in output(capsys, "fields", "dra").splitlines():
    if line.startswith("config.") and not line.startswith("config.method"):
      name, shown = line.removeprefix("config.").split(" = ")
      found = config.base("dra")
      config.override(found, name, shown)
      assert found.to_dict() == config.base("dra").to_dict(), name


@pytest.mark.parametrize(
  ("argv", "words"),
  [
    (["fields"], "name one method"),
    (["fields", "dra", "saoe"], "name one method"),
    (["fields", "dro"], "no such method; there are adae, "),
    (["methods", "dra"], "no arguments"),
  ],
)
def test_wrong_arguments(capsys, argv, words):
  assert cli.main(argv) == 2
  out, err = capsys.readouterr()
  assert not out and err.startswith("error: ") and words in err
  assert err.count("\n") == 1


def test_the_command_as_it_was_given(monkeypatch):
  package = pathlib.Path(jaxad.__file__).parent
  for program, want in (
    ("/usr/bin/jaxad", "jaxad"),
    (package / "__main__.py", "python -m jaxad"),
    (package / "run.py", "python -m jaxad.run"),
  ):
    monkeypatch.setattr(sys, "argv", [str(program), "--config=a b"])
    assert provenance.command() == f"{want} '--config=a b'"


def test_version_and_module():
  command = [sys.executable, "-m", "jaxad", "--version"]
  done = subprocess.run(command, capture_output=True, text=True, check=True)
  assert done.stdout == f"jaxad {jaxad.__version__}\n"


@pytest.mark.parametrize("argv", [["--help"], ["run", "--help"]])
def test_help(capsys, argv):
  with pytest.raises(SystemExit) as stopped:
    cli.main(argv)
  assert stopped.value.code == 0
  assert "usage: " in capsys.readouterr().out


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
  """The names in a built wheel, {name: size}."""
  wheels = pytest.importorskip(
    "hatchling.builders.wheel", reason="building a wheel needs hatchling"
  )
  folder = str(tmp_path_factory.mktemp("dist"))
  builder = wheels.WheelBuilder(str(ROOT))
  (path,) = builder.build(directory=folder, versions=["standard"])
  return pathlib.Path(path)


def test_the_wheel_holds_the_configurations(wheel):
  assert wheel.name.startswith(f"jaxad-{jaxad.__version__}-py3")
  with zipfile.ZipFile(wheel) as archive:
    names = set(archive.namelist())
    (entry,) = (n for n in names if n.endswith("entry_points.txt"))
    assert "jaxad = jaxad.cli:main" in archive.read(entry).decode()
  for method in jaxad.METHODS:
    assert f"jaxad/configs/{method}.py" in names
  tops = {name.split("/")[0] for name in names}
  assert tops == {"jaxad", f"jaxad-{jaxad.__version__}.dist-info"}


def test_an_unpacked_wheel_finds_them_away_from_the_checkout(wheel, tmp_path):
  with zipfile.ZipFile(wheel) as archive:
    archive.extractall(tmp_path / "site")
  program = (
    "from jaxad import config_files as f; c = f.load('kdad:folder');"
    "print(f.folder(), c.data.name)"
  )
  done = subprocess.run(
    [sys.executable, "-c", program],
    cwd=tmp_path,
    env={"PYTHONPATH": str(tmp_path / "site"), "PATH": ""},
    capture_output=True,
    text=True,
  )
  assert done.stderr == ""
  assert done.stdout.split() == [
    str(tmp_path / "site" / "jaxad" / "configs"),
    "folder",
  ]
