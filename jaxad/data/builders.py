# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""TFDS builders, and a cache of what they prepare that cannot go stale.

Import this module after `jaxad.data._tf.tensorflow()`, and only where data are
loaded. The records hold image files, byte for byte as published, or the PNGs of
tiles where a set is cut into such; they are decoded once, by
`jaxad.data.images.read`, after they have been read.
"""

import abc
import contextlib
import dataclasses
import hashlib
import io
import json
import pathlib
import tempfile
from collections.abc import Callable, Iterable, Iterator

import absl.logging
import tensorflow_datasets as tfds

from jaxad.cache import cache_dir
from jaxad.data import _tf, dra_sets, folder, magnetic_tile, textures
from jaxad.data.examples import Item
from jaxad.errors import InputError

# Part of every fingerprint; to be raised when the records change.
_FORMAT = 1


class _Builder(tfds.core.GeneratorBasedBuilder):
  """Records of (id, kind, image, mask); a subclass says which."""

  VERSION = tfds.core.Version("1.0.0")

  # Nothing is downloaded. TFDS 4.9.10 would look for checksums beside this file
  # with a package, importlib_resources, that it does not depend on.
  url_infos = None

  @abc.abstractmethod
  def _items(self, split, dl_manager) -> Iterable[Item]:
    """The items of one split."""

  def _info(self):
    string = _tf.tensorflow().string
    return tfds.core.DatasetInfo(
      builder=self,
      features=tfds.features.FeaturesDict(
        {
          "id": tfds.features.Text(),
          "kind": tfds.features.Text(),
          # The bytes of image files; a mask is empty where there is none.
          "image": tfds.features.Scalar(string),
          "mask": tfds.features.Scalar(string),
        }
      ),
    )

  def _split_generators(self, dl_manager):
    return {
      split: self._generate_examples(self._items(split, dl_manager))
      for split in ("train", "test")
    }

  def _generate_examples(self, items):
    for item in items:
      yield (
        item.id,
        {
          "id": item.id,
          "kind": item.kind,
          "image": _content(item.image),
          "mask": b"" if item.mask is None else _content(item.mask),
        },
      )


class MvtecAd(_Builder):
  """MVTec AD; the manual directory holds the folders of the categories."""

  BUILDER_CONFIGS = [
    tfds.core.BuilderConfig(name=category)
    for category in folder.MVTEC_CATEGORIES
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    "Unpack the categories of MVTec AD into the manual directory."
  )

  def _items(self, split, dl_manager):
    root = pathlib.Path(dl_manager.manual_dir) / self.builder_config.name
    return [item for item in folder.scan_mvtec(root) if item.split == split]


class MagneticTile(_Builder):
  """Magnetic tile defects; the manual directory holds `MT_Free` and so on."""

  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    "Unpack the published folders MT_* into the manual directory."
  )

  def _items(self, split, dl_manager):
    root = pathlib.Path(dl_manager.manual_dir)
    return [item for item in magnetic_tile.scan(root) if item.split == split]


class DraSet(_Builder):
  """A set of `jaxad.data.dra_sets`, which the configuration names."""

  BUILDER_CONFIGS = [
    tfds.core.BuilderConfig(name=name) for name in dra_sets.SETS
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = "Unpack into the manual directory:\n" + (
    "\n".join(f"{name}: {s.expected}" for name, s in dra_sets.SETS.items())
  )

  def _items(self, split, dl_manager):
    root = pathlib.Path(dl_manager.manual_dir)
    items = dra_sets.scan(self.builder_config.name, root)
    return [item for item in items if item.split == split]


@dataclasses.dataclass
class TexturesConfig(tfds.core.BuilderConfig):
  """What to render; `name` is the surface, or "all".

  Attributes:
    size: side of the images in pixels.
    seed: of every random draw.
    n_train: normal images to train on.
    n_test_good: normal images of the test.
    n_test_defect: images of the test with a defect.
  """

  size: int = 256
  seed: int = 0
  n_train: int = 120
  n_test_good: int = 40
  n_test_defect: int = 80


class Textures(_Builder):
  """Rendered surfaces, see `jaxad.data.textures`; takes a TexturesConfig.

  There are no BUILDER_CONFIGS, whose names a configuration of other values
  could not have.
  """

  def _items(self, split, dl_manager):
    del dl_manager
    config = self.builder_config
    return textures.items(
      config.name,
      split,
      size=config.size,
      seed=config.seed,
      n_good=config.n_train if split == "train" else config.n_test_good,
      n_defect=0 if split == "train" else config.n_test_defect,
    )


def describe(root: pathlib.Path, items: Iterable[Item]) -> dict:
  """The facts that a prepared copy of files depends on, see `records`.

  Args:
    root: the manual directory.
    items: what a scan found in it.
  """
  files = []
  for item in items:
    for path in filter(None, (item.image, item.mask)):
      stat = path.stat()
      name = path.relative_to(root).as_posix()
      files.append([item.split, name, stat.st_size, stat.st_mtime_ns])
  return {"root": str(root.resolve()), "files": sorted(files)}


def records(
  builder_class: type[_Builder],
  facts: dict,
  config: str | TexturesConfig | None = None,
  root: pathlib.Path | None = None,
) -> Callable[[], Iterator[Item]]:
  """A data set, which the first call prepares.

  TFDS finds a prepared copy by name, configuration and version, even where the
  manual directory is another one now. So each copy gets a folder of its own,
  `datasets/<name>-<fingerprint>` in the cache, named after the facts it was
  made of. It appears under this name when it is complete; deleting it is safe.

  Args:
    builder_class: one of the builders.
    facts: what the records depend on, as JSON can hold it.
    config: the builder's configuration.
    root: the manual directory.

  Returns:
    What gives all items, in the order of TFDS, which hashes; their bytes are
    read as they are asked for.

  Raises:
    InputError: the cache cannot be written.
  """
  text = json.dumps([_FORMAT, facts], sort_keys=True)
  fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]
  prepared = cache_dir() / "datasets" / f"{builder_class.name}-{fingerprint}"
  with quiet():
    if not prepared.is_dir():
      _prepare(builder_class, prepared, config, root)
    builder = builder_class(data_dir=prepared, config=config)

  def items():
    for split in ("train", "test"):
      with quiet():
        found = builder.as_dataset(split=split).as_numpy_iterator()
      for record in found:
        yield Item(
          split=split,
          id=record["id"].decode(),
          kind=record["kind"].decode(),
          image=record["image"],
          mask=record["mask"] or None,
        )

  return items


def _prepare(builder_class, prepared, config, root):
  try:
    prepared.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
      prefix=f".{prepared.name}-", dir=prepared.parent
    ) as scratch:
      complete = pathlib.Path(scratch) / "complete"
      builder_class(data_dir=complete, config=config).download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=root)
      )
      try:
        complete.rename(prepared)
      except OSError:
        # Another process was first, with the same content.
        if not prepared.is_dir():
          raise
  except OSError as error:
    raise InputError(
      f"cannot prepare {builder_class.name} in {prepared.parent} "
      f"({error.strerror or error}); mend it, or choose another folder with "
      "the environment variable JAXAD_CACHE"
    ) from error


@contextlib.contextmanager
def quiet():
  """Keeps TFDS from printing, logging and drawing progress bars."""
  tfds.disable_progress_bar()
  verbosity = absl.logging.get_verbosity()
  absl.logging.set_verbosity(absl.logging.ERROR)
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      yield
  finally:
    absl.logging.set_verbosity(verbosity)


def _content(source):
  return source if isinstance(source, bytes) else source.read_bytes()
