# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""Kills runs at random moments, resumes them, and compares what they end with.

    python tests/soak/kill.py --kills 100

Each configuration first runs undisturbed. Then it runs again and again, killed
by SIGKILL after a random time and resumed, until it is through; its weights,
scores and figures must have the same bits. It goes on until there were so many
kills. The exit code is 1 if anything differed.
"""

import argparse
import collections
import csv
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

# Checkpoints so often that many kills fall into the writing of one.
CONFIGS = {
  "differnet": [
    "--config.data.n_train=24",
    "--config.data.n_test_good=8",
    "--config.data.n_test_defect=8",
    "--config.data.image_size=64",
    "--config.detector.hidden=16",
    "--config.train.epochs=40",
    "--config.train.checkpoint_every=2",
    "--config.eval.every=5",
    "--config.eval.select=held_out",
  ],
  "ocgan": [
    "--config.detector.width=4",
    "--config.train.steps=60",
    "--config.train.checkpoint_every=2",
    "--config.eval.maps=none",
  ],
  "dra": [
    "--config.data.n_train=48",
    "--config.data.n_test_good=8",
    "--config.data.n_test_defect=24",
    "--config.data.n_anomalies=4",
    "--config.data.image_size=64",
    "--config.detector.trunk.width=4",
    "--config.train.steps=30",
    "--config.train.batch_size=16",
    "--config.train.checkpoint_every=1",
  ],
}

# What a clock decides.
CLOCK = ("train_seconds", "embed_seconds", "ms_per_image", "provenance")


def main():
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--kills", type=int, default=100)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--configs", nargs="+", default=list(CONFIGS))
  args = parser.parse_args()
  rng = random.Random(args.seed)
  kills, wrong = collections.Counter(), 0
  with tempfile.TemporaryDirectory() as scratch:
    scratch = pathlib.Path(scratch)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(scratch / "compiled")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    wanted, seconds = {}, {}
    for name in args.configs:
      command(name, scratch / name / "first").wait()  # compiles
      began = time.monotonic()
      folder = scratch / name / "undisturbed"
      if command(name, folder).wait():
        sys.exit(f"{name}: {log(folder).read_text()}")
      seconds[name] = time.monotonic() - began
      wanted[name] = outcome(folder)
    while kills.total() < args.kills:
      name = min(args.configs, key=kills.__getitem__)
      folder = scratch / name / "killed"
      kills[name] += until_it_ends(name, folder, seconds[name], rng)
      differing = differences(wanted[name], outcome(folder))
      wrong += bool(differing)
      print(
        f"{name}: {kills[name]} kills so far;",
        f"differs: {', '.join(differing)}" if differing else "the same bits",
        flush=True,
      )
      shutil.rmtree(folder)
      log(folder).unlink()
  print(f"{kills.total()} kills, {wrong} runs that ended otherwise")
  return int(wrong > 0)


def until_it_ends(name, folder, seconds, rng):
  """Runs, kills and resumes; returns the number of kills."""
  kills = 0
  while True:
    process = command(name, folder)
    try:
      code = process.wait(rng.uniform(0, seconds))
    except subprocess.TimeoutExpired:
      process.send_signal(signal.SIGKILL)
      process.wait()
      kills += 1
      continue
    if code:
      sys.exit(f"{name}, after {kills} kills: {log(folder).read_text()}")
    return kills


def command(name, folder):
  """A process of the run, resumed where there is one."""
  words = [sys.executable, "-m", "jaxad.run", "--config", name, *CONFIGS[name]]
  words += ["--workdir", str(folder)]
  if (folder / "config.json").is_file():
    words.append("--resume")
  folder.parent.mkdir(exist_ok=True)
  with log(folder).open("w") as file:
    return subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT)


def log(folder):
  return folder.with_suffix(".log")


def outcome(folder):
  """What the same run leaves behind each time, by name."""
  results = json.loads((folder / "results.json").read_text())
  found = {k: v for k, v in results.items() if k not in CLOCK}
  found["weights"] = (folder / "model.safetensors").read_bytes()
  with (folder / "scores.csv").open() as file:
    found["scores"] = list(csv.reader(file))
  return found


def differences(wanted, found):
  names = wanted.keys() | found.keys()
  return sorted(n for n in names if wanted.get(n) != found.get(n))


if __name__ == "__main__":
  sys.exit(main())
