# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What values a field may have, said in its type, and what it means.

A factory, or a value that it takes, annotates its arguments with these types:

    @checked
    def ganomaly(*, latent_dim: Count = 100, score: Literal["l2", "l1"] = "l2"):

so that a wrong value is an `InputError` of one line wherever it comes from, and
`jaxad fields ganomaly` prints what may be set.
"""

import functools
import inspect
import math
import numbers
import re
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

from jaxad.errors import InputError


class Range(NamedTuple):
  """Numbers from low to high; without low if `above`, high if `below`."""

  low: float
  high: float
  above: bool = False
  below: bool = False

  def holds(self, value) -> bool:
    """Whether the value lies in it; not a number never does."""
    low = self.low < value if self.above else self.low <= value
    return low and (value < self.high if self.below else value <= self.high)

  def __str__(self):
    low = f"above {self.low:.10g}" if self.above else f"{self.low:.10g}"
    return f"{low} to {'below ' if self.below else ''}{self.high:.10g}"


# Wide enough for every use that makes sense on a machine of today; a slip of a
# few zeros is told at once, before memory runs out.
Count = Annotated[int, Range(1, 2**16)]
CountOrZero = Annotated[int, Range(0, 2**16)]
Steps = Annotated[int, Range(1, 10**9)]
Seed = Annotated[int, Range(0, 10**9)]
Share = Annotated[float, Range(0, 1)]
ProperShare = Annotated[float, Range(0, 1, above=True, below=True)]
Weight = Annotated[float, Range(0, 1e6)]
Positive = Annotated[float, Range(0, 1e6, above=True)]
LearningRate = Annotated[float, Range(0, 10)]
DropoutRate = Annotated[float, Range(0, 0.99)]
Momentum = Annotated[float, Range(0, 1, below=True)]
Epsilon = Annotated[float, Range(0, 1, above=True)]
Degrees = Annotated[float, Range(0, 180)]
Strength = Annotated[float, Range(0, 10)]
Percentage = Annotated[float, Range(0, 100)]
Pixels = Annotated[float, Range(0, 1000, above=True)]


_UNIONS = (typing.Union, types.UnionType)

P = typing.ParamSpec("P")
R = typing.TypeVar("R")


def checked(factory: Callable[P, R]) -> Callable[P, R]:
  """A function that checks its arguments against their types.

  Raises:
    InputError: from the function, for a value that its type does not allow.
  """
  hints = typing.get_type_hints(factory, include_extras=True)
  signature = inspect.signature(factory)

  @functools.wraps(factory)
  def wrapper(*args: P.args, **keywords: P.kwargs) -> R:
    for name, value in signature.bind(*args, **keywords).arguments.items():
      check(name, value, hints.get(name, Any))
    return factory(*args, **keywords)

  return wrapper


def check(name: str, value: Any, kind: Any) -> None:
  """Checks one value.

  Args:
    name: of the field, for the message.
    value: of it.
    kind: its type: a plain one, `Annotated` with a `Range`, a `Literal`, a
      tuple of such, a named tuple of fields, or one of these or None.

  Raises:
    InputError: the value is not of that kind.
  """
  if is_group(kind) and isinstance(value, kind):
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in kind._fields:
      check(f"{name}.{field}", getattr(value, field), hints[field])
  elif not _allows(kind, value):
    raise InputError(f"{name}={value!r}: expected {expectation(kind)}.", name)


def is_group(kind: Any) -> bool:
  """Whether a type is a value with fields of its own, such as `Trunk`."""
  return isinstance(kind, type) and hasattr(kind, "_fields")


def _allows(kind, value):
  origin = typing.get_origin(kind)
  if origin is Annotated:
    base, limits = typing.get_args(kind)
    return _allows(base, value) and limits.holds(value)
  if origin is typing.Literal:
    return value in typing.get_args(kind)
  if origin is tuple:
    if not isinstance(value, tuple):
      return False
    element, *more = typing.get_args(kind)
    long = more == [...] or len(more) + 1 == len(value)
    return long and all(_allows(element, one) for one in value)
  if origin in _UNIONS:
    return any(_allows(one, value) for one in typing.get_args(kind))
  if kind is float:
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return real and not math.isnan(value)
  if kind is int:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)
  return kind is Any or isinstance(value, kind)


_BOOLEANS = {"true": True, "false": False}


def parse(text: str, kind: Any) -> Any:
  """The text as a value of this type, or as it is where it is none.

  Text stays text where the type allows any. A tuple is written with commas, in
  brackets or not.
  """
  origin, arguments = typing.get_origin(kind), typing.get_args(kind)
  if origin is Annotated:
    return parse(text, arguments[0])
  if origin is typing.Literal:
    return {str(choice): choice for choice in arguments}.get(text, text)
  if origin is tuple:
    parts = text.strip().strip("()[]").split(",")
    # (1,) ends with a comma, and () holds nothing.
    parts = parts if parts[-1].strip() else parts[:-1]
    return tuple(parse(part.strip(" '\""), arguments[0]) for part in parts)
  if origin in _UNIONS:
    if type(None) in arguments and text.lower() == "none":
      return None
    found = ((parse(text, one), one) for one in arguments)
    return next((v for v, one in found if _allows(one, v)), text)
  if kind is bool:
    return _BOOLEANS.get(text.lower(), text)
  if kind in (int, float):
    try:
      return kind(text)
    except ValueError:
      return text
  return text


def expectation(kind: Any) -> str:
  """What a type allows, in words: "a whole number, 1 to 65536"."""
  origin = typing.get_origin(kind)
  if origin is Annotated:
    base, limits = typing.get_args(kind)
    text = f"{expectation(base)}, {limits}"
  elif origin is typing.Literal:
    text = f"one of {', '.join(map(str, typing.get_args(kind)))}"
  elif origin is tuple:
    element, *more = typing.get_args(kind)
    size = "a tuple" if more == [...] else f"a tuple of {len(more) + 1}"
    text = f"{size}, each {expectation(element)}"
  elif origin in _UNIONS:
    kinds = typing.get_args(kind)
    text = " or ".join(expectation(k) for k in kinds if k is not type(None))
    text += ", or None" if type(None) in kinds else ""
  else:
    names = {int: "a whole number", float: "a number", bool: "True or False"}
    names |= {str: "text"}
    text = names.get(kind) or str(getattr(kind, "__name__", "anything"))
  return text


def meanings(documented: Any) -> dict[str, str]:
  """{argument or attribute: its description} from a docstring."""
  text = inspect.getdoc(documented) or ""
  section = re.search(r"^(?:Args|Attributes):\n((?:(?:  .*)?\n?)*)", text, re.M)
  if section is None:
    return {}
  entries = re.findall(r"^  (\w+): (.*(?:\n    .*)*)", section[1], flags=re.M)
  return {name: " ".join(said.split()) for name, said in entries}
