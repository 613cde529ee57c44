# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What was measured, on the screen and in files, as it comes."""

import json
import os
import pathlib
import shlex
import sys
from collections.abc import Mapping

# Names of the columns, and how their numbers are written.
COLUMNS = {
  "median_ms": ".2f",
  "cpu_ms": ".2f",
  "compile_s": ".1f",
  "items_per_s": ".0f",
  "peak_mb": ".0f",
  "gflop": ".3g",
  "gbyte": ".3g",
  "roofline": ".2f",
  "ratio_to_pytorch": ".2f",
  "ratio_to_pytorch_compiled": ".2f",
}
LOOP_COLUMNS = {
  "devices": "d",
  "loop_ms": ".2f",
  "bare_ms": ".2f",
  "lost_percent": ".1f",
  "images_per_s": ".0f",
  "loop_cpu_ms": ".2f",
  "bare_cpu_ms": ".2f",
}
DATA_COLUMNS = {"pixels": "d", "decoded_per_s": ".0f", "read_per_s": ".0f"}
_FORMATS = COLUMNS | LOOP_COLUMNS | DATA_COLUMNS
TABLES = ("rows", "loop", "data")
_WIDTHS = {"workload": 24, "implementation": 16}


def text_of(name: str, value) -> str:
  """A cell."""
  if value is None:
    return "-"
  return value if isinstance(value, str) else format(value, _FORMATS[name])


def line(row: Mapping) -> str:
  """A row, or the names of its columns, as one line of the screen."""
  cells = []
  for name, value in row.items():
    text = text_of(name, value)
    width = _WIDTHS.get(name)
    cells.append(text.ljust(width) if width else text.rjust(max(len(name), 9)))
  return "  ".join(cells).rstrip()


def header(row: Mapping) -> str:
  """The names of a row's columns, above them."""
  return line(dict(zip(row, row, strict=True)))


def markdown(rows: list[Mapping]) -> str:
  """Rows of the same columns as a table in Markdown."""
  from jaxad.report.tables import markdown

  cells = ([text_of(k, v) for k, v in row.items()] for row in rows)
  return markdown(list(rows[0]), cells)


class Report:
  """The tables of one command; whatever is interrupted, what was added stays.

  Args:
    json_file: where the rows go, or None.
    markdown_file: where the tables go, or None.
    conditions: what the file says of the whole: "machine", "rates", ...
  """

  def __init__(self, json_file, markdown_file, conditions: Mapping):
    from jaxad import provenance

    command = ["python", "-m", f"benchmarks.{pathlib.Path(sys.argv[0]).stem}"]
    self._files = json_file, markdown_file
    self._found = {
      "command": shlex.join([*command, *sys.argv[1:]]),
      "commit": provenance.commit(),
      **conditions,
      "workloads": {},
      **{part: [] for part in (*TABLES, "errors")},
    }

  @property
  def failed(self) -> bool:
    """Whether anything did."""
    return bool(self._found["errors"])

  def add(self, name: str, title: str, rows: list[dict], part="rows") -> None:
    """Prints rows of a workload and writes all that there are.

    Args:
      name: of the workload.
      title: one line on it.
      rows: {column: value}; "error" where there is nothing else.
      part: which table they belong to: "rows", "loop" or "data".
    """
    for row in rows:
      if "error" in row:
        print(f"{name}: {row['error']}", file=sys.stderr, flush=True)
        # The line of a traceback that says why.
        last = row["error"].strip().splitlines()[-1]
        self._found["errors"].append(row | {"error": last})
        continue
      if not self._found[part]:
        print(f"\n{header(row)}")
      print(line(row), flush=True)
      self._found[part].append(row)
    self._found["workloads"][name] = title
    self._write()

  def _write(self):
    json_file, markdown_file = self._files
    if json_file:
      replace(json_file, json.dumps(self._found, indent=2) + "\n")
    if markdown_file:
      replace(markdown_file, self._markdown())

  def _markdown(self):
    from jaxad import provenance

    found = self._found
    commit = provenance.short(found["commit"])
    said = [f"`{found['command']}`, commit {commit}"]
    if found.get("machine"):
      said.append(found["machine"])
    if rates := found.get("rates"):
      said.append(told(rates))
    tables = [markdown(found[k]) for k in TABLES if found[k]]
    errors = [
      f"- {row['workload']}, {row['implementation']}: {row['error']}"
      for row in found["errors"]
    ]
    if errors:
      tables.append("Failed:\n\n" + "\n".join(errors))
    return "\n\n".join(["\n".join(said), *tables]) + "\n"


def told(rates: Mapping) -> str:
  """What the device reached, in words."""
  return (
    f"measured: {rates['flops'] / 1e12:.3g} Tflop/s in a matrix product, "
    f"{rates['bytes'] / 1e9:.3g} GB/s read and written in a copy"
  )


def replace(path: pathlib.Path, text: str) -> None:
  """Writes a file; what stood there before stays until that is done."""
  temporary = path.with_name(f"{path.name}.{os.getpid()}")
  temporary.write_text(text, encoding="utf-8")
  temporary.replace(path)
