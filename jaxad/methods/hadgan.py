# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""HADGAN: background spectra come back from their codes, anomalies do not.

Jiang, Li, Xie and Du, "Discriminative Reconstruction Constrained Generative
Adversarial Network for Hyperspectral Anomaly Detection", IEEE TGRS 58(7), 2020.
No official code exists: this is a port of the equations, and where those leave
something open, of github.com/Mampacuk/HADGAN, a re-implementation.

An auto-encoder of single spectra, x -> z = E(x) -> x_hat = De(z), trained on
all pixels of the scene that is searched. Two discriminators bind it: D_Z makes
codes look like n ~ N(0, 1), D_I makes reconstructions look like spectra of the
scene, most of which are background.

    L_R   = mean (x - x_hat)^2
    L_ziz = mean (z' - E(De(z')))^2, z' ~ N(0, 1), or E(x)    (consistency)
    L_zl  = mean E(x)^2                                       (shrinking)
    L_AE  = a0 L_R + a1 L_ziz + a2 L_zl
    L_E   = L_AE + w_adv BCE(D_Z(E(x)), 1)
    L_De  = L_AE + w_adv BCE(D_I(x_hat), 1)
    L_DZ  = BCE(D_Z(n), 1) + BCE(D_Z(E(x)), 0)
    L_DI  = BCE(D_I(x), 1) + BCE(D_I(x_hat), 0)

A step moves the discriminators k times, by E and De as they score, and then E
and De at once, in training mode, with dropout on the codes.

The residual |x - x_hat| of a scene goes to a spatial and a spectral detector
and their sum D_SS, see `jaxad.joint_detector`.
"""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxad.detector import Batch, Detector, Phase, Scores, State
from jaxad.fields import (
  Count,
  DropoutRate,
  Epsilon,
  LearningRate,
  Momentum,
  Share,
  Weight,
  checked,
)
from jaxad.joint_detector import JointDetector
from jaxad.layers.batch_norm import BatchNorm, running_average
from jaxad.layers.chunks import map_chunks
from jaxad.layers.conv import pytorch_dense
from jaxad.layers.dropout import Dropout, draw_masks
from jaxad.layers.spectra import n_top, spectra
from jaxad.losses import binary_cross_entropy as bce
from jaxad.networks.variables import apply_eval, apply_train, initialize
from jaxad.optim import Game, adam_l2, rmsprop_l2

# Pixels that pass through the networks at once.
_AT_ONCE = 16_384


class Dense(nn.Module):
  """Two hidden layers and a linear one, as E, De, D_Z and D_I have them.

  Attributes:
    width: of the hidden layers.
    out: of the last one.
    slope: of leaky ReLU.
    last_bias: whether the last layer has a bias.
    norm_epsilon: of batch norms behind the hidden layers; None for none.
    dropout: share of the outputs that is left out in training.
  """

  width: int
  out: int
  slope: float = 0.2
  last_bias: bool = True
  norm_epsilon: float | None = None
  dropout: float = 0.0

  @nn.compact
  def __call__(self, x, train: bool):
    """[n, D] to [n, out]."""
    for k in (0, 1):
      x = pytorch_dense(self.width, x, f"dense_{k}")(x)
      if self.norm_epsilon is not None:
        x = BatchNorm(self.norm_epsilon, name=f"norm_{k}")(x, train)
      x = nn.leaky_relu(x, self.slope)
    x = pytorch_dense(self.out, x, "dense_out", self.last_bias)(x)
    return Dropout(self.dropout, name="dropout")(x, train)


@checked
def hadgan(
  *,
  width: Count = 1000,
  latent_dim: Count | None = None,
  dropout: DropoutRate = 0.5,
  a0: Weight = 1.0,
  a1: Weight = 1.0,
  a2: Weight = 0.1,
  w_adv: Weight = 1.0,
  consistency_source: Literal["prior", "encoded"] = "prior",
  rec_loss: Literal["mse", "l21"] = "mse",
  l21_epsilon: Epsilon = 1e-8,
  k_steps: Count = 1,
  learning_rate: LearningRate = 1e-4,
  b1: Momentum = 0.9,
  b2: Momentum = 0.999,
  eps: Epsilon = 1e-8,
  rms_decay: Momentum = 0.99,
  rms_eps: Epsilon = 1e-8,
  weight_decay: Weight = 1e-5,
  slope: Share = 0.2,
  norm_momentum: Momentum = 0.9,
  norm_epsilon: Epsilon = 1e-5,
  patience: Count | None = 50,
  joint: JointDetector = JointDetector(),
  score: Literal["top", "max", "residual"] = "top",
) -> Detector:
  """Makes a HADGAN detector.

  It trains on spectra [n, B] float, or on all pixels of scenes [N, H, W, B] or
  images [N, H, W, C], uint8 or float in [0, 1], and scores scenes and images.

  Args:
    width: of all hidden layers.
    latent_dim: length of the codes; None is int(sqrt(B) + 1).
    dropout: share of a code that is left out in training.
    a0: weight of L_R.
    a1: weight of L_ziz.
    a2: weight of L_zl.
    w_adv: weight of what the discriminators say; 0.2 in one revision.
    consistency_source: z' of L_ziz: "prior", as in the paper, or "encoded", as
      in the re-implementation.
    rec_loss: "mse", as in the paper, or in place of L_R and L_ziz "l21", half
      the mean over spectra of the Euclidean norm, of the re-implementation.
    l21_epsilon: what is added to the squared norm in "l21".
    k_steps: moves of the discriminators in a step.
    learning_rate: of E's RMSprop and the others' Adam.
    b1: Adam's decay of the first moment.
    b2: Adam's decay of the second moment.
    eps: Adam's epsilon.
    rms_decay: RMSprop's decay.
    rms_eps: RMSprop's epsilon, outside the root.
    weight_decay: coupled L2 on all parameters of E and De.
    slope: of leaky ReLU.
    norm_momentum: weight of the old running statistics of E's norms.
    norm_epsilon: of these norms.
    patience: epochs without a lower mean loss after which training ends; None
      trains to the end of the plan.
    joint: how the residual of a scene becomes its map.
    score: of a whole scene or image: mean of the highest hundredth of its map,
      "top", the highest, "max", or mean of its residual, "residual", which
      alone can be compared among scenes.

  Returns:
    A `Detector` with one phase, "gan", whose map is D_SS, made on the host by
    `finish`; `Scores.maps` has "spatial" and "spectral".

  Raises:
    InputError: a value out of range.
  """
  adam = lambda decay: adam_l2(learning_rate, b1, b2, eps, decay)
  game = Game(
    encoder=rmsprop_l2(learning_rate, rms_decay, rms_eps, weight_decay),
    decoder=adam(weight_decay),
    latent=adam(0.0),
    spectrum=adam(0.0),
  )

  def networks(n_of_bands):
    dz = latent_dim or int(n_of_bands**0.5 + 1)
    discriminator = Dense(width, 1, slope)
    return {
      "encoder": Dense(width, dz, slope, False, norm_epsilon, dropout),
      "decoder": Dense(width, n_of_bands, slope, False),
      "latent": discriminator,
      "spectrum": discriminator,
    }

  def init(key, batch: Batch, plan=None) -> State:
    x = spectra(batch["x"][:1])[:1]
    nets, (params_key, state_key) = networks(x.shape[-1]), jax.random.split(key)
    z = jnp.zeros((1, nets["encoder"].out), x.dtype)
    inputs = {"encoder": x, "decoder": z, "latent": z, "spectrum": x}
    params, collections = initialize(
      params_key, {name: (nets[name], of) for name, of in inputs.items()}
    )
    zero, most = (jnp.full((), v, x.dtype) for v in (0, jnp.finfo(x.dtype).max))
    watch = {"total": zero, "best": most, "waited": jnp.int32(0)}
    return State.new(
      state_key, params, collections, game.init(params), plan, watch=watch
    )

  # Training.

  def draw(key, batch: Batch):
    x = spectra(batch["x"])
    encoder = networks(x.shape[-1])["encoder"]
    real_key, prior_key, *keys = jax.random.split(key, 4)
    shape = (len(x), encoder.out)
    masks = [draw_masks(key, dropout, encoder, x) for key in keys]
    return {
      "z_real": jax.random.normal(real_key, (k_steps, *shape)),
      "z_prior": jax.random.normal(prior_key, shape),
      "keep": masks[0],
      "keep_again": masks[1],
    }

  def error(a, b):
    if rec_loss == "mse":
      return ((a - b) ** 2).mean()
    return 0.5 * jnp.sqrt(((a - b) ** 2).sum(-1) + l21_epsilon).mean()

  def step(state: State, batch: Batch, draws):
    x = spectra(batch["x"])
    nets = networks(x.shape[-1])
    params, opt_state = state.params, state.opt_state
    train = lambda name, params, *args, keep=None: apply_train(
      nets[name], params[name], *args, collections=keep
    )
    judge = lambda name, params, v: train(name, params, v)[0]
    code, x_hat = codes(state, x)

    def d_loss(params, n):
      """L_DZ + L_DI: each discriminator is in one of them."""
      terms = {
        "dz_loss": bce(judge("latent", params, n), 1)
        + bce(judge("latent", params, code), 0),
        "di_loss": bce(judge("spectrum", params, x), 1)
        + bce(judge("spectrum", params, x_hat), 0),
      }
      return sum(terms.values()), terms

    for k in range(k_steps):
      loss = lambda params, n=draws["z_real"][k]: d_loss(params, n)
      params, opt_state, d_terms = game.move(
        ("latent", "spectrum"), loss, params, opt_state
      )

    def ae_loss(params):
      """L_E and L_De, what they share taken once.

      L_De holds no gradient by E, nor L_E one of D_I.
      """
      z, on_x = train("encoder", params, x, keep=draws["keep"])
      rebuilt, _ = train("decoder", params, z)
      source = z if consistency_source == "encoded" else draws["z_prior"]
      drawn, _ = train("decoder", params, source)
      keep = draws["keep_again"]
      again, on_drawn = train("encoder", params, drawn, keep=keep)
      of_decoder, _ = train("decoder", params, jax.lax.stop_gradient(z))
      terms = {
        "rec": error(x, rebuilt),
        "cons": error(source, again),
        "shrink": (z**2).mean(),
        "enc_adv": bce(judge("latent", params, z), 1),
        "dec_adv": bce(judge("spectrum", params, of_decoder), 1),
      }
      ae = a0 * terms["rec"] + a1 * terms["cons"] + a2 * terms["shrink"]
      terms |= {
        "ae": ae,
        "e_loss": ae + w_adv * terms["enc_adv"],
        "de_loss": ae + w_adv * terms["dec_adv"],
        "loss": ae + w_adv * (terms["enc_adv"] + terms["dec_adv"]),
      }
      return terms["loss"], (terms, (on_x, on_drawn))

    params, opt_state, (terms, passes) = game.move(
      ("encoder", "decoder"), ae_loss, params, opt_state
    )
    running = dict(state.collections)
    running["encoder"] = running_average(
      running["encoder"], *passes, momentum=norm_momentum
    )
    state = state.replace(
      params=params,
      opt_state=opt_state,
      collections=running,
      extras={"watch": watched(state, terms["loss"])},
    )
    return state, d_terms | terms

  def watched(state: State, loss):
    """The loss of the epoch so far, the lowest, and the epochs since."""
    watch, plan = state.extras["watch"], state.plan
    if plan is None:
      return watch
    total = watch["total"] + loss
    over = state.step % plan.steps_per_epoch[0] == 0
    waited = jnp.where(total < watch["best"], 0, watch["waited"] + 1)
    best = jnp.minimum(total, watch["best"])
    at_end = {"total": jnp.zeros_like(total), "best": best, "waited": waited}
    so_far = watch | {"total": total}
    return jax.tree.map(lambda a, b: jnp.where(over, a, b), at_end, so_far)

  def stop(state: State) -> bool:
    return state.extras["watch"]["waited"] >= patience

  # Scoring.

  def codes(state: State, x):
    """E(x) and De(E(x)) of rows, as they score."""
    nets = networks(x.shape[-1])
    run = lambda name, v: apply_eval(
      nets[name], state.params[name], state.collections[name], v
    )
    z = run("encoder", x)
    return z, run("decoder", z)

  def score_fn(state: State, x, keys) -> Scores:
    del keys
    rows = spectra(x)
    n = x.size // x.shape[-1]
    padded = jnp.pad(rows, ((0, -n % min(n, _AT_ONCE)), (0, 0)))
    of = lambda rows: jnp.abs(rows - codes(state, rows)[1])
    residual = map_chunks(of, padded, _AT_ONCE).reshape(padded.shape)
    residual = residual[:n].reshape(x.shape)
    energy = residual.mean(-1)
    if x.ndim == 2:
      return Scores(energy)
    mean = energy.mean((1, 2))
    return Scores(mean, energy, {"residual": mean}, {"residual": residual})

  def finish(scores: Scores) -> Scores:
    if scores.map is None:
      return scores
    found = joint.of_residual(scores.maps["residual"])
    fused = found["fused"]
    image = {
      "top": np.sort(fused, axis=None)[-n_top(*fused.shape) :].mean(),
      "max": fused.max(),
      "residual": scores.parts["residual"],
    }
    maps = {name: found[name] for name in ("spatial", "spectral")}
    return scores._replace(image=image[score], map=fused, maps=maps)

  phase = Phase(
    "gan", step, draw, full_batches=True, stop=stop if patience else None
  )
  return Detector(init, (phase,), score_fn, relative_maps=True, finish=finish)
