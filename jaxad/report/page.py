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
from jaxad.evaluation import metrics
from jaxad.evaluation.evaluators import Evaluation
from jaxad.report import charts, notes
from jaxad.report.examples import cards, scene_views, unusual_rows
from jaxad.report.heat import heated
from jaxad.report.html import chart_uri, write_html
from jaxad.report.pictures import MISTAKES, SHEET_IMAGES, Shown
from jaxad.report.tables import TITLES
from jaxad.splits import Splits

PAGE = "report.html"

# Charts of a training, and of the parts of a score, are no more than these.
_MOST_CURVES = 12


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
  name = "/".join(filter(None, (config["data"][k] for k in ("name", "subset"))))
  values = {
    "name": name,
    "method": config["method"],
    "words": words,
    "results": results,
    "counts": counts(found),
    "rejections": notes.rejections(results),
    "notes": [
      _sentence(text) for text in [*warned, *notes.of_test(test.label)]
    ],
    "facts": _facts(config, images, results, name),
    "command": results["provenance"]["command"],
    "charts": _charts(found, normal_scores, results, words),
    "curves": _curves(folder / "metrics.jsonl"),
    "parts": _parts(found, results),
    "kinds": by_kind(found),
    "pixels": _named(results, "pixel_"),
    "others": _named(
      results, "image_av", "f1", "official", "contam", "nearest"
    ),
    "environment": _environment(results),
    "fields": json.dumps(_plain(config), indent=2, default=str),
    "groups": _groups(shown, counts(found), words),
    "most": shown.most.tolist(),
    "least": shown.least.tolist(),
    "limits": (MISTAKES, SHEET_IMAGES),
    "heated": bool(shown.heat),
    "masked": test.mask is not None,
    "scale": _gradient(),
    "noun": test.noun,
    "scene": None,
    "rows": {},
    "cards": {},
  }
  if test.pixels is not None:
    values["scene"] = scene_views(found)
  elif test.noun == "rows":
    columns = images.data.preprocess
    columns = columns if isinstance(columns, Columns) else None
    values["rows"] = unusual_rows(found, images.data.train, columns, shown.rows)
  elif test.pictures.ndim == 4:
    values["cards"] = cards(found, shown)
  write_html(folder / PAGE, "run.html", **values)


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
  kind, label = np.asarray(found.test.kind), found.test.label
  score, rows = found.scores.image, []
  for name in sorted(set(kind[label == 1].tolist())):
    mine = (label == 1) & (kind == name)
    among = mine | (label == 0)
    rows.append(
      {
        "name": name,
        "n": int(mine.sum()),
        "found": int(found.predicted[mine].sum()),
        "recall": float(found.predicted[mine].mean()),
        "auroc": metrics.image_auroc(label[among], score[among]),
        "seen": name in found.seen_kinds,
      }
    )
  return rows


def _sentence(text):
  return text.removeprefix("NOTE: ").removeprefix("WARNING: ")


def _facts(config, images, results, name):
  """(what, value) of the run, for the table at the top."""
  train, test, noun = images.data.train, images.data.test, images.normal.noun
  day = datetime.datetime.fromisoformat(results["provenance"]["date"])
  n_odd = int((test.label == 1).sum())
  trained = f"{results['n_train']:,} {noun}"
  if odd := results["n_train_anomalies"]:
    trained += f", {odd} of them labelled anomalies"
  facts = [
    ("method", config["method"]),
    ("data", name),
    ("folder", config["data"]["root"]),
    ("trained on", trained),
    (
      "threshold from",
      f"{results['n_threshold']:,} {results['threshold_from']}",
    ),
    (
      "tested on",
      f"{len(test.label) - n_odd:,} normal and {n_odd:,} anomalous {noun}",
    ),
    ("seen as", _shape(train.x.shape[1:], noun)),
    ("training time", _duration(results["train_seconds"])),
    ("seed", config["seed"]),
    ("date", f"{day:%-d %B %Y, %H:%M}"),
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


def _figure(width=5.2, height=4.4):
  from matplotlib.figure import Figure

  return Figure(figsize=(width, height), layout="constrained")


def _charts(found, normal_scores, results, words):
  """(title, data URI, text) of the charts of the scores."""
  label, score = found.test.label, found.scores.image
  figure = _figure(height=4.0)
  charts.show_histogram(
    figure.add_subplot(), label, score, found.threshold, normal_scores
  )
  made = [
    (
      "Scores",
      chart_uri(figure),
      f"Histogram of the scores of {words['goods']} and {words['bads']}, with "
      f"the threshold {found.threshold:.4g} and, as ticks below, the scores "
      "that it comes from.",
    )
  ]
  auroc = results["image_auroc"]
  if auroc is None:
    return made
  figure = _figure()
  charts.show_roc(figure.add_subplot(), label, score, auroc, found.threshold)
  text = f"ROC curve, area {auroc:.4f}, with the threshold marked."
  made.append(("ROC curve", chart_uri(figure), text))
  figure, precision = _figure(), results["image_average_precision"]
  charts.show_precision_recall(
    figure.add_subplot(), label, score, precision, found.threshold
  )
  text = (
    f"Precision over recall, average precision {precision:.4f}, with the "
    "threshold marked."
  )
  made.append(("Precision and recall", chart_uri(figure), text))
  return made


def _grid(names, draw, width=3.4, height=2.5):
  """A chart of small ones, `draw(axes, name)` each."""
  columns = min(3, len(names))
  rows = -(-len(names) // columns)
  figure = _figure(width * columns, height * rows)
  axes = figure.subplots(rows, columns, squeeze=False).ravel()
  for ax in axes[len(names) :]:
    ax.set_axis_off()
  for ax, name in zip(axes, names, strict=False):
    draw(ax, name)
  return chart_uri(figure)


# What a line of `metrics.jsonl` has beside figures.
_PLACE = ("step", "epoch", "phase", "images_per_s")


def _curves(path):
  """The figures of the training over its steps; None where it has none."""
  text = path.read_text() if path.is_file() else ""
  lines = [json.loads(line) for line in text.splitlines()]
  names = dict.fromkeys(name for line in lines for name in line)
  names = [name for name in names if name not in _PLACE]
  # The loss first, then what was evaluated: the others may be many.
  last = ("loss", "test_image_auroc", "held_out_nll", "held_out_score")
  names.sort(key=lambda name: (name not in last, name != "loss"))
  shown = names[:_MOST_CURVES]
  if not shown:
    return None
  draw = lambda axes, name: charts.show_curve(axes, lines, name)
  return {
    "uri": _grid(shown, draw),
    "text": f"Over the steps of the training: {', '.join(shown)}.",
    "left_out": names[_MOST_CURVES:],
  }


def _parts(found, results):
  """The distributions of the parts of a score; None where it has none."""
  parts = found.scores.parts
  names = [name for name in parts if np.isfinite(parts[name]).all()]
  names = names[:_MOST_CURVES]
  if not names:
    return None

  def draw(axes, name):
    charts.show_histogram(axes, found.test.label, parts[name])
    axes.get_legend().remove()
    axes.set_xlabel("")
    axes.set_title(name.replace("_", " "), fontsize=10)
    axes.tick_params(labelsize=8)

  return {
    "uri": _grid(names, draw),
    "text": f"Histograms of the parts of the score: {', '.join(names)}.",
    "auroc": {name: results["image_auroc_by_part"][name] for name in names},
  }


def _named(results, *beginnings):
  """(title, text) of the figures whose names begin so."""
  found = []
  for name, title in TITLES.items():
    value = results.get(name)
    if name.startswith(beginnings) and value is not None:
      found.append((title, f"{value:.4f}"))
  return found


def _environment(results):
  origin = results["provenance"]
  versions = ", ".join(
    f"{name} {version}" for name, version in origin["versions"].items()
  )
  lines = [
    ("device", origin["device"]),
    ("processor", origin["cpu"]),
    ("float32 products", results["matmul_precision"]),
    ("versions", versions),
    ("commit", origin["commit"]),
    ("data", results["fingerprint"]["data"]),
    ("weights file", results["fingerprint"]["weights"]),
  ]
  return [(what, value) for what, value in lines if value]


def _plain(config):
  return config.to_dict() if hasattr(config, "to_dict") else dict(config)


def _gradient():
  """The colours of heat over grey, for CSS."""
  grey = np.full((1, 32, 1), 160, np.uint8)
  (row,) = heated(grey, np.linspace(0, 1, 32)[None])
  stops = ", ".join(f"#{r:02x}{g:02x}{b:02x}" for r, g, b in row.tolist())
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
