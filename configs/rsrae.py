# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""RSRAE (Lai, Zou and Lerman, ICLR 2020, arXiv 1904.00152).

    python -m jaxad.run --config rsrae

trains on one of the ten embedded `digits` with others among them, half as many,
that nobody has marked, and finds these.

    python -m jaxad.run --config rsrae:fashion_mnist/0 \
        --config.data.root=/path/to/fashion_mnist

is the authors' setting: of the 10,000 images of the test split all of a class
and half as many others, 200 epochs; `--config.data.contamination` sets another
part, `--config.detector.training=joint` is RSRAE+. Rows of a table are scored
by the length of what does not come back; the word frequencies of texts, as in
the paper, by the cosine:

    python -m jaxad.run --config rsrae:breast_cancer
    python -m jaxad.run --config rsrae:table --config.data.root=texts.npz \
        --config.data.normal=5 --config.data.table.scale=none \
        --config.detector.activation=relu --config.detector.score=cosine \
        --config.detector.latent_dim=10

A folder of images of one's own: `--config rsrae:folder`.
"""

from jaxad import config as configs
from jaxad.data import TABLES

# The mean over all classes, half as many others among them.
PAPER = {
  "fashion_mnist": {"image_auroc": 0.833},
}


def get_config(preset=None):
  config = configs.base("rsrae", preset, default="digits/0")
  # What is trained on is tested, and no label is seen: none can be held out.
  config.data.protocol = "contaminated"
  config.data.contamination = 0.5
  config.data.holdout = 0.0
  config.train.epochs = 200
  config.train.batch_size = 128
  if config.data.name in TABLES:
    return config
  config.data.image_size = 32
  config.eval.batch_size = 128
  if config.data.name in ("folder", "mvtec_ad", "magnetic_tile"):
    # Images of a production are taken to be normal, and others are tested;
    # the sets have not half as many anomalies.
    config.data.protocol = "one_vs_rest"
    config.data.contamination = 0.0
    config.data.holdout = configs.HOLDOUT
  if config.data.name in ("mnist", "fashion_mnist"):
    config.data.protocol = "contaminated_test"
    config.data.image_size = 28
  if config.data.name == "digits":
    config.data.image_size = 16
    config.train.batch_size = 32
  return config
