# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What a compiled program says to the other devices, read off its text.

XLA's partitioner decides which arrays move; the text of the compiled program
(`compiled.as_text()`) is the only place where it says so.
"""

import collections
import math
import re
from typing import NamedTuple

# Bits of an element.
_BITS = {"pred": 8, "token": 0}

_KINDS = (
  "all-reduce",
  "all-gather",
  "reduce-scatter",
  "collective-permute",
  "all-to-all",
)
# Others that XLA has and that nothing here counts.
_UNKNOWN = ("ragged-all-to-all", "collective-broadcast", "send", "recv")

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?[\w.\-]+ = (.*)$")
_OPERATION = re.compile(r"^([a-z][\w\-]*)\(")
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\]")
_CALLED = re.compile(
  r"\b(?:calls|to_apply|body|condition|true_computation|false_computation"
  r"|branch_computations|called_computations)=(\{[^}]*\}|%?[\w.\-]+)"
)
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


class Collective(NamedTuple):
  """An exchange between devices.

  Attributes:
    kind: "all-reduce", "all-gather", "reduce-scatter", "collective-permute" or
      "all-to-all".
    bytes: of the array that each device holds on the larger side: what is
      reduced, what has been gathered, what is exchanged.
    devices: that take part in a group.
    times: how often in one call of the program.
    arrays: dtype and shape of each part, "f32[3,4]".
    source: the operation of the program that it comes from, as far as known.
  """

  kind: str
  bytes: int
  devices: int
  times: int
  arrays: tuple[str, ...]
  source: str

  @property
  def sent(self) -> float:
    """Bytes that a device sends in one, along a ring."""
    n = self.devices
    if self.kind == "collective-permute":
      return self.bytes
    passes = 2 if self.kind == "all-reduce" else 1
    return passes * (n - 1) / n * self.bytes

  @property
  def hops(self) -> int:
    """Messages that follow each other in one, along a ring."""
    if self.kind == "collective-permute":
      return 1
    return (2 if self.kind == "all-reduce" else 1) * (self.devices - 1)


class Unreadable(ValueError):
  """The text has something that would make a wrong number."""


def collectives_of(text: str, devices: int) -> list[Collective]:
  """The collectives of a compiled program.

  Those that start and finish apart are counted once, those of several arrays as
  one, and those in the body of a loop as often as it goes round.

  Args:
    text: `compiled.as_text()`.
    devices: of the program.

  Raises:
    Unreadable: a collective in a branch, in a loop whose rounds are not known,
      of a kind or form that this file does not know.
  """
  bodies, entry = _computations(text)
  found = []
  _walk(bodies, entry, 1, devices, found)
  return found


def by_kind(found: list[Collective]) -> dict[str, int]:
  """{kind: bytes of a call}, of the kinds that there are."""
  total: dict[str, int] = collections.defaultdict(int)
  for each in found:
    total[each.kind] += each.times * each.bytes
  return dict(total)


def _computations(text):
  """{name: instructions}, and the name of the first to run."""
  bodies: dict[str, list[str]] = {}
  entry = name = None
  for line in text.splitlines():
    if head := _COMPUTATION.match(line):
      name = head[2]
      bodies[name] = []
      entry = name if head[1] else entry
    elif line.startswith("}"):
      name = None
    elif name and (instruction := _INSTRUCTION.match(line)):
      bodies[name].append(instruction[1])
  if entry is None:
    raise Unreadable("no entry computation: expected the text of HLO")
  return bodies, entry


def _walk(bodies, name, times, devices, found):
  for instruction in bodies[name]:
    shape, operation, rest = _parts(instruction)
    kind = operation.removesuffix("-start")
    if kind in _KINDS:
      found.append(_collective(kind, operation, shape, rest, times, devices))
      continue  # what it calls is the sum of two numbers
    if kind in _UNKNOWN:
      raise Unreadable(f"{operation}: of no kind that is counted: {rest[:200]}")
    called = [
      name.strip().lstrip("%")
      for names in _CALLED.findall(rest)
      for name in names.strip("{}").split(",")
    ]
    inner: list[Collective] = []
    rounds = 1
    if operation == "while":
      known = _TRIPS.search(rest)
      rounds = int(known[1]) if known else 0
    for each in called:
      _walk(bodies, each, times * max(rounds, 1), devices, inner)
    if inner and operation == "conditional":
      raise Unreadable(f"{inner[0].kind} in a branch: {inner[0].source}")
    if inner and not rounds:
      raise Unreadable(
        f"{inner[0].kind} in a loop of unknown length: {inner[0].source}"
      )
    found += inner


def _parts(instruction):
  """(shape, name of the operation, the rest) of what follows the `=`."""
  if instruction.startswith("("):
    depth, end = 0, -1
    while depth or end < 0:
      end += 1
      depth += (instruction[end] == "(") - (instruction[end] == ")")
    shape, rest = instruction[: end + 1], instruction[end + 1 :].lstrip()
  else:
    shape, _, rest = instruction.partition(" ")
  operation = _OPERATION.match(rest)
  return shape, operation[1] if operation else "", rest


def _collective(kind, operation, shape, rest, times, devices):
  # Comments within tuples count their entries: /*index=5*/.
  arrays = _ARRAY.findall(re.sub(r"/\*.*?\*/", "", shape))
  if operation.endswith("-start") and kind != "all-reduce":
    # (operands, results, and of a permute two counters).
    if kind == "collective-permute":
      arrays = [array for array in arrays if array != ("u32", "")]
    arrays = arrays[len(arrays) // 2 :]
  n = _group(rest, devices)
  size = sum(_bytes(*array) for array in arrays)
  if kind == "reduce-scatter":
    size *= n
  source = re.search(r'op_name="([^"]*)"', rest)
  named = tuple(f"{dtype}[{shape}]" for dtype, shape in arrays)
  return Collective(kind, size, n, times, named, source[1] if source else "")


def _bytes(dtype, shape):
  bits = _BITS.get(dtype)
  if bits is None:
    digits = re.match(r"[a-z]+(\d+)", dtype)
    if not digits:
      raise Unreadable(f"{dtype}[{shape}]: how large its elements are")
    bits = int(digits[1])
  elements = math.prod(int(n) for n in shape.split(",") if n)
  return -(-elements * bits // 8)


def _group(rest, devices):
  """Devices that talk to each other."""
  if "source_target_pairs=" in rest:
    return devices
  if found := re.search(r"replica_groups=\{\{([\d,]+)\}", rest):
    return found[1].count(",") + 1
  if found := re.search(r"replica_groups=\[\d+,(\d+)\]<=", rest):
    return int(found[1])
  if found := re.search(r"replica_groups=mesh\[(.*?)\] \{(.*?)\}", rest):
    sizes = dict(re.findall(r"'([^']+)'=(\d+)", found[1]))
    named = re.findall(r"'([^']+)'", found[2])
    return math.prod(int(sizes[axis]) for axis in named)
  if "replica_groups={}" in rest:
    return devices
  raise Unreadable(f"groups of devices: {rest[:300]}")
