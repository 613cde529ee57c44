#!/usr/bin/env bash
# HADGAN and RX on two scenes, ten methods on tables: seconds to two minutes each.
set -euo pipefail
: "${DATA:?set it to the folder of the data sets}"

for scene in sandiego_plane abu-urban-2; do
  jaxad run --config hadgan:scene --config.data.root="$DATA/hyperspectral/$scene.mat"
  jaxad run --config rx:scene --config.data.root="$DATA/hyperspectral/$scene.mat"
done
for method in ocsvm knn pca gaussian iforest; do
  jaxad run --config $method:breast_cancer
  jaxad run --config $method:table --config.data.root="$DATA/tabular/arrhythmia.mat"
  jaxad run --config $method:table --config.data.root="$DATA/tabular/38_thyroid.npz"
done
# As papers on tables divide: half of all rows for the test.
half=(--config.data.table.divide=all --config.data.test_fraction=0.5 --seeds 0,1,2)
arrhythmia=(--config.data.root="$DATA/tabular/arrhythmia.mat" --config.eval.contamination=0.15 "${half[@]}")
thyroid=(--config.data.root="$DATA/tabular/38_thyroid.npz" --config.eval.contamination=0.025 "${half[@]}")
jaxad run --config alad:table/arrhythmia "${arrhythmia[@]}"
jaxad run --config egbad:table "${arrhythmia[@]}"
jaxad run --config differnet:table "${arrhythmia[@]}"
jaxad run --config alad:table "${thyroid[@]}" --config.train.epochs=20
jaxad run --config egbad:table "${thyroid[@]}" --config.train.epochs=40
for table in letter cardio satellite optdigits pendigits; do
  jaxad run --config advae:table/$table --config.data.root="$DATA/tabular/$table.mat"
done
jaxad run --config rsrae:breast_cancer --config.train.epochs=60
