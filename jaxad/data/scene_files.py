# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Files that hold a hyperspectral scene: MATLAB, NumPy or ENVI."""

import math
import pathlib
from typing import NamedTuple

import numpy as np

from jaxad import foreign, named_arrays
from jaxad.errors import InputError

SUFFIXES = (".mat", ".npz", ".npy", ".hdr")

# Where several arrays have three axes, which one is the scene, and where
# several have two, which one is the truth.
SCENES = ("data", "scene", "cube", "image", "hsi", "x")
TRUTHS = ("map", "truth", "ground_truth", "groundtruth", "gt", "mask", "label")
TRUTHS += ("labels", "y")

# ENVI's numbers of data types; 6 and 9 are complex.
_TYPES = {1: "u1", 2: "i2", 3: "i4", 4: "f4", 5: "f8"}
_TYPES |= {12: "u2", 13: "u4", 14: "i8", 15: "u8"}

# What the file beside a header may be called.
_RAW = ("", ".dat", ".img", ".raw", ".bsq", ".bil", ".bip", ".bin")

# The order of (line, sample, band) in a file of each interleave, and the way
# back.
_ORDERS = {"bsq": (2, 0, 1), "bil": (0, 2, 1), "bip": (0, 1, 2)}


class Scene(NamedTuple):
  """A scene in memory.

  Attributes:
    cube: [h, w, K] numbers, as the file has them.
    truth: bool [h, w], where the anomalies are, or None.
    bad: bands that the file itself calls bad, from 0.
    colours: three bands for red, green and blue, where the file names some.
  """

  cube: np.ndarray
  truth: np.ndarray | None = None
  bad: tuple[int, ...] = ()
  colours: tuple[int, ...] = ()


def read(
  path: pathlib.Path, variable: str | None = None, truth: str | None = None
) -> Scene:
  """Reads a scene.

  MATLAB and NumPy files hold an array [h, w, K], and perhaps one [h, w], the
  truth, that is not 0 on anomalies. ENVI's are two files, of which either may
  be named.

  Args:
    path: of the file.
    variable: name of the array of the scene; None takes the only one of three
      axes, or the one with a usual name.
    truth: name of the array of the truth, or path of a file with it; None takes
      the array with a usual name, or none.

  Raises:
    InputError: it cannot be read, or is no scene; the message begins with the
      path.
  """
  beside = None if truth is None else path.parent / truth
  if beside is not None and beside.is_file():
    scene = read(path, variable)._replace(truth=None)
    return scene._replace(truth=_truth_of(_plane(beside), scene.cube, beside))
  if path.suffix.lower() in (".mat", ".npz", ".npy"):
    return _of_arrays(path, _arrays(path), variable, truth)
  for name, given in (("variable", variable), ("truth", truth)):
    if given is not None:
      raise InputError(
        f"{path}: scene.{name}={given}: an ENVI file has no named arrays, and "
        "there is no such file; leave it out"
      )
  return _envi(path)


def _plane(path):
  """The one array of two axes, or of one band, in a file."""
  if path.suffix.lower() in (".mat", ".npz", ".npy"):
    found = [v for v in _arrays(path).values() if v.ndim == 2]
  else:
    found = [_envi(path).cube]
  if len(found) != 1 or found[0].ndim == 3 and found[0].shape[2] != 1:
    raise InputError(f"{path}: expected one array [lines, samples], the truth")
  return found[0].reshape(found[0].shape[:2])


def _arrays(path):
  """{name: array of real numbers} of a MATLAB or NumPy file."""
  try:
    found = named_arrays.read(path)
  except OSError as error:
    raise InputError(
      f"{path}: cannot be read ({error.strerror or error}); mend it"
    ) from error
  except ValueError as error:
    raise InputError(f"{path}: not a file of arrays ({error})") from error
  return {k: v for k, v in found.items() if v.dtype.kind in "iufb"}


def _of_arrays(path, arrays, variable, truth):
  told = ", ".join(
    f"{name or 'an array'} {list(value.shape)}"
    for name, value in arrays.items()
  )
  cube = _chosen(arrays, variable, SCENES, 3)
  if cube is None:
    raise InputError(
      f"{path}: expected a scene, an array [lines, samples, bands], named by "
      f"scene.variable where there are several; there is {told or 'none'}"
    )
  plane = _chosen(arrays, truth, TRUTHS, 2, only=False)
  if truth is not None and plane is None:
    raise InputError(
      f"{path}: scene.truth={truth}: no array [lines, samples] of this name "
      f"and no such file; there is {told}"
    )
  found = None if plane is None else _truth_of(plane, cube, path)
  return Scene(_checked(cube, path), found)


def _chosen(arrays, name, usual, axes, only=True):
  """The array of that name, or of a usual one, or the only one of its kind."""
  fitting = {k: v for k, v in arrays.items() if v.ndim == axes}
  if name is not None:
    return fitting.get(name)
  for word in usual:
    for key, value in fitting.items():
      if key.casefold() == word:
        return value
  return next(iter(fitting.values())) if only and len(fitting) == 1 else None


def _truth_of(plane, cube, path):
  if plane.shape != cube.shape[:2]:
    raise InputError(
      f"{path}: the truth has {' x '.join(map(str, plane.shape))} pixels and "
      f"the scene {cube.shape[0]} x {cube.shape[1]}; expected the same"
    )
  return plane != 0


def _checked(cube, path):
  if min(cube.shape) < 1:
    raise InputError(f"{path}: a scene of shape {list(cube.shape)} is empty")
  if cube.dtype.kind == "f" and not np.isfinite(cube).all():
    bad = int((~np.isfinite(cube)).any((0, 1)).sum())
    raise InputError(
      f"{path}: {bad} of its {cube.shape[2]} bands have values that are no "
      "finite numbers; fill them"
    )
  # MATLAB has another order of axes, ENVI perhaps of bytes.
  return np.ascontiguousarray(cube, cube.dtype.newbyteorder("="))


# ENVI.


def _envi(path):
  header, raw = _pair(path)
  fields = _fields(header)
  number = lambda name, default=None: _number(header, fields, name, default)
  shape = tuple(number(name) for name in ("lines", "samples", "bands"))
  if min(shape) < 1:
    raise InputError(f"{header}: lines, samples and bands: {shape}")
  kind = number("data type")
  if kind not in _TYPES:
    raise InputError(
      f"{header}: data type = {kind}: expected one of "
      f"{', '.join(map(str, _TYPES))}, which are real numbers"
    )
  interleave = fields.get("interleave", "bsq").lower()
  if interleave not in _ORDERS:
    raise InputError(
      f"{header}: interleave = {interleave}: expected bsq, bil or bip"
    )
  order = number("byte order", 0)
  if order not in (0, 1):
    raise InputError(f"{header}: byte order = {order}: expected 0 or 1")
  dtype = np.dtype("<>"[order] + _TYPES[kind])
  offset, need = number("header offset", 0), math.prod(shape) * dtype.itemsize
  if offset < 0:
    raise InputError(f"{header}: header offset = {offset}: expected 0 or more")
  blob = _bytes(raw)
  if len(blob) != offset + need:
    raise InputError(
      f"{raw}: {len(blob)} bytes, and {header.name} says {offset + need}: "
      f"{offset} before {' * '.join(map(str, shape))} numbers of "
      f"{dtype.itemsize} bytes; take the whole file, or mend the header"
    )
  axes = _ORDERS[interleave]
  stored = np.frombuffer(blob, dtype, offset=offset)
  stored = stored.reshape([shape[axis] for axis in axes])
  cube = stored.transpose(np.argsort(axes))
  bbl = _list(fields.get("bbl", ""))
  colours = tuple(int(v) - 1 for v in _list(fields.get("default bands", "")))
  inside = len(colours) == 3 and 0 <= min(colours) <= max(colours) < shape[2]
  return Scene(
    _checked(cube, raw),
    bad=tuple(k for k, good in enumerate(bbl[: shape[2]]) if not good),
    colours=colours if inside else (),
  )


def _pair(path):
  """(header, raw file) of either of them."""
  if path.suffix.lower() == ".hdr":
    names = [path.with_suffix(suffix) for suffix in _RAW]
    for raw in names:
      if raw.is_file():
        return path, raw
    said = ", ".join(raw.name for raw in names)
    raise InputError(f"{path}: no file beside it; expected one of {said}")
  for header in (path.with_suffix(".hdr"), pathlib.Path(f"{path}.hdr")):
    if header.is_file():
      return header, path
  raise InputError(
    f"{path}: expected a scene ({' '.join(SUFFIXES)}), or a file with its ENVI "
    "header, .hdr, beside it"
  )


def _fields(header):
  """{name: text} of an ENVI header."""
  text = _bytes(header).decode("utf-8-sig", errors="replace")
  if not text.lstrip().startswith("ENVI"):
    raise InputError(f"{header}: not an ENVI header, whose first line is ENVI")
  found, name = {}, ""
  lines = iter(text.split("\n"))
  for line in lines:
    # A list may begin on the line after its name.
    if not (line.lstrip().startswith("{") and found.get(name) == ""):
      name, equals, line = line.partition("=")
      name = name.strip().lower()
      if not equals or name.startswith(";"):
        continue
    parts = [line.strip()]
    if parts[0].startswith("{"):
      while "}" not in parts[-1] and (line := next(lines, None)) is not None:
        parts.append(line)
    value = "\n".join(parts)
    if value.startswith("{"):  # what follows a list is a comment
      value = value[: value.find("}") + 1] or value
    found[name] = value
  return found


def _bytes(path):
  try:
    return foreign.read_bytes(path)
  except OSError as error:
    raise InputError(
      f"{path}: cannot be read ({error.strerror or error}); mend it"
    ) from error


def _number(header, fields, name, default):
  text = fields.get(name, default)
  try:
    return int(text)
  except (TypeError, ValueError):
    said = "is missing" if text is None else f"= {text}"
    raise InputError(
      f"{header}: {name} {said}; expected a whole number"
    ) from None


def _list(text):
  """The numbers of "{1, 0, ...}"; of anything else none."""
  try:
    found = [float(v) for v in text.strip("{}").replace("\n", " ").split(",")]
  except ValueError:
    return []
  return found if np.isfinite(found).all() else []
