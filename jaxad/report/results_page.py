# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The page of results: what its tables say of the entries in results/.

The same entries make the same text, to the byte.
"""

import collections
import functools
import itertools
import json
import pathlib
import textwrap
from collections.abc import Iterable, Mapping

from jaxad import config_files, provenance
from jaxad.data import SCENES, TABLES
from jaxad.data.one_class import SETS
from jaxad.errors import InputError
from jaxad.methods import METHODS
from jaxad.report.entries import Entry, read
from jaxad.report.tables import markdown

# Ours counts as the paper's figure from this much below it on.
CLOSE = 0.01

# What is said of a method whose figures are not of the first protocol.
PROTOCOLS = {
  "one_vs_rest": "",
  "one_vs_rest_80_20": ", 80/20",
  "leave_one_out": ", class anomalous",
  "leave_one_out_80_20": ", class anomalous, 80/20",
  "contaminated": ", others among them",
  "contaminated_test": ", others among them",
}
_LETTERS = "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖ"


def page(folder: pathlib.Path) -> str:
  """docs/results.md, from the entries and `benchmarks/*.json` of a folder."""
  import jinja2

  environment = jinja2.Environment(
    loader=jinja2.PackageLoader("jaxad.report"),
    autoescape=False,  # Markdown
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    undefined=jinja2.StrictUndefined,
  )
  return environment.get_template("results.md").render(**values(folder))


def values(folder: pathlib.Path) -> dict:
  """What the template names: texts, and tables as lists of rows of texts."""
  entries = read(folder)
  marks = _marks(entries)
  shown = functools.partial(text_of, marks)
  default = [e for e in entries if e.is_default]
  rest = [e for e in entries if not e.is_default]
  problems = folder / "problems.md"
  conditions, speed = benchmarks(folder / "benchmarks")
  return {
    "origin": origin([e for e in entries if not e.transcribed], marks),
    "choice": choice(default, shown),
    "papers": papers(entries, shown),
    "not_run": not_run(entries),
    "close": CLOSE,
    "matrices": matrices(
      [e for e in rest if e.results["setting"] == "reduced"], shown
    ),
    "conditions": conditions,
    "speed": speed,
    "problems": problems.read_text(encoding="utf-8").strip(),
  }


def _marks(entries):
  """{commit: letter} of the figures whose runs are gone."""
  commits = sorted({e.commit for e in entries if e.transcribed})
  pairs = map("".join, itertools.product(_LETTERS, repeat=2))
  return dict(zip(commits, [*_LETTERS, *pairs], strict=False))


def text_of(marks: dict[str, str], entry: Entry, name: str) -> str:
  """The text of a figure, "-" where there is none; {commit: mark}."""
  figure = entry.figure(name)
  if figure is None:
    return "-"
  text = f"{figure.value:.3f}"
  if figure.deviation is not None:
    text += f"±{figure.deviation:.3f} ({figure.n})"
  return text + (marks[entry.commit] if entry.transcribed else "")


def origin(entries: Iterable[Entry], marks: Mapping[str, str]) -> list[str]:
  """Lines on what the runs were measured with, and what the marks mean."""
  found = collections.defaultdict(set)
  for entry in entries:
    said = entry.results["provenance"]
    found["commit"].add(entry.commit)
    found["day"].add(said["date"][:10])
    found["version"] |= {f"{k} {v}" for k, v in said["versions"].items()}
    found["machine"].add(f"{said['cpu']} ({said['device']})")
  lines = []
  if found:
    of = {name: ", ".join(sorted(texts)) for name, texts in found.items()}
    lines.append(
      f"Runs of {of['day']}: commit {of['commit']}; {of['version']}; "
      f"{of['machine']}."
    )
  if marks:
    lines.append(
      "A letter marks an earlier commit, whose draws of orders, splits and "
      "images were others, and whose folder was not kept: "
      + ", ".join(f"{letter} {commit}" for commit, letter in marks.items())
      + "."
    )
  return [_wrapped(line) for line in lines]


def _wrapped(text):
  return textwrap.fill(text, 120, break_on_hyphens=False)


def labels(entry: Entry) -> str:
  """What a method has to be told of anomalies."""
  if entry.config["data"]["protocol"].startswith("contaminated"):
    return "none, outliers among them"
  n = entry.results.get("n_train_anomalies") or 0
  return f"{n} defects" if n else "none"


def choice(entries: Iterable[Entry], shown) -> str:
  """A row for each default run, by data and labels."""
  rows = []
  for entry in entries:
    seconds, time = entry.figure("train_seconds"), entry.figure("ms_per_image")
    embed = entry.results.get("embed_seconds") or 0.0
    rows.append(
      [
        entry.data,
        labels(entry),
        f"`{entry.method}`",
        shown(entry, "image_auroc"),
        shown(entry, "pixel_auroc"),
        "-" if seconds is None else f"{seconds.value + embed:.1f}",
        "-" if time is None else f"{time.value:.2g}",
      ]
    )
  # Few labels last.
  rows.sort(key=lambda row: (row[0], row[1] != "none", row[2]))
  head = ["data", "labels", "method", "image AUROC", "pixel AUROC"]
  return markdown([*head, "training, s", "ms a score"], rows)


def papers(entries: Iterable[Entry], shown) -> str | None:
  """A row for each run at the paper's setting whose paper has a figure."""
  rows = []
  for entry in entries:
    if entry.results["setting"] != "paper":
      continue
    for name, paper in list(config_files.paper(_text(entry)).items())[:1]:
      ours = entry.figure(name)
      if ours is None:
        continue
      gap = ours.value - paper
      rows.append(
        [
          f"`{entry.method}`",
          entry.data,
          name.replace("_", " ").replace("auroc", "AUROC"),
          f"{paper:.3f}",
          shown(entry, name),
          f"{gap:+.3f}",
          f"[{entry.id}](../results/{entry.id})",
          "reproduced" if gap >= -CLOSE else "not reproduced",
        ]
      )
  head = ["method", "data", "figure", "paper", "ours", "difference", "run"]
  return markdown([*head, ""], rows) if rows else None


def not_run(entries: Iterable[Entry]) -> str:
  """The figures of the papers without such a run, each method's first."""
  run = {_text(e) for e in entries if e.results["setting"] == "paper"}
  said = []
  for method in sorted(METHODS):
    missing = {
      preset: next(iter(figures.items()))
      for preset, figures in config_files.papers(method).items()
      if f"{method}:{preset}" not in run
    }
    # The mean over a set says more than a class of it.
    for preset in sorted(missing, key=lambda preset: "/" in preset)[:1]:
      name, value = missing[preset]
      unit = " (pixels)" if name.startswith("pixel") else ""
      said.append(f"`{method}` {preset} {value:.3f}{unit}")
  return _wrapped("; ".join(said) + ".")


def _text(entry):
  """What `--config` takes for the same data."""
  data, method = entry.config["data"], entry.method
  subset = data["subset"]
  if data["name"] in SETS and subset.isdecimal():
    subset = SETS[data["name"]].classes[int(subset)]
  if data["name"] in ("folder", "table", "scene") and data["root"]:
    subset = entry.data
  return f"{method}:" + "/".join(filter(None, (data["name"], subset)))


def matrices(entries: Iterable[Entry], shown) -> list[str]:
  """Classes, or data sets, x methods: a table of each family."""
  families = collections.defaultdict(dict)
  for entry in entries:
    family, row = _place(entry)
    protocol = PROTOCOLS[entry.config["data"]["protocol"]]
    column = f"`{entry.method}`" + (protocol if family == CLASSES else "")
    cells = families[family].setdefault(row, {})
    if column in cells:
      raise InputError(
        f"results/{entry.id}: results/{cells[column].id} is of the same "
        'method and data; tell them apart by "variant" in results.json.'
      )
    cells[column] = entry
  found = []
  for (title, name), rows in sorted(families.items()):
    columns = sorted({column for cells in rows.values() for column in cells})
    lines = [[title, *columns]]
    for row, cells in sorted(rows.items()):
      figures = (shown(cells[c], name) if c in cells else "-" for c in columns)
      lines.append([" ".join(filter(None, row[1:])), *figures])
    if (title, name) == CLASSES:
      lines += _means(rows, columns)
    found.append(markdown(lines[0], lines[1:]))
  return found


CLASSES = "one class", "image_auroc"


def _place(entry):
  """((title, figure) of a table, (order, name, variant) of a row)."""
  data, variant = entry.config["data"], entry.results.get("variant", "")
  if (known := SETS.get(data["name"])) is not None:
    subset = data["subset"]
    number = int(subset) if subset.isdecimal() else known.classes.index(subset)
    row = (data["name"], number), f"{data['name']}/{known.classes[number]}"
    return CLASSES, (*row, variant)
  row = entry.data, entry.data, variant
  if data["name"] in TABLES:
    return ("tables", "image_auroc"), row
  if data["name"] in SCENES:
    return ("scenes, pixel AUROC", "pixel_auroc"), row
  return ("photographs and textures", "image_auroc"), row


def _means(rows, columns):
  """A line for each set of which a method was run for all ten classes."""
  lines = []
  for name in sorted({name for (name, _), *_ in rows}):
    line = [f"{name}, mean"]
    for column in columns:
      figures = [
        cells[column].figure("image_auroc")
        for ((found, _), _, variant), cells in rows.items()
        if found == name and not variant and column in cells
      ]
      whole = len(figures) == len(SETS[name].classes) and all(figures)
      mean = whole and sum(figure.value for figure in figures) / len(figures)
      line.append(f"{mean:.3f}" if whole else "-")
    if set(line[1:]) != {"-"}:
      lines.append(line)
  return lines


def benchmarks(folder: pathlib.Path) -> tuple[list[str], str]:
  """(the conditions, the table) of the files of `benchmarks.run --json`.

  The table has what was timed beside PyTorch; a method's training and scores
  share a line.
  """
  machines, lines = set(), {}
  for path in sorted(folder.glob("*.json")):
    try:
      file = json.loads(path.read_text(encoding="utf-8"))
      machines.add(file["machine"])
      timed = collections.defaultdict(dict)
      for row in file["rows"]:
        timed[row["workload"]][row["implementation"]] = row
      for workload, rows in timed.items():
        method, _, part = workload.partition("/")
        if "pytorch" in rows and "jaxad" in rows:
          key = method, "" if part in ("train", "score") else part
          commit = provenance.short(file["commit"])
          line = lines.setdefault(key, {"commit": commit})
          line[part] = rows, file["workloads"][workload]
    except (ValueError, LookupError, TypeError) as error:
      raise InputError(
        f"results/benchmarks/{path.name}: not as python -m benchmarks.run "
        f"--json makes it ({type(error).__name__}: {error})."
      ) from error
  # Lines of two parts first, in each method.
  table = [_speed(*key, line) for key, line in sorted(lines.items())]
  head = ["method", "step", "ms", "PyTorch", "ratio", "compiling, s"]
  head += ["scores: ms", "PyTorch", "ratio", "commit"]
  return sorted(machines), markdown(head, table)


def _speed(method, part, line):
  """A line of the table: a part, or training and scores."""
  trained, scored = line.get(part or "train"), line.get("score")
  cells = [f"`{method}`", (trained or scored)[1]]
  for found, compiling in ((trained, True), (scored, False)):
    if found is None:
      cells += ["-"] * (4 if compiling else 3)
      continue
    ours, theirs = found[0]["jaxad"], found[0]["pytorch"]
    cells += [_milliseconds(row["median_ms"]) for row in (ours, theirs)]
    cells.append(f"{ours['ratio_to_pytorch']:.2f}")
    if compiling:
      cells.append(f"{ours['compile_s']:.1f}")
  return [*cells, line["commit"]]


def _milliseconds(value):
  return f"{value:.0f}" if value >= 10 else f"{value:.1f}"
