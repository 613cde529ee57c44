#!/usr/bin/env bash
# VAE, ALAE, RSRAE and constrained AAE on MNIST and Fashion-MNIST: a minute or two each.
set -euo pipefail
: "${DATA:?set it to the folder of the data sets}"

for set in mnist fashion_mnist; do
  for class in 0 2 8; do
    jaxad run --config vae:$set/$class --config.data.root="$DATA/$set" --config.train.epochs=10 \
      --config.train.batch_size=64 --config.detector.width=16 --config.detector.latent_dim=32 \
      --config.detector.learning_rate=1e-3 --config.eval.maps=none
  done
done
for class in 0 1 8; do
  jaxad run --config alae:mnist/$class --config.data.root="$DATA/mnist" --config.detector.hidden=256 \
    --config.train.steps=1200 --config.data.image_size=28
  jaxad run --config caae:mnist/$class --config.data.root="$DATA/mnist" --config.data.image_size=16 \
    --config.detector.width=8 --config.detector.blocks=2 --config.detector.latent_dim=32 \
    --config.detector.critic_steps=2 --config.detector.warm_up=0 --config.detector.lambda_z=0.02 \
    --config.detector.learning_rate=1e-3 --config.detector.learning_rate_prior=5e-5 \
    --config.detector.norm_momentum=0.99 --config.train.batch_size=16 --config.train.steps=400 --config.eval.maps=none
done
fashion=(--config rsrae:fashion_mnist/t_shirt_top --config.data.root="$DATA/fashion_mnist")
jaxad run "${fashion[@]}" --config.data.contamination=0.5 --config.train.epochs=40
jaxad run "${fashion[@]}" --config.data.contamination=0.1 --config.train.epochs=20
jaxad run "${fashion[@]}" --config.data.contamination=0.3 --config.train.epochs=20
# CAVGA without labels, and with the score of the paper, on the embedded metal.
jaxad run --config cavga --config.detector.supervision=none
jaxad run --config cavga --config.detector.score=error
# A plain VAE in place of adVAE.
for table in letter cardio satellite optdigits pendigits; do
  jaxad run --config advae:table/$table --config.data.root="$DATA/tabular/$table.mat" --config.detector.gamma=0 \
    --config.detector.m_x=0 --config.train.steps=8000
done
