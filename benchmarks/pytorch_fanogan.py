# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The official steps and scores of f-AnoGAN in PyTorch.

Written for the comparison. The original runs on TensorFlow 1; its steps are
told here in PyTorch's terms. Images are [B, C, 64, 64] in [-1, 1].
"""

import torch
import torch.nn.functional as F
from torch import nn


def layer_norm(channels):
  """Over pixels and channels, with an affine map a channel."""
  return nn.GroupNorm(1, channels, eps=1e-5)


def batch_norm(channels):
  return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class Block(nn.Module):
  """A residual block that halves or doubles the image."""

  def __init__(self, inputs, outputs, up, norm):
    super().__init__()
    between = outputs if up else inputs
    self.shortcut = nn.Conv2d(inputs, outputs, 1)
    self.norm1, self.norm2 = norm(inputs), norm(between)
    self.conv1 = nn.Conv2d(inputs, between, 3, padding=1, bias=False)
    self.conv2 = nn.Conv2d(between, outputs, 3, padding=1)
    self._up = up

  def forward(self, x):
    y = F.relu(self.norm1(x))
    if self._up:
      x, y = (F.interpolate(v, scale_factor=2) for v in (x, y))
    else:
      x = F.avg_pool2d(x, 2)
    y = self.conv2(F.relu(self.norm2(self.conv1(y))))
    return self.shortcut(x) + (y if self._up else F.avg_pool2d(y, 2))


class Encoder(nn.Module):
  """Image to code [B, out] and features; a critic has one output."""

  def __init__(self, channels, width, out, norm):
    super().__init__()
    widths = [width * k for k in (1, 2, 4, 8, 8)]
    self.input = nn.Conv2d(channels, width, 3, padding=1)
    self.blocks = nn.Sequential(
      *(
        Block(a, b, False, norm)
        for a, b in zip(widths[:-1], widths[1:], strict=True)
      )
    )
    self.output = nn.Linear(16 * widths[-1], out)

  def forward(self, x):
    features = self.blocks(self.input(x)).flatten(1)
    return self.output(features), features


class Generator(nn.Module):
  """Code to image."""

  def __init__(self, channels, width, latent):
    super().__init__()
    widths = [width * k for k in (8, 8, 4, 2, 1)]
    self.input = nn.Linear(latent, 16 * widths[0])
    self.blocks = nn.Sequential(
      *(
        Block(a, b, True, batch_norm)
        for a, b in zip(widths[:-1], widths[1:], strict=True)
      )
    )
    self.norm = batch_norm(width)
    self.output = nn.Conv2d(width, channels, 3, padding=1)

  def forward(self, z):
    x = self.blocks(self.input(z).unflatten(1, (-1, 4, 4)))
    return torch.tanh(self.output(F.relu(self.norm(x))))


class Fanogan:
  """The three networks and both training steps."""

  def __init__(self, channels=1, width=64, latent=128, critic_iters=5):
    self.generator = Generator(channels, width, latent)
    self.critic = Encoder(channels, width, 1, layer_norm)
    self.encoder = Encoder(channels, width, latent, batch_norm)
    self.networks = (self.generator, self.critic, self.encoder)
    self._latent, self._critic_iters = latent, critic_iters
    adam = lambda net: torch.optim.Adam(
      net.parameters(), lr=1e-4, betas=(0.0, 0.9)
    )
    self._adam_g, self._adam_d = adam(self.generator), adam(self.critic)
    # PyTorch starts the mean square at 0 and adds eps outside the root; neither
    # changes the time of a step.
    self._rmsprop = torch.optim.RMSprop(
      self.encoder.parameters(), lr=5e-5, alpha=0.9, eps=1e-5
    )

  def critic_loss(self, x, fake, alpha):
    between = (x + alpha * (fake - x)).requires_grad_()
    (gradient,) = torch.autograd.grad(
      self.critic(between)[0].sum(), between, create_graph=True
    )
    penalty = ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()
    wasserstein = self.critic(fake)[0].mean() - self.critic(x)[0].mean()
    return wasserstein + 10 * penalty

  def encoder_loss(self, x):
    x_hat = self.generator(torch.tanh(self.encoder(x)[0]))
    features = F.mse_loss(self.critic(x_hat)[1], self.critic(x)[1])
    return F.mse_loss(x_hat, x) + features

  def _noise(self, x):
    return torch.randn(len(x), self._latent, device=x.device)

  def gan_step(self, batches):
    """A move of the generator, then one of the critic for each batch."""
    self._adam_g.zero_grad()
    loss_g = -self.critic(self.generator(self._noise(batches[0])))[0].mean()
    loss_g.backward()
    self._adam_g.step()
    for x in batches:
      with torch.no_grad():
        fake = self.generator(self._noise(x))
      alpha = torch.rand(len(x), 1, 1, 1, device=x.device)
      self._adam_d.zero_grad()
      loss = self.critic_loss(x, fake, alpha)
      loss.backward()
      self._adam_d.step()
    return loss

  def freeze(self):
    """Before steps of the encoder."""
    self.generator.eval()
    for network in (self.generator, self.critic):
      network.requires_grad_(False)

  def encoder_step(self, x):
    self._rmsprop.zero_grad()
    loss = self.encoder_loss(x)
    loss.backward()
    self._rmsprop.step()
    return loss

  @torch.no_grad()
  def score(self, x):
    """Of images and features, by running statistics."""
    self.encoder.eval()
    x_hat = self.generator(torch.tanh(self.encoder(x)[0]))
    image = ((x - x_hat) ** 2).mean((1, 2, 3))
    features = (self.critic(x)[1] - self.critic(x_hat)[1]) ** 2
    return image + features.mean(1)
