# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Trains, evaluates and reports one configuration.

    python -m jaxad.run --config configs/differnet.py
    python -m jaxad.run --config configs/differnet.py:mvtec_ad/bottle \
        --config.data.root=DIR --config.train.epochs=24 --workdir runs/bottle
    python -m jaxad.run --config configs/dra.py --seeds 0,1,2
"""

import argparse
import dataclasses
import datetime
import errno
import importlib.metadata
import json
import pathlib
import platform
import sys
import time

import jax
import numpy as np
from absl import logging

import jaxad
from jaxad import config as configs
from jaxad import data, evaluation, report, splits, training
from jaxad.checkpoints import Checkpoints
from jaxad.data.examples import Dataset
from jaxad.epochs import EpochEvaluations
from jaxad.errors import InputError
from jaxad.seeds import parse_seeds, run_seeds
from jaxad.thresholds import threshold

USAGE_ERROR, INTERRUPTED = 2, 130

# The sheet of the report shows this many images of either end.
SHEET_IMAGES = 8


def main(argv: list[str] | None = None) -> int:
  """Runs the command line; returns the exit code."""
  # Orbax tells at length how long a save took, and why one failed.
  logging.set_verbosity(logging.FATAL)
  try:
    config, workdir, resume, seeds = parse(argv)
    if seeds:
      run_seeds(run, config, seeds, workdir, resume)
    else:
      run(config, workdir, resume)
  except InputError as error:
    return _fail(error)
  except OSError as error:
    if error.errno != errno.ENOSPC:
      raise
    return _fail(f"the disk is full ({error.filename}); free some space.")
  except (training.Interrupted, KeyboardInterrupt):
    print("stopped; continue with --resume.", file=sys.stderr)
    return INTERRUPTED
  return 0


def _fail(message):
  print(f"error: {message}", file=sys.stderr)
  return USAGE_ERROR


def parse(argv):
  """Command line to (config, workdir, resume, seeds or None)."""
  parser = argparse.ArgumentParser(
    prog="python -m jaxad.run",
    description="Train, evaluate and report one configuration.",
    epilog="Any field is set by --config.GROUP.FIELD=VALUE, for example "
    "--config.train.epochs=3 --config.detector.weights=alexnet.pth.",
    allow_abbrev=False,
  )
  parser.add_argument(
    "--config",
    required=True,
    metavar="FILE[:DATASET[/SUBSET]]",
    help="a file in configs/, and the data set to run it on",
  )
  parser.add_argument(
    "--workdir",
    type=pathlib.Path,
    help="folder of the run (default: runs/METHOD-DATASET-TIME)",
  )
  parser.add_argument(
    "--resume",
    action="store_true",
    help="continue the run in --workdir from its last checkpoint",
  )
  parser.add_argument(
    "--seeds",
    metavar="0,1,2",
    help="one run for each of these seeds, and the mean of their figures",
  )
  args, rest = parser.parse_known_args(argv)
  config = configs.load(args.config)
  rest = iter(rest)
  for token in rest:
    name, equals, value = token.partition("=")
    if not name.startswith("--config."):
      raise InputError(f"{token}: no such option; see --help.")
    if not equals:
      value = next(rest, None)
      if value is None:
        raise InputError(f"{name}: needs a value, {name}=VALUE.")
    configs.override(config, name.removeprefix("--config."), value)
  if args.resume and args.workdir is None:
    raise InputError("--resume needs the --workdir of the run to continue.")
  seeds = parse_seeds(args.seeds) if args.seeds is not None else None
  return config, args.workdir or _default_workdir(config), args.resume, seeds


def _default_workdir(config):
  parts = [config.method, config.data.name, config.data.subset]
  stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
  return pathlib.Path("runs") / "-".join([*filter(None, parts), stamp])


def run(config, workdir: pathlib.Path, resume: bool = False) -> dict:
  """Trains, evaluates and reports; returns what stands in `results.json`.

  Args:
    config: from a file in `configs/`.
    workdir: folder of the run. Made if missing; must be empty, or with
      `resume` hold a run of the same configuration.
    resume: continue from the last checkpoint.

  Raises:
    InputError: something in the configuration or the data is wrong.
    training.Interrupted: Ctrl-C while training.
  """
  detector = jaxad.METHODS[config.method](**config.detector)
  _check_eval(config, detector)
  _check_workdir(workdir, config, resume)
  dataset, holdout = splits.load(config, detector)
  _check_labels(config, dataset.test.label)
  mesh = training.data_mesh()
  training.make_plan(detector, len(dataset.train.label), config.train)
  init_key, embed_key, score_key = jax.random.split(
    jax.random.key(config.seed), 3
  )
  state = detector.init(
    init_key, splits.first_batch(detector, dataset.train, config.seed)
  )
  _announce(config, detector, dataset, holdout, state, workdir)
  # Nothing is written before all that can be wrong with the input is checked.
  _make_workdir(workdir, config)

  embed_seconds = time.perf_counter()
  features = _cached_features(
    config, detector, state, dataset, embed_key, mesh, workdir, resume
  )
  embed_seconds = time.perf_counter() - embed_seconds
  checkpoints = Checkpoints(workdir / "checkpoints")
  train_seconds = 0.0
  if resume and checkpoints.latest_step() is not None:
    state, position = checkpoints.restore(state)
    train_seconds = position["train_seconds"]
    print(f"resumed at step {int(state.step)}", file=sys.stderr)

  scores_of = lambda state, examples, with_maps=False: evaluation.score_split(
    detector,
    state,
    examples,
    config.eval.batch_size,
    score_key,
    mesh,
    with_maps,
  )
  test_scores = lambda state: scores_of(state, features.test)
  official_scores = lambda state: evaluation.official_scores(
    detector, state, features.test, config.train.batch_size, score_key
  )
  epochs = EpochEvaluations(
    config,
    workdir,
    dataset.test.label,
    lambda state: test_scores(state).image,
    official_scores,
  )
  state, train_seconds = training.train(
    detector,
    state,
    features.train,
    outliers=dataset.outliers,
    config=config,
    mesh=mesh,
    workdir=workdir,
    checkpoints=checkpoints,
    seconds_before=train_seconds,
    on_epoch=epochs.on_epoch,
  )
  checkpoints.close()
  last, state = state, epochs.selected(state)

  scores = test_scores(state)
  normal = splits.threshold_examples(config, features.train, holdout)
  results = {
    "n_train": len(dataset.train.label),
    "n_train_anomalies": int((dataset.train.label == 1).sum()),
    "n_test": len(dataset.test.label),
    "train_seconds": train_seconds,
    "embed_seconds": embed_seconds if config.train.cached_views else None,
    "selection": config.eval.select,
    "threshold_from": "held-out images" if holdout else "training images",
  }
  results |= _report(
    config,
    workdir,
    dataset.test,
    scores.image,
    scores_of(state, normal).image,
    lambda examples: scores_of(state, examples, with_maps=True).map,
    data.seen_kinds(dataset.train),
  )
  results |= evaluation.part_metrics(dataset.test.label, scores.parts)
  if config.eval.protocol == "official":
    results |= epochs.official_results(last, dataset.test.id)
  if config.eval.nearest_neighbour:
    score = evaluation.nearest_neighbour_scores(
      features.train.x, features.test.x
    )
    neighbour = evaluation.image_metrics(dataset.test.label, score)
    results["nearest_neighbour_auroc"] = neighbour["image_auroc"]
  results |= {"versions": _versions(), "device": _device()}
  report.write_json(workdir / "results.json", results)
  print(report.results_table(results))
  if config.eval.select == "best_on_test":
    print(BEST_ON_TEST)
  if config.eval.protocol == "official":
    print(OFFICIAL)
  print(f"everything is in {workdir}")
  return results


BEST_ON_TEST = (
  "WARNING: best_on_test chose the epoch by its AUROC on the test set; the "
  "figures above are optimistic and not comparable with honest ones."
)

OFFICIAL = (
  "NOTE: the official figures normalise by the statistics of each test batch "
  "and take the best epoch by its AUROC on the test set, as the authors' code "
  "does; all others do not, and are what to expect of new images."
)


def _check_eval(config, detector):
  choices = {
    "protocol": ("standard", "official"),
    "select": ("last", "best_on_test"),
    "maps": ("all", "sheet", "none"),
  }
  for name, allowed in choices.items():
    if config.eval[name] not in allowed:
      raise InputError(
        f"config.eval.{name}={config.eval[name]!r}: expected one of "
        f"{', '.join(allowed)}."
      )
  threshold([0.0, 1.0], config.eval.threshold, config.eval.threshold_value)
  if config.eval.select == "best_on_test" and not config.eval.every:
    raise InputError(
      "config.eval.select=best_on_test needs config.eval.every, the epochs "
      "between two evaluations."
    )
  fitted = [phase.name for phase in detector.phases if phase.fit]
  if config.eval.every and fitted:
    raise InputError(
      f"config.eval.every={config.eval.every}: {config.method} cannot score "
      f"before the fit at the end of its phase {fitted[0]!r}; leave it out."
    )
  if config.eval.nearest_neighbour and not config.train.cached_views:
    raise InputError(
      "config.eval.nearest_neighbour compares cached features: set "
      "config.train.cached_views."
    )
  if config.eval.protocol == "official" and not detector.official_score:
    raise InputError(
      "config.eval.protocol=official: the authors' test code of "
      f"{config.method} is the standard protocol; leave it out."
    )
  if not 0 <= config.data.holdout < 1:
    raise InputError(
      f"config.data.holdout={config.data.holdout}: expected a fraction from "
      "0 to below 1."
    )


def _check_labels(config, label):
  """What chooses by AUROC needs both classes."""
  chosen = {"select": "best_on_test", "protocol": "official"}
  for name, value in chosen.items():
    if config.eval[name] == value and len(set(label)) < 2:
      raise InputError(
        f"config.eval.{name}={value} needs normal and anomalous test images; "
        "leave it out."
      )


def _check_workdir(workdir, config, resume):
  """Refuses a folder that holds something else than the run to resume."""
  if resume:
    path = workdir / "config.json"
    if not path.is_file():
      raise InputError(
        f"--resume: {workdir} holds no run (no config.json); leave --resume "
        "out to start one."
      )
    theirs = json.loads(path.read_text())
    difference = configs.first_difference(theirs, config.to_dict())
    if difference:
      raise InputError(
        f"--resume: {workdir} is a run of another configuration: "
        f"{difference}; give the same one, or another --workdir."
      )
  elif workdir.exists() and (not workdir.is_dir() or any(workdir.iterdir())):
    raise InputError(
      f"--workdir {workdir} is not empty; continue its run with --resume, or "
      "choose another folder."
    )


def _make_workdir(workdir, config):
  try:
    workdir.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise InputError(
      f"--workdir {workdir} cannot be made: {error.strerror}."
    ) from error
  report.write_json(workdir / "config.json", config.to_dict())


def _announce(config, detector, dataset, holdout, state, workdir):
  name = "/".join(filter(None, [config.data.name, config.data.subset]))
  size = sum(leaf.size for leaf in jax.tree.leaves(state.params))
  anomalous = int(dataset.test.label.sum())
  labelled = int((dataset.train.label == 1).sum())
  lines = [
    f"{config.method} on {name}, {_device()}, {size:,} parameters",
    f"{len(dataset.train.label)} training images"
    + (f" ({labelled} of them labelled anomalies), " if labelled else ", ")
    + f"{len(holdout.label) if holdout else 0} held out, "
    f"{len(dataset.test.label) - anomalous} normal and {anomalous} anomalous "
    "test images",
    f"writing to {workdir}",
  ]
  # Where labels are seen the trunk is trained as well.
  frozen = splits.balance_of(detector) is None
  if config.detector.get("weights") == "random" and frozen:
    lines.append(
      "NOTE: the frozen trunk has random weights, which detects far less than "
      "a pretrained one; remedy: --config.detector.weights=imagenet (downloads "
      "once) or the path of a weights file."
    )
  print("\n".join(lines), file=sys.stderr, flush=True)


def _cached_features(
  config, detector, state, dataset, key, mesh, workdir, resume
) -> Dataset:
  """The data set with frozen features for images, where that is asked for."""
  if not config.train.cached_views:
    return dataset
  if detector.embed is None:
    raise InputError(
      f"config.train.cached_views={config.train.cached_views}: "
      f"{config.method} has no frozen features to cache; set it to 0."
    )

  def cached(split, examples, views):
    path = workdir / f"features_{split}.npy"
    if resume and path.is_file():
      return dataclasses.replace(examples, x=np.load(path))
    print(f"computing the features of {split} images", file=sys.stderr)
    embedded = evaluation.embed_split(
      detector,
      state,
      examples,
      config.eval.batch_size,
      key,
      mesh,
      views,
    )
    report.write_array(path, embedded.x)
    return embedded

  return Dataset(
    train=cached("train", dataset.train, config.train.cached_views),
    test=cached("test", dataset.test, None),
  )


def _report(
  config, workdir, test, score, normal_score, maps_of, seen_kinds
) -> dict:
  """Figures of the test split; writes `scores.csv` and the pictures.

  Args:
    test: the test split, images.
    score: [N] its scores.
    normal_score: scores of normal examples, for the threshold.
    maps_of: examples to their pixel maps, or None for a method without.
    seen_kinds: the kinds of anomaly that training saw.
  """
  chosen = threshold(
    normal_score, config.eval.threshold, config.eval.threshold_value
  )
  predicted = score > chosen
  report.write_scores(
    workdir / "scores.csv", test.id, test.label, score, predicted
  )
  report.roc_curve(workdir / "roc_curve.png", test.label, score)
  report.score_histogram(
    workdir / "score_histogram.png", test.label, score, chosen
  )
  shown = np.sort(np.concatenate(report.extremes(score, SHEET_IMAGES)))
  maps = sheet_maps = None
  if config.eval.maps == "all" and test.mask is not None:
    maps = maps_of(test)
    sheet_maps = None if maps is None else maps[shown]
  elif config.eval.maps != "none":
    sheet_maps = maps_of(test.take(shown))
  report.image_sheet(
    workdir / "images.png",
    test.x[shown],
    sheet_maps,
    score[shown],
    test.label[shown],
    [test.id[i] for i in shown],
    None if test.mask is None else test.mask[shown],
    # One scale for all images of the set, where their maps are known.
    None if maps is None else (maps.min(), np.quantile(maps, 0.999)),
    SHEET_IMAGES,
  )
  return {
    **evaluation.image_metrics(test.label, score),
    **evaluation.kind_metrics(test.kind, score, seen_kinds),
    **evaluation.pixel_metrics(test.mask, maps),
    "threshold": chosen,
    "threshold_rule": config.eval.threshold,
    **evaluation.threshold_metrics(test.label, predicted),
  }


def _versions():
  names = ("jax", "flax", "optax", "orbax-checkpoint", "numpy")
  found = {name: importlib.metadata.version(name) for name in names}
  return found | {
    "jaxad": jaxad.__version__,
    "python": platform.python_version(),
  }


def _device():
  return f"{jax.device_count()} x {jax.devices()[0].device_kind}"


if __name__ == "__main__":
  sys.exit(main())
