# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Fetching weights from a server on this machine."""

import concurrent.futures
import hashlib
import http.server
import os
import pathlib
import threading

import pytest

from jaxad.errors import InputError
from jaxad.pretrained.download import fetch

CONTENT = bytes(range(256)) * 12_000  # 3 MB: several chunks
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
  """Serves CONTENT the way that the path says, and notes each Range."""

  def do_GET(self):
    asked = self.headers.get("Range")
    self.server.ranges.append(asked)
    start = int(asked[len("bytes=") : -1]) if asked else 0
    mode = self.path.split("/")[1]
    if mode == "missing":
      self.send_error(404)
    elif start and mode != "norange":
      if start >= len(CONTENT):
        self.send_error(416)
        return
      self.send_response(206)
      last = len(CONTENT) - 1
      span = f"bytes {start}-{last}/{len(CONTENT)}"
      self.send_header("Content-Range", span)
      self.send_body(CONTENT[start:])
    else:
      self.send_response(200)
      broken = mode == "broken" and len(self.server.ranges) == 1
      self.send_body(CONTENT, len(CONTENT) // 2 if broken else None)

  def send_body(self, body, sent=None):
    self.send_header("Content-Length", str(len(body)))
    self.end_headers()
    self.wfile.write(body[:sent])

  def log_message(self, *_):
    pass


@pytest.fixture
def server(monkeypatch):
  monkeypatch.setenv("no_proxy", "127.0.0.1")
  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
    server.ranges = []
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()


def names_in(folder):
  return sorted({path.name for path in folder.iterdir()} - {".lock"})


def test_download_once(server, tmp_path, capsys):
  url = f"{server.url}/plain/net-1.pth?x=1"
  path = fetch(url, DIGEST[:8], tmp_path)
  assert path == str(tmp_path / "weights" / "net-1.pth")
  assert pathlib.Path(path).read_bytes() == CONTENT
  assert "net-1.pth: 100%, 3.1 MB" in capsys.readouterr().err
  assert fetch(url, DIGEST[:8], tmp_path) == path
  assert server.ranges == [None]
  # A file that rotted in the cache is fetched again.
  pathlib.Path(path).write_bytes(b"rotten")
  fetch(url, DIGEST[:8], tmp_path)
  assert pathlib.Path(path).read_bytes() == CONTENT
  assert names_in(tmp_path / "weights") == ["net-1.pth"]


def test_processes_that_fetch_at_once(server, tmp_path):
  """One of them downloads, and the others find the file."""
  ready, url = threading.Barrier(3), f"{server.url}/plain/n.pth"

  def one(_):
    ready.wait()
    return fetch(url, DIGEST[:8], tmp_path)

  with concurrent.futures.ThreadPoolExecutor(3) as pool:
    (path,) = set(pool.map(one, range(3)))
  assert pathlib.Path(path).read_bytes() == CONTENT
  assert server.ranges == [None]
  assert names_in(tmp_path / "weights") == ["n.pth"]


def test_cache_folder(server, tmp_path, monkeypatch):
  monkeypatch.setenv("JAXAD_CACHE", str(tmp_path / "a"))
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
  monkeypatch.setenv("HOME", str(tmp_path / "c"))
  for name, folder in (
    ("JAXAD_CACHE", tmp_path / "a"),
    ("XDG_CACHE_HOME", tmp_path / "b" / "jaxad"),
    ("HOME", tmp_path / "c" / ".cache" / "jaxad"),
  ):
    path = fetch(f"{server.url}/plain/n.pth", DIGEST[:8])
    assert path == str(folder / "weights" / "n.pth")
    monkeypatch.delenv(name)


@pytest.mark.parametrize("mode", ["plain", "norange"])
def test_download_resumes(server, tmp_path, mode):
  part = tmp_path / "weights" / "n.pth.part"
  part.parent.mkdir()
  part.write_bytes(CONTENT[:1000])
  path = fetch(f"{server.url}/{mode}/n.pth", DIGEST[:8], tmp_path)
  assert server.ranges == ["bytes=1000-"]
  assert pathlib.Path(path).read_bytes() == CONTENT
  assert not part.exists()


def test_download_after_a_broken_connection(server, tmp_path):
  url = f"{server.url}/broken/n.pth"
  with pytest.raises(InputError, match="1536000 of 3072000 bytes; run again"):
    fetch(url, DIGEST[:8], tmp_path)
  assert names_in(tmp_path / "weights") == ["n.pth.part"]
  path = fetch(url, DIGEST[:8], tmp_path)
  assert server.ranges == [None, "bytes=1536000-"]
  assert pathlib.Path(path).read_bytes() == CONTENT


def test_download_with_a_complete_or_overlong_part(server, tmp_path):
  part = tmp_path / "weights" / "n.pth.part"
  part.parent.mkdir()
  part.write_bytes(CONTENT)
  url = f"{server.url}/plain/n.pth"
  os.remove(fetch(url, DIGEST[:8], tmp_path))
  assert server.ranges == []
  part.write_bytes(CONTENT + b"more")
  path = fetch(url, DIGEST[:8], tmp_path)
  assert server.ranges == ["bytes=3072004-", None]
  assert pathlib.Path(path).read_bytes() == CONTENT


def test_download_with_a_wrong_hash(server, tmp_path):
  with pytest.raises(InputError, match=f"{DIGEST}, expected 00000000"):
    fetch(f"{server.url}/plain/n.pth", "00000000", tmp_path)
  assert names_in(tmp_path / "weights") == []


def test_download_that_cannot_be(server, tmp_path):
  with pytest.raises(InputError, match="404|Not Found") as error:
    fetch(f"{server.url}/missing/n.pth", DIGEST[:8], tmp_path)
  assert str(tmp_path / "weights" / "n.pth") in str(error.value)
  # Nobody listens on port 1.
  with pytest.raises(InputError, match="127.0.0.1:1/n.pth.*elsewhere") as error:
    fetch("http://127.0.0.1:1/n.pth", DIGEST[:8], tmp_path)
  assert "\n" not in str(error.value)
  (tmp_path / "file").write_text("")
  with pytest.raises(InputError, match="cannot be stored.*JAXAD_CACHE"):
    fetch(f"{server.url}/plain/n.pth", DIGEST[:8], tmp_path / "file")
