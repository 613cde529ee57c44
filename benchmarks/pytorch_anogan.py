# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The latent search of EGBAD's authors' AnoGAN, in eager PyTorch.

Written for the comparison; the original is of TensorFlow 1. As there, all
images of a batch are searched for at once. Images are [B, C, S, S] in [-1, 1].
"""

import torch
import torch.nn.functional as F
from torch import nn


class Generator(nn.Module):
  """Codes to images."""

  def __init__(self, side, channels, nz, widths):
    super().__init__()
    hidden, deep, shallow = widths
    flat = deep * (side // 4) ** 2
    self.shape = (side // 4, side // 4, deep)
    self.fc1, self.bn1 = nn.Linear(nz, hidden), norm(nn.BatchNorm1d, hidden)
    self.fc2, self.bn2 = nn.Linear(hidden, flat), norm(nn.BatchNorm1d, flat)
    self.conv3 = nn.ConvTranspose2d(deep, shallow, 4, 2, 1)
    self.bn3 = norm(nn.BatchNorm2d, shallow)
    self.conv4 = nn.ConvTranspose2d(shallow, channels, 4, 2, 1)

  def forward(self, z):
    x = F.relu(self.bn1(self.fc1(z)))
    x = F.relu(self.bn2(self.fc2(x)))
    x = x.unflatten(1, self.shape).permute(0, 3, 1, 2)  # TensorFlow's order
    return torch.tanh(self.conv4(F.relu(self.bn3(self.conv3(x)))))


class Discriminator(nn.Module):
  """Images to their features."""

  def __init__(self, side, channels, widths, slope=0.1):
    super().__init__()
    first, second, features = widths
    flat = second * (side // 4) ** 2
    self.slope = slope
    self.conv1 = nn.Conv2d(channels, first, 4, 2, 1)
    self.conv2 = nn.Conv2d(first, second, 4, 2, 1)
    self.bn2 = norm(nn.BatchNorm2d, second)
    self.fc3 = nn.Linear(flat, features)
    self.bn3 = norm(nn.BatchNorm1d, features)

  def forward(self, x):
    act = lambda x: F.leaky_relu(x, self.slope)
    x = act(self.bn2(self.conv2(act(self.conv1(x)))))
    return act(self.bn3(self.fc3(x.permute(0, 2, 3, 1).flatten(1))))


def norm(kind, width):
  return kind(width, eps=1e-3, momentum=0.01)


class AnoGan:
  """Both networks, frozen, and the search with them."""

  def __init__(
    self,
    side=28,
    channels=1,
    nz=200,
    generator_widths=(1024, 128, 64),
    discriminator_widths=(64, 64, 1024),
    lam=0.1,
    rates=(0.01, 0.001, 0.0005),
    boundaries=(200, 300),
  ):
    self.nz, self.lam = nz, lam
    self.rates, self.boundaries = rates, boundaries
    self.generator = Generator(side, channels, nz, generator_widths)
    self.discriminator = Discriminator(side, channels, discriminator_widths)
    self.networks = (self.generator, self.discriminator)
    for network in self.networks:
      network.eval().requires_grad_(False)

  def losses(self, x, f, z):
    """[B], what the search lowers, and the score at its end."""
    x_hat = self.generator(z)
    residual = (x - x_hat).abs().flatten(1).sum(1)
    discrimination = (f - self.discriminator(x_hat)).abs().sum(1)
    return (1 - self.lam) * residual + self.lam * discrimination

  def search(self, x, z, steps=500):
    """(scores [B], codes [B, nz]) after so many steps of Adam from z."""
    f = self.discriminator(x)
    z = z.clone().requires_grad_()
    adam = torch.optim.Adam([z])
    (group,) = adam.param_groups
    for k in range(steps):
      group["lr"] = self.rates[sum(k > last for last in self.boundaries)]
      # TensorFlow adds its epsilon before the bias correction.
      group["eps"] = 1e-8 / (1 - 0.999 ** (k + 1)) ** 0.5
      adam.zero_grad()
      self.losses(x, f, z).sum().backward()
      adam.step()
    with torch.no_grad():
      return self.losses(x, f, z), z.detach()
