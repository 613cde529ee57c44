# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""CAVGA: an auto-encoder whose attention covers what is normal.

Venkataramanan, Peng, Singh and Mahalanobis, "Attention Guided Anomaly
Localization in Images", ECCV 2020 (arXiv 1911.08616). There is no official
code: this is a port of the equations.

A trunk sees an image as features F, two 1x1 convolutions make of them the maps
mu and log sigma^2 of a code that has places, z = mu + sigma n, a decoder draws
x_hat of z, and a discriminator D tells x_hat from x:

    L      -[x log x_hat + (1 - x) log(1 - x_hat)]
           + (mu^2 + sigma^2 - log sigma^2 - 1) / 2
    L_adv  -[log D(x) + log(1 - D(x_hat))]

Its attention is the Grad-CAM of a number s, differentiated again in training,

    A = sigmoid(sum_k alpha_k F_k),    alpha_k = mean over places of ds/dF_k

    CAVGA_u  normal images alone, s = sum of mu; the attention is to cover all
             of them, L_ae = mean of 1 - A:
             w_rec L + w_adv L_adv + w_ae L_ae
    CAVGA_w  some labelled anomalies; z is classified, s are the logits of
             normal and of anomalous, and where a normal image is told for one,
             L_cga = mean of 1 - A_normal + A_anomalous:
             w_rec L + w_adv L_adv + w_c (cross entropy) + w_cga L_cga

The map is 1 - A (1 - A_normal), enlarged: what the attention avoids. There is
no ReLU before the sigmoid: 1 - A would never be above 1/2.

The paper states neither the order of a step (here D moves, then all others
against the new D, on -log D(x_hat)), nor how losses are reduced.
"""

from fractions import Fraction
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxad.detector import Batch, Detector, Phase, Scores, State, Stream
from jaxad.errors import InputError
from jaxad.fields import (
  Count,
  Epsilon,
  LearningRate,
  Momentum,
  ProperShare,
  Share,
  Weight,
  checked,
)
from jaxad.layers.attention import grad_cam
from jaxad.layers.batch_norm import running_average
from jaxad.layers.images import pictured, unit_range
from jaxad.losses import binary_cross_entropy
from jaxad.networks import cavga as networks
from jaxad.networks.dcgan import SLOPE, Encoder, check_images
from jaxad.networks.heads import enlarged_mean
from jaxad.networks.pyramid import Trunk
from jaxad.networks.trunk import TRUNKS
from jaxad.networks.variables import apply_eval, apply_train, initialize
from jaxad.optim import Game, adam_l2


@checked
def cavga(
  *,
  supervision: Literal["none", "weak"] = "none",
  variant: Literal["R", "D"] = "R",
  trunk: Trunk = Trunk(),
  pixels: Literal["trunk", "unit"] = "trunk",
  cam_layer: str | None = None,
  latent_dim: Count = 128,
  width: Count = 64,
  reconstruction: Literal["bce", "mse"] = "bce",
  reduction: Literal["mean", "sum"] = "mean",
  recon_on: Literal["all", "normal"] = "all",
  anomalous_share: ProperShare = 0.5,
  classifier: Literal["flat", "pooled"] = "flat",
  w_rec: Weight = 1.0,
  w_adv: Weight = 1.0,
  w_ae: Weight = 0.01,
  w_c: Weight = 0.001,
  w_cga: Weight = 0.01,
  score: Literal["error", "map_mean", "map_max", "classifier"] = "error",
  learning_rate: LearningRate = 1e-4,
  b1: Momentum = 0.9,
  b2: Momentum = 0.999,
  eps: Epsilon = 1e-8,
  slope: Share = SLOPE,
) -> Detector:
  """Makes a CAVGA detector.

  It takes images [B, S, S, C], S a power of two and at least 16; uint8, or
  float in [0, 1]. With "weak" supervision a batch has labels.

  Args:
    supervision: "none" is CAVGA_u; "weak" is CAVGA_w, with labelled anomalies.
    variant: "R", a residual trunk and decoder; or "D", those of a DCGAN.
    trunk: of variant R, fine-tuned, for images of three channels. Variant D has
      its width alone. Its momentum and epsilon are those of all norms.
    pixels: what it sees: pixels standardised as its weights want it ("trunk"),
      or in [0, 1] ("unit"), as the DCGAN's always are.
    cam_layer: the layer of the trunk whose features the attention is of; None
      is its last. Variant D has "conv_0" to "conv_3".
    latent_dim: channels of the code.
    width: channels of the discriminator's first convolution.
    reconstruction: the cross entropy of pixels or, as in re-implementations,
      their mean squared error.
    reduction: of both terms of L, the "mean" over all their entries, or the
      "sum" over those of an image.
    recon_on: whether L is of "all" images or of the "normal" ones.
    anomalous_share: part of a batch that is labelled anomalies.
    classifier: whether C is linear in all values of z ("flat"), or in their
      mean over places ("pooled"), which learns from few labels.
    w_rec: weight of L.
    w_adv: of the adversarial term.
    w_ae: of the attention expansion in CAVGA_u.
    w_c: of the cross entropy of the labels in CAVGA_w.
    w_cga: of the complementary guided attention in CAVGA_w.
    score: "error" is the paper's mean of |x - x_hat|; "map_mean" and "map_max"
      are of the map; "classifier" is the logit of anomalous less that of
      normal, in CAVGA_w.
    learning_rate: of Adam, of all networks.
    b1: its decay of the first moment.
    b2: its decay of the second moment.
    eps: its epsilon.
    slope: of leaky ReLU in the discriminator and the DCGAN's trunk.

  Returns:
    A `Detector` with one phase, "cavga". `Scores.parts` are all scores that
    there are, `Scores.map` is the map in (0, 1).

  Raises:
    InputError: a value out of range, or values that do not fit together; from
      `init`, images or weights that do not fit.
  """
  trunk.check()
  weak = supervision == "weak"
  if score == "classifier" and not weak:
    raise InputError(
      "score='classifier': without labels nothing is classified; take another, "
      "or supervision='weak'.",
      "score",
    )
  residual = variant == "R"
  norm_epsilon = trunk.norm_epsilon
  if residual:
    whole, layers = trunk.module, TRUNKS[trunk.name].layers
  else:
    whole = networks.DcganTrunk(trunk.width, slope=slope, epsilon=norm_epsilon)
    layers = networks.LAYERS
  front, rest = networks.parted(whole, layers, cam_layer)
  channels = trunk.channels if residual else 8 * trunk.width
  latent = networks.Latent(latent_dim)
  classes = networks.Classifier(classifier == "pooled")
  discriminator = Encoder(
    1, width, slope=slope, epsilon=norm_epsilon, widest=8 * width
  )
  movers = ("trunk", "latent", "decoder") + ("classifier",) * weak
  tx = adam_l2(learning_rate, b1, b2, eps)
  game = Game(**dict.fromkeys((*movers, "discriminator"), tx))

  def shape_of_codes(shape):
    """[B, h, w, nz], of images of a shape."""
    x, key = jax.ShapeDtypeStruct(shape, jnp.float32), jax.random.key(0)
    y, _ = jax.eval_shape(lambda x: whole.init_with_output(key, x, False), x)
    return (*y.shape[:3], latent_dim)

  def make_decoder(shape, z_shape):
    levels = networks.levels_between(shape[1], z_shape[1])
    make = networks.ResidualDecoder if residual else networks.DcganDecoder
    widest = max(channels // 2, 1) if residual else channels
    return make(shape[-1], levels, widest, norm_epsilon)

  def init(key, batch: Batch, plan=None) -> State:
    x = unit_range(batch["x"][:1])
    check_images(x.shape, smallest=16)
    trunk_key, rest_key, state_key = jax.random.split(key, 3)
    of_trunk = trunk.init(trunk_key, x.shape) if residual else None
    z = jnp.zeros(shape_of_codes(x.shape), x.dtype)
    y = jnp.zeros((*z.shape[:3], channels), x.dtype)
    made = {
      "latent": (latent, y),
      "decoder": (make_decoder(x.shape, z.shape), z),
      "discriminator": (discriminator, x),
    }
    made |= {"classifier": (classes, z)} if weak else {}
    made |= {} if residual else {"trunk": (whole, x)}
    params, collections = initialize(rest_key, made)
    if residual:
      params["trunk"], collections["trunk"] = of_trunk
    opt_state = game.init(params)
    return State.new(state_key, params, collections, opt_state, plan)

  # The networks; each returns what it wrote in training beside its output.

  def run(name, module, state, x, train):
    if train and (name != "trunk" or not residual or trunk.train_norms):
      return apply_train(module, state.params[name], x)
    running = state.collections[name]
    return apply_eval(module, state.params[name], running, x), {}

  def run_trunk(module, state, x, train):
    dtype = jnp.bfloat16 if trunk.dtype == "bfloat16" else x.dtype
    y, written = run("trunk", module, state, x.astype(dtype), train)
    return y.astype(x.dtype), written

  def attend(state, x, train, noise=None):
    """(A [n, B, h, w], s [B, n], (mu, log sigma^2, z), the trunk's pass)."""
    seen = trunk.normalize(x) if residual and pixels == "trunk" else x
    features, before = run_trunk(front, state, seen, train)

    def behind(features):
      y, after = features, {}
      if rest is not None:
        y, after = run_trunk(rest, state, features, train)
      (mu, logvar), _ = run("latent", latent, state, y, train)
      z = mu if noise is None else mu + jnp.exp(logvar / 2) * noise
      s = mu.sum((1, 2, 3))[:, None]
      if weak:
        s, _ = run("classifier", classes, state, z, train)
      return s, ((mu, logvar, z), after)

    attention, s, (code, after) = grad_cam(behind, features)
    names = before.keys() | after.keys()
    written = {n: before.get(n, {}) | after.get(n, {}) for n in names}
    return attention, s, code, written

  def decode(state, z, shape, train):
    """The logits of x_hat."""
    return run("decoder", make_decoder(shape, z.shape), state, z, train)

  def discriminate(state, x):
    (logit, _), written = run("discriminator", discriminator, state, x, True)
    return logit, written

  # Training.

  def draw(key, batch: Batch):
    return jax.random.normal(key, shape_of_codes(batch["x"].shape))

  def mean_over(values, rows):
    """Of values [B, ...] the mean, or the sum of an image, over such rows."""
    each = values.reshape(len(values), -1)
    each = each.mean(1) if reduction == "mean" else each.sum(1)
    return (each * rows).sum() / jnp.maximum(rows.sum(), 1)

  def forward(state, x, noise):
    """(what losses are of, statistics), in training."""
    attention, s, (mu, logvar, z), of_trunk = attend(state, x, True, noise)
    logits, of_decoder = decode(state, z, x.shape, True)
    found = {"A": attention, "s": s, "mu": mu, "logvar": logvar, "x": logits}
    return found, {"trunk": of_trunk, "decoder": of_decoder}

  def discriminator_loss(state, x, x_hat):
    real, on_real = discriminate(state, x)
    fake, on_fake = discriminate(state, x_hat)
    loss = binary_cross_entropy(real, 1) + binary_cross_entropy(fake, 0)
    return loss, (loss, on_real, on_fake)

  def loss_of_others(state, found, x, label):
    logits, mu, logvar = (found[name] for name in ("x", "mu", "logvar"))
    x_hat = nn.sigmoid(logits)
    fake, on_fake = discriminate(state, x_hat)
    if reconstruction == "bce":
      errors = optax.sigmoid_binary_cross_entropy(logits, x)
    else:
      errors = (x - x_hat) ** 2
    rows = jnp.where(label > 0, recon_on == "all", True).astype(x.dtype)
    terms = {
      "reconstruction": mean_over(errors, rows),
      "kl": mean_over((mu**2 + jnp.exp(logvar) - logvar - 1) / 2, rows),
      "adversarial": binary_cross_entropy(fake, 1),
    }
    loss = w_rec * (terms["reconstruction"] + terms["kl"])
    loss += w_adv * terms["adversarial"]
    if weak:
      normal, anomalous = found["A"]
      s = found["s"]
      entropy = optax.softmax_cross_entropy_with_integer_labels(s, label)
      told = (s.argmax(-1) == 0) & (label == 0)
      guided = told * (1 - normal + anomalous).mean((1, 2))
      terms |= {"classification": entropy.mean(), "guided": guided.mean()}
      loss += w_c * terms["classification"] + w_cga * terms["guided"]
    else:
      terms["attention"] = (1 - found["A"]).mean()
      loss += w_ae * terms["attention"]
    return loss, (terms | {"loss": loss}, on_fake)

  def step(state: State, batch: Batch, noise):
    x = unit_range(batch["x"])
    label = batch.get("label", jnp.zeros(len(x), jnp.int32))
    at = lambda params: state.replace(params=state.params | params)
    # One pass serves both moves: D does not see what it leads to.
    found, pull, written = jax.vjp(
      lambda moving: forward(at(moving), x, noise),
      {name: state.params[name] for name in movers},
      has_aux=True,
    )
    params, opt_state, (d_loss, *passes) = game.move(
      "discriminator",
      lambda params: discriminator_loss(at(params), x, nn.sigmoid(found["x"])),
      state.params,
      state.opt_state,
    )
    gradient, (terms, on_fake) = jax.grad(
      lambda found: loss_of_others(at(params), found, x, label), has_aux=True
    )(found)
    (grads,) = pull(gradient)
    params, opt_state = game.apply(grads, params, opt_state)
    running = lambda name, *each: running_average(
      state.collections[name], *each, momentum=trunk.norm_momentum
    )
    new = {name: running(name, one) for name, one in written.items()}
    new["discriminator"] = running("discriminator", *passes, on_fake)
    collections = state.collections | new
    state = state.replace(
      params=params, opt_state=opt_state, collections=collections
    )
    return state, terms | {"d_loss": d_loss}

  # Scoring.

  def score_fn(state: State, x, keys) -> Scores:
    del keys
    x = unit_range(x)
    attention, s, (mu, _, _), _ = attend(state, x, False)
    x_hat = nn.sigmoid(decode(state, mu, x.shape, False)[0])
    avoided = 1 - attention[0]
    parts = {
      "error": jnp.abs(x - x_hat).mean((1, 2, 3)),
      "map_mean": avoided.mean((1, 2)),
      "map_max": avoided.max((1, 2)),
    }
    parts |= {"classifier": s[:, 1] - s[:, 0]} if weak else {}
    pixels = enlarged_mean([avoided], x.shape[1:3])
    image = pictured(x_hat, mean=0, std=1)
    return Scores(parts[score], pixels, parts, reconstruction=image)

  streams = (Stream(),)
  if weak:
    share = Fraction(anomalous_share).limit_denominator(1000)
    labelled = Stream("anomalous", share, order="endless")
    streams = Stream("normal", 1 - share), labelled
  phase = Phase("cavga", step, draw, streams, full_batches=True)
  return Detector(init, (phase,), score_fn)
