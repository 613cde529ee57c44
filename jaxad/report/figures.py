# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Figures of a scored test set, as PNG files.

They are made through matplotlib's objects, without pyplot: no global state, no
display and no window, in any thread. Colours are those of Okabe and Ito and of
`inferno`, which the colour-blind can tell apart.
"""

import numpy as np

from jaxad.errors import InputError
from jaxad.evaluation import metrics
from jaxad.report import charts
from jaxad.report.charts import CLASSES, COLORS
from jaxad.report.heat import EDGE, bar_colours, grey, heated, outlines
from jaxad.report.tables import check_lengths, replacing

DPI = 120

# Letters of an id that fit above a picture.
ID_WIDTH = 26


def roc_curve(path, label, score, noun: str = "images") -> None:
  """The ROC curve of the scores; no file where one class is missing.

  Args:
    path: PNG file to write.
    label: [N] int, 0 normal and 1 anomalous.
    score: [N] float.
    noun: what they are of.

  Raises:
    InputError: as in `metrics.image_auroc`.
  """
  label, score = metrics.check_scores(label, score)
  auroc = metrics.image_auroc(label, score)
  if auroc is None:
    return
  from matplotlib.figure import Figure

  figure = Figure(figsize=(5, 5), layout="constrained", dpi=DPI)
  axes = figure.add_subplot()
  charts.show_roc(axes, label, score, auroc)
  axes.set_title(f"ROC curve, {len(label)} {noun}")
  _save(path, figure)


def score_histogram(
  path, label, score, threshold, noun: str = "images"
) -> None:
  """Histograms of the scores of both classes, and the threshold.

  Both classes share the bins and each adds up to 100 %, whatever its size. The
  axis is logarithmic where all is positive and the scores span three decades.

  Args:
    path: PNG file to write.
    label: [N] int, 0 normal and 1 anomalous.
    score: [N] float, N >= 1.
    threshold: float, or None for no line.
    noun: what they are of.

  Raises:
    InputError: shapes differ, or a score is not finite.
  """
  label, score = metrics.check_scores(label, score)
  from matplotlib.figure import Figure

  figure = Figure(figsize=(7, 4), layout="constrained", dpi=DPI)
  axes = figure.add_subplot()
  charts.show_histogram(axes, label, score, threshold)
  axes.set_title(f"Scores, {len(score)} {noun}")
  _save(path, figure)


def extremes(score, count: int = 8) -> tuple[np.ndarray, np.ndarray]:
  """Indices of the most and of the least anomalous examples.

  Fewer than `2 * count` examples are shared out, no index comes twice.

  Args:
    score: [N] float.
    count: the most indices in each.

  Returns:
    (indices, highest score first; indices, lowest score first)
  """
  order = np.argsort(-np.asarray(score), kind="stable")
  half = (len(order) + 1) // 2
  return order[: min(count, half)], order[half:][::-1][:count]


def image_sheet(
  path,
  images,
  heat,
  scores,
  labels,
  ids,
  masks=None,
  count: int = 8,
) -> None:
  """The most and the least anomalous images, with their heat maps.

  Each picture is shown plain and, below, in grey under its heat, see
  `jaxad.report.heat`. The outline of the mask is drawn where there is one.

  Args:
    path: PNG file to write.
    images: [N, H, W, 3] or [N, H, W, 1] uint8, N >= 1.
    heat: [N, H, W] float in [0, 1], or None.
    scores: [N] float.
    labels: [N] int, 0 normal and 1 anomalous.
    ids: [N] str, printed above the images, the end of a long one.
    masks: [N, H, W], non-zero on defect pixels, or None.
    count: images in each of the two blocks, at most.

  Raises:
    InputError: no images, arrays that do not fit together, or scores or heat
      that are not finite.
  """
  labels, scores = metrics.check_scores(labels, scores)
  images = np.asarray(images)
  if images.ndim != 4 or images.shape[-1] not in (1, 3) or not len(images):
    raise InputError(f"images {images.shape}: expected [N, H, W, 3], N >= 1")
  check_lengths("images, scores, ids", (images, scores, ids))
  for name, array in (("heat", heat), ("masks", masks)):
    if array is not None and np.shape(array) != images.shape[:3]:
      raise InputError(
        f"{name} {np.shape(array)}: expected {images.shape[:3]} as the images"
      )
  if heat is not None:
    heat = metrics.check_finite(heat)
  from matplotlib.figure import Figure

  blocks = [block for block in extremes(scores, count) if len(block)]
  columns = max(3, len(blocks[0]))
  rows = 1 if heat is None else 2
  aspect = images.shape[1] / images.shape[2]
  figure = Figure(
    figsize=(1.8 * columns + 1, len(blocks) * (1.8 * aspect * rows + 0.7)),
    layout="constrained",
    dpi=DPI,
  )
  parts = figure.subfigures(len(blocks), 1, squeeze=False)[:, 0]
  titles = ("Most anomalous", "Least anomalous")
  for part, block, title in zip(parts, blocks, titles, strict=False):
    part.suptitle(title, fontsize=13, fontweight="bold")
    axes = part.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
      ax.set_axis_off()
    for column, k in zip(axes.T, block, strict=False):
      mask = None if masks is None else np.asarray(masks[k]) != 0
      _show_title(column[0], ids[k], scores[k], labels[k])
      _show_image(column[0], images[k])
      if heat is not None:
        _show_heat(column[1], images[k], heat[k])
      if mask is not None and mask.any():
        _show_outline(column[-1], mask)
    if heat is not None:
      _show_scale(part, axes)
  _save(path, figure)


def scene_sheet(path, picture, map, truth=None) -> None:
  """A scene, its map and, where it is known, the truth with the pixel ROC.

  Args:
    path: PNG file to write.
    picture: uint8 [H, W, 3], in false colours.
    map: [H, W] float, the score of each pixel.
    truth: [H, W], non-zero on anomalies; or None.

  Raises:
    InputError: the map is not finite, or of another size than the truth.
  """
  from matplotlib.figure import Figure

  map = metrics.check_finite(map)
  auroc = None
  if truth is not None:
    auroc = metrics.pixel_auroc(truth[None], map[None])
  count = 2 + (truth is not None) + (auroc is not None)
  aspect = map.shape[0] / map.shape[1]
  figure = Figure(
    figsize=(4 * count, 4 * min(max(aspect, 0.8), 2)),
    layout="constrained",
    dpi=DPI,
  )
  axes = figure.subplots(1, count)
  for ax in axes[:3]:
    ax.set_axis_off()
  axes[0].imshow(picture)
  axes[0].set_title("false colours")
  limits = map.min(), np.quantile(map, 0.999)
  shown = axes[1].imshow(map, cmap="viridis", vmin=limits[0], vmax=limits[1])
  axes[1].set_title("score")
  figure.colorbar(shown, ax=axes[1], extend="max", shrink=0.8)
  if truth is not None:
    axes[2].imshow(truth != 0, cmap="gray", vmin=0, vmax=1)
    axes[2].set_title(f"truth, {np.count_nonzero(truth)} pixels")
  if auroc is not None:
    label = np.int64(truth != 0).ravel()
    charts.show_roc(axes[3], label, map.ravel(), auroc)
    axes[3].set_title(f"ROC curve, {len(label)} pixels")
  _save(path, figure)


def overlay(path, image, heat) -> None:
  """An image under its heat, as a PNG of its own size.

  Args:
    path: file to write.
    image: uint8 [h, w, 1 or 3].
    heat: float [h, w] in [0, 1]; NaN where nobody looked, which is dark.
  """
  from PIL import Image

  with replacing(path, "wb") as file:
    Image.fromarray(heated(image, heat)).save(file, "png")


def _show_title(ax, name, score, label):
  # The font engine refuses the bytes of a file name that is not valid UTF-8.
  name = "".join(c if c.isprintable() else "?" for c in str(name))
  if len(name) > ID_WIDTH:
    name = "…" + name[1 - ID_WIDTH :]
  # A "$" in a file name is no formula.
  ax.set_title(
    f"{name}\n{score:.4g}  {CLASSES[label]}",
    fontsize=8,
    color=COLORS[label],
    parse_math=False,
  )


def _show_image(ax, image):
  if image.shape[-1] == 1:
    ax.imshow(image[..., 0], cmap="gray", vmin=0, vmax=255)
  else:
    ax.imshow(image)


def _show_heat(ax, image, heat):
  ax.imshow(heated(grey(image), heat))


def _show_scale(part, axes):
  from matplotlib.cm import ScalarMappable
  from matplotlib.colors import ListedColormap

  bar = part.colorbar(
    ScalarMappable(cmap=ListedColormap(bar_colours() / 255)),
    ax=axes,
    pad=0.01,
    ticks=[0, EDGE, 1],
  )
  bar.ax.set_yticklabels(["usual", "edge of\nnormal", "far off"], fontsize=7)


def _show_outline(ax, mask):
  for line in outlines(mask):
    for color, linewidth in (("black", 2.2), ("white", 1.0)):
      ax.plot(*line.T, color=color, linewidth=linewidth)


def _save(path, figure):
  from matplotlib.backends.backend_agg import FigureCanvasAgg

  # Without the version in the file, equal results are equal files.
  with replacing(path, "wb") as file:
    FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})
