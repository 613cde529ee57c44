# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The benchmarks run, and compare the same computation."""

import importlib
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxad
from jaxad.methods.differnet import pooled_features
from jaxad.methods.dra import HEADS
from jaxad.networks.trunk import make_trunk

ROOT = pathlib.Path(__file__).parents[1]
GOLDENS = ROOT / "tests" / "equivalence" / "goldens"


@pytest.fixture
def load(monkeypatch):
  """Returns a function that imports a module of the benchmarks."""
  monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
  return importlib.import_module


def run_benchmark(*arguments, script="differnet"):
  return run_python(str(ROOT / "benchmarks" / f"{script}.py"), *arguments)


def run_python(*arguments):
  # The tree itself, whether jaxad is installed or not.
  paths = [
    str(ROOT),
    str(ROOT / "benchmarks"),
    os.environ.get("PYTHONPATH", ""),
  ]
  return subprocess.run(
    [sys.executable, *arguments],
    capture_output=True,
    text=True,
    env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
  )


@pytest.mark.whole
def test_small_run_writes_rows(tmp_path):
  file = tmp_path / "rows.json"
  result = run_benchmark(
    *("--small", "--workloads=W3", "--repeats=2", "--device=cpu"),
    f"--json={file}",
  )
  assert result.returncode == 0, result.stderr
  assert "compare with no others" in result.stdout
  assert list(tmp_path.iterdir()) == [file]
  found = json.loads(file.read_text())
  assert "CPU threads" in found["machine"]
  assert "--workloads=W3" in found["command"]
  rows = {row["implementation"]: row for row in found["rows"]}
  with_torch = importlib.util.find_spec("torch") is not None
  assert set(rows) == ({"jaxad", "pytorch"} if with_torch else {"jaxad"})
  for row in rows.values():
    assert row["workload"] == "W3-small"
    assert row["median_ms"] > 0
  assert rows["jaxad"]["compile_s"] > 0
  if with_torch:
    assert rows["pytorch"]["compile_s"] == 0
    assert rows["jaxad"]["ratio_to_pytorch"] == pytest.approx(
      rows["pytorch"]["median_ms"] / rows["jaxad"]["median_ms"]
    )
  else:
    assert rows["jaxad"]["ratio_to_pytorch"] is None


@pytest.mark.whole
def test_rates_are_those_of_the_batch(tmp_path):
  file = tmp_path / "rows.json"
  result = run_benchmark(
    *("--small", "--workloads=G5", "--repeats=1", "--device=cpu"),
    f"--json={file}",
    script="gan",
  )
  assert result.returncode == 0, result.stderr
  rows = json.loads(file.read_text())["rows"]
  assert rows[0]["implementation"] == "jaxad"
  for row in rows:
    per_ms = row["items_per_s"] / 1000
    assert per_ms * row["median_ms"] == pytest.approx(4)  # the small batch


def test_times_are_those_of_one_step(load):
  harness = load("harness")

  class Connection:
    """The parent's end and the worker's in one: two orders, then the end."""

    def __init__(self):
      self.orders, self.answers = ["run", "run"], []

    def recv(self):
      if not self.orders:
        raise EOFError
      return self.orders.pop()

    def send(self, answer):
      self.answers.append(answer)

  ran = []
  make = lambda workload, options: harness.Program(
    lambda: ran.append(workload), 0.0, "cpu", "", steps=16
  )
  connection = Connection()
  harness._serve(connection, make, "W", None)
  program, *times = connection.answers
  assert (program.steps, program.run) == (16, None)
  assert len(ran) == 3  # one of them to warm up
  worker = object.__new__(harness.Worker)
  worker.program, worker._connection = program, Connection()
  worker._receive = lambda: (32.0, 64.0)
  assert len(times) == 2
  assert worker.run() == (2.0, 4.0)


# One of the scores; all others take long to compile.
@pytest.mark.whole
@pytest.mark.parametrize(
  "workload",
  ["G6"]
  + [
    pytest.param(name, marks=pytest.mark.slow)
    for name in ("G1", "G2", "G3", "G4", "G5", "G7")
  ],
)
def test_small_gans_run(load, workload):
  gan, harness = load("gan"), load("harness")
  options = harness.Options(small=True, tf32=False, bfloat16=False)
  makes = [gan.make_jaxad]
  if importlib.util.find_spec("torch") is not None:
    makes.append(gan.make_pytorch)
  for make in makes:
    program = make(workload, options)
    assert program.items == (2 if workload in ("G3", "G4", "G7") else 4)
    program.run()


@pytest.mark.whole
def test_small_alad_runs(load):
  alad, harness = load("alad"), load("harness")
  options = harness.Options(small=True, tf32=False, bfloat16=False)
  makes = [alad.make_jaxad]
  if importlib.util.find_spec("torch") is not None:
    makes.append(alad.make_pytorch)
  for make in makes:
    program = make("L1", options)
    assert (program.items, program.steps) == (4, 1)
    program.run()


@pytest.mark.whole
def test_small_searches_run(load):
  anogan, harness = load("anogan"), load("harness")
  options = harness.Options(small=True, tf32=False, bfloat16=False)
  makes = [anogan.make_jaxad, anogan.make_one_by_one]
  if importlib.util.find_spec("torch") is not None:
    makes.append(anogan.make_pytorch)
  for make in makes:
    program = make("A1", options)
    assert (program.items, program.steps) == (4, 2)
    program.run()


@pytest.mark.whole
@pytest.mark.parametrize(("workload", "items"), [("F1", 8), ("F2", 4)])
def test_small_fanogan_runs(load, workload, items):
  fanogan, harness = load("fanogan"), load("harness")
  options = harness.Options(small=True, tf32=False, bfloat16=False)
  makes = [fanogan.make_jaxad]
  if importlib.util.find_spec("torch") is not None:
    makes.append(fanogan.make_pytorch)
  for make in makes:
    program = make(workload, options)
    assert program.items == items
    program.run()


# One of the scores, as above. D1's losses are compared below.
@pytest.mark.whole
@pytest.mark.parametrize(
  "workload",
  ["D4"]
  + [
    pytest.param(name, marks=pytest.mark.slow)
    for name in ("D1", "D2", "D3", "D5")
  ],
)
def test_small_dra_runs(load, workload):
  dra, harness = load("dra"), load("harness")
  options = harness.Options(small=True, tf32=False, bfloat16=workload == "D3")
  makes = [dra.make_jaxad]
  if importlib.util.find_spec("torch") is not None:
    makes.append(dra.make_pytorch)
  for make in makes:
    program = make(workload, options)
    assert program.items == 6
    program.run()


def test_dra_workloads_have_the_official_sizes(load):
  dra, harness = load("dra"), load("harness")
  options = harness.Options(small=False, tf32=False, bfloat16=False)
  for workload, method, batch, kinds in (
    ("D1", "dra", 48, [16, 16, 16]),
    ("D2", "dra", 12, [4, 4, 4]),
    ("D4", "devnet", 48, [24, 24]),
  ):
    chosen, sizes = dra.setting(workload, options)
    assert (chosen, sizes.batch, sizes.side) == (method, batch, 448)
    arrays = dra.make_batch(chosen, sizes._replace(side=2))
    assert np.bincount(arrays["label"]).tolist() == kinds
    assert ("reference" in arrays) == (method == "dra")


def test_bad_arguments_are_refused_before_measuring(tmp_path):
  for argument in (
    "--workloads=W9",
    "--repeats=0",
    f"--json={tmp_path / 'missing' / 'rows.json'}",
  ):
    result = run_benchmark(argument)
    assert result.returncode == 2
    assert argument[: argument.index("=")] in result.stderr


LOOPS = ["differnet"] + [
  pytest.param(name, marks=pytest.mark.slow) for name in ("ganomaly", "dra")
]


@pytest.mark.whole
@pytest.mark.parametrize("workload", LOOPS)
def test_small_loop_writes_a_row_without_tensorflow(tmp_path, workload):
  """On two devices, which share the batch of the bare step as the loop's."""
  file = tmp_path / "rows.json"
  result = run_python(
    "-c",
    "import sys, loop; loop.main(); assert 'tensorflow' not in sys.modules",
    *("--small", f"--workloads={workload}", "--rounds=2", "--devices=2"),
    f"--json={file}",
  )
  assert result.returncode == 0, result.stderr
  assert "compare with no others" in result.stdout
  row, *data = json.loads(file.read_text())["rows"]
  assert [d["pixels"] for d in data] == [224, 448]
  assert all(d["decoded_per_s"] > 0 and d["read_per_s"] > 0 for d in data)
  assert (row["workload"], row["devices"]) == (f"{workload}-small", 2)
  assert row["bare_ms"] > 0
  lost = 100 * (row["loop_ms"] - row["bare_ms"]) / row["bare_ms"]
  assert row["lost_percent"] == pytest.approx(lost)


@pytest.mark.whole
@pytest.mark.parametrize("workload", LOOPS)
def test_the_bare_step_is_that_of_the_loop(load, workload):
  loop = load("loop")
  detector, data = loop.make_workload(workload, small=True)
  plan = jaxad.make_plan(
    detector, data, batch_size=8 * 3, drop_remainder=True, steps=1
  )

  def make_state():
    state = detector.init(jax.random.key(0), {"x": data.x[:1]}, plan)
    # Past what is fitted before.
    return state.replace(phase=jnp.int32(len(detector.phases) - 1))

  expected = jaxad.fit(detector, make_state(), data, plan)
  state = loop.bare_dispatch(detector, data, plan)(make_state())
  chex.assert_trees_all_close(state.params, expected.params, atol=1e-6)
  moved = jax.tree.map(
    lambda a, b: np.abs(a - b).max(), state.params, make_state().params
  )
  assert max(jax.tree.leaves(moved)) > 1e-5


@pytest.fixture
def official(load):
  pytest.importorskip("torch")
  return load("pytorch_differnet")


def state_dict(tree, prefix=""):
  """Flax parameters in the names and layouts of the PyTorch model."""
  tensors = {}
  for name, value in tree.items():
    # "features.0" of the trunk is its entry 0, "coupling_0" that of the flow.
    name = name.removeprefix("features.").removeprefix("coupling_")
    if isinstance(value, dict):
      tensors |= state_dict(value, f"{prefix}{name}.")
    elif name == "kernel":
      kernel = np.moveaxis(np.asarray(value), (-1, -2), (0, 1))
      tensors[f"{prefix}weight"] = kernel
    else:
      tensors[f"{prefix}{name}"] = np.asarray(value)
  return tensors


@pytest.mark.parametrize("frozen", [False, True])
def test_both_sides_take_the_same_step(official, frozen):
  import torch

  detector = jaxad.differnet(weights="random", n_blocks=2, hidden=16)
  x = np.random.default_rng(0).standard_normal((4, 256, 256, 3), np.float32)
  state = detector.init(jax.random.key(0), {"x": x})
  model = official.DifferNet(n_blocks=2, hidden=16)
  tensors = {k: torch.tensor(v) for k, v in state_dict(state.params).items()}
  model.load_state_dict(tensors)
  optimizer = official.make_optimizer(model)
  views = torch.tensor(x.transpose(0, 3, 1, 2))
  loss = official.train(
    lambda: official.image_loss(model, views, frozen), optimizer
  )

  @jax.jit
  def step(state, x):
    variables = {"params": state.params["trunk"]}
    y = pooled_features(make_trunk("alexnet"), variables, x, 3)
    return detector.phases[0].step(state, {"x": y[:, None]}, None)

  stepped, metrics = step(state, jnp.asarray(x))
  np.testing.assert_allclose(loss, metrics["loss"], rtol=1e-5)
  assert (model.trunk[0].weight.grad is None) == frozen
  parameters = dict(model.named_parameters())
  expected = state_dict(stepped.params)
  assert set(parameters) == set(expected)
  moved = 0.0
  for name, value in expected.items():
    got = parameters[name].detach().numpy()
    # The first step of Adam moves a parameter by at most the learning rate.
    np.testing.assert_allclose(got, value, rtol=0, atol=2e-4 * 1e-3)
    moved = max(moved, np.abs(value - tensors[name].numpy()).max())
  assert moved > 1e-4


def test_both_sides_score_alike(official):
  import torch

  detector = jaxad.differnet(
    weights="random", n_blocks=2, hidden=16, n_transforms_test=4
  )
  y = np.random.default_rng(0).standard_normal((4, 768), np.float32)
  state = detector.init(jax.random.key(0), {"x": y})
  model = official.DifferNet(n_blocks=2, hidden=16)
  flow = {k: torch.tensor(v) for k, v in state_dict(state.params).items()}
  model.load_state_dict(flow, strict=False)
  _, loss, score = official.score(lambda: model.loss(torch.tensor(y)))
  scores = detector.score(state, jnp.asarray(y[None]), None)
  np.testing.assert_allclose(loss, scores.parts["nll"][0], rtol=1e-5)
  np.testing.assert_allclose(score, scores.image[0], rtol=1e-5)


# The methods of the PyTorch side against recordings of the official code, which
# jaxad's are compared with in tests/equivalence.


@pytest.fixture
def double():
  torch = pytest.importorskip("torch")
  default = torch.get_default_dtype()
  torch.set_default_dtype(torch.float64)
  yield
  torch.set_default_dtype(default)


@pytest.fixture
def official_gan(load, double):
  return load("pytorch_gan")


def load_recording(method):
  import torch

  with np.load(GOLDENS / method / "golden.npz") as arrays:
    return {
      k: torch.tensor(arrays[k], dtype=torch.float64)
      for k in arrays
      if not k.startswith("hp/")  # some are names
    }


def group(recording, prefix):
  return {
    k.removeprefix(prefix): v
    for k, v in recording.items()
    if k.startswith(prefix)
  }


def variables(network):
  """Parameters and running statistics, in the order of the recordings."""
  return [
    v
    for k, v in network.state_dict().items()
    if not k.endswith("num_batches_tracked")
  ]


def fill(networks, names, recording, prefix="param/"):
  for network, name in zip(networks, names, strict=True):
    values = group(recording, f"{prefix}{name}.").values()
    for variable, value in zip(variables(network), values, strict=True):
      variable.copy_(value)


def assert_moved_alike(
  networks, names, recording, prefix, statistics, atol=2e-7
):
  """After few steps of length 2e-4, so to a thousandth of a step."""
  for network, name in zip(networks, names, strict=True):
    expected = group(recording, f"{prefix}{name}.")
    for variable, (key, value) in zip(
      variables(network), expected.items(), strict=True
    ):
      if statistics or "running" not in key:
        np.testing.assert_allclose(
          variable, value, rtol=1e-5, atol=atol, err_msg=f"{name}.{key}"
        )


@pytest.mark.parametrize("method", ["ganomaly", "skip_ganomaly"])
def test_ganomaly_is_the_official_one(official_gan, method):
  import torch

  recording, names = load_recording(method), ("netG", "netD")
  if method == "ganomaly":
    model = official_gan.Ganomaly(32, 3, 10, 8)
  else:
    model = official_gan.SkipGanomaly(32, 3, 10, 4, 4)
  fill(model.networks, names, recording)
  for k in (1, 2, 3):
    losses = model.train_step(recording[f"input/x{k}"])
    for loss, name in zip(losses, ("err_g", "err_d"), strict=True):
      expected = recording[f"loss/step{k}/{name}"]
      np.testing.assert_allclose(loss.detach(), expected, rtol=1e-6)
  assert_moved_alike(model.networks, names, recording, "after3/", True)
  scores = [model.score(x) for x in recording["score/x"].split(4)]
  np.testing.assert_allclose(
    torch.cat(scores), recording["score/batchstat_raw"], rtol=1e-5
  )


def test_anogan_searches_as_recorded(load, double):
  import torch

  official, recording = load("pytorch_anogan"), load_recording("anogan")
  with np.load(GOLDENS / "anogan" / "golden.npz") as arrays:
    hp = {k[3:]: arrays[k].item() for k in arrays if k.startswith("hp/")}
  param = lambda name: recording[f"param/{name}"]
  generator, discriminator = (
    [param(f"{network}/{layer}").shape[axis] for layer, axis in layers]
    for network, layers in {
      "generator": [
        ("layer_1/fc/bias", 0),
        ("layer_3/conv/kernel", 3),
        ("layer_3/conv/bias", 0),
      ],
      "discriminator": [
        (f"layer_{k}/bias", 0) for k in ("1/conv", "2/conv", "3/fc")
      ],
    }.items()
  )
  x, z0 = (recording[f"input/score0/{name}"] for name in ("x", "z0"))
  _, side, _, channels = x.shape
  numbered = lambda name, n: [hp[f"search_{name}_{k}"] for k in range(n)]
  model = official.AnoGan(
    *(side, channels, z0.shape[1], generator, discriminator),
    lam=hp["score_weight"],
    rates=numbered("lr", 3),
    boundaries=numbered("boundary", 2),
  )
  for network, name in zip(
    model.networks, ("generator", "discriminator"), strict=True
  ):
    averages = "ema_after3" if name == "generator" else "after3"
    for key, variable in network.state_dict().items():
      layer, leaf = key.split(".")
      kind, number = layer[:-1], layer[-1]
      if leaf == "num_batches_tracked":
        continue
      scope = {"bn": "batch_normalization"}.get(kind, kind)
      theirs = {"running_mean": "moving_mean", "running_var": "moving_variance"}
      if kind == "bn":
        theirs |= {"weight": "gamma", "bias": "beta"}
      leaf = theirs.get(leaf, "kernel" if leaf == "weight" else leaf)
      group_of = "after3" if leaf.startswith("moving") else averages
      value = recording[f"{group_of}/{name}/layer_{number}/{scope}/{leaf}"]
      if value.ndim == 2:
        value = value.T
      elif value.ndim == 4:
        value = value.permute(3, 2, 0, 1)
      variable.copy_(value)
  scores, z = model.search(x.permute(0, 3, 1, 2), z0, hp["search_steps"])
  np.testing.assert_allclose(scores, recording["score0/final"], rtol=1e-4)
  want = recording[f"score0/z_after{hp['search_steps']}"]
  assert torch.abs(z - want).max() < 1e-4


@pytest.mark.parametrize("mine", [False, True])
def test_ocgan_is_the_official_one(official_gan, mine):
  """One step; of the next, other running variances are a part."""
  import torch

  recording = load_recording("ocgan")
  draws = group(recording, "mine/input/step0/" if mine else "input/step0/")
  model = official_gan.Ocgan(3, 6, 4, 3, lambda_rec=10.0)
  names = ("En", "De", "D", "D2", "SD")
  fill(model.networks, names, recording)
  uniform = ["mu_unused", "real_latent", "mu", "eps"]
  masks = ["mine", "D_eps", "SD_eps", "G_rec", "G_eps2"]
  if not mine:
    uniform, masks = ["mu", "real_latent", "eps"], masks[1:]
  model._uniform = lambda like: draws[uniform.pop(0)]

  class Dropout(torch.nn.Module):
    def forward(self, x):
      return 2 * x * draws[f"dropout_{masks.pop(0)}"] if self.training else x

  model.decoder[7 + 1] = Dropout()
  x = group(recording, "input/step0/")
  model.train_step(x["real_in"], x["real_out"], mine)
  assert not uniform and not masks
  if not mine:
    assert_moved_alike(model.networks, names, recording, "after1/", False)
    return
  recorded = [i for i, name in enumerate(names) if name not in ("D", "D2")]
  expected = group(recording, "mine/after1/")
  moved = [model.networks[i] for i in recorded]
  names = [names[i] for i in recorded]
  # Where the recording, in float32, has gradients near zero.
  assert_moved_alike(moved, names, expected, "", False, atol=4e-6)


@pytest.mark.parametrize("method", ["dra", "devnet"])
def test_dra_is_the_official_one(load, double, method):
  official, recording = load("pytorch_dra"), load_recording(method)

  def recorded(prefix):
    tensors = {}
    for name, value in group(recording, prefix).items():
      name = name.replace("feature_extractor.net.", "trunk.")
      name = re.sub(r"^conv\.", "head.scoring.", name)  # DevNet
      tensors[re.sub(r"^(\w+)_head\.", r"heads.\1.", name)] = value
    return tensors

  make = official.Dra if method == "dra" else official.DevNet
  model = make(width=4, top_k=float(recording["input/cfg_topk"]))
  model.load_state_dict(recorded("param/"))
  means, stds = (recording[f"input/ref_{k}"].flatten() for k in ("mean", "std"))
  priors = iter(zip(means, stds, strict=True))  # of one loss after the other
  model.prior = lambda like: next(priors)
  references = lambda k: (
    (recording["input/ref_images"][k],) if method == "dra" else ()
  )
  losses = "loss/train_heads" if method == "dra" else "loss/train"
  for k in range(3):
    x, label = recording["input/images"][k], recording["input/labels"]
    loss = model.train_step(*references(k), x, label)
    np.testing.assert_allclose(loss, recording[losses][k], rtol=1e-6)
  assert next(priors, None) is None
  expected = recorded("after3/")
  for name, value in model.state_dict().items():
    np.testing.assert_allclose(
      value, expected[name], rtol=1e-5, atol=2e-7, err_msg=name
    )
  scores = model.score(*references(0), recording["input/test_images"])
  np.testing.assert_allclose(scores, recording["score/total"], rtol=1e-6)


def test_both_sides_of_dra_have_the_same_losses(load):
  """On the batch of the benchmark: no augmentation, the same images."""
  torch = pytest.importorskip("torch")
  dra, harness = load("dra"), load("harness")
  options = harness.Options(small=True, tf32=False, bfloat16=False)
  batch = dra.make_batch(*dra.setting("D1", options))
  detector = dra.make_detector("D1", options)
  state = detector.init(jax.random.key(0), batch)

  model = dra.make_model("D1", options)
  model.prior = lambda like: (0.0, 1.0)
  parts = {
    r"heads\.fc": "heads.holistic.fc",
    r"heads\.conv\.": "heads.composite.conv.0.",
    r"heads\.norm\.": "heads.composite.conv.1.",
    r"\.scale$": ".weight",
  }
  tensors = {}
  for name, value in state_dict(state.params).items():
    for ours, theirs in parts.items():
      name = re.sub(ours, theirs, name)
    tensors[name] = torch.tensor(value)
  missing, unexpected = model.load_state_dict(tensors, strict=False)
  assert not unexpected
  assert all("running" in k or "num_batches" in k for k in missing)

  phase = detector.phases[-1]
  draws = phase.draw(jax.random.key(1), batch)
  draws["prior"] = jnp.zeros(4), jnp.ones(4)
  expected = jax.jit(
    lambda *args: [phase.step(*args)[1][name] for name in HEADS]
  )(state, batch, draws)
  losses = model.train_step(*dra.make_inputs(batch, "cpu"))
  np.testing.assert_allclose(losses, expected, rtol=1e-4)


# f-AnoGAN, whose recording is of grey images of 64 pixels.


def fill_fanogan(network, name, recording):
  """PyTorch's parameters from "name.Res1.Conv1.Filters" and the like."""
  import torch

  layers = {"input": "Input", "output": "Output", "norm": "OutputN"}
  layers |= {"norm1": "BN1", "norm2": "BN2", "conv1": "Conv1"}
  layers |= {"conv2": "Conv2", "shortcut": "Shortcut"}
  leaves = {"weight": ("Filters", "W", "gamma", "scale")}
  leaves |= {"bias": ("Biases", "b", "beta", "offset")}
  leaves |= {"running_mean": ("moving_mean",)}
  leaves |= {"running_var": ("moving_variance",)}
  found = {}
  for key, value in group(recording, f"param/{name}/").items():
    layer, _, leaf = key.rpartition("/")
    key = leaf if "." in leaf else f"{layer}.{leaf}"
    found[key.removeprefix(f"{name}.")] = value
  for key, variable in network.state_dict().items():
    *path, layer, leaf = key.split(".")
    if leaf == "num_batches_tracked":
      continue
    block = f"Res{int(path[1]) + 1}." if path else ""
    theirs = (f"{block}{layers[layer]}.{name}" for name in leaves[leaf])
    value = next(found[k] for k in theirs if k in found)
    if value.ndim == 4:
      value = value.permute(3, 2, 0, 1)
    with torch.no_grad():
      variable.copy_(value.T if value.ndim == 2 else value)


def test_fanogan_has_the_official_losses(load, double):
  official, recording = load("pytorch_fanogan"), load_recording("fanogan")
  model = official.Fanogan(1, 2, 6, 2)
  names = ("Generator", "Discriminator", "Encoder")
  for network, name in zip(model.networks, names, strict=True):
    fill_fanogan(network, name, recording)
  draws = group(recording, "input/loop0/critic0/")
  x = 2 * draws["x_uint8"] / 255 - 1
  fake = model.generator(draws["z"])
  np.testing.assert_allclose(
    fake.detach().flatten(1), recording["out/fake"], rtol=0, atol=1e-5
  )
  loss = model.critic_loss(x, fake.detach(), draws["alpha"][:, :, None, None])
  expected = recording["loss/loop0/critic0/disc_cost"]
  np.testing.assert_allclose(loss.detach(), expected, rtol=1e-5)
