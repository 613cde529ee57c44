# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Dense networks, for rows of tables."""

import flax.linen as nn

from jaxad.layers.dropout import Dropout


class MLP(nn.Module):
  """Dense layers with a leaky ReLU each, and a linear one at the end.

  Biases start at 0, kernels by default uniform as of Glorot and Bengio,
  "Understanding the difficulty of training deep feedforward neural networks",
  AISTATS 2010.

  Attributes:
    hidden: widths of the hidden layers.
    out: width of the linear layer; None for none.
    slope: of the leaky ReLU; 0 is ReLU.
    dropout: share that is left out behind each hidden layer.
    kernel_init: initialiser of the kernels.
  """

  hidden: tuple[int, ...]
  out: int | None = None
  slope: float = 0.0
  dropout: float = 0.0
  kernel_init: nn.initializers.Initializer = nn.initializers.glorot_uniform()

  @nn.compact
  def __call__(self, x, train: bool):
    """[B, D] to (output [B, out] or None, features [B, hidden[-1]])."""
    dense = lambda width, name: nn.Dense(
      width, kernel_init=self.kernel_init, name=name
    )
    for k, width in enumerate(self.hidden):
      x = nn.leaky_relu(dense(width, f"dense_{k}")(x), self.slope)
      x = Dropout(self.dropout, name=f"dropout_{k}")(x, train)
    return None if self.out is None else dense(self.out, "dense_out")(x), x
