# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Image files and masks of every kind, and what is seen of them."""

import zlib

import numpy as np
import pytest
from pictures import pixels, save
from PIL import Image

import jaxad.data
from jaxad.data.decode import decode, decode_mask, defects_at, read_header
from jaxad.data.sources import size_of
from jaxad.errors import InputError
from jaxad.preprocess import Preprocess


def seen(source, size, **keywords):
  """A whole image as a detector sees it, [size, size, 3]."""
  views, _ = Preprocess((size, size), **keywords).views(decode(source))
  return views[0]


# Decoding.


def test_resize_is_that_of_pillow(tmp_path):
  array = pixels(size=50)
  path = save(tmp_path / "a.png", array)
  for size in (17, 50, 64):
    expected = Image.fromarray(array).resize(
      (size, size), Image.Resampling.BILINEAR
    )
    got = seen(path, size)
    np.testing.assert_array_equal(got, np.asarray(expected))
    np.testing.assert_array_equal(seen(path.read_bytes(), size), got)
  assert got.dtype == np.uint8


def test_aspect_ratio_is_not_kept(tmp_path):
  path = save(tmp_path / "a.png", pixels(size=40)[:20])
  assert seen(path, 16).shape == (16, 16, 3)


def test_grey(tmp_path):
  array = pixels(channels=1)
  got = seen(save(tmp_path / "a.png", array), 24)
  np.testing.assert_array_equal(got, np.repeat(array[..., None], 3, axis=-1))


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_alpha_is_dropped(tmp_path, suffix):
  array = pixels(channels=4)
  path = tmp_path / f"a.{suffix}"
  lossless = {"lossless": True, "exact": True} if suffix == "webp" else {}
  save(path, array, **lossless)
  np.testing.assert_array_equal(seen(path, 24), array[..., :3])


def test_grey_with_alpha(tmp_path):
  array = pixels(channels=2)
  got = seen(save(tmp_path / "a.png", array), 24)
  np.testing.assert_array_equal(got[..., 1], array[..., 0])


@pytest.mark.parametrize("transparency", [None, 3, bytes(range(0, 256, 2))])
def test_palette(tmp_path, transparency):
  image = Image.fromarray(pixels(size=24)).quantize(100)
  expected = np.asarray(image.convert("RGB"))
  keywords = {} if transparency is None else {"transparency": transparency}
  image.save(tmp_path / "a.png", **keywords)
  got = seen(tmp_path / "a.png", 24)
  np.testing.assert_array_equal(got, expected)


def test_one_bit(tmp_path):
  array = pixels(channels=1) > 127
  got = seen(save(tmp_path / "a.png", array), 24)
  np.testing.assert_array_equal(got[..., 2], array * 255)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path, suffix):
  array = np.linspace(0, 65535, 24 * 24).astype(np.uint16).reshape(24, 24)
  path = save(tmp_path / f"a.{suffix}", array)
  got = seen(path, 24, levels=(0.0, 65535.0))
  expected = np.round(array / 257).astype(np.uint8)
  np.testing.assert_array_equal(got[..., 0], expected)
  assert len(np.unique(got)) == 256
  # Which values are black and white is known of a set, never of an image.
  with pytest.raises(InputError, match="uint16 from 0 to 65535"):
    seen(path, 24)


def test_pixels_that_are_no_numbers(tmp_path):
  array = np.ones((8, 8), np.float32)
  array[3, 3] = np.nan
  with pytest.raises(InputError, match="a.tif: .*finite"):
    decode(save(tmp_path / "a.tif", array))


def make_deep(root, values, dtype, suffix="png"):
  """Eight training and four test images; half of these have a bright bar."""
  rng = np.random.default_rng(0)
  for k in range(12):
    x = values * (0.4 + 0.1 * rng.random((24, 24)))
    where = "train/good" if k < 8 else "test/good" if k < 10 else "test/bar"
    if k >= 10:
      x[8:12] = values * 0.55
    save(root / where / f"{k}.{suffix}", x.astype(dtype))
  return root


@pytest.mark.parametrize(
  ("values", "dtype", "suffix", "expected"),
  [
    (4095, np.uint16, "png", (0, 4095)),
    (4095, np.uint16, "tif", (0, 4095)),
    (2000, np.uint16, "png", (0, 1023)),  # no training image exceeds it
    (65535, np.uint16, "png", (0, 65535)),
    (4095, np.int32, "tif", (0, 4095)),
    (1.0, np.float32, "tif", (0, 1)),
  ],
)
def test_the_range_of_deep_images_is_that_of_the_set(
  tmp_path, capfd, values, dtype, suffix, expected
):
  make_deep(tmp_path, values, dtype, suffix)
  data = jaxad.data.load("folder", root=tmp_path, image_size=24)
  assert data.preprocess.levels == expected
  # A mean grey of 0.45 of the camera's range, and not of that of the file.
  mean = 255 * 0.45 * values / expected[1]
  assert abs(data.train.x.mean() - mean) < 3
  assert len(np.unique(data.train.x)) > 20
  bar = data.test.x[np.flatnonzero(data.test.label == 1), 8:12]
  assert bar.min() >= data.train.x.max()
  assert f"{expected[1]:g} white" in capfd.readouterr().err


def test_a_range_of_floats_is_that_of_the_training_images(tmp_path):
  make_deep(tmp_path, 300.0, np.float32, "tif")
  data = jaxad.data.load("folder", root=tmp_path, image_size=24)
  assert data.train.x.min() == 0 and data.train.x.max() == 255
  given = jaxad.data.load(
    "folder", root=tmp_path, image_size=24, levels=(0.0, 600.0)
  )
  assert given.preprocess.levels == (0, 600)
  assert abs(given.train.x.mean() - 255 * 0.225) < 2


@pytest.mark.parametrize("mode", [2, 4, 6])
def test_colour_of_sixteen_bits_is_refused(tmp_path, mode):
  """Pillow would read its upper 8 bits: black, of a camera of 12 bits."""
  channels = {2: 3, 4: 2, 6: 4}[mode]
  row = b"\0" + np.full(4 * channels, 4000, ">u2").tobytes()
  chunk = lambda name, data: (
    len(data).to_bytes(4, "big")
    + name
    + data
    + zlib.crc32(name + data).to_bytes(4, "big")
  )
  path = tmp_path / "a.png"
  path.write_bytes(
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", bytes([0, 0, 0, 4, 0, 0, 0, 3, 16, mode, 0, 0, 0]))
    + chunk(b"IDAT", zlib.compress(row * 3))
    + chunk(b"IEND", b"")
  )
  with pytest.raises(InputError, match="a.png: .*16 bits a channel"):
    decode(path)


def test_a_stack_of_pages_is_refused(tmp_path):
  page, small = Image.new("L", (20, 20)), Image.new("L", (5, 5))
  page.save(tmp_path / "a.tif", save_all=True, append_images=[page, page])
  with pytest.raises(InputError, match="a.tif: 3 pages"):
    decode(tmp_path / "a.tif")
  page.save(tmp_path / "b.tif", save_all=True, append_images=[small])
  assert decode(tmp_path / "b.tif").shape == (20, 20, 3)


def test_an_image_too_large_for_pillow(tmp_path, monkeypatch):
  path = save(tmp_path / "a.png", pixels(size=50))
  monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
  with pytest.raises(InputError, match="a.png: more than 0 megapixels; cut"):
    decode(path)
  # WebP takes twice the memory.
  monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4_000_000)
  path = save(tmp_path / "a.webp", pixels(size=1500))
  with pytest.raises(InputError, match="more than 2 megapixels; .*MEGAPIXELS"):
    decode(path)
  monkeypatch.setenv("JAXAD_MEGAPIXELS", "5")
  assert decode(path).shape == (1500, 1500, 3)
  monkeypatch.setenv("JAXAD_MEGAPIXELS", "0")
  with pytest.raises(InputError, match="JAXAD_MEGAPIXELS=0: expected"):
    decode(path)


def test_cmyk_jpeg(tmp_path):
  image = Image.new("CMYK", (24, 24), (0, 255, 255, 0))
  image.save(tmp_path / "a.jpg", quality=100)
  got = seen(tmp_path / "a.jpg", 24).astype(int)
  assert np.abs(got - [255, 0, 0]).max() <= 4


def test_exif_orientation(tmp_path):
  array = np.zeros((24, 24, 3), np.uint8)
  array[:12, :12] = 255
  exif = Image.Exif()
  exif[0x0112] = 6  # To be turned clockwise by a quarter.
  path = save(tmp_path / "a.png", array, exif=exif)
  got = seen(path, 24)
  np.testing.assert_array_equal(got, np.rot90(array, -1))


@pytest.mark.parametrize(
  ("values", "dtype"),
  [
    ((1, 1), np.uint8),
    ((2, 2), np.uint8),
    ((1, 2), np.uint8),
    ((255, 3), np.uint8),
    ((1, 65535), np.uint16),
  ],
)
def test_every_value_of_a_mask_but_black_is_a_defect(tmp_path, values, dtype):
  mask = np.zeros((24, 24), dtype)
  mask[3:9, 5:20], mask[20:] = values
  path = save(tmp_path / "a.png", mask)
  np.testing.assert_array_equal(decode_mask(path), mask > 0)
  # Where a threshold is given, it is exceeded or not.
  np.testing.assert_array_equal(decode_mask(path, 2), mask > 2)


def test_a_jpeg_blurs_its_mask(tmp_path):
  mask = np.zeros((64, 64), np.uint8)
  mask[21:40, 19:43] = 255
  path = save(tmp_path / "a.jpg", mask, quality=60)
  assert (np.asarray(Image.open(path)) > 0).sum() > 1.1 * (mask > 0).sum()
  np.testing.assert_array_equal(decode_mask(path), mask > 0)


def test_masks_of_class_numbers_count(tmp_path, capfd):
  for kind, value in (("cut", 1), ("hole", 2)):
    save(tmp_path / "test" / kind / "0.png")
    mask = np.zeros((24, 24), np.uint8)
    mask[:4] = value
    save(tmp_path / "ground_truth" / kind / "0_mask.png", mask)
  save(tmp_path / "train" / "good" / "0.png")
  save(tmp_path / "test" / "good" / "0.png")
  test = jaxad.data.load("folder", root=tmp_path, image_size=24).test
  assert test.mask.sum((1, 2)).tolist() == [96, 0, 96]
  assert "masks without" not in capfd.readouterr().err
  # One that shows nothing is told, and one of another form.
  load = lambda: jaxad.data.load(
    "folder", root=tmp_path, image_size=24, mask_threshold=1
  )
  assert load().test.mask.sum((1, 2)).tolist() == [0, 0, 96]
  assert "masks without a defect: test/cut/0.png" in capfd.readouterr().err
  save(
    tmp_path / "ground_truth" / "cut" / "0_mask.png",
    np.eye(24, 40, dtype=np.uint8) * 9,
  )
  load()
  said = capfd.readouterr().err
  assert "masks of another aspect than their images: test/cut/0.png" in said
  # It may be black on white.
  save(
    tmp_path / "ground_truth" / "cut" / "0_mask.png",
    np.full((24, 24), 9, np.uint8),
  )
  load()
  said = capfd.readouterr().err
  assert "masks that mark nearly the whole image: test/cut/0.png" in said


def test_a_mask_is_resized_by_nearest_neighbour():
  mask = pixels(channels=1, size=30) > 40
  binary = Image.fromarray(mask.astype(np.uint8))
  for size in ((30, 30), (45, 50)):
    expected = binary.resize(size[::-1], Image.Resampling.NEAREST)
    np.testing.assert_array_equal(defects_at(mask, size), np.asarray(expected))


@pytest.mark.parametrize("at", [(100, 7), (1203, 17), (3979, 2979), (2000, 9)])
def test_no_defect_vanishes_from_a_smaller_mask(at):
  mask = np.zeros((4000, 3000), bool)
  mask[at[0] : at[0] + 20, at[1] : at[1] + 20] = True
  found = defects_at(mask, (160, 160))
  y, x = np.nonzero(found)
  assert 1 <= len(y) <= 4
  assert abs(y[0] * 25 - at[0]) < 30 and abs(x[0] * 18.75 - at[1]) < 30
  # A large one is not enlarged.
  mask[1000:2000, 1000:2000] = True
  assert abs(int(defects_at(mask, (160, 160)).sum()) - 40 * 53) < 120


def test_mask_of_colour_or_one_bit(tmp_path):
  mask = pixels(channels=1) > 127
  save(tmp_path / "a.png", mask)
  save(tmp_path / "b.png", np.repeat(mask[..., None], 3, -1) * np.uint8(255))
  for name in ("a.png", "b.png"):
    got = decode_mask(tmp_path / name)
    np.testing.assert_array_equal(got, mask)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp", "webp"])
def test_truncated_file_is_an_error_that_names_it(tmp_path, suffix):
  path = save(tmp_path / f"broken.{suffix}", pixels(size=64))
  path.write_bytes(path.read_bytes()[:-800])
  with pytest.raises(InputError, match=r"broken\." + suffix):
    seen(path, 24)


def test_empty_and_foreign_files(tmp_path):
  (tmp_path / "a.png").touch()
  (tmp_path / "b.png").write_text("no image")
  with pytest.raises(InputError, match="a.png: empty file"):
    seen(tmp_path / "a.png", 8)
  with pytest.raises(InputError, match="b.png: not an image file"):
    seen(tmp_path / "b.png", 8)


def test_header(tmp_path):
  exif = Image.Exif()
  exif[0x0112] = 6
  path = save(tmp_path / "a.png", pixels(size=24)[:10], exif=exif)
  assert read_header(path) == ((24, 10), False)
  assert decode(path).shape == (24, 10, 3)
  path = save(tmp_path / "b.png", np.zeros((5, 6), np.uint16))
  assert read_header(path.read_bytes()) == ((5, 6), True)


@pytest.mark.parametrize("size", [0, -3, 2.5, "big", (64, 0), (1, 2, 3), None])
def test_wrong_image_size(size):
  with pytest.raises(InputError, match=r"^(image_)?size="):
    jaxad.data.load("folder", image_size=size)


def test_image_size_of_two_numbers(tmp_path):
  assert size_of((64, 48)) == (64, 48) and size_of(np.int64(64)) == (64, 64)
  for split in ("train", "test"):
    save(tmp_path / split / "good" / "a.png", pixels(size=40)[:30])
  data = jaxad.data.load("folder", root=tmp_path, image_size=(16, 20))
  assert data.train.x.shape == (1, 16, 20, 3)
  assert data.preprocess.size == (16, 20)
