# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Configurations: their fields, the files in configs/, and overrides."""

import inspect
import json
import math
import pathlib
import typing

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import jaxad
from jaxad import checks, cli, config_files, data
from jaxad import config as configs
from jaxad.errors import InputError
from jaxad.networks import trunk
from jaxad.report.tables import TITLES

FILES = sorted((pathlib.Path(__file__).parents[1] / "configs").glob("*.py"))


@pytest.fixture
def config():
  return configs.base("differnet")


def keywords(function):
  """{keyword: default} of a function; of values the dict of their fields."""
  defaults = {
    name: parameter.default
    for name, parameter in inspect.signature(function).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
  }
  return {
    name: value._asdict() if hasattr(value, "_asdict") else value
    for name, value in defaults.items()
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


def leaves(node, prefix=""):
  """{"train.epochs": Field, ...} of a schema."""
  found = {}
  for name, value in node.items():
    if isinstance(value, dict):
      found |= leaves(value, f"{prefix}{name}.")
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
  want = keywords(data.load) | {"name": "textures", "holdout": 0.2}
  assert config.data.to_dict() == want
  configs.check(config)
  # It makes a detector, and config.json holds all of it.
  assert configs.build_detector(config).phases
  back = json.loads(json.dumps(config.to_dict()))
  assert configs.first_difference(back, config.to_dict()) is None


def test_groups_come_back_as_values(config):
  config.train.epochs = 7
  assert configs.value(configs.Train, config.train) == configs.Train(epochs=7)
  assert configs.value(configs.Eval, config.eval) == configs.Eval()


def test_a_detector_is_made_of_the_nested_fields():
  config = configs.base("devnet")
  for name, text in (
    ("trunk.weights", "random"),
    ("trunk.width", "4"),
    ("trunk.blocks", "1,1,1,1"),
    ("trunk.layer", "layer1"),
    ("optimizer.schedule", "constant"),
  ):
    configs.override(config, f"detector.{name}", text)
  detector = configs.build_detector(config)
  batch = {"x": np.zeros((1, 32, 32, 3), np.uint8)}
  state = jax.eval_shape(detector.init, jax.random.key(0), batch)
  kernel = state.params["trunk"]["conv1"]["kernel"]
  assert kernel.shape == (7, 7, 3, 4)
  configs.override(config, "detector.trunk.layer", "layer5")
  message = error_of(configs.build_detector, config)
  assert message.startswith("config.detector.trunk.layer='layer5': expected")


@pytest.mark.parametrize("method", jaxad.METHODS)
def test_every_field_is_documented(method):
  for name, field in leaves(configs.schema(method)).items():
    assert field.meaning and "\n" not in field.meaning, name


def test_base_gives_fresh_fields(config):
  config.train.epochs = 77
  assert configs.base("differnet").train.epochs == 1


# The files.


# What a file runs on without a preset.
EMBEDDED = {
  "adae": "digits/0",
  "advae": "breast_cancer",
  "alad": "digits/0",
  "alae": "digits/0",
  "alocc": "digits/1",
  "anogan": "digits/0",
  "caae": "textures",
  "cavga": "textures",
  "devnet": "textures",
  "differnet": "textures",
  "dra": "textures",
  "egbad": "digits/0",
  "fanogan": "digits/0",
  "flos": "textures",
  "ganomaly": "digits/0",
  "gaussian": "textures",
  "iforest": "textures",
  "hadgan": "scene",
  "kdad": "textures",
  "knn": "textures",
  "mlep": "textures",
  "ocgan": "digits/0",
  "ocsvm": "textures",
  "pca": "textures",
  "rsrae": "digits/0",
  "rx": "scene",
  "saoe": "textures",
  "skip_ganomaly": "digits/0",
  "vae": "digits/0",
}


def test_every_method_has_a_file():
  assert {path.stem for path in FILES} == set(jaxad.METHODS)


@pytest.mark.parametrize("preset", ["", "mvtec_ad/bottle", "folder"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_files(path, preset):
  config = config_files.load(f"{path}:{preset}" if preset else str(path))
  assert config.method == path.stem
  # No field but those of base, of their types (`load` has checked it), and
  # they fit together.
  assert fields(config).keys() == fields(configs.base(config.method)).keys()
  assert configs.build_detector(config).phases
  name, _, subset = (preset or EMBEDDED[path.stem]).partition("/")
  assert config.data.name == name and config.data.name in data.SOURCES
  assert config.data.subset == (subset or None)
  # By its name it is the same.
  assert (
    config_files.load(f"{path.stem}:{preset}").to_dict() == config.to_dict()
  )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_without_a_preset_nothing_is_downloaded(path):
  config = config_files.load(str(path))
  embedded = ("textures", "digits", "breast_cancer", "scene")
  assert config.data.name in embedded
  found = fields(config)
  for name, value in found.items():
    if name.endswith("weights") and value != "random":
      # They are installed.
      assert value == "imagenet"
      name = found.get("detector.trunk") or found["detector.trunk.name"]
      assert trunk.is_at_hand(name)


def test_differnet_on_ones_own_images(monkeypatch):
  """A pretrained trunk; the embedded set alone does without its package."""
  for preset in ("", ":folder"):
    found = fields(config_files.load(f"differnet{preset}"))
    assert found["detector.trunk"] == "efficientnet_lite0"
    assert found["eval.threshold"] == "kde" and found["data.holdout"] >= 0.2
    assert found["train.cached_views"] == found["detector.n_transforms_test"]
  monkeypatch.setattr(trunk, "is_at_hand", lambda name: False)
  weights = [
    config_files.load(f"differnet{preset}").detector.weights
    for preset in ("", ":folder")
  ]
  assert weights == ["random", "imagenet"]


@pytest.mark.parametrize("method", ["ganomaly", "skip_ganomaly"])
def test_gans_as_in_the_official_code(method):
  (path,) = (path for path in FILES if path.stem == method)
  config = config_files.load(f"{path}:cifar10/bird")
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


@pytest.mark.parametrize(
  ("name", "latent_dim", "divide", "n_normal", "n_test"),
  [
    ("letter", 11, "last", 1500, 300),
    ("cardio", 7, "last", 1655, 331),
    ("optdigits", 16, "last", 5066, 1013),
    ("pendigits", 5, "first", 6714, 1343),
    ("satellite", 12, "first", 5025, 1080),
  ],
)
def test_advae_as_in_the_official_code(
  name, latent_dim, divide, n_normal, n_test
):
  config = config_files.load(f"advae:table/{name}")
  assert config.detector.latent_dim == latent_dim
  assert config.detector.output == "sigmoid"
  assert config.data.table.divide == divide
  assert config.data.table.scale == "min_max"
  assert round(config.data.test_fraction * n_normal) == n_test
  assert config.data.holdout == 0 and config.data.subset is None
  assert config.eval.threshold_value == 0.1
  # Any other table is the user's.
  own = config_files.load("advae:table")
  assert own.data.holdout == 0.2 and own.data.table.divide == "normal"


def test_differnet_as_in_the_paper():
  (path,) = (path for path in FILES if path.stem == "differnet")
  config = config_files.load(f"{path}:mvtec_ad/bottle")
  want = {
    "data.name": "mvtec_ad",
    "data.subset": "bottle",
    "data.image_size": 448,
    "data.holdout": 0.2,
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
  assert config_files.load(str(path)).data.subset is None
  assert config_files.load(f"{path}:").data.subset is None
  assert config_files.load(f"{path}:a/b").data.subset == "a/b"


def test_load_finds_the_files_by_name(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert config_files.load("ganomaly").data.name == "digits"
  config = config_files.load("ganomaly:folder")
  assert (config.method, config.data.name) == ("ganomaly", "folder")
  assert config_files.load("ganomaly:cifar10/bird").data.subset == "bird"
  # A file of that name comes first.
  (tmp_path / "ganomaly").mkdir()
  assert config_files.load("ganomaly").data.name == "digits"


@pytest.mark.parametrize("name", ["ganomali", "../configs/dra", "", "a/dra"])
def test_load_of_an_unknown_name_lists_the_known(name, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  message = error_of(config_files.load, f"{name}:folder")
  assert "no such file" in message
  assert "one of adae, advae, alad, alae, alocc, " in message


def test_load_errors(tmp_path):
  message = error_of(config_files.load, f"{tmp_path}/missing.py:mvtec_ad")
  assert "missing.py: no such file" in message and "configs/" in message
  assert "no such file" in error_of(config_files.load, str(tmp_path))
  (tmp_path / "a.txt").touch()
  assert "not a Python file" in error_of(config_files.load, f"{tmp_path}/a.txt")


HEAD = "from jaxad import config, InputError\n\ndef get_config(preset):\n"


@pytest.mark.parametrize(
  ("text", "words"),
  [
    ("get_configuration = None\n", "it defines no get_config(preset)."),
    ("x = 1\ndef get_config(preset:\n", "line 2: "),
    ("x = '\0'\n", "null bytes"),
    ("import nothing_of_this_name\n", "line 1: ModuleNotFoundError: No module"),
    ("get_config = 3\n", "TypeError: 'int' object is not callable"),
    ("def get_config():\n  pass\n", "TypeError: get_config() takes 0"),
    (HEAD + "  pass\n", "get_config returned NoneType"),
    (HEAD + "  return {}\n", "get_config returned dict; expected what"),
    (HEAD + "  return {}['a']\n", "line 4: KeyError: 'a'"),
    (HEAD + "  raise ValueError('a\\nb')\n", "line 4: ValueError: a b"),
    (HEAD + "  return config.base('dro')\n", "line 4: KeyError: 'dro'"),
    (HEAD + "  raise InputError('say a/b.')\n", "say a/b."),
    (
      HEAD + "  c = config.base('dra')\n  c.train.epoch = 1\n  return c\n",
      "line 5: AttributeError: ",
    ),
    (
      HEAD + "  c = config.base('dra')\n  c.train.epochs = 0\n  return c\n",
      "config.train.epochs=0: expected a whole number, 1 to",
    ),
    (
      HEAD + "  c = config.base('dra')\n  c.detector.heads = 'seen'\n"
      "  return c\n",
      "config.detector.heads='seen': expected a tuple",
    ),
    (
      HEAD + "  c = config.base('dra')\n  c.detector.trunk = 'vgg16'\n"
      "  return c\n",
      "config.detector.trunk='vgg16': expected the group of blocks",
    ),
    (
      HEAD + "  c = config.base('dra')\n  c.method = 'flos'\n  return c\n",
      "config.detector.heads: no such field",
    ),
    (
      HEAD + "  c = config.base('dra').unlock()\n  del c.train\n  return c\n",
      "config.train: it is missing",
    ),
  ],
)
def test_load_of_a_faulty_file(tmp_path, text, words):
  path = tmp_path / "mine.py"
  path.write_text(text)
  message = error_of(config_files.load, f"{path}:folder")
  assert words in message and ("InputError" in text or "mine.py: " in message)
  assert not (tmp_path / "__pycache__").exists()


# What papers state.


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_figure_of_a_paper_is_of_a_preset_and_a_share(path):
  module = config_files._module(path)
  for preset, figures in getattr(module, "PAPER", {}).items():
    config = config_files.load(f"{path.stem}:{preset}")
    assert config.data.name == preset.partition("/")[0]
    assert config_files.paper(f"{path}:{preset}") == figures != {}
    assert figures.keys() <= TITLES.keys()
    assert all(0 < value <= 1 for value in figures.values())


def test_the_figures_of_a_paper_are_found_by_number_and_by_name():
  assert config_files.paper("ocgan:mnist/8") == {"image_auroc": 0.939}
  of = config_files.paper
  assert of("adae:cifar10/1") == of("adae:cifar10/automobile") != {}
  for text in ("ocgan", "ocgan:mnist/10", "ocgan:digits/8", "knn:mnist/8"):
    assert of(text) == {}
  assert error_of(of, "nosuch:mnist/8").startswith("--config nosuch: no such")


# Overrides.


@pytest.mark.parametrize(
  ("name", "text", "value"),
  [
    ("seed", "7", 7),
    ("train.epochs", "3", 3),
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
    ("detector.score", "nll", "nll"),
    ("data.seed", "5", 5),
    ("data.image_size", "64", 64),
    ("data.image_size", "(64, 96)", (64, 96)),
    ("data.image_size", "64,96", (64, 96)),
    ("data.channels", "1", 1),
    ("data.channels", "none", None),
    ("train.matmul_precision", "highest", "highest"),
  ],
)
def test_override(config, name, text, value):
  before = fields(config)
  configs.override(config, name, text)
  found = fields(config)
  assert found[name] == value and type(found[name]) is type(value)
  assert found == before | {name: value}


def test_a_rule_takes_the_number_of_another_away():
  """Which comes first on the command line does not matter."""
  number, rule = "--config.eval.threshold_value=2", "--config.eval.threshold="
  read = lambda *given: cli.parse(["--config", "rx", *given])[0].eval
  assert read().threshold_value == 0.99
  assert read(rule + "sigma").threshold_value is None
  for given in ((number, rule + "sigma"), (rule + "sigma", number)):
    assert read(*given).threshold_value == 2.0


@pytest.mark.parametrize(
  "method, read, other",
  [
    ("cavga", ("variant", "R"), ("variant", "D")),
    ("knn", ("features", "trunk"), ("features", "pixels")),
  ],
)
def test_weights_of_a_trunk_that_nothing_looks_through(
  monkeypatch, method, read, other
):
  monkeypatch.setattr(checks, "weights_digest", lambda *_: "digest")
  config = config_files.load(f"{method}:folder")
  for (name, value), want in ((read, "digest"), (other, None)):
    configs.override(config, f"detector.{name}", value)
    assert checks.weights_of(config) == want


@pytest.mark.parametrize(
  ("name", "text", "value"),
  [
    ("detector.trunk.name", "alexnet", "alexnet"),
    ("detector.trunk.blocks", "1,1,1,1", (1, 1, 1, 1)),
    ("detector.trunk.blocks", "(1, 2, 3, 4)", (1, 2, 3, 4)),
    ("detector.trunk.blocks", "[1,2,3,4,]", (1, 2, 3, 4)),
    ("detector.trunk.train_norms", "false", False),
    ("detector.optimizer.learning_rate", "1e-3", 1e-3),
    ("detector.criterion.name", "focal", "focal"),
    ("detector.heads", "holistic,seen", ("holistic", "seen")),
    ("detector.heads", "('holistic', 'seen')", ("holistic", "seen")),
    ("detector.heads", "seen", ("seen",)),
  ],
)
def test_override_of_a_nested_field(name, text, value):
  config = configs.base("dra")
  before = fields(config)
  configs.override(config, name, text)
  assert fields(config) == before | {name: value}
  configs.check(config)
  assert configs.build_detector(config)


def test_override_again(config):
  for text, value in (("5", 5), ("none", None), ("7", 7)):
    configs.override(config, "eval.every", text)
    assert config.eval.every == value
  with pytest.raises(InputError, match="eval.every='x': expected a whole"):
    configs.override(config, "eval.every", "x")


@pytest.mark.parametrize(
  ("name", "text", "expected"),
  [
    ("train.epochs", "3.0", "a whole number, 1 to 65536."),
    ("train.epochs", "many", "a whole number"),
    ("train.epochs", "True", "a whole number"),
    ("train.epochs", "", "a whole number"),
    ("train.epochs", "__import__('os')", "a whole number"),
    ("detector.learning_rate", "small", "a number, 0 to 10."),
    ("detector.learning_rate", "True", "a number"),
    ("train.drop_remainder", "1", "True or False."),
    ("train.drop_remainder", "yes", "True or False."),
    ("train.matmul_precision", "lowest", "one of default, high, highest."),
    ("eval.protocol", "", "one of standard, official."),
    ("data.channels", "2", "one of 1, 3, or None"),
    ("detector.score", "1", "one of latent, nll."),
  ],
)
def test_override_with_a_wrong_value(config, name, text, expected):
  before = fields(config)
  message = error_of(configs.override, config, name, text)
  assert message.startswith(f"config.{name}={text!r}: expected {expected}")
  assert fields(config) == before


def test_the_middle_of_a_long_wrong_value_is_left_out(config):
  before = fields(config)
  message = error_of(configs.override, config, "train.epochs", "9" * 5000)
  assert message.startswith(f"config.train.epochs='{'9' * 500}")
  assert f"{'9' * 500}': expected a whole number, 1 to 65536." in message
  assert " ... " in message and len(message) < 2000
  assert fields(config) == before


def test_override_of_a_tuple_with_a_wrong_value():
  config = configs.base("dra")
  override = configs.override
  message = error_of(override, config, "detector.heads", "seen,sene")
  assert "config.detector.heads=('seen', 'sene'): expected a tuple" in message
  assert "each one of holistic, seen" in message
  message = error_of(override, config, "detector.trunk.blocks", "1,1,0,1")
  assert "config.detector.trunk.blocks=(1, 1, 0, 1): expected" in message
  message = error_of(override, config, "data.image_size", "64,64,64")
  assert "a tuple of 2" in message


def numeric(kind):
  """Whether a type is, or is an alternative of, a number."""
  parts = typing.get_args(kind)
  if typing.get_origin(kind) is typing.Literal:
    return all(type(part) is int for part in parts)
  return kind in (int, float) or any(numeric(part) for part in parts)


@pytest.mark.parametrize("method", jaxad.METHODS)
def test_extreme_numbers(method):
  """No field takes what would fail later with a traceback, or not at all."""
  schema = {k: f for k, f in leaves(configs.schema(method)).items()}
  names = [k for k, field in schema.items() if numeric(field.kind)]
  assert {"seed", "data.seed", "train.epochs", "eval.batch_size"} < set(names)
  assert any(name.startswith("detector.") for name in names)
  for name in names:
    default = schema[name].default
    n = len(default) if isinstance(default, tuple) else 1
    for text in ("0", "-1", "nan", "1e30", "1" + "0" * 18):
      config = configs.base(method)
      try:
        configs.override(config, name, ",".join([text] * n))
      except InputError as error:
        message = str(error)
        assert message.startswith(f"config.{name}="), message
        assert "\n" not in message and ": expected " in message
        continue
      assert text != "nan", name
      assert text in ("0", "-1") or name in UNBOUNDED, f"{name}={text}"
      configs.build_detector(config)
  for name in UNBOUNDED & set(names):
    assert not math.isnan(schema[name].default)


# A mean of pixels may be anything.
UNBOUNDED = {"detector.mean"}


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
    ("method", ["config.method", "--config says"]),
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


def test_a_configuration_of_an_older_version_is_completed():
  ours = configs.base("dra").to_dict()
  theirs = json.loads(json.dumps(ours))
  theirs["train"] |= {"epochs": 9, "gone": 1}
  for group, field in (("train", "dtype"), ("trunk", "width")):
    part = theirs["detector"][group] if group == "trunk" else theirs[group]
    del part[field]
  del theirs["eval"]
  found = configs.completed(theirs)
  assert found["train"].pop("gone") == 1
  assert configs.first_difference(found, ours) == (
    "config.train.epochs is 9 there and 1 here"
  )
  found["train"]["epochs"] = 1
  assert configs.first_difference(found, ours) is None
  for method in ("none", ["dra"], None):
    damaged = {"method": method, "train": 3}
    assert configs.completed(damaged) == damaged
  assert configs.completed({"method": "dra", "train": 3})["train"] == 3


def test_first_difference_of_tuples_and_of_fields_that_do_not_count():
  config = configs.base("dra")
  theirs = json.loads(json.dumps(config.to_dict()))
  assert configs.first_difference(theirs, config.to_dict()) is None
  config.detector.trunk.blocks = (1, 1, 1, 1)
  message = configs.first_difference(theirs, config.to_dict())
  assert message.startswith("config.detector.trunk.blocks is [2, 2, 2, 2] ")
  ignore = {"config.detector.trunk.blocks", "config.data.root"}
  config.data.root = "/elsewhere"
  difference = lambda: configs.first_difference(
    theirs, config.to_dict(), ignore=ignore
  )
  assert difference() is None
  config.data.seed = 1
  assert difference() == "config.data.seed is 0 there and 1 here"
