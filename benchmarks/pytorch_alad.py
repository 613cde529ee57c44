# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""ALAD's official training step and scores for images, in PyTorch.

Written for the comparison: passes and updates are those of the original, each
network's forward pass on each pair by itself, as its graph has them. The
gradient of the spectral norm stops at the power iteration, as in PyTorch; the
cost is that of the original or less. Images are [B, C, 32, 32] in [-1, 1].
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

NORM = {"eps": 1e-3, "momentum": 0.01}
SLOPE = 0.2


def initialise(module):
  """Kernels around 0, biases 0."""
  if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
    weights = module.weight
    if parametrize.is_parametrized(module):
      weights = module.parametrizations.weight.original
    nn.init.normal_(weights, 0.0, 0.01)
    nn.init.zeros_(module.bias)


def hidden(layer, width=None, normed=True, dropout=0.0):
  """A layer with what follows it; `width` where that is a batch norm."""
  layer = spectral_norm(layer) if normed else layer
  found = [layer, nn.LeakyReLU(SLOPE)]
  if width:
    found.insert(1, nn.BatchNorm2d(width, **NORM))
  return [*found, nn.Dropout(dropout)] if dropout else found


def halving(widths, normed, first_norm):
  """Convolutions of stride 2, each with a norm but maybe the first."""
  layers, before = [], 3
  for k, width in enumerate(widths):
    norm = width if k or first_norm else None
    layers += hidden(nn.Conv2d(before, width, 4, 2, 1), norm, normed)
    before = width
  return layers


def dense(inputs, widths, normed, dropout, out=None):
  layers = []
  for width in widths:
    layers += hidden(nn.Linear(inputs, width), None, normed, dropout)
    inputs = width
  return nn.Sequential(*layers, *([nn.Linear(inputs, out)] if out else []))


class Generator(nn.Sequential):
  """Codes [B, nz] to images."""

  def __init__(self, nz, widths):
    layers = []
    for k, width in enumerate(widths):
      way = (2, 1) if k else (1, 0)
      layers.append(nn.ConvTranspose2d(nz, width, 4, *way))
      layers += [nn.BatchNorm2d(width, **NORM), nn.ReLU()]
      nz = width
    super().__init__(*layers, nn.ConvTranspose2d(nz, 3, 4, 2, 1), nn.Tanh())

  def forward(self, z):
    return super().forward(z[:, :, None, None])


class PairXZ(nn.Module):
  """D_xz."""

  def __init__(self, sizes):
    super().__init__()
    normed, dropout = sizes.spectral_norm, sizes.xz_dropout
    self.data = nn.Sequential(*halving(sizes.xz_data, normed, False))
    self.code = dense(sizes.latent_dim, sizes.xz_code, normed, dropout)
    joint = 16 * sizes.xz_data[-1] + sizes.xz_code[-1]
    self.joint = dense(joint, sizes.xz_joint, normed, dropout, 1)

  def forward(self, x, z):
    return self.joint(torch.cat([self.data(x).flatten(1), self.code(z)], 1))


class PairXX(nn.Module):
  """D_xx, of two images one below the other."""

  def __init__(self, sizes):
    super().__init__()
    layers, before = [], 3
    for width in sizes.xx:
      # TensorFlow pads the end by one more.
      conv = nn.Conv2d(before, width, 5, 2)
      layers.append(nn.ZeroPad2d((1, 2, 1, 2)))
      layers += hidden(conv, None, sizes.spectral_norm, sizes.xx_dropout)
      before = width
    features = before * 2 * (32 // 2 ** len(sizes.xx)) ** 2
    self.layers = nn.Sequential(*layers, nn.Flatten())
    self.output = nn.Linear(features, 1)

  def features(self, a, b):
    return self.layers(torch.cat([a, b], 2))

  def forward(self, a, b):
    return self.output(self.features(a, b))


class PairZZ(nn.Module):
  """D_zz."""

  def __init__(self, sizes):
    super().__init__()
    normed, dropout = sizes.spectral_norm, sizes.zz_dropout
    self.layers = dense(2 * sizes.latent_dim, sizes.zz, normed, dropout, 1)

  def forward(self, a, b):
    return self.layers(torch.cat([a, b], 1))


def bce(logits, target):
  return F.binary_cross_entropy_with_logits(
    logits, torch.full_like(logits, target)
  )


class Alad:
  """The five networks, their optimisers and their moving averages.

  Args:
    sizes: of the networks, named as those of `jaxad.networks.alad.Layers`.
  """

  def __init__(self, sizes):
    nz, normed = sizes.latent_dim, sizes.spectral_norm
    self.encoder = nn.Sequential(
      *halving(sizes.encoder, normed, True),
      nn.Conv2d(sizes.encoder[-1], nz, 4),
      nn.Flatten(),
    )
    self.generator = Generator(nz, sizes.generator)
    self.xz, self.xx, self.zz = PairXZ(sizes), PairXX(sizes), PairZZ(sizes)
    self.networks = [self.encoder, self.generator, self.xz, self.xx, self.zz]
    for network in self.networks:
      network.apply(initialise)
    self.adams = {
      network: torch.optim.Adam(network.parameters(), 2e-4, (0.5, 0.999))
      for network in self.networks
    }
    self.averages = [
      [p.detach().clone() for p in network.parameters()]
      for network in self.networks
    ]
    self.nz = nz

  def logits(self, x):
    """Of the real and the generated pair of each discriminator."""
    z = torch.randn(len(x), self.nz, device=x.device)
    code, fake = self.encoder(x), self.generator(z)
    x_hat, z_hat = self.generator(code), self.encoder(fake)
    return (
      (self.xz(x, code), self.xz(fake, z)),
      (self.xx(x, x), self.xx(x, x_hat)),
      (self.zz(z, z), self.zz(z, z_hat)),
    )

  def train_step(self, x, x_again):
    """All five updates; returns the sums of both runs' losses."""
    players = [self.generator, self.encoder]
    critics = [self.xz, self.xx, self.zz]
    self._turn(critics, players)
    d_loss = sum(bce(real, 1) + bce(fake, 0) for real, fake in self.logits(x))
    self._descend(d_loss, critics)
    self._turn(players, critics)
    (encoded, generated), *pairs = self.logits(x_again)
    cost = sum(bce(real, 0) + bce(fake, 1) for real, fake in pairs)
    # Neither player is in the other's own term.
    loss = bce(generated, 1) + bce(encoded, 0) + cost
    self._descend(loss, players)
    with torch.no_grad():
      for network, average in zip(self.networks, self.averages, strict=True):
        torch._foreach_lerp_(average, list(network.parameters()), 0.001)
    return d_loss.detach(), loss.detach()

  @torch.no_grad()
  def score(self, x):
    """All four of the paper, from one pass, by running statistics."""
    for network in self.networks:
      network.eval()
    x_hat = self.generator(self.encoder(x))
    real, fake = self.xx.features(x, x), self.xx.features(x, x_hat)
    difference = (x - x_hat).flatten(1)
    logit = self.xx.output(fake)
    return (
      (real - fake).abs().sum(1),
      difference.abs().sum(1),
      difference.norm(dim=1),
      F.binary_cross_entropy_with_logits(
        logit, torch.ones_like(logit), reduction="none"
      )[:, 0],
    )

  def _turn(self, movers, others):
    for network in movers:
      network.requires_grad_(True)
    for network in others:
      network.requires_grad_(False)

  def _descend(self, loss, movers):
    for network in movers:
      self.adams[network].zero_grad(set_to_none=True)
    loss.backward()
    for network in movers:
      self.adams[network].step()
