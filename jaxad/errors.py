# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The one exception that a user's mistake raises."""

import contextlib
from collections.abc import Collection

# Exit codes of the commands.
USAGE_ERROR, INTERRUPTED = 2, 130


class InputError(ValueError):
  """Something the user gave is wrong: a file, an argument, a value.

  The message is one line that names the thing, says what was expected and how
  to mend it. The commands print it without a traceback and exit with code 2.
  What it quotes of names and files cannot break the line or steer a terminal:
  characters that are not for print are escaped, and a long text is cut.

  Attributes:
    argument: name of the argument with which the message begins, or None where
      it begins otherwise. A command puts the group before it, see `under`.
  """

  def __init__(self, message: str, argument: str | None = None):
    super().__init__(_one_line(message))
    self.argument = argument


# Of a message, of which the middle is left out.
_LONGEST = 1500


def _one_line(text):
  text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
  if len(text) > _LONGEST:
    text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
  return text


@contextlib.contextmanager
def under(group: str):
  """Puts `group.` before the argument that an error from the block names.

  A library function knows its argument as `n_scales`, the command line as
  `config.detector.n_scales`.
  """
  try:
    yield
  except InputError as error:
    if error.argument is None:
      raise
    name = f"{group}.{error.argument}"
    raise InputError(f"{group}.{error}", name) from error


def one_of(name: str, value: object, choices: Collection) -> None:
  """Checks a choice.

  Raises:
    InputError: the value is not one of the choices.
  """
  if value not in choices:
    raise InputError(
      f"{name}={value!r} is unknown; choose one of "
      f"{', '.join(map(str, choices))}.",
      name,
    )
