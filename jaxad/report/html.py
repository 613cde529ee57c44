# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""HTML pages of one file each: the templates, and what is laid into them.

A page loads nothing: its style sheet, pictures and charts lie within it.
"""

import base64
import functools
import io

import numpy as np

from jaxad.report.tables import printable, replacing


def write_html(path, template: str, **values) -> None:
  """Renders a template of `jaxad/report/templates` into a file.

  Every value is escaped, and what no page can hold (the bytes of a file name
  that is not valid UTF-8, control characters) becomes a replacement sign.

  Args:
    path: file to write.
    template: its name, such as "run.html".
    values: what it may name; `version` is there always.
  """
  text = _environment().get_template(template).render(values)
  with replacing(path, "w", encoding="utf-8", newline="\n") as file:
    file.write(text)


@functools.cache
def _environment():
  import jinja2

  import jaxad

  environment = jinja2.Environment(
    loader=jinja2.PackageLoader("jaxad.report"),
    autoescape=True,
    finalize=_shown,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
  )
  environment.globals["version"] = jaxad.__version__
  return environment


def _shown(value):
  """What a template prints."""
  return printable(value) if type(value) is str else value


def picture_uri(pixels: np.ndarray) -> str:
  """An image as a data URI: of small ones PNG, else JPEG.

  Args:
    pixels: uint8 [h, w, 1 or 3].
  """
  from PIL import Image

  pixels = np.asarray(pixels)
  small = max(pixels.shape[:2]) <= SMALL
  form, options = ("png", {}) if small else ("jpeg", {"quality": 88})
  image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
  file = io.BytesIO()
  image.save(file, form, **options)
  return _uri(f"image/{form}", file.getvalue())


# A side up to which JPEG saves nothing.
SMALL = 64


def chart_uri(figure) -> str:
  """A figure of matplotlib as a data URI, in SVG; equal ones are equal text."""
  import matplotlib
  from matplotlib.backends.backend_svg import FigureCanvasSVG

  file = io.BytesIO()
  with matplotlib.rc_context({"svg.hashsalt": "jaxad"}):
    FigureCanvasSVG(figure).print_svg(
      file, metadata={"Date": None, "Creator": None}
    )
  return _uri("image/svg+xml", file.getvalue())


def _uri(kind, blob):
  return f"data:{kind};base64,{base64.b64encode(blob).decode()}"
