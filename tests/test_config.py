# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Configurations: their fields, the files in configs/, and overrides."""

import inspect
import json
import pathlib

import pytest
from ml_collections import ConfigDict

import jaxad
from jaxad import config as configs
from jaxad import data
from jaxad.errors import InputError

FILES = sorted((pathlib.Path(__file__).parents[1] / "configs").glob("*.py"))


@pytest.fixture
def config():
  return configs.base("differnet")


def keywords(function):
  """{keyword: default} of a function."""
  return {
    name: parameter.default
    for name, parameter in inspect.signature(function).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
  }


def fields(node, prefix=""):
  """{"train.epochs": 1, ...} of a configuration."""
  found = {}
  for name, value in node.items():
    if isinstance(value, ConfigDict):
      found |= fields(value, f"{prefix}{name}.")
    else:
      found[prefix + name] = value
  return found


def error_of(function, *args):
  with pytest.raises(InputError) as caught:
    function(*args)
  assert "\n" not in str(caught.value)
  return str(caught.value)


# The fields.


@pytest.mark.parametrize("method", jaxad.METHODS)
def test_base(method):
  config = configs.base(method)
  assert config.method == method and config.seed == 0
  groups = {k for k, v in config.items() if isinstance(v, ConfigDict)}
  assert groups == {"data", "train", "eval", "detector"}
  # The factory's keywords and `data.load`'s, with their defaults.
  assert config.detector.to_dict() == keywords(jaxad.METHODS[method])
  want = keywords(data.load) | {"name": "textures", "holdout": 0.0}
  del want["seed"]  # that of the run
  assert config.data.to_dict() == want
  # It makes a detector, and config.json holds all of it.
  assert jaxad.METHODS[method](**config.detector).phases
  assert json.loads(json.dumps(config.to_dict())) == config.to_dict()


def test_base_gives_fresh_fields(config):
  config.train.epochs = 77
  assert configs.base("differnet").train.epochs == 1


# The files.


# What a file runs on without a preset.
EMBEDDED = {
  "devnet": "textures",
  "differnet": "textures",
  "dra": "textures",
  "flos": "textures",
  "ganomaly": "digits/0",
  "kdad": "textures",
  "mlep": "textures",
  "ocgan": "digits/0",
  "saoe": "textures",
  "skip_ganomaly": "digits/0",
}


def test_every_method_has_a_file():
  assert {path.stem for path in FILES} == set(jaxad.METHODS)


@pytest.mark.parametrize("preset", ["", "mvtec_ad/bottle", "folder"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_files(path, preset):
  config = configs.load(f"{path}:{preset}" if preset else str(path))
  assert config.method == path.stem
  # No field but those of base, and of their types.
  base, found = fields(configs.base(config.method)), fields(config)
  assert found.keys() == base.keys()
  for name, value in found.items():
    if base[name] is not None and value is not None:
      assert type(value) is type(base[name]), name
  factory = jaxad.METHODS[config.method]
  assert set(config.detector) == keywords(factory).keys()
  assert factory(**config.detector).phases
  name, _, subset = (preset or EMBEDDED[path.stem]).partition("/")
  assert config.data.name == name and config.data.name in data.SOURCES
  assert config.data.subset == (subset or None)
  assert json.loads(json.dumps(config.to_dict())) == config.to_dict()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_without_a_preset_nothing_is_downloaded(path):
  config = configs.load(str(path))
  assert config.data.name in ("textures", "digits")
  assert config.detector.get("weights", "random") == "random"


@pytest.mark.parametrize("method", ["ganomaly", "skip_ganomaly"])
def test_gans_as_in_the_official_code(method):
  (path,) = (path for path in FILES if path.stem == method)
  config = configs.load(f"{path}:cifar10/bird")
  want = {
    "data.subset": "bird",
    "data.protocol": "leave_one_out",
    "data.image_size": 32,
    "train.epochs": 15,
    "train.batch_size": 64,
    "train.drop_remainder": True,
    "eval.protocol": "standard",
    "detector.width": 64,
    "detector.latent_dim": 100,
    "detector.contextual_weight": 50.0,
    "detector.learning_rate": 2e-4,
    "detector.b1": 0.5,
    "detector.b2": 0.999,
  }
  found = fields(config)
  assert {name: found[name] for name in want} == want


def test_differnet_as_in_the_paper():
  (path,) = (path for path in FILES if path.stem == "differnet")
  config = configs.load(f"{path}:mvtec_ad/bottle")
  want = {
    "data.name": "mvtec_ad",
    "data.subset": "bottle",
    "data.image_size": 448,
    "data.holdout": 0.0,
    "train.epochs": 192,
    "train.steps": None,
    "train.batch_size": 24,
    "train.cached_views": 0,
    "train.drop_remainder": False,
    "eval.select": "last",
    "detector.trunk": "alexnet",
    "detector.layer": None,
    "detector.weights": "imagenet",
    "detector.n_scales": 3,
    "detector.n_blocks": 8,
    "detector.hidden": 2048,
    "detector.clamp": 3.0,
    "detector.n_transforms": 4,
    "detector.n_transforms_test": 64,
    "detector.rotations": True,
    "detector.learning_rate": 2e-4,
    "detector.b1": 0.8,
    "detector.b2": 0.8,
    "detector.eps": 1e-4,
    "detector.weight_decay": 1e-5,
    "detector.score": "latent",
    "detector.trunk_dtype": "float32",
  }
  found = fields(config)
  assert {name: found[name] for name in want} == want


# Loading.


def test_load_reads_the_file_and_its_preset(tmp_path):
  path = tmp_path / "mine.py"
  path.write_text(
    "from jaxad import config\n"
    "def get_config(preset):\n"
    "  found = config.base('differnet')\n"
    "  found.data.subset = preset\n"
    "  return found\n"
  )
  assert configs.load(str(path)).data.subset is None
  assert configs.load(f"{path}:").data.subset is None
  assert configs.load(f"{path}:a/b").data.subset == "a/b"


def test_load_errors(tmp_path):
  message = error_of(configs.load, f"{tmp_path}/missing.py:mvtec_ad")
  assert "missing.py: no such file" in message and "configs/" in message
  assert "no such file" in error_of(configs.load, str(tmp_path))
  (tmp_path / "a.txt").touch()
  assert "not a Python file" in error_of(configs.load, f"{tmp_path}/a.txt")
  (tmp_path / "b.py").write_text("get_configuration = None\n")
  message = error_of(configs.load, f"{tmp_path}/b.py")
  assert "b.py" in message and "no get_config(preset)" in message


# Overrides.


@pytest.mark.parametrize(
  ("name", "text", "value"),
  [
    ("seed", "7", 7),
    ("train.epochs", "3", 3),
    ("train.epochs", "-3", -3),
    ("detector.learning_rate", "1e-3", 1e-3),
    ("detector.learning_rate", "1", 1.0),
    ("data.holdout", "0", 0.0),
    ("train.drop_remainder", "true", True),
    ("train.drop_remainder", "True", True),
    ("detector.rotations", "FALSE", False),
    ("train.steps", "12", 12),
    ("train.steps", "none", None),
    ("train.steps", "None", None),
    ("eval.threshold_value", "0.5", 0.5),
    # A string is what was written, whatever it looks like.
    ("detector.weights", "1", "1"),
    ("detector.weights", "none", "none"),
    ("detector.weights", "'a b'.pth", "'a b'.pth"),
    ("eval.maps", "none", "none"),
    ("data.name", "1e5", "1e5"),
    ("data.name", "True", "True"),
    ("detector.weights", "", ""),
    # Where the default is None, a value that is no literal is a string.
    ("data.root", "/data/mvtec_ad", "/data/mvtec_ad"),
    ("data.root", "none", None),
    ("data.subset", "001", "001"),
    ("detector.layer", "features.2", "features.2"),
  ],
)
def test_override(config, name, text, value):
  before = fields(config)
  configs.override(config, name, text)
  found = fields(config)
  assert found[name] == value and type(found[name]) is type(value)
  assert found == before | {name: value}


def test_override_again(config):
  for text, value in (("5", 5), ("none", None), ("7", 7)):
    configs.override(config, "eval.every", text)
    assert config.eval.every == value
  with pytest.raises(InputError, match="eval.every=x: expected int"):
    configs.override(config, "eval.every", "x")


@pytest.mark.parametrize(
  ("name", "text", "kind"),
  [
    ("train.epochs", "3.0", "int"),
    ("train.epochs", "many", "int"),
    ("train.epochs", "True", "int"),
    ("train.epochs", "", "int"),
    ("train.epochs", "__import__('os')", "int"),
    ("detector.learning_rate", "small", "float"),
    ("detector.learning_rate", "True", "float"),
    ("train.drop_remainder", "1", "bool"),
    ("train.drop_remainder", "yes", "bool"),
    ("data.image_size", "(64, 64)", "int"),
  ],
)
def test_override_with_a_value_of_another_type(config, name, text, kind):
  before = fields(config)
  message = error_of(configs.override, config, name, text)
  assert f"config.{name}={text}: expected {kind}" in message
  assert fields(config) == before


@pytest.mark.parametrize(
  ("name", "words"),
  [
    ("train.epoch", ["config.train.epoch:", "config.train has", "epochs"]),
    ("sed", ["config.sed:", "config has", "seed", "train"]),
    ("trian.epochs", ["config.trian.epochs:", "groups are", "train"]),
    ("train.epochs.x", ["config.train.epochs.x:", "no such field"]),
    ("a.b.c", ["config.a.b.c:", "no such field", "detector"]),
    ("train.", ["config.train.:", "no such field", "epochs"]),
    ("", ["no such field"]),
    ("train", ["config.train is a group", "epochs", "batch_size"]),
    ("detector", ["config.detector is a group", "n_blocks"]),
  ],
)
def test_override_of_an_unknown_field(config, name, words):
  before = fields(config)
  message = error_of(configs.override, config, name, "1")
  for word in words:
    assert word in message
  assert fields(config) == before


# Comparing.


def test_first_difference(config):
  ours = config.to_dict()
  theirs = json.loads(json.dumps(ours))
  assert configs.first_difference(theirs, ours) is None
  config.train.epochs = 9
  config.train.steps = 4
  message = configs.first_difference(theirs, config.to_dict())
  assert message == "config.train.epochs is 1 there and 9 here"
  theirs["train"]["epochs"] = 9
  message = configs.first_difference(theirs, config.to_dict())
  assert message == "config.train.steps is None there and 4 here"
  del theirs["data"]["image_size"]
  message = configs.first_difference(theirs, ours)
  assert message == "config.data.image_size is None there and 256 here"
  assert configs.first_difference({"a": 1}, {"a": {"b": 1}})
