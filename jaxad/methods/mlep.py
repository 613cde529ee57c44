# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""MLEP: a margin between normal images and a few anomalies in feature space.

Liu, Luo, Li, Zhao and Gao, "Margin Learning Embedded Prediction for Video
Anomaly Detection with A Few Anomalies", IJCAI 2019. Official code:
github.com/svip-lab/MLEP, for video.

There, an auto-encoder predicts the next frame of normal clips, and a triplet
margin pulls the hidden features of two normal clips together and pushes those
of an abnormal one away. DRA (Ding, Pang and Shen, CVPR 2022, arXiv 2203.14506)
compares with a form for images that was never published; this one is ours:
the trunk and training of DRA at one scale, a decoder that reconstructs the
image in place of the next frame, and the same loss. With an anchor a and a
positive p, both normal, an anomalous negative n, F the trunk, G reconstruction,

    pred   = mean |G(a) - a| + mean |G(p) - p|
    margin = max(0, m + mean (F(a) - F(p))^2 - mean (F(a) - F(n))^2)
    loss   = pred + lam margin

and all means are over every element of a batch. Two thirds of a batch are
normal, drawn without repetition until all were: the first half of them are
anchors, the others positives.

The score is the distance of F(x) to its mean over the normal training images,
for this is the space that the margin shapes. `score="reconstruction"` is the
squared error of G; the authors scale its PSNR over the test set, which does not
change the order.
"""

import math
from fractions import Fraction
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxad.detector import Batch, Detector, Phase, Scores, State, Stream
from jaxad.errors import InputError
from jaxad.fields import Count, Weight, checked
from jaxad.layers.augmentation import Augmentation, augmented
from jaxad.layers.batch_norm import BatchNorm, running_average
from jaxad.layers.conv import Conv, ConvTranspose, pytorch_uniform
from jaxad.layers.images import check_rgb, check_square
from jaxad.networks.heads import enlarged_mean
from jaxad.networks.pyramid import Trunk
from jaxad.networks.variables import apply_eval, apply_train, initialize
from jaxad.optim import ClippedAdam, descend

# A block of the decoder has half the channels of the one before, but at least
# this part of those of the features.
LEAST_WIDTH = 8


class Decoder(nn.Module):
  """Feature maps back to images.

  Each block doubles the side: five for ResNet-18, which halves it as often. The
  maps of other trunks are no power of two smaller; then the result is resized.

  Attributes:
    side: of the image.
    channels: of the image.
    epsilon: of the norms.
  """

  side: int
  channels: int = 3
  epsilon: float = 1e-5

  @nn.compact
  def __call__(self, y, train: bool):
    """[B, h, w, C] to [B, side, side, channels]."""
    batch, height, _, features = y.shape
    for k in range(max(round(math.log2(self.side / height)), 1)):
      width = max(features // min(2 ** (k + 1), LEAST_WIDTH), 1)
      y = ConvTranspose(
        width,
        4,
        2,
        padding=1,
        use_bias=False,
        # PyTorch counts the fan-in of a transposed kernel by its outputs.
        kernel_init=pytorch_uniform(16 * width),
        name=f"conv_{k}",
      )(y)
      y = nn.relu(BatchNorm(self.epsilon, name=f"norm_{k}")(y, train))
    init = pytorch_uniform(9 * y.shape[-1])
    y = Conv(
      self.channels,
      3,
      padding=1,
      kernel_init=init,
      bias_init=init,
      name="conv_out",
    )(y)
    shape = (batch, self.side, self.side, self.channels)
    return y if y.shape == shape else jax.image.resize(y, shape, "bilinear")


def hinges(anchor, positive, negative, margin: float, per_sample: bool):
  """The triplet margin of feature maps [N, h, w, C].

  Args:
    per_sample: one hinge for each triplet and their mean, in place of one hinge
      of the means, which a single far outlier satisfies.

  Returns:
    (margin term, mean squared distance of anchor and positive, and of anchor
    and negative), scalars.
  """
  axes = (1, 2, 3) if per_sample else None
  intra = ((anchor - positive) ** 2).mean(axes)
  inter = ((anchor - negative) ** 2).mean(axes)
  hinge = nn.relu(margin + intra - inter)
  return hinge.mean(), intra.mean(), inter.mean()


@checked
def mlep(
  *,
  trunk: Trunk = Trunk(),
  margin: Weight = 1.0,
  lam: Weight = 1.0,
  per_sample_hinge: bool = False,
  augmentation: Augmentation = Augmentation(),
  score: Literal["feature_distance", "reconstruction"] = "feature_distance",
  optimizer: ClippedAdam = ClippedAdam(),
  steps_per_epoch: Count = 20,
) -> Detector:
  """Makes an MLEP detector for images; training is that of DRA.

  It takes square images [B, S, S, 3], uint8 or float in [0, 1], with labels. A
  batch is made of triplets: B is a multiple of three.

  Args:
    trunk: what gives the feature maps.
    margin: m, in mean squared units of the features.
    lam: weight of the margin term.
    per_sample_hinge: one hinge a triplet, not one of the batch.
    augmentation: of training images.
    score: the distance to the mean of normal features, or the error of the
      reconstruction.
    optimizer: of all parameters.
    steps_per_epoch: updates in an epoch.

  Returns:
    A `Detector` with one phase, "triplets", which ends with the mean feature
    map of the normal images (`state.extras["prototype"]`): there is no score
    by distance before. `Scores.map` is the chosen term before its mean.

  Raises:
    InputError: a value out of range; from `init`, images or weights that do not
      fit, or folded norms that cannot be trained; from a step, a batch that is
      no multiple of three.
  """
  trunk.check()
  decoder_of = lambda x: Decoder(x.shape[1], epsilon=trunk.norm_epsilon)

  def init(key, batch: Batch, plan=None) -> State:
    check_rgb(batch["x"].shape)
    check_square(batch["x"].shape)
    trunk_key, decoder_key, state_key = jax.random.split(key, 3)
    x = trunk.normalize(batch["x"][:1])
    of_trunk = trunk.init(trunk_key, x.shape)
    y = jax.eval_shape(lambda x: trunk.features(*of_trunk, x, False)[0][0], x)
    y = jnp.zeros(y.shape, jnp.float32)
    params, collections = initialize(
      decoder_key, {"decoder": (decoder_of(x), y)}
    )
    params["trunk"], collections["trunk"] = of_trunk
    opt_state = optimizer.transformation(plan).init(params)
    return State.new(
      state_key, params, collections, opt_state, plan, prototype=y[0]
    )

  def features(state, x):
    """Feature maps [B, h, w, C] of images, by running statistics."""
    params, collections = state.params["trunk"], state.collections["trunk"]
    x = trunk.normalize(x)
    maps, _ = trunk.features(params, collections, x, train=False)
    return maps[0]

  # Training.

  def draw(key, batch: Batch):
    return {"augmentation": augmentation.draw(key, len(batch["x"]))}

  def step(state: State, batch: Batch, draws):
    x = trunk.normalize(augmented(batch["x"], draws["augmentation"]))
    n, rest = divmod(len(x), 3)
    if rest:
      raise InputError(
        f"a batch of {len(x)}: expected a multiple of 3, MLEP takes triplets."
      )
    decoder, running = decoder_of(x), state.collections
    # Without anomalies the last third is normal too, and there is no margin.
    active = (batch["label"][2 * n :] != 0).all()

    def loss_fn(params):
      # One pass of [anchors; positives; negatives]: norms see all of them.
      (y,), of_trunk = trunk.features(
        params["trunk"], running["trunk"], x, train=True
      )
      x_hat, written = apply_train(decoder, params["decoder"], y)
      hinge, intra, inter = hinges(
        y[:n], y[n : 2 * n], y[2 * n :], margin, per_sample_hinge
      )
      # Anomalies are not to be reconstructed.
      error = jnp.abs(x_hat - x)
      pred = error[:n].mean() + error[n : 2 * n].mean()
      loss = pred + lam * jnp.where(active, hinge, 0)
      terms = {"pred": pred, "margin": hinge, "intra": intra, "inter": inter}
      of_decoder = running_average(
        running["decoder"], written, momentum=trunk.norm_momentum
      )
      return loss, (terms, {"trunk": of_trunk, "decoder": of_decoder})

    return descend(optimizer.transformation(state.plan), loss_fn, state)

  @jax.jit
  def feature_sum(state, batch: Batch):
    y = features(state, batch["x"])
    total = jnp.einsum("b,bhwc->hwc", batch["weight"], y)
    return total, batch["weight"].sum()

  def fit(state: State, batches) -> State:
    """The mean feature map of the normal images."""
    parts = [feature_sum(state, batch) for batch in batches]
    total, count = (sum(part) for part in zip(*parts, strict=True))
    return state.replace(extras={"prototype": total / count})

  # Scoring.

  def score_fn(state: State, x, keys) -> Scores:
    del keys
    y = features(state, x)
    x_hat = apply_eval(
      decoder_of(x), state.params["decoder"], state.collections["decoder"], y
    )
    distance = ((y - state.extras["prototype"]) ** 2).mean(-1)
    error = ((x_hat - trunk.normalize(x)) ** 2).mean(-1)
    terms = {"feature_distance": distance, "reconstruction": error}
    parts = {name: term.mean((1, 2)) for name, term in terms.items()}
    return Scores(
      parts[score],
      enlarged_mean([terms[score]], x.shape[1:3]),
      parts,
      reconstruction=trunk.pictured(x_hat),
    )

  endless = lambda rows, **fields: Stream(rows, order="endless", **fields)
  phase = Phase(
    "triplets",
    step,
    draw,
    (
      endless("normal", share=Fraction(2, 3)),
      endless("anomalous", share=Fraction(1, 3), required=False),
    ),
    steps_per_epoch=steps_per_epoch,
    fit=fit,
    full_batches=True,
    multiple=3,
    scorable=False,
  )
  return Detector(init, (phase,), score_fn)
