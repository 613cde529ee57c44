# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What a reader has to know of the figures of a run, on screen and in HTML."""

from collections.abc import Mapping

# One in twenty, the rate that a threshold aims at, is a part of one image.
FEW_HELD_OUT = 20


def rejections(results: Mapping, goods: str = "good parts") -> str | None:
  """What the threshold will cost; None where that is not known.

  Args:
    results: what stands in `results.json`.
    goods: what normal examples are called.
  """
  share = results["expected_false_positive_rate"]
  if share is None:
    return None
  low, high = results["expected_false_positive_interval"]
  return (
    f"Of 100 {goods} about {100 * share:.0f} will be rejected (95 % "
    f"interval {100 * low:.1f} to {100 * high:.1f}, from "
    f"{results['n_threshold']} held out)."
  )


def of_threshold(results: Mapping, transductive: bool) -> list[str]:
  """What weakens the statement about the threshold."""
  if transductive:
    return [MIXTURE_THRESHOLD]
  if results["threshold_from"].endswith("pixels"):
    return [SCENE_THRESHOLD]
  if results["expected_false_positive_rate"] is None:
    return [TRAINING_THRESHOLD]
  return [UNCERTAIN] if results["n_threshold"] < FEW_HELD_OUT else []


UNCERTAIN = (
  f"NOTE: with fewer than {FEW_HELD_OUT} held out that rate is uncertain; more "
  "normal examples or a higher --config.data.holdout narrow it."
)

TRAINING_THRESHOLD = (
  "NOTE: the threshold comes from what was trained on, so how much of what is "
  "normal it rejects is not known; hold some out with --config.data.holdout."
)

MIXTURE_THRESHOLD = (
  "NOTE: the threshold comes from what was trained on and is tested, outliers "
  "and all, so how much of what is normal it rejects is not known."
)

SCENE_THRESHOLD = (
  "NOTE: the threshold comes from the pixels of the scene itself, anomalies "
  "and all, so how many normal ones it rejects is not known."
)


def of_choices(config: Mapping) -> list[str]:
  """What was chosen by the test."""
  chosen = {"select": BEST_ON_TEST, "protocol": OFFICIAL}
  return [
    text
    for field, text in chosen.items()
    if config["eval"][field] in ("best_on_test", "official")
  ]


BEST_ON_TEST = (
  "WARNING: best_on_test chose the epoch by its AUROC on the test set; the "
  "figures above are optimistic, and new images will be told less well."
)

OFFICIAL = (
  "NOTE: the official figures depend on how the test is cut into batches, and "
  "take the best epoch by its AUROC on the test set, as the authors' code "
  "does; all others do not, and are what to expect of new images."
)

ONE_CLASS = (
  "NOTE: the test has no {missing} examples, so it cannot say how well they "
  "are told from {present} ones."
)

FEW_TESTED = (
  "NOTE: the test has only {n} {class_} examples, of which each is "
  "{share:.0f} % of a rate."
)


def of_test(label) -> list[str]:
  """Where a test has nothing, or little, to say; of its labels, int [N]."""
  n = {"normal": int((label == 0).sum()), "anomalous": int((label == 1).sum())}
  for missing, present in (("normal", "anomalous"), ("anomalous", "normal")):
    if not n[missing]:
      return [ONE_CLASS.format(missing=missing, present=present)]
  return [
    FEW_TESTED.format(n=count, class_=name, share=100 / count)
    for name, count in n.items()
    if count < FEW_HELD_OUT
  ]
