#!/usr/bin/env bash
# OCGAN at half its width, each class of MNIST and three of Fashion-MNIST: 2 to 5 minutes a class.
set -euo pipefail
: "${DATA:?set it to the folder of the data sets}"

for class in 0 1 2 3 4 5 6 7 8 9; do
  jaxad run --config ocgan:mnist/$class --config.data.root="$DATA/mnist" --config.data.holdout=0 --config.eval.every=4
done
for class in t_shirt_top trouser bag; do
  jaxad run --config ocgan:fashion_mnist/$class --config.data.root="$DATA/fashion_mnist" --config.data.holdout=0 \
    --config.eval.every=4
done
# The paper's weight of the reconstruction, and that of the code at 12 and 16 epochs.
jaxad run --config ocgan:mnist/8 --config.data.root="$DATA/mnist" --config.detector.lam=10 --config.train.epochs=12
jaxad run --config ocgan:mnist/8 --config.data.root="$DATA/mnist" --config.detector.lam=200 --config.train.epochs=12
jaxad run --config ocgan:mnist/8 --config.data.root="$DATA/mnist" --config.data.holdout=0 --config.train.epochs=16
