# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The threshold of a trained run: shows it, or sets another without training.

    python -m jaxad.threshold --run runs/bottle
    python -m jaxad.threshold --run runs/bottle --rule quantile --value 0.99

It comes from the scores of normal examples that the run kept. What the run has
written before, `results.json` and `scores.csv`, stays as it is.
"""

import pathlib
import sys

import numpy as np

from jaxad import trained
from jaxad.errors import InputError
from jaxad.evaluation.thresholds import DEFAULTS, threshold
from jaxad.fields import check, parse


def main(argv: list[str] | None = None) -> int:
  """The command `python -m jaxad.threshold`; returns the exit code."""
  from jaxad import cli  # imports this module in turn

  return cli.guarded(_command, argv)


def _command(argv):
  from jaxad import cli  # imports this module in turn

  parser = cli.parser_of_run(
    "threshold",
    "Show the threshold of a finished run, or set another.",
  )
  parser.add_argument(
    "--rule",
    choices=DEFAULTS,
    help="set another by this rule, from the same scores of normal examples",
  )
  parser.add_argument(
    "--value",
    metavar="NUMBER",
    help="of the rule, such as 0.99 of quantile (default: the rule's own)",
  )
  args = parser.parse_args(argv)
  if args.rule is not None:
    value = args.value
    if value is not None:
      value = parse(value, float)
      check("--value", value, float)
    set_threshold(args.run, args.rule, value)
  elif args.value is not None:
    raise InputError("--value: it is the number of a rule; give --rule too.")
  print(described(trained.read_description(args.run)))


def set_threshold(
  folder: pathlib.Path, rule: str, value: float | None = None
) -> float:
  """Sets the threshold of a run by its scores of normal images.

  Args:
    folder: of the run.
    rule: see `jaxad.evaluation.thresholds`.
    value: of the rule; None is its default.

  Returns:
    The threshold.

  Raises:
    InputError: no such run, rule or value; nothing is changed.
  """
  found = trained.read_description(folder)
  new = threshold(found["normal"]["score"], rule, value)
  found["threshold"] |= {"value": new, "rule": rule, "rule_value": value}
  trained.write_description(folder, found)
  return new


def described(description: dict) -> str:
  """Lines that say what the threshold is and what it rejects."""
  kept, scores = description["threshold"], description["normal"]["score"]
  rejected = int((np.float32(scores) > kept["value"]).sum())
  rule = kept["rule"]
  value = kept["rule_value"]
  value = DEFAULTS[rule] if value is None else value
  by = rule if value is None else f"{rule} {value:g}"
  return (
    f"threshold {kept['value']:.6g}, by the rule {by} of {len(scores)} "
    f"{kept['source']}\n"
    f"it calls {rejected} of these anomalous"
  )


if __name__ == "__main__":
  sys.exit(main())
