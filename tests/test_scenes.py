# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Hyperspectral scenes as data: files, bands, scale, runs, maps of others."""

import json
import os
import pathlib

import numpy as np
import pytest
from scipy import io as of_matlab

import jaxad
from jaxad import data, export, predict, run, splits
from jaxad.bands import Bands
from jaxad.data import fingerprint, scene_files, scenes
from jaxad.data.scenes import SceneOptions
from jaxad.errors import InputError
from jaxad.evaluation.metrics import image_auroc
from jaxad.evaluation.scoring import Scorer


@pytest.fixture
def cube():
  rng = np.random.default_rng(0)
  return rng.integers(-50, 3000, (5, 4, 6)).astype(np.int16)


@pytest.fixture
def truth():
  plane = np.zeros((5, 4), np.uint8)
  plane[1, 2] = plane[4, 0] = 3
  return plane


def loaded(path, **options):
  return data.load("scene", root=path, scene=SceneOptions(**options))


def write_envi(folder, cube, interleave="bsq", kind=2, order=0, **more):
  """Writes a scene as ENVI has it; returns the path of its header."""
  h, w, k = cube.shape
  axes = {"bsq": (2, 0, 1), "bil": (0, 2, 1), "bip": (0, 1, 2)}[interleave]
  dtype = np.dtype({2: "i2", 4: "f4", 5: "f8", 12: "u2"}[kind])
  stored = cube.transpose(axes).astype(dtype.newbyteorder("<>"[order]))
  offset = int(more.get("header offset", 0))
  (folder / "a.raw").write_bytes(bytes(offset) + stored.tobytes())
  fields = {
    "description": "{\n  lines = 7, of another}",
    "samples": w,
    "lines": h,
    "bands": k,
    "data type": kind,
    "interleave": interleave,
    "byte order": order,
    **more,
  }
  text = "".join(f"{name} = {value}\n" for name, value in fields.items())
  (folder / "a.hdr").write_text("ENVI\n" + text)
  return folder / "a.hdr"


@pytest.mark.parametrize("suffix", [".mat", ".npz"])
def test_files_of_named_arrays(cube, truth, tmp_path, suffix):
  path = tmp_path / f"a{suffix}"
  save = of_matlab.savemat if suffix == ".mat" else np.savez
  if suffix == ".mat":
    save(path, {"data": cube, "map": truth, "name": "a"})
  else:
    save(path, data=cube, map=truth)
  found = scene_files.read(path)
  np.testing.assert_array_equal(found.cube, cube)
  np.testing.assert_array_equal(found.truth, truth != 0)
  assert found.cube.dtype == np.int16 and found.cube.dtype.isnative


def test_names_of_arrays(cube, truth, tmp_path):
  path = tmp_path / "a.npz"
  np.savez(path, one=cube, two=2 * cube, found=truth)
  with pytest.raises(InputError, match=r"a.npz: .*scene.variable.*one \[5, 4"):
    scene_files.read(path)
  found = scene_files.read(path, "two")
  np.testing.assert_array_equal(found.cube, 2 * cube)
  assert found.truth is None
  assert scene_files.read(path, "two", "found").truth.sum() == 2
  with pytest.raises(InputError, match="scene.truth=gt: no array"):
    scene_files.read(path, "two", "gt")
  # A file of its own, beside the scene.
  np.save(tmp_path / "gt.npy", truth)
  assert scene_files.read(path, "one", "gt.npy").truth.sum() == 2
  np.save(tmp_path / "gt.npy", truth[:4])
  with pytest.raises(InputError, match="truth has 4 x 4 pixels.* 5 x 4"):
    scene_files.read(path, "one", "gt.npy")


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
@pytest.mark.parametrize(("kind", "order"), [(2, 0), (2, 1), (4, 1), (5, 0)])
def test_envi(cube, tmp_path, interleave, kind, order):
  header = write_envi(
    tmp_path, cube, interleave, kind, order, **{"header offset": 7}
  )
  for path in (header, tmp_path / "a.raw"):
    found = scene_files.read(path)
    np.testing.assert_array_equal(found.cube, cube)
    assert found.cube.dtype.isnative and found.truth is None


def test_what_an_envi_header_says_beside(cube, truth, tmp_path):
  more = {"bbl": "{1, 0, 1,\n 1, 1, 0} ; noisy", "default bands": "{4, 3, 1}"}
  path = write_envi(tmp_path, cube, **more)
  found = scene_files.read(path)
  assert found.bad == (1, 5) and found.colours == (3, 2, 0)
  np.save(tmp_path / "gt.npy", truth)
  train, test = loaded(path, truth="gt.npy")
  assert train.x.shape == (20, 4) and test.label.sum() == 2
  assert loaded(path, bands=("1-6",)).train.x.shape == (20, 6)


@pytest.mark.parametrize(
  ("field", "value", "message"),
  [
    ("data type", 6, "data type = 6: .*real"),
    ("interleave", "bxp", "interleave = bxp: expected bsq, bil or bip"),
    ("byte order", 2, "byte order = 2: expected 0 or 1"),
    ("lines", 6, "a.raw: 240 bytes, and a.hdr says 288"),
    ("lines", "many", "a.hdr: lines = many; expected a whole number"),
  ],
)
def test_a_wrong_envi_header(cube, tmp_path, field, value, message):
  path = write_envi(tmp_path, cube)
  lines = path.read_text().splitlines()
  lines = [f"{field} = {value}" if v.startswith(field) else v for v in lines]
  path.write_text("\n".join(lines))
  with pytest.raises(InputError, match=message) as caught:
    loaded(path)
  assert "\n" not in str(caught.value)


def test_what_is_no_scene(cube, tmp_path):
  path = tmp_path / "a.npy"
  for array, message in (
    (cube[..., 0], r"a.npy: expected a scene, .*an array \[5, 4\]"),
    (np.full((2, 3, 4), np.nan), "4 of its 4 bands have values that"),
    (np.zeros((0, 3, 4)), r"shape \[0, 3, 4\] is empty"),
    (cube.astype(complex), "expected a scene"),
  ):
    np.save(path, array)
    with pytest.raises(InputError, match=message):
      loaded(path)
  path.write_bytes(b"no array")
  with pytest.raises(InputError, match="a.npy: not a file of arrays"):
    loaded(path)
  np.savez(tmp_path / "short.npz", data=cube)
  of_matlab.savemat(tmp_path / "short.mat", {"data": cube})
  for path in (tmp_path / "short.npz", tmp_path / "short.mat"):
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(
      InputError, match=f"{path.name}: (not a file|cannot be)"
    ):
      loaded(path)
  (tmp_path / "a.tif").touch()
  with pytest.raises(InputError, match="expected a scene .*ENVI header"):
    loaded(tmp_path / "a.tif")
  with pytest.raises(InputError, match="a folder; expected a scene"):
    loaded(tmp_path)
  with pytest.raises(InputError, match="no such folder"):
    loaded(tmp_path / "b.mat")
  with pytest.raises(InputError, match="scene.truth: the rendered scene"):
    data.load("scene", scene=SceneOptions(truth="gt"))
  with pytest.raises(InputError, match="n_anomalies=3: a scene"):
    data.load("scene", n_anomalies=3)


def test_pixels_are_rows_and_examples(cube, truth, tmp_path, capsys):
  path = tmp_path / "a.npz"
  np.savez(path, data=cube, gt=truth)
  dataset = loaded(path)
  train, test = dataset
  assert "5 x 4 pixels of 6 bands in a.npz" in capsys.readouterr().err
  assert train.x.shape == (20, 6) and train.x.dtype == np.float32
  assert test.x.shape == (1, 5, 4, 6) and test.noun == "pixels"
  np.testing.assert_array_equal(train.x, test.x.reshape(20, 6))
  # What is trained on has no labels.
  assert train.label.sum() == 0 and test.label.sum() == 2
  np.testing.assert_array_equal(test.label, truth.ravel() != 0)
  assert test.id[6] == "2,3" and test.kind[6] == "target"
  assert list(test.id) == sorted(test.id)
  assert test.mask.shape == (1, 5, 4) and test.mask.max() == 1
  assert test.pixels.picture.shape == (5, 4, 3)
  # The whole scene between 0 and 1.
  assert train.x.min() == 0 and train.x.max() == 1
  np.testing.assert_array_equal(dataset.preprocess.seen(test.raw), test.x)
  # All pixels may set the threshold, and what they are named is stable.
  fields = {"name": "scene", "root": path, "seed": 0}
  found = splits.load(fields, 0.0, 15, jaxad.rx())
  assert len(found.normal.label) == 15 and not found.held_out
  assert found.normal.x.shape == (1, 5, 4, 6)
  with pytest.raises(InputError, match="holdout=0.2: a scene is trained on"):
    splits.load(fields, 0.2, 15, jaxad.rx())
  rows = lambda: fingerprint.rows(
    splits.load(fields, 0.0, 15, jaxad.rx()).by_name()
  )
  before = rows()
  assert before == rows()
  cube[0, 3, 2] += 1
  np.savez(path, data=cube, gt=truth)
  assert "1,4 has another content" in fingerprint.difference(before, rows())


def test_scales(cube):
  of = lambda scale, chosen=range(6): Bands(6, tuple(chosen), scale).fitted(
    cube
  )
  band = of("band").seen(cube)
  np.testing.assert_allclose(band.min((0, 1)), 0, atol=1e-7)
  np.testing.assert_allclose(band.max((0, 1)), 1)
  standard = of("standard").seen(cube)
  np.testing.assert_allclose(standard.mean((0, 1)), 0, atol=1e-6)
  np.testing.assert_allclose(standard.std((0, 1)), 1, rtol=1e-5)
  np.testing.assert_array_equal(of("none").seen(cube), cube)
  # The scale of a whole cube is that of the bands that are seen.
  some = of("cube", (4, 1))
  part = some.seen(cube)
  assert part.shape == (5, 4, 2) and part.min() == 0 and part.max() == 1
  assert Bands.from_json(json.loads(json.dumps(some.to_json()))) == some
  other = np.zeros((2, 3, 7))
  with pytest.raises(InputError, match="7 bands, and training had 6"):
    some.seen(other)
  with pytest.raises(InputError, match="not finite numbers"):
    some.seen(np.full((2, 3, 6), np.inf))
  with pytest.raises(InputError, match="expected some of the 6"):
    Bands(6, (6,))


def test_choosing_bands(cube, tmp_path):
  path = tmp_path / "a.npy"
  np.save(path, cube)
  chosen = lambda **options: loaded(path, **options).preprocess.chosen
  assert chosen(bands=("2-4", "6")) == (1, 2, 3, 5)
  assert chosen(drop=("1", "3-4")) == (1, 4, 5)
  assert chosen(bands=("1-3",), drop=("2",)) == (0, 2)
  for name, given in (
    ("bands", "0"),
    ("bands", "5-7"),
    ("drop", "4-2"),
    ("drop", "x"),
  ):
    message = f"scene.{name}={given}: .*1 to 6"
    with pytest.raises(InputError, match=message):
      chosen(**{name: (given,)})
  with pytest.raises(InputError, match="no band of its 6 is left"):
    chosen(drop=("1-6",))
  # Smooth ones, one of noise alone, and one of one value.
  smooth = np.sin(np.arange(40) / 9)[None, :, None] * np.ones((30, 1, 4))
  smooth[..., 1] = np.random.default_rng(0).normal(size=(30, 40))
  smooth[..., 3] = 7
  share = scenes.noise_share(smooth)
  assert share[0] < 0.01 and share[1] > 0.9 and share[3] == 1
  np.save(path, smooth)
  assert chosen(max_noise=0.5) == (0, 2)


def test_the_rendered_scene():
  a, b, c = (scenes.rendered(seed) for seed in (0, 0, 1))
  np.testing.assert_array_equal(a.cube, b.cube)
  assert (a.cube != c.cube).any() and a.cube.shape == (64, 64, 60)
  assert 12 <= a.truth.sum() <= 108
  assert np.isfinite(a.cube).all()


# RX.


def test_rx_is_numpys(cube, tmp_path):
  """On a scene, after a fit in batches of which the last is padded."""
  scene = scenes.rendered(0)
  path = tmp_path / "a.npz"
  np.savez(path, data=scene.cube, map=scene.truth)
  dataset = loaded(path)
  x = np.float64(dataset.train.x)
  d, c = x - x.mean(0), np.cov(x.T, bias=True)
  c = c + 1e-3 * np.trace(c) / len(c) * np.eye(len(c))
  want = np.einsum("ij,jk,ik->i", d, np.linalg.inv(c), d)
  scores = rx_scores(dataset, 1000, ridge=1e-3)
  np.testing.assert_allclose(scores.image, want, rtol=1e-3)
  np.testing.assert_array_equal(scores.map.ravel(), scores.image)


def rx_scores(dataset, batch_size, **keywords):
  import jax

  detector = jaxad.rx(**keywords)
  plan = jaxad.make_plan(detector, dataset, batch_size=batch_size)
  state = detector.init(jax.random.key(0), {"x": dataset.train.x[:1]}, plan)
  state = jaxad.fit(detector, state, dataset, plan)
  return Scorer(detector, 1, jax.random.key(1)).scores(state, dataset.test)


@pytest.mark.parametrize(
  ("name", "auroc"), [("sandiego_plane", 0.9403), ("abu-urban-2", 0.9952)]
)
def test_rx_on_published_scenes(name, auroc):
  root = pathlib.Path(os.environ.get("JAXAD_DATA", ""))
  path = root / "hyperspectral" / f"{name}.mat"
  if not path.is_file():
    pytest.skip(f"JAXAD_DATA has no {path.name} of 100 x 100 pixels")
  dataset = loaded(path)
  scores = rx_scores(dataset, 2000)
  assert image_auroc(dataset.test.label, scores.image) == pytest.approx(
    auroc, abs=5e-5
  )


# A whole run, and maps of other scenes.


@pytest.fixture(scope="module", params=["rx", "hadgan"])
def trained(request, tmp_path_factory):
  """(method, folder of a run on a scene, the scene, its file)."""
  folder = tmp_path_factory.mktemp(request.param)
  scene = scenes.rendered(3)
  cube, truth = scene.cube[:32, :40], scene.truth[:32, :40]
  np.savez(folder / "a.npz", data=cube, map=truth)
  arguments = [
    f"--config={request.param}:scene",
    f"--config.data.root={folder / 'a.npz'}",
    "--config.data.scene.drop=1-3",
    f"--workdir={folder / 'run'}",
  ]
  if request.param == "hadgan":
    arguments += ["--config.train.steps=40", "--config.detector.width=32"]
  assert run.main(arguments) == 0
  return request.param, folder / "run", cube, folder / "a.npz"


@pytest.mark.whole
def test_a_run_on_a_scene(trained):
  method, folder, cube, _ = trained
  results = json.loads((folder / "results.json").read_text())
  assert results["pixel_auroc"] == pytest.approx(results["image_auroc"])
  assert results["pixel_auroc"] > 0.8 and results["n_test"] == 32 * 40
  assert results["threshold_from"] == "training pixels"
  names = {path.name for path in folder.iterdir()}
  assert {"scene.png", "map.npy", "roc_curve.png", "scores.csv"} <= names
  assert "images.png" not in names
  assert np.load(folder / "map.npy").shape == cube.shape[:2]
  if method == "hadgan":
    assert results["image_auroc_by_part"].keys() == {"spatial", "spectral"}


@pytest.mark.whole
def test_maps_of_scenes(trained, tmp_path, capsys):
  method, folder, cube, file = trained
  output = tmp_path / "o"
  command = [f"--run={folder}", f"--output={output}", f"--scene={file}"]
  assert predict.main(command) == 0
  assert "of 1280 pixels are anomalous" in capsys.readouterr().out
  told = json.loads((output / "scores.json").read_text())
  results = json.loads((folder / "results.json").read_text())
  np.testing.assert_array_equal(
    np.load(told["map"]), np.load(folder / "map.npy")
  )
  assert told["pixel_auroc"] == pytest.approx(results["pixel_auroc"])
  assert pathlib.Path(told["picture"]).is_file()
  # Another size, in Python and by the command, and no truth.
  other = tmp_path / "b.npy"
  np.save(other, cube[:20])
  command[2] = f"--scene={other}"
  assert predict.main(command) == 0
  told = json.loads((output / "scores.json").read_text())
  assert np.load(told["map"]).shape == (20, 40) and "pixel_auroc" not in told
  loaded_run = jaxad.load(folder)
  scores = loaded_run.score([cube[:20], other], with_maps=True)
  np.testing.assert_array_equal(scores.map[0], np.load(told["map"]))
  np.testing.assert_array_equal(scores.map[0], scores.map[1])
  # Other bands.
  capsys.readouterr()
  np.save(other, cube[..., :50])
  assert predict.main(command) == 2
  said = capsys.readouterr().err
  assert "b.npy: a scene of shape [32, 40, 50]: 50 bands" in said
  assert "training had 60" in said
  # The run knows its figures of another data set.
  figures = loaded_run.evaluate(
    data.load("scene", root=file, scene=SceneOptions(scale="none"))
  )
  assert figures["pixel_auroc"] == pytest.approx(results["pixel_auroc"])


@pytest.mark.whole
def test_an_exported_scorer_takes_scenes(trained, tmp_path, monkeypatch):
  method, folder, cube, _ = trained
  found = jaxad.load(folder)
  path = tmp_path / "a.jaxad"
  if method == "hadgan":
    with pytest.raises(InputError, match="ends its scores on the host"):
      export.export(found, path)
    return
  monkeypatch.setattr("jaxad.export.PLATFORMS", ("cpu",))
  export.export(found, path)
  scorer = jaxad.load_scorer(path)
  want = found.score([cube], with_maps=True)
  with pytest.raises(InputError, match=r"scene 0: shape \[20, 40, .*32, 40"):
    scorer([cube[:20]])
  got = scorer([cube], with_maps=True)
  np.testing.assert_array_equal(got.image, want.image)
  np.testing.assert_array_equal(got.map[0], want.map[0])


def test_methods_that_take_no_scenes(tmp_path, capsys):
  workdir = tmp_path / "run"
  assert run.main(["--config=adae:scene", f"--workdir={workdir}"]) == 2
  assert (
    "adae does not take the spectra of a scene; expected one of hadgan, rx"
    in capsys.readouterr().err
  )
  assert not workdir.exists()
