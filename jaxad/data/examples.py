# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What every data source gives: two splits of decoded examples.

Nothing here, and nothing else in this package, imports TensorFlow when it is
imported; that takes seconds and happens inside `load` where a set is prepared.
"""

import dataclasses
import functools
import pathlib

import numpy as np

from jaxad.bands import Bands
from jaxad.columns import Columns
from jaxad.data.arrays import Rows, joined, part
from jaxad.preprocess import Layout, Preprocess


@dataclasses.dataclass(frozen=True)
class Tiles:
  """How the images of a split are cut into tiles, which are the rows of `x`.

  Attributes:
    preprocess: what cut them.
    layouts: where the tiles of each image lie, N of them.
    defective: bool [M], whether a tile shows a part of a defect; of images
      without a mask, whether there is one at all.
    pictures: uint8 [N, h, w, C], the images themselves, small.
  """

  preprocess: Preprocess
  layouts: tuple[Layout, ...]
  defective: np.ndarray
  pictures: Rows

  @functools.cached_property
  def cuts(self) -> np.ndarray:
    """int [N + 1]: the tiles of image i are rows cuts[i] to cuts[i + 1]."""
    return np.cumsum([0, *(len(layout.boxes) for layout in self.layouts)])

  def rows(self, images: np.ndarray) -> np.ndarray:
    """The tiles of these images, in their order."""
    cuts = self.cuts
    parts = [np.arange(cuts[i], cuts[i + 1]) for i in images]
    return np.concatenate([np.arange(0), *parts])


@dataclasses.dataclass(frozen=True)
class Pixels:
  """How the pixels of a scene, the one row of `x`, are examples.

  Attributes:
    name: of the scene, from which come what is drawn for it.
    rows: int [N], which pixels they are, counted line by line.
    picture: uint8 [H, W, 3], the scene in false colours.
  """

  name: str
  rows: np.ndarray
  picture: np.ndarray


@dataclasses.dataclass(frozen=True)
class Examples:
  """One split, decoded.

  Attributes:
    x: uint8 [N, H, W, C], or any [N, ...] array (feature rows); with `tiles`
      [M, ...], a row for each tile; with `pixels` float32 [1, H, W, B], the
      scene. In memory, or in a file and read by `x[rows]`.
    label: int32 [N]; 0 normal, 1 anomalous, 2 a stand-in for an anomaly, see
      `Dataset.outliers`. What training hides among the normal examples has 0.
    id: stable unique names, the paths relative to the root; sorted.
    kind: "good" or the kind of defect, N of them.
    mask: uint8 [N, h, w], 1 on defect pixels, all 0 for normal examples; None
      where no masks exist, or where test examples were moved into training.
    tiles: where images were cut into tiles; else None.
    raw: float64 [N, D], the rows of a table before they were scaled to `x`, see
      `Columns.encoded`; or [1, H, W, K], a scene before that; else None.
    pixels: where the examples are pixels of a scene; else None.
  """

  x: Rows
  label: np.ndarray
  id: tuple[str, ...]
  kind: tuple[str, ...]
  mask: Rows | None
  tiles: Tiles | None = None
  raw: np.ndarray | None = None
  pixels: Pixels | None = None

  @property
  def noun(self) -> str:
    """What a sentence calls them."""
    if self.pixels is not None:
      return "pixels"
    return "rows" if self.x.ndim == 2 else "images"

  @property
  def pictures(self) -> Rows:
    """[N, h, w, C], to show the examples by."""
    return self.x if self.tiles is None else self.tiles.pictures

  def take(self, rows: np.ndarray) -> "Examples":
    """The examples of these rows, [k] int, in this order.

    Of pixels it is the whole scene still, and the mask that of all of it.
    """
    rows = np.asarray(rows, int)
    if (pixels := self.pixels) is not None:
      return dataclasses.replace(
        self,
        label=self.label[rows],
        id=tuple(self.id[i] for i in rows),
        kind=tuple(self.kind[i] for i in rows),
        pixels=dataclasses.replace(pixels, rows=pixels.rows[rows]),
      )
    tiles, views = self.tiles, rows
    if tiles is not None:
      views = tiles.rows(rows)
      tiles = dataclasses.replace(
        tiles,
        layouts=tuple(tiles.layouts[i] for i in rows),
        defective=tiles.defective[views],
        pictures=part(tiles.pictures, rows),
      )
    return Examples(
      x=part(self.x, views),
      label=self.label[rows],
      id=tuple(self.id[i] for i in rows),
      kind=tuple(self.kind[i] for i in rows),
      mask=None if self.mask is None else part(self.mask, rows),
      tiles=tiles,
      raw=None if self.raw is None else self.raw[rows],
    )

  def joined(self, other: "Examples") -> "Examples":
    """Both, sorted by id, without masks."""
    tiles, more = self.tiles, other.tiles
    if tiles is not None and more is not None:
      tiles = dataclasses.replace(
        tiles,
        layouts=tiles.layouts + more.layouts,
        defective=np.append(tiles.defective, more.defective),
        pictures=joined(tiles.pictures, more.pictures),
      )
    both = Examples(
      x=joined(self.x, other.x),
      label=np.concatenate([self.label, other.label]),
      id=self.id + other.id,
      kind=self.kind + other.kind,
      mask=None,
      tiles=tiles,
      raw=None if self.raw is None else np.concatenate([self.raw, other.raw]),
    )
    order = sorted(range(len(both.id)), key=both.id.__getitem__)
    return both.take(np.array(order))

  def flat(self) -> "Examples":
    """The tiles as examples of their own, to be trained on; or itself.

    Of an anomalous image those that show a part of its defect are anomalous,
    and the others are left out.
    """
    tiles = self.tiles
    if tiles is None:
      return self
    image = np.repeat(np.arange(len(self.id)), np.diff(tiles.cuts))
    number = np.arange(len(image)) - tiles.cuts[image]
    kept = np.flatnonzero((self.label[image] != 1) | tiles.defective)
    return Examples(
      x=part(self.x, kept),
      label=self.label[image[kept]],
      id=tuple(f"{self.id[image[k]]}#{number[k]}" for k in kept),
      kind=tuple(self.kind[image[k]] for k in kept),
      mask=None,
    )


@dataclasses.dataclass(frozen=True)
class Dataset:
  """The splits of one data set; `train, test = dataset` unpacks them.

  Attributes:
    train: normal examples; with a few anomalous ones (label 1) for methods
      that may see them, where they were asked for or lie in train/<kind>/.
      In a transductive protocol all examples of the test, unlabelled.
    test: normal and anomalous examples; normal alone where a folder has
      nothing else, and then there is no AUROC.
    outliers: images of another data set (label 2) that stand in for anomalies
      in training, or None.
    preprocess: what made `x` of images, of the rows of a table, or of a scene;
      or None.
  """

  train: Examples
  test: Examples
  outliers: Examples | None = None
  preprocess: Preprocess | Columns | Bands | None = None

  def __iter__(self):
    return iter((self.train, self.test))

  @property
  def transductive(self) -> bool:
    """Whether what is trained on is what is tested."""
    return self.train.id == self.test.id and len(self.test.id) > 0

  def _replace(self, **changes) -> "Dataset":
    """A copy with other fields, like that of a named tuple."""
    return dataclasses.replace(self, **changes)


@dataclasses.dataclass(frozen=True)
class Item:
  """One image that is still to be decoded.

  Attributes:
    split: "train" or "test".
    id: as in `Examples`.
    kind: as in `Examples`; "good" is normal, every other kind anomalous.
    image: a path, or the bytes of an image file.
    mask: the same for the defect's mask; None where it has none.
  """

  split: str
  id: str
  kind: str
  image: pathlib.Path | bytes
  mask: pathlib.Path | bytes | None = None

  @property
  def label(self) -> int:
    return int(self.kind != "good")
