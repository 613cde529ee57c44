# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The command `jaxad`, and the wheel that it is installed from."""

import importlib
import pathlib
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping

import pytest

import jaxad
from jaxad import cli, config, config_files, fields, provenance

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


def every(node, where=""):
  """(name, leaf) of all fields in nested dicts."""
  for name, value in node.items():
    if isinstance(value, Mapping):
      yield from every(value, f"{where}{name}.")
    else:
      yield where + name, value


def listed(out):
  """{name: value as shown} of the output of `jaxad fields`."""
  lines = [line for line in out.splitlines() if line.startswith("config.")]
  pairs = [line.removeprefix("config.").split(" = ") for line in lines]
  assert len(dict(pairs)) == len(pairs)
  return dict(pairs)


@pytest.mark.parametrize("method", jaxad.METHODS)
def test_fields(capsys, method):
  out = output(capsys, "fields", method)
  words = " ".join(out.split())
  known = dict(every(config.schema(method)))
  assert listed(out).keys() == known.keys()
  for field in known.values():
    assert " ".join(field.meaning.split())[1:] in words
  assert "Updates in an epoch. (a whole number, 1 to 65536)" in words or (
    method not in ("dra", "devnet", "flos", "saoe", "mlep")
  )


@pytest.mark.parametrize("text", ["dra", "rsrae:wine", "cavga", "advae:folder"])
def test_fields_are_shown_as_the_run_has_them(capsys, text):
  """And as the command line takes them."""
  found = config_files.load(text)
  values = dict(every(found.to_dict()))
  known = dict(every(config.schema(found.method)))
  for name, shown in listed(output(capsys, "fields", text)).items():
    assert fields.parse(shown, known[name].kind) == values[name], name


def test_a_value_that_a_configuration_sets_has_its_default_beside_it(capsys):
  words = " ".join(output(capsys, "fields", "ganomaly").split())
  assert "config.detector.width = 32 Channels of the first " in words
  assert "(a whole number, 1 to 65536; by default 64)" in words
  assert "config.data.subset = 0 " in words
  # On other data the same configuration sets others.
  words = " ".join(output(capsys, "fields", "ganomaly:mnist/2").split())
  assert "config.detector.width = 64 " in words
  assert "; by default 64)" not in words
  assert "config.data.subset = 2 " in words


@pytest.mark.parametrize(
  ("argv", "words"),
  [
    ([], "name a command"),
    (["rum"], "invalid choice: 'rum' (choose from "),
    (["fields"], "required: NAME[:DATASET[/SUBSET]]"),
    (["fields", "dra", "saoe"], "unrecognized arguments: saoe"),
    (["fields", "dro"], "--config dro: no such file"),
    (["methods", "dra"], "unrecognized arguments: dra"),
    (["run"], "required: --config; see jaxad run --help"),
    (["threshold", "--run=a", "--rule=odd"], "argument --rule: invalid choice"),
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


@pytest.mark.parametrize("command", ["", *cli._COMMANDS])
def test_help_is_short(monkeypatch, capsys, command):
  monkeypatch.setenv("COLUMNS", "80")
  with pytest.raises(SystemExit) as stopped:
    cli.main([*command.split(), "--help"])
  assert stopped.value.code == 0
  lines = capsys.readouterr().out.splitlines()
  assert lines[0].startswith(f"usage: {f'jaxad {command}'.strip()} ")
  assert len(lines) <= 30 and all(len(line) <= 80 for line in lines)


def test_help_names_every_command(capsys):
  with pytest.raises(SystemExit):
    cli.main(["--help"])
  _, _, listed = capsys.readouterr().out.partition("commands:\n")
  names = re.findall(r"^  (\w+)  +\w", listed, re.M)
  modules = {name for name in names if name not in ("run", *cli._LISTS)}
  assert set(names) == {"run", *modules, *cli._LISTS} and len(set(names)) >= 7
  for name in modules:
    assert callable(importlib.import_module(f"jaxad.{name}").main)


def shell(command):
  return subprocess.run(
    ["bash", "-c", command], capture_output=True, text=True, cwd=ROOT
  )


def test_a_listing_that_nobody_reads_to_its_end():
  done = shell(f"set -o pipefail; {sys.executable} -m jaxad fields alae | true")
  assert done.returncode == 0 and not done.stderr
  if pathlib.Path("/dev/full").exists():
    done = shell(f"{sys.executable} -m jaxad methods > /dev/full")
    assert done.returncode == cli.USAGE_ERROR
    assert done.stderr == "error: the disk is full; free some space.\n"


# Ctrl-C while the garbage is collected, which Python drops, and again later.
DROPPED = """
import gc, signal, sys, time
from jaxad import cli

def interrupt(phase, info):
  gc.callbacks.clear()
  signal.raise_signal(signal.SIGINT)

def work(argv):
  gc.callbacks.append(interrupt)
  gc.collect()
  time.sleep(20)
  print("the end")

module = type(sys)("jaxad.predict")
module.main = work
sys.modules["jaxad.predict"] = module
sys.exit(cli.main(["predict"]))
"""


def test_no_interrupt_is_lost():
  done = subprocess.run(
    [sys.executable, "-c", DROPPED], capture_output=True, text=True, cwd=ROOT
  )
  assert done.returncode == cli.INTERRUPTED
  assert done.stderr == "stopped; start again.\n"
  assert not done.stdout


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
