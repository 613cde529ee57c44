# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Min-max games as one optax transformation, and the references' optimisers.

A game has players: each is a network (or several, nested under one name) with a
transformation of its own. A step of training is a sequence of moves, in the
order of the paper, and each names who moves:

    game = Game(
      generator=adam(2e-4, 0.5, 0.999),
      discriminator=adam(2e-4, 0.5, 0.999),
    )
    opt_state = game.init(params)  # {"generator": ..., "discriminator": ...}

    def step(params, opt_state, x):
      def d_loss(params):
        return loss, aux

      for _ in range(n_critic):
        params, opt_state, _ = game.move(
          "discriminator", d_loss, params, opt_state
        )
      return game.move("generator", g_loss, params, opt_state)

What a player does with its gradient is optax's: `optax.scale(-1.0)` in a chain
for one that ascends, `optax.clip_by_global_norm`, a schedule for a learning
rate, `optax.add_decayed_weights` for coupled L2, TensorFlow's RMSProp as
`optax.rmsprop(rate, decay=0.9, eps=1e-10, initial_scale=1.0)`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxad.detector import Plan, State
from jaxad.errors import InputError
from jaxad.fields import (
  Count,
  Epsilon,
  LearningRate,
  Momentum,
  Share,
  Weight,
)


class GameState(NamedTuple):
  """State of a game: the moves made so far, and each player's optax state."""

  moves: jax.Array
  players: Any


class Game:
  """Players of a min-max game, each with its own optax transformation.

  Parameters are a dict with one entry for each player. Entries without a player
  are frozen: no move changes them.
  """

  def __init__(self, **players: optax.GradientTransformation):
    # A zero gradient is a move (moments decay, counters advance); who does not
    # move must not be updated at all.
    moving = lambda name: lambda step, *, movers, **_: name in movers
    self._players = tuple(players)
    self._tx = optax.partition(
      {
        name: optax.conditionally_mask(
          tx, moving(name), forward_extra_args=True
        )
        for name, tx in players.items()
      }
      | {_FROZEN: optax.set_to_zero()},
      lambda params: {n: n if n in players else _FROZEN for n in params},
    )

  def init(self, params: dict) -> GameState:
    """The state before the first move."""
    return GameState(jnp.zeros((), jnp.int32), self._tx.init(params))

  def move(
    self,
    movers: str | Sequence[str],
    loss_fn: Callable[[dict], tuple[jax.Array, Any]],
    params: dict,
    opt_state: GameState,
  ) -> tuple[dict, GameState, Any]:
    """One update of the movers, who descend the loss.

    Only the movers' parameters are differentiated: for everything else the loss
    is a function of constants.

    Args:
      movers: the player that moves, or the players that move together.
      loss_fn: `params -> (loss, aux)`, of all parameters.
      params: of all players, and frozen ones.
      opt_state: of the game.

    Returns:
      (params, opt_state, aux), the parameters and states of all others as they
      were.
    """
    names = (movers,) if isinstance(movers, str) else tuple(movers)
    moving = {name: params[name] for name in names}
    grads, aux = jax.grad(lambda p: loss_fn(params | p), has_aux=True)(moving)
    params, opt_state = self.apply(grads, params, opt_state)
    return params, opt_state, aux

  def apply(
    self, grads: dict, params: dict, opt_state: GameState
  ) -> tuple[dict, GameState]:
    """One update of those whose gradients are given, {name: gradients}."""
    if unknown := grads.keys() - set(self._players):
      raise ValueError(f"not players of this game: {sorted(unknown)}")
    idle = {n: optax.tree.zeros_like(params[n]) for n in params.keys() - grads}
    updates, players = self._tx.update(
      grads | idle,
      opt_state.players,
      params,
      movers=tuple(grads),
      moves=opt_state.moves,
    )
    moved = {n: optax.apply_updates(params[n], updates[n]) for n in grads}
    return params | moved, GameState(opt_state.moves + 1, players)


_FROZEN = "frozen"


def adam_l2(
  learning_rate: optax.ScalarOrSchedule,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
  weight_decay: float = 0.0,
) -> optax.GradientTransformation:
  """Adam with coupled L2, as PyTorch's `Adam(weight_decay=...)`.

  g <- g + weight_decay * w on every parameter, then Adam on g. This is not
  AdamW, which takes the decay past the moments (Loshchilov and Hutter, ICLR
  2019, arXiv 1711.05101).

  Args:
    learning_rate: step size, or a schedule.
    b1: decay of the first moment.
    b2: decay of the second moment.
    eps: added outside the square root.
    weight_decay: factor of the L2 term.
  """
  return optax.chain(
    optax.add_decayed_weights(weight_decay),
    optax.scale_by_adam(b1=b1, b2=b2, eps=eps),
    optax.scale_by_learning_rate(learning_rate),
  )


def rmsprop_l2(
  learning_rate: optax.ScalarOrSchedule,
  decay: float = 0.99,
  eps: float = 1e-8,
  weight_decay: float = 0.0,
) -> optax.GradientTransformation:
  """RMSprop with coupled L2, as PyTorch's `RMSprop(weight_decay=...)`.

  Args:
    learning_rate: step size, or a schedule.
    decay: of the mean square, PyTorch's alpha.
    eps: added outside the square root.
    weight_decay: factor of the L2 term.
  """
  return optax.chain(
    optax.add_decayed_weights(weight_decay),
    optax.scale_by_rms(decay, eps, eps_in_sqrt=False),
    optax.scale_by_learning_rate(learning_rate),
  )


def adam_hat(
  learning_rate: optax.ScalarOrSchedule,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
  shared_clock: bool = False,
) -> optax.GradientTransformationExtraArgs:
  """Adam with "epsilon hat", as in TensorFlow, Keras and MXNet.

  The form at the end of section 2 of Kingma and Ba, ICLR 2015 (arXiv
  1412.6980): the bias correction goes into the learning rate, so that epsilon
  is not scaled by it,

    w <- w - rate * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps).

  Args:
    learning_rate: step size, or a schedule.
    b1: decay of the first moment.
    b2: decay of the second moment.
    eps: added to sqrt(v).
    shared_clock: t counts the moves of all players of a `Game`, as where one
      TensorFlow optimiser serves several networks; else the player's own.
  """

  def init(params):
    zeros = optax.tree.zeros_like(params)
    return optax.ScaleByAdamState(jnp.zeros((), jnp.int32), zeros, zeros)

  def update(grads, state, params=None, *, moves=None, **_):
    del params
    mu = optax.tree.update_moment(grads, state.mu, b1, 1)
    nu = optax.tree.update_moment(grads, state.nu, b2, 2)
    count = state.count + 1
    t = moves + 1 if shared_clock else count
    correction = jnp.sqrt(1 - b2**t) / (1 - b1**t)
    updates = jax.tree.map(
      lambda m, v: correction.astype(m.dtype) * m / (jnp.sqrt(v) + eps), mu, nu
    )
    return updates, optax.ScaleByAdamState(count, mu, nu)

  return optax.chain(
    optax.GradientTransformationExtraArgs(init, update),
    optax.scale_by_learning_rate(learning_rate),
  )


def lreq_adam(
  learning_rate: optax.ScalarOrSchedule,
  b1: float = 0.0,
  b2: float = 0.99,
  eps: float = 1e-8,
  multiplier: float = 1.0,
) -> optax.GradientTransformationExtraArgs:
  """Adam for layers of equalised learning rates, as in ALAE's code.

  StyleGAN's layers multiply weights of deviation 1 by a constant in every pass
  (Karras et al., CVPR 2019, arXiv 1812.04948); here the weights have that scale
  themselves, and steps as long, see `equalized_rate`. Else it is `adam_hat`.

  Args:
    learning_rate: step size, or a schedule.
    b1: decay of the first moment; the code has none, 0.
    b2: decay of the second moment.
    eps: added to sqrt(v).
    multiplier: of the learning rate of these layers.
  """
  return optax.chain(
    adam_hat(learning_rate, b1, b2, eps),
    optax.stateless(
      lambda updates, _: jax.tree.map(
        lambda u: equalized_rate(u.shape, multiplier) * u, updates
      )
    ),
  )


def equalized_rate(shape: tuple[int, ...], multiplier: float) -> float:
  """The part of a step that an array moves by.

  Args:
    shape: of a kernel [..., inputs, outputs], which moves by sqrt(2 / inputs),
      a convolution's inputs times its pixels; or of a bias, which moves by all.
    multiplier: of either.
  """
  inputs = math.prod(shape[:-1])
  return multiplier * (math.sqrt(2 / inputs) if len(shape) > 1 else 1)


def cut_norm(most: float, eps: float) -> optax.GradientTransformation:
  """Cuts a global norm to `most`, as PyTorch's `clip_grad_norm_` does.

  The factor is min(1, most / (norm + eps)).
  """
  return optax.stateless(
    lambda grads, _: optax.tree.scale(
      jnp.minimum(1.0, most / (optax.tree.norm(grads) + eps)), grads
    )
  )


def step_decay(
  learning_rate: float,
  steps_per_epoch: int,
  every: int = 10,
  rate: float = 0.1,
  schedule: str = "early",
) -> optax.Schedule:
  """A learning rate that falls by a factor every few epochs.

  Args:
    learning_rate: of the first epoch.
    steps_per_epoch: updates in an epoch.
    every: epochs between two falls.
    rate: the factor.
    schedule: "late" falls after every `every` epochs; "early" one epoch before,
      as PyTorch code does that steps its scheduler at the start of an epoch.
  """
  ahead = 1 if schedule == "early" else 0

  def at(count):
    falls = (count // steps_per_epoch + ahead) // every
    return learning_rate * jnp.power(rate, falls)

  return at


class ClippedAdam(NamedTuple):
  """`adam_l2` of gradients whose global norm is cut before; of DRA and DevNet.

  Attributes:
    learning_rate: of the first epochs.
    b1: Adam's decay of the first moment.
    b2: Adam's decay of the second moment.
    eps: Adam's epsilon, outside the root.
    weight_decay: coupled L2 on every parameter, added after the cut.
    clip_norm: the gradient's global norm is cut to this; 0 does not cut.
    clip_eps: added to the norm in the factor of the cut.
    schedule: of the learning rate: "early" or "late" falls in steps, see
      `step_decay`; "cosine" to 0 at the end of the phase; or "constant".
    decay_every: epochs between two falls.
    decay_rate: the factor of a fall.
  """

  learning_rate: LearningRate = 2e-4
  b1: Momentum = 0.9
  b2: Momentum = 0.999
  eps: Epsilon = 1e-8
  weight_decay: Weight = 1e-5
  clip_norm: Weight = 1.0
  clip_eps: Share = 1e-6
  schedule: Literal["early", "late", "cosine", "constant"] = "early"
  decay_every: Count = 10
  decay_rate: Share = 0.1

  def transformation(
    self, plan: Plan | None, phase: int = 0
  ) -> optax.GradientTransformation:
    """The optax transformation in a phase of a run.

    Raises:
      InputError: a learning rate that falls, and no plan to fall by.
    """
    rate = self.rate(plan, phase)
    adam = adam_l2(rate, self.b1, self.b2, self.eps, self.weight_decay)
    if not self.clip_norm:
      return adam
    return optax.chain(cut_norm(self.clip_norm, self.clip_eps), adam)

  def rate(self, plan: Plan | None, phase: int = 0) -> optax.Schedule:
    """The learning rate at each step of a phase."""
    if self.schedule == "constant":
      return optax.constant_schedule(self.learning_rate)
    if plan is None:
      raise InputError(
        f"optimizer.schedule={self.schedule!r}: a learning rate that falls "
        "must know the length of the run; give init a Plan, or take "
        "schedule='constant'.",
        "optimizer.schedule",
      )
    if self.schedule == "cosine":
      steps = plan.ends[phase] - (plan.ends[phase - 1] if phase else 0)
      return optax.cosine_decay_schedule(self.learning_rate, max(steps, 1))
    return step_decay(
      self.learning_rate,
      plan.steps_per_epoch[phase],
      self.decay_every,
      self.decay_rate,
      self.schedule,
    )


def descend(
  tx: optax.GradientTransformation,
  loss_fn: Callable[[Any], tuple[jax.Array, tuple[dict, Any]]],
  state: State,
) -> tuple[State, dict]:
  """One update of all parameters, where nobody plays against them.

  Args:
    tx: of all parameters.
    loss_fn: `params -> (loss, (metrics, collections))`.
    state: where the gradient is taken.

  Returns:
    (the state with new parameters, collections and optimiser; the metrics, with
    the loss and the gradient's global norm).
  """
  value_and_grad = jax.value_and_grad(loss_fn, has_aux=True)
  (loss, (metrics, collections)), grads = value_and_grad(state.params)
  updates, opt_state = tx.update(grads, state.opt_state, state.params)
  params = optax.apply_updates(state.params, updates)
  state = state.replace(
    params=params, collections=collections, opt_state=opt_state
  )
  norm = optax.tree.norm(grads)
  return state, metrics | {"loss": loss, "gradient_norm": norm}
