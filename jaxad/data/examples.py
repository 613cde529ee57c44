# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What every data source gives: two splits of decoded examples.

Nothing here, and nothing else in this package, imports TensorFlow when it is
imported; that takes seconds and happens inside `load` where a set is prepared.
"""

import dataclasses
import pathlib

import numpy as np


@dataclasses.dataclass(frozen=True)
class Examples:
  """One split, decoded.

  Attributes:
    x: uint8 [N, H, W, C], or any [N, ...] array (feature rows).
    label: int32 [N]; 0 normal, 1 anomalous, 2 a stand-in for an anomaly, see
      `Dataset.outliers`. What training hides among the normal examples has 0.
    id: stable unique names, the paths relative to the root; sorted.
    kind: "good" or the kind of defect, N of them.
    mask: uint8 [N, H, W], 1 on defect pixels, all 0 for normal examples; None
      where no masks exist, or where test examples were moved into training.
  """

  x: np.ndarray
  label: np.ndarray
  id: tuple[str, ...]
  kind: tuple[str, ...]
  mask: np.ndarray | None

  def take(self, rows: np.ndarray) -> "Examples":
    """The examples of these rows, [k] int, in this order."""
    return Examples(
      x=self.x[rows],
      label=self.label[rows],
      id=tuple(self.id[i] for i in rows),
      kind=tuple(self.kind[i] for i in rows),
      mask=None if self.mask is None else self.mask[rows],
    )


@dataclasses.dataclass(frozen=True)
class Dataset:
  """The splits of one data set; `train, test = dataset` unpacks them.

  Attributes:
    train: normal examples; with a few anomalous ones (label 1) for methods
      that may see them, where they were asked for or lie in train/<kind>/.
    test: normal and anomalous examples; normal alone where a folder has
      nothing else, and then there is no AUROC.
    outliers: images of another data set (label 2) that stand in for anomalies
      in training, or None.
  """

  train: Examples
  test: Examples
  outliers: Examples | None = None

  def __iter__(self):
    return iter((self.train, self.test))

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
