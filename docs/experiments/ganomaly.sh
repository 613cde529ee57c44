#!/usr/bin/env bash
# GANomaly at a quarter of its width, the standard and the official protocol of one run side by side.
set -euo pipefail
: "${DATA:?set it to the folder of the data sets}"

small=(--config.eval.protocol=official --config.train.epochs=2 --config.detector.width=16 --config.data.holdout=0)
for class in 0 1 2 8; do
  jaxad run --config ganomaly:mnist/$class --config.data.root="$DATA/mnist" "${small[@]}"
done
for class in t_shirt_top bag; do
  jaxad run --config ganomaly:fashion_mnist/$class --config.data.root="$DATA/fashion_mnist" "${small[@]}"
done
# The embedded digits.
jaxad run --config ganomaly --config.eval.protocol=official
# Skip-GANomaly with nine classes normal.
jaxad run --config skip_ganomaly --config.data.protocol=leave_one_out --config.eval.every=5
