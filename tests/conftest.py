# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Options and shared set-up of the test suite."""

import gc
import importlib.metadata
import os

import jax
import pytest

# Most of the time of these tests goes to compiling programs that run a few
# times on small arrays: without the passes that make them fast it is a third.
# The arithmetic is the same up to the order of sums. XLA reads flags when it is
# first used.
FLAGS = [
  "--xla_backend_optimization_level=0",
  "--xla_cpu_parallel_codegen_split_count=1",
]
# XLA stops at a flag it does not know, and each jax knows others.
jax_version = importlib.metadata.version("jax")
if jax_version.startswith("0.10."):
  FLAGS.append("--xla_cpu_use_fusion_emitters=false")
if jax_version.startswith(("0.10.", "0.12.")):
  FLAGS.append("--xla_cpu_opt_preset=CPU_OPT_PRESET_FAST_COMPILE")
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *FLAGS])


# Tracing makes millions of objects that stay: to look for garbage among them so
# often takes a sixth of the time.
gc.set_threshold(50_000, 20, 50)

# Where in Python each operation comes from, which programs carry along, takes
# another sixth.
jax.config.update("jax_traceback_in_locations_limit", 0)


def pytest_addoption(parser):
  parser.addoption(
    "--goldens",
    metavar="DIR",
    default=None,
    help="replay the recordings in DIR/<method>/*.npz instead of ours",
  )


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
  """Two tests at a time, where pytest-xdist is installed and -n is not given.

  A test compiles on one core; each process takes up to 5 GB. The tests of a
  file stay together: they share runs that fixtures made, and what was compiled.
  """
  option = config.option
  unset = getattr(option, "numprocesses", 0) is None
  if unset and not option.usepdb and not hasattr(config, "workerinput"):
    option.numprocesses, option.dist = min(2, os.cpu_count()), "loadfile"


@pytest.fixture(scope="session", autouse=True)
def compile_once(tmp_path_factory):
  """Tests that compile the same program share it through JAX's disk cache.

  The processes that they start do too, in place of the user's cache.
  """
  folder = str(tmp_path_factory.mktemp("compiled"))
  os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
  os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
  jax.config.update("jax_compilation_cache_dir", folder)
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
  jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.fixture(autouse=True)
def blank_charts(request, monkeypatch):
  """To draw the charts of its page would take a run of seconds another one."""
  if request.module.__name__ != "test_page":
    blank = lambda figure: "data:image/svg+xml,"
    monkeypatch.setattr("jaxad.report.page_charts.chart_uri", blank)


@pytest.fixture(scope="module", autouse=True)
def forget():
  """Programs of one file are of no use to the next, and slow what follows."""
  yield
  jax.clear_caches()
