# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The charts of a page, each as a data URI with a text that says what it is."""

import numpy as np

from jaxad.callbacks import lines_of
from jaxad.report import charts
from jaxad.report.html import chart_uri

# Charts of a training, and of the parts of a score, are no more than these.
_MOST_CURVES = 12


def _axes(height=4.2):
  """The axes of a chart by itself."""
  return _grid_of(1, 1, 5.2, height)[0]


def _grid_of(rows, columns, width, height):
  """Axes of so many inches each; a layout that measures text is slow."""
  from matplotlib.figure import Figure

  figure = Figure(figsize=(width * columns, height * rows))
  axes = figure.subplots(
    rows,
    columns,
    squeeze=False,
    gridspec_kw={
      "left": 0.65 / (width * columns),
      "right": 1 - 0.1 / (width * columns),
      "bottom": 0.5 / (height * rows),
      "top": 1 - 0.25 / (height * rows),
      "wspace": 0.75 / (width - 0.75),
      "hspace": 0.75 / (height - 0.75),
    },
  )
  return axes.ravel()


def of_scores(found, normal_scores, results, words):
  """(data URI, text) of the charts of the scores."""
  label, score = found.test.label, found.scores.image
  axes = _axes()
  charts.show_histogram(axes, label, score, found.threshold, normal_scores)
  made = [
    (
      chart_uri(axes.figure),
      f"Scores of {words['goods']} and {words['bads']}, with the threshold "
      f"{found.threshold:.4g}. Ticks below are the scores that it comes from.",
    )
  ]
  auroc = results["image_auroc"]
  if auroc is None:
    return made
  axes = _axes()
  charts.show_roc(axes, label, score, auroc, found.threshold)
  text = f"ROC curve, area {auroc:.4f}, with the threshold marked."
  made.append((chart_uri(axes.figure), text))
  axes, precision = _axes(), results["image_average_precision"]
  charts.show_precision_recall(axes, label, score, precision, found.threshold)
  text = (
    f"Precision and recall, average precision {precision:.4f}, with the "
    "threshold marked."
  )
  made.append((chart_uri(axes.figure), text))
  return made


def _grid(names, draw, width=3.4, height=2.5):
  """A chart of small ones, `draw(axes, name)` each."""
  columns = min(3, len(names))
  rows = -(-len(names) // columns)
  axes = _grid_of(rows, columns, width, height)
  for ax in axes[len(names) :]:
    ax.set_axis_off()
  for ax, name in zip(axes, names, strict=False):
    draw(ax, name)
    ax.set_title(name.replace("_", " "), fontsize=10)
    ax.tick_params(labelsize=8)
    ax.locator_params(axis="y", nbins=4)
    if ax.get_xscale() == "linear":
      ax.locator_params(axis="x", nbins=5)
  return chart_uri(axes[0].figure)


# What a line of `metrics.jsonl` has beside figures.
_PLACE = ("step", "epoch", "phase", "images_per_s")


def of_training(path):
  """The figures of the training over its steps; None where it has none."""
  lines = lines_of(path)
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


def of_parts(found, results):
  """The distributions of the parts of a score; None where it has none."""
  parts = found.scores.parts
  names = [name for name in parts if np.isfinite(parts[name]).all()]
  names = names[:_MOST_CURVES]
  if not names:
    return None

  def draw(axes, name):
    charts.show_histogram(axes, found.test.label, parts[name])
    axes.get_legend().remove()
    axes.set(xlabel="", ylabel="")

  return {
    "uri": _grid(names, draw),
    "text": f"Histograms of the parts of the score: {', '.join(names)}.",
    "auroc": {name: results["image_auroc_by_part"][name] for name in names},
  }
