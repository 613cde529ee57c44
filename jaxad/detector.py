# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The interface of every detector: a small tuple of pure functions.

A method is a factory with keyword arguments, like an optax transformation, and
returns a `Detector`. Data, loop, checkpoints, metrics, report and command line
are written once, against this file, and never against a method:

    detector = jaxad.differnet(n_blocks=8, clamp=3.0, learning_rate=2e-4)
    plan = jaxad.make_plan(detector, data, batch_size=32, epochs=20)
    state = detector.init(jax.random.key(0), {"x": images}, plan)
    state = jaxad.fit(detector, state, data, plan)
    scores = detector.score(state, x, jax.random.split(key, len(x)))

A batch is a dict of arrays:

    x       [B, H, W, C] uint8 in 0..255, or float32 in [0, 1]; table rows and
            spectra are [B, D] float32, and the scenes that `score` gets after
            a training on spectra [B, H, W, D]
    weight  [B] float32, 1 for an example and 0 for the padding of a last,
            smaller batch; missing means all ones
    label   [B] int32, 0 normal and 1 anomalous; only where anomalies are asked
            for
    and what further streams are named, like x (see `Stream`)

How to write the next method, in one file `jaxad/methods/<name>.py`:

1.  Networks, losses and the update in the order of the paper; every keyword of
    the factory is a hyper-parameter named as in the paper, with a type of
    `jaxad/fields.py` that says what values it takes; `@checked` refuses others.
2.  `init(key, batch, plan)` reads shapes from one batch and returns a
    `State.new(...)` with all that steps and fits will ever change, in the same
    shapes and dtypes: a checkpoint is restored into it.
3.  Write the training step as a pure `step(state, batch, draws)`, where `draws`
    holds every random number that it uses, made by `draw(key, batch)`. All
    players of a min-max game (`jaxad/optim.py`) move within one step, in the
    order of the paper; where there is no game, `optim.descend` is the update.
    `Phase.update` is the shell around the two; the equivalence test calls
    `step` with recorded draws.
4.  The range that a network wants ([-1, 1], ImageNet mean and deviation) and
    all augmentation are the method's own, inside jit (`layers/images.py`).
5.  `score` returns one number per example, higher = more anomalous, that does
    not depend on the other rows of the batch: what is drawn for an example
    comes from its own key.
6.  Add the factory to `METHODS` in `jaxad/methods/__init__.py`, a file in
    `configs/`, and `tests/equivalence/test_<name>.py`.

A method imports networks, layers, losses and optimisers; never another method,
the data code or the loop. docs/add_a_method.md has a whole one.
"""

from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxad.plan import Plan

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]


class State(flax.struct.PyTreeNode):
  """All that a checkpoint holds; a pytree.

  Attributes:
    step: int32 scalar, where in the plan it stands: the updates so far, over
      all phases.
    phase: int32 scalar, the phases that are over.
    key: typed PRNG key; every update replaces it.
    params: trainable and frozen parameters, a dict with an entry a network.
    collections: every other Flax collection (`batch_stats`, ...) of each
      network, {network: {collection: ...}}.
    opt_state: optax state of all players.
    extras: what else a method keeps (a fitted density, reference features).
    plan: of the run, for schedules; static. None in a loop without one.
  """

  step: jax.Array
  phase: jax.Array
  key: jax.Array
  params: Any
  collections: Any
  opt_state: Any
  extras: Any
  plan: Plan | None = flax.struct.field(pytree_node=False, default=None)

  @classmethod
  def new(cls, key, params, collections, opt_state, plan=None, **extras):
    """A state before its first step."""
    zero = lambda: jnp.zeros((), jnp.int32)
    return cls(
      zero(), zero(), key, params, collections, opt_state, extras, plan
    )


class Scores(NamedTuple):
  """What a detector says of a batch; higher = more anomalous, everywhere.

  Attributes:
    image: [B] float32, the score of each example.
    map: [B, H, W] float32, the score of each pixel, or None.
    parts: named [B] float32 terms of the score, for the curious.
    maps: named [B, H, W] float32 terms of the map, likewise; before
      `Detector.finish` also what that needs, [B, ...].
    reconstruction: [B, H, W, C] uint8, the images that the method would make
      of these, where it makes any; else None.
  """

  image: jax.Array
  map: jax.Array | None = None
  parts: dict[str, jax.Array] = {}
  maps: dict[str, jax.Array] = {}
  reconstruction: jax.Array | None = None


class Stream(NamedTuple):
  """Rows of the training data that come with every batch, under a name.

  Streams of one name follow each other in the batch.

  Attributes:
    rows: "normal"; "anomalous", the labelled anomalies; "all" of both; or
      "outliers", images of another data set.
    share: how many there are, as a multiple of the batch size.
    count: in its place a number, of which every device gets all.
    name: the entry of the batch; "x" has a weight, and a label where any of its
      streams is not of normal rows.
    order: "epochs", a new permutation for each and its last batch padded or
      dropped; "endless", permutations end to end; or "once", the permutation of
      the first epoch for all.
    required: whether there is nothing to learn without such rows. Else, where
      there are none, the stream before it of the same name takes its place.
  """

  rows: str = "normal"
  share: Fraction = Fraction(1)
  count: int | None = None  # type: ignore[assignment]  # of a tuple a method
  name: str = "x"
  order: str = "epochs"
  required: bool = True


class Phase(NamedTuple):
  """One stage of training; most methods have a single one.

  Attributes:
    name: "flow", "gan", "encoder", ...
    step: `(state, batch, draws) -> (state, metrics)`, one complete training
      step with every player in it, without randomness of its own. Metrics are
      scalars; "loss" is always there. None for a phase that is a fit alone.
    draw: `(key, batch) -> draws`, all random numbers of one step, or None for a
      step without any (it gets None).
    streams: the rows that a step reads.
    steps_per_epoch: where no stream has epochs of its own.
    share: the part of the training budget that this phase gets, relative to the
      other phases.
    steps: in its place, how many steps it takes.
    fit: `(state, batches) -> state`, what is fitted when the steps are done, on
      an iterable of batches {x, weight, label} of one shape, one pass in random
      order. It runs outside jit, and may jit what it does with a batch; what
      it draws comes from `state.key`, which it replaces. None where there is
      none.
    fit_rows: what a fit sees, as `Stream.rows`.
    full_batches: whether every row of a batch must be an example, because the
      step normalises by the statistics of the batch and cannot leave padding
      out.
    multiple: the batch size is a multiple of this, for a step that groups rows.
    scorable: whether the state can be scored before the end of this phase.
    stop: `state -> bool`, asked at the end of every epoch, for which the host
      waits: whether the phase ends before its time, by a rule of the method's
      own. It reads nothing but the state, so that a resumed run ends where it
      would have. None where there is no rule.
  """

  name: str
  step: Callable[[State, Batch, Any], tuple[State, Metrics]] | None = None
  draw: Callable[[jax.Array, Batch], Any] | None = None
  streams: tuple[Stream, ...] = (Stream(),)
  steps_per_epoch: int | None = None
  share: float = 1.0
  steps: int | None = None
  fit: Callable[[State, Iterable[Batch]], State] | None = None
  fit_rows: str = "normal"
  full_batches: bool = False
  multiple: int = 1
  scorable: bool = True
  stop: Callable[[State], bool] | None = None

  def update(self, state: State, batch: Batch) -> tuple[State, Metrics]:
    """One training step: splits the key, draws, steps and counts."""
    assert self.step is not None
    key, draw_key = jax.random.split(state.key)
    draws = self.draw(draw_key, batch) if self.draw else None
    state = state.replace(key=key, step=state.step + 1)
    return self.step(state, batch, draws)


Score = Callable[[State, jax.Array, jax.Array], Scores]


class Search(NamedTuple):
  """A score that many equal steps lead to, such as a descent to the best code.

  No row of what is found may depend on another. Start, step and finish are one
  program or one each, as is faster.

  Attributes:
    start: `(state, x, keys) -> found`, a pytree of arrays [B, ...].
    step: `(state, x, found) -> found`.
    finish: `(state, x, found) -> Scores`.
    n: how many steps.
    still: `found -> bool [B]`, the rows that no step changes any more: where
      all are, the search may end. None where steps always change them.
  """

  start: Callable[[State, jax.Array, jax.Array], Any]
  step: Callable[[State, jax.Array, Any], Any]
  finish: Callable[[State, jax.Array, Any], Scores]
  n: int
  still: Callable[[Any], jax.Array] | None = None

  def run(self, state: State, x, found) -> Any:
    """All steps, in one program."""
    if self.still is None:
      return jax.lax.fori_loop(
        0, self.n, lambda _, found: self.step(state, x, found), found
      )

    def goes_on(at):
      k, found = at
      return (k < self.n) & ~self.still(found).all()

    def step(at):
      k, found = at
      return k + 1, self.step(state, x, found)

    return jax.lax.while_loop(goes_on, step, (0, found))[1]

  def score(self, state: State, x, keys) -> Scores:
    """All of it in one program, the `score` of a detector that searches."""
    found = self.run(state, x, self.start(state, x, keys))
    return self.finish(state, x, found)


class Official(NamedTuple):
  """How the authors' code tests, where that departs from `Detector.score`.

  For comparison with published figures only: scores depend on the test batch.

  Attributes:
    score: `(state, x, keys) -> (Scores, State)`, of one batch after the other;
      the state is what a test leaves behind in code whose batches are not
      independent, else the one it was given.
    predict: `scores [N] -> [N] bool`, which of a whole test set the authors
      call anomalous; on the host. None where they set no threshold.
  """

  score: Callable[[State, jax.Array, jax.Array], tuple[Scores, State]]
  predict: Callable[[np.ndarray], np.ndarray] | None = None


class Detector(NamedTuple):
  """A detector: pure functions over an explicit `State`.

  Attributes:
    init: `(key, batch, plan=None) -> State`; shapes and dtypes come from the
      batch.
    phases: what to train, in order.
    score: `(state, x, keys) -> Scores`, jit-able, with one key an example. It
      fills `Scores.map` where that is not much dearer.
    localize: the same with `map`, for methods whose map costs much more than
      their score (gradients of the pixels). Else None.
    search: the steps of a `score` that is their loop; else None.
    embed: `(state, x, keys, train) -> [B, V, D]`, the frozen part of a method:
      features of V views of each example, as a training step (`train`) or as
      `score` takes them. `update` and `score` take them in place of `x`, so a
      run may compute them once. None where nothing is frozen.
    finish: `Scores -> Scores` of one example, on the host in NumPy, after
      `score`; for what does not belong into a compiled program. Else None.
    official: how the authors test, if otherwise; else None.
    relative_maps: whether a map says where in its image alone, as gradients of
      the score do: those of normal images have bright spots too, so that maps
      are shown weighted by the score of their image.
  """

  init: Callable[..., State]
  phases: tuple[Phase, ...]
  score: Score
  localize: Score | None = None
  search: Search | None = None
  embed: Callable[[State, jax.Array, jax.Array, bool], jax.Array] | None = None
  finish: Callable[[Scores], Scores] | None = None
  official: Official | None = None
  relative_maps: bool = False
