# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The interface of every detector: a small tuple of pure functions.

A method is a factory with keyword arguments, like an optax transformation, and
returns a `Detector`. Data, training loop, checkpoints, metrics, plots and
command line are written once, against this file, and never against a method:

    detector = jaxad.differnet(n_blocks=8, clamp=3.0, learning_rate=2e-4)
    state = detector.init(jax.random.key(0), batch)
    for phase in detector.phases:
      state, metrics = phase.update(state, batch)
    scores = detector.score(state, batch["x"], jax.random.key(1))

A batch is a dict of arrays:

    x       [B, H, W, C] uint8 in 0..255, or float32 in [0, 1]; table rows and
            spectra are [B, D] float32
    weight  [B] float32, 1 for an example and 0 for the padding of a last,
            smaller batch; missing means all ones
    label   [B] int32, 0 normal and 1 anomalous, 2 a stand-in for an anomaly;
            only where a method may see it
    mask    [B, H, W] uint8, 1 on defect pixels; at evaluation only
    reference [R, H, W, C], outlier [B, H, W, C]  like x: see `Balance`

How to write the next method, in one file `jaxad/methods/<name>.py`:

1.  Networks, losses and the update in the order of the paper; every keyword of
    the factory is a hyper-parameter named as in the paper.
2.  `init(key, batch)` reads shapes from one batch and returns a `State`.
3.  Write the training step as a pure `step(state, batch, draws)`, where `draws`
    holds every random number that it uses, made by `draw(key, batch)`. All
    players of a min-max game (`jaxad/optim.py`) move within one step, in the
    order of the paper. `Phase.update` is the shell around the two; the
    equivalence test calls `step` with recorded draws.
4.  The range that a network wants ([-1, 1], ImageNet mean and deviation) and
    all augmentation are the method's own, inside jit.
5.  `score` returns one number per example, higher = more anomalous, that does
    not depend on the other rows of the batch.
6.  Add the factory to `METHODS` in `jaxad/methods/__init__.py`, a file in
    `configs/`, and `tests/equivalence/test_<name>.py`.

A method imports networks, layers, losses and optimisers; never another method,
the data code or the loop.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import flax.struct
import jax

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]


@flax.struct.dataclass
class State:
  """All that a checkpoint holds; a pytree.

  Attributes:
    step: int32 scalar, the updates done so far, over all phases.
    key: typed PRNG key; every update replaces it.
    params: trainable and frozen parameters, a nested dict.
    batch_stats: running statistics of normalisation layers, or {}.
    opt_state: optax state of all players.
    extras: what else a method keeps (a fitted density, reference features).
  """

  step: jax.Array
  key: jax.Array
  params: Any
  batch_stats: Any
  opt_state: Any
  extras: Any


class Scores(NamedTuple):
  """What a detector says of a batch; higher = more anomalous, everywhere.

  Attributes:
    image: [B] float32, the score of each example.
    map: [B, H, W] float32, the score of each pixel, or None.
    parts: named [B] float32 terms of the score, for the curious.
  """

  image: jax.Array
  map: jax.Array | None = None
  parts: dict[str, jax.Array] = {}


class Balance(NamedTuple):
  """How batches are mixed for a method that learns from labelled anomalies.

  There are few of them, so they are drawn again and again: normal rows come
  first in a batch, then anomalies; without any all rows are normal.

  Attributes:
    normal: share of normal rows in a batch.
    steps_per_epoch: batches of an epoch, however many examples there are.
    n_references: normal images that come with each batch, as "reference".
    n_kept: normal images that `init` gets as "reference", for its state.
    outlier_share: part of the normal rows in whose place images of another
      data set are drawn (label 2), as stand-ins for anomalies.
    n_outliers: images of another data set for each row of a batch, as
      "outlier": 0 or 1.
    needs_anomalies: whether there is nothing to learn without any.
    multiple: the batch size is a multiple of this, for methods that group rows.
  """

  normal: Fraction
  steps_per_epoch: int
  n_references: int = 0
  n_kept: int = 0
  outlier_share: float = 0.0
  n_outliers: int = 0
  needs_anomalies: bool = True
  multiple: int = 1


class Phase(NamedTuple):
  """One stage of training; most methods have a single one.

  Attributes:
    name: "flow", "gan", "encoder", ...
    step: `(state, batch, draws) -> (state, metrics)`, one complete training
      step with every player in it, without randomness of its own. Metrics are
      scalars; "loss" is always there.
    draw: `(key, batch) -> draws`, all random numbers of one step, or None for a
      step without any (it gets None).
    share: the part of the training budget that this phase gets; the shares of
      a detector's phases are normalised to sum to one.
    fit: `(state, batches) -> state`, what is fitted on the normal training data
      when the phase ends (an iterable of batches, one pass), or None.
    full_batches: whether every row of a batch must be an example, because the
      step normalises by the statistics of the batch and cannot leave padding
      out.
    balance: for a phase that sees labels; None for one that gets normal
      examples alone.
  """

  name: str
  step: Callable[[State, Batch, Any], tuple[State, Metrics]]
  draw: Callable[[jax.Array, Batch], Any] | None = None
  share: float = 1.0
  fit: Callable[[State, Any], State] | None = None
  full_batches: bool = False
  balance: Balance | None = None

  def update(self, state: State, batch: Batch) -> tuple[State, Metrics]:
    """One training step: splits the key, draws, steps and counts."""
    key, draw_key = jax.random.split(state.key)
    draws = self.draw(draw_key, batch) if self.draw else None
    state = state.replace(key=key, step=state.step + 1)
    return self.step(state, batch, draws)


class Detector(NamedTuple):
  """A detector: pure functions over an explicit `State`.

  Attributes:
    init: `(key, batch) -> State`; shapes and dtypes come from the batch.
    phases: what to train, in order.
    score: `(state, x, key) -> Scores`, jit-able. `key` matters only where the
      method draws at test time.
    localize: `(state, x, key) -> Scores` with `map`, for methods whose map
      costs much more than their score (DifferNet's needs gradients of the
      pixels). None where `score` returns the map, or where there is none.
    embed: `(state, x, key) -> [B, V, D]`, the frozen part of a method: features
      of V random views of each example, or of the fixed views that `score` uses
      where key is None. `update` and `score` take them in place of `x`, so a
      loop may compute them once. None where nothing is frozen.
    official_score: `(state, x, key) -> Scores` as the authors' test code has
      it where that departs from `score`: by the statistics of the test batch,
      so that an example's score depends on its neighbours. For comparison with
      published figures only. None where there is no such difference.
  """

  init: Callable[[jax.Array, Batch], State]
  phases: tuple[Phase, ...]
  score: Callable[[State, jax.Array, jax.Array], Scores]
  localize: Callable[[State, jax.Array, jax.Array], Scores] | None = None
  embed: Callable[[State, jax.Array, jax.Array | None], jax.Array] | None = None
  official_score: Callable[[State, jax.Array, jax.Array], Scores] | None = None
