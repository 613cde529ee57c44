# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Networks of the GANs: sizes of the official code, and wrong images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxad.errors import InputError
from jaxad.layers.images import image_noise, standardize, unit_range
from jaxad.methods.adae import AutoEncoder
from jaxad.methods.alocc import Discriminator as AloccDiscriminator
from jaxad.methods.alocc import Refiner
from jaxad.methods.ganomaly import Generator
from jaxad.methods.skip_ganomaly import Discriminator
from jaxad.networks import ocgan
from jaxad.networks.dcgan import Decoder, Encoder, check_images
from jaxad.networks.unet import UNet


def shapes(module, *inputs):
  """(parameters, output) as shapes; nothing is computed."""
  init = lambda *x: module.init_with_output(jax.random.key(0), *x, train=False)
  output, variables = jax.eval_shape(init, *inputs)
  return variables["params"], output


def count(params):
  return sum(leaf.size for leaf in jax.tree.leaves(params))


def images(side, channels, n=2):
  return jnp.zeros((n, side, side, channels))


@pytest.mark.parametrize(
  "side, channels, generator, encoder, decoder, discriminator",
  [
    (32, 3, 3_206_528, 1_068_800, 1_068_928, 663_296),
    (32, 1, 3_200_384, 1_066_752, 1_066_880, 661_248),
    (64, 3, 10_729_856, 3_576_576, 3_576_704, 2_765_568),
    (128, 3, 38_359_424, 12_786_432, 12_786_560, 11_164_416),
  ],
)
def test_ganomaly(side, channels, generator, encoder, decoder, discriminator):
  x = images(side, channels)
  params, (x_hat, z, z_hat) = shapes(Generator(100, 64, 0), x)
  assert count(params) == generator
  assert count(params["encoder_1"]) == count(params["encoder_2"]) == encoder
  assert count(params["decoder"]) == decoder
  assert (x_hat.shape, z.shape, z_hat.shape) == (x.shape, (2, 100), (2, 100))
  params, (logit, features) = shapes(Encoder(1, 64), x)
  assert count(params) == discriminator
  assert (logit.shape, features.shape) == ((2, 1), (2, 4, 4, 8 * side))


@pytest.mark.parametrize(
  "size, of_d", [((28, 28), 270_401), ((45, 45), 271_041)]
)
def test_alocc(size, of_d):
  x = jnp.zeros((2, *size, 1))
  params, refined = shapes(Refiner(16, 16), x)
  assert count(params) == 373_217 and refined.shape == x.shape
  params, logit = shapes(AloccDiscriminator(16), x)
  assert count(params) == of_d and logit.shape == (2,)


@pytest.mark.parametrize("size", [(16, 45), (31, 18), (7, 5)])
def test_a_refined_image_has_the_size_of_the_image(size):
  x = jnp.zeros((2, *size, 3))
  assert shapes(Refiner(4, 6), x)[1].shape == x.shape


@pytest.mark.parametrize(
  "side, channels, width, latent_dim, total",
  [
    (32, 1, 16, 32, 45_769),
    (32, 3, 64, 128, 727_011),
    (32, 1, 64, 128, 725_281),
  ],
)
def test_adae(side, channels, width, latent_dim, total):
  x = images(side, channels)
  params, (x_hat, code) = shapes(AutoEncoder(latent_dim, width), x)
  assert count(params) == total
  assert x_hat.shape == x.shape and code.shape == (2, latent_dim)
  for other in (8, 64):
    x = images(other, channels)
    assert shapes(AutoEncoder(3, 4), x)[1][0].shape == x.shape


def test_extra_layers():
  """Each is a 3x3 convolution and a norm, before or after the first level."""
  x, z = images(16, 1), jnp.zeros((2, 10))
  for make, given in (
    (lambda e: Encoder(10, 8, e), x),
    (lambda e: Decoder(16, 1, 8, e), z),
  ):
    plain, extended = (count(shapes(make(e), given)[0]) for e in (0, 2))
    assert extended - plain == 2 * (9 * 8 * 8 + 2 * 8)


@pytest.mark.parametrize(
  "side, generator, discriminator",
  [
    (32, 16_659_075, 1_069_700),
    (64, 29_244_035, 3_577_476),
    (128, 41_828_995, 12_787_332),
  ],
)
def test_skip_ganomaly(side, generator, discriminator):
  x = images(side, 3)
  params, x_hat = shapes(UNet(64), x)
  assert (count(params), x_hat.shape) == (generator, x.shape)
  params, (logit, f) = shapes(Discriminator(100, 64), x)
  assert count(params) == discriminator
  assert (logit.shape, f.shape) == ((2,), (2, 100))


@pytest.mark.parametrize("width_d, visual", [(8, 17_505), (12, 38_257)])
def test_ocgan(width_d, visual):
  nets = ocgan.make_networks(3, 16, 64, width_d, paper=False, channels=3)
  x, z = images(61, 3), jnp.zeros((2, 1, 1, 16))
  expected = {
    "encoder": ((x,), 1_132_032, z.shape),
    "decoder": ((z, None), 1_132_099, x.shape),
    "visual": ((x,), visual, (2, 1, 1, 1)),
    "latent": ((z,), 13_040, (2, 16)),
    "classifier": ((x,), 1_036_033, (2, 1, 1, 1)),
  }
  for name, (inputs, size, shape) in expected.items():
    params, output = shapes(nets[name], *inputs)
    assert (count(params), output.shape) == (size, shape), name


@pytest.mark.parametrize("depth, side", [(1, 13), (2, 29), (3, 61), (2, 37)])
def test_ocgan_comes_back_to_the_side(depth, side):
  nets = ocgan.make_networks(depth, 4, 4, 4, paper=True, channels=1)
  _, z = shapes(nets["encoder"], images(side, 1))
  assert z.shape[1] == ocgan.feature_sides(side, depth)[-1]
  _, x = shapes(nets["decoder"], z, None)
  assert x.shape == (2, side, side, 1)


@pytest.mark.parametrize("depth, side", [(2, 28), (2, 32), (3, 29), (1, 14)])
def test_ocgan_refuses_other_sides(depth, side):
  with pytest.raises(InputError, match=f"image_size={side}: .*or depth"):
    ocgan.feature_sides(side, depth)


@pytest.mark.parametrize(
  ("shape", "message"),
  [
    ((2, 48, 48, 3), "image_size=48x48: .*power of two, 16 or more"),
    ((2, 32, 64, 3), "image_size=32x64: .*square"),
    ((2, 8, 8, 1), "image_size=8x8: .*16 or more"),
    ((2, 32), r"\(2, 32\): expected \[B, S, S, C\]"),
  ],
)
def test_dcgan_refuses_other_images(shape, message):
  with pytest.raises(InputError, match=message):
    check_images(shape, smallest=16)


def test_ranges():
  pixels = np.array([[0, 51, 255]], np.uint8)
  np.testing.assert_allclose(unit_range(pixels), [[0, 0.2, 1]], rtol=1e-6)
  np.testing.assert_allclose(standardize(pixels), [[-1, -0.6, 1]], rtol=1e-6)
  np.testing.assert_allclose(
    standardize(np.float32([0.1307]), 0.1307, 0.3081), [0], atol=1e-6
  )
  with pytest.raises(InputError, match="int32.*uint8"):
    unit_range(np.zeros(3, np.int32))


def test_noise_belongs_to_the_image():
  x = np.random.default_rng(0).integers(0, 256, (3, 13, 13, 1), np.uint8)
  noise = image_noise(x)
  np.testing.assert_array_equal(image_noise(x[::-1])[::-1], noise)
  np.testing.assert_array_equal(image_noise(x[1:2]), noise[1:2])
  assert (noise[0] != noise[1]).all()
  changed = x.copy()
  changed[0, 6, 6, 0] ^= 1
  assert (image_noise(changed)[0] != noise[0]).all()
