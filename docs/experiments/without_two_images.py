# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""AUROC on brain_mri without two normal test images that show lesions.

    python without_two_images.py RUN/seed-*/scores.csv

also prints which share of the tumours the first of them scores above.
"""

import csv
import sys

import numpy as np
from sklearn.metrics import roc_auc_score

LESIONS = ("no/N1.JPG", "no/30 no.jpg")


def main(*paths):
  aurocs = []
  for path in paths:
    with open(path, newline="") as file:
      rows = {
        row["id"]: (int(row["label"]), float(row["score"]))
        for row in csv.DictReader(file)
      }
    tumours = np.array([score for label, score in rows.values() if label])
    print(path, (tumours < rows[LESIONS[0]][1]).mean())
    rest = [row for name, row in rows.items() if name not in LESIONS]
    aurocs.append(roc_auc_score(*zip(*rest, strict=True)))
  print(aurocs, np.mean(aurocs), np.std(aurocs, ddof=1))


if __name__ == "__main__":
  main(*sys.argv[1:])
