# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""A hook of mkdocs: links from pages to files of the repository.

In a checkout they lead from docs/ to the file. The site has no such files:
there they lead to those of `repo_url`, or are words where mkdocs.yml has none.
"""

import pathlib
import posixpath
import re

_ROOT = pathlib.Path(__file__).parent.parent
_LINK = re.compile(r"\[([^]]*)\]\(([^)\s:#]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown, page, config, files):
  """The text of a page with such links turned."""

  def turned(link):
    text, target, anchor = link[1], link[2], link[3] or ""
    folder = posixpath.dirname(page.file.src_uri)
    inside = posixpath.normpath(posixpath.join(folder, target))
    if files.get_file_from_path(inside) is not None:
      return link[0]
    path = posixpath.normpath(posixpath.join("docs", inside))
    if not (_ROOT / path).exists():
      return link[0]
    if not config.repo_url:
      return text
    return f"[{text}]({config.repo_url.rstrip('/')}/blob/main/{path}{anchor})"

  return _LINK.sub(turned, markdown)
