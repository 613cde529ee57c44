# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Games against stand-alone optimisers, and optimisers against formulae."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxad.detector import Plan
from jaxad.optim import (
  ClippedAdam,
  Game,
  adam_hat,
  adam_l2,
  equalized_rate,
  lreq_adam,
)

KEY = jax.random.key(3)


def three_networks(dtype=jnp.float32):
  keys = jax.random.split(KEY, 3)
  return {
    name: {"w": jax.random.normal(key, (4, 3), dtype)}
    for name, key in zip(("a", "b", "c"), keys, strict=True)
  }


def loss_of(name, target):
  """A loss that depends on every network, and moves toward a target."""

  def loss_fn(params):
    others = sum((p["w"] ** 2).sum() for p in params.values())
    loss = ((params[name]["w"] - target) ** 2).sum() + 0.1 * others
    return loss, {"loss": loss}

  return loss_fn


class Alone:
  """One network under an optax transformation of its own."""

  def __init__(self, tx, params):
    self.tx, self.params, self.state = tx, params, tx.init(params)

  def move(self, grads):
    updates, self.state = self.tx.update(grads, self.state, self.params)
    self.params = optax.apply_updates(self.params, updates)


OPTIMISERS = {
  "adam": lambda: optax.adam(1e-2, 0.5, 0.999),
  "coupled L2": lambda: adam_l2(1e-2, weight_decay=0.1),
  "epsilon hat": lambda: adam_hat(1e-2),
  "momentum": lambda: optax.sgd(1e-2, momentum=0.9),
  "RMSProp": lambda: optax.rmsprop(1e-2, initial_scale=1.0),
  "clipped": lambda: optax.chain(
    optax.clip_by_global_norm(0.1), optax.adam(1e-2)
  ),
  "schedule": lambda: optax.adam(optax.linear_schedule(1e-2, 0.0, 7)),
  "ascent": lambda: optax.chain(optax.scale(-1.0), optax.sgd(1e-3)),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_player_is_as_if_alone(name):
  """Who idles is not touched: moments, counters and schedules included."""
  params = three_networks()
  game = Game(a=OPTIMISERS[name](), b=optax.adam(3e-3), c=optax.sgd(1e-3))
  alone = {
    "a": Alone(OPTIMISERS[name](), params["a"]),
    "b": Alone(optax.adam(3e-3), params["b"]),
    "c": Alone(optax.sgd(1e-3), params["c"]),
  }
  opt_state = game.init(params)
  # `a` moves once, then three times in a row, then not for a while.
  for turn in ("a", "b", "b", "a", "a", "a", "c", "b", "c", "a"):
    loss_fn = loss_of(turn, 1.0)
    own = lambda p, f=loss_fn, t=turn, rest=params: f(rest | {t: p})[0]
    alone[turn].move(jax.grad(own)(params[turn]))
    params, opt_state, aux = game.move(turn, loss_fn, params, opt_state)
    assert jnp.isfinite(aux["loss"])
  for player, expected in alone.items():
    chex.assert_trees_all_close(params[player], expected.params, rtol=1e-6)
  adam_count = optax.tree.get(opt_state.players.inner_states["b"], "count")
  assert adam_count == 3
  assert opt_state.moves == 10


def test_a_zero_gradient_is_a_move():
  """So standing still cannot be written as a zero gradient."""
  params = {"a": {"w": jnp.ones(3)}, "b": {"w": jnp.ones(3)}}
  game = Game(a=optax.adam(0.1), b=optax.adam(0.1))
  opt_state = game.init(params)
  both = lambda p: ((p["a"]["w"] ** 2).sum() + (p["b"]["w"] ** 2).sum(), None)
  params, opt_state, _ = game.move(("a", "b"), both, params, opt_state)
  zeros = {"a": {"w": jnp.zeros(3)}}
  moved, _ = game.apply(zeros, params, opt_state)
  assert (moved["a"]["w"] != params["a"]["w"]).all()
  chex.assert_trees_all_equal(moved["b"], params["b"])


def test_several_players_move_together():
  params = three_networks()
  game = Game(a=optax.adam(1e-2), b=optax.adam(1e-3), c=optax.adam(1e-2))
  joint = lambda p: ((p["a"]["w"] * p["b"]["w"] * p["c"]["w"]).sum(), None)
  opt_state = game.init(params)
  moved, _, _ = game.move(("a", "b"), joint, params, opt_state)
  grads = jax.grad(lambda p: joint(p)[0])(params)
  for name, rate in (("a", 1e-2), ("b", 1e-3)):
    alone = Alone(optax.adam(rate), params[name])
    alone.move(grads[name])
    chex.assert_trees_all_close(moved[name], alone.params, rtol=1e-6)
  chex.assert_trees_all_equal(moved["c"], params["c"])


def test_networks_without_a_player_are_frozen():
  params = three_networks()
  game = Game(a=optax.adam(1e-2))
  moved, opt_state, _ = game.move(
    "a", loss_of("a", 1.0), params, game.init(params)
  )
  chex.assert_trees_all_equal(
    {k: moved[k] for k in "bc"}, {k: params[k] for k in "bc"}
  )
  moments = sum(leaf.size for leaf in jax.tree.leaves(opt_state))
  assert moments < 3 * params["a"]["w"].size


def test_unknown_players():
  params = three_networks()
  game = Game(a=optax.adam(1e-2))
  with pytest.raises(ValueError, match="not players of this game: .'b'."):
    game.move("b", loss_of("b", 1.0), params, game.init(params))


def adam_numpy(g, m, v, t, rate, b1, b2, eps):
  m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
  scaled = rate * np.sqrt(1 - b2**t) / (1 - b1**t)
  return scaled * m / (np.sqrt(v) + eps), m, v


@pytest.mark.parametrize("shared", [False, True])
def test_adam_with_epsilon_hat(shared):
  """An epsilon so large that its place matters; one clock, or one for each."""
  rate, b1, b2, eps = 0.1, 0.5, 0.9, 0.3
  with jax.enable_x64(True):
    params = {k: {"w": jnp.zeros(3)} for k in "ab"}
    tx = lambda: adam_hat(rate, b1, b2, eps, shared_clock=shared)
    game = Game(a=tx(), b=tx())
    opt_state = game.init(params)
    rng = np.random.default_rng(0)
    w, m, v = ({k: np.zeros(3) for k in "ab"} for _ in range(3))
    own = dict.fromkeys("ab", 0)
    for total, turn in enumerate("abbabb", 1):
      g = rng.normal(size=3)
      own[turn] += 1
      t = total if shared else own[turn]
      step, m[turn], v[turn] = adam_numpy(
        g, m[turn], v[turn], t, rate, b1, b2, eps
      )
      w[turn] = w[turn] - step
      grads = {turn: {"w": jnp.asarray(g)}}
      params, opt_state = game.apply(grads, params, opt_state)
    for k in "ab":
      np.testing.assert_allclose(params[k]["w"], w[k], rtol=1e-12)


def test_adam_of_equalised_layers():
  """Each array moves by its part of Adam's step, and with no gradient stays."""
  rate, b2, eps, multiplier = 1e-2, 0.9, 1e-3, 0.1
  tx = lreq_adam(rate, 0.0, b2, eps, multiplier)
  params = {"kernel": jnp.ones((8, 3)), "bias": jnp.ones(3)}
  parts = {"kernel": multiplier / 2, "bias": multiplier}
  state = tx.init(params)
  v = {name: np.zeros(p.shape) for name, p in params.items()}
  rng = np.random.default_rng(0)
  for t in range(1, 4):
    grads = {k: rng.standard_normal(w.shape) * (t != 2) for k, w in v.items()}
    updates, state = tx.update(grads, state, params)
    for name, g in grads.items():
      v[name] = b2 * v[name] + (1 - b2) * g**2
      step = rate * np.sqrt(1 - b2**t) * g / (np.sqrt(v[name]) + eps)
      want = -parts[name] * step
      np.testing.assert_allclose(updates[name], want, rtol=1e-5, atol=0)
  np.testing.assert_allclose(optax.tree.get(state, "nu")["bias"], v["bias"])
  assert equalized_rate((3, 3, 2, 5), 1.0) == pytest.approx(1 / 3)


def test_rmsprop_of_tensorflow():
  """As the module's docstring writes it: ms starts at 1, epsilon inside."""
  rate, decay, eps = 0.1, 0.9, 1e-2
  tx = optax.rmsprop(rate, decay=decay, eps=eps, initial_scale=1.0)
  w, ms = np.zeros(3), np.ones(3)
  alone = Alone(tx, jnp.zeros(3))
  rng = np.random.default_rng(0)
  for _ in range(4):
    g = rng.normal(size=3)
    ms = decay * ms + (1 - decay) * g**2
    w = w - rate * g / np.sqrt(ms + eps)
    alone.move(jnp.float32(g))
  np.testing.assert_allclose(alone.params, w, rtol=1e-5)


def compiled_move(game, movers, loss_fn, params):
  fn = jax.jit(lambda params, s: game.move(movers, loss_fn, params, s)[:2])
  return fn.lower(params, game.init(params)).compile()


def test_only_the_movers_are_differentiated():
  """The generator's move through a large, idle discriminator.

  Of the discriminator's products it needs the forward one and the one back to
  the image, not the one to its weights; nor does it step its optimiser.
  """
  n, batch = 64, 32
  params = {"g": {"w": jnp.ones((n, n))}, "d": {"w": jnp.ones((n, n))}}
  game = Game(g=optax.sgd(0.1), d=optax.adam(0.1))
  x = jax.random.normal(KEY, (batch, n))
  loss_fn = lambda p: (
    jnp.tanh(jnp.tanh(x @ p["g"]["w"]) @ p["d"]["w"]).sum(),
    None,
  )
  product = 2 * batch * n * n
  flops = lambda names: compiled_move(
    game, names, loss_fn, params
  ).cost_analysis()["flops"]
  # Of the generator: forward, and to the weights (x needs no gradient).
  assert flops("g") == pytest.approx(4 * product, rel=0.05)
  # The generator's image is a constant of the discriminator's loss.
  assert flops("d") == pytest.approx(3 * product, rel=0.2)
  # Together, nothing is left out, and nothing is done twice.
  assert flops(("g", "d")) == pytest.approx(5 * product, rel=0.2)


def test_who_moves_is_decided_when_compiling():
  params = three_networks()
  game = Game(**{k: optax.adam(1e-2) for k in "abc"})
  text = compiled_move(game, "a", loss_of("a", 1.0), params).as_text()
  assert "conditional(" not in text


def test_clipped_adam_by_hand():
  """The cut comes before the L2 term, and its factor knows an epsilon."""
  fields = ClippedAdam(
    learning_rate=0.1,
    b1=0.8,
    b2=0.9,
    eps=0.01,
    weight_decay=0.3,
    clip_norm=0.5,
    clip_eps=0.25,
    schedule="constant",
  )
  w, m, v = np.float64([1.0, -2.0]), np.zeros(2), np.zeros(2)
  with jax.enable_x64(True):
    alone = Alone(fields.transformation(None), jnp.asarray(w))
    # The second is too short to be cut.
    for t, g in enumerate(([3.0, 4.0], [0.0, 0.1]), 1):
      g = np.float64(g)
      alone.move(jnp.asarray(g))
      g = g * min(1, 0.5 / (np.linalg.norm(g) + 0.25)) + 0.3 * w
      m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g**2
      m_hat, v_hat = m / (1 - 0.8**t), v / (1 - 0.9**t)
      w = w - 0.1 * m_hat / (np.sqrt(v_hat) + 0.01)
    np.testing.assert_allclose(alone.params, w, rtol=1e-12)
    uncut = fields._replace(clip_norm=0.0).transformation(None)
    g = jnp.asarray([30.0, 40.0])
    updates, _ = uncut.update(g, uncut.init(g), 0 * g)
    want, _ = optax.adam(0.1, 0.8, 0.9, 0.01).update(
      g, optax.adam(0.1, 0.8, 0.9, 0.01).init(g)
    )
    np.testing.assert_allclose(updates, want, rtol=1e-12)


def test_learning_rates_of_a_plan():
  """Epochs and steps are those of the phase."""
  plan = Plan(batch_size=8, ends=(10, 130), steps_per_epoch=(2, 3))
  rate = lambda phase=1, **fields: ClippedAdam(1.0, **fields).rate(plan, phase)
  values = lambda rate, steps: [float(rate(k)) for k in steps]
  steps = (0, 11, 12, 14, 15, 26, 27)
  np.testing.assert_allclose(
    values(rate(schedule="late", decay_every=5, decay_rate=0.5), steps),
    [1, 1, 1, 1, 0.5, 0.5, 0.5],
  )
  np.testing.assert_allclose(
    values(rate(schedule="early", decay_every=5, decay_rate=0.5), steps),
    [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25],
  )
  late = rate(phase=0, schedule="late", decay_every=5, decay_rate=0.5)
  np.testing.assert_allclose(values(late, (9, 10)), [1, 0.5])
  cosine = rate(schedule="cosine")
  np.testing.assert_allclose(
    values(cosine, (0, 40, 60, 120)), [1, 0.75, 0.5, 0], atol=1e-6
  )
  assert values(rate(schedule="constant"), (0, 10_000)) == [1, 1]
