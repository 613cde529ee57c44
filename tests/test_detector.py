# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What every detector promises, over all methods; then what one alone does."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import ndimage

import jaxad
from jaxad.data.examples import Examples, Pixels
from jaxad.detector import Phase, State
from jaxad.errors import InputError
from jaxad.evaluation.scoring import Scorer
from jaxad.image_scorer import SCORING, checksum, example_keys
from jaxad.joint_detector import JointDetector
from jaxad.layers.augmentation import Augmentation
from jaxad.layers.batch_norm import BatchNorm, running_average
from jaxad.layers.coupling import Flow
from jaxad.layers.rotation import rotate_nearest
from jaxad.losses import Criterion
from jaxad.methods.differnet import (
  negative_log_likelihood,
  pooled_features,
)
from jaxad.methods.ganomaly import Generator
from jaxad.networks import alad as alad_networks
from jaxad.networks.dcgan import Encoder
from jaxad.networks.pyramid import Trunk
from jaxad.networks.trunk import make_trunk, normalize
from jaxad.networks.variables import apply_eval, apply_train, initialize
from jaxad.optim import ClippedAdam
from jaxad.plan import Plan

SIZE = 32


def stripes(n, seed):
  """Normal images: vertical stripes of any phase, [n, 32, 32, 3] uint8."""
  rng = np.random.default_rng(seed)
  phase = rng.uniform(0, 2 * np.pi, (n, 1, 1, 1))
  wave = np.sin(np.arange(SIZE)[None, None, :, None] / 2 + phase)
  image = 128 + 60 * wave + rng.normal(0, 8, (n, SIZE, SIZE, 3))
  return np.uint8(np.clip(image, 0, 255))


def noise(n, seed):
  """Obviously different images."""
  shape = (n, SIZE, SIZE, 3)
  return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def contrasty(n, seed):
  """Stripes of three times the contrast."""
  image = (stripes(n, seed).astype(float) - 128) * 3 + 128
  return np.uint8(np.clip(image, 0, 255))


def cropped(images, side):
  """The same images, [n, side, side, 3]."""
  return lambda n, seed: images(n, seed)[:, :side, :side]


class Case(NamedTuple):
  """How a method is tested.

  Attributes:
    keywords: of the factory, for a model of seconds.
    wrong: (keyword, value, what the message must match).
    normal: (n, seed) to n examples.
    odd: the same, obviously different.
    steps: of training, after which the odd ones stand out ...
    ratio: ... so many times as high as the normal ones ...
    gap: ... or, where ratios say little, so much higher.
    seen: whether those are the ones trained on: reconstructions do not
      generalise from four images.
    maps: whether images have maps.
    redrawn: whether the method draws images anew.
    residual: what of the difference to that, both in [-1, 1], is the map.
    mean: whether means are compared, not the lowest odd one with the highest
      normal one: a game that does not settle leaves any one image off at any
      one step, and which one is up to rounding.
  """

  keywords: dict[str, Any]
  wrong: tuple[tuple[str, Any, str], ...]
  normal: Callable = stripes
  odd: Callable = noise
  steps: int = 60
  ratio: float = 10.0
  gap: float | None = None
  seen: bool = False
  maps: bool = True
  redrawn: bool = False
  residual: Callable | None = None
  mean: bool = False


# Of the methods that learn from labelled anomalies.
SMALL = Trunk(weights="random", width=4, blocks=(1, 1, 1, 1), layer="layer1")
LABELLED = dict(
  trunk=SMALL,
  augmentation=Augmentation(rotation=0.0),
  optimizer=ClippedAdam(learning_rate=3e-3),
)
WRONG = (
  ("trunk", Trunk("vgg"), "trunk.name='vgg'.*alexnet, .*resnet18, vgg16"),
  ("trunk", Trunk(layer="layer5"), "trunk.layer='layer5'.*layer1, layer2"),
  ("trunk", Trunk(width=0), "trunk.width=0.*1 to"),
  ("trunk", Trunk(blocks=(2, 2, 2)), r"blocks=\(2, 2, 2\).*\(2, 2, 2, 2\)"),
  ("trunk", Trunk(dtype="float16"), "dtype='float16'.*float32, bfloat16"),
  (
    "optimizer",
    ClippedAdam(schedule="never"),
    "optimizer.schedule='never'.*early, late, cosine, constant",
  ),
  ("augmentation", Augmentation(200.0), "augmentation.rotation=200.0.*180"),
  ("steps_per_epoch", 0, "steps_per_epoch=0.*1 to"),
)


# Of the baselines, which are fits alone; their images may have any sides.
FROZEN = SMALL._replace(train_norms=False)
OF_A_BASELINE = (
  ("trunk", Trunk("vgg"), "trunk.name='vgg'.*alexnet, .*resnet18, vgg16"),
  ("features", "raw", "features='raw'.*trunk, pixels"),
)
baseline = lambda *wrong, **keywords: Case(
  dict(trunk=FROZEN, **keywords),
  (*OF_A_BASELINE, *wrong),
  gap=0.0,
  seen=True,
  maps=False,
)
BASELINES = {
  "gaussian": baseline(
    ("covariance", "full", "covariance='full'.*ledoit_wolf, empirical"),
  ),
  "iforest": baseline(
    ("most_samples", 1, "most_samples=1.*2 to"), n_trees=10, most_samples=16
  ),
  "knn": baseline(
    ("distance", "max", "distance='max'.*mean, kth"),
    ("k", 9, "k=9: expected at most most_rows=8"),
    k=2,
    most_rows=8,
  ),
  "ocsvm": baseline(
    ("nu", 0.0, "nu=0.0.*above 0 to 1"),
    ("gamma", 0.0, "gamma=0.0.*above 0.*or one of scale, auto"),
    most_rows=8,
  ),
  "pca": baseline(("n_components", 0, "n_components=0.*1 to"), n_components=1),
}


CASES = BASELINES | {
  "adae": Case(
    redrawn=True,
    residual=np.square,
    keywords=dict(
      latent_dim=8, width=4, lambda_d=0.1, lambda_g=0.1, learning_rate=1e-3
    ),
    wrong=(
      ("score", "l2", "score='l2'.*discriminator, generator"),
      ("lambda_d", -1.0, "lambda_d=-1.0.*0 to"),
    ),
    normal=cropped(stripes, 16),
    odd=cropped(noise, 16),
    steps=400,
    ratio=2.0,
    seen=True,
    mean=True,
  ),
  "advae": Case(
    redrawn=True,
    residual=lambda off: (off / 2) ** 2,
    keywords=dict(
      latent_dim=4,
      width=64,
      n_samples=8,
      samples_at_once=4,
      learning_rate=3e-3,
    ),
    wrong=(
      ("total", "LT", "total='LT'.*LT.lamLG, LG.lamLT"),
      ("hinge", "mean", "hinge='mean'.*batch, sample"),
      ("noise", "none", "noise='none'.*element, batch"),
      ("transformed", "z", "transformed='z'.*posterior, code"),
      ("output", "tanh", "output='tanh'.*sigmoid, linear"),
      ("log_var_limit", 0.0, "log_var_limit=0.0.*above 0"),
    ),
    steps=400,
    ratio=10.0,
    seen=True,
  ),
  "alad": Case(
    redrawn=True,
    residual=np.abs,
    keywords=dict(
      images=alad_networks.Layers(
        latent_dim=8,
        encoder=(4, 8),
        generator=(8, 4),
        xz_data=(4, 8),
        xz_code=(8,),
        xz_joint=(8,),
        xx=(4, 8),
        zz=(8,),
      ),
      score="l1",
      ema_decay=0.9,
      learning_rate=2e-3,
      norm_momentum=0.9,
    ),
    wrong=(
      (
        "images",
        alad_networks.Layers(encoder=(4, 0)),
        r"images.encoder=\(4, 0\).*1 to",
      ),
      (
        "tables",
        alad_networks.Layers(xx_dropout=1.0),
        "tables.xx_dropout=1.0.*0 to 0.99",
      ),
      ("score", "features", "score='features'.*fm, l1, l2, ch"),
      ("degree", 0, "degree=0.*1 to"),
      ("percentile", 101.0, "percentile=101.0.*0 to 100"),
    ),
    steps=600,
    normal=cropped(stripes, 16),
    odd=cropped(noise, 16),
    ratio=2.0,
    seen=True,
    mean=True,
  ),
  "alae": Case(
    redrawn=True,
    keywords=dict(latent_dim=8, hidden=32, f_layers=2, learning_rate=5e-3),
    wrong=(
      ("alpha", 1.5, "alpha=1.5.*0 to 1"),
      ("pixels", "tanh", "pixels='tanh'.*unit, symmetric"),
      ("d_activation", "relu", "d_activation='relu'.*leaky_relu"),
      ("f_layers", 0, "f_layers=0.*1 to"),
    ),
    normal=cropped(stripes, 8),
    odd=cropped(noise, 8),
    steps=1000,
    ratio=2.0,
    seen=True,
    mean=True,
  ),
  "alocc": Case(
    redrawn=True,
    residual=np.square,
    keywords=dict(
      width=4,
      encoder_width=4,
      width_d=4,
      lam=50.0,
      score="error",
      learning_rate=1e-3,
    ),
    wrong=(
      ("refine", "l1", "refine='l1'.*mse_clean, released"),
      ("score", "logit", "score='logit'.*refined, plain, error"),
      ("noise", "none", "noise='none'.*fresh, fixed"),
      ("r_steps", 0, "r_steps=0.*1 to 8"),
    ),
    steps=100,
    ratio=2.0,
    seen=True,
  ),
  "anogan": Case(
    redrawn=True,
    residual=np.abs,
    keywords=dict(
      latent_dim=4,
      generator_widths=(32, 16, 8),
      discriminator_widths=(8, 8, 32),
      learning_rate=1e-3,
      ema_decay=0.9,
      norm_momentum=0.9,
      search_steps=30,
      search_rates=(0.2,),
      # Without training, gradients by the code are near 0, and steps of full
      # length would follow their rounding.
      search_eps=0.1,
      search_boundaries=(),
    ),
    wrong=(
      ("score", "l2", "score='l2'.*fm, cross_e"),
      ("degree", 3, "degree=3.*1, 2"),
      ("prior", "beta", "prior='beta'.*normal, uniform"),
      ("search_boundaries", (9, 5), r"search_boundaries=\(9, 5\): expected 0"),
    ),
    steps=200,
    gap=600.0,
    seen=True,
  ),
  "caae": Case(
    redrawn=True,
    residual=np.abs,
    keywords=dict(
      latent_dim=8,
      width=4,
      blocks=2,
      critic_widths=(8,),
      critic_steps=2,
      warm_up=0.0,
      learning_rate=2e-3,
    ),
    wrong=(
      ("width", 5, "width=5: expected an even number"),
      ("rec", "l2", "rec='l2'.*l2norm, mse"),
      ("consistency", "eval", "consistency='eval'.*released, train"),
      ("critic_steps", 0, "critic_steps=0.*1 to"),
      ("critic_widths", (8, 0), r"critic_widths=\(8, 0\).*1 to"),
    ),
    normal=cropped(stripes, 16),
    odd=cropped(noise, 16),
    steps=300,
    ratio=2.0,
    seen=True,
    mean=True,
  ),
  "cavga": Case(
    redrawn=True,
    keywords=dict(
      variant="D",
      trunk=Trunk(weights="random", width=4),
      latent_dim=8,
      width=4,
      w_adv=0.01,
      w_ae=1.0,
      learning_rate=2e-3,
    ),
    wrong=(
      ("supervision", "full", "supervision='full'.*none, weak"),
      ("variant", "U", "variant='U'.*R, D"),
      ("cam_layer", "conv_4", "cam_layer='conv_4'.*conv_0, .*conv_3"),
      ("score", "iou", "score='iou'.*error, map_mean, map_max, classifier"),
      ("anomalous_share", 1.0, "anomalous_share=1.0.*above 0 to below 1"),
      ("w_ae", -1.0, "w_ae=-1.0.*0 to"),
    ),
    steps=400,
    gap=0.1,
    seen=True,
  ),
  "devnet": Case(
    keywords=LABELLED,
    wrong=(
      *WRONG,
      ("n_scales", 0, "n_scales=0.*1 to"),
      (
        "criterion",
        Criterion("hinge"),
        "criterion.name='hinge'.*deviation, weighted_dev",
      ),
      (
        "criterion",
        Criterion(prior_size=1),
        "criterion.prior_size=1.*2 to",
      ),
    ),
    ratio=2.0,
  ),
  "differnet": Case(
    keywords=dict(
      trunk="alexnet",
      layer="features.2",
      weights="random",
      n_scales=2,
      n_blocks=2,
      hidden=16,
      n_transforms=2,
      n_transforms_test=4,
      learning_rate=2e-3,
    ),
    wrong=(
      ("trunk", "vgg", "trunk='vgg'.*alexnet, squeezenet1_1, resnet18, vgg16"),
      ("layer", "layer1", "layer='layer1'.*features.0, .*features.12"),
      ("clamp_constant", 0.0, "clamp_constant=0.0.*above 0"),
      ("test_rotations", "none", "test_rotations='none'.*fixed, random"),
      ("score", "density", "score='density'.*latent, nll"),
      ("trunk_dtype", "float16", "trunk_dtype='float16'.*float32, bfloat16"),
    ),
  ),
  "dra": Case(
    keywords=LABELLED | dict(n_references=2, pseudo="none"),
    wrong=(
      *WRONG,
      ("heads", ("seen", "black"), "heads=.*'black'.*holistic, seen, pseudo"),
      ("reference", "none", "reference='none'.*resample, fixed"),
      ("pseudo", "cutpaste", "pseudo='cutpaste'.*cutmix, outliers, none"),
      ("n_references", 0, "n_references=0.*1 to"),
    ),
    gap=2.0,
  ),
  "egbad": Case(
    redrawn=True,
    residual=np.abs,
    keywords=dict(
      latent_dim=8,
      encoder_widths=(8, 8, 16),
      generator_widths=(32, 16, 8),
      discriminator_widths=(8, 8),
      code_width=16,
      joint_width=32,
      dropout=0.0,
      learning_rate=1e-3,
      ema_decay=0.9,
      norm_momentum=0.9,
    ),
    wrong=(
      ("score", "l2", "score='l2'.*fm, cross_e, cross_e_paper"),
      ("degree", 3, "degree=3.*1, 2"),
      ("dropout", 1.0, "dropout=1.0.*0 to 0.99"),
    ),
    steps=300,
    gap=800.0,
    seen=True,
    mean=True,
  ),
  "fanogan": Case(
    redrawn=True,
    residual=np.abs,
    keywords=dict(
      width=4,
      latent_dim=8,
      critic_iters=1,
      learning_rate=2e-3,
      learning_rate_enc=2e-3,
      norm_momentum=0.9,
    ),
    wrong=(
      ("critic_iters", 0, "critic_iters=0.*1 to"),
      ("training", "zizi", "training='zizi'.*izi_f, izi, ziz"),
      ("latent", "sigmoid", "latent='sigmoid'.*linear, tanh, .*stoch_clip"),
      ("encoder_share", 1.0, "encoder_share=1.0.*above 0 to below 1"),
    ),
    normal=cropped(stripes, 8),
    odd=cropped(noise, 8),
    steps=300,
    ratio=2.0,
    seen=True,
    mean=True,
  ),
  "flos": Case(keywords=LABELLED, wrong=WRONG, ratio=2.0),
  "ganomaly": Case(
    redrawn=True,
    residual=np.abs,
    keywords=dict(latent_dim=8, width=8, learning_rate=2e-3),
    wrong=(
      ("objective", "hinge", "objective='hinge'.*official, official_2018"),
      ("score", "l3", "score='l3'.*l2, l1"),
    ),
    # A code of eight numbers tells contrast, not every kind of oddness.
    odd=contrasty,
    steps=240,
    ratio=10.0,
    seen=True,
    mean=True,
  ),
  "hadgan": Case(
    keywords=dict(
      width=16, latent_dim=1, dropout=0.0, learning_rate=3e-3, score="residual"
    ),
    wrong=(
      ("consistency_source", "z", "source='z'.*prior, encoded"),
      ("rec_loss", "l1", "rec_loss='l1'.*mse, l21"),
      ("k_steps", 0, "k_steps=0.*1 to"),
      ("score", "mean", "score='mean'.*top, max, residual"),
      ("joint", JointDetector("all"), "joint.band_select='all'.*max, min"),
      ("joint", JointDetector(area=0), "joint.area=0.*1 to"),
    ),
    steps=200,
    ratio=2.0,
    mean=True,
  ),
  "kdad": Case(
    keywords=dict(
      weights="random",
      loss_layers=("features.4", "features.9"),
      learning_rate=3e-3,
      map_sigma=2.0,
    ),
    wrong=(
      ("trunk", "alexnet", "trunk='alexnet'.*vgg16, squeezenet1_1"),
      ("cloner", "large", "cloner='large'.*small, equal"),
      ("loss_layers", ("pool5",), "loss_layers='pool5'.*features.4, .*30"),
      (
        "score_layers",
        ("features.30",),
        "score_layers=.*features.4, features.9",
      ),
      ("map", "smooth", "map='smooth'.*gradient, guided"),
      ("map_sigma", 0.0, "map_sigma=0.0.*above 0"),
      ("lam", -1.0, "lam=-1.0.*0 to"),
    ),
    ratio=2.0,
  ),
  "mlep": Case(
    redrawn=True,
    keywords=LABELLED,
    wrong=(
      *WRONG,
      ("score", "psnr", "score='psnr'.*feature_distance, reconstruction"),
    ),
    gap=0.3,
  ),
  "ocgan": Case(
    redrawn=True,
    residual=np.square,
    keywords=dict(depth=1, width=8, latent_dim=8, learning_rate=2e-3),
    wrong=(
      ("variant", "dev", "variant='dev'.*paper, released"),
      ("mining_steps", 0, "mining_steps=0.*1 to"),
      ("warm_up", 1.5, "warm_up=1.5.*0 to 1"),
    ),
    normal=cropped(stripes, 13),
    odd=cropped(noise, 13),
    ratio=2.0,
    seen=True,
  ),
  "rsrae": Case(
    redrawn=True,
    keywords=dict(
      latent_dim=2,
      hidden=(4, 8, 16),
      learning_rate=1e-3,
      learning_rate_rsr=1e-2,
    ),
    wrong=(
      ("training", "rsrae+", "training='rsrae.'.*alternating, joint, plain"),
      ("loss", "l2", "loss='l2'.*l21, mse, l1"),
      ("score", "l2", "score='l2'.*cosine, reconstruction, rsr"),
      ("activation", "elu", "activation='elu'.*auto, tanh, relu, leaky_relu"),
      ("norms", "none", "norms='none'.*released, batch"),
      ("hidden", (4, 8), r"hidden=\(4, 8\).*a tuple of 3"),
    ),
    steps=300,
    gap=0.08,
    seen=True,
  ),
  "rx": Case(
    keywords={}, wrong=(("ridge", -1.0, "ridge=-1.0.*0 to 1"),), ratio=5.0
  ),
  "saoe": Case(
    keywords=LABELLED,
    wrong=(*WRONG, ("score", "logit", "score='logit'.*uniform")),
    gap=0.1,
  ),
  "skip_ganomaly": Case(
    redrawn=True,
    residual=np.square,
    keywords=dict(width=4, width_d=8, latent_dim=8, learning_rate=2e-3),
    wrong=(("d_lat_sign", 2, "d_lat_sign=2.*1, 0, -1"),),
    ratio=2.0,
    seen=True,
  ),
  "vae": Case(
    redrawn=True,
    residual=np.abs,
    keywords=dict(
      latent_dim=8,
      width=4,
      n_samples=4,
      score="reconstruction",
      learning_rate=3e-3,
      norm_momentum=0.8,
    ),
    wrong=(
      ("score", "elbo", "score='elbo'.*reconstruction, kl, vae, iwae_rec"),
      ("combine", "mean", "combine='mean'.*sum, joint"),
      ("n_samples", 0, "n_samples=0.*1 to"),
      ("decay_epochs", 0, "decay_epochs=0.*1 to"),
    ),
    normal=cropped(stripes, 16),
    odd=cropped(noise, 16),
    steps=300,
    ratio=2.0,
    seen=True,
  ),
}

KEY = jax.random.key(5)
# Of examples.
KEYS = jax.random.split(KEY, 8)


def plan_of(detector, steps=10_000):
  """A plan so long that no learning rate falls in a test."""
  n = len(detector.phases)
  return Plan(
    batch_size=4,
    ends=tuple(steps * (k + 1) for k in range(n)),
    steps_per_epoch=(steps,) * n,
  )


@dataclasses.dataclass
class Subject:
  """A method under test; what it compiles is compiled once."""

  case: Case
  detector: jaxad.Detector
  x: np.ndarray

  @functools.cached_property
  def batch(self):
    """A batch of the examples, with odd ones where labels are seen."""
    return self.batch_of(0)

  def batch_of(self, seed):
    """Another batch of the same shapes."""
    x = self.case.normal(4, seed)
    streams = [s for phase in self.trained for s in phase.streams]
    if all(s.rows == "normal" and s.count is None for s in streams):
      # Others are the same rows in another order.
      return {s.name: x[::-1] for s in streams} | {"x": x}
    return {
      "x": np.concatenate([x, self.case.odd(2, seed)]),
      "label": np.int32([0, 0, 0, 0, 1, 1]),
      "reference": x[:2],
    }

  @functools.cached_property
  def trained(self):
    """The phases that are more than a fit."""
    return [p for p in self.detector.phases if p.step is not None]

  @functools.cached_property
  def init(self):
    plan = plan_of(self.detector)
    # As users call it: jit would make arrays of Python numbers.
    return functools.partial(self.detector.init, plan=plan)

  @functools.cached_property
  def state(self):
    """Before training; where there are no steps after the fit."""
    state = self.init(jax.random.key(0), self.batch)
    return state if self.trained else self.train(state, 0)[0]

  @functools.cached_property
  def updates(self):
    return {phase.name: jax.jit(phase.update) for phase in self.trained}

  @functools.cached_property
  def score(self):
    return jax.jit(self.detector.score)

  @functools.cached_property
  def embed(self):
    return jax.jit(self.detector.embed, static_argnums=3)

  @functools.cached_property
  def scorer(self):
    return Scorer(self.detector, 4, KEY)

  @functools.cached_property
  def mapped(self):
    """Scores of the examples, maps in the same pass."""
    return self.scorer.scores(self.state, examples_of(self.x), with_maps=True)

  def train(self, state, steps):
    """The state after that many steps of every phase, and all the metrics."""
    history = []
    normal = self.batch["x"][:4]
    zeros, ones = np.zeros(4, np.int32), np.ones(4, np.float32)
    for phase in self.detector.phases:
      if phase.step is not None:
        for _ in range(steps):
          state, metrics = self.updates[phase.name](state, self.batch)
          history.append(metrics)
      if phase.fit is not None:
        assert phase.fit_rows == "normal"
        batches = [{"x": normal, "label": zeros, "weight": ones}]
        state = phase.fit(state, iter(batches))
    return state, history


@functools.cache
def subject_of(name):
  case = CASES[name]
  detector = jaxad.METHODS[name](**case.keywords)
  return Subject(case, detector, case.normal(4, seed=0))


@pytest.fixture(params=jaxad.METHODS)
def subject(request):
  return subject_of(request.param)


def examples_of(x, names=None):
  n = len(x)
  names = names or tuple(f"{k}.png" for k in range(n))
  return Examples(x, np.zeros(n, np.int32), names, ("good",) * n, None)


def assert_close(got, want, rel=1e-5):
  """|got - want| <= rel * max |want|, leaf by leaf."""
  chex.assert_trees_all_equal_shapes_and_dtypes(got, want)
  for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
    w = np.asarray(w)
    limit = rel * np.abs(w).max(initial=0)
    np.testing.assert_allclose(g, w, rtol=0, atol=limit)


def differ(a, b):
  """Whether any leaf of two pytrees differs."""
  same = jax.tree.map(lambda a, b: bool((a == b).all()), a, b)
  return not all(jax.tree.leaves(same))


def test_every_method_is_tested():
  assert CASES.keys() == jaxad.METHODS.keys()


# Every method.


def test_init(subject):
  state = subject.state
  assert state.step.shape == () and state.step.dtype == jnp.int32
  assert int(state.step) == 0
  assert jnp.issubdtype(state.key.dtype, jax.dtypes.prng_key)
  assert state.key.shape == ()
  for leaf in jax.tree.leaves(
    state.replace(key=jax.random.key_data(state.key))
  ):
    assert isinstance(leaf, jax.Array) and not leaf.weak_type
  params = jax.tree.leaves(state.params)
  chex.assert_type(params, jnp.float32)
  assert not subject.trained or sum(leaf.size for leaf in params) > 100
  chex.assert_tree_all_finite(state.params)
  # The batch gives shapes; its values and its size do not matter.
  batch = subject.batch | {"x": subject.batch["x"][-1:]}
  shapes = jax.eval_shape(subject.init, KEY, batch)
  chex.assert_trees_all_equal_shapes_and_dtypes(state, shapes)


def test_update_keeps_the_structure_and_counts(subject):
  state = subject.state
  for update in subject.updates.values():
    new, metrics = update(state, subject.batch)
    chex.assert_trees_all_equal_shapes_and_dtypes(new, state)
    assert int(new.step) == int(state.step) + 1
    assert differ(jax.random.key_data(new.key), jax.random.key_data(state.key))
    assert differ(new.params, state.params)
    assert "loss" in metrics
    for value in metrics.values():
      assert value.shape == () and np.isfinite(value)
    state = new


def test_ten_steps_lower_the_loss(subject):
  state, history = subject.train(subject.state, 10)
  losses = [float(metrics["loss"]) for metrics in history]
  assert np.isfinite(losses).all()
  for k in range(0, len(losses), 10):
    assert losses[k + 9] < losses[k]
  chex.assert_tree_all_finite([state.params, state.opt_state, state.extras])


def test_update_is_traced_once(subject):
  for phase in subject.trained:
    chex.clear_trace_counter()
    update = jax.jit(chex.assert_max_traces(phase.update, n=1))
    state = subject.state
    for seed in range(3):
      batch = subject.batch_of(seed)
      n = len(batch["x"])
      batch = {"label": np.zeros(n, np.int32)} | batch
      batch |= {"weight": np.ones(n, np.float32)}
      # Traced, with the weak types of the states, but not compiled.
      state, _ = jax.eval_shape(update, state, batch)


def test_the_key_decides_everything(subject):
  run = lambda seed: subject.train(
    subject.init(jax.random.key(seed), subject.batch), 2
  )
  bits = lambda state: state.replace(key=jax.random.key_data(state.key))
  (a, a_metrics), (b, b_metrics), (c, _) = run(3), run(3), run(4)
  chex.assert_trees_all_equal(bits(a), bits(b))
  chex.assert_trees_all_equal(a_metrics, b_metrics)
  assert not subject.trained or differ(a.params, c.params)


def test_rows_of_weight_zero_change_nothing(subject):
  if any(phase.full_batches for phase in subject.trained):
    pytest.skip("a method that normalises by the batch; the loop does not pad")
  weight = np.float32([1, 0, 1, 0])
  other = np.where(
    weight[:, None, None, None] == 1, subject.x, subject.case.odd(4, 1)
  )
  for update in subject.updates.values():
    step = lambda x, weight, update=update: update(
      subject.state, {"x": x, "weight": weight}
    )
    state, metrics = step(subject.x, weight)
    again, other_metrics = step(other, weight)
    assert_close(again.params, state.params, 1e-6)
    assert_close(other_metrics, metrics)
    # The other rows do count, and all of them where there are no weights.
    everything, _ = step(subject.x, np.ones(4, np.float32))
    assert differ(everything.params, state.params)
    without, _ = update(subject.state, {"x": subject.x})
    assert_close(without.params, everything.params, 1e-6)


def test_score(subject):
  scores = subject.score(subject.state, subject.x, KEYS[:4])
  assert scores.image.shape == (4,) and scores.image.dtype == jnp.float32
  for part in scores.parts.values():
    assert part.shape == (4,) and part.dtype == jnp.float32
  chex.assert_tree_all_finite(scores)
  # Not one number for all.
  assert np.ptp(scores.image) > 0


def assert_alone(score, x, odd):
  """Each row has the score that it has in any batch, with its own key.

  Args:
    score: (x, keys) to [B].
    x: 4 examples.
    odd: 3 others.
  """
  keys = KEYS[:4]
  want = score(x, keys)
  close = functools.partial(np.testing.assert_allclose, rtol=1e-5)
  close(score(x[::-1], keys[::-1])[::-1], want)
  neighbours = np.concatenate([x[:1], odd])
  close(score(neighbours, KEYS[np.array([0, 5, 6, 7])])[0], want[0])
  close([score(x[k : k + 1], keys[k : k + 1])[0] for k in range(4)], want)
  padded = np.concatenate([x[:3], x[:1]])
  close(score(padded, KEYS[np.array([0, 1, 2, 0])])[:3], want[:3])


def test_scores_do_not_depend_on_the_rest_of_the_batch(subject):
  score = lambda x, keys: np.asarray(
    subject.score(subject.state, x, keys).image
  )
  assert_alone(score, subject.x, subject.case.odd(3, 0))


def test_score_and_map_come_from_one_pass(subject):
  plain = subject.scorer.scores(subject.state, examples_of(subject.x))
  both = subject.mapped
  assert plain.map is None and plain.image.dtype == np.float32
  assert_close(both.image, plain.image)
  assert_close(both.parts, plain.parts)
  if not subject.case.maps:
    assert both.map is None
    return
  assert both.map.shape == subject.x.shape[:3]
  assert both.map.dtype == np.float32
  chex.assert_tree_all_finite(both)
  assert (np.ptp(both.map, axis=(1, 2)) > 0).all()
  # What the scorer adds is the keys, of the names, and what the host does.
  names = np.uint32([checksum(f"{k}.png") for k in range(4)])
  keys = example_keys(jax.random.fold_in(KEY, SCORING), names)
  alone = subject.score(subject.state, subject.x, keys)
  finish = subject.detector.finish or (lambda scores: scores)
  if (made := alone.reconstruction) is not None:
    assert made.shape == subject.x.shape and made.dtype == np.uint8
  assert (made is not None) == subject.case.redrawn
  if of := subject.case.residual:
    unit = lambda v: np.asarray(v) / 127.5 - 1
    off = of(unit(subject.x) - unit(made)).mean(-1)
    np.testing.assert_allclose(alone.map, off, atol=0.02)
  for k in range(4):
    one = finish(jax.tree.map(lambda v, k=k: np.asarray(v[k]), alone))
    assert_close(np.float32(one.image), plain.image[k])


@pytest.mark.slow
def test_training_makes_odd_examples_stand_out(subject):
  normal, odd = subject.case.normal(4, seed=9), subject.case.odd(4, seed=9)
  if subject.case.seen:
    normal = subject.x
  score = lambda state, x: np.asarray(subject.score(state, x, KEYS[:4]).image)
  state, _ = subject.train(subject.state, subject.case.steps)
  low, high = (np.mean, np.mean) if subject.case.mean else (np.min, np.max)
  if subject.case.gap is not None:
    gap = lambda state: low(score(state, odd)) - high(score(state, normal))
    assert gap(state) > subject.case.gap
    if not any(phase.fit for phase in subject.detector.phases):
      assert gap(state) > gap(subject.state)
    return
  ratio = lambda state: low(score(state, odd)) / high(score(state, normal))
  assert ratio(state) > subject.case.ratio
  assert ratio(state) > 2 * ratio(subject.state)


def test_nothing_calls_back_to_the_host(subject):
  detector, state, x = subject.detector, subject.state, subject.x
  calls = {"score": (detector.score, state, x, KEYS[:4])}
  for phase in subject.trained:
    calls[phase.name] = (phase.update, state, subject.batch)
  if detector.localize:
    calls["localize"] = (detector.localize, state, x, KEYS[:4])
  for train in (False, True) if detector.embed else ():
    embed = functools.partial(detector.embed, train=train)
    calls[f"embed {train}"] = (embed, state, x, KEYS[:4])
  for name, (fn, *args) in calls.items():
    assert "callback" not in str(jax.make_jaxpr(fn)(*args)), name


def test_embedded_features_stand_for_the_images(subject):
  if subject.detector.embed is None:
    pytest.skip("a method without frozen features")
  state, x, keys = subject.state, subject.x, KEYS[:4]
  features = subject.embed(state, x, keys, False)
  assert features.ndim == 3 and len(features) == len(x)
  assert features.dtype == jnp.float32
  scores = subject.score(state, x, keys)
  assert_close(subject.score(state, features, keys), scores)
  # The same random views, where a step draws for each example with its key.
  features = subject.embed(state, x, keys, True)
  for phase in subject.trained:
    one = lambda row, key, phase=phase: phase.draw(key, {"x": row[None]})
    draws = jax.tree.map(lambda v: v[:, 0], jax.vmap(one)(x, keys))
    step = jax.jit(phase.step)
    new, metrics = step(state, {"x": x}, draws)
    same, same_metrics = step(state, {"x": features}, None)
    assert_close(same.params, new.params)
    assert_close(same_metrics, metrics)
    assert differ(new.params, state.params)
  again = subject.embed(state, x, KEYS[4:], True)
  assert differ(features, again) == bool(subject.trained)


@pytest.mark.parametrize(
  ("name", "keyword", "value", "message"),
  [(name, *wrong) for name in CASES for wrong in CASES[name].wrong],
)
def test_wrong_keywords(name, keyword, value, message):
  keywords = CASES[name].keywords | {keyword: value}
  with pytest.raises(InputError, match=message) as caught:
    jaxad.METHODS[name](**keywords)
  assert "\n" not in str(caught.value)


# Rows of tables.


def on_a_plane(n, seed):
  """Rows of eight columns that two numbers decide, float32."""
  rng = np.random.default_rng(seed)
  rows = rng.standard_normal((n, 2)) @ np.random.default_rng(0).normal(
    size=(2, 8)
  )
  return rows.astype(np.float32)


def off_it(n, seed):
  rows = np.random.default_rng(seed).normal(scale=1.4, size=(n, 8))
  return rows.astype(np.float32)


# {method that takes rows as well: keywords of a small one}
ROWS = {
  "advae": dict(
    latent_dim=2,
    width=32,
    output="linear",
    n_samples=8,
    learning_rate=3e-3,
  ),
  "alad": dict(
    tables=alad_networks.Layers(
      latent_dim=2,
      encoder=(32,),
      generator=(32, 32),
      xz_data=(32,),
      xz_code=(32,),
      xz_joint=(32,),
      xx=(64,),
      zz=(32,),
      xz_dropout=0.0,
      xx_dropout=0.0,
      zz_dropout=0.0,
      spectral_norm=False,
    ),
    learning_rate=3e-3,
    ema_decay=0.9,
    norm_momentum=0.9,
  ),
  "egbad": dict(
    latent_dim=2,
    encoder_widths=(32,),
    generator_widths=(32, 32),
    discriminator_widths=(32,),
    code_width=32,
    joint_width=32,
    dropout=0.0,
    learning_rate=3e-3,
    ema_decay=0.9,
  ),
  "rsrae": dict(latent_dim=2, hidden=(32, 32, 32), learning_rate=3e-3),
  "rx": {},
} | {name: case.keywords for name, case in BASELINES.items()}
# Two would leave nothing of a row on the plane but rounding.
ROWS["pca"] = ROWS["pca"] | {"n_components": 1}


# By how much odd rows stand out.
GAPS = dict.fromkeys(ROWS, 7.0) | dict.fromkeys(BASELINES, 0.0)
GAPS["rsrae"] = 0.2


@functools.cache
def rows_subject_of(name):
  case = Case(ROWS[name], (), on_a_plane, off_it, steps=500, gap=GAPS[name])
  case = case._replace(seen=True, mean=True)
  detector = jaxad.METHODS[name](**case.keywords)
  return Subject(case, detector, case.normal(4, seed=0))


@pytest.mark.parametrize(
  "check",
  [
    test_init,
    test_update_keeps_the_structure_and_counts,
    test_update_is_traced_once,
    test_the_key_decides_everything,
    test_score,
    test_scores_do_not_depend_on_the_rest_of_the_batch,
    test_nothing_calls_back_to_the_host,
  ],
)
@pytest.mark.parametrize("name", ROWS)
def test_rows(name, check):
  check(rows_subject_of(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_training_makes_odd_rows_stand_out(name):
  test_training_makes_odd_examples_stand_out(rows_subject_of(name))


@pytest.mark.parametrize("name", ROWS)
def test_rows_have_no_map(name):
  subject = rows_subject_of(name)
  assert subject.score(subject.state, subject.x, KEYS[:4]).map is None


# Scenes: spectra are trained on, and pixels scored.

SCENES = {
  "hadgan": CASES["hadgan"].keywords | {"score": "top", "latent_dim": 2},
  "rx": {},
}


@functools.cache
def trained_on_spectra(name):
  """(detector, state, a scene [1, 12, 16, 8] with one odd pixel)."""
  scene = on_a_plane(12 * 16, 1).reshape(1, 12, 16, 8)
  scene[0, 5, 9] = off_it(1, 5)[0] * 2
  detector = jaxad.METHODS[name](**SCENES[name])
  rows = examples_of(scene.reshape(-1, 8))
  keywords = {"steps": 150} if name == "hadgan" else {}
  plan = jaxad.make_plan(
    detector, rows, batch_size=48, drop_remainder=True, **keywords
  )
  state = detector.init(KEY, {"x": rows.x[:1]}, plan)
  return detector, jaxad.fit(detector, state, rows, plan), scene


@pytest.mark.parametrize("name", SCENES)
def test_a_scene_is_searched_by_what_its_spectra_taught(name):
  detector, state, scene = trained_on_spectra(name)
  scores = Scorer(detector, 1, KEY).scores(
    state, examples_of(scene), with_maps=True
  )
  assert scores.map.shape == (1, 12, 16) and scores.image.shape == (1,)
  assert np.unravel_index(scores.map[0].argmax(), (12, 16)) == (5, 9)
  # Of the pixels as examples, the map and its terms.
  pixels = Pixels("a", np.arange(12 * 16), np.zeros((12, 16, 3), np.uint8))
  of_pixels = dataclasses.replace(
    examples_of(scene.reshape(-1, 8)), x=scene, pixels=pixels
  )
  found = Scorer(detector, 1, KEY).scores(state, of_pixels)
  np.testing.assert_array_equal(found.image, scores.map.ravel())
  assert found.image.dtype == np.float32
  assert found.parts.keys() == (
    {"spatial", "spectral"} if name == "hadgan" else set()
  )
  chosen = of_pixels.take([89, 3])
  assert chosen.id == ("89.png", "3.png") and chosen.noun == "pixels"
  some = Scorer(detector, 1, KEY).scores(state, chosen)
  np.testing.assert_array_equal(some.image, found.image[[89, 3]])


def test_training_ends_by_the_patience_of_hadgan():
  """Of a loss that cannot fall any more, so many epochs after its lowest."""
  keywords = SCENES["hadgan"] | {"learning_rate": 0.0, "w_adv": 0.0}
  keywords |= {"a1": 0.0, "a2": 0.0, "patience": 2}
  detector = jaxad.hadgan(**keywords)
  rows = examples_of(on_a_plane(16, 1))
  plan = jaxad.make_plan(
    detector, rows, batch_size=8, epochs=50, drop_remainder=True
  )
  state = detector.init(KEY, {"x": rows.x[:1]}, plan)

  class Counting(jaxad.Callback):
    epochs = 0

    def after(self, moment):
      self.epochs = moment.epoch

  counting = Counting()
  jaxad.fit(detector, state, rows, plan, [counting])
  assert 3 <= counting.epochs < 50


# Images that are no squares.

RECTANGULAR = ("advae", "alae", "alocc", "caae", "devnet", "differnet", "dra")
RECTANGULAR += ("flos", "hadgan", "kdad", "rsrae", "rx", "saoe")


def wide(images):
  """The same with others to their right, [n, 32, 80, 3] where they have 32."""
  return lambda n, seed: np.concatenate(
    [images(n, seed), images(n, seed + 1), images(n, seed + 2)], axis=2
  )[:, :, :80]


@functools.cache
def wide_subject_of(name):
  case = CASES[name]
  keywords = dict(case.keywords)
  if "augmentation" in keywords:
    keywords["augmentation"] = Augmentation()
  if name == "dra":
    keywords["pseudo"] = "cutmix"
  case = case._replace(normal=wide(case.normal), odd=wide(case.odd))
  detector = jaxad.METHODS[name](**keywords)
  return Subject(case, detector, case.normal(4, seed=0))


@pytest.mark.whole
@pytest.mark.parametrize("name", RECTANGULAR)
def test_images_may_be_rectangular(name):
  subject = wide_subject_of(name)
  state, history = subject.train(subject.state, 1)
  assert all(np.isfinite(metrics["loss"]) for metrics in history)
  learnt = lambda state: (state.params, state.extras)
  # What is a fit alone has had it.
  if subject.trained:
    assert differ(learnt(state), learnt(subject.state))
  scores = subject.scorer.scores(state, examples_of(subject.x), with_maps=True)
  assert scores.map.shape == subject.x.shape[:3]
  chex.assert_tree_all_finite(scores)
  assert (np.ptp(scores.map, axis=(1, 2)) > 0).all()


@pytest.mark.whole
def test_a_defect_at_one_end_is_found_there():
  subject = wide_subject_of("kdad")
  state, _ = subject.train(subject.state, 15)
  x, columns = subject.x.copy(), np.array([0, 4, 60, 64])
  for image, patch, column in zip(x, noise(4, 3), columns, strict=True):
    image[8:24, column : column + 16] = patch[8:24, 8:24]
  maps = subject.scorer.scores(state, examples_of(x), with_maps=True).map
  rows, peaks = np.divmod(maps.reshape(4, -1).argmax(1), maps.shape[2])
  assert ((rows >= 8) & (rows < 24)).all()
  assert ((peaks >= columns) & (peaks < columns + 16)).all()


@pytest.mark.parametrize("size", [(32, 64), (64, 32)])
@pytest.mark.parametrize(
  "name", sorted(CASES.keys() - {*RECTANGULAR, *BASELINES})
)
def test_images_must_be_square(name, size):
  batch = {"x": np.zeros((1, *size, 3), np.uint8)}
  message = f"image_size={size[0]}x{size[1]}: .*square"
  with pytest.raises(InputError, match=message):
    subject_of(name).detector.init(KEY, batch)


# The state.


class Counting(nn.Module):
  """A norm and a scale; a collection of its own counts the passes."""

  @nn.compact
  def __call__(self, x, train):
    passes = self.variable("counts", "passes", jnp.zeros, (), jnp.int32)
    if train:
      passes.value += 1
    x = BatchNorm(name="norm")(x, train)
    scale = self.param("scale", nn.initializers.ones, (), jnp.float32)
    return scale * x + passes.value


def counting():
  """A toy whose network has more than running statistics."""
  network = Counting()

  def init(key, batch, plan=None):
    x = jnp.float32(batch["x"])
    params, collections = initialize(key, {"network": (network, x)})
    return State.new(key, params, collections, {}, plan)

  def step(state, batch, draws):
    of_network = state.collections["network"]
    y, written = apply_train(
      network, state.params["network"], batch["x"], collections=of_network
    )
    of_network = running_average(of_network, written, momentum=0.75)
    collections = {"network": of_network}
    return state.replace(collections=collections), {"loss": y.mean()}

  def score(state, x, keys):
    params, collections = state.params, state.collections
    y = apply_eval(network, params["network"], collections["network"], x)
    return jaxad.Scores(y[:, 0])

  phase = Phase("toy", step, full_batches=True)
  return jaxad.Detector(init, (phase,), score)


def test_the_state_keeps_every_collection():
  detector = counting()
  x = np.random.default_rng(0).standard_normal((4, 2)).astype(np.float32)
  examples = examples_of(x)
  plan = jaxad.make_plan(detector, examples, batch_size=4, steps=3)
  state = detector.init(KEY, {"x": x[:1]}, plan)
  assert state.collections["network"].keys() == {"batch_stats", "counts"}
  assert state.params["network"].keys() == {"scale", "norm"}
  state = jaxad.fit(detector, state, examples, plan)
  found = state.collections["network"]
  # Read, counted on and kept; the statistics are averaged beside it.
  assert found["counts"]["passes"].dtype == jnp.int32
  assert int(found["counts"]["passes"]) == 3
  mean = (1 - 0.75**3) * x.mean(0)
  var = 0.75**3 + (1 - 0.75**3) * x.var(0, ddof=1)
  of_norm = found["batch_stats"]["norm"]
  np.testing.assert_allclose(of_norm["mean"], mean, rtol=1e-5)
  np.testing.assert_allclose(of_norm["var"], var, rtol=1e-5)
  # And the score reads both.
  want = (x - mean) / np.sqrt(var + 1e-5) + 3
  got = Scorer(detector, 4, KEY).scores(state, examples).image
  np.testing.assert_allclose(got, want[:, 0], rtol=1e-4)


FALLING = [n for n in CASES if "optimizer" in CASES[n].keywords]


@pytest.mark.whole
@pytest.mark.parametrize("name", FALLING)
def test_the_plan_reaches_the_optimiser(name):
  """An epoch of one step makes the second step a quarter as long."""
  optimizer = ClippedAdam(1e-2, schedule="late", decay_every=1, decay_rate=0.25)
  keywords = CASES[name].keywords | {"optimizer": optimizer}
  phases, subject = jaxad.METHODS[name](**keywords).phases, subject_of(name)
  assert subject.state.plan == plan_of(subject.detector)
  *before, phase = phases
  plan = Plan(4, (0,) * len(before) + (9,), (1000,) * len(before) + (1,))
  state, update = subject.state.replace(plan=plan), jax.jit(phase.update)

  def moved(count):
    """By an update, after so many of them by the schedule."""
    of_schedule = lambda path, _: "ScaleByScheduleState" in str(path[-1])
    opt_state = optax.tree.set(state.opt_state, of_schedule, count=count)
    new, _ = update(state.replace(opt_state=opt_state), subject.batch)
    return jax.tree.map(
      lambda new, old: np.asarray(new) - np.asarray(old),
      new.params,
      state.params,
    )

  first, second = moved(jnp.int32(0)), moved(jnp.int32(1))
  assert optax.tree.norm(first) > 0.1
  quarter = jax.tree.map(lambda v: v / 4, first)
  chex.assert_trees_all_close(second, quarter, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", FALLING)
def test_a_rate_that_falls_needs_a_plan(name):
  detector, batch = subject_of(name).detector, subject_of(name).batch
  with pytest.raises(InputError, match="optimizer.schedule=.*a Plan"):
    jax.eval_shape(detector.init, KEY, batch)
  optimizer = ClippedAdam(schedule="constant")
  keywords = CASES[name].keywords | {"optimizer": optimizer}
  jax.eval_shape(jaxad.METHODS[name](**keywords).init, KEY, batch)


# DifferNet.


@pytest.fixture
def base():
  return subject_of("differnet")


def variant(**keywords):
  return jaxad.differnet(**CASES["differnet"].keywords | keywords)


def image_scores(detector, base, x=None):
  x = base.x if x is None else x
  return jax.jit(detector.score)(base.state, x, KEYS[:4])


@pytest.mark.parametrize(
  ("keywords", "needed"),
  [
    (dict(trunk="alexnet", n_scales=3), 252),
    (dict(trunk="squeezenet1_1", n_scales=1), 17),
    (dict(trunk="alexnet", n_scales=2, layer="features.2"), 30),
  ],
)
def test_images_must_be_large_enough(keywords, needed):
  detector = jaxad.differnet(weights="random", hidden=4, **keywords)
  batch = lambda size: {"x": np.zeros((1, size, size, 3), np.uint8)}
  jax.eval_shape(detector.init, KEY, batch(needed))
  message = rf"image_size={needed - 1}\b.*needs at least {needed}\b"
  with pytest.raises(InputError, match=message):
    detector.init(KEY, batch(needed - 1))
  # Each side by itself.
  narrow = np.zeros((1, 2 * needed, needed - 1, 3), np.uint8)
  message = rf"image_size={2 * needed}x{needed - 1}: .*at least {needed}\b"
  with pytest.raises(InputError, match=message):
    detector.init(KEY, {"x": narrow})


def test_only_the_flow_is_trained(base):
  state, _ = base.train(base.state, 1)
  chex.assert_trees_all_equal(state.params["trunk"], base.state.params["trunk"])
  changed = jax.tree.map(
    lambda a, b: bool((a != b).any()),
    state.params["flow"],
    base.state.params["flow"],
  )
  assert all(jax.tree.leaves(changed))


def test_a_padded_batch_is_the_mean_over_its_real_rows(base):
  (phase,) = base.detector.phases
  y = np.asarray(base.embed(base.state, base.x, KEYS[:4], True))
  step = jax.jit(phase.step)
  padded = {"x": y, "weight": np.float32([1, 1, 1, 0])}
  state, metrics = step(base.state, padded, None)
  want, want_metrics = step(base.state, {"x": y[:3]}, None)
  assert_close(metrics, want_metrics)
  assert_close(state.params, want.params)


@functools.cache
def localize_two_images_at_once():
  return jax.jit(variant(views_at_once=8).localize)


@pytest.mark.whole
def test_views_at_once_change_only_the_rounding(base):
  # Four images and four rotations: maps of four images and of two at once,
  # scores of one view.
  want = base.mapped
  got = localize_two_images_at_once()(base.state, base.x, KEYS[:4])
  assert_close(got, want)
  want = base.score(base.state, base.x, KEYS[:4])
  assert_close(image_scores(variant(views_at_once=1), base), want)


def test_maps_take_the_memory_of_the_views_at_once(monkeypatch):
  """However many images and views there are, as on an accelerator."""
  loop = lambda *args, cpu, default: default(*args)
  monkeypatch.setattr(jax.lax, "platform_dependent", loop)

  def temporary(images, views):
    detector = jaxad.differnet(
      layer="features.2",
      weights="random",
      n_scales=1,
      n_blocks=1,
      hidden=4,
      n_transforms_test=views,
      views_at_once=2,
    )
    x = np.zeros((images, 64, 64, 3), np.uint8)
    state = detector.init(KEY, {"x": x})
    localize = jax.jit(detector.localize).lower(state, x, KEYS[:images])
    return localize.compile().memory_analysis().temp_size_in_bytes

  assert temporary(8, 32) < 1.5 * temporary(1, 2)


def test_bfloat16_trunk_is_close(base):
  x = np.concatenate([base.x[:2], noise(2, 0)])
  got = image_scores(variant(trunk_dtype="bfloat16"), base, x=x).image
  want = base.score(base.state, x, KEYS[:4]).image
  assert got.dtype == jnp.float32
  np.testing.assert_allclose(got, want, rtol=0.01)
  assert differ(got, want)


def test_score_is_the_part_that_it_names(base):
  scores = base.score(base.state, base.x, KEYS[:4])
  assert scores.parts.keys() == {"latent", "nll"}
  chex.assert_trees_all_equal(scores.image, scores.parts["latent"])
  nll = image_scores(variant(score="nll"), base)
  assert_close(nll.parts, scores.parts)
  chex.assert_trees_all_equal(nll.image, nll.parts["nll"])
  assert differ(nll.image, scores.image)


def test_only_random_test_rotations_depend_on_the_key(base):
  keys, others = KEYS[:4], KEYS[4:]
  fixed = base.score(base.state, base.x, keys).image
  assert not differ(fixed, base.score(base.state, base.x, others).image)
  detector = variant(test_rotations="random")
  score = jax.jit(detector.score)
  a, again, b = (
    score(base.state, base.x, some).image for some in (keys, keys, others)
  )
  assert not differ(a, again)
  for one, other in ((a, b), (a, fixed)):
    assert (np.asarray(one) != np.asarray(other)).all()
  # Each image by its own key alone; cached features are of these rotations.
  numbers = lambda x, keys: np.asarray(score(base.state, x, keys).image)
  assert_alone(numbers, base.x, noise(3, 0))
  features = jax.jit(detector.embed, static_argnums=3)(
    base.state, base.x, keys, False
  )
  assert_close(score(base.state, features, keys).image, a)


@pytest.mark.whole
def test_random_rotations_belong_to_the_image(base):
  """Not to its batch, its place in the test, or what else is tested."""
  detector = variant(test_rotations="random")
  x = np.concatenate([base.x, noise(5, 0)])
  names = tuple(f"good/{k}.png" for k in range(9))
  scorer = Scorer(detector, 8, KEY)
  want = scorer.scores(base.state, examples_of(x, names)).image
  one = Scorer(detector, 1, KEY).scores(base.state, examples_of(x, names))
  np.testing.assert_allclose(one.image, want, rtol=1e-5)
  # One image more, in front of all others.
  more = examples_of(np.concatenate([noise(1, 7), x]), ("bad.png", *names))
  np.testing.assert_allclose(
    scorer.scores(base.state, more).image[1:], want, rtol=1e-5
  )
  # Under another name an image is turned otherwise, and by another run.
  renamed = examples_of(x, ("new.png", *names[1:]))
  other = scorer.scores(base.state, renamed).image
  np.testing.assert_allclose(other[1:], want[1:], rtol=1e-5)
  assert abs(other[0] - want[0]) > 1e-4 * want[0]
  again = Scorer(detector, 8, jax.random.key(6))
  again = again.scores(base.state, examples_of(x, names)).image
  assert (abs(again - want) > 1e-5 * want).all()


def test_without_rotations_all_views_are_alike(base):
  detector = variant(rotations=False)
  embed = jax.jit(detector.embed, static_argnums=3)
  features = np.asarray(embed(base.state, base.x, KEYS[:4], True))
  np.testing.assert_allclose(features[:, 1], features[:, 0], rtol=1e-6)
  turned = np.asarray(base.embed(base.state, base.x, KEYS[:4], False))
  unturned = embed(base.state, base.x, KEYS[:4], False)
  assert unturned.shape == turned.shape == (4, 4, turned.shape[-1])
  assert_close(unturned[:, 3], turned[:, 0])
  assert differ(turned[:, 1], turned[:, 0])


def test_jitter_is_for_training_alone(base):
  detector = variant(brightness=0.5, contrast=0.3, saturation=0.2)
  draws = detector.phases[0].draw(KEY, {"x": base.x})
  assert draws["jitter"].shape == (4, 2, 3)
  assert base.detector.phases[0].draw(KEY, {"x": base.x})["jitter"] is None
  embed = jax.jit(detector.embed, static_argnums=3)
  arguments = base.state, base.x, KEYS[:4]
  assert differ(embed(*arguments, True), base.embed(*arguments, True))
  assert_close(embed(*arguments, False), base.embed(*arguments, False))


def test_bytes_and_floats_are_the_same_image(base):
  x = np.float32(base.x) / np.float32(255)
  got = base.score(base.state, x, KEYS[:4])
  assert_close(got, base.score(base.state, base.x, KEYS[:4]))


def test_feature_rows_need_no_trunk(base):
  dim = base.embed(base.state, base.x, KEYS[:4], False).shape[-1]
  rows = np.random.default_rng(0).standard_normal((6, dim)).astype(np.float32)
  shapes = jax.eval_shape(base.init, KEY, {"x": rows})
  state = base.state.replace(
    params={"flow": base.state.params["flow"]}, collections={}
  )
  chex.assert_trees_all_equal_shapes_and_dtypes(shapes, state)
  update = base.updates["flow"]
  new, metrics = update(state, {"x": rows})
  assert np.isfinite(metrics["loss"]) and differ(new.params, state.params)
  # A row is one view; the score of several views is their mean.
  one = base.score(state, rows, KEYS[:6]).image
  views = base.score(state, rows.reshape(3, 2, dim), KEYS[:3]).image
  np.testing.assert_allclose(views, one.reshape(3, 2).mean(1), rtol=1e-5)


@pytest.mark.whole
def test_layers_stand_beside_each_other(base):
  """The deepest decides what weights are needed, the order is as given."""
  make = lambda layer, *beside: jaxad.differnet(
    trunk="alexnet",
    layer=layer,
    beside=beside,
    weights="random",
    n_scales=1,
    n_blocks=1,
    hidden=4,
    n_transforms_test=1,
  )
  both = make("features.0", "features.3")
  state = both.init(KEY, {"x": base.x})
  found = both.embed(state, base.x, KEYS[:4], False)
  parts = [
    make(layer).embed(state, base.x, KEYS[:4], False)
    for layer in ("features.0", "features.3")
  ]
  want = np.concatenate(parts, axis=-1)
  np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)
  assert found.shape[-1] == 64 + 192


@pytest.mark.whole
def test_map_view_by_view(base):
  """The map of each image alone, with SciPy's filters."""
  state = base.state
  variables = {"params": state.params["trunk"]}
  trunk = make_trunk("alexnet", "features.2")
  keywords = base.case.keywords

  @jax.jit
  @jax.vmap
  @jax.grad
  def gradient(view):
    y = pooled_features(trunk, variables, view[None], keywords["n_scales"])
    flow = Flow(y.shape[-1], keywords["n_blocks"], keywords["hidden"])
    z, logdet = flow.apply({"params": state.params["flow"]}, y)
    return negative_log_likelihood(z, logdet)[0] / 4

  maps = localize_two_images_at_once()(state, base.x, KEYS[:4]).map
  for x, pixel_map in zip(base.x[:2], maps[:2], strict=True):
    angles = (0.0, 90.0, 180.0, 270.0)
    views = np.stack([rotate_nearest(x, np.float64(a)) for a in angles])
    smooth = [
      ndimage.gaussian_filter(
        ndimage.rotate(g, -a, order=3, reshape=False), (3, 3, 0)
      )
      for g, a in zip(
        np.asarray(gradient(normalize(views, "alexnet"))), angles, strict=True
      )
    ]
    want = np.abs(smooth).mean((0, -1)) ** 2
    np.testing.assert_allclose(pixel_map, want, rtol=0, atol=1e-4 * want.max())


# The adversarial methods.


def flops(fn, *args):
  return jax.jit(fn).lower(*args).compile().cost_analysis()["flops"]


@pytest.mark.slow
def test_a_step_of_ganomaly_does_no_more_than_its_losses_need():
  """The players' losses share the discriminator's two forward passes."""
  detector = jaxad.ganomaly(latent_dim=8, width=8)
  x = stripes(4, 0)
  state = jax.eval_shape(detector.init, KEY, {"x": x})
  state = jax.tree.map(
    lambda v: jnp.zeros(v.shape, v.dtype), state.replace(key=None)
  ).replace(key=KEY)
  (phase,) = detector.phases
  step = flops(lambda s: phase.step(s, {"x": x}, {"reinit": KEY}), state)

  generator, discriminator = Generator(8, 8, 0), Encoder(1, 8)
  run = lambda module, params, x: apply_train(module, params, x)[0]
  image = jnp.zeros(x.shape)

  def g_loss(params):
    x_hat, z, z_hat = run(generator, params["g"], image)
    f, f_hat = (run(discriminator, params["d"], v)[1] for v in (image, x_hat))
    return ((f - f_hat) ** 2).mean() + ((z - z_hat) ** 2).mean() + x_hat.mean()

  def d_loss(params, x_hat):
    real, fake = (run(discriminator, params, v)[0] for v in (image, x_hat))
    return jnp.square(real).mean() + jnp.square(fake).mean()

  params = {"g": state.params["generator"], "d": state.params["discriminator"]}
  only_g = lambda g: g_loss(params | {"g": g})
  needed = (
    flops(jax.value_and_grad(only_g), params["g"])
    + flops(jax.value_and_grad(d_loss), params["d"], image)
    - 2 * flops(lambda d: run(discriminator, d, image), params["d"])
  )
  n = sum(leaf.size for leaf in jax.tree.leaves(params))
  adam = 20 * n  # operations a weight
  assert step < 1.05 * needed + adam
  # The bound means something: a third pass, or the discriminator's weights in
  # the generator's move, would pass it.
  both = flops(jax.value_and_grad(g_loss), params)
  assert step + both - flops(jax.value_and_grad(only_g), params["g"]) > (
    1.05 * needed + adam
  )


# ALOCC.


def test_noise_is_fresh_or_fixed():
  x = CASES["alocc"].normal(4, seed=0)
  for noise, same in (("fresh", False), ("fixed", True)):
    draw = jaxad.alocc(noise=noise).phases[0].draw
    a, b = (draw(key, {"x": x})["noise"] for key in KEYS[:2])
    assert bool((a == b).all()) == same
    np.testing.assert_allclose(a.std(), 0.155, rtol=0.05)


def test_training_ends_when_the_error_is_small():
  assert jaxad.alocc().phases[0].stop is None
  stop = jaxad.alocc(rho=0.5).phases[0].stop
  state = subject_of("alocc").state
  assert not stop(state)
  assert stop(state.replace(extras={"error": jnp.float32(0.4)}))
