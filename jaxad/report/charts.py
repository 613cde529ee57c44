# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Charts of scores and of a training, drawn on axes of matplotlib."""

import numpy as np

CLASSES = ("normal", "anomalous")
COLORS = ("#0072b2", "#d55e00")

# Below a histogram; of more scores some are left out, evenly.
_MOST_TICKS = 500


def show_roc(axes, label, score, auroc: float, threshold=None) -> None:
  """The ROC curve.

  Args:
    axes: to draw on.
    label: [N] int, 0 normal and 1 anomalous, both of them there.
    score: [N] float.
    auroc: the area below the curve.
    threshold: where the operating point is; None marks none.
  """
  from sklearn import metrics

  fpr, tpr, _ = metrics.roc_curve(label, score)
  axes.plot((0, 1), (0, 1), color="0.6", linestyle="--", label="chance")
  axes.plot(fpr, tpr, color=COLORS[1], linewidth=2, label=f"AUROC {auroc:.4f}")
  if threshold is not None:
    called = np.asarray(score) > threshold
    rates = (called[label == k].mean() for k in (0, 1))
    _show_point(axes, *rates)
  axes.set(xlabel="false positive rate", ylabel="true positive rate")
  _unit_square(axes)
  axes.legend(loc="lower right")


def show_precision_recall(axes, label, score, precision, threshold) -> None:
  """The precision-recall curve with the operating point.

  Args:
    axes: to draw on.
    label: [N] int, 0 normal and 1 anomalous, both of them there.
    score: [N] float.
    precision: the average precision.
    threshold: where the operating point is.
  """
  from sklearn import metrics

  label, called = np.asarray(label), np.asarray(score) > threshold
  found, recall, _ = metrics.precision_recall_curve(
    label, score, drop_intermediate=True
  )
  share = float(label.mean())
  axes.axhline(share, color="0.6", linestyle="--", label="chance")
  # From left to right a precision holds until the next recall.
  axes.plot(
    recall,
    found,
    color=COLORS[1],
    linewidth=2,
    drawstyle="steps-post",
    label=f"average precision {precision:.4f}",
  )
  if called.any():
    _show_point(axes, called[label == 1].mean(), label[called].mean())
  axes.set(xlabel="recall", ylabel="precision")
  _unit_square(axes)
  axes.legend(loc="lower left")


def _show_point(axes, x, y):
  axes.plot(
    [x],
    [y],
    linestyle="none",
    marker="o",
    markersize=9,
    color="black",
    markerfacecolor="white",
    markeredgewidth=2,
    label="at the threshold",
  )


def _unit_square(axes):
  axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
  axes.grid(color="0.9")


def show_histogram(axes, label, score, threshold=None, held_out=None) -> None:
  """Histograms of the scores of both classes, and the threshold.

  Both classes share the bins and each adds up to 100 %, whatever its size. The
  axis is logarithmic where all is positive and the scores span three decades.

  Args:
    axes: to draw on.
    label: [N] int, 0 normal and 1 anomalous.
    score: [N] float, N >= 1.
    threshold: float, or None for no line.
    held_out: [M] float, scores of the normal examples that the threshold comes
      from, as ticks below; or None.
  """
  label, score = np.asarray(label), np.float64(score)
  others = np.zeros(0) if held_out is None else np.float64(held_out)
  whole = np.concatenate([score, others])
  low, high = whole.min(), whole.max()
  log = low > 0 and high > 1000 * low and (threshold is None or threshold > 0)
  edges = (
    np.geomspace(low, high, 41) if log else np.histogram_bin_edges(whole, 40)
  )
  for k in (0, 1):
    values = score[label == k]
    if values.size:
      axes.hist(
        values,
        edges,
        weights=np.full(values.size, 100 / values.size),
        facecolor=((COLORS[k], 0.45), "none")[k],
        # Hatched, to be told apart in grey as well.
        hatch=("", "////")[k],
        edgecolor=COLORS[k],
        histtype="stepfilled",
        label=f"{CLASSES[k]} ({values.size})",
      )
  if threshold is not None:
    axes.axvline(
      threshold,
      color="black",
      linestyle="--",
      label=f"threshold {threshold:.4g}",
    )
  if others.size:
    ticks = np.sort(others)[:: -(-others.size // _MOST_TICKS)]
    axes.plot(
      ticks,
      np.full(ticks.size, -0.03),
      linestyle="none",
      marker="|",
      markersize=9,
      color="#00785a",
      transform=axes.get_xaxis_transform(),
      clip_on=False,
      label=f"sets the threshold ({others.size})",
    )
    axes.tick_params("x", pad=9)
  axes.set(
    xlabel="anomaly score",
    ylabel="share of the class [%]",
    xscale="log" if log else "linear",
  )
  axes.legend()


def show_curve(axes, lines, name: str) -> None:
  """One figure of a training over its steps.

  Args:
    axes: to draw on.
    lines: of `metrics.jsonl`; those without the figure are left out.
    name: of the figure.
  """
  found = [(line["step"], line[name]) for line in lines if name in line]
  steps, values = zip(*found, strict=True)
  marker = "." if len(steps) < 20 else None
  axes.plot(steps, values, color=COLORS[0], linewidth=1.5, marker=marker)
  axes.grid(color="0.9")
  axes.margins(x=0.02)
  axes.ticklabel_format(axis="y", scilimits=(-3, 4))
