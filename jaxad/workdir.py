# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The folder of a run: one run at a time, of one configuration and one data."""

import csv
import json
import pathlib
import re
from collections.abc import Mapping, Sequence

import filelock
import jax

import jaxad
from jaxad import foreign, hosts
from jaxad.config import completed, first_difference
from jaxad.data.fingerprint import Row, difference, fingerprint
from jaxad.errors import InputError
from jaxad.report import tables

# What the processes of a run may have each for itself: of files the content
# counts, which is compared by its digest, and one shows the run elsewhere too.
ELSEWHERE = frozenset(
  {
    "config.data.root",
    "config.data.outlier_root",
    "config.detector.weights",
    "config.detector.trunk.weights",
    "config.train.tensorboard",
  }
)
# A run that is resumed may also lie on its devices in another way.
FREE = ELSEWHERE | {
  "config.train.model_devices",
  "config.train.split_optimizer",
}

LOCK = ".lock"
EXAMPLES = "examples.csv"
# What a process that was killed was writing, see `tables.replacing`.
HALF_WRITTEN = re.compile(
  r".+\.(json|jsonl|csv|npy|png|html|safetensors)\.\d+\.tmp"
)
# File names need not be valid UTF-8; their bytes go through as they are.
TEXT = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}


class Workdir:
  """A folder that holds one run, or will; process 0 alone looks into it.

  Args:
    path: the folder; made by `begin`.
    config: of the run, a nested dict.
    resume: whether it is to hold this run already.

  Raises:
    InputError: it holds something else, or another process runs in it.
  """

  def __init__(self, path: pathlib.Path, config: Mapping, resume: bool):
    self.path, self._config, self._resume = path, config, resume
    self._lock = filelock.FileLock(path / LOCK, timeout=0)
    if not hosts.first():
      return
    if resume:
      self._check_config()
      self._acquire()
    else:
      self._check_empty()

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self._lock.release()

  def check_data(self, rows: Sequence[Row], weights: str | None) -> None:
    """Whether the data and the weights file are those of the run to resume.

    Args:
      rows: of the data at hand, see `data.fingerprint`.
      weights: digest of the weights file, or None.

    Raises:
      InputError: they are not; the message names an image that differs.
    """
    if not self._resume or not hosts.first():
      return
    found = _json_of(self.path / "config.json")["fingerprint"]
    known = found if isinstance(found, dict) else {}
    if known.get("weights") != weights:
      raise InputError(
        f"--resume: the weights file is not that of the run in {self.path} "
        f"(SHA-256 {known.get('weights')} there, {weights} here); give the "
        "same one, or another --workdir."
      )
    if known.get("data") == fingerprint(rows):
      return
    before = self._rows()
    raise InputError(
      f"--resume: {difference(before, rows)}; give the data of the run in "
      f"{self.path}, or start another with another --workdir."
    )

  def _rows(self):
    path = self.path / EXAMPLES
    try:
      with path.open(**TEXT) as file:
        return [Row(*row) for row in list(csv.reader(file, strict=True))[1:]]
    except (OSError, TypeError, csv.Error) as error:
      raise InputError(
        f"--resume: {path}: it is damaged, or missing; start another run with "
        "another --workdir."
      ) from error

  def begin(self, rows: Sequence[Row], weights: str | None) -> dict:
    """Makes the folder, takes it for this process and writes down the run.

    Returns:
      The fingerprint of the data and the weights.
    """
    found = {"data": fingerprint(rows), "weights": weights}
    if self._resume or not hosts.first():
      return found
    try:
      self.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
      raise InputError(
        f"--workdir {self.path} cannot be made: {error.strerror}; choose "
        "another."
      ) from error
    self._acquire()
    self._check_empty()
    with tables.replacing(self.path / EXAMPLES, "w", **TEXT) as file:
      csv.writer(file).writerows([Row._fields, *rows])
    config = dict(self._config) | {"fingerprint": found}
    tables.write_json(self.path / "config.json", config)
    return found

  def results(self) -> dict | None:
    """What a finished run found; None where it is not finished."""
    path = self.path / "results.json"
    return hosts.of_first(lambda: _json_of(path) if path.is_file() else None)

  def _acquire(self):
    try:
      self._lock.acquire()
      for left in self.path.glob("*.tmp"):
        if HALF_WRITTEN.fullmatch(left.name):
          left.unlink()
    except filelock.Timeout as error:
      raise InputError(
        f"--workdir {self.path}: another process is at work in it; wait for "
        "its end, or choose another folder."
      ) from error
    except OSError as error:
      raise InputError(
        f"--workdir {self.path} cannot be written to: {error.strerror}; "
        "choose another folder."
      ) from error

  def _check_empty(self):
    path = self.path
    # What a run writes before its config.json is none yet.
    unbegun = (LOCK, EXAMPLES, f"{EXAMPLES}.*.tmp", "config.json.*.tmp")
    if path.is_dir() and all(
      any(file.match(name) for name in unbegun) for file in path.iterdir()
    ):
      return
    if path.exists() and not path.is_dir():
      raise InputError(
        f"--workdir {path} is not a folder; choose another name."
      )
    if path.exists():
      raise InputError(
        f"--workdir {path} is not empty; continue its run with --resume, or "
        "choose another folder."
      )

  def _check_config(self):
    theirs = config_of(self.path)
    if theirs is None:
      raise InputError(
        f"--resume: {self.path} holds no run (no config.json); leave --resume "
        "out to start one."
      )
    theirs = completed(theirs)
    if found := first_difference(theirs, dict(self._config), ignore=FREE):
      raise InputError(
        f"--resume: {self.path} is a run of another configuration: {found}; "
        "give the same one, or another --workdir."
      )


def check_same_command(config: Mapping, **options) -> None:
  """Whether all processes of a run were given the same.

  Args:
    config: of the run.
    options: beside it, by name.

  Raises:
    InputError: they were not; on all processes.
  """
  options |= {"jaxad": jaxad.__version__, "jax": jax.__version__}
  found = None
  for name, given in {"config": config, "run": options}.items():
    mine = json.loads(json.dumps(given))
    theirs = hosts.of_first(lambda mine=mine: mine)
    found = found or first_difference(theirs, mine, name, ELSEWHERE)
  _check_same(found, "start all by one command, of one version")


def check_same_data(rows: Sequence[Row], weights: str | None) -> None:
  """Whether all processes of a run read the same data and weights file.

  Args:
    rows: of the data at hand, see `data.fingerprint`.
    weights: digest of the weights file, or None.

  Raises:
    InputError: they do not; on all processes.
  """
  same = hosts.of_first(lambda: weights) == weights
  _check_same(None if same else "the weights file is another one", "copy it")
  mine, found = fingerprint(rows), None
  if not hosts.everywhere(hosts.of_first(lambda: mine) == mine):
    found = difference(hosts.of_first(lambda: rows), rows)
  _check_same(found, "give all the same data")


def _check_same(found, remedy):
  """Raises an error on all processes where one has found something."""
  for index, said in enumerate(hosts.gathered(found)):
    if said is not None:
      raise InputError(
        f"process {index} of the run is not like process 0: {said}; {remedy}."
      )


def config_of(path: pathlib.Path) -> dict | None:
  """The configuration of the run in a folder; None where there is no run."""
  file = path / "config.json"
  if not file.is_file():
    return None
  config = _json_of(file)
  if config.pop("fingerprint", None) is None:
    raise InputError(
      f"{file}: not the config.json of a run; choose another --workdir."
    )
  return config


def _json_of(file):
  """The object in a file of a run."""
  try:
    found = foreign.parse_json(foreign.read_bytes(file))
    if not isinstance(found, dict):
      raise ValueError("no object")
    return found
  except (OSError, ValueError) as error:
    raise InputError(
      f"{file}: not that of a run ({foreign.reason(error)}); choose another "
      "--workdir."
    ) from error
