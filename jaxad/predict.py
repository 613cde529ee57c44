# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Decisions on new images, by a trained run.

    python -m jaxad.predict --run runs/bottle --images new/
    python -m jaxad.predict --run runs/bottle --images "line1/*.png" --maps
    python -m jaxad.predict --run runs/pumps --table today.csv
    python -m jaxad.predict --run runs/airport --scene later.mat
    find . -name "*.jpg" | python -m jaxad.predict --run runs/bottle --images -

Writes `scores.csv` and `scores.json` into `--output`. A call that was stopped
goes on where it was when it is given again. The exit code is 1 where an image
could not be read; its row says why.
"""

import collections
import pathlib
import sys
import time
from collections.abc import Iterator

import numpy as np
from tqdm import tqdm

from jaxad import cli, drift, hosts, trained
from jaxad.bands import Bands
from jaxad.columns import Columns
from jaxad.data.decode import decode
from jaxad.data.parallel import in_parallel
from jaxad.errors import InputError
from jaxad.evaluation.thresholds import DEFAULTS, threshold
from jaxad.inputs import find_images
from jaxad.predict_rows import predict_rows
from jaxad.predict_scene import predict_scene
from jaxad.predict_share import predict_share
from jaxad.predictions import (
  MAPS,
  Predictions,
  map_name,
  number,
  state_of,
)
from jaxad.report import tables
from jaxad.report.figures import overlay

# Rows are written so often, in seconds; each is a loss of no more than that.
_FLUSH = 0.5

SOME_UNREADABLE = 1


def main(argv: list[str] | None = None) -> int:
  """The command `python -m jaxad.predict`; returns the exit code."""
  unreadable = 0

  def command(argv):
    nonlocal unreadable
    unreadable = _command(argv)

  try:
    with cli.sigterm_as_interrupt():
      code = cli.guarded(command, argv)
  except KeyboardInterrupt:
    print("stopped; the same command goes on from here.", file=sys.stderr)
    return cli.INTERRUPTED
  return code or (SOME_UNREADABLE if unreadable else 0)


def _command(argv):
  parser = cli.parser_of_run(
    "predict", "Score new images, rows or scenes with a finished run."
  )
  what = parser.add_mutually_exclusive_group(required=True)
  what.add_argument(
    "--images",
    nargs="+",
    metavar="PATH",
    help="folders with all below them, image files, patterns, a .csv file with "
    "a column path, or - for a list on standard input",
  )
  for noun, its in (("table", "columns"), ("scene", "bands")):
    what.add_argument(
      f"--{noun}",
      dest="images",
      nargs=1,
      metavar="FILE",
      help=f"of a run on a {noun}: another with the same {its}",
    )
  parser.add_argument(
    "--output",
    type=pathlib.Path,
    metavar="DIR",
    help="folder for the results (default: predictions, below that of the run)",
  )
  parser.add_argument(
    "--threshold",
    metavar="RULE|VALUE",
    help="in place of the run's: a number, or a rule "
    f"({', '.join(DEFAULTS)}), also as quantile=0.99",
  )
  parser.add_argument(
    "--maps",
    action="store_true",
    help="also write heat maps, of each image's own size",
  )
  parser.add_argument(
    "--batch-size",
    type=int,
    metavar="N",
    help="images or rows scored at once (default: as in the run)",
  )
  parser.add_argument(
    "--distributed",
    action="store_true",
    help="one of several processes, each of which scores its share of the "
    "images, see docs/many_machines.md",
  )
  args = parser.parse_args(argv)
  share = hosts.place() if args.distributed else (0, 1)
  run = trained.load(args.run)
  output = args.output or args.run / "predictions"
  limit = _threshold(run, args.threshold)
  if isinstance(run.preprocess, Columns):
    summary = predict_rows(
      run,
      _one_file(args, "table"),
      output,
      threshold=limit,
      batch_size=args.batch_size,
    )
  elif isinstance(run.preprocess, Bands):
    summary = predict_scene(
      run, _one_file(args, "scene"), output, threshold=limit
    )
  elif run.preprocess is None:
    raise InputError(f"--run {args.run}: it was not trained on images.")
  else:
    summary = predict(
      run,
      find_images(args.images, sys.stdin.buffer),
      output,
      threshold=limit,
      with_maps=args.maps,
      batch_size=args.batch_size,
      share=share,
    )
  print(_told(summary))
  for line in summary["warnings"]:
    print(f"WARNING: {line}", file=sys.stderr)
  return summary["n_errors"]


def _one_file(args, noun):
  """The one table, or scene, of the command line."""
  if len(args.images) > 1 or args.maps or args.distributed:
    raise InputError(
      f"--run {args.run}: it was trained on a {noun}; give one with --{noun}, "
      "and neither --maps nor --distributed."
    )
  return pathlib.Path(args.images[0])


def _threshold(run, text):
  """{value, rule, rule_value} of what the command line says."""
  if text is None:
    rule, rule_value = run.threshold_rule
    return {"value": run.threshold, "rule": rule, "rule_value": rule_value}
  rule, equals, given = text.partition("=")
  try:
    if rule not in DEFAULTS:
      return {"value": _finite(text), "rule": "given", "rule_value": None}
    rule_value = _finite(given) if equals else DEFAULTS[rule]
  except ValueError:
    raise InputError(
      f"--threshold {text}: expected a number, or one of "
      f"{', '.join(DEFAULTS)}, with or without =NUMBER."
    ) from None
  value = threshold(run.normal.score, rule, rule_value)
  return {"value": value, "rule": rule, "rule_value": rule_value}


def _finite(text):
  value = float(text)
  if not np.isfinite(value):
    raise ValueError
  return value


def predict(
  run: trained.Run,
  paths: list[str],
  output: pathlib.Path,
  *,
  threshold: dict,
  with_maps: bool = False,
  batch_size: int | None = None,
  share: tuple[int, int] = (0, 1),
) -> dict:
  """Scores image files into a folder, see `jaxad.predictions`.

  Args:
    run: what scores.
    paths: of the images; those that have a score in the folder already keep it,
      unless the file has changed since.
    output: the folder.
    threshold: {"value": a score above it is anomalous, "rule", "rule_value"}.
    with_maps: also write maps and overlays.
    batch_size: images scored at once; None is that of the run.
    share: (number of this process, how many score these images), see
      `jaxad.predict_share`.

  Returns:
    What stands in `scores.json`, and its folder, "output"; with others that
    are not done, of its share.

  Raises:
    InputError: the folder holds something else, or cannot be written.
  """
  digest, limit = run.description["weights_sha256"], threshold["value"]

  def opened(folder, paths, wait=0):
    return Predictions(
      folder, digest, threshold, run.part_names, paths, with_maps, wait
    )

  def scored(folder, paths):
    with opened(folder, paths) as found:
      if with_maps:
        (folder / MAPS).mkdir(exist_ok=True)
      if len(found.todo) < len(paths):
        print(
          f"{len(paths) - len(found.todo)} of {len(paths)} images are scored "
          "already",
          file=sys.stderr,
        )
      _score(run, found, limit, with_maps, batch_size)
      return summed(found, paths)

  def summed(found, paths=paths):
    summary = _summary(run, found, set(paths), limit)
    found.write_summary(summary)
    return {**summary, "output": str(found.path)}

  if share[1] == 1:
    return scored(output, paths)
  return predict_share(opened, scored, summed, paths, output, share)


def _score(run, found, limit, with_maps, batch_size):
  """Appends a row for each image that is to be scored."""
  waiting, good, names = [], collections.deque(), collections.deque()

  def images() -> Iterator[np.ndarray]:
    def read(path):
      return state_of(path), run.preprocess.eight_bits(decode(path))

    for path, result, error in in_parallel(read, found.todo, None):
      if error is None:
        state, image = result
        good.append((path, state, image if with_maps else None))
        names.append(path)
        yield image
      else:
        said = str(error).removeprefix(f"{path}: ")
        waiting.append({"path": path, "error": said} | state_of(path))

  def ids() -> Iterator[str]:
    while names:
      yield names.popleft()

  live = sys.stderr.isatty()
  bar = tqdm(
    total=len(found.todo),
    unit="image",
    desc="scoring",
    dynamic_ncols=True,
    mininterval=0.1 if live else 10,
  )
  flushed = time.monotonic()
  with bar:
    for one in run.stream(images(), ids(), with_maps, batch_size):
      waiting.append(_row(run, *good.popleft(), one, found, limit))
      if time.monotonic() - flushed > _FLUSH:
        found.append(waiting)
        bar.update(len(waiting))
        waiting.clear()
        flushed = time.monotonic()
    found.append(waiting)
    bar.update(len(waiting))


def _row(run, path, state, image, one, found, limit):
  row = {"path": path} | state
  if not np.isfinite(one.score):
    return row | {"error": "its score is not finite"}
  row |= {
    "score": number(one.score),
    "predicted": int(one.score > limit),
    "brightness": repr(one.brightness),
    **{f"part_{name}": number(part) for name, part in one.parts.items()},
  }
  if one.map is not None:
    name = map_name(path)
    folder = found.path / MAPS
    tables.write_array(folder / f"{name}.npy", one.map)
    heat = run.scale.heat(one.map, one.score)
    overlay(folder / f"{name}.png", image, heat)
    row["map"] = f"{MAPS}/{name}.npy"
  return row


def _summary(run, found, paths, limit):
  """Figures of all rows that are of these paths."""
  score, brightness, errors = [], [], 0
  for row in found.rows():
    if row["path"] not in paths:
      continue
    if row["error"]:
      errors += 1
      continue
    score.append(float(row["score"]))
    brightness.append(float(row["brightness"]))
  # As they were compared before they became text.
  score, brightness = np.float32(score), np.array(brightness)
  shifts, warnings = drift.compare(
    run.normal.score, run.normal.brightness, score, brightness, limit
  )
  return {
    "n_images": len(score) + errors,
    "n_errors": errors,
    "n_anomalous": int((score > limit).sum()),
    "drift": {
      name: found and found._asdict() for name, found in shifts.items()
    },
    "warnings": warnings,
  }


def _told(summary):
  nouns = ("images", "rows", "pixels")
  noun = next(noun for noun in nouns if f"n_{noun}" in summary)
  n, errors = summary[f"n_{noun}"], summary["n_errors"]
  said = f"{summary['n_anomalous']} of {n - errors} {noun} are anomalous"
  if errors:
    said += f"; {errors} could not be read"
  return f"{said}; {summary.get('map', summary['output'] + '/scores.csv')}"


if __name__ == "__main__":
  sys.exit(main())
