# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""A run as one file: the same bits, on a bare machine, or a clear error."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from test_detector import CASES
from trained_runs import damaged, images_of, write_run

import jaxad
from jaxad import cli, scorer, tensor_file
from jaxad.errors import InputError
from jaxad.export import export

# What a machine that scores need not have.
MISSING = (
  *("PIL", "absl", "chex", "filelock", "flatbuffers", "flax", "matplotlib"),
  *("ml_collections", "optax", "orbax", "safetensors", "sklearn", "tensorflow"),
  *("tensorflow_datasets", "tqdm"),
)


def assert_same(a, b):
  np.testing.assert_array_equal(a.image, b.image)
  assert a.parts.keys() == b.parts.keys()
  for name, part in a.parts.items():
    np.testing.assert_array_equal(part, b.parts[name])
  assert (a.map is None) == (b.map is None)
  for one, other in zip(a.map or (), b.map or (), strict=True):
    np.testing.assert_array_equal(one, other)


# One with a frozen trunk, and one without.
QUICK = ("differnet", "ganomaly")


@pytest.mark.parametrize(
  "method",
  [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.whole)
    for name in jaxad.METHODS
  ],
)
def test_the_scorer_gives_the_bits_of_the_run(method, tmp_path, monkeypatch):
  monkeypatch.setattr("jaxad.export.PLATFORMS", ("cpu",))
  changes = {"test_rotations": "random"} if method == "differnet" else {}
  write_run(tmp_path / "run", method, **changes)
  run = jaxad.load(tmp_path / "run")
  path = tmp_path / "run.jaxad"
  if run.detector.finish is not None:
    with pytest.raises(InputError, match="ends its scores on the host"):
      export(run, path)
    return
  export(run, path)
  found = jaxad.load_scorer(path)
  images = images_of(6)
  assert found.threshold == run.threshold == 0.385
  plain = run.score(images)
  # A forest of few cuts has few scores.
  assert len(set(plain.image.tolist())) >= (2 if method == "iforest" else 6)
  assert np.isfinite(plain.image).all()
  # Batches of the run's own size, the last of them padded, and of another.
  assert_same(found(images), plain)
  if CASES[method].maps:
    assert_same(found(images, True), run.score(images, True))
  other = found(images, batch_size=3)
  np.testing.assert_allclose(other.image, plain.image, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted(jaxad.METHODS.keys() - {"hadgan"}))
def test_the_same_bits_as_xla_compiles_for_users(method, tmp_path):
  """Without the flags by which the tests compile fast."""
  code = f"""if True:
    import pathlib
    import numpy as np
    import jaxad
    from jaxad.export import export
    from trained_runs import images_of, write_run
    changes = {{}}
    if {method!r} == "differnet":
      changes = {{"test_rotations": "random", "n_transforms_test": 2}}
    write_run(pathlib.Path("run"), {method!r}, **changes)
    run = jaxad.load("run")
    export(run, "run.jaxad")
    images = images_of(6)
    with_maps = {CASES[method].maps}
    found = jaxad.load_scorer("run.jaxad")(images, with_maps)
    want = run.score(images, with_maps)
    np.testing.assert_array_equal(found.image, want.image)
    for name, part in want.parts.items():
      np.testing.assert_array_equal(found.parts[name], part)
    for one, other in zip(found.map or (), want.map or (), strict=True):
      np.testing.assert_array_equal(one, other)
  """
  folders = (
    pathlib.Path(jaxad.__file__).parents[1],
    pathlib.Path(__file__).parent,
  )
  environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
  done = subprocess.run(
    [sys.executable, "-c", code],
    env=environment | {"PYTHONPATH": os.pathsep.join(map(str, folders))},
    cwd=tmp_path,
    capture_output=True,
    text=True,
    timeout=600,
    check=False,
  )
  assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
  """(folder of a run, file of its scorer)."""
  home = tmp_path_factory.mktemp("exported")
  write_run(home / "run", "ganomaly")
  path = home / "run.jaxad"
  export(jaxad.load(home / "run"), path)
  return home / "run", path


def test_a_bare_machine(exported, tmp_path):
  """Jax and NumPy (and SciPy, without which there is no jax) are enough."""
  folder, path = exported
  images = images_of(5)
  np.savez(tmp_path / "images.npz", *images)
  code = f"""if True:
    import sys
    sys.modules |= dict.fromkeys({MISSING})
    import numpy as np
    import jaxad
    with np.load("images.npz") as file:
      images = [file[name] for name in file.files]
    scorer = jaxad.load_scorer({str(path)!r})
    found = scorer(images, with_maps=True)
    np.savez("found.npz", found.image, *found.map)
    try:
      scorer(["image.png"])
    except jaxad.InputError as error:
      print(error)
  """
  package = pathlib.Path(jaxad.__file__).parents[1]
  done = subprocess.run(
    [sys.executable, "-W", "error", "-c", code],
    env=os.environ | {"PYTHONPATH": str(package)},
    cwd=tmp_path,
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert "read by PIL, which is not installed" in done.stdout
  want = jaxad.load(folder).score(images, with_maps=True)
  with np.load(tmp_path / "found.npz") as file:
    image, *maps = (file[name] for name in file.files)
  np.testing.assert_array_equal(image, want.image)
  for one, other in zip(maps, want.map, strict=True):
    np.testing.assert_array_equal(one, other)


def test_what_the_file_says(exported):
  folder, path = exported
  found = jaxad.load_scorer(path)
  run = jaxad.load(folder)
  assert found.metadata["method"] == "ganomaly"
  assert found.metadata["config"]["detector"]["width"] == 8
  assert found.metadata["versions"]["jaxad"] == jaxad.__version__
  assert found.metadata["platforms"] == ["cpu", "cuda", "tpu"]
  assert found.preprocess == run.preprocess
  assert found.batch_size == run.batch_size
  images = images_of(3)
  np.testing.assert_array_equal(
    found.predict(images), found(images).image > run.threshold
  )
  # What scoring does not need is not in the file.
  assert path.stat().st_size < 2**20
  arrays, _ = tensor_file.unpacked(path.read_bytes(), path)
  assert not any(name.startswith("params/discriminator") for name in arrays)


def test_each_shape_is_compiled_once(exported, monkeypatch):
  found = jaxad.load_scorer(exported[1])
  lowered = scorer._Program._lowered
  sizes = []

  def counted(self, inputs):
    sizes.append(len(inputs[-1]) if inputs[-1].ndim == 4 else None)
    return lowered(self, inputs)

  monkeypatch.setattr(scorer._Program, "_lowered", counted)
  for batch_size in (4, 2, 4, 2):
    found(images_of(5), batch_size=batch_size)
  assert len(sizes) == 2


def command(folder, path, capsys):
  code = cli.main(["export", "--run", f"{folder}", "--output", f"{path}"])
  return code, capsys.readouterr()


@pytest.mark.whole
def test_what_exists_is_not_lost(exported, tmp_path, capsys):
  folder, path = exported
  before = path.read_bytes()
  # A scorer of the same run may have another threshold.
  assert cli.main(["threshold", f"--run={folder}", "--rule=max"]) == 0
  code, said = command(folder, path, capsys)
  assert code == 0 and "threshold 0.4" in said.out
  assert jaxad.load_scorer(path).threshold == np.float32(0.4)
  path.write_bytes(before)

  other = tmp_path / "notes.txt"
  other.write_text("mine")
  code, said = command(folder, other, capsys)
  assert code == cli.USAGE_ERROR and other.read_text() == "mine"
  assert f"error: --output {other}: it exists" in said.err
  write_run(tmp_path / "run", "ganomaly", latent_dim=6)
  code, said = command(tmp_path / "run", path, capsys)
  assert code == cli.USAGE_ERROR and path.read_bytes() == before
  code, said = command(folder, tmp_path / "no/where.jaxad", capsys)
  assert code == cli.USAGE_ERROR and "there is no folder" in said.err


def refused(path, words):
  with pytest.raises(InputError, match=words) as error:
    jaxad.load_scorer(path)
  assert "\n" not in str(error.value) and str(path) in str(error.value)


@pytest.mark.parametrize(
  "count", [60, pytest.param(1000, marks=pytest.mark.slow)]
)
def test_damage_is_told(exported, tmp_path, count):
  blob = exported[1].read_bytes()
  right = scorer.read_scorer(blob, "")
  path = tmp_path / "damaged.jaxad"
  for seed in range(count):
    path.write_bytes(damaged(blob, seed))
    try:
      metadata, arrays = scorer.read_scorer(path.read_bytes(), path)
    except InputError as error:
      assert "\n" not in str(error) and str(path) in str(error)
    else:
      assert metadata == right[0]
      assert arrays.keys() == right[1].keys()
  for name, content in {
    "empty": b"",
    "huge": b"\xff" * 64,
    "deep": (10**5).to_bytes(8, "little") + b"[" * 10**5,
    "other": b"a text that is long enough to be a header of its own",
  }.items():
    path.write_bytes(content)
    refused(path, "damaged|cut off|not a scorer"), name
  refused(tmp_path / "nothing", "cannot be read")


def rewritten(path, change):
  """The file with other metadata, and a digest that fits."""
  arrays, strings = tensor_file.unpacked(path.read_bytes(), path)
  metadata = json.loads(strings[scorer.METADATA])
  change(metadata, arrays)
  strings = {scorer.METADATA: json.dumps(metadata)}
  digest = scorer.digest(tensor_file.packed(arrays, strings))
  return tensor_file.packed(arrays, strings | {scorer.DIGEST: digest})


def test_a_newer_format_is_told(exported, tmp_path):
  path = tmp_path / "newer.jaxad"
  path.write_bytes(rewritten(exported[1], lambda m, _: m.update(format=2)))
  refused(path, "of format 2.*install a newer one")


def test_another_platform_is_told(exported, tmp_path):
  path = tmp_path / "cuda.jaxad"
  path.write_bytes(
    rewritten(exported[1], lambda m, _: m.update(platforms=["cuda", "tpu"]))
  )
  with pytest.raises(InputError, match="for cuda, tpu, not for cpu"):
    jaxad.load_scorer(path)(images_of(1))


def test_no_program_calls_out_of_xla(exported, tmp_path):
  """What a file could do harm by: XLA calls such a target by its name."""
  target = "xla_ffi_python_cpu_callback"
  image = jax.ShapeDtypeStruct((4,), np.float32)
  called = jax.jit(lambda x: {"image": jax.ffi.ffi_call(target, image)(x)})
  module = jax.export.export(
    called,
    platforms=["cpu"],
    disabled_checks=[jax.export.DisabledSafetyCheck.custom_call(target)],
  )(jax.ShapeDtypeStruct((4, 32, 32, 3), np.uint8)).mlir_module_serialized

  def change(metadata, arrays):
    program = metadata["programs"]["cpu/scores/whole"]
    program["inputs"] = [["x", "uint8", "4,32,32,3"]]
    program["outputs"] = [["image", "float32", "4"]]
    arrays["program/cpu/scores/whole"] = np.frombuffer(module, np.uint8)

  path = tmp_path / "hostile.jaxad"
  path.write_bytes(rewritten(exported[1], change))
  found = jaxad.load_scorer(path)
  with pytest.raises(
    InputError, match="calls functions that a scorer never calls"
  ):
    found(images_of(4))


def test_a_program_of_another_jax_is_told(exported, tmp_path):
  def change(metadata, arrays):
    metadata["versions"]["jax"] = "9.9.9"
    for name in metadata["programs"]:
      arrays[f"program/{name}"] = np.frombuffer(b"ML\xefR", np.uint8)

  path = tmp_path / "other.jaxad"
  path.write_bytes(rewritten(exported[1], change))
  with pytest.raises(InputError, match="cannot run what jax 9.9.9 exported"):
    jaxad.load_scorer(path)(images_of(1))


def test_a_part_on_the_host_is_refused(exported, tmp_path):
  run = jaxad.load(exported[0])
  run.detector = run.detector._replace(finish=lambda scores: scores)
  with pytest.raises(InputError, match="ganomaly: .* on the host"):
    export(run, tmp_path / "run.jaxad")
