# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The official steps of DRA and DevNet in PyTorch.

Written for the comparison. Images are [B, 3, S, S], already augmented and
normalised, which is the work of the original's data workers. Kept from it: the
references go through the trunk with every batch, each head of DRA gets only the
rows that it learns from, and each loss draws its prior anew, though here on the
device. Nothing is read back in a step. The names of parameters are those of
torchvision in the trunk and of the original, but for prefixes, in the heads.
"""

import torch
import torch.nn.functional as F
from torch import nn

# DRA's, in the order of its scores.
HEADS = ("holistic", "seen", "pseudo", "composite")
N_PRIOR = 5000
MARGIN = 5.0


def conv(inputs, outputs, kernel, stride=1):
  return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class Block(nn.Module):
  """ResNet's basic block."""

  def __init__(self, inputs, outputs, stride):
    super().__init__()
    self.conv1 = conv(inputs, outputs, 3, stride)
    self.bn1 = nn.BatchNorm2d(outputs)
    self.conv2 = conv(outputs, outputs, 3)
    self.bn2 = nn.BatchNorm2d(outputs)
    self.downsample = nn.Identity()
    if stride > 1:
      self.downsample = nn.Sequential(
        conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)
      )

  def forward(self, x):
    y = F.relu(self.bn1(self.conv1(x)), inplace=True)
    y = self.bn2(self.conv2(y))
    y += self.downsample(x)
    return F.relu(y, inplace=True)


class ResNet18(nn.Module):
  """The convolutions, images to maps [B, 8 * width, S / 32, S / 32].

  With fewer `blocks` a layer it is a smaller relative.
  """

  def __init__(self, width, blocks):
    super().__init__()
    self.conv1 = conv(3, width, 7, 2)
    self.bn1 = nn.BatchNorm2d(width)
    self.maxpool = nn.MaxPool2d(3, 2, 1)
    inputs = width
    for k in range(4):
      outputs = width * 2**k
      layer = [Block(inputs, outputs, 2 if k else 1)]
      layer += [Block(outputs, outputs, 1) for _ in range(blocks - 1)]
      self.add_module(f"layer{k + 1}", nn.Sequential(*layer))
      inputs = outputs

  def forward(self, x):
    x = F.relu(self.bn1(self.conv1(x)), inplace=True)
    x = self.maxpool(x)
    return self.layer4(self.layer3(self.layer2(self.layer1(x))))


def top_mean(z, top_k):
  """Mean of the largest absolute values, z [B, 1, h, w] to [B]."""
  z = z.flatten(1).abs()
  return z.topk(max(int(z.shape[1] * top_k), 1), dim=1).values.mean(1)


class Patches(nn.Module):
  """Scores places by a 1x1 convolution, images by the highest of them."""

  def __init__(self, channels, top_k):
    super().__init__()
    self.top_k = top_k
    self.scoring = nn.Conv2d(channels, 1, 1)

  def forward(self, y):
    return top_mean(self.scoring(y), self.top_k)


class Holistic(nn.Module):
  """Scores the mean over all places."""

  def __init__(self, channels):
    super().__init__()
    self.fc1 = nn.Linear(channels, 256)
    self.fc2 = nn.Linear(256, 1)

  def forward(self, y):
    return self.fc2(F.relu(self.fc1(y.mean((2, 3)))))[:, 0].abs()


class Composite(Patches):
  """Scores the residual to the mean of the references."""

  def __init__(self, channels, top_k):
    super().__init__(channels, top_k)
    self.conv = nn.Sequential(
      nn.Conv2d(channels, channels, 3, padding=1),
      nn.BatchNorm2d(channels),
      nn.ReLU(inplace=True),
    )

  def forward(self, residual):
    return super().forward(self.conv(residual))


def deviation(scores, anomalous, mean, std):
  """Deviation loss of scores that should be high where `anomalous`."""
  y = anomalous.to(scores.dtype)
  d = (scores - mean) / std
  return ((1 - y) * d.abs() + y * F.relu(MARGIN - d)).mean()


class Scorer(nn.Module):
  """What the two methods share: the trunk at several scales, and the update.

  With `bfloat16` the trunk's arithmetic is, its parameters are not.
  """

  def __init__(self, width, blocks, n_scales, bfloat16):
    super().__init__()
    self.n_scales = n_scales
    self.bfloat16 = bfloat16
    self.trunk = ResNet18(width, blocks)
    self.channels = 8 * width

  def maps(self, x):
    """One after the other, since the running statistics follow that order."""
    for scale in range(self.n_scales):
      scaled = x
      if scale:
        side = x.shape[-1] // 2**scale
        scaled = F.interpolate(x, size=(side, side), mode="nearest")
      kind = x.device.type
      with torch.autocast(kind, torch.bfloat16, enabled=self.bfloat16):
        y = self.trunk(scaled)
      yield y.to(x.dtype)

  def prior(self, like):
    """Mean and deviation of scores drawn from N(0, 1)."""
    drawn = torch.randn(N_PRIOR, device=like.device, dtype=like.dtype)
    return drawn.mean(), drawn.std()

  def start_adam(self):
    self._adam = torch.optim.Adam(
      self.parameters(), lr=2e-4, betas=(0.9, 0.999), weight_decay=1e-5
    )

  def descend(self, loss):
    self._adam.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(self.parameters(), 1.0)
    self._adam.step()


class Dra(Scorer):
  """Four heads, whose mean over the scales is a score each."""

  def __init__(self, width=64, blocks=2, top_k=0.1, n_scales=2, bfloat16=False):
    super().__init__(width, blocks, n_scales, bfloat16)
    self.heads = nn.ModuleDict(
      {
        "holistic": Holistic(self.channels),
        "seen": Patches(self.channels, top_k),
        "pseudo": Patches(self.channels, top_k),
        "composite": Composite(self.channels, top_k),
      }
    )
    self.start_adam()

  def forward(self, references, x, rows=None):
    """Scores [n] of each head, of the rows that `rows` has for it or of all."""
    n = len(references)
    scores = {name: [] for name in HEADS}
    for maps in self.maps(torch.cat((references, x))):
      for name in HEADS:
        y = maps[n:]
        if name == "composite":
          y = maps[:n].mean(0) - y
        elif rows and name in rows:
          y = y[rows[name]]
        scores[name].append(self.heads[name](y))
    return {name: torch.stack(s).mean(0) for name, s in scores.items()}

  def train_step(self, references, x, label):
    """Labels: 0 normal, 1 seen, 2 pseudo. Returns the loss of each head."""
    # Indices, not masks: they have a shape that a compiler knows.
    rows = {
      "seen": (label != 2).nonzero()[:, 0],
      "pseudo": (label != 1).nonzero()[:, 0],
    }
    losses = []
    for name, scores in self(references, x, rows).items():
      labels = label[rows[name]] if name in rows else label
      high = labels == 0 if name == "holistic" else labels != 0
      losses.append(deviation(scores, high, *self.prior(scores)))
    self.descend(sum(losses))
    return torch.stack(losses).detach()

  @torch.no_grad()
  def score(self, references, x):
    self.eval()
    scores = self(references, x)
    return sum(scores[name] for name in HEADS[1:]) - scores["holistic"]


class DevNet(Scorer):
  """One head."""

  def __init__(self, width=64, blocks=2, top_k=0.1, n_scales=2, bfloat16=False):
    super().__init__(width, blocks, n_scales, bfloat16)
    self.head = Patches(self.channels, top_k)
    self.start_adam()

  def forward(self, x):
    return torch.stack([self.head(y) for y in self.maps(x)]).mean(0)

  def train_step(self, x, label):
    scores = self(x)
    loss = deviation(scores, label != 0, *self.prior(scores))
    self.descend(loss)
    return loss.detach()

  @torch.no_grad()
  def score(self, x):
    self.eval()
    return self(x)
