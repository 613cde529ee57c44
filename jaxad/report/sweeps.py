# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What a sweep leaves behind: its table as CSV, Markdown and HTML, pictures."""

import csv
import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jaxad.report.figures import DPI
from jaxad.report.html import chart_uri, write_html
from jaxad.report.tables import markdown, printable, replacing, title
from jaxad.seeds import FIGURES, shown

# Columns of the table, where the runs have them. What a paper states is always
# there, and all figures are in the CSV file.
SHOWN = (
  "image_auroc",
  "image_auroc_unseen",
  "image_average_precision",
  "f1_max",
  "contamination_f1",
  "pixel_auroc",
  "pixel_aupro",
  "train_seconds",
)
PICTURED = ("image_auroc", "pixel_auroc")

DIGITS = 3
LABEL = 30  # letters beside the matrix
NOTHING = "–"


class Row(NamedTuple):
  """A row of the table.

  Attributes:
    values: its place on each axis.
    of: how many seeds it is to have; n is in the figures.
    figures: of the finished seeds, see `jaxad.seeds.aggregate`.
    paper: {figure: what the paper states}.
  """

  values: tuple[str, ...]
  of: int
  figures: Mapping[str, Mapping]
  paper: Mapping[str, float]

  @property
  def n(self) -> int:
    """How many seeds are finished."""
    return max((entry["n"] for entry in self.figures.values()), default=0)


def write_sweep(
  folder: pathlib.Path,
  axes: Sequence,
  rows: Sequence[Row],
  runs: Sequence[Mapping],
  facts: Mapping,
) -> None:
  """Writes `sweep.csv`, `sweep.md` and `sweep.html`.

  Args:
    folder: of the sweep.
    axes: of the grid, with `name` and `values`.
    rows: of the table.
    runs: a row of the CSV file for each: axes, seed, state, figures, folder,
      error.
    facts: what the page says of the sweep: "title", "command", and
      "provenance" of a run or None.
  """
  write_csv(folder / "sweep.csv", runs)
  facts = {**facts, **{k: printable(facts[k]) for k in ("title", "command")}}
  titles, lines = table(axes, rows)
  counts = _counts(runs)
  failed = [run for run in runs if run["error"]]
  notes = _notes(rows)
  text = markdown(titles, lines)
  with replacing(folder / "sweep.md", "w", encoding="utf-8") as file:
    file.write(f"# {facts['title']}\n\n{counts}.\n\n    {facts['command']}\n\n")
    file.write(f"{text}\n")
    file.writelines(f"\n{note}\n" for note in notes)
    file.writelines(
      f"\n- failed: {run['folder']}: {run['error']}\n" for run in failed
    )
  write_html(
    folder / "sweep.html",
    "sweep.html",
    counts=counts,
    titles=titles,
    lines=lines,
    numbers_from=sum(len(axis.values) > 1 for axis in axes) or 1,
    notes=notes,
    failed=failed,
    runs=[{**run, "page": _page(folder, run)} for run in runs],
    seen=[
      (name, _title(name))
      for name in PICTURED
      if any(run[name] is not None for run in runs)
    ],
    axes=[axis.name for axis in axes],
    pictures=_pictures(axes, rows),
    **facts,
  )


def _counts(runs):
  states = [run["state"] for run in runs]
  found = {state: states.count(state) for state in dict.fromkeys(states)}
  said = ", ".join(f"{n} {state}" for state, n in found.items())
  return f"{len(runs)} runs: {said}"


def _page(folder, run):
  """Where the page of a run is, seen from that of the sweep."""
  page = pathlib.PurePosixPath(run["folder"]) / "report.html"
  return page.as_posix() if (folder / page).is_file() else None


def _notes(rows):
  notes = [
    "Mean and sample deviation (with n - 1) over n seeds; of one seed there is "
    "no deviation."
  ]
  if any(row.paper for row in rows):
    notes.append(
      "Paper: what the method's paper states for the data set, or its authors' "
      "checkpoints give, as it stands in the configuration; the difference is "
      "ours less the paper's. Sizes and lengths of a run may be smaller than "
      "there."
    )
  return notes


def write_csv(path: pathlib.Path, runs: Sequence[Mapping]) -> None:
  """A row for each run, with all digits; figures that none has are left out."""
  names = [
    name
    for name in dict.fromkeys(itertools.chain(*runs))
    if name not in FIGURES or any(run.get(name) is not None for run in runs)
  ]
  with replacing(
    path, "w", encoding="utf-8", errors="surrogateescape", newline=""
  ) as file:
    writer = csv.DictWriter(
      file, names, extrasaction="ignore", lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(runs)


def table(
  axes: Sequence, rows: Sequence[Row]
) -> tuple[list[str], list[list[str]]]:
  """Titles and lines of the table, as text.

  Axes of one value are left out, but not the first where all are.
  """
  places = _varying(axes)
  stated = {figure for row in rows for figure in row.paper}
  there = {figure for row in rows for figure in row.figures}
  names = [*SHOWN, *(name for name in FIGURES if name not in SHOWN)]
  names = [name for name in names if name in stated or name in there & {*SHOWN}]
  titles = [*(axes[k].name for k in places), "n"]
  for name in names:
    titles.append(_title(name))
    titles += ["paper", "difference"] if name in stated else []
  lines = []
  for row in rows:
    n = str(row.n) if row.n == row.of else f"{row.n} of {row.of}"
    line = [*(row.values[k] for k in places), n]
    for name in names:
      entry, paper = row.figures.get(name), row.paper.get(name)
      line.append(_shown(name, entry))
      if name in stated:
        both = entry is not None and paper is not None
        line.append(NOTHING if paper is None else f"{paper:.{DIGITS}f}")
        line.append(f"{entry['mean'] - paper:+.{DIGITS}f}" if both else NOTHING)
    lines.append(line)
  return titles, lines


def _varying(axes):
  return [k for k, axis in enumerate(axes) if len(axis.values) > 1] or [0]


def _title(name):
  if name == "train_seconds":
    return "training [s]"
  return title(name)


def _shown(name, entry):
  if entry is None:
    return NOTHING
  if name == "train_seconds":
    return f"{entry['mean']:.0f}"
  return shown(entry, DIGITS).replace("+-", "±")


def _pictures(axes, rows):
  """[(title, data URI)] of the figures that are pictured."""
  if len(rows) < 2:
    return []
  there = {name for row in rows for name in row.figures}
  return [
    (_title(name), chart_uri(matrix(axes, rows, name)))
    for name in PICTURED
    if name in there
  ]


def _short(label):
  """The end of a long one, such as a path, has what makes the difference."""
  label = printable(label)
  return label if len(label) <= LABEL else f"…{label[1 - LABEL :]}"


def matrix(axes: Sequence, rows: Sequence[Row], name: str):
  """A figure's means as a coloured matrix, with the paper's in brackets.

  The first axis of several values is down, all others are across; a single one
  is across, but for that of the configurations.

  Args:
    axes: of the grid.
    rows: of the table.
    name: of the figure, a share.

  Returns:
    A figure of matplotlib.
  """
  import matplotlib
  import numpy as np
  from matplotlib.figure import Figure

  down, *across = _varying(axes)
  if not across and down:
    down, across = 0, [down]
  label = lambda row, places: ", ".join(row.values[k] for k in places)
  left = list(dict.fromkeys(row.values[down] for row in rows))
  above = list(dict.fromkeys(label(row, across) for row in rows))
  values = np.full((len(left), len(above)), np.nan)
  texts = {}
  for row in rows:
    place = left.index(row.values[down]), above.index(label(row, across))
    entry, paper = row.figures.get(name), row.paper.get(name)
    said = NOTHING
    if entry is not None:
      values[place] = entry["mean"]
      said = f"{entry['mean']:.{DIGITS}f}"
    texts[place] = said if paper is None else f"{said}\n({paper:.{DIGITS}f})"
  both = any("\n" in text for text in texts.values())
  left, above = [*map(_short, left)], [*map(_short, above)]
  beside, over = max(map(len, left)), max(map(len, above))
  tilt = 45 if over > 9 else 0
  figure = Figure(
    figsize=(
      0.095 * beside + 0.85 * len(above) + 1.2 + (0.06 * over if tilt else 0),
      (0.6 if both else 0.42) * len(left) + 1.1 + (0.06 * over if tilt else 0),
    ),
    layout="constrained",
    dpi=DPI,
  )
  plot = figure.add_subplot()
  colours = matplotlib.colormaps["viridis"].with_extremes(bad="0.93")
  low = min(0.5, np.nanmin(values)) if np.isfinite(values).any() else 0.5
  picture = plot.imshow(values, cmap=colours, vmin=low, vmax=1, aspect="auto")
  for (y, x), text in texts.items():
    level = (values[y, x] - low) / (1 - low)
    ink = "white" if np.isfinite(level) and level < 0.6 else "black"
    plot.text(x, y, text, ha="center", va="center", color=ink, fontsize=8)
  plot.set_xticks(
    range(len(above)),
    above,
    rotation=tilt,
    ha="left" if tilt else "center",
    rotation_mode="anchor" if tilt else "default",
    parse_math=False,
  )
  plot.set_yticks(range(len(left)), left, parse_math=False)
  plot.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False)
  plot.tick_params(length=0)
  plot.spines[:].set_visible(False)
  plot.set_xlabel(", ".join(axes[k].name for k in across))
  figure.colorbar(picture, ax=plot, label=_title(name))
  return figure
