# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What a detector sees of an image, and where in the image that was."""

import json

import numpy as np
import pytest
from PIL import Image

from jaxad import resize
from jaxad.errors import InputError
from jaxad.preprocess import Preprocess, window


def pixels(h, w, channels=3, seed=0):
  shape = (h, w, channels)
  return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize(
  ("have", "want"),
  [
    ((50, 70), (32, 32)),
    ((31, 17), (64, 96)),
    ((300, 401), (224, 64)),
    ((7, 5), (1, 1)),
    ((3, 3), (100, 100)),
    ((64, 64), (64, 48)),
  ],
)
def test_numpy_resizes_as_pillow_does(have, want):
  for channels in (1, 3):
    x = pixels(*have, channels)
    pillow, numpy = resize.by_pillow(x, want), resize.by_numpy(x, want)
    assert numpy.dtype == np.uint8 and numpy.shape == (*want, channels)
    np.testing.assert_array_equal(numpy, pillow)
  x = np.float32(np.random.default_rng(0).normal(size=have))
  np.testing.assert_allclose(
    resize.by_numpy(x, want), resize.by_pillow(x, want), atol=1e-6
  )


def test_squash_is_pillows_resize():
  x = pixels(40, 60)
  views, layout = Preprocess((16, 24)).views(x)
  image = Image.fromarray(x).resize((24, 16), Image.Resampling.BILINEAR)
  np.testing.assert_array_equal(views[0], np.asarray(image))
  assert layout.boxes.tolist() == [[0, 0, 40, 60]]
  grey, _ = Preprocess((16, 24), channels=1).views(x)
  np.testing.assert_array_equal(grey[0, ..., 0], np.asarray(image.convert("L")))


@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (40, 80), (33, 47)])
@pytest.mark.parametrize("size", [(20, 20), (20, 40), (40, 20)])
def test_pad_and_crop_keep_the_aspect(shape, size):
  disc = np.hypot(*np.ogrid[-20:20, -20:20]) < 12
  x = np.zeros((*shape, 1), np.uint8)
  top, left = (shape[0] - 40) // 2, (shape[1] - 40) // 2
  if min(shape) >= 40:
    x[top : top + 40, left : left + 40, 0] = disc * np.uint8(255)
  for fit in ("pad", "crop"):
    views, layout = Preprocess(size, channels=1, fit=fit).views(x)
    (t, le, b, r) = layout.boxes[0]
    # One scale for both axes, to a pixel.
    assert abs((b - t) * size[1] - (r - le) * size[0]) <= max(size)
    covers = t <= 0 and le <= 0 and b >= shape[0] and r >= shape[1]
    within = t >= 0 and le >= 0 and b <= shape[0] and r <= shape[1]
    assert covers if fit == "pad" else within
    if min(shape) >= 40 and fit == "pad":
      rows, cols = np.nonzero(views[0, ..., 0] > 127)
      assert abs(np.ptp(rows) - np.ptp(cols)) <= 1


def test_a_padded_image_is_black_around():
  x = np.full((10, 40, 3), 200, np.uint8)
  views, _ = Preprocess((40, 40), fit="pad").views(x)
  assert (views[0, :14] == 0).all() and (views[0, 16:24] == 200).all()


@pytest.mark.parametrize("fit", ["squash", "pad", "crop"])
def test_a_map_comes_back_to_its_place(fit):
  """A bright spot of the image is one of the map, at the image's own size."""
  x = np.zeros((90, 150, 1), np.uint8)
  x[40:50, 80:90] = 255
  found = Preprocess((45, 45), channels=1, fit=fit)
  views, layout = found.views(x)
  back = found.assembled(np.float32(views[..., 0]), layout)
  assert back.shape == (90, 150) and back.dtype == np.float32
  assert np.isnan(back).any() == (fit == "crop")
  y, x = np.unravel_index(np.nanargmax(back), back.shape)
  assert 38 <= y < 52 and 78 <= x < 92


@pytest.mark.parametrize("shape", [(100, 100), (64, 300), (40, 50), (129, 64)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
def test_tiles_cover_an_image(shape, overlap):
  found = Preprocess((32, 32), tile=64, overlap=overlap)
  views, layout = found.views(pixels(*shape))
  assert len(views) == len(layout.boxes)
  seen = np.zeros(shape, bool)
  for top, left, bottom, right in layout.boxes:
    assert bottom - top == right - left == 64
    seen[max(top, 0) : bottom, max(left, 0) : right] = True
  assert seen.all()
  starts = np.unique(layout.boxes[:, 1])
  if len(starts) > 1:
    assert np.diff(starts).max() <= 64 * (1 - overlap) + 1
  # Equal maps of tiles are that map of the image.
  back = found.assembled(np.full((len(views), 8, 8), 3, np.float32), layout)
  np.testing.assert_allclose(back, 3)


def test_tiles_are_parts_of_the_image():
  x = pixels(100, 140)
  views, layout = Preprocess((50, 50), tile=50).views(x)
  for view, box in zip(views, layout.boxes, strict=True):
    np.testing.assert_array_equal(view, window(x, box))


def test_the_score_of_an_image_from_those_of_its_tiles():
  score = np.float32([1, 5, 3])
  assert Preprocess((8, 8), tile=4).of_tiles(score) == 5
  assert Preprocess((8, 8), tile=4, rule="mean").of_tiles(score) == 3


def test_arrays_of_many_kinds():
  x = pixels(8, 8)
  found = Preprocess((8, 8))
  same = lambda image: np.testing.assert_array_equal(
    found.views(image)[0][0], x
  )
  same(x)
  same(np.concatenate([x, x[..., :1]], -1))  # alpha
  same(x / np.float32(255))
  grey, _ = found.views(x[..., 0])
  np.testing.assert_array_equal(grey[0], np.repeat(x[..., :1], 3, -1))
  for wrong in (x[0, 0], x[..., :2], np.zeros((0, 4, 3), np.uint8)):
    with pytest.raises(InputError, match="an image of shape"):
      found.views(wrong)
  for wrong in (x * 2.0, np.uint16(x) * 9, x - 300.0):
    with pytest.raises(InputError, match="expected uint8"):
      found.views(wrong)
  for wrong in (np.nan, np.inf):
    with pytest.raises(InputError, match="finite"):
      found.views(np.full((8, 8), wrong, np.float32))
  deep = Preprocess((8, 8), levels=(0.0, 4095.0))
  # In [0, 1] an image has been scaled already, whatever the camera.
  np.testing.assert_array_equal(deep.views(x / np.float32(255))[0][0], x)
  half = Preprocess((8, 8), levels=(-1.0, 1.0))
  assert (half.views(np.zeros((8, 8), np.float32))[0] == 128).all()
  black = found.views(np.zeros((8, 8), bool))[0]
  assert (black == 0).all()
  assert (found.views(np.ones((8, 8), bool))[0] == 255).all()
  values, _ = deep.views(np.full((8, 8), 2048, np.uint16))
  assert (values == 128).all()


def test_it_survives_json():
  found = Preprocess((8, 12), 1, "pad", (0.0, 4095.0), 64, 0.5, "mean")
  text = json.dumps(found.to_json())
  assert Preprocess.from_json(json.loads(text)) == found
  for wrong in (
    {},
    {**found.to_json(), "size": [8]},
    {**found.to_json(), "fit": "stretch"},
    {**found.to_json(), "levels": [5, 5]},
    {**found.to_json(), "more": 1},
    None,
  ):
    with pytest.raises(InputError):
      Preprocess.from_json(wrong)
