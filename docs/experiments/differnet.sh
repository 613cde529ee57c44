#!/usr/bin/env bash
# DifferNet on magnetic tiles and screws, with frozen trunks on a CPU.
set -euo pipefail
: "${DATA:?set it to the folder of the data sets}"
: "${WEIGHTS:?set it to the folder of the weights files}"

common=(--config.detector.hidden=512 --config.eval.nearest_neighbour=true --config.eval.every=10
  --config.eval.maps=none --config.eval.batch_size=8 --config.train.epochs=60 --config.detector.n_scales=3
  --config.data.image_size=448 --config.data.holdout=0)
plain=(--config.detector.rotations=false --config.detector.n_transforms=1 --config.train.cached_views=1
  --config.detector.n_transforms_test=1)
rotated=(--config.detector.rotations=true --config.detector.n_transforms=4 --config.train.cached_views=8
  --config.detector.n_transforms_test=8)
jitter=(--config.detector.brightness=0.15 --config.detector.contrast=0.15 --config.train.cached_views=4)
resnet=(--config.detector.trunk=resnet18 --config.detector.layer=layer3
  --config.detector.weights="$WEIGHTS/resnet18_layer1-3_bnfolded.pth")
squeezenet=(--config.detector.trunk=squeezenet1_1 --config.detector.layer=features.12
  --config.detector.weights="$WEIGHTS/squeezenet1_1_caffe_rgb.pth")
tile=(--config differnet:magnetic_tile --config.data.root="$DATA/magnetic_tile")
screw=(--config differnet:folder --config.data.root="$DATA/mvtec_screw")
random=(--config.detector.weights=random --config.train.epochs=20)

# Figures of each: DifferNet | nearest neighbour.
jaxad run "${tile[@]}" "${common[@]}" "${plain[@]}" "${resnet[@]}"                        # 0.974 | 0.955
jaxad run "${tile[@]}" "${common[@]}" "${plain[@]}" "${squeezenet[@]}"                    # 0.881 | 0.825
jaxad run "${tile[@]}" "${common[@]}" "${plain[@]}" "${resnet[@]}" "${random[@]}"         # 0.640 | 0.555
jaxad run "${tile[@]}" "${common[@]}" "${plain[@]}" "${squeezenet[@]}" "${random[@]}"     # 0.667 | 0.555
jaxad run "${screw[@]}" "${common[@]}" "${plain[@]}" "${resnet[@]}"                       # 0.752 | 0.671
jaxad run "${screw[@]}" "${common[@]}" "${rotated[@]}" "${resnet[@]}"                     # 0.647 | 0.569
jaxad run "${screw[@]}" "${common[@]}" "${plain[@]}" "${squeezenet[@]}"                   # 0.616 | 0.728
jaxad run "${screw[@]}" "${common[@]}" "${rotated[@]}" "${squeezenet[@]}"                 # 0.467 | 0.699
jaxad run "${screw[@]}" "${common[@]}" "${plain[@]}" "${resnet[@]}" \
  --config.detector.learning_rate=5e-5                                                    # 0.719 | 0.671
jaxad run "${screw[@]}" "${common[@]}" "${plain[@]}" "${resnet[@]}" \
  --config.detector.n_scales=1                                                            # 0.423 | 0.664
jaxad run "${screw[@]}" "${common[@]}" "${plain[@]}" "${squeezenet[@]}" \
  --config.detector.n_scales=1                                                            # 0.782 | 0.771
jaxad run "${screw[@]}" "${common[@]}" "${plain[@]}" "${squeezenet[@]}" "${jitter[@]}" \
  --config.train.epochs=40                                                                # 0.683 | 0.785
jaxad run "${screw[@]}" "${common[@]}" "${plain[@]}" "${resnet[@]}" "${random[@]}"        # 0.670 | 0.279
jaxad run "${screw[@]}" "${common[@]}" "${plain[@]}" "${squeezenet[@]}" "${random[@]}"    # 0.994 | 0.236

# The trunk of the embedded run, 609 normal tiles to train and 152 held out.
small=(--config.data.image_size=224 --config.detector.trunk=efficientnet_lite0 --config.detector.n_scales=2
  --config.detector.hidden=128 --config.train.epochs=40 --config.eval.maps=sheet --config.eval.batch_size=8)
jaxad run "${tile[@]}" "${plain[@]}" "${small[@]}"                                        # 0.957
jaxad run "${tile[@]}" "${rotated[@]}" "${small[@]}" --config.train.cached_views=4 --config.train.epochs=30  # 0.818
