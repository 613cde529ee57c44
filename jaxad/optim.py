# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Optimisers of the reference implementations, as optax transformations."""

import optax


def adam_l2(
  learning_rate: float,
  b1: float = 0.9,
  b2: float = 0.999,
  eps: float = 1e-8,
  weight_decay: float = 0.0,
) -> optax.GradientTransformation:
  """Adam with coupled L2, as PyTorch's `Adam(weight_decay=...)`.

  g <- g + weight_decay * w on every parameter, then Adam on g. This is not
  AdamW, which takes the decay past the moments (Loshchilov and Hutter, ICLR
  2019, arXiv 1711.05101).

  Args:
    learning_rate: step size.
    b1: decay of the first moment.
    b2: decay of the second moment.
    eps: added outside the square root.
    weight_decay: factor of the L2 term.
  """
  return optax.chain(
    optax.add_decayed_weights(weight_decay),
    optax.scale_by_adam(b1=b1, b2=b2, eps=eps),
    optax.scale(-learning_rate),
  )
