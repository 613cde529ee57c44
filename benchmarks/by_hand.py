# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What a training step costs, derived by hand from the sizes of a method."""

from benchmarks import projection

FLOAT = 4  # bytes


def _elements(tree) -> int:
  import jax

  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def differnet_bytes(state) -> int:
  """The gradient of the flow, and the sum of the losses.

  The trunk is frozen and rotations are of single images: neither has anything
  to say. Whole batches have a constant weight.
  """
  return FLOAT * (_elements(state.params["flow"]) + 1)


def dra_bytes(
  state, side: int, n_scales: int = 2, heads: int = 4, merged: bool = False
) -> int:
  """Everything once a scale, at which trunk and heads are applied anew:

    gradient     of all parameters. A compiler that adds those of the scales
                 before it sums over devices (XLA:GPU does, XLA:CPU does not)
                 has them once for all scales, `merged`.
    norms        mean and variance of all channels, and two more sums for the
                 gradient, besides those that are the gradients of scale and
                 bias: 4 C
    references   the mean map that all devices compare with, and its gradient

  and four losses, and the number of rows of each, once.

  Where a device has many images, XLA:CPU exchanges more: there the gradient of
  a kernel is summed by blocks, see `jaxad/layers/cpu/conv.py`, one by one.
  """
  import jax

  trunk = state.params["trunk"]
  means = [
    leaf.size
    for path, leaf in jax.tree_util.tree_leaves_with_path(state.collections)
    if path[-1].key == "mean"
  ]
  # ResNet: layer1 has a quarter of the image's pixels in a row, each next one
  # half of it.
  last = max(int(n[5]) for n in trunk if n.startswith("layer"))
  rows = [side // 2 ** (last + 1) // 2**k for k in range(n_scales)]
  channels = state.params["heads"]["conv"]["kernel"].shape[-1]
  maps = sum(n**2 * channels for n in rows)
  gradients = (1 if merged else n_scales) * _elements(state.params)
  norms = n_scales * 4 * sum(means)
  return FLOAT * (gradients + norms + 2 * maps + 2 * heads)


def exchanged(method: str, state, shape, merged: bool = False) -> int | None:
  """Bytes that a device has to exchange in a step; None without a formula.

  Args:
    method: its name.
    state: of it, or the shapes.
    shape: of an example.
    merged: see `dra_bytes`.
  """
  if method == "differnet":
    return differnet_bytes(state)
  if method == "dra":
    return dra_bytes(state, shape[0], merged=merged)
  return None


def steps_at_paper_size() -> dict[str, projection.Step]:
  """What a step of each method costs, in operations and bytes by hand.

  Operations, and bytes of the optimiser, are those of `METHOD/train` in
  `benchmarks/workloads.py`. DifferNet turns each of 24 images into 4 views,
  which are read or written about six times. DRA's norms read and write the maps
  of 48 images about ten times, and send five messages a scale, as XLA:CPU
  combines them.
  """
  import jax
  import jax.numpy as jnp

  from benchmarks import jax_side
  from benchmarks.workloads import WORKLOADS

  # Maps of ResNet-18: 2.5 M elements at 224 pixels, four times at 448.
  maps = 4 * 2.5e6 * (1 + 1 / 4) * FLOAT
  # Images, bytes moved for each, messages of a step.
  others = {
    "differnet": (24, 4 * 6 * FLOAT * 448**2 * 3, 1),
    "dra": (48, 10 * maps, 5 * 2 * 21),
  }
  found = {}
  for method, (batch, bytes_a_row, messages) in others.items():
    workload = WORKLOADS[f"{method}/train"]
    shape = workload.full.shape
    detector = jax_side.make_detector(workload, workload.full)
    x = jax.ShapeDtypeStruct((1, *shape), jnp.uint8)
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(lambda k, d=detector, x=x: d.init(k, {"x": x}), key)
    operations, moved = map(sum, zip(*workload.needs, strict=True))
    found[method] = projection.Step(
      flops=operations / batch,
      bytes_a_row=bytes_a_row,
      bytes=moved,
      collectives=[(exchanged(method, state, shape, merged=True), messages)],
      batch=batch,
    )
  return found
