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

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxad.detector import Balance, Batch, Detector, Phase, Scores, State
from jaxad.errors import InputError, one_of
from jaxad.layers.batch_norm import BatchNorm, running_average
from jaxad.layers.conv import Conv, ConvTranspose, pytorch_uniform
from jaxad.layers.rotation import draw_rotation, rotate_each
from jaxad.networks.heads import enlarged_mean
from jaxad.networks.pyramid import MOMENTUM, PyramidTrunk
from jaxad.networks.trunk import normalize
from jaxad.networks.variables import apply_eval, apply_train, initialize
from jaxad.optim import clipped_adam, descend

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
  """

  side: int
  channels: int = 3

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
      y = nn.relu(BatchNorm(name=f"norm_{k}")(y, train))
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


def mlep(
  *,
  trunk: str = "resnet18",
  layer: str | None = None,
  weights: str = "imagenet",
  trunk_width: int = 64,
  trunk_blocks: str = "2,2,2,2",
  train_norms: bool = True,
  trunk_dtype: str = "float32",
  margin: float = 1.0,
  lam: float = 1.0,
  per_sample_hinge: bool = False,
  rotation: float = 180.0,
  score: str = "feature_distance",
  learning_rate: float = 2e-4,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
  weight_decay: float = 1e-5,
  clip_norm: float = 1.0,
  steps_per_epoch: int = 20,
  schedule: str = "early",
  decay_every: int = 10,
  decay_rate: float = 0.1,
) -> Detector:
  """Makes an MLEP detector for images; training is that of DRA.

  It takes images [B, S, S, 3], uint8 or float in [0, 1], with labels. A batch
  is made of triplets: B is a multiple of three.

  Args:
    trunk: "resnet18", "squeezenet1_1", "alexnet" or "vgg16".
    layer: name of the trunk's last layer, as in torchvision; None is its end.
    weights: path of a weights file (.pth, .safetensors, .npz), "imagenet"
      (torchvision's published file, downloaded once), or "random".
    trunk_width: channels of ResNet's first convolution.
    trunk_blocks: basic blocks of ResNet's four layers, with commas between.
    train_norms: whether the trunk's batch norms normalise by the batch. Without
      it they stay as loaded, while all weights are trained.
    trunk_dtype: "float32" or "bfloat16", the trunk's arithmetic.
    margin: m, in mean squared units of the features.
    lam: weight of the margin term.
    per_sample_hinge: one hinge a triplet, not one of the batch.
    rotation: training images are turned by up to so many degrees.
    score: "feature_distance" or "reconstruction".
    learning_rate: of Adam, in the first epochs.
    b1: Adam's decay of the first moment.
    b2: Adam's decay of the second moment.
    eps: Adam's epsilon, outside the root.
    weight_decay: coupled L2 on every parameter.
    clip_norm: the gradient's global norm is cut to this; 0 does not cut.
    steps_per_epoch: updates in an epoch.
    schedule: of the learning rate: "early", "late" or "constant", see
      `optim.step_decay`.
    decay_every: epochs between two falls of the learning rate.
    decay_rate: the factor.

  Returns:
    A `Detector` with one phase, "triplets", which ends with the mean feature
    map of the normal images (`state.extras["prototype"]`): there is no score
    by distance before. `Scores.map` is the chosen term before its mean.

  Raises:
    InputError: an unknown choice; from `init`, images or weights that do not
      fit, or folded norms that cannot be trained; from a step, a batch that is
      no multiple of three.
  """
  one_of("score", score, ("feature_distance", "reconstruction"))
  net = PyramidTrunk(
    trunk,
    layer,
    weights,
    trunk_width,
    trunk_blocks,
    1,
    train_norms,
    trunk_dtype,
  )
  net.check()
  tx = clipped_adam(
    learning_rate,
    b1,
    b2,
    eps,
    weight_decay,
    clip_norm,
    steps_per_epoch=steps_per_epoch,
    schedule=schedule,
    decay_every=decay_every,
    decay_rate=decay_rate,
  )

  def init(key, batch: Batch) -> State:
    trunk_key, decoder_key, state_key = jax.random.split(key, 3)
    x = normalize(batch["x"][:1])
    trunk_params, trunk_stats = net.init(trunk_key, x.shape)
    y = jax.eval_shape(
      lambda x: net.features(trunk_params, trunk_stats, x, False)[0][0], x
    )
    y = jnp.zeros(y.shape, jnp.float32)
    decoder = Decoder(x.shape[1])
    params, batch_stats = initialize(decoder_key, {"decoder": (decoder, y)})
    params["trunk"], batch_stats["trunk"] = trunk_params, trunk_stats
    return State(
      step=jnp.zeros((), jnp.int32),
      key=state_key,
      params=params,
      batch_stats=batch_stats,
      opt_state=tx.init(params),
      extras={"prototype": y[0]},
    )

  def features(state, x):
    """Feature maps [B, h, w, C] of images, by running statistics."""
    running = state.batch_stats["trunk"]
    params = state.params["trunk"]
    maps, _ = net.features(params, running, normalize(x), train=False)
    return maps[0]

  # Training.

  def draw(key, batch: Batch):
    return {"degrees": draw_rotation(key, len(batch["x"]), rotation)}

  def step(state: State, batch: Batch, draws):
    x = normalize(rotate_each(batch["x"], draws["degrees"]))
    n, rest = divmod(len(x), 3)
    if rest:
      raise InputError(
        f"MLEP takes triplets, got a batch of {len(x)}; set "
        "config.train.batch_size to a multiple of 3."
      )
    decoder, running = Decoder(x.shape[1]), state.batch_stats
    # Without anomalies the last third is normal too, and there is no margin.
    active = (batch["label"][2 * n :] != 0).all()

    def loss_fn(params):
      # One pass of [anchors; positives; negatives]: norms see all of them.
      maps, stats = net.features(params["trunk"], running["trunk"], x, True)
      y = maps[0]
      x_hat, passed = apply_train(decoder, params["decoder"], y)
      hinge, intra, inter = hinges(
        y[:n], y[n : 2 * n], y[2 * n :], margin, per_sample_hinge
      )
      # Anomalies are not to be reconstructed.
      error = jnp.abs(x_hat - x)
      pred = error[:n].mean() + error[n : 2 * n].mean()
      loss = pred + lam * jnp.where(active, hinge, 0)
      terms = {"pred": pred, "margin": hinge, "intra": intra, "inter": inter}
      return loss, (
        terms | {"loss": loss},
        {
          "trunk": net.fold(running["trunk"], stats),
          "decoder": running_average(
            running["decoder"], passed, momentum=MOMENTUM
          ),
        },
      )

    params, opt_state, (terms, running), norm = descend(
      tx, loss_fn, state.params, state.opt_state
    )
    state = state.replace(
      params=params, batch_stats=running, opt_state=opt_state
    )
    return state, terms | {"gradient_norm": norm}

  @jax.jit
  def normal_sum(state, batch: Batch):
    normal = batch["weight"] * (batch["label"] == 0)
    total = jnp.einsum("b,bhwc->hwc", normal, features(state, batch["x"]))
    return total, normal.sum()

  def fit(state: State, batches) -> State:
    """The mean feature map of the normal images."""
    parts = [normal_sum(state, batch) for batch in batches]
    total, count = (sum(part) for part in zip(*parts, strict=True))
    return state.replace(extras={"prototype": total / count})

  # Scoring.

  def score_fn(state: State, x, key) -> Scores:
    del key
    y = features(state, x)
    x_hat = apply_eval(
      Decoder(x.shape[1]),
      state.params["decoder"],
      state.batch_stats["decoder"],
      y,
    )
    distance = ((y - state.extras["prototype"]) ** 2).mean(-1)
    error = ((x_hat - normalize(x)) ** 2).mean(-1)
    terms = {"feature_distance": distance, "reconstruction": error}
    parts = {name: term.mean((1, 2)) for name, term in terms.items()}
    return Scores(
      parts[score], enlarged_mean([terms[score]], x.shape[1]), parts
    )

  phase = Phase(
    "triplets",
    step,
    draw,
    fit=fit,
    full_batches=True,
    balance=Balance(
      Fraction(2, 3), steps_per_epoch, needs_anomalies=False, multiple=3
    ),
  )
  return Detector(init, (phase,), score_fn)
