# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""DifferNet's step in PyTorch as the official implementation takes it.

Written for the comparison, with the costs of the original kept: the flow hands
out its log-determinant by evaluating every subnet a second time, and the
gradients of the frozen trunk are computed too (all but `frozen`), to be
accumulated and never used.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

CLAMP_CONSTANT = 0.636


def trunk() -> nn.Sequential:
  """AlexNet's convolutions, numbered as in torchvision."""
  return nn.Sequential(
    nn.Conv2d(3, 64, 11, stride=4, padding=2),
    nn.ReLU(inplace=True),
    nn.MaxPool2d(3, stride=2),
    nn.Conv2d(64, 192, 5, padding=2),
    nn.ReLU(inplace=True),
    nn.MaxPool2d(3, stride=2),
    nn.Conv2d(192, 384, 3, padding=1),
    nn.ReLU(inplace=True),
    nn.Conv2d(384, 256, 3, padding=1),
    nn.ReLU(inplace=True),
    nn.Conv2d(256, 256, 3, padding=1),
    nn.ReLU(inplace=True),
    nn.MaxPool2d(3, stride=2),
  )


class Subnet(nn.Module):
  """Four linear layers, ReLU between them."""

  def __init__(self, inputs: int, hidden: int, outputs: int):
    super().__init__()
    self.fc1 = nn.Linear(inputs, hidden)
    self.fc2 = nn.Linear(hidden, hidden)
    self.fc2b = nn.Linear(hidden, hidden)
    self.fc3 = nn.Linear(hidden, outputs)

  def forward(self, x):
    x = F.relu(self.fc1(x))
    x = F.relu(self.fc2(x))
    x = F.relu(self.fc2b(x))
    return self.fc3(x)


class Coupling(nn.Module):
  """Both halves in turn; the log-determinant is a second evaluation."""

  def __init__(self, dim: int, hidden: int, clamp: float):
    super().__init__()
    self.l1 = dim // 2
    self.l2 = dim - self.l1
    self.clamp = clamp
    self.s1 = Subnet(self.l1, hidden, 2 * self.l2)
    self.s2 = Subnet(self.l2, hidden, 2 * self.l1)

  def _g(self, s):
    return self.clamp * CLAMP_CONSTANT * torch.atan(s / self.clamp)

  def _transform(self, x):
    x1, x2 = x[:, : self.l1], x[:, self.l1 :]
    r2 = self.s2(x2)
    g2, t2 = self._g(r2[:, : self.l1]), r2[:, self.l1 :]
    y1 = torch.exp(g2) * x1 + t2
    r1 = self.s1(y1)
    g1, t1 = self._g(r1[:, : self.l2]), r1[:, self.l2 :]
    return y1, x2, g1, t1, g2

  def forward(self, x):
    y1, x2, g1, t1, _ = self._transform(x)
    y = torch.cat((y1, torch.exp(g1) * x2 + t1), 1)
    return torch.clamp(y, -1e6, 1e6)

  def log_jacobian(self, x):
    _, _, g1, _, g2 = self._transform(x)
    return g1.sum(1) + g2.sum(1)


class DifferNet(nn.Module):
  """Trunk at three scales, then the flow."""

  def __init__(
    self,
    n_blocks: int,
    hidden: int,
    dim: int = 768,
    n_scales: int = 3,
    clamp: float = 3.0,
    trunk_dtype: torch.dtype = torch.float32,
  ):
    super().__init__()
    self.n_scales = n_scales
    self.trunk_dtype = trunk_dtype
    self.trunk = trunk().to(trunk_dtype)
    self.flow = nn.ModuleList(
      Coupling(dim, hidden, clamp) for _ in range(n_blocks)
    )
    # Constants that move with the module, and no part of a checkpoint.
    for k in range(n_blocks):
      order = torch.from_numpy(np.random.RandomState(k).permutation(dim))
      self.register_buffer(f"order_{k}", order, persistent=False)

  def features(self, x):
    """x [B, 3, S, S], normalised, to y [B, dim]."""
    pooled = []
    for scale in range(self.n_scales):
      scaled = x
      if scale:
        side = x.shape[-1] // 2**scale
        scaled = F.interpolate(x, size=(side, side), mode="nearest")
      maps = self.trunk(scaled.to(self.trunk_dtype))
      pooled.append(maps.to(x.dtype).mean((2, 3)))
    return torch.cat(pooled, 1)

  def latent(self, y):
    """y to (z, inputs of the blocks)."""
    inputs = []
    for k, block in enumerate(self.flow):
      y = y[:, getattr(self, f"order_{k}")]
      inputs.append(y)
      y = block(y)
    return y, inputs

  def loss(self, y):
    """y to (z, nats per dimension, mean over the rows)."""
    z, inputs = self.latent(y)
    logdet = sum(
      block.log_jacobian(x) for block, x in zip(self.flow, inputs, strict=True)
    )
    nll = 0.5 * (z**2).sum(1) - logdet
    return z, nll.mean() / z.shape[1]


def make_optimizer(model: DifferNet) -> torch.optim.Adam:
  """The official Adam, of the flow alone."""
  return torch.optim.Adam(
    model.flow.parameters(),
    lr=2e-4,
    betas=(0.8, 0.8),
    eps=1e-4,
    weight_decay=1e-5,
  )


def image_loss(model, x, frozen=False):
  """Loss of images; `frozen` keeps the trunk out of the graph."""
  if frozen:
    with torch.no_grad():
      y = model.features(x)
  else:
    y = model.features(x)
  return model.loss(y)


def train(loss_fn, optimizer):
  """One training step on `loss_fn() -> (z, loss)`; returns the loss."""
  optimizer.zero_grad()
  _, loss = loss_fn()
  loss.backward()
  optimizer.step()
  return loss.detach()


@torch.no_grad()
def score(loss_fn):
  """(z, loss, score) of one image."""
  z, loss = loss_fn()
  return z, loss, (z**2).mean()


def pixel_gradient(loss_fn, x):
  """Gradient of the loss at the views x of one image."""
  x.grad = None
  x.requires_grad_()
  _, loss = loss_fn()
  loss.backward()
  return x.grad
