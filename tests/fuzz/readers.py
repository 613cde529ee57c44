# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The readers of files that others wrote, and what each of them is fed."""

import contextlib
import functools
import gzip
import io
import json
import os
import pathlib
import pickle
import random
import struct
import types
import zipfile
import zlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from fuzz import changed, mutated
from PIL import Image
from scipy import io as of_matlab

from jaxad import (
  callbacks,
  cli,
  config,
  predict,
  scorer,
  tensor_file,
  trained,
)
from jaxad.columns import Columns
from jaxad.data import array_files, lists, manifest, scene_files, table_files
from jaxad.data.decode import decode, decode_mask, read_header
from jaxad.data.examples import Examples
from jaxad.data.fingerprint import Row
from jaxad.predictions import Predictions
from jaxad.pretrained import read_tensors
from jaxad.workdir import Workdir


class Reader(NamedTuple):
  """A row of the table.

  Attributes:
    file: name that the inputs get.
    read: of its path; returns what it likes.
    corpus: contents that are read, made by a function that may put other files
      beside them, into the folder it is given.
    mutate: (rng, content, another) to an input.
    hostile: makes contents that are refused.
    named: whether refusals name the file, or its folder.
  """

  file: str
  read: Callable[[pathlib.Path], object]
  corpus: Callable[[pathlib.Path], list[bytes]]
  mutate: Callable[[random.Random, bytes, bytes], bytes] = mutated
  hostile: Callable[[], list[bytes]] = list
  named: bool = True


def half(by_structure):
  """Inputs by the structure of a format, and as many that tear it."""

  def mutate(rng, blob, other):
    if rng.random() < 0.5:
      return mutated(rng, blob, other)
    return by_structure(rng, blob)

  return mutate


RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 4))
Y = np.int64([0, 0, 1, 0, 0, 1])
CUBE = RNG.integers(0, 999, (4, 5, 6)).astype(np.int16)


def saved(write, *args, **keywords) -> bytes:
  """What a function writes into a file."""
  file = io.BytesIO()
  write(file, *args, **keywords)
  return file.getvalue()


# Images.


def images(form, *more):
  """Images of a format as a corpus, and others (image, keywords)."""
  pixels = RNG.integers(0, 256, (9, 7, 3), np.uint8)
  exif = Image.Exif()
  exif[0x0112] = 6
  found = [
    (Image.fromarray(pixels), {}),
    (Image.fromarray(pixels[..., 0]), {}),
    (Image.fromarray(pixels), {"exif": exif} if form != "BMP" else {}),
    *more,
  ]
  blobs = [saved(one.save, format=form, **kw) for one, kw in found]
  return lambda _: blobs


def read_image(path):
  read_header(path)
  values = decode(path)
  assert values.dtype.kind in "uif" and np.isfinite(values).all()


GREY16 = Image.fromarray(RNG.integers(0, 2**16, (9, 7), np.uint16))
FLOATS = Image.fromarray(RNG.normal(size=(9, 7)).astype(np.float32))
PALETTE = Image.fromarray(RNG.integers(0, 9, (9, 7), np.uint8)).convert("P")
BIT = Image.fromarray(RNG.integers(0, 2, (9, 7)).astype(bool))
ALPHA = Image.fromarray(RNG.integers(0, 256, (9, 7, 4), np.uint8))


def png(header: bytes, data: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
  parts = [(b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b"")]
  return b"\x89PNG\r\n\x1a\n" + b"".join(map(chunk, parts))


def chunk(part):
  name, data = part
  size, crc = len(data), zlib.crc32(name + data)
  return struct.pack(">I4s", size, name) + data + struct.pack(">I", crc)


def png_mutated(rng, blob):
  """One chunk is changed, and its sum with it; of pixels before packing."""
  chunks, at = [], 8
  while at < len(blob):
    (size,), name = struct.unpack_from(">I", blob, at), blob[at + 4 : at + 8]
    chunks.append((name, blob[at + 8 : at + 8 + size]))
    at += 12 + size
  k = rng.randrange(len(chunks))
  name, data = chunks[k]
  if name == b"IDAT" and rng.random() < 0.5:
    data = zlib.compress(mutated(rng, zlib.decompress(data)))
  else:
    data = mutated(rng, data)
  chunks[k] = rng.choice((name, name, b"tRNS", b"PLTE", b"eXIf", b"iTXt")), data
  return blob[:8] + b"".join(map(chunk, chunks))


def png_bombs():
  header = lambda w, h, bits=8, kind=2: struct.pack(
    ">IIBBBBB", w, h, bits, kind, 0, 0, 0
  )
  data = zeros(1024)
  return [
    png(header(2**31 - 1, 2**31 - 1), data),
    png(header(2**31 - 1, 1), data),
    png(header(30_000, 30_000), data),
    png(header(13_000, 13_000, 8, 0), data),
    png(header(0, 0), data),
    png(header(64, 64), data[:99], (b"zTXt", b"a\0\0" + data)),
  ]


def tiff_bombs():
  """Directories that promise more than there is."""

  def tiff(*entries):
    rows = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    return head + rows + struct.pack("<I", 0) + bytes(64)

  def image(w, h):
    tags = ((256, 4, 1, w), (257, 4, 1, h), (258, 3, 1, 8), (259, 3, 1, 1))
    tags += ((262, 3, 1, 1), (273, 4, 1, 8), (278, 4, 1, h), (279, 4, 1, 64))
    return tiff(*tags)

  return [
    image(2**31 - 1, 2**31 - 1),
    image(20_000, 20_000),
    tiff((256, 4, 2**32 - 1, 8)),
  ]


def another_kind():
  """What Pillow can read and jaxad should not, least of all PostScript."""
  one = Image.new("RGB", (8, 8))
  forms = ("GIF", "PPM", "TGA", "ICO", "PCX", "EPS", "PDF", "SGI")
  return [saved(one.save, format=form) for form in forms]


# Archives.


def zipped(members: dict[str, bytes], kind=zipfile.ZIP_STORED) -> bytes:
  file = io.BytesIO()
  with zipfile.ZipFile(file, "w", kind) as archive:
    for name, content in members.items():
      archive.writestr(zipfile.ZipInfo(name), content, kind)
  return file.getvalue()


def zip_mutated(rng, blob):
  """A member is changed, and the sums of the archive with it."""
  with zipfile.ZipFile(io.BytesIO(blob)) as archive:
    members = {name: archive.read(name) for name in archive.namelist()}
  name = rng.choice(list(members))
  members[name] = mutated(rng, members[name])
  if rng.random() < 0.1:
    odd = (
      "/etc/passwd",
      "../x",
      "X.npy",
      "a\nb",
      "\ud800".encode("utf-8", "replace").decode(),
    )
    members[rng.choice(odd)] = members.pop(name)
  kind = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
  return zipped(members, kind)


def npy(array) -> bytes:
  return saved(np.save, array, allow_pickle=True)


def npy_header(text: str) -> bytes:
  """An .npy file that says so of its array, and has no more."""
  said = text.encode().ljust(117) + b"\n"
  return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(said)) + said


def huge_npy(shape, dtype="'<f8'"):
  text = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}}}"
  return npy_header(text)


HUGE = [huge_npy("(1000000, 1000000)"), huge_npy("(4, 5, -6)")]
HUGE += [huge_npy("(6, 99999999999999999999)"), huge_npy("(6, 4)", "'|O'")]
HUGE += [huge_npy("(" * 50)]


class Attack:
  """Runs a program where its pickle is loaded."""

  def __reduce__(self):
    return os._exit, (13,)


@functools.cache
def zeros(size: int) -> bytes:
  """So many MiB of zeros, packed by zlib without packing them all."""
  pack = zlib.compressobj(9)
  head, one = (
    pack.compress(bytes(2**20)) + pack.flush(zlib.Z_FULL_FLUSH) for _ in "ab"
  )
  return head + one * (size - 1) + pack.flush()


@functools.cache
def zip_bomb() -> bytes:
  """1 GiB of zeros as an array X of three axes."""
  file = io.BytesIO()
  with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, True, 1) as archive:
    with archive.open("X.npy", "w", force_zip64=True) as member:
      member.write(huge_npy((2**11, 2**10, 2**6)))
      for _ in range(2**6):
        member.write(bytes(2**24))
  return file.getvalue()


def npz_bombs():
  return [
    zip_bomb(),
    zipped({"X.npy": npy(np.full((3, 1), Attack(), object))}),
    pickle.dumps(Attack()),
    *(zipped({"X.npy": blob}) for blob in HUGE),
    npy(X)[:-1],
    b"",
  ]


# PyTorch.


def torch_zip(state: bytes, data: bytes = X.tobytes()) -> bytes:
  return zipped({"a/data.pkl": state, "a/data/0": data})


def torch_state() -> bytes:
  """The pickle of {"w": a tensor [6, 4]}, opcode by opcode."""
  return (
    b"\x80\x02}q\x00X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n"
    b"((X\x07\x00\x00\x00storagectorch\nDoubleStorage\nX\x01\x00\x00\x000"
    b"X\x03\x00\x00\x00cpuK\x18tQK\x00K\x06K\x04\x86K\x04K\x01\x86\x89"
    b"ccollections\nOrderedDict\n)RtRs."
  )


def torch_legacy() -> bytes:
  magic = 0x1950A86A20F9469CFC6C
  plain = [pickle.dumps(v, 2) for v in (magic, 1001, {"little_endian": True})]
  keys = pickle.dumps(["0"], 2)
  size = (24).to_bytes(8, "little")
  return b"".join([*plain, torch_state(), keys, size, X.tobytes()])


# Keeps a number as the billionth value.
HUGE_MEMO = b"\x80\x02K\x01r\xff\xff\xff\x3f."


def torch_attacks():
  attack = pickle.dumps(Attack(), 2)
  return [
    torch_zip(attack),
    torch_zip(attack[:-1] + b"0" + torch_state()[2:]),
    torch_zip(b"\x80\x04\x8e" + (2**62).to_bytes(8, "little") + b"."),
    torch_zip(HUGE_MEMO),
    torch_zip(b"\x80\x02}K\x01\x85" + b"2\x86" * 60 + b"K\x01s."),
    HUGE_MEMO,
    torch_zip(b"(" * 10**6 + b"."),
    torch_zip(b"]" + b"]a" * 10**5 + b"."),
    zipped(
      {"a/data.pkl": torch_state(), "a/data/0": bytes(2**28)},
      zipfile.ZIP_DEFLATED,
    ),
    attack,
  ]


# Tables and scenes.


def parquet(**columns):
  import pyarrow
  from pyarrow import parquet as files

  return saved(lambda f: files.write_table(pyarrow.table(columns), f))


def parquet_bombs():
  import pyarrow
  from pyarrow import parquet as files

  one = pyarrow.table({"a": np.zeros(2**20)})
  file = io.BytesIO()
  with files.ParquetWriter(file, one.schema) as writer:
    for _ in range(2**7):
      writer.write_table(one)
  return [
    file.getvalue(),  # 1 GiB of zeros
    b"PAR1" + b"\xff" * 64 + struct.pack("<I", 2**31 - 1) + b"PAR1",
    b"PAR1PAR1",
  ]


def mat(compressed=False, **arrays):
  return saved(of_matlab.savemat, arrays, do_compression=compressed)


def mat_mutated(rng, blob):
  """A compressed element is changed before it is packed."""
  whole, at = bytearray(blob[:128]), 128
  while at + 8 <= len(blob):
    kind, size = struct.unpack_from("<II", blob, at)
    data = blob[at + 8 : at + 8 + size]
    if kind == 15:
      data = zlib.compress(mutated(rng, zlib.decompress(data)))
    whole += struct.pack("<II", kind, len(data)) + data
    at += 8 + size
  return bytes(whole)


def mat_element(kind, data):
  return struct.pack("<II", kind, len(data)) + data


def mat_array(shape, data=b"", name=b"X", kind=6):
  """An array that is said to be of this shape, of doubles or of cells."""
  size = struct.pack(f"<{len(shape)}i", *shape).ljust(-(-len(shape) // 2) * 8)
  parts = mat_element(6, struct.pack("<II", kind, 0)) + mat_element(5, size)
  parts += mat_element(1, name.ljust(8, b"\0")) + mat_element(9, data)
  return parts


def mat_bombs():
  head = mat(X=X)[:128]
  return [
    head + mat_element(15, zeros(1024)),
    head + mat_element(14, mat_array((2**15, 2**14))),
    head + mat_element(14, mat_array((2**30, 2**30, 4))),
    head + mat_element(14, mat_array((-4, -4), bytes(128))),
    head + mat_element(14, mat_array((2**15, 2**14), kind=1)),
    mat(X=X)[:150],
    b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM" + bytes(99),
    b"",
  ]


def tables_csv(_):
  return [
    b"age,weight,label\n1,2.5,0\n?,3,1\n",
    '\ufeffage;name;label\r\n1;"a;b";0\r\n2;ä;1\r\n'.encode(),
    b"a\tb\n1\t2\n\n3\t4\n",
  ]


def csv_attacks():
  return [
    b"",
    b"\xff\xfea\x00,\x00",
    b'a,b\n"1,2\n' + b"3,4\n" * 10**5,
    b"a,b\n1,2\n" + b"1" * 200_000 + b",2\n",
    b",".join(b"c%d" % k for k in range(10**5)) + b"\n",
    b",".join([b"c"] * 10**5) + b"\n1\n",
    b"a,b\n1,2\n3\n",
  ]


def read_table(path):
  table = table_files.read(path)
  for values in table.columns.values():
    assert len(values) == len(table.line)
    assert values.dtype == object or not np.isinf(values).any()
  assert len(set(table.ids)) == len(table.line)


def read_scene(path):
  scene = scene_files.read(path)
  assert scene.cube.ndim == 3 and scene.cube.size
  assert np.isfinite(scene.cube).all()
  assert scene.truth is None or scene.truth.shape == scene.cube.shape[:2]


ENVI = (
  "ENVI\ndescription = {\n  a scene}\nsamples = 5\nlines = 4\nbands = 6\n"
  "header offset = 0\ndata type = 2\ninterleave = bsq\nbyte order = 0\n"
  "default bands = {1, 2, 3}\nbbl = {1, 1, 0, 1, 1, 1}\n"
)


def envi(folder):
  (folder / "a.dat").write_bytes(CUBE.tobytes())
  return [ENVI.encode(), ENVI.replace("bsq", "bip").encode()]


def envi_attacks():
  say = lambda old, new: ENVI.replace(old, new).encode()
  return [
    say("lines = 4", "lines = -4"),
    say("lines = 4", "lines = " + "9" * 30),
    say("lines = 4", "lines = " + "9" * 5000),
    say("header offset = 0", "header offset = -8"),
    say("data type = 2", "data type = 6"),
    say("byte order = 0", "byte order = 7"),
    say("bands = 6", "bands = \udcff".encode("utf-8", "replace").decode()),
    b"ENVI",
    b"\n" * 10**6,
    b"ENVI\n" + b"a" * 10**6,
    b"ENVI\n" + b" " * 10**6 + b"= {",
    b"ENVI\n" + b"a = {\n" * 10**5,
  ]


# Lists.


def list_folder(folder):
  for name in ("a.png", "b.png", "m.png"):
    Image.new("L", (4, 4), 9).save(folder / name)
  return [
    b"path,split,kind,mask\na.png,train,good,\nb.png,test,cut,m.png\n",
    b"path;label\na.png;0\nm.png;0\nb.png;1\n",
  ]


def list_json(folder):
  list_folder(folder)
  return [
    b'{"path": "a.png", "kind": "good"}\n{"path": "m.png", "kind": "good"}\n',
    b'{"path": "a.png", "label": 0}\n{"path": "m.png", "label": false}\n'
    b'{"path": "b.png", "kind": "cut", "mask": null}\n',
  ]


def read_list(path):
  found = manifest.scan(path)
  assert found.items and all(item.image.is_file() for item in found.items)
  for _, texts in lists.read(path, (("path",),), "path"):
    lists.path_of(path, texts.get("path", ""))


def json_attacks():
  return [
    b"[" * 10**5,
    b'{"path":' * 10**5,
    b'{"path": ' + b"9" * 10**4 + b"}",
    b'{"path": [1]}',
    b'{"path": 1e999, "kind": "good"}',
    b"null",
    b'"',
    b"",
  ]


# Arguments, one a line.


ARGUMENTS = [
  b"--config\nganomaly:digits/3\n--config.train.epochs=2\n--seeds=0,1",
  b"--config=differnet:mvtec_ad/bottle\n--config.data.image_size\n64,48",
  b"--config=knn:table\n--config.data.levels=0,1\n--config.eval.every=none",
]


def read_arguments(path):
  text = path.read_bytes().decode(errors="surrogateescape")
  with contextlib.redirect_stderr(io.StringIO()):
    try:
      found, *_ = cli.parse(text.split("\n"))
    except SystemExit:  # argparse, with its usage
      return
  config.check(found)


# Runs, and what is made of them. A run's files are an archive here.


def unpacked(path):
  """The files of an archive in a folder of its own; names it too."""
  folder = path.parent / "run"
  folder.mkdir(exist_ok=True)
  with zipfile.ZipFile(path) as archive:
    for name in archive.namelist():
      (folder / name).write_bytes(archive.read(name))
  return folder


def signed(described: dict) -> bytes:
  """What `model.json` holds, with the digest that fits."""
  if not isinstance(described, dict):
    return json.dumps(described).encode()
  digest = tensor_file.sha256(tensor_file.canonical(described))
  return json.dumps(described | {"digest": digest}).encode()


def a_run(folder):
  config_ = config.base("rx", "breast_cancer")
  detector = config.build_detector(config_)
  columns = Columns(("a", "b", "c", "d"), ((),) * 4)
  x = np.float32(X)
  state = trained.abstract_state(detector, x.shape[1:], x.dtype)
  ones = lambda leaf: np.ones(leaf.shape, leaf.dtype)
  state = trained.with_arrays(
    state, {k: ones(v) for k, v in trained.arrays_of(state).items()}
  )
  ids = tuple(f"{k}" for k in range(len(x)))
  trained.save(
    folder,
    config=config_.to_dict(),
    state=state,
    preprocess=columns.fitted(X),
    normal=Examples(x, np.zeros(len(x), np.int32), ids, ids, None),
    scores=np.float32(range(len(x))),
    threshold=3.5,
    source="held-out rows",
    key=jax.random.key(0),
    fingerprint={"data": {}, "weights": None},
  )
  files = (folder / trained.DESCRIPTION, folder / trained.WEIGHTS)
  return [zipped({file.name: file.read_bytes() for file in files})]


def run_mutated(rng, blob, _):
  """One of the files is torn; or changed, and signed again."""
  with zipfile.ZipFile(io.BytesIO(blob)) as archive:
    files = {name: archive.read(name) for name in archive.namelist()}
  name = rng.choice(list(files))
  described = json.loads(files[trained.DESCRIPTION])
  del described["digest"]
  if rng.random() < 0.2:
    files[name] = mutated(rng, files[name])
  elif name == trained.DESCRIPTION:
    files[name] = signed(changed(rng, described))
  else:
    files[name] = mutated(rng, files[name])
    digest = tensor_file.sha256(files[name])
    files[trained.DESCRIPTION] = signed(described | {"weights_sha256": digest})
  return zipped(files)


def read_run(path):
  run = trained.load(unpacked(path))
  assert isinstance(run.threshold, float) and np.isfinite(run.threshold)
  assert np.isfinite(run.normal.score).all() and len(run.normal.id)


CONFIG = {"seed": 0, "data": {"name": "folder", "root": "images"}}
ROWS = [Row("train", f"good/{k}.png", "good", f"{k:016x}") for k in range(3)]


def workdir_files(folder):
  """Of a run that was stopped."""
  folder = folder / "made"
  with Workdir(folder, CONFIG, resume=False) as run:
    run.begin(ROWS, None)
  (folder / "results.json").write_text('{"image_auroc": 0.5}')
  lines = [json.dumps({"step": k, "loss": 0.5}) + "\n" for k in range(3)]
  (folder / "metrics.jsonl").write_text("".join(lines))
  files = [p for p in folder.iterdir() if not p.name.startswith(".")]
  return [zipped({file.name: file.read_bytes() for file in files})]


def files_mutated(rng, blob, _):
  """One of the files is torn, or has another value in its JSON."""
  with zipfile.ZipFile(io.BytesIO(blob)) as archive:
    files = {name: archive.read(name) for name in archive.namelist()}
  name = rng.choice(list(files))
  if name.endswith(".json") and rng.random() < 0.5:
    value = changed(rng, json.loads(files[name]))
    files[name] = json.dumps(value).encode()
  else:
    files[name] = mutated(rng, files[name])
  return zipped(files)


def read_workdir(path):
  folder = unpacked(path)
  with Workdir(folder, CONFIG, resume=True) as run:
    run.check_data(ROWS, None)
    results = run.results()
    assert results is None or isinstance(results, dict)
  log = callbacks.Log(folder / "metrics.jsonl", 1)
  log.start(types.SimpleNamespace(step=2))
  assert all(isinstance(line, dict) for line in log.lines())


LIMIT = {"value": 1.5, "rule": "given", "rule_value": None}
PATHS = ["a.png", "b\n.png", "c.png"]


def predictions_files(folder):
  """Of three images, one of which could not be read."""
  folder = folder / "made"
  with Predictions(folder, "digest", LIMIT, ("l2",), PATHS, False) as found:
    row = {"score": 1.25, "predicted": 0, "brightness": 9.5, "part_l2": 1}
    found.append([{"path": path} | row for path in PATHS[:2]])
    found.append([{"path": PATHS[2], "error": "empty file"}])
  names = ("scores.csv", "scores.json")
  return [zipped({name: (folder / name).read_bytes() for name in names})]


def read_predictions(path):
  folder = unpacked(path)
  normal = types.SimpleNamespace(score=np.zeros(4), brightness=np.ones(4))
  run = types.SimpleNamespace(normal=normal)
  limit = LIMIT | {"value": 1.0}
  with Predictions(folder, "digest", limit, ("l2",), PATHS, False) as found:
    summary = predict._summary(run, found, set(PATHS), 1.0)
    found.write_summary(summary)


def a_scorer(folder):
  a_run(folder)
  described = trained.read_description(folder)
  metadata = {name: described[name] for name in SCORER}
  metadata |= {"format": scorer.FORMAT, "platforms": ["cpu"], "programs": {}}
  metadata |= {"search_steps": None, "versions": {"jaxad": "1", "jax": "1"}}
  return [signed_scorer({"w": X}, {scorer.METADATA: json.dumps(metadata)})]


SCORER = ("method", "config", "preprocess", "example", "batch_size")
SCORER += ("key", "threshold", "weights_sha256", "fingerprint")


def signed_scorer(arrays, strings):
  digest = scorer.digest(tensor_file.packed(arrays, strings))
  return tensor_file.packed(arrays, strings | {scorer.DIGEST: digest})


def scorer_mutated(rng, blob):
  arrays, strings = tensor_file.unpacked(blob, "")
  metadata = changed(rng, json.loads(strings[scorer.METADATA]))
  return signed_scorer(arrays, {scorer.METADATA: json.dumps(metadata)})


def read_scorer(path):
  found = scorer.load_scorer(path)
  assert isinstance(found.threshold, float) and np.isfinite(found.threshold)


def tensor_attacks():
  """Headers that lie."""

  def file(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data

  one = lambda shape, ends, dtype="F32": file(
    {"w": {"dtype": dtype, "shape": shape, "data_offsets": ends}}, bytes(16)
  )
  return [
    one([2**40, 2**40], [0, 16]),
    one([-2, -2], [0, 16]),
    one([4], [16, 0]),
    one([4], [0, 2**63]),
    one([4.0], [0, 16]),
    one([4], [0, 16], "F99"),
    one([2, 2, 1e999], [0, 16]),
    file(b"[" * 10**5),
    file(b'{"w":' * 10**5),
    (2**63).to_bytes(8, "little"),
    b"",
  ]


def read_tensor_file(path):
  arrays, _ = tensor_file.unpacked(path.read_bytes(), path)
  assert all(isinstance(name, str) for name in arrays)


def tensors(_):
  return [tensor_file.packed({"w": X, "n": Y}, {"a": "b"})]


# Published sets.


def cifar_pickle(_):
  batch = {"data": np.zeros((2, 3072), np.uint8), "labels": [0, 1]}
  return [pickle.dumps(batch, 2)]


def idx_files(_):
  blob = struct.pack(">IIII", 0x803, 2, 3, 4) + bytes(range(24))
  return [blob, gzip.compress(blob)]


def gzip_bomb():
  head = b"\x1f\x8b\x08" + bytes(7)
  return head + zeros(1024)[2:-4] + bytes(8)


def idx_mutated(rng, blob):
  if blob[:2] != b"\x1f\x8b":
    return mutated(rng, blob)
  return gzip.compress(mutated(rng, gzip.decompress(blob)), 1)


READERS = {
  "image_png": Reader(
    "a.png",
    read_image,
    images(
      "PNG",
      (GREY16, {}),
      (PALETTE, {"transparency": 3}),
      (BIT, {}),
      (ALPHA, {}),
    ),
    half(png_mutated),
    lambda: png_bombs() + another_kind(),
  ),
  "image_jpeg": Reader(
    "a.jpg",
    read_image,
    images(
      "JPEG",
      (PALETTE.convert("CMYK"), {}),
      (ALPHA.convert("RGB"), {"progressive": True}),
    ),
  ),
  "image_tiff": Reader(
    "a.tif",
    read_image,
    images(
      "TIFF",
      (GREY16, {}),
      (FLOATS, {}),
      (ALPHA, {"compression": "tiff_lzw"}),
      (BIT, {"compression": "group4"}),
      (ALPHA, {"compression": "tiff_deflate"}),
    ),
    hostile=tiff_bombs,
  ),
  "image_bmp": Reader(
    "a.bmp", read_image, images("BMP", (PALETTE, {}), (BIT, {}))
  ),
  "image_webp": Reader(
    "a.webp", read_image, images("WEBP", (ALPHA, {"lossless": True}))
  ),
  "mask": Reader(
    "a.png",
    lambda path: decode_mask(path).shape,
    images("PNG", (GREY16, {}), (BIT, {})),
    half(png_mutated),
  ),
  "table_csv": Reader("a.csv", read_table, tables_csv, hostile=csv_attacks),
  "table_npz": Reader(
    "a.npz",
    read_table,
    lambda _: [zipped({"X.npy": npy(X), "y.npy": npy(Y)})],
    half(zip_mutated),
    npz_bombs,
  ),
  "table_mat": Reader(
    "a.mat",
    read_table,
    lambda _: [
      mat(X=X, y=Y),
      mat(True, X=X, y=Y),
      saved(of_matlab.savemat, {"X": X, "y": Y}, format="4"),
    ],
    half(mat_mutated),
    mat_bombs,
  ),
  "table_parquet": Reader(
    "a.parquet",
    read_table,
    lambda _: [parquet(a=[1, 2, None], b=["x", "y", None], c=[0.5, 1, 2])],
    hostile=parquet_bombs,
  ),
  "scene_npz": Reader(
    "a.npz",
    read_scene,
    lambda _: [zipped({"data.npy": npy(CUBE), "map.npy": npy(CUBE[..., 0])})],
    half(zip_mutated),
    npz_bombs,
  ),
  "scene_npy": Reader(
    "a.npy", read_scene, lambda _: [npy(CUBE)], hostile=lambda: HUGE
  ),
  "scene_mat": Reader(
    "a.mat",
    read_scene,
    lambda _: [mat(data=CUBE, map=CUBE[..., 0]), mat(True, data=CUBE)],
    half(mat_mutated),
    mat_bombs,
  ),
  "scene_envi": Reader("a.hdr", read_scene, envi, hostile=envi_attacks),
  "weights_zip": Reader(
    "a.pth",
    read_tensors,
    lambda _: [torch_zip(torch_state())],
    half(zip_mutated),
    torch_attacks,
  ),
  "weights_legacy": Reader("a.pth", read_tensors, lambda _: [torch_legacy()]),
  "weights_safetensors": Reader(
    "a.safetensors", read_tensors, tensors, hostile=tensor_attacks
  ),
  "weights_npz": Reader(
    "a.npz",
    read_tensors,
    lambda _: [zipped({"w.npy": npy(X)})],
    half(zip_mutated),
    npz_bombs,
  ),
  "list_csv": Reader("a.csv", read_list, list_folder, hostile=csv_attacks),
  "list_json": Reader("a.jsonl", read_list, list_json, hostile=json_attacks),
  "arguments": Reader(
    "arguments",
    read_arguments,
    lambda _: ARGUMENTS,
    named=False,
  ),
  "run": Reader("run.zip", read_run, a_run, run_mutated),
  "workdir": Reader("run.zip", read_workdir, workdir_files, files_mutated),
  "predictions": Reader(
    "run.zip", read_predictions, predictions_files, files_mutated
  ),
  "scorer": Reader(
    "a.jaxad", read_scorer, a_scorer, half(scorer_mutated), tensor_attacks
  ),
  "tensors": Reader("a", read_tensor_file, tensors, hostile=tensor_attacks),
  "idx": Reader(
    "a.gz",
    lambda path: array_files.idx(path, 3),
    idx_files,
    half(idx_mutated),
    lambda: [b"", gzip_bomb()],
  ),
  "cifar_pickle": Reader(
    "a",
    lambda path: array_files.pickled(path, 3072),
    cifar_pickle,
    hostile=lambda: [pickle.dumps(Attack()), HUGE_MEMO],
  ),
}
