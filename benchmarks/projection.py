# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""How long a data-parallel step takes on machines that are not at hand.

    step(n)  =  max(operations / rate, bytes / bandwidth)  +  exchange(n)
    exchange =  sum over collectives of  hops * alpha + sent / beta

alpha is the time of a hop without content, beta bytes a second that leave a
device, or a node, along the slowest part of a ring of all n devices. A ring
all-reduce of S bytes sends 2 (n - 1) / n * S from each device in 2 (n - 1) hops
(Thakur, Rabenseifner and Gropp, IJHPCA 2005).
"""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple


class Machine(NamedTuple):
  """Devices and what connects them; figures of data sheets.

  Attributes:
    name: for tables.
    devices: how many there are.
    node: devices of a node, within which the link is the fast one.
    flops: products of float32 matrices, at JAX's default precision.
    bandwidth: bytes of a device's memory, read and written in a second.
    link: (alpha seconds, beta bytes a second and direction) within a node.
    network: likewise from a node to the next.
    reached: the share of flops and bandwidth that a step is taken to reach.
    sources: of these figures.
  """

  name: str
  devices: int
  node: int
  flops: float
  bandwidth: float
  link: tuple[float, float]
  network: tuple[float, float]
  reached: float
  sources: str

  def ring(self, n: int) -> tuple[float, float]:
    """(alpha, beta) of a ring of n devices: alpha's mean, the lower beta."""
    nodes = -(-n // self.node)
    if nodes == 1:
      return self.link
    alpha = ((n - nodes) * self.link[0] + nodes * self.network[0]) / n
    return alpha, min(self.link[1], self.network[1])


_H100 = (494e12, 3.35e12)
_NVLINK, _INFINIBAND = (1.5e-6, 360e9), (5e-6, 320e9)
_GPU_SOURCES = (
  "H100 SXM: TF32 494 Tflop/s dense, HBM3 3.35 TB/s; NVLink 450 GB/s a "
  "direction, of which a ring reaches 360; 1.5 us a hop, 21 us for all eight"
)

MACHINES = (
  Machine(
    "8 x H100, NVLink",
    *(8, 8, *_H100, _NVLINK, _INFINIBAND, 0.5),
    _GPU_SOURCES + ". H200 has the same but HBM3e, 4.8 TB/s",
  ),
  Machine(
    "4 nodes of 8 x H100, InfiniBand",
    *(32, 8, *_H100, _NVLINK, _INFINIBAND, 0.5),
    _GPU_SOURCES
    + "; NDR InfiniBand of 400 Gb/s for each GPU, of which 40 GB/s, "
    "eight rings side by side; 5 us a hop between nodes",
  ),
  Machine(
    "TPU v5e, 4 x 4 chips",
    *(16, 16, 197e12, 819e9, (1e-6, 90e9), (1e-6, 90e9), 0.5),
    "v5e: bfloat16 products 197 Tflop/s, HBM 819 GB/s, 1600 Gb/s over four "
    "links of a chip, of which a ring takes two, 90 GB/s; 1 us a hop",
  ),
)

ASSUMPTIONS = (
  "nothing of the exchange is hidden behind arithmetic (XLA hides a part)",
  "every device is as fast as every other, and data lie on the devices",
  "half of the peak, in arithmetic or in memory, is reached by any step",
  "small messages go round the ring too (NCCL has trees, of fewer hops)",
  "collectives are those of the formula, gradients once for all scales",
)


class Step(NamedTuple):
  """What a step of a method costs, on each device.

  Attributes:
    flops: for each row of the batch.
    bytes_a_row: moved in memory for each row.
    bytes: moved whatever the batch, by the optimiser.
    collectives: [(bytes, how many messages they go in)], all-reduces.
    batch: rows of a device at which a study is made.
  """

  flops: float
  bytes_a_row: float
  bytes: float
  collectives: Sequence[tuple[float, int]]
  batch: int


def exchange(
  collectives: Sequence[tuple[float, int]], n: int, ring: tuple[float, float]
) -> float:
  """Seconds of all-reduces in a ring of n.

  Args:
    collectives: [(bytes, in how many messages)].
    n: devices.
    ring: (alpha, beta).
  """
  alpha, beta = ring
  hops = 2 * (n - 1)
  return sum(
    hops * alpha * messages + hops / n * size / beta
    for size, messages in collectives
  )


def seconds(step: Step, rows: float, n: int, machine: Machine) -> float:
  """Of a step with so many rows on each of n devices."""
  compute = step.flops * rows / (machine.flops * machine.reached)
  moved = step.bytes + step.bytes_a_row * rows
  memory = moved / (machine.bandwidth * machine.reached)
  return max(compute, memory) + exchange(step.collectives, n, machine.ring(n))


def project(step: Step) -> list[dict]:
  """Rows {machine, devices, weak, strong, weak_ms, strong_ms, exchange_ms}.

  `weak` is the efficiency at the same rows a device, `strong` the speed-up at
  the batch that fills all devices of the machine when each has `step.batch`.
  """
  rows = []
  for machine in MACHINES:
    n, whole = 1, step.batch * machine.devices
    one = seconds(step, step.batch, 1, machine)
    all_on_one = seconds(step, whole, 1, machine)
    while n <= machine.devices:
      weak = seconds(step, step.batch, n, machine)
      strong = seconds(step, whole / n, n, machine)
      rows.append(
        {
          "machine": machine.name,
          "devices": n,
          "weak_ms": 1e3 * weak,
          "weak": one / weak,
          "strong_ms": 1e3 * strong,
          "strong": all_on_one / strong,
          "exchange_ms": 1e3 * exchange(step.collectives, n, machine.ring(n)),
        }
      )
      n *= 2
  return rows


def plot(measured: list[dict], projected: list[dict], path: pathlib.Path):
  """Measured points beside the model, and the projection."""
  from matplotlib.figure import Figure

  figure = Figure(figsize=(11, 4.2), layout="constrained")
  left, right = figure.subplots(1, 2)
  lines = sorted({(row["method"], row["scaling"]) for row in measured})
  for k, (method, scaling) in enumerate(lines):
    rows = [
      r for r in measured if (r["method"], r["scaling"]) == (method, scaling)
    ]
    n = [r["devices"] for r in rows]
    color = f"C{k}"
    left.plot(n, [r["ms"] for r in rows], "o", color=color)
    label = f"{method}, {scaling}"
    left.plot(n, [r["model_ms"] for r in rows], "-", color=color, label=label)
  left.set(
    title="measured (points) and model (lines)",
    xlabel="devices",
    ylabel="ms a step",
  )
  for k, method in enumerate(sorted({r["method"] for r in projected})):
    for style, machine in zip(("-", "--", ":"), MACHINES, strict=True):
      rows = [
        r
        for r in projected
        if r["method"] == method and r["machine"] == machine.name
      ]
      right.plot(
        [r["devices"] for r in rows],
        [r["strong"] for r in rows],
        style,
        color=f"C{k}",
        label=f"{method}, {machine.name}",
      )
  most = max(machine.devices for machine in MACHINES)
  right.plot([1, most], [1, most], color="0.8", zorder=0)
  right.set(
    title="projected speed-up of a fixed batch",
    xlabel="devices",
    xscale="log",
    yscale="log",
  )
  for axes in (left, right):
    axes.set_xscale("log", base=2)
    axes.legend(fontsize="x-small")
  right.set_yscale("log", base=2)
  figure.savefig(path)
