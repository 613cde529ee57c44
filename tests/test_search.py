# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""A score that is a search: descent to the best code of a fixed decoder."""

import collections

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxad import distributed
from jaxad.data import Examples
from jaxad.detector import Detector, Scores, Search, State
from jaxad.evaluation.scoring import Scorer

STEPS, SIDE, CODE = 15, 8, 3
KEY = jax.random.key(4)


class Decoder(nn.Module):
  """[B, CODE] to images [B, SIDE, SIDE, 1]."""

  @nn.compact
  def __call__(self, z):
    y = nn.Dense(SIDE * SIDE // 4 * 4)(z).reshape(-1, SIDE // 2, SIDE // 2, 4)
    y = nn.ConvTranspose(4, (4, 4), strides=(2, 2))(nn.tanh(y))
    return nn.Conv(1, (3, 3))(nn.tanh(y))


def anogan_like() -> Detector:
  """The distance of an image to the nearest one that the decoder can draw.

  Every search starts at a code of its own and descends with momentum.
  """
  decoder = Decoder()

  def init(key, batch, plan=None):
    del batch
    params = decoder.init(key, jnp.zeros((1, CODE)))["params"]
    return State.new(key, {"decoder": params}, {}, (), plan)

  def errors(state, x, z):
    return (x - decoder.apply({"params": state.params["decoder"]}, z)) ** 2

  def start(state, x, keys):
    del state
    z = jax.vmap(lambda key: jax.random.normal(key, (CODE,)))(keys)
    count = jnp.zeros(x.shape[0], jnp.int32)
    return {"z": z, "velocity": jnp.zeros_like(z), "count": count}

  def step(state, x, found):
    # The sum over rows: none feels the gradient of another.
    loss = lambda z: errors(state, x, z).mean((1, 2, 3)).sum()
    gradient = jax.grad(loss)(found["z"])
    velocity = 0.5 * found["velocity"] - 5.0 * gradient
    return {
      "z": found["z"] + velocity,
      "velocity": velocity,
      "count": found["count"] + 1,
    }

  def finish(state, x, found):
    error = errors(state, x, found["z"])
    parts = {"steps": jnp.float32(found["count"])}
    return Scores(error.mean((1, 2, 3)), error.mean(-1), parts)

  search = Search(start, step, finish, n=STEPS)
  return Detector(init, (), search.score, search=search)


@pytest.fixture(scope="module")
def detector():
  return anogan_like()


@pytest.fixture(scope="module")
def state(detector):
  return detector.init(jax.random.key(0), {})


def examples(x, names=None):
  """Normal ones, with an id each."""
  names = names or tuple(f"{k:03d}" for k in range(len(x)))
  label = np.zeros(len(x), np.int32)
  return Examples(np.asarray(x), label, names, ("good",) * len(x), None)


@pytest.fixture(scope="module")
def drawn(state):
  """Eleven images that the decoder drew."""
  z = jax.random.normal(jax.random.key(1), (11, CODE))
  return examples(Decoder().apply({"params": state.params["decoder"]}, z))


def image_scores(detector, state, split, batch_size=4, key=KEY):
  return Scorer(detector, batch_size, key).scores(state, split).image


def close(got, want):
  """To one part in a million of the largest."""
  atol = 1e-6 * np.abs(want).max()
  np.testing.assert_allclose(got, want, rtol=0, atol=atol)


def test_a_cpu_dispatches_the_steps_of_the_one_program(
  detector, state, drawn, monkeypatch
):
  calls, jit = collections.Counter(), jax.jit

  def counting(fn, **keywords):
    compiled = jit(fn, **keywords)

    def call(*args):
      calls[fn] += 1
      return compiled(*args)

    return call

  scores = {}
  for on_cpu in (True, False):
    calls.clear()
    with monkeypatch.context() as patch:
      patch.setattr(jax, "jit", counting)
      patch.setattr(distributed, "on_cpu", lambda on_cpu=on_cpu: on_cpu)
      scorer = Scorer(detector, 4, KEY)
      scores[on_cpu] = scorer.scores(state, drawn, with_maps=True)
    batches = 3
    assert calls[detector.search.step] == (STEPS * batches if on_cpu else 0)
    assert (scores[on_cpu].parts["steps"] == STEPS).all()
  close(scores[True].image, scores[False].image)
  close(scores[True].map, scores[False].map)
  assert scores[True].map.shape == (11, SIDE, SIDE)


def test_a_step_is_compiled_once(state, drawn, caplog):
  """Whatever the split; what other tests have compiled does not count."""
  scorer = Scorer(anogan_like(), 4, KEY)
  with jax.log_compiles():
    scorer.scores(state, drawn)
    scorer.scores(state, drawn.take(np.arange(3)))
  compiled = collections.Counter(
    message.split()[1]
    for message in (record.getMessage() for record in caplog.records)
    if message.startswith("Compiling ")
  )
  assert {"jit(start)", "jit(step)", "jit(finish)"} <= compiled.keys()
  # The keys of examples are made by a program that other tests may have used.
  assert set(compiled.values()) == {1}, compiled


def test_the_search_finds(detector, state, drawn):
  """What the decoder draws is nearer to it than noise, the more so after it."""
  rng = np.random.default_rng(0)
  spread = drawn.x.std()
  noise = examples(rng.normal(0, spread, drawn.x.shape).astype(np.float32))
  normal = image_scores(detector, state, drawn)
  assert image_scores(detector, state, noise).min() > normal.max()
  short = detector.search._replace(n=0)
  at_start = detector._replace(search=short, score=short.score)
  assert normal.mean() < 0.5 * image_scores(at_start, state, drawn).mean()


def test_scores_do_not_depend_on_the_batch(detector, state, drawn):
  want = image_scores(detector, state, drawn)
  for batch_size in (1, 3, 11, 16):
    close(image_scores(detector, state, drawn, batch_size), want)
  order = np.random.default_rng(0).permutation(11)
  close(image_scores(detector, state, drawn.take(order)), want[order])
  alone = np.arange(5, 6)
  close(image_scores(detector, state, drawn.take(alone)), want[alone])


def test_another_image_changes_no_other_score(detector, state, drawn):
  want = image_scores(detector, state, drawn)
  x = np.insert(drawn.x, 2, 9 * drawn.x[0] + 1, axis=0)
  names = (*drawn.id[:2], "new", *drawn.id[2:])
  got = image_scores(detector, state, examples(x, names))
  close(np.delete(got, 2), want)


def test_searches_start_where_the_key_and_the_id_say(detector, state, drawn):
  """Else the tests above could not fail."""
  want = image_scores(detector, state, drawn)
  other = image_scores(detector, state, drawn, key=jax.random.key(5))
  assert (np.abs(other - want) > 1e-4 * want).all()
  names = tuple(f"other/{name}" for name in drawn.id)
  renamed = image_scores(detector, state, examples(drawn.x, names))
  assert (np.abs(renamed - want) > 1e-4 * want).all()


def test_finish_runs_on_the_host_example_by_example(detector, state, drawn):
  plain = Scorer(detector, 4, KEY).scores(state, drawn, with_maps=True)
  seen = []

  def finish(scores: Scores) -> Scores:
    assert isinstance(scores.map, np.ndarray)
    seen.append(scores.map.shape)
    smooth = ndimage.gaussian_filter(scores.map, 1.0)
    return scores._replace(image=smooth.max(), map=smooth)

  filtered = detector._replace(finish=finish)
  found = Scorer(filtered, 4, KEY).scores(state, drawn, with_maps=True)
  assert seen == [(SIDE, SIDE)] * 11
  want = np.stack([ndimage.gaussian_filter(one, 1.0) for one in plain.map])
  np.testing.assert_array_equal(found.map, want)
  np.testing.assert_array_equal(found.image, want.max((1, 2)))
  assert found.image.dtype == np.float32
  np.testing.assert_array_equal(found.parts["steps"], plain.parts["steps"])


def test_a_search_can_be_exported(detector, state, drawn):
  """As one program, for any number of examples."""
  score = lambda x, keys: detector.search.score(state, x, keys).image
  (batch,) = jax.export.symbolic_shape("b")
  keys = jax.random.split(KEY, 5)
  program = jax.export.export(jax.jit(score))(
    jax.ShapeDtypeStruct((batch, SIDE, SIDE, 1), jnp.float32),
    jax.ShapeDtypeStruct((batch,), keys.dtype),
  )
  program = jax.export.deserialize(program.serialize())
  for n in (2, 5):
    got = program.call(drawn.x[:n], keys[:n])
    close(got, jax.jit(score)(drawn.x[:n], keys[:n]))
