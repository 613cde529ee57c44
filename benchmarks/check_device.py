# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Whether a device computes what a CPU does, before anything is timed there.

    python -m benchmarks.check_device [--platform gpu]

The same is computed in two processes, on the device and on the CPU of the same
machine: a matrix product, a convolution and a transposed one with their
gradients, three training steps of a small GANomaly, and the scores of a small
DifferNet. Products are in full float32. The largest difference, as a part of
the largest entry, has to be as small as rounding makes it.
"""

import argparse
import functools
import sys

import numpy as np

from benchmarks import harness

# Of products, where TF32 leaves ten times as much, and of what training makes
# of their rounding.
CLOSE, TRAINED = 3e-5, 1e-3
# Exit code where there is nothing to check.
NO_DEVICE = 3


def devices() -> list[str]:
  """What JAX sees."""
  import jax

  return [
    f"{device.platform}: {device.device_kind}" for device in jax.devices()
  ]


def products() -> dict[str, np.ndarray]:
  """Of matrices, and of convolutions as the networks have them."""
  import jax
  import jax.numpy as jnp

  from jaxad.layers.conv import Conv, ConvTranspose

  keys = jax.random.split(jax.random.key(0), 3)
  a, b = jax.random.normal(keys[0], (2, 512, 512))
  found = {"matrix product": jax.jit(jnp.matmul)(a, b)}
  x = jax.random.normal(keys[1], (4, 16, 16, 8))
  for layer in (Conv(12, 5, 2, 2), ConvTranspose(12, 4, 2, 1)):
    name = type(layer).__name__
    variables = layer.init(keys[2], x)
    loss = lambda v, x, layer=layer: (layer.apply(v, x) ** 2).mean()
    gradients = jax.jit(jax.grad(loss, (0, 1)))(variables, x)
    found[name] = jax.jit(layer.apply)(variables, x)
    for k, leaf in enumerate(jax.tree.leaves(gradients)):
      found[f"{name}, gradient {k}"] = leaf
  return {name: np.asarray(value) for name, value in found.items()}


def steps() -> dict[str, np.ndarray]:
  """The losses of three steps, and scores."""
  import jax
  import jax.numpy as jnp

  from benchmarks import jax_side
  from benchmarks.workload import make_array
  from benchmarks.workloads import WORKLOADS

  workload = WORKLOADS["ganomaly/train"]
  detector = jax_side.make_detector(workload, workload.small)
  plan, batches = jax_side.make_batches(workload, workload.small, detector, 3)
  first = jax.tree.map(lambda v: v[0], batches)
  state = detector.init(jax.random.key(0), first, plan)
  update = jax_side.compile_update(detector.phases[0], jax_side.one_device())
  _, metrics = jax.jit(update)(state, batches)
  workload = WORKLOADS["differnet/score"]
  detector = jax_side.make_detector(workload, workload.small)
  x = jnp.asarray(make_array(workload, workload.small))
  state = detector.init(jax.random.key(0), {"x": x})
  keys = jax.random.split(jax.random.key(1), len(x))
  scores = jax.jit(detector.score)(state, x, keys).image
  found = {"three steps of GANomaly": metrics["loss"], "scores": scores}
  return {name: np.asarray(value) for name, value in found.items()}


def difference(a: np.ndarray, b: np.ndarray) -> float:
  """The largest, as a part of the largest entry; infinite where it is none."""
  with np.errstate(invalid="ignore"):
    largest = np.abs(a - b).max() / max(np.abs(b).max(), 1e-30)
  return float(largest) if np.isfinite(largest) else float("inf")


def main(arguments=None) -> int:
  """Prints a line for each check; 1 if one failed, 3 without a device."""
  parser = argparse.ArgumentParser(
    prog="python -m benchmarks.check_device",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument("--platform", choices=("cpu", "gpu", "tpu"))
  parser.add_argument("--limit", type=float, default=120.0, metavar="SECONDS")
  args = parser.parse_args(arguments)
  ask = functools.partial(harness.in_process, limit=args.limit)
  failed = 0
  try:
    harness.set_environment(args.platform, tf32=False)
    seen = ask(devices)
    print("devices:", "; ".join(seen), flush=True)
    if args.platform != "cpu" and seen[0].startswith("cpu"):
      print("FAILED: JAX sees no accelerator; of a CPU: --platform cpu")
      return NO_DEVICE
    parts = {products: CLOSE, steps: TRAINED}
    found = {compute: ask(compute) for compute in parts}
    harness.set_environment("cpu", tf32=False)
    for compute, allowed in parts.items():
      expected = ask(compute)
      for name, value in found[compute].items():
        off = difference(value, expected[name])
        failed += off > allowed
        said = "ok" if off <= allowed else "FAILED"
        print(f"{said}: {name}, off by {off:.1e} of {allowed:.0e}", flush=True)
  except harness.Failed as error:
    print(f"FAILED: {error}", flush=True)
    failed += 1
  return int(failed > 0)


if __name__ == "__main__":
  sys.exit(main())
