# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The one exception that a user's mistake raises."""

from collections.abc import Collection


class InputError(ValueError):
  """Something the user gave is wrong: a file, a key, a value.

  The message is one line that names the thing, says what was expected and how
  to mend it. `python -m jaxad.run` prints it without a traceback and exits
  with code 2.
  """


def one_of(name: str, value: object, choices: Collection) -> None:
  """Checks a choice.

  Raises:
    InputError: the value is not one of the choices.
  """
  if value not in choices:
    raise InputError(
      f"{name}={value!r} is unknown; choose one of "
      f"{', '.join(map(str, choices))}."
    )
