# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""A trained run as one file that scores images with jax and NumPy alone.

    python -m jaxad.export --run runs/bottle --output bottle.jaxad

The file holds the weights, the preprocessing, the threshold and the programs of
the score (StableHLO by `jax.export`) for CPUs, CUDA and TPUs. In a batch of the
size that the run has, they give its bits. `jaxad.load_scorer` reads it.
"""

import functools
import importlib.metadata
import json
import pathlib
import sys

import jax
import jax.export
import numpy as np

import jaxad
from jaxad import scorer, tensor_file, trained
from jaxad.errors import InputError
from jaxad.image_scorer import SCORING, example_keys
from jaxad.report import tables

PLATFORMS = ("cpu", "cuda", "tpu")

# Of what is known of a run.
_KEPT = (
  "method",
  "config",
  "preprocess",
  "example",
  "batch_size",
  "key",
  "threshold",
  "weights_sha256",
  "fingerprint",
)


def main(argv: list[str] | None = None) -> int:
  """The command `python -m jaxad.export`; returns the exit code."""
  from jaxad import cli  # imports this module in turn

  return cli.guarded(_command, argv)


def _command(argv):
  from jaxad import cli  # imports this module in turn

  parser = cli.parser_of_run(
    "export",
    "Write a finished run as one file that scores with jax and NumPy alone.",
  )
  parser.add_argument(
    "--output",
    required=True,
    type=pathlib.Path,
    metavar="FILE",
    help="what to write; replaced only if it is a scorer of the same run",
  )
  parser.add_argument(
    "--format",
    choices=("scorer", "saved_model"),
    default="scorer",
    help="for jaxad.load_scorer (the default), or a folder for TensorFlow",
  )
  args = parser.parse_args(argv)
  run = trained.load(args.run)
  if args.format == "scorer":
    export(run, args.output)
  else:
    from jaxad.saved_model import export_saved_model  # imports TensorFlow

    export_saved_model(run, args.output)
  print(f"{args.output}: {run.method}, threshold {run.threshold:.6g}")


def export(run: trained.Run, path: str | pathlib.Path) -> None:
  """Writes a run as a file for `jaxad.load_scorer`.

  Args:
    run: from `jaxad.load`.
    path: of the file. One that exists is replaced if it is a scorer of the same
      run, with another threshold perhaps.

  Raises:
    InputError: there is something else, or the method scores in part outside
      compiled programs.
  """
  path = pathlib.Path(path)
  _check_replaceable(run, path)
  with run.precision():
    programs = _programs(run)
  described = run.description
  metadata = {name: described[name] for name in _KEPT} | {
    "format": scorer.FORMAT,
    "platforms": PLATFORMS,
    "programs": {name: text for name, (text, _) in programs.items()},
    "search_steps": run.detector.search and run.detector.search.n,
    "versions": {
      "jaxad": jaxad.__version__,
      "jax": jax.__version__,
      "jaxlib": importlib.metadata.version("jaxlib"),
    },
  }
  used = {name for text, _ in programs.values() for name, *_ in text["inputs"]}
  arrays = {
    name: np.asarray(value)
    for name, value in trained.arrays_of(run.state).items()
    if name in used
  }
  for name, (_, module) in programs.items():
    arrays[scorer.PROGRAM + name] = np.frombuffer(module, np.uint8)
  strings = {scorer.METADATA: json.dumps(metadata)}
  digest = scorer.digest(tensor_file.packed(arrays, strings))
  with tables.replacing(path, "wb") as file:
    file.write(tensor_file.packed(arrays, strings | {scorer.DIGEST: digest}))


def _check_replaceable(run, path):
  if not path.parent.is_dir():
    raise InputError(
      f"--output {path}: there is no folder {path.parent}; make it first."
    )
  if not path.exists():
    return
  try:
    metadata, _ = scorer.read_scorer(path.read_bytes(), path)
    same = metadata["weights_sha256"] == run.description["weights_sha256"]
  except (InputError, OSError):
    same = False
  if not same:
    raise InputError(
      f"--output {path}: it exists, and is not a scorer of {run.path}; choose "
      "another name, or remove it."
    )


def check_exportable(run: trained.Run) -> None:
  """Checks that the scores of a run are those of a program.

  Raises:
    InputError: they are not.
  """
  if run.detector.finish is not None:
    raise InputError(
      f"{run.method}: the method ends its scores on the host, where no "
      "exported program runs."
    )


def _programs(run):
  """{name: (what is known of it, its module)}, see `scorer.Scorer`."""
  check_exportable(run)
  found, weights = {}, trained.arrays_of(run.state)
  # The faster forms of layers on a CPU are for shapes of numbers alone.
  for name, size in ("whole", str(run.batch_size)), ("any", "batch"):
    for kind, (program, inputs) in _traceable(run, size).items():
      # Where the batch is a symbol, jax keeps weights that have no use.
      if name == "any":
        of_whole = found[f"{PLATFORMS[0]}/{kind}/whole"][0]["inputs"]
        idle = weights.keys() - {entry[0] for entry in of_whole}
        inputs = {n: v for n, v in inputs.items() if n not in idle}
      # One for all platforms would not everywhere give the bits of the run.
      for platform in PLATFORMS:
        exported = _exported(program, inputs, platform)
        found[f"{platform}/{kind}/{name}"] = exported
  return found


def _traceable(run, size):
  """{kind: (function of named arrays to such, its abstract inputs)}.

  Args:
    run: whose scores they are.
    size: of the batch; a number, or the name of a symbol.
  """
  detector, weights = run.detector, trained.arrays_of(run.state)
  key = jax.random.fold_in(run.key, SCORING)

  def state_of(values):
    given = {name: values[name] for name in weights if name in values}
    return trained.with_arrays(run.state, weights | given)

  def keys_of(values):
    return example_keys(key, values[scorer.NAMES])

  def result(scores, with_maps):
    found = {f"parts/{name}": part for name, part in scores.parts.items()}
    if with_maps and scores.map is not None:
      found["map"] = scores.map
    return found | {"image": scores.image}

  shape = jax.export.symbolic_shape(",".join(map(str, (size, *run.shape))))
  x = {scorer.X: jax.ShapeDtypeStruct(shape, run.dtype)}
  names = {scorer.NAMES: jax.ShapeDtypeStruct(shape[:1], np.uint32)}
  kinds = {"scores": False, "maps": True}
  if len(run.shape) == 1:
    del kinds["maps"]
  if (search := detector.search) is None:
    of = {False: detector.score, True: detector.localize or detector.score}

    def scored(values, with_maps):
      scores = of[with_maps](
        state_of(values), values[scorer.X], keys_of(values)
      )
      return result(scores, with_maps)

    return {
      kind: (
        jax.jit(functools.partial(scored, with_maps=with_maps)),
        weights | x | names,
      )
      for kind, with_maps in kinds.items()
    }

  # A search is taken step by step, as the run has it on a CPU.
  def named(found):
    leaves = jax.tree.leaves(found)
    return {f"{scorer.FOUND}{k}": leaf for k, leaf in enumerate(leaves)}

  def start(values):
    return named(
      search.start(state_of(values), values[scorer.X], keys_of(values))
    )

  keys = jax.eval_shape(lambda: jax.random.split(run.key, 1))
  like = jax.ShapeDtypeStruct((1, *run.shape), run.dtype)
  structure = jax.tree.structure(
    jax.eval_shape(search.start, run.state, like, keys)
  )

  def found_of(values):
    leaves = [values[f"{scorer.FOUND}{k}"] for k in range(structure.num_leaves)]
    return structure.unflatten(leaves)

  def step(values):
    return named(
      search.step(state_of(values), values[scorer.X], found_of(values))
    )

  def finish(values, with_maps):
    scores = search.finish(state_of(values), values[scorer.X], found_of(values))
    return result(scores, with_maps)

  found = jax.eval_shape(start, weights | x | names)
  programs = {
    "start": (jax.jit(start), weights | x | names),
    "step": (jax.jit(step), weights | x | found),
  }
  return programs | {
    kind: (
      jax.jit(functools.partial(finish, with_maps=with_maps)),
      weights | x | found,
    )
    for kind, with_maps in kinds.items()
  }


def _exported(program, inputs, platform):
  """(what a scorer must know of a program, its module)."""
  found = jax.export.export(program, platforms=[platform])(inputs)
  # As dicts are flattened.
  named = sorted(inputs)
  outputs = sorted(jax.tree.unflatten(found.out_tree, found.out_avals))
  entry = lambda name, v: (name, v.dtype.name, ",".join(map(str, v.shape)))
  kept = found.module_kept_var_idx
  described = {
    "inputs": [entry(named[i], found.in_avals[i]) for i in kept],
    "outputs": [*map(entry, outputs, found.out_avals)],
    "convention": found.calling_convention_version,
  }
  return described, found.mlir_module_serialized


if __name__ == "__main__":
  sys.exit(main())
