# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""The official steps of GANomaly, Skip-GANomaly and OCGAN in PyTorch.

Written for the comparison, with the costs of the originals kept: passes whose
result is thrown away, and gradients that nobody reads. A method is a class with
`networks`, `train_step` and `score`; images are [B, C, S, S] in [-1, 1].
OCGAN's original runs on MXNet; its step is told here in PyTorch's terms.
"""

import torch
import torch.nn.functional as F
from torch import nn


def initialise(module):
  """The normal start of GANs: kernels around 0, scales around 1."""
  if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
    nn.init.normal_(module.weight, 0.0, 0.02)
    if module.bias is not None:
      nn.init.zeros_(module.bias)
  elif isinstance(module, nn.BatchNorm2d):
    nn.init.normal_(module.weight, 1.0, 0.02)
    nn.init.zeros_(module.bias)


def adam(parameters) -> torch.optim.Adam:
  return torch.optim.Adam(parameters, lr=2e-4, betas=(0.5, 0.999))


def conv(inputs, outputs, stride=2, padding=1):
  return nn.Conv2d(inputs, outputs, 4, stride, padding, bias=False)


def conv_transpose(inputs, outputs, stride=2, padding=1, bias=False):
  return nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=bias)


def leaky_relu():
  return nn.LeakyReLU(0.2, inplace=True)


def pyramid(side, channels, width):
  """Layers that halve an image down to 4x4, and the channels they end with."""
  layers = [conv(channels, width), leaky_relu()]
  side //= 2
  while side > 4:
    layers += [conv(width, 2 * width), nn.BatchNorm2d(2 * width), leaky_relu()]
    side, width = side // 2, 2 * width
  return layers, width


def encoder(side, channels, outputs, width):
  layers, last = pyramid(side, channels, width)
  return nn.Sequential(*layers, conv(last, outputs, 1, 0))


def decoder(side, channels, inputs, width):
  """The encoder mirrored, from a code of one pixel to an image."""
  wide = width * side // 8
  layers = [conv_transpose(inputs, wide, 1, 0)]
  while wide > width:
    layers += [nn.BatchNorm2d(wide), nn.ReLU(inplace=True)]
    layers += [conv_transpose(wide, wide // 2)]
    wide //= 2
  layers += [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
  return nn.Sequential(*layers, conv_transpose(width, channels), nn.Tanh())


def bce(probability, target):
  return F.binary_cross_entropy(
    probability, torch.full_like(probability, target)
  )


def bce_logits(logits, target):
  return F.binary_cross_entropy_with_logits(
    logits, torch.full_like(logits, target)
  )


class Ganomaly:
  """The objective of the current code: feature matching for the generator."""

  class Generator(nn.Module):
    """Image, code, image, code."""

    def __init__(self, side, channels, nz, width):
      super().__init__()
      self.encoder1 = encoder(side, channels, nz, width)
      self.decoder = decoder(side, channels, nz, width)
      self.encoder2 = encoder(side, channels, nz, width)

    def forward(self, x):
      z = self.encoder1(x)
      fake = self.decoder(z)
      return fake, z, self.encoder2(fake)

  class Discriminator(nn.Module):
    """Probability of being real [B], and the features below it."""

    def __init__(self, side, channels, width):
      super().__init__()
      layers, last = pyramid(side, channels, width)
      self.features = nn.Sequential(*layers)
      self.classifier = nn.Sequential(conv(last, 1, 1, 0), nn.Sigmoid())

    def forward(self, x):
      features = self.features(x)
      return self.classifier(features).flatten(), features

  def __init__(self, side=32, channels=3, nz=100, width=64):
    self.generator = self.Generator(side, channels, nz, width)
    self.discriminator = self.Discriminator(side, channels, width)
    self.networks = (self.generator, self.discriminator)
    for net in self.networks:
      net.apply(initialise)
    self._adam_g, self._adam_d = (adam(n.parameters()) for n in self.networks)

  def train_step(self, x):
    discriminator = self.discriminator
    fake, z, z_fake = self.generator(x)
    p_real, _ = discriminator(x)
    p_fake, _ = discriminator(fake.detach())

    self._adam_g.zero_grad()
    # Both features once more, now with a gradient to the generator. It passes
    # the discriminator's parameters, whose gradients are cleared below.
    adversarial = F.mse_loss(discriminator(x)[1], discriminator(fake)[1])
    loss_g = adversarial + 50 * F.l1_loss(fake, x) + F.mse_loss(z_fake, z)
    loss_g.backward(retain_graph=True)
    self._adam_g.step()

    self._adam_d.zero_grad()
    loss_d = 0.5 * (bce(p_real, 1.0) + bce(p_fake, 0.0))
    loss_d.backward()
    self._adam_d.step()
    if loss_d.item() < 1e-5:
      discriminator.apply(initialise)
    return loss_g, loss_d

  @torch.no_grad()
  def score(self, x):
    """On batch statistics, as the official test has it."""
    _, z, z_fake = self.generator(x)
    return ((z_fake - z) ** 2).mean((1, 2, 3))


class SkipGanomaly:
  """The current code, without its noise, which is memory never written."""

  class Generator(nn.Module):
    """A U-Net down to one pixel."""

    def __init__(self, side, channels, width):
      super().__init__()
      levels = side.bit_length() - 1
      widths = [width * min(2**i, 8) for i in range(levels)]
      self.down = nn.ModuleList([conv(channels, width)])
      for i in range(1, levels):
        layers = [leaky_relu(), conv(widths[i - 1], widths[i])]
        if i < levels - 1:
          layers.append(nn.BatchNorm2d(widths[i]))
        self.down.append(nn.Sequential(*layers))
      self.up = nn.ModuleList()
      for i in reversed(range(1, levels)):
        inputs = widths[i] if i == levels - 1 else 2 * widths[i]
        self.up.append(
          nn.Sequential(
            nn.ReLU(inplace=True),
            conv_transpose(inputs, widths[i - 1]),
            nn.BatchNorm2d(widths[i - 1]),
          )
        )
      self.up.append(
        nn.Sequential(
          nn.ReLU(inplace=True),
          conv_transpose(2 * width, channels, bias=True),
          nn.Tanh(),
        )
      )

    def forward(self, x):
      skips = []
      for block in self.down:
        x = block(x)
        skips.append(x)
      x = self.up[0](skips.pop())
      for block in self.up[1:]:
        x = block(torch.cat((skips.pop(), x), 1))
      return x

  class Discriminator(nn.Module):
    """Probability of being real [B], and the code [B, nz, 1, 1]."""

    def __init__(self, side, channels, nz, width):
      super().__init__()
      self.features = encoder(side, channels, nz, width)
      self.classifier = nn.Conv2d(nz, 1, 3, padding=1, bias=False)

    def forward(self, x):
      features = self.features(x)
      return torch.sigmoid(self.classifier(features)).flatten(), features

  def __init__(self, side=32, channels=3, nz=100, width=64, width_d=64):
    self.generator = self.Generator(side, channels, width)
    self.discriminator = self.Discriminator(side, channels, nz, width_d)
    self.networks = (self.generator, self.discriminator)
    for net in self.networks:
      net.apply(initialise)
    # The discriminator's loss is taken back through the generator after that
    # has moved. What arrives there is never used; the PyTorch of the original
    # let it pass, today's does not. Aliases of the parameters move unseen.
    self._aliases = [nn.Parameter(p.data) for p in self.generator.parameters()]
    self._adam_g = adam(self._aliases)
    self._adam_d = adam(self.discriminator.parameters())

  def train_step(self, x):
    generator, discriminator = self.networks
    fake = generator(x)
    p_real, f_real = discriminator(x)
    p_fake, f_fake = discriminator(fake)

    generator.zero_grad()
    latent = F.mse_loss(f_fake, f_real)
    loss_g = bce(p_fake, 1.0) + 50 * F.l1_loss(fake, x) + latent
    loss_g.backward(retain_graph=True)
    for alias, p in zip(self._aliases, generator.parameters(), strict=True):
      alias.grad = p.grad
    self._adam_g.step()

    self._adam_d.zero_grad()
    p_fake, _ = discriminator(fake.detach())
    loss_d = bce(p_real, 1.0) + bce(p_fake, 0.0) + latent
    loss_d.backward()
    self._adam_d.step()
    if loss_d.item() < 1e-5:
      discriminator.apply(initialise)
    return loss_g, loss_d

  @torch.no_grad()
  def score(self, x):
    """On batch statistics, as the official test has it."""
    fake = self.generator(x)
    _, f_real = self.discriminator(x)
    _, f_fake = self.discriminator(fake)
    pixels = ((x - fake) ** 2).mean((1, 2, 3))
    return 0.9 * pixels + 0.1 * ((f_real - f_fake) ** 2).mean((1, 2, 3))


class Ocgan:
  """The released code; `mine` is its step of the last quarter of training.

  All running statistics start at 0, the variances too. They differ from MXNet's
  at the same work: variances are PyTorch's unbiased ones, and the passes whose
  loss is never used count.
  """

  def __init__(
    self, channels=3, latent=16, width=64, width_d=8, lambda_rec=500.0
  ):
    self.encoder = nn.Sequential(
      *self._convolutions(channels, width),
      nn.Conv2d(4 * width, latent, 5, 2, bias=False),
      leaky_relu(),
    )
    self.decoder = self._decoder(channels, latent, width)
    self.visual = self._critic(channels, width_d)
    self.latent = self._dense(latent)
    self.classifier = self._critic(channels, width)
    self.networks = (
      self.encoder,
      self.decoder,
      self.visual,
      self.latent,
      self.classifier,
    )
    self._lambda_rec = lambda_rec
    self._adam = {}
    self._steps = 0
    for net in self.networks:
      net.apply(initialise)
      for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
          module.running_var.zero_()
        elif isinstance(module, nn.Linear):
          nn.init.normal_(module.weight, 0.0, 0.02)
          nn.init.normal_(module.bias, 0.0, 0.02)
      self._adam[net] = adam(net.parameters())

  @staticmethod
  def _norm(width):
    # MXNet's momentum of 0.1 is the share that the past keeps.
    return nn.BatchNorm2d(width, momentum=0.9)

  def _convolutions(self, channels, width):
    """Three of the four convolutions of an encoder or a critic."""
    layers = [nn.Conv2d(channels, width, 5, 2), leaky_relu()]
    for _ in range(2):
      layers += [
        nn.Conv2d(width, 2 * width, 5, 2, bias=False),
        self._norm(2 * width),
        leaky_relu(),
      ]
      width *= 2
    return layers

  def _critic(self, channels, width):
    """Logits [B, 1, 1, 1]."""
    return nn.Sequential(
      *self._convolutions(channels, width), nn.Conv2d(4 * width, 1, 5, 2)
    )

  def _decoder(self, channels, latent, width):
    layers, inputs = [], latent
    for i, outputs in enumerate((4 * width, 2 * width, width)):
      layers += [
        nn.ConvTranspose2d(inputs, outputs, 5, 2, bias=False),
        self._norm(outputs),
        *([nn.Dropout(0.5)] if i == 2 else []),
        nn.ReLU(inplace=True),
      ]
      inputs = outputs
    layers += [nn.ConvTranspose2d(inputs, channels, 5, 2), nn.Tanh()]
    return nn.Sequential(*layers)

  @staticmethod
  def _dense(latent):
    """The latent discriminator; its "logits" are probabilities already."""
    layers, inputs = [nn.Flatten()], latent
    for outputs in (128, 64, 32):
      layers += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True)]
      inputs = outputs
    return nn.Sequential(*layers, nn.Linear(inputs, 16), nn.Sigmoid())

  def _uniform(self, like):
    return torch.empty_like(like).uniform_(-1.0, 1.0)

  def _backward(self, loss):
    """Every gradient anew, also of networks that will not move."""
    for net in self.networks:
      net.zero_grad()
    loss.backward()

  def _move(self, *networks):
    # MXNet adds its epsilon before the bias correction, PyTorch after it.
    eps = 1e-8 / (1.0 - 0.999**self._steps) ** 0.5
    for net in networks:
      self._adam[net].param_groups[0]["eps"] = eps
      self._adam[net].step()

  def train_step(self, noisy, clean, mine=False):
    self._steps += 1
    encoder, decoder, visual, latent, classifier = self.networks
    with torch.no_grad():
      encoder.eval()
      decoder.eval()
      code = encoder(noisy)
      rec = decoder(code)
      encoder.train()
      decoder.train()
    mu, uniform = self._uniform(code), self._uniform(code)
    if mine:
      mu = self._uniform(code).requires_grad_()
      logits = classifier(decoder(torch.tanh(mu)))
      self._backward(bce_logits(logits, 0.0) * len(mu))
      mu = mu.detach() - 2 * mu.grad
    mined = torch.tanh(mu)

    visual(rec)  # never used
    eps = self._uniform(code)
    loss_d = bce_logits(visual(decoder(eps)), 0.0)
    loss_d = 0.5 * (loss_d + bce_logits(visual(clean), 1.0))
    loss_d2 = bce_logits(latent(uniform), 1.0) + bce_logits(latent(code), 0.0)
    self._backward(loss_d + 0.5 * loss_d2)
    self._move(visual, latent)

    loss_c = bce_logits(classifier(decoder(eps)), 0.0)
    loss_c = 0.5 * (loss_c + bce_logits(classifier(rec), 1.0))
    self._backward(loss_c)
    self._move(classifier)

    visual(rec)  # never used
    code = encoder(noisy)
    squares = 0.5 * F.mse_loss(decoder(code), clean)
    loss_g = 10 * bce_logits(latent(code), 1.0) + self._lambda_rec * squares
    loss_g = loss_g + bce_logits(visual(decoder(mined)), 1.0)
    self._backward(loss_g)
    self._move(decoder, encoder)
    return loss_d, loss_d2, loss_c, loss_g

  @torch.no_grad()
  def score(self, noisy, clean):
    """All four of the official test; the third is the paper's."""
    for net in self.networks:
      net.eval()
    rec = self.decoder(self.encoder(noisy))
    scores = (
      self.visual(rec).mean((1, 2, 3)),
      self.visual(noisy).mean((1, 2, 3)),
      -((rec - clean) ** 2).mean((1, 2, 3)),
      self.visual(self.decoder(self.encoder(clean))).mean((1, 2, 3)),
    )
    for net in self.networks:
      net.train()
    return scores
