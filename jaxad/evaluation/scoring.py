# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Scoring a split: batches of one shape, and a key for each example."""

import dataclasses
import functools
import time
from collections.abc import Callable

import jax
import numpy as np

from jaxad import distributed, hosts
from jaxad.data.examples import Examples
from jaxad.detector import Detector, Scores, State
from jaxad.errors import InputError
from jaxad.image_scorer import (
  IN_FLIGHT,
  SCORING,
  checksum,
  example_keys,
)
from jaxad.resize import resized

# Steps of a search between two questions whether it is over.
ASK_EVERY = 10

# Batches by which the time of a score is taken; the same in every process.
TIMED_BATCHES = 3

# A batch that takes so long is timed once.
SLOW_MS = 2000


class Scorer:
  """Scores splits with one detector; every program is compiled once.

  What is drawn for an example comes from the key and the example's id alone:
  its scores are the same, to rounding, in any batch and among any others.

  Args:
    detector: what scores.
    batch_size: rounded up to a multiple of the devices.
    key: typed PRNG key.
  """

  def __init__(self, detector: Detector, batch_size: int, key: jax.Array):
    self._detector, self.key = detector, key
    self._batch_size = distributed.rounded(batch_size)
    self._mesh = distributed.data_mesh()

  def scores(
    self,
    state: State,
    examples: Examples,
    with_maps: bool = False,
    with_reconstructions: bool = False,
  ) -> Scores:
    """Scores a split in its order, maps in the same pass.

    Args:
      state: of the detector.
      examples: images, features from `embed`, or the pixels of a scene.
      with_maps: fill `Scores.map`, by `localize` where a detector has it; of
        pixels it is filled always.
      with_reconstructions: with the maps also fill `Scores.reconstruction`,
        where the method makes any.

    Returns:
      `Scores` of NumPy arrays; `image` is [N] float32. Those of pixels are in
      it, and in the `parts`, what the map and its terms have there.
    """
    pixels = examples.pixels
    program = self._program(with_maps or pixels is not None)
    if not with_reconstructions:
      program = _without_reconstruction(program)
    scores = self._finished(self._over_batches(program, state, examples))
    if pixels is not None:
      return _of_pixels(scores, pixels.rows)
    scores = _without_maps(scores, keep=with_maps)
    return scores if examples.tiles is None else _of_images(scores, examples)

  def dispatch(self, state: State, x, names, with_maps: bool = False) -> Scores:
    """Scores one batch and does not wait for it; see `fetch`.

    Args:
      state: of the detector.
      x: [B, ...] images, B a multiple of the devices.
      names: uint32 [B], the checksums of their ids.
      with_maps: as in `scores`.
    """
    key = jax.random.fold_in(self.key, SCORING)
    return self._sent(self._program(with_maps), state, x, names, key)

  def fetch(self, scores: Scores) -> Scores:
    """What `dispatch` began, as NumPy arrays."""
    scores = jax.device_get(scores._replace(reconstruction=None))
    return _without_maps(self._finished(scores), keep=True)

  def embed(
    self, state: State, examples: Examples, views: int | None = None
  ) -> Examples:
    """Replaces images by their frozen features, x [N, V, D] float32.

    Args:
      state: of the detector.
      examples: images.
      views: random views of each example, as in training; None for the views
        that scoring uses.
    """
    if views is None:
      x = self._over_batches(self._embedding(False), state, examples)
      return dataclasses.replace(examples, x=x)
    passes: list[np.ndarray] = []
    found = 0
    while found < views:
      fn, number = self._embedding(True), len(passes) + 1
      passes.append(self._over_batches(fn, state, examples, number))
      found += passes[-1].shape[1]
    x = np.concatenate(passes, axis=1)[:, :views]
    return dataclasses.replace(examples, x=x)

  @functools.cached_property
  def _whole(self):
    return distributed.replicated(self._mesh)

  @functools.cache  # noqa: B019 (a scorer lives as long as its programs)
  def _scoring(self, with_maps):
    score = self._detector.score
    if with_maps:
      score = self._detector.localize or score

    def scored(state, x, keys):
      scores = score(state, x, keys)
      # What the caller does not take, the compiler leaves out.
      return scores if with_maps else _without_maps(scores)

    return jax.jit(scored, out_shardings=self._whole)

  @functools.cache  # noqa: B019
  def _searching(self, with_maps):
    """One dispatch a step: convolutions in an XLA:CPU loop are slow."""
    search = self._detector.search
    # What a step takes lies as what it gives, or it would be compiled twice.
    jit = functools.partial(
      jax.jit, out_shardings=distributed.divided(self._mesh)
    )
    start, step = jit(search.start), jit(search.step)
    over = jax.jit(
      lambda found: search.still(found).all(), out_shardings=self._whole
    )

    @functools.partial(jax.jit, out_shardings=self._whole)
    def finish(state, x, found):
      scores = search.finish(state, x, found)
      return scores if with_maps else _without_maps(scores)

    def scored(state, x, keys):
      found = start(state, x, keys)
      for k in range(search.n):
        # To ask is to wait, so not in each step.
        if search.still and k % ASK_EVERY == 0 and over(found):
          break
        found = step(state, x, found)
      return finish(state, x, found)

    return scored

  @functools.cache  # noqa: B019
  def _embedding(self, train):
    embed = functools.partial(self._detector.embed, train=train)
    return jax.jit(embed, out_shardings=self._whole)

  def _program(self, with_maps):
    """`(state, x, keys) -> Scores`, with a map where the host needs it too."""
    mapped = with_maps or self._detector.finish is not None
    if self._detector.search is not None and distributed.on_cpu():
      return self._searching(mapped)
    return self._scoring(mapped)

  def _finished(self, scores):
    """The host's part, example by example."""
    finish = self._detector.finish
    if finish is None:
      return scores
    each = [
      finish(jax.tree.map(lambda v, i=i: v[i], scores))
      for i in range(len(scores.image))
    ]
    return jax.tree.map(lambda *parts: np.float32(np.stack(parts)), *each)

  def _sent(self, fn, state, x, names, key):
    """`fn(state, x, keys)` of this process's rows of a batch."""
    sharding = distributed.divided(self._mesh)
    x, names = (distributed.put(sharding, value) for value in (x, names))
    return fn(state, x, _example_keys(key, names))

  def _over_batches(
    self, fn: Callable, state, examples: Examples, number: int = SCORING
  ):
    """Applies `fn(state, x, keys)`; a pytree of [N, ...] NumPy arrays.

    Keys differ by their number.
    """
    key = jax.random.fold_in(self.key, number)
    pixels = examples.pixels
    ids = examples.id if pixels is None else (pixels.name,)
    names = np.array([checksum(name) for name in ids], np.uint32)
    if examples.tiles is not None:
      names = np.repeat(names, np.diff(examples.tiles.cuts))
    columns = distributed.local_columns(self._mesh, self._batch_size)
    n, waiting, done = len(examples.x), [], []
    if not n:
      raise InputError("there are no examples to score.")
    for first in range(0, n, self._batch_size):
      rows = np.arange(first, first + self._batch_size)
      rows = np.where(rows < n, rows, first)[columns]
      batch = examples.x[rows], names[rows]
      waiting.append(self._sent(fn, state, *batch, key))
      if len(waiting) > IN_FLIGHT:
        done.append(jax.device_get(waiting.pop(0)))
    done += jax.device_get(waiting)
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:n], *done)


_example_keys = jax.jit(example_keys)


def _without_maps(scores, keep=False):
  """Without the terms of the map, and without pixels unless they are kept."""
  if keep:
    return scores._replace(maps={})
  return scores._replace(map=None, maps={}, reconstruction=None)


def _without_reconstruction(program):
  """It stays on the device, and the program is the same."""
  return lambda *args: program(*args)._replace(reconstruction=None)


def _of_pixels(scores, rows):
  """Scores of a scene to those of its pixels."""
  of = lambda values: values.reshape(-1)[rows]
  parts = {name: of(values) for name, values in scores.maps.items()}
  return Scores(of(scores.map), scores.map, parts)


def _of_images(scores, examples):
  """Scores of tiles to those of the images that they were cut from."""
  tiles = examples.tiles
  rows = [tiles.rows([i]) for i in range(len(examples.id))]
  found = jax.tree.map(
    lambda v: np.stack([tiles.preprocess.of_tiles(v[part]) for part in rows]),
    scores._replace(map=None, reconstruction=None),
  )
  size = examples.pictures.shape[1:3]

  def whole(of_tiles, layouts):
    stitched = (
      tiles.preprocess.assembled(of_tiles[part], layout)
      for part, layout in zip(rows, layouts, strict=True)
    )
    return np.stack([resized(one, size) for one in stitched])

  if scores.map is not None:
    found = found._replace(map=whole(scores.map, tiles.layouts))
  if (made := scores.reconstruction) is not None:
    # For the eye alone: put together in the size in which it is shown.
    small = [_small(layout, size) for layout in tiles.layouts]
    channels = [whole(made[..., k], small) for k in range(made.shape[-1])]
    made = np.uint8(np.stack(channels, -1) + 0.5)
    found = found._replace(reconstruction=made)
  return found


def _small(layout, size):
  """The layout of the same views in an image of another size."""
  share = np.tile(np.divide(size, layout.size), 2)
  boxes = np.int64(np.round(layout.boxes * share))
  # No view is lost, however small.
  boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
  return layout._replace(size=tuple(size), boxes=boxes)


def milliseconds(
  score: Callable[[Examples], Scores], examples: Examples, batch_size: int
) -> float:
  """Time of the score of one example, in full batches that lie in memory.

  Programs are compiled before. Of a scene it is the time of all its pixels.

  Args:
    score: scores a split, without maps.
    examples: at least one; taken several times over where they are few.
    batch_size: examples scored at once; of images in tiles, tiles.
  """

  def timed(batches):
    some, count = examples, 1
    if examples.pixels is None:
      views = 1 if examples.tiles is None else len(examples.tiles.rows([0]))
      count = max(1, batches * batch_size // views)
      some = examples.take(np.arange(count) % len(examples.id))
      some = dataclasses.replace(some, x=some.x[:])
    began = time.perf_counter()
    score(some)
    return 1000 * (time.perf_counter() - began) / count

  timed(1)  # compiles
  one = timed(1)
  # What takes long, such as a search, is not repeated.
  slow = hosts.of_first(lambda: one * batch_size > SLOW_MS)
  return one if slow else timed(TIMED_BATCHES)


def official_scores(
  detector: Detector, state: State, examples: Examples, batch_size: int, key
) -> np.ndarray:
  """Scores a split as the authors' test code does, see `Official`.

  The order is theirs too, since batches matter: normal examples first, nothing
  shuffled, and the last batch smaller instead of padded.

  Returns:
    [N] float32, in the order of the split.
  """
  order = np.argsort(examples.label, kind="stable")
  assert detector.official is not None
  score = _official(detector.official.score)
  parts = []
  for k in range(0, len(order), batch_size):
    x = examples.x[order[k : k + batch_size]]
    found, state = score(state, x, jax.random.split(key, len(x)))
    parts.append(found)
  scores = np.empty(len(order), np.float32)
  scores[order] = np.concatenate(jax.device_get(parts))
  return scores


@functools.lru_cache(maxsize=8)
def _official(score):
  @jax.jit
  def of_batch(*args):
    found, state = score(*args)
    return found.image, state

  return of_batch
