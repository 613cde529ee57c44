# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What the files of runs and exported scorers say of themselves, checked.

Digests tell damage; whoever writes such a file can write its digest, too.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

from jaxad.bands import Bands
from jaxad.columns import Columns
from jaxad.errors import InputError
from jaxad.fields import Count, Range, check
from jaxad.preprocess import Preprocess, preprocessing

Finite = Annotated[float, Range(-1e300, 1e300)]
Word = Annotated[int, Range(0, 2**32 - 1)]


class Described(NamedTuple):
  """What runs and exported scorers have in common, as `ImageScorer` has it."""

  shape: tuple[Annotated[int, Range(1, 2**31)], ...]
  dtype: Literal["uint8", "float32"]
  preprocess: Preprocess | Columns | Bands | None
  threshold: Finite
  batch_size: Count

  @classmethod
  def of(cls, description: Mapping) -> "Described":
    """What a file says.

    Raises:
      InputError: that is not what it may say.
    """
    try:
      seen, threshold = description["example"], description["threshold"]
      found = cls(
        tuple(seen["shape"]),
        seen["dtype"],
        preprocessing(description["preprocess"]),
        threshold["value"],
        description["batch_size"],
      )
    except (LookupError, TypeError) as error:
      raise InputError(DAMAGED) from error
    check("description", found, cls)
    like = found.preprocess
    if isinstance(like, Preprocess):
      fits = found.shape == (*like.size, like.channels)
    elif isinstance(like, Bands):
      fits = found.shape[2:] == (len(like.chosen),)
    else:
      fits = like is None or found.shape == (len(like.of_values),)
    if not fits:
      raise InputError(DAMAGED)
    return found


class DescribedRun(NamedTuple):
  """What a run says of itself beside, as `trained.save` has it."""

  method: str
  config: dict
  key: tuple[Word, ...]
  weights_sha256: str
  map_limits: tuple[Finite, Finite] | None
  rule: str
  rule_value: Finite | None
  source: str
  id: tuple[str, ...]
  score: tuple[Finite, ...]
  brightness: tuple[Finite, ...] | None

  @classmethod
  def of(cls, description: Mapping) -> "DescribedRun":
    """What a file says.

    Raises:
      InputError: that is not what it may say.
    """
    try:
      plain = _tuples(description)
      own = (plain[name] for name in cls._fields[:5])
      threshold = (plain["threshold"][name] for name in cls._fields[5:8])
      normal = (plain["normal"][name] for name in cls._fields[8:])
      found = cls(*own, *threshold, *normal)
      precision = found.config["train"]["matmul_precision"]
    except (LookupError, TypeError) as error:
      raise InputError(DAMAGED) from error
    check("description", found, cls)
    check("matmul_precision", precision, Literal["default", "high", "highest"])
    n = len(found.id)
    bright = n if found.brightness is None else len(found.brightness)
    if not n == len(found.score) == bright > 0:
      raise InputError(DAMAGED)
    return found


DAMAGED = "it is damaged; take a whole copy of it."


def _tuples(value):
  """A configuration, which has no lists, from JSON, which has no tuples."""
  if isinstance(value, list):
    return tuple(map(_tuples, value))
  if isinstance(value, dict):
    return {name: _tuples(part) for name, part in value.items()}
  return value
