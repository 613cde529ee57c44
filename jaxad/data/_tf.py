# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""TensorFlow as this package needs it: quiet, late, and on the CPU."""

import functools
import os


@functools.cache
def tensorflow():
  """The `tensorflow` module; the first call imports it and takes seconds.

  TensorFlow only runs the input pipeline, so accelerators are hidden from it:
  else it would take memory on them that JAX needs.
  """
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  # No TensorFlow arithmetic is used; this only silences the oneDNN message.
  os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
  import tensorflow as tf

  for kind in ("GPU", "TPU"):
    try:
      tf.config.set_visible_devices([], kind)
    except RuntimeError:
      # The program has used TensorFlow before and decided for itself.
      pass
  return tf


def on_own_thread(dataset):
  """A tf.data set that computes on a thread of its own.

  TensorFlow's own pools are as large as the machine and would compete with
  XLA on a CPU.
  """
  tf = tensorflow()
  options = tf.data.Options()
  options.deterministic = True
  options.threading.private_threadpool_size = 1
  options.threading.max_intra_op_parallelism = 1
  # The tuner is a thread, and the end of every data set can wait a second for
  # the thread's.
  options.autotune.enabled = False
  return dataset.with_options(options)
