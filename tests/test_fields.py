# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Types that say what a field may be."""

from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pytest

from jaxad import fields
from jaxad.errors import InputError
from jaxad.fields import Count, Range, Share


class Colour(NamedTuple):
  """A colour.

  Attributes:
    name: what it is called,
      in English.
    depth: of it.

  Nothing: that is one.
  """

  name: Literal["red", "blue"] = "red"
  depth: Share = 0.5


RED = Colour()


@fields.checked
def paint(
  what: str, *, coats: Count = 1, colour: Colour = RED, free: Any = None
):
  """Paints."""
  return what, coats, colour, free


Open = Annotated[float, Range(0, 1, above=True)]
HalfOpen = Annotated[float, Range(0, 1, below=True)]
Pair = tuple[int, int]
Many = tuple[Count, ...]


@pytest.mark.parametrize(
  ("kind", "good", "bad"),
  [
    (int, [0, -5, np.int64(3)], [1.0, True, "1", None]),
    (float, [0, 1.5, float("inf"), np.float32(2)], [float("nan"), True, "1"]),
    (Count, [1, 65536], [0, 65537, 10**18, 1.0]),
    (Share, [0, 1, 0.5], [-1e-9, 1.1, float("nan")]),
    (Open, [1e-9, 1], [0, -1, 2]),
    (HalfOpen, [0, 1 - 1e-12], [-1e-9, 1, float("nan")]),
    (bool, [True, False], [0, 1, "True"]),
    (str, ["", "a"], [1, None]),
    (Literal["a", 1], ["a", 1], ["1", "b", None]),
    (Count | None, [None, 3], [0, "none"]),
    (Pair, [(1, 2)], [(1,), (1, 2, 3), [1, 2], (1, 2.0)]),
    (Many, [(), (1,), (1, 2, 3)], [(0,), 1, [1]]),
    (Count | Pair, [1, (1, 2)], [0, (1, float("nan")), (1,)]),
    (
      Colour,
      [Colour()],
      ["red", ("red", 0.5), Colour("green"), Colour("red", 2)],
    ),
  ],
)
def test_what_a_type_allows(kind, good, bad):
  for value in good:
    fields.check("it", value, kind)
  for value in bad:
    with pytest.raises(InputError) as caught:
      fields.check("it", value, kind)
    message = str(caught.value)
    assert message.startswith(f"{caught.value.argument}=")
    assert ": expected " in message and "\n" not in message


@pytest.mark.parametrize(
  ("kind", "words"),
  [
    (Count, "a whole number, 1 to 65536"),
    (Open, "a number, above 0 to 1"),
    (Literal["a", 1] | None, "one of a, 1, or None"),
    (Count | Pair, "a whole number, 1 to 65536 or a tuple of 2, each a whole"),
    (Many | None, "a tuple, each a whole number, 1 to 65536, or None"),
    (bool, "True or False"),
    (Colour, "Colour"),
  ],
)
def test_expectation(kind, words):
  assert fields.expectation(kind).startswith(words)


@pytest.mark.parametrize(
  ("kind", "text", "value"),
  [
    (int, "-3", -3),
    (float, "2", 2.0),
    (bool, "TRUE", True),
    (str, "none", "none"),
    (Count | None, "None", None),
    (Literal["a", 1, -1], "-1", -1),
    (Many, "(1, 2,)", (1, 2)),
    (Many, "()", ()),
    (Many, "7", (7,)),
    (tuple[Literal["a", "b"], ...], "['a', \"b\"]", ("a", "b")),
    (Count | Pair, "3", 3),
    (Count | Pair, "3,4", (3, 4)),
    # What is no such value stays text, for the message.
    (int, "3.0", "3.0"),
    (bool, "1", "1"),
    (Count | Pair, "3,4,5", "3,4,5"),
    (Literal["a"], "b", "b"),
  ],
)
def test_parse(kind, text, value):
  found = fields.parse(text, kind)
  assert found == value and type(found) is type(value)


def test_a_checked_function():
  assert paint("it", coats=2) == ("it", 2, Colour(), None)
  assert paint("it", free=object)[3] is object
  for fault, name in (
    ({"coats": 0}, "coats=0: "),
    ({"colour": Colour(depth=-1.0)}, "colour.depth=-1.0: "),
    ({"colour": Colour("green")}, "colour.name='green': expected one of red"),
  ):
    with pytest.raises(InputError) as caught:
      paint("it", **fault)
    assert str(caught.value).startswith(name)
  with pytest.raises(TypeError, match="coat"):
    paint("it", coat=1)
  assert paint.__doc__ == "Paints."


def test_meanings():
  assert fields.meanings(Colour) == {
    "name": "what it is called, in English.",
    "depth": "of it.",
  }
  assert fields.meanings(paint) == {}
