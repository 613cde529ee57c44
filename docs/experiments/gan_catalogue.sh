#!/usr/bin/env bash
# Six GANs on MNIST at 16 pixels, one class normal: one to two minutes each.
set -euo pipefail
: "${DATA:?set it to the folder of the data sets}"

common=(--config.data.root="$DATA/mnist" --config.data.protocol=one_vs_rest --config.data.image_size=16
  --config.eval.maps=none)
small=(--config.detector.ema_decay=0.99 --config.detector.norm_momentum=0.9 --config.train.batch_size=32
  --config.train.steps=450 --config.detector.latent_dim=32)
for class in 0 2 8; do
  jaxad run --config egbad:mnist/$class "${common[@]}" "${small[@]}" \
    --config.detector.encoder_widths=32,64,64 --config.detector.generator_widths=256,64,32 \
    --config.detector.discriminator_widths=32,64 --config.detector.code_width=128 --config.detector.joint_width=256 \
    --config.detector.dropout=0.2 --config.detector.learning_rate=5e-4
  jaxad run --config alad:mnist/$class "${common[@]}" --config.train.steps=500 --config.detector.learning_rate=1e-3 \
    --config.detector.ema_decay=0.99 --config.detector.images.latent_dim=16 --config.detector.images.encoder=16,32 \
    --config.detector.images.generator=32,16 --config.detector.images.xx=16,32 --config.detector.images.xz_data=16,32 \
    --config.detector.images.xz_code=64 --config.detector.images.xz_joint=64
  jaxad run --config alocc:mnist/$class "${common[@]}" --config.train.steps=450 --config.train.batch_size=32 \
    --config.detector.score=error
  jaxad run --config adae:mnist/$class "${common[@]}" --config.train.steps=450 --config.detector.latent_dim=6 \
    --config.detector.lambda_d=0.1 --config.detector.lambda_g=0.1 --config.detector.learning_rate=2e-3
done
for class in 0 2; do
  jaxad run --config anogan:mnist/$class "${common[@]}" "${small[@]}" \
    --config.detector.generator_widths=128,32,32 --config.detector.discriminator_widths=32,32,64 \
    --config.detector.learning_rate=1e-3 --config.detector.search_steps=100 --config.detector.search_rates=0.05,0.02 \
    --config.detector.search_boundaries=60
done
jaxad run --config fanogan:mnist/0 "${common[@]}" --config.data.image_size=8 --config.train.steps=450 \
  --config.train.batch_size=32 --config.detector.width=16 --config.detector.latent_dim=16 \
  --config.detector.critic_iters=2 --config.detector.encoder_steps=300 --config.detector.learning_rate=5e-4 \
  --config.detector.learning_rate_enc=1e-3 --config.detector.norm_momentum=0.9 --config.detector.training=izi_f
