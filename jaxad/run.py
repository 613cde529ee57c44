# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Trains, evaluates and reports one configuration.

    python -m jaxad.run --config configs/differnet.py
    python -m jaxad.run --config configs/differnet.py:mvtec_ad/bottle \
        --config.data.root=DIR --config.train.epochs=24 --workdir runs/bottle
    python -m jaxad.run --config configs/dra.py --seeds 0,1,2
"""

import pathlib
import sys
import time

import jax
import numpy as np

from jaxad import (
  callbacks,
  checks,
  data,
  distributed,
  features,
  hosts,
  splits,
  trained,
)
from jaxad import config as configs
from jaxad.checkpoints import Checkpoints
from jaxad.data.fingerprint import rows
from jaxad.errors import InputError, under
from jaxad.evaluation import evaluators
from jaxad.evaluation.epochs import (
  OfficialProtocol,
  Patience,
  by_held_out,
  by_test_auroc,
)
from jaxad.evaluation.evaluators import Evaluation
from jaxad.evaluation.scoring import Scorer, milliseconds, official_scores
from jaxad.evaluation.thresholds import expected_rejections, threshold
from jaxad.event_files import EventFiles
from jaxad.loop import Diverged, fit, make_plan
from jaxad.provenance import provenance
from jaxad.report import heat, notes
from jaxad.report.page import words_of, write_page, write_seeds_page
from jaxad.report.pictures import SHEET_IMAGES, shown_of, write_pictures
from jaxad.report.tables import results_table, write_json
from jaxad.seeds import seeds_table, summarize
from jaxad.workdir import Workdir, check_same_data, config_of


def main(argv: list[str] | None = None) -> int:
  """The command `python -m jaxad.run`; returns the exit code."""
  from jaxad import cli  # imports this module in turn

  return cli.run(argv)


def run(
  config,
  workdir: pathlib.Path,
  resume: bool = False,
  images: splits.Splits | None = None,
) -> dict:
  """Trains, evaluates and reports; returns what stands in `results.json`.

  Args:
    config: from a file in `configs/`.
    workdir: folder of the run. Made if missing; must be empty, or with
      `resume` hold a run of the same configuration and data.
    resume: continue from the last checkpoint.
    images: the data, where they have been read.

  Raises:
    InputError: something in the configuration or the data is wrong.
    callbacks.Interrupted: Ctrl-C or SIGTERM while training.
  """
  with jax.default_matmul_precision(config.train.matmul_precision):
    detector = checks.checked_detector(config)
    with Workdir(workdir, config.to_dict(), resume) as folder:
      images = images or read(config, detector)
      return _run(config, detector, folder, images)


def read(config, detector) -> splits.Splits:
  """The data of a run; they do not depend on the run's seed."""
  checks.check_size(config)
  with under("config.data"):
    return splits.load(
      configs.data_arguments(config),
      config.data.holdout,
      config.eval.threshold_images,
      detector,
    )


def run_seeds(config, seeds, workdir: pathlib.Path, resume: bool) -> dict:
  """A run for each seed, on the same data; see `jaxad.seeds.summarize`.

  Raises:
    InputError: as `run`; with `resume` also where a seed that is finished was
      run with another configuration or on other data.
  """
  filled = lambda: workdir.exists() and any(workdir.iterdir())
  if not resume and hosts.of_first(filled):
    raise InputError(
      f"--workdir {workdir} is not empty; continue its runs with --resume, or "
      "choose another folder."
    )
  folders = {seed: workdir / f"seed-{seed}" for seed in seeds}
  begun = hosts.of_first(
    lambda: [seed for seed in seeds if config_of(folders[seed]) is not None]
  )
  if resume and not begun:
    raise InputError(
      f"--resume: {workdir} holds a run of none of these seeds; leave --resume "
      "out to start them."
    )
  images = read(config, checks.checked_detector(config))
  finished = {}
  for seed, folder in folders.items():
    config.seed = seed
    if resume and seed in begun:
      # Also of the finished ones, before the others take their time.
      with Workdir(folder, config.to_dict(), resume=True) as found:
        found.check_data(rows(images.by_name()), checks.weights_of(config))
        finished[seed] = found.results()
  results = []
  for seed, folder in folders.items():
    config.seed = seed
    print(f"seed {seed}")
    results.append(
      finished.get(seed) or run(config, folder, seed in finished, images)
    )
  summary = summarize(workdir, results, seeds)
  if hosts.first():
    write_seeds_page(workdir, config, summary, results)
  print(seeds_table(summary))
  return summary


def _run(config, detector, folder, images):
  """The story: plan, state, features, training, scores, figures."""
  train, workdir = config.train, folder.path
  seen, weights = rows(images.by_name()), checks.weights_of(config)
  check_same_data(seen, weights)
  folder.check_data(seen, weights)
  checks.check_labels(config, images.data.test.label)
  checks.check_maps(config, images.data.test)
  with under("config.train"):
    plan = make_plan(
      detector,
      images.data,
      batch_size=train.batch_size,
      epochs=train.epochs,
      steps=train.steps,
      drop_remainder=train.drop_remainder,
      seed=config.seed,
      steps_per_dispatch=train.steps_per_dispatch,
    )
    distributed.mesh_of(_layout(train))
  checks.check_evaluations(config, plan)
  init_key, score_key = jax.random.split(jax.random.key(config.seed))
  with checks.named_fields(config):
    first = images.data.train.x[:1]
    state = detector.init(init_key, {"x": first}, plan)
  checks.check_selection(config, detector, state, first)
  checks.announce(config, detector, images, state, workdir)
  # Nothing is written before all that can be wrong with the input is checked.
  results = {"fingerprint": folder.begin(seen, weights)}

  scorer = Scorer(detector, config.eval.batch_size, score_key)
  inputs, embed_seconds = images, None
  if train.cached_views:
    began = time.perf_counter()
    inputs = features.cached(scorer, state, images, train.cached_views, workdir)
    embed_seconds = time.perf_counter() - began

  last, state, train_seconds, official = _trained(
    config, detector, state, inputs, plan, scorer, workdir
  )

  with_maps = config.eval.maps == "all" and images.data.test.mask is not None
  in_one_pass = with_maps and inputs is images
  scores = scorer.scores(state, inputs.data.test, in_one_pass)
  if with_maps and not in_one_pass:  # features have no pixels
    pixels = scorer.scores(state, images.data.test, with_maps=True)
    scores = scores._replace(map=pixels.map)
  normal_scores = scorer.scores(state, inputs.normal).image
  rule, value = config.eval.threshold, config.eval.threshold_value
  found = Evaluation(
    images.data.test,
    scores,
    threshold(normal_scores, rule, value),
    data.seen_kinds(images.data.train),
    (inputs.data.train.x, inputs.data.test.x)
    if config.eval.nearest_neighbour
    else None,
    config.eval.contamination,
  )
  for evaluate in (*evaluators.ALWAYS, evaluators.neighbour_figures):
    results |= evaluate(found)
  if official is not None:
    results |= official.figures(last, workdir)
  noun = images.normal.noun
  look = lambda shown: scorer.scores(
    state, shown, with_maps=True, with_reconstructions=True
  )
  if (config.eval.maps == "none" and noun == "images") or noun == "rows":
    look = None
  first = np.arange(len(normal_scores))[:SHEET_IMAGES]
  maps = look and look(images.normal.take(first)).map
  scale = heat.scale_of(
    maps, normal_scores, detector.relative_maps, scene=noun == "pixels"
  )
  # Maps that cost much more than scores are not made twice.
  known = scores.map is not None and detector.localize is not None
  shown = shown_of(found, scale, None if known else look)
  source = f"{'held-out' if images.held_out else 'training'} {noun}"
  if hosts.first():
    write_pictures(workdir, found, shown)
  # A threshold that was set since stays when a finished run is resumed.
  if hosts.first() and not (workdir / trained.DESCRIPTION).exists():
    trained.save(
      workdir,
      config=config.to_dict(),
      state=state,
      preprocess=images.data.preprocess,
      normal=images.normal,
      scores=normal_scores,
      threshold=found.threshold,
      source=source,
      key=score_key,
      fingerprint=results["fingerprint"],
      scale=scale,
    )
  embedded = lambda x: x if inputs is images else scorer.embed(state, x)
  ms_per_image = milliseconds(
    lambda shown: scorer.scores(state, embedded(shown)),
    images.normal,
    config.eval.batch_size,
  )
  share = interval = None
  if images.held_out:
    share, interval = expected_rejections(normal_scores, found.threshold)
  results |= {
    "expected_false_positive_rate": share,
    "expected_false_positive_interval": interval,
    "n_train": len(images.data.train.label),
    "n_train_anomalies": int((images.data.train.label == 1).sum()),
    "n_test": len(images.data.test.label),
    "n_threshold": len(images.normal.label),
    "threshold_from": source,
    "threshold_rule": rule,
    "train_seconds": train_seconds,
    "embed_seconds": embed_seconds,
    "ms_per_image": ms_per_image,
    "selection": config.eval.select,
    "matmul_precision": train.matmul_precision,
    "provenance": provenance(),
  }
  print(results_table(results))
  mixture = images.data.transductive
  warned = [*notes.of_threshold(results, mixture), *notes.of_choices(config)]
  goods = words_of(noun, config.data.name)["goods"]
  print(*filter(None, [notes.rejections(results, goods), *warned]), sep="\n")
  if hosts.first():
    write_json(workdir / "results.json", results)
    write_page(
      workdir,
      config=config,
      images=images,
      found=found,
      normal_scores=normal_scores,
      shown=shown,
      results=results,
      warned=[*checks.random_trunk(config, detector), *warned],
    )
  print(f"everything is in {workdir}, the page to open is report.html")
  return results


def _trained(config, detector, state, inputs, plan, scorer, workdir):
  """(the last state, the one to report, seconds, official protocol or None)."""
  checkpoints = Checkpoints(workdir / "checkpoints")
  seconds_before = 0.0
  if checkpoints.latest_step() is not None:
    state, position = checkpoints.restore(state)
    seconds_before = position["train_seconds"]
    print(f"resumed at step {int(state.step)}", file=sys.stderr)

  test = inputs.data.test
  events = None
  if config.train.tensorboard and hosts.first():
    events = EventFiles(workdir / "tensorboard")
  log = callbacks.Log(workdir / "metrics.jsonl", config.train.log_every, events)
  every = config.train.checkpoint_every or max(1, plan.steps // 5)
  saving = callbacks.Saving(checkpoints, every, seconds_before)
  beside = [log, callbacks.ProgressBar()]
  curve = official = None
  if config.eval.every:
    select, best = config.eval.select, None
    if select != "last":
      best = Checkpoints(workdir / select, keep=1)
    curve = by_test_auroc(
      lambda state: scorer.scores(state, test).image,
      test,
      log,
      best if select == "best_on_test" else None,
    )
    beside.append(callbacks.EveryEpochs(plan, config.eval.every, curve))
    if select == "held_out":
      curve = by_held_out(
        lambda state: scorer.scores(state, inputs.normal).parts["nll"],
        log,
        best,
      )
      beside.append(callbacks.EveryEpochs(plan, config.eval.every, curve))
  if config.eval.patience:
    patience = Patience(
      lambda state: scorer.scores(state, inputs.normal).image,
      config.eval.patience,
      log,
    )
    beside.append(callbacks.EveryEpochs(plan, 1, patience))
  if config.eval.protocol == "official":
    official = OfficialProtocol(
      detector,
      lambda state: official_scores(
        detector, state, test, plan.batch_size, scorer.key
      ),
      test,
      log,
    )
    beside.append(callbacks.EveryEpochs(plan, 1, official))
  try:
    with checks.named_fields(config):
      beside.append(saving)
      layout = _layout(config.train)
      last = fit(detector, state, inputs.data, plan, beside, layout=layout)
  except Diverged as error:
    raise InputError(f"{error} {_remains(checkpoints)}") from error
  finally:
    checkpoints.close()
  return last, curve.selected(last) if curve else last, saving.seconds, official


def _layout(train):
  return distributed.Layout(train.model_devices, train.split_optimizer)


def _remains(checkpoints):
  step = checkpoints.latest_step()
  if step is None:
    return "There was no checkpoint yet; start again in another --workdir."
  return (
    f"The checkpoint of step {step} is kept; start again in another --workdir."
  )


if __name__ == "__main__":
  sys.exit(main())
