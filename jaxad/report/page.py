# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The page of a run, `report.html`: for whom has to decide by it.

First what it finds and what it costs, then the examples that it decides wrongly
or nearly so, then all else. One file that loads nothing.
"""

import datetime
import json
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from jaxad.columns import Columns
from jaxad.data import one_class
from jaxad.evaluation.evaluators import Evaluation
from jaxad.methods import described
from jaxad.report import notes
from jaxad.report.examples import (
  DECISIONS,
  cards,
  scene_views,
  unusual_rows,
)
from jaxad.report.heat import bar_colours
from jaxad.report.html import write_html
from jaxad.report.page_charts import of_parts, of_scores, of_training
from jaxad.report.pictures import MISTAKES, SHEET_IMAGES, Shown
from jaxad.report.tables import TITLES, title
from jaxad.splits import Splits

PAGE = "report.html"


def write_page(
  folder: pathlib.Path,
  *,
  config: Mapping,
  images: Splits,
  found: Evaluation,
  normal_scores: np.ndarray,
  shown: Shown,
  results: Mapping,
  warned: Sequence[str],
) -> None:
  """Writes `report.html`.

  Args:
    folder: of the run; its `metrics.jsonl` is read.
    config: all fields of the run.
    images: the data.
    found: the scored test.
    normal_scores: float [n], of the examples that the threshold comes from.
    shown: what to show of the test.
    results: what stands in `results.json`.
    warned: what weakens the figures.
  """
  test = found.test
  words = words_of(test.noun, config["data"]["name"])
  name = _data_name(config)
  values = {
    "name": name,
    "method": _name_of(config["method"]),
    "words": words,
    "results": results,
    "counts": counts(found),
    "rejections": notes.rejections(results, words["goods"]),
    "notes": [*map(_sentence, [*warned, *notes.of_test(test.label)])],
    "facts": _facts(config, images, results, name),
    "command": results["provenance"]["command"],
    "charts": of_scores(found, normal_scores, results, words),
    "curves": of_training(folder / "metrics.jsonl"),
    "parts": of_parts(found, results),
    "kinds": by_kind(found),
    "pixels": _named(results, "pixel_"),
    "others": _named(results, "image_av", "f1", "of", "contam", "nearest"),
    "environment": _environment(results),
    "fields": json.dumps(_plain(config), indent=2, default=str),
    "groups": _groups(shown, counts(found), words),
    "most": shown.most.tolist(),
    "least": shown.least.tolist(),
    "limits": (MISTAKES, SHEET_IMAGES),
    "heated": bool(shown.heat),
    "weighted": shown.weighted,
    "masked": test.mask is not None,
    "scale": _gradient(),
    "noun": test.noun,
    "scene": None,
    "decisions": (),
    "rows": {},
    "cards": {},
  }
  if test.pixels is not None:
    values["scene"] = scene_views(found)
    meant = ("anomalous and found", "anomalous and missed", "normal but above")
    values["decisions"] = [*zip(meant, DECISIONS, strict=True)]
  elif test.noun == "rows":
    columns = images.data.preprocess
    columns = columns if isinstance(columns, Columns) else None
    values["rows"] = unusual_rows(found, images.data.train, columns, shown.rows)
  elif test.pictures.ndim == 4:
    values["cards"] = cards(found, shown)
  write_html(folder / PAGE, "run.html", **values)


def write_seeds_page(
  folder: pathlib.Path, config: Mapping, summary: Mapping, found: Sequence
) -> None:
  """Writes `report.html` of runs under several seeds, with links to theirs.

  Args:
    folder: of the runs, each in seed-N.
    config: all fields but the seed.
    summary: what stands in `seeds.json`.
    found: what stands in `results.json` of each run.
  """
  seeds = summary["seeds"]
  pages = {seed: f"seed-{seed}/{PAGE}" for seed in seeds}
  write_html(
    folder / PAGE,
    "seeds.html",
    name=_data_name(config),
    method=_name_of(config["method"]),
    seeds=seeds,
    pages={n: path for n, path in pages.items() if (folder / path).is_file()},
    rows=[
      (title(name), entry, name in TITLES)
      for name, entry in summary.items()
      if name != "seeds"
    ],
    counted=[
      {
        "found": results["true_positive_rate"],
        "rejected": results["false_positive_rate"],
        "expected": results["expected_false_positive_rate"],
      }
      for results in found
    ],
    command=found[-1]["provenance"]["command"],
    date=_day(found[-1]),
  )


def _data_name(config):
  return "/".join(filter(None, (config["data"][k] for k in ("name", "subset"))))


def _day(results):
  day = datetime.datetime.fromisoformat(results["provenance"]["date"])
  return f"{day.day} {day:%B %Y, %H:%M}"


def words_of(noun: str, name: str) -> dict[str, str]:
  """What a page calls the examples of a data set, many and one of them."""
  if noun == "images" and name not in one_class.SETS:
    good, bad = ("good part", "good parts"), ("defect", "defects")
  else:
    good, bad = (
      (f"{kind} {noun.removesuffix('s')}", f"{kind} {noun}")
      for kind in ("normal", "anomalous")
    )
  keys = ("good", "goods", "bad", "bads")
  return dict(zip(keys, good + bad, strict=True)) | {
    "auroc": "image AUROC" if noun == "images" else "AUROC"
  }


def counts(found: Evaluation) -> dict[str, int]:
  """The confusion matrix at the threshold."""
  odd, called = found.test.label == 1, found.predicted
  return {
    "found": int((odd & called).sum()),
    "missed": int((odd & ~called).sum()),
    "rejected": int((~odd & called).sum()),
    "passed": int((~odd & ~called).sum()),
  }


def by_kind(found: Evaluation) -> list[dict]:
  """Each kind of anomaly: how many there are, are found, and the AUROC."""
  kind, rows = np.asarray(found.test.kind), []
  for name in found.kinds:
    mine = (found.test.label == 1) & (kind == name)
    rows.append(
      {
        "name": name,
        "n": int(mine.sum()),
        "found": int(found.predicted[mine].sum()),
        "recall": float(found.predicted[mine].mean()),
        "auroc": found.auroc_of([name]),
        "seen": name in found.seen_kinds,
      }
    )
  return rows


def _name_of(method):
  """As its paper has it; the baselines share a title, and have their own."""
  name = described(method)[0].partition(":")[0]
  return method if name.startswith("The ") else name


def _sentence(text):
  return text.removeprefix("NOTE: ").removeprefix("WARNING: ")


def _facts(config, images, results, name):
  """(what, value) of the run, for the table at the top."""
  train, test, noun = images.data.train, images.data.test, images.normal.noun
  n_odd = int((test.label == 1).sum())
  trained = f"{results['n_train']:,} {noun}"
  if odd := results["n_train_anomalies"]:
    trained += f", {odd} of them labelled anomalies"
  facts = [
    ("method", described(config["method"])[0].replace("\n", " ")),
    ("data", name),
    ("folder", config["data"]["root"]),
    ("trained on", trained),
    (
      "threshold",
      f"{results['threshold']:.4g}, from {results['n_threshold']:,} "
      f"{results['threshold_from']}",
    ),
    (
      "tested on",
      f"{len(test.label) - n_odd:,} normal and {n_odd:,} anomalous {noun}",
    ),
    ("seen as", _shape(train.x.shape[1:], noun)),
    ("training time", _duration(results["train_seconds"])),
    ("seed", config["seed"]),
    ("date", _day(results)),
  ]
  return [(what, value) for what, value in facts if value not in (None, "")]


def _shape(shape, noun):
  if noun != "images" or len(shape) != 3:
    return f"{shape[-1]} {'bands' if noun == 'pixels' else 'columns'}"
  height, width, channels = shape
  return f"{height} x {width} pixels, {'grey' if channels == 1 else 'colour'}"


def _duration(seconds):
  if seconds < 120:
    return f"{seconds:.1f} seconds"
  if seconds < 7200:
    return f"{seconds / 60:.0f} minutes"
  return f"{seconds / 3600:.1f} hours"


def _named(results, *beginnings):
  """(title, text) of the figures whose names begin so."""
  return [
    (title(name), f"{results[name]:.4f}")
    for name in TITLES
    if name.startswith(beginnings) and results.get(name) is not None
  ]


def _environment(results):
  origin = results["provenance"]
  versions = ", ".join(
    f"{name} {version}" for name, version in origin["versions"].items()
  )
  digests = results["fingerprint"]["data"].items()
  seen = ", ".join(f"{split} {one['digest']}" for split, one in digests)
  lines = [
    ("device", origin["device"]),
    ("processor", origin["cpu"]),
    ("float32 products", results["matmul_precision"]),
    ("versions", versions),
    ("commit", origin["commit"]),
    ("data", seen),
    ("weights file", results["fingerprint"]["weights"]),
  ]
  return [(what, value) for what, value in lines if value]


def _plain(config):
  return config.to_dict() if hasattr(config, "to_dict") else dict(config)


def _gradient():
  """The colours of heat over grey, for CSS."""
  stops = ", ".join(f"#{bytes(one).hex()}" for one in bar_colours())
  return f"linear-gradient(90deg, {stops})"


def _groups(shown, n, words):
  """(title, what is meant, rows, how many there are) of what comes first."""
  return [
    (
      f"Missed {words['bads']}",
      "They are not above the threshold and would have passed; the least "
      "suspicious first.",
      shown.missed.tolist(),
      n["missed"],
    ),
    (
      "False alarms",
      f"{words['goods'].capitalize()} above the threshold, which would have "
      "been rejected; the most suspicious first.",
      shown.false_alarms.tolist(),
      n["rejected"],
    ),
    (
      "Borderline",
      "Decided rightly, but closest to the threshold.",
      shown.borderline.tolist(),
      None,
    ),
  ]
