# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Figures of a scored test set, as PNG files.

They are made through matplotlib's objects, without pyplot: no global state, no
display and no window, in any thread. Colours are those of Okabe and Ito and of
`viridis`, which the colour-blind can tell apart.
"""

import numpy as np

from jaxad.errors import InputError
from jaxad.evaluation import metrics
from jaxad.report.tables import check_lengths, replacing

CLASSES = ("normal", "anomalous")
COLORS = ("#0072b2", "#d55e00")
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
  title = f"ROC curve, {len(label)} {noun}"
  _show_roc(figure.add_subplot(), label, score, auroc, title)
  _save(path, figure)


def _show_roc(axes, label, score, auroc, title):
  from sklearn import metrics as sklearn_metrics

  fpr, tpr, _ = sklearn_metrics.roc_curve(label, score)
  axes.plot((0, 1), (0, 1), color="0.6", linestyle="--", label="chance")
  axes.plot(fpr, tpr, color=COLORS[1], linewidth=2, label=f"AUROC {auroc:.4f}")
  axes.set(
    xlabel="false positive rate",
    ylabel="true positive rate",
    title=title,
    xlim=(-0.02, 1.02),
    ylim=(-0.02, 1.02),
    aspect="equal",
  )
  axes.grid(color="0.9")
  axes.legend(loc="lower right")


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

  score = score.astype(np.float64)
  low, high = score.min(), score.max()
  log = low > 0 and high > 1000 * low and (threshold is None or threshold > 0)
  edges = (
    np.geomspace(low, high, 41) if log else np.histogram_bin_edges(score, 40)
  )
  figure = Figure(figsize=(7, 4), layout="constrained", dpi=DPI)
  axes = figure.add_subplot()
  for k in (0, 1):
    values = score[label == k]
    if values.size:
      axes.hist(
        values,
        edges,
        weights=np.full(values.size, 100 / values.size),
        color=COLORS[k],
        alpha=0.55,
        # Hatched, to be told apart in grey as well.
        hatch=("", "///")[k],
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
  axes.set(
    xlabel="anomaly score",
    ylabel="share of the class [%]",
    title=f"Scores, {len(score)} {noun}",
    xscale="log" if log else "linear",
  )
  axes.legend()
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
  maps,
  scores,
  labels,
  ids,
  masks=None,
  map_limits: tuple[float, float] | None = None,
  count: int = 8,
) -> None:
  """The most and the least anomalous images, with their heat maps.

  Each picture is shown plain and, below, in grey under its heat map. All heat
  maps have one colour scale: a scale of its own would give every normal image
  a bright spot. The outline of the mask is drawn where there is one.

  Args:
    path: PNG file to write.
    images: [N, H, W, 3] or [N, H, W, 1] uint8, N >= 1.
    maps: [N, H, W] float, the score of each pixel, or None.
    scores: [N] float.
    labels: [N] int, 0 normal and 1 anomalous.
    ids: [N] str, printed above the images, the end of a long one.
    masks: [N, H, W], non-zero on defect pixels, or None.
    map_limits: (low, high) of the colour scale; by default the least and the
      99.9 % quantile of `maps`. Give it where `images` are a selection and
      sheets are to be compared.
    count: images in each of the two blocks, at most.

  Raises:
    InputError: no images, arrays that do not fit together, or scores or maps
      that are not finite.
  """
  labels, scores = metrics.check_scores(labels, scores)
  images = np.asarray(images)
  if images.ndim != 4 or images.shape[-1] not in (1, 3) or not len(images):
    raise InputError(f"images {images.shape}: expected [N, H, W, 3], N >= 1")
  check_lengths("images, scores, ids", (images, scores, ids))
  for name, array in (("maps", maps), ("masks", masks)):
    if array is not None and np.shape(array) != images.shape[:3]:
      raise InputError(
        f"{name} {np.shape(array)}: expected {images.shape[:3]} as the images"
      )
  if maps is not None:
    maps = metrics.check_finite(maps)
    if map_limits is None:
      map_limits = maps.min(), np.quantile(maps, 0.999)
  from matplotlib.figure import Figure

  blocks = [block for block in extremes(scores, count) if len(block)]
  columns = max(3, len(blocks[0]))
  rows = 1 if maps is None else 2
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
      if maps is not None:
        shown = _show_map(column[1], images[k], maps[k], map_limits)
      if mask is not None and mask.any():
        _show_outline(column[-1], mask)
    if maps is not None:
      part.colorbar(
        shown, ax=axes, extend="both", pad=0.01, label="score of a pixel"
      )
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
    title = f"ROC curve, {len(label)} pixels"
    _show_roc(axes[3], label, map.ravel(), auroc, title)
  _save(path, figure)


def overlay(path, image, map, limits=None) -> None:
  """An image under its heat map, as a PNG of its own size.

  What is not anomalous stays as it is.

  Args:
    path: file to write.
    image: uint8 [h, w, 1 or 3].
    map: float [h, w]; NaN where nobody looked, which is dark.
    limits: (cold, hot) values of the map, the same for all images that are to
      be compared; None takes those of this map.
  """
  import matplotlib
  from PIL import Image

  low, high = (np.nanmin(map), np.nanmax(map)) if limits is None else limits
  heat = (map - low) / (high - low if high > low else 1)
  seen = np.isfinite(heat)
  heat = np.clip(np.where(seen, heat, 0), 0, 1)
  table = matplotlib.colormaps["inferno"](np.arange(256), bytes=True)[:, :3]
  colour = table[np.uint8(heat * 255 + 0.5)]
  share = np.float32(0.7 * heat)[..., None]
  mixed = (1 - share) * image + share * colour
  mixed = np.where(seen[..., None], mixed, mixed / 3)
  with replacing(path, "wb") as file:
    Image.fromarray(np.uint8(mixed + 0.5)).save(file, "png")


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


def _show_map(ax, image, map, limits):
  ax.imshow(image.mean(-1), cmap="gray", vmin=0, vmax=255)
  low, high = limits
  return ax.imshow(map, cmap="viridis", vmin=low, vmax=high, alpha=0.6)


def _show_outline(ax, mask):
  # A frame of zeros closes the outline of a defect at the edge.
  height, width = mask.shape
  axis = np.arange(-1, width + 1), np.arange(-1, height + 1)
  for color, linewidth in (("black", 2.2), ("white", 1.0)):
    ax.contour(
      *axis, np.pad(mask, 1), (0.5,), colors=color, linewidths=linewidth
    )


def _save(path, figure):
  from matplotlib.backends.backend_agg import FigureCanvasAgg

  # Without the version in the file, equal results are equal files.
  with replacing(path, "wb") as file:
    FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})
