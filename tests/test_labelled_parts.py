# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What methods that learn from labelled anomalies are made of."""

import colorsys
import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance

import jaxad
from jaxad import losses
from jaxad.detector import Plan
from jaxad.errors import InputError
from jaxad.layers import cutmix, jitter
from jaxad.layers.augmentation import Augmentation, augmented
from jaxad.methods.devnet import saliency
from jaxad.methods.mlep import hinges
from jaxad.networks.heads import enlarged_mean, top_k_mean
from jaxad.networks.pyramid import Trunk
from jaxad.optim import ClippedAdam

KEY = jax.random.key(3)
KEYS = jax.random.split(KEY, 8)
PLAN = Plan(batch_size=4, ends=(0, 40), steps_per_epoch=(20, 20))

SMALL = Trunk(weights="random", width=4, blocks=(1, 1, 1, 1), layer="layer1")


# Pseudo anomalies.


def images(n, size=40, seed=0):
  shape = (n, size, size, 3)
  return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def test_draws_of_cutmix_stay_in_their_ranges():
  draws = cutmix.draw_cutmix(KEY, 4000)
  for values, low, high in (
    (draws.area, 0.02, 0.15),
    (np.log(draws.aspect), np.log(0.3), -np.log(0.3)),
    (draws.corner, 0, 1),
    (draws.jitter[:, :3], 0.9, 1.1),
    (draws.jitter[:, 3], -0.1, 0.1),
  ):
    assert low <= values.min() and values.max() <= high
    middle, spread = (low + high) / 2, (high - low) / np.sqrt(12)
    np.testing.assert_allclose(values.mean(), middle, atol=0.05 * (high - low))
    np.testing.assert_allclose(values.std(), spread, rtol=0.1)
  assert sorted(draws.order.tolist()) == [0, 1, 2, 3]


def test_cutmix_changes_a_rectangle_of_that_area():
  x = images(64)
  draws = cutmix.draw_cutmix(KEY, 64)
  y = np.asarray(jax.jit(cutmix.cutmix)(x, draws))
  assert y.dtype == np.uint8
  for before, after, area in zip(x, y, draws.area, strict=True):
    rows, columns = np.nonzero((before != after).any(-1))
    box = np.ptp(rows) + 1, np.ptp(columns) + 1
    # Sides are whole numbers, and at random some of the pixels stay.
    assert abs(box[0] * box[1] / 1600 - area) < 0.03
  # Floating point images take the same piece.
  z = np.asarray(cutmix.cutmix(jnp.asarray(x / np.float32(255)), draws))
  np.testing.assert_allclose(z * 255, y, atol=0.51)


@pytest.mark.parametrize("size", [(16, 200), (200, 16)])
def test_pieces_of_a_long_image_fit_into_it(size):
  x = np.random.default_rng(0).integers(0, 256, (256, *size, 3), np.uint8)
  draws = cutmix.draw_cutmix(KEY, 256)
  y = np.asarray(jax.jit(cutmix.cutmix)(x, draws))
  share = (y != x).any(-1).mean((1, 2))
  # Narrow ones are rounded to a pixel.
  np.testing.assert_allclose(share, draws.area, rtol=0.15, atol=0.005)


@pytest.mark.whole
def test_only_chosen_normal_rows_become_pseudo_anomalies():
  x, label = images(400, 16), jnp.arange(400) % 2
  draws = cutmix.draw_pseudo(KEY, label == 0, 0.5)
  y, new = cutmix.with_pseudo(jnp.asarray(x), label, draws)
  changed = (np.asarray(y) != x).any((1, 2, 3))
  np.testing.assert_array_equal(np.asarray(new) == 2, draws.chosen)
  np.testing.assert_array_equal(changed, draws.chosen)
  assert not draws.chosen[label == 1].any()
  assert 70 < draws.chosen.sum() < 130
  same, labels = cutmix.with_pseudo(x, label, None)
  assert same is x and labels is label
  # Others stand in their place.
  y, _ = cutmix.with_pseudo(jnp.asarray(x), label, draws, 255 - x)
  np.testing.assert_array_equal(y[draws.chosen], 255 - x[draws.chosen])
  np.testing.assert_array_equal(y[~draws.chosen], x[~draws.chosen])


@pytest.mark.whole
def test_augmentation_is_drawn_for_each_image():
  x = images(3, 16)
  nothing = Augmentation(rotation=0.0)
  assert augmented(x, nothing.draw(KEY, 3)) is x
  assert augmented(x, None) is x
  change = Augmentation(20.0, brightness=0.3, contrast=0.2, saturation=0.1)
  draws = change.draw(KEY, 2000)
  assert 19 < jnp.abs(draws["degrees"]).max() < 20
  spread = jnp.abs(draws["colors"] - 1).max(0)
  np.testing.assert_allclose(spread, [0.3, 0.2, 0.1], rtol=0.02)
  draws = change.draw(KEY, 3)
  got = augmented(x, draws)
  assert got.shape == x.shape and got.dtype == jnp.float32
  one = jax.tree.map(lambda v: v[1:2], draws)
  np.testing.assert_allclose(augmented(x[1:2], one)[0], got[1], rtol=1e-6)


@pytest.mark.parametrize(
  ("change", "enhance"),
  [
    (jitter.brightness, ImageEnhance.Brightness),
    (jitter.contrast, ImageEnhance.Contrast),
    (jitter.saturation, ImageEnhance.Color),
  ],
)
def test_colours_change_as_pillow_changes_them(change, enhance):
  x = images(1)[0]
  want = np.asarray(enhance(Image.fromarray(x)).enhance(1.1), np.float32)
  got = np.asarray(change(jnp.asarray(x / np.float32(255)), 1.1)) * 255
  np.testing.assert_allclose(got, want, atol=1.5)


def test_contrast_of_a_part_is_about_its_own_mean():
  x = jnp.asarray(images(1)[0] / np.float32(255))
  part = np.zeros((40, 40, 1), bool)
  part[:10, 5:20] = True
  got = jitter.contrast(x, 1.1, part)[:10, 5:20]
  np.testing.assert_allclose(got, jitter.contrast(x[:10, 5:20], 1.1), rtol=1e-5)


def test_hue_turns_the_circle():
  x = np.random.default_rng(0).uniform(0, 1, (50, 3)).astype(np.float32)
  x[0] = 0.5  # Grey has none.

  def turned(rgb):
    h, s, v = colorsys.rgb_to_hsv(*rgb)
    return colorsys.hsv_to_rgb((h + 0.07) % 1, s, v)

  got = jitter.hue(jnp.asarray(x), 0.07)
  np.testing.assert_allclose(got, [turned(rgb) for rgb in x], atol=1e-5)


# Heads, losses and learning rates.


@pytest.mark.parametrize(("rate", "k"), [(0.1, 1), (0.25, 3), (1.0, 12)])
def test_top_k_mean(rate, k):
  z = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
  rows = np.sort(z.reshape(2, 12, 5), axis=1)
  want = rows[:, 12 - k :].mean(1)
  np.testing.assert_allclose(top_k_mean(z, rate), want, rtol=1e-5)
  np.testing.assert_allclose(top_k_mean(z, 0), rows.mean(1), rtol=1e-4)


@pytest.mark.parametrize("hole", [False, True])
def test_top_k_mean_is_that_of_lax(hole):
  """Bit by bit, of equal values too, with its gradient; NaN is the largest."""
  z = np.random.default_rng(0).integers(0, 6, (4, 5, 5, 2)).astype(np.float32)
  if hole:
    z[1, 2, 2, 0] = np.nan
  rows = lambda z: z.reshape(4, 25, 2).swapaxes(1, 2)
  for form in (
    lambda fn: fn,
    lambda fn: jax.grad(lambda z: (fn(z) ** 2).sum()),
  ):
    want = form(lambda z: jax.lax.top_k(rows(z), 7)[0].mean(-1))(z)
    np.testing.assert_array_equal(form(lambda z: top_k_mean(z, 0.3))(z), want)


def test_maps_of_all_scales_count_alike():
  maps = [jnp.full((2, 4, 4), 1.0), jnp.full((2, 2, 2), 3.0)]
  got = enlarged_mean(maps, (16, 24))
  assert got.shape == (2, 16, 24)
  np.testing.assert_allclose(got, 2.0, rtol=1e-6)


def test_prior_of_few_scores():
  reference = jnp.array([1.0, 3.0, 100.0])
  n = jnp.array([0, 1, 2, 3])
  mean, std = losses.prior_statistics(jnp.stack([reference] * 4), n)
  np.testing.assert_allclose(mean, [0, 1, 2, 104 / 3], rtol=1e-6)
  want = [1, 1, np.sqrt(2), np.std([1, 3, 100], ddof=1)]
  np.testing.assert_allclose(std, want, rtol=1e-6)
  # Two draws may be as good as equal; no score is then divided by nothing.
  _, std = losses.prior_statistics(jnp.array([1.0, 1.0]), 2)
  assert std == pytest.approx(losses.SMALLEST_STD)


CRITERIA = ("deviation", "weighted_deviation", "bce", "focal")


@pytest.mark.parametrize("name", CRITERIA)
def test_criteria_prefer_high_scores_for_anomalies(name):
  criterion = losses.Criterion(name)
  n = jnp.array([8, 3])
  mean, std = criterion.draw(KEY, n, 8)
  assert mean.shape == std.shape == (2,)
  loss = lambda scores, target: criterion.loss(
    jnp.array(scores), target, mean[0], std[0]
  )
  low, high = loss([0.5], 1), loss([4.0], 1)
  assert high < low
  assert loss([4.0], 0) > loss([0.5], 0)
  # A bound is met with nothing to lose.
  if "deviation" in name:
    assert loss([9.0], 1) == 0
    # The prior has the size of the call, or a fixed one.
    other, _ = criterion.draw(KEY, jnp.array([8, 4]), 8)
    assert (other[1] == mean[1]) == (name == "deviation")


def test_weighted_deviation_is_half_the_square():
  scores, targets = jnp.array([0.2, -1.0, 3.0, 7.0]), jnp.array([0, 0, 1, 1])
  plain = losses.deviation(scores, targets, 0.1, 0.9)
  weighted = losses.weighted_deviation(scores, targets, 0.1, 0.9)
  np.testing.assert_allclose(weighted, plain**2 / 2, rtol=1e-6)


def test_hinge_of_each_triplet():
  anchor, positive = jnp.zeros((2, 1, 1, 4)), jnp.ones((2, 1, 1, 4))
  # One negative is close, one so far that the mean distance is large.
  negative = jnp.stack([jnp.ones((1, 1, 4)), jnp.full((1, 1, 4), 10.0)])
  hinge, intra, inter = hinges(anchor, positive, negative, 1.0, False)
  assert (hinge, intra, inter) == (0, 1, 50.5)
  hinge, intra, inter = hinges(anchor, positive, negative, 1.0, True)
  assert (hinge, intra, inter) == (0.5, 1, 50.5)


def test_saliency_of_a_flat_gradient():
  flat = jnp.full((8, 8, 3), -0.5)
  np.testing.assert_allclose(saliency(flat), 1.5)
  assert (saliency(jnp.zeros((8, 8, 3))) == 0).all()


# The trunk.


RESNET = Trunk(weights="random", layer="layer1")


@pytest.fixture(scope="module")
def folded(tmp_path_factory):
  """A weights file whose norms only add a bias."""
  params, running = RESNET.init(KEY, (1, 32, 32, 3))
  rng = np.random.default_rng(0)
  names = {"kernel": "weight", "scale": "weight", "bias": "bias"}
  arrays = {}
  for layer, leaves in params.items():
    for name, value in leaves.items():
      if name == "kernel":
        value = np.transpose(value, (3, 2, 0, 1))
      if name == "bias":
        value = rng.normal(size=value.shape).astype(np.float32)
      arrays[f"{layer}.{names[name]}"] = np.asarray(value)
  for layer, leaves in running["batch_stats"].items():
    arrays[f"{layer}.running_mean"] = np.zeros_like(leaves["mean"])
    arrays[f"{layer}.running_var"] = np.full_like(leaves["var"], 1 - 1e-5)
  path = tmp_path_factory.mktemp("weights") / "folded.npz"
  np.savez(path, **arrays)
  return path


@pytest.mark.whole
def test_folded_norms_are_not_trained(folded):
  shape = (1, 32, 32, 3)
  trunk = RESNET._replace(weights=str(folded))
  with pytest.raises(InputError, match="folded.npz.*train_norms=False"):
    trunk.init(KEY, shape, 2)
  trunk = trunk._replace(train_norms=False)
  params, running = trunk.init(KEY, shape, 2)
  x = jax.random.normal(KEY, (2, 32, 32, 3))
  maps, after = trunk.features(params, running, x, True, 2)
  want, _ = trunk.features(params, running, x, False, 2)
  assert len(maps) == 2
  for got, y in zip(maps, want, strict=True):
    np.testing.assert_array_equal(got, y)
  assert after == running
  # Norms at their start look alike, and are to be trained.
  RESNET.init(KEY, shape, 2)


def test_folded_file_of_imagenet_weights():
  folder = os.environ.get("JAXAD_WEIGHTS")
  name = "resnet18_layer1-3_bnfolded.pth"
  if not folder or not os.path.isfile(os.path.join(folder, name)):
    pytest.skip(f"set JAXAD_WEIGHTS to a folder with {name}")
  path = os.path.join(folder, name)
  detector = jaxad.dra(trunk=Trunk(weights=path, layer="layer3"))
  with pytest.raises(InputError, match="bnfolded.pth.*train_norms=False"):
    detector.init(KEY, {"x": images(1, 64)}, PLAN)


@pytest.mark.whole
def test_frozen_norms_while_weights_are_trained(folded):
  detector = jaxad.devnet(
    trunk=RESNET._replace(weights=str(folded), train_norms=False),
    optimizer=ClippedAdam(learning_rate=1e-2),
  )
  batch = {"x": images(4, 32), "label": np.int32([0, 0, 1, 1])}
  state = detector.init(KEY, batch, PLAN)
  new, _ = jax.jit(detector.phases[0].update)(state, batch)
  jax.tree.map(
    np.testing.assert_array_equal, new.collections, state.collections
  )
  moved = new.params["trunk"]["conv1"]["kernel"]
  assert (moved != state.params["trunk"]["conv1"]["kernel"]).any()


def test_sizes_are_those_of_resnet_alone():
  with pytest.raises(InputError, match="only the trunk resnet18.*not alexnet"):
    jaxad.dra(trunk=Trunk("alexnet", weights="random", width=8))


def test_parameters_of_the_published_sizes():
  """Of the papers' systems; the classifier of ResNet-18 is left out."""
  batch = {"x": images(1, 64)}
  for method, count in (
    ("dra", 13_670_468),
    ("devnet", 11_177_025),
    ("flos", 11_177_025),
    ("saoe", 11_178_051),
  ):
    detector = jaxad.METHODS[method](trunk=Trunk(weights="random"))
    init = functools.partial(detector.init, batch=batch, plan=PLAN)
    state = jax.eval_shape(init, KEY)
    got = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    assert got == count, method


@pytest.mark.whole
@pytest.mark.parametrize("train_norms", [True, False])
def test_efficientnet_is_trained_too(train_norms):
  trunk = Trunk(
    "efficientnet_lite0", "_blocks.2", "random", train_norms=train_norms
  )
  detector = jaxad.devnet(trunk=trunk)
  x = images(4, 32)
  batch = {"x": x, "label": np.int32([0, 0, 1, 1])}
  state = detector.init(KEY, batch, PLAN)
  new, metrics = jax.jit(detector.phases[0].update)(state, batch)
  assert np.isfinite(metrics["loss"])
  before, after = (
    s.params["trunk"]["_blocks.1._depthwise_conv"]["kernel"]
    for s in (state, new)
  )
  assert (before != after).any()
  means = (s.collections["trunk"]["batch_stats"]["_bn0"] for s in (state, new))
  assert (next(means)["mean"] != next(means)["mean"]).any() == train_norms
  # Pixels enter as its weights expect them.
  black = trunk.normalize(np.zeros((1, 1, 1, 3), np.uint8))
  np.testing.assert_allclose(black, -127 / 128, rtol=1e-6)


@pytest.mark.whole
def test_bfloat16_trunk_keeps_float32_parameters():
  detector = jaxad.devnet(trunk=SMALL._replace(dtype="bfloat16"))
  batch = {"x": images(4, 32), "label": np.int32([0, 0, 1, 1])}
  state = detector.init(KEY, batch, PLAN)
  new, metrics = jax.jit(detector.phases[0].update)(state, batch)
  for leaf in jax.tree.leaves((new.params, new.collections)):
    assert leaf.dtype == jnp.float32
  assert np.isfinite(metrics["loss"])
  rough, close = (
    jax.jit(d.score)(state, batch["x"], KEYS[:4]).image
    for d in (detector, jaxad.devnet(trunk=SMALL))
  )
  assert (rough != close).any()
  np.testing.assert_allclose(rough, close, rtol=0.1, atol=0.02)


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({"trunk": Trunk("vgg19")}, "trunk.name='vgg19'.*alexnet"),
    ({"trunk": Trunk(layer="layer5")}, "trunk.layer='layer5'.*layer4"),
    ({"trunk": Trunk(blocks=(1, 1))}, r"trunk.blocks=\(1, 1\).*\(2, 2, 2, 2"),
    ({"trunk": Trunk(width=0)}, "trunk.width=0.*1 to"),
    ({"optimizer": ClippedAdam(b1=1.0)}, "optimizer.b1=1.0"),
    ({"criterion": losses.Criterion("mse")}, "criterion.name='mse'.*focal"),
    ({"criterion": losses.Criterion(prior_size=1)}, "prior_size=1.*2 to"),
    ({"heads": ()}, "heads=.*holistic"),
    ({"heads": ("seen", "sene")}, "heads=.*'sene'.*each one of holistic"),
    ({"heads": "seen"}, "heads='seen'.*a tuple"),
    ({"n_scales": 0}, "n_scales=0.*1 to"),
  ],
)
def test_wrong_values(changes, words):
  with pytest.raises(InputError, match=words) as caught:
    jaxad.dra(**changes)
  assert "\n" not in str(caught.value)
  assert caught.value.argument == str(caught.value).partition("=")[0]


def test_a_falling_learning_rate_needs_a_plan():
  batch = {"x": images(1, 32)}
  detector = jaxad.devnet(trunk=SMALL)
  with pytest.raises(InputError, match="optimizer.schedule='late'.*Plan"):
    detector.init(KEY, batch)
  constant = ClippedAdam(schedule="constant")
  jaxad.devnet(trunk=SMALL, optimizer=constant).init(KEY, batch)


# DRA's references, heads and outliers.


def kept(detector, x, weight=None):
  """A state after the phase that keeps references of batches of 3 images."""
  state = detector.init(KEY, {"x": x}, PLAN)
  weight = np.ones(len(x), np.float32) if weight is None else weight
  batches = [
    {"x": x[i : i + 3], "weight": weight[i : i + 3]}
    for i in range(0, len(x), 3)
  ]
  shape = state.extras["reference"].shape
  state = detector.phases[0].fit(state, iter(batches))
  assert state.extras["reference"].shape == shape
  return state


def test_references_are_the_first_images_and_no_padding():
  x = images(9, 32)
  weight = np.float32([1, 0, 1, 1, 1, 1, 1, 0, 0])
  state = kept(jaxad.dra(trunk=SMALL, n_references=2), x, weight)
  got = state.extras["reference"]
  # There are too few for the official test: they are repeated.
  assert got.dtype == jnp.uint8
  rows = np.resize([0, 2, 3, 4, 5, 6], len(got))
  np.testing.assert_array_equal(got, x[rows])


@pytest.mark.whole
def test_official_references_are_drawn_from_the_key():
  detector = jaxad.dra(trunk=SMALL, n_references=2)
  x = images(3, 32)
  state = kept(detector, images(33, 32, seed=1))
  official = jax.jit(detector.official.score)
  score = lambda seed: np.asarray(
    official(state, x, jax.random.split(jax.random.key(seed), 3))[0].image
  )
  assert (score(0) == score(0)).all()
  assert (score(0) != score(1)).all()
  fixed = jax.jit(detector.score)
  one, other = (fixed(state, x, keys).image for keys in (KEYS[:3], KEYS[3:6]))
  np.testing.assert_array_equal(one, other)
  # Neither do neighbours matter.
  alone = fixed(state, x[:1], KEYS[:1]).image
  np.testing.assert_allclose(alone, one[:1], rtol=1e-5)


@pytest.mark.whole
def test_heads_that_are_left_out_do_not_learn_or_count():
  detector = jaxad.dra(
    trunk=SMALL,
    heads=("seen", "composite"),
    n_references=2,
    optimizer=ClippedAdam(weight_decay=0.0),
  )
  batch = {
    "x": images(6, 32),
    "label": np.int32([0, 0, 0, 0, 1, 1]),
    "reference": images(2, 32, seed=1),
  }
  state = detector.init(KEY, batch, PLAN)
  new, metrics = jax.jit(detector.phases[1].update)(state, batch)
  total = metrics["seen"] + metrics["composite"]
  np.testing.assert_allclose(metrics["loss"], total, rtol=1e-6)
  before, after = state.params["heads"], new.params["heads"]
  for name, stays in (("pseudo", True), ("fc1", True), ("seen", False)):
    same = jax.tree.map(lambda a, b: (a == b).all(), before[name], after[name])
    assert all(jax.tree.leaves(same)) == stays
  scores = jax.jit(detector.score)(new, batch["x"], KEYS[:6])
  want = scores.parts["seen"] + scores.parts["composite"]
  np.testing.assert_allclose(scores.image, want, rtol=1e-6)


@pytest.mark.whole
def test_outliers_take_the_place_of_normal_rows():
  """As if they had been in the batch with the label 2."""
  fields = dict(
    trunk=SMALL,
    n_references=2,
    augmentation=Augmentation(rotation=0.0),
    criterion=losses.Criterion(prior_size=100),
  )
  detector = jaxad.dra(pseudo="outliers", **fields)
  phase = detector.phases[1]
  outlier = [s for s in phase.streams if s.rows == "outliers"]
  assert [(s.name, s.order, s.required) for s in outlier] == [
    ("outlier", "endless", True)
  ]
  batch = {
    "x": images(6, 32),
    # The last row is normal for want of anomalies, and has no outlier.
    "label": np.int32([0, 0, 0, 0, 1, 0]),
    "reference": images(2, 32, seed=1),
    "outlier": images(4, 32, seed=2),
  }
  state = detector.init(KEY, batch, PLAN)
  chosen = lambda key: phase.draw(key, batch)["views"]["pseudo"].chosen
  rate = jax.vmap(chosen)(jax.random.split(KEY, 500)).mean(0)
  np.testing.assert_allclose(rate, [0.5] * 4 + [0, 0], atol=0.1)
  draws = phase.draw(KEY, batch)
  assert draws["reference"]["pseudo"] is None
  mask = np.asarray(draws["views"]["pseudo"].chosen)
  assert 0 < mask.sum() < 4
  new, metrics = jax.jit(phase.step)(state, batch, draws)
  x, label = batch["x"].copy(), batch["label"].copy()
  x[mask], label[mask] = batch["outlier"][mask[:4]], 2
  plain = jaxad.dra(pseudo="none", **fields).phases[1]
  mixed = {"x": x, "label": label, "reference": batch["reference"]}
  draws = draws | {"views": None}
  want, expected = jax.jit(plain.step)(state, mixed, draws)
  np.testing.assert_allclose(metrics["loss"], expected["loss"], rtol=1e-6)
