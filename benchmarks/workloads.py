# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
"""What is timed: every method of jaxad at the sizes of its paper.

A workload is a value, and its name METHOD/PART. The part "train" is a step of
the phase that takes longest, or what is fitted where nothing is trained;
"score" the scores of a batch; what others are, the title says. Those marked
`extra` run when they are named.

Images are random bytes, rows, spectra and features random numbers, and nothing
is loaded, augmented or decoded but what a step does itself. Trunks are randomly
initialised: that costs the same, and needs no file.
"""

from benchmarks.workload import Size, Value, Workload, pair


def _trunk(**fields):
  return Value("jaxad:Trunk", {"weights": "random", **fields})


# Trunks with the sizes of the papers, and small ones.
RESNET, SMALL_RESNET = _trunk(), _trunk(width=8, blocks=(1,) * 4)
_STEADY = {"optimizer": Value("jaxad:ClippedAdam", {"schedule": "constant"})}
# The authors' images come augmented from data workers.
_PLAIN = {"augmentation": Value("jaxad:Augmentation", {"rotation": 0.0})}


def _open_set(keywords, **small):
  """A method of DRA's family: 48 images of 448 pixels, ResNet-18."""
  return (
    Size(48, (448, 448, 3), {"trunk": RESNET, **_STEADY, **keywords}),
    Size(
      6, (64, 64, 3), {"trunk": SMALL_RESNET, **_STEADY, **keywords, **small}
    ),
  )


# DifferNet. Of a view the trunk does 3.58e9 multiply-adds, the flow of a row
# 0.172e9; the backward pass is two more passes through the flow, and none
# through the frozen trunk. Weights are read twice, their gradients written
# once; Adam reads weights, gradients and moments, and writes all but gradients.
_TRUNK, _FLOW, _WEIGHTS = 2 * 3.58e9, 2 * 0.172e9, 4 * 172.1e6
_FLOW_STEP = ((3 * 96 * _FLOW, 3 * _WEIGHTS), (0.0, 7 * _WEIGHTS))
_VIEWS = {"weights": "random", "rotations": False, "n_transforms": 1}
_SMALL_FLOW = {"n_blocks": 2, "hidden": 64}


def _differnet(part, title, batch, kind="step", needs=(), **fields):
  """Of views that are already turned, so that each is an image."""
  keywords = _VIEWS | {"n_transforms_test": 1}
  small = Size(4, (256, 256, 3), keywords | _SMALL_FLOW)
  full = Size(batch, (448, 448, 3), keywords)
  return Workload(
    "differnet", part, title, full, small, kind, needs=needs, **fields
  )


DIFFERNET = [
  _differnet(
    *("train", "training step, 96 views of 448 pixels, three scales", 96),
    needs=((96 * _TRUNK, 0.0), *_FLOW_STEP),
  ),
  _differnet(
    "score",
    "scores of 64 views, those of one image, or of 64 images of one view",
    *(64, "score"),
    needs=((64 * _TRUNK, 0.0), (64 * _FLOW, _WEIGHTS)),
  ),
  _differnet(
    "frozen",
    "train; in PyTorch too without gradients of the trunk",
    96,
    needs=((96 * _TRUNK, 0.0), *_FLOW_STEP),
    extra=True,
  ),
  Workload(
    *("differnet", "flow", "step of the flow alone, on features of 96 views"),
    Size(96, (768,)),
    Size(4, (768,), _SMALL_FLOW),
    "step",
    needs=_FLOW_STEP,
  ),
  Workload(
    *("differnet", "map", "heat map of one image by 64 turned views"),
    Size(1, (448, 448, 3), {"weights": "random"}),
    Size(
      *(1, (256, 256, 3)),
      {"weights": "random", "n_transforms_test": 2, **_SMALL_FLOW},
    ),
    "map",
    extra=True,
  ),
  Workload(
    *(
      "differnet",
      "rotated",
      "train with jaxad's rotations: 24 images, 4 views",
    ),
    Size(24, (448, 448, 3), {"weights": "random"}),
    Size(2, (256, 256, 3), {"weights": "random", **_SMALL_FLOW}),
    "step",
    extra=True,
  ),
]

# DRA and DevNet: multiply-adds of an image at both scales: of the trunk, of its
# first convolution, which has no gradient to pass on, and of the composite
# head's 3x3 convolution; and parameters. The maps that norms read and write are
# not counted.
_RESNET, _FIRST, _COMPOSITE = 9.067e9, 0.590e9, 0.578e9
_RESNET_PARAMETERS, _HEADS_PARAMETERS = 11.18e6, 2.49e6


def _open_set_step(images, references=0):
  """Three passes, and Adam."""
  composite = images * _COMPOSITE if references else 0.0
  trunk = (images + references) * (3 * _RESNET - _FIRST)
  parameters = _RESNET_PARAMETERS + (_HEADS_PARAMETERS if references else 0.0)
  return (2 * (trunk + 3 * composite), 0.0), (0.0, 7 * 4 * parameters)


_DRA = _open_set({**_PLAIN, "pseudo": "none"}, n_references=2)
_DEVNET = _open_set(_PLAIN)
DRA = [
  Workload(
    *("dra", "train", "training step, 48 + 5 images of 448 pixels, two scales"),
    *(*_DRA, "step"),
    needs=_open_set_step(48, 5),
  ),
  Workload(
    *("dra", "score", "scores of 48 images of 448 pixels with 5 references"),
    *(*_DRA, "score"),
    needs=((2 * (53 * _RESNET + 48 * _COMPOSITE), 0.0),),
  ),
  Workload(
    *("dra", "quick", "train with 12 + 5 images, for a quick number on a CPU"),
    *(_DRA[0]._replace(batch=12), _DRA[1], "step"),
    needs=_open_set_step(12, 5),
    extra=True,
  ),
  Workload(
    *(
      "dra",
      "augmented",
      "train with jaxad's augmentation, CutMix and rotation",
    ),
    *(*_open_set({}, n_references=2), "step"),
    extra=True,
  ),
  Workload(
    *("devnet", "train", "training step, 48 images of 448 pixels, two scales"),
    *(*_DEVNET, "step"),
    needs=_open_set_step(48),
  ),
  Workload(
    *("devnet", "score", "scores of 48 images of 448 pixels, two scales"),
    *(*_DEVNET, "score"),
    needs=((2 * 48 * _RESNET, 0.0),),
  ),
]

# OCGAN as released, with noise at test.
_OCGAN = {"variant": "released", "depth": 3, "test_noise": True}
_OCGAN_SIZES = (
  Size(512, (61, 61, 3), _OCGAN),
  Size(
    *(2, (61, 61, 3)), {**_OCGAN, "latent_dim": 6, "width": 4, "width_d": 4}
  ),
)
OCGAN = [
  Workload(
    *("ocgan", "train", "as released, training step, images of 61 pixels"),
    *(*_OCGAN_SIZES, "step"),
    phase=0,
    on_cpu=64,
  ),
  Workload(
    *("ocgan", "score", "as released, scores of 64 images of 61 pixels"),
    *(_OCGAN_SIZES[0]._replace(batch=64), _OCGAN_SIZES[1], "score"),
  ),
  Workload(
    *("ocgan", "mining", "as released, training step that mines"),
    *(*_OCGAN_SIZES, "step"),
    phase=1,
    on_cpu=64,
    extra=True,
  ),
]

_FANOGAN = (
  Size(64, (64, 64, 1)),
  Size(4, (64, 64, 1), {"width": 4, "latent_dim": 8, "critic_iters": 2}),
)
FANOGAN = [
  Workload(
    "fanogan",
    "train",
    "step of the generator and five of the critic, 64 images of 64 pixels each",
    *(*_FANOGAN, "step"),
    phase=0,
  ),
  Workload(
    *("fanogan", "encoder", "step of the encoder, 64 images of 64 pixels"),
    *(*_FANOGAN, "step"),
    phase=1,
  ),
  Workload(
    *("fanogan", "score", "scores of 64 images of 64 pixels"),
    *(*_FANOGAN, "score"),
  ),
]

# Steps of the search, with its start and its scores.
_ANOGAN = Size(64, (28, 28, 1), steps=10)
_SMALL_ANOGAN = Size(
  *(4, (28, 28, 1)),
  {
    "latent_dim": 8,
    "generator_widths": (16, 8, 4),
    "discriminator_widths": (4, 4, 16),
  },
  steps=2,
)
ANOGAN = [
  Workload(
    *("anogan", "train", "training step, 100 images of 28 pixels"),
    *(_ANOGAN._replace(batch=100), _SMALL_ANOGAN, "step"),
  ),
  Workload(
    "anogan",
    "score",
    "one of the 500 steps of the search for 64 images of 28 pixels",
    *(_ANOGAN, _SMALL_ANOGAN, "search"),
  ),
  Workload(
    *("anogan", "one_by_one", "score, for one image after the other"),
    *(_ANOGAN._replace(steps=2), _SMALL_ANOGAN, "search"),
    extra=True,
  ),
  Workload(
    *("anogan", "search", "the whole search, 500 steps: minutes; --repeats 1"),
    *(_ANOGAN._replace(steps=500), _SMALL_ANOGAN._replace(steps=5), "search"),
    extra=True,
  ),
]

_SMALL_ALAD = Value(
  "jaxad.networks.alad:Layers",
  {
    "latent_dim": 6,
    "encoder": (4, 5, 6),
    "generator": (6, 5, 4),
    "xz_data": (4, 5, 6),
    "xz_code": (6, 6),
    "xz_joint": (10,),
    "xx": (4, 4),
    "zz": (7, 5),
  },
)
_THIN = {"latent_dim": 8, "width": 8}

GANS = [
  *pair(
    *("ganomaly", "images of 32 pixels", Size(64, (32, 32, 3))),
    Size(4, (32, 32, 3), _THIN),
  ),
  *pair(
    *("skip_ganomaly", "images of 32 pixels", Size(64, (32, 32, 3))),
    Size(4, (32, 32, 3), {**_THIN, "width_d": 8}),
  ),
  *OCGAN,
  *FANOGAN,
  *pair(
    *("alad", "images of 32 pixels", Size(32, (32, 32, 3))),
    Size(4, (32, 32, 3), {"images": _SMALL_ALAD}),
  ),
  *ANOGAN,
  *pair(
    *("egbad", "images of 28 pixels", Size(100, (28, 28, 1))),
    Size(
      *(4, (28, 28, 1)),
      {
        "latent_dim": 8,
        "encoder_widths": (4, 4, 4),
        "generator_widths": (16, 4, 4),
        "discriminator_widths": (4, 4),
        "code_width": 8,
        "joint_width": 8,
      },
    ),
  ),
  *pair(
    *("adae", "images of 32 pixels", Size(64, (32, 32, 1))),
    Size(4, (32, 32, 1), {"latent_dim": 6, "width": 4}),
  ),
  *pair(
    *("alae", "images of 28 pixels", Size(128, (28, 28, 1))),
    Size(4, (16, 16, 1), {"latent_dim": 8, "hidden": 16}),
  ),
  *pair(
    *("alocc", "images of 28 pixels", Size(128, (28, 28, 1))),
    Size(4, (16, 16, 1), {"width": 4, "encoder_width": 4, "width_d": 4}),
  ),
  *pair(
    *("caae", "images of 256 pixels", Size(64, (256, 256, 1))),
    Size(
      *(4, (32, 32, 1)),
      {"latent_dim": 8, "width": 4, "blocks": 2, "critic_steps": 2},
    ),
    score=(
      Size(16, (256, 256, 1)),
      Size(4, (32, 32, 1), {"latent_dim": 8, "width": 4, "blocks": 2}),
    ),
  ),
]

AUTOENCODERS = [
  *pair(
    *("vae", "images of 128 pixels", Size(32, (128, 128, 3))),
    Size(4, (32, 32, 3), _THIN),
    score=(Size(16, (128, 128, 3)), Size(4, (32, 32, 3), _THIN)),
  ),
  *pair(
    *("advae", "rows of 21 columns", Size(128, (21,), {"latent_dim": 7})),
    Size(4, (21,), {"latent_dim": 4, "n_samples": 10}),
  ),
  *pair(
    *("rsrae", "images of 28 pixels", Size(128, (28, 28, 1))),
    Size(4, (28, 28, 1), {"hidden": (4, 4, 4), "latent_dim": 2}),
  ),
  *pair(
    "cavga",
    "images of 256 pixels, ResNet-18",
    Size(16, (256, 256, 3), {"trunk": RESNET}),
    Size(
      *(4, (64, 64, 3)),
      {"trunk": SMALL_RESNET, "width": 4, "latent_dim": 8},
    ),
  ),
  *pair(
    "kdad",
    "images of 128 pixels, VGG-16",
    Size(64, (128, 128, 3), {"weights": "random"}),
    Size(2, (32, 32, 3), {"weights": "random"}),
  ),
]

OPEN_SET = [
  *pair(
    "flos",
    "images of 448 pixels, two scales",
    *_open_set(_PLAIN),
  ),
  *pair("mlep", "images of 448 pixels", *_open_set(_PLAIN)),
  *pair("saoe", "images of 448 pixels, two scales", *_open_set(_PLAIN)),
]

# A scene of San Diego's size.
_SCENE = 100, 100, 189
SCENES = [
  *pair(
    *("hadgan", "spectra of 189 bands", Size(32, (189,))),
    Size(4, (12,), {"width": 8}),
    score=(Size(1, _SCENE), Size(1, (8, 8, 12), {"width": 8})),
    floats=True,
  ),
  Workload(
    *("rx", "train", "mean and covariance of 10,000 spectra of 189 bands"),
    *(Size(10_000, (189,)), Size(64, (12,)), "fit"),
  ),
  Workload(
    *("rx", "score", "a scene of 10,000 spectra"),
    *(Size(1, _SCENE), Size(1, (8, 8, 12)), "score"),
    floats=True,
  ),
]


def _floor(method, **small):
  """A baseline: 200 images of 224 pixels, batches of 32 scored."""
  keywords = {"trunk": _trunk(name="efficientnet_lite0", train_norms=False)}
  full = Size(200, (224, 224, 3), keywords)
  tiny = Size(8, (64, 64, 3), keywords | small)
  title = "images of 224 pixels, EfficientNet-Lite0"
  return [
    Workload(method, "train", f"fit to 200 {title}", full, tiny, "fit"),
    Workload(
      *(method, "score", f"scores of 32 {title}"),
      *(full._replace(batch=32), tiny, "score"),
    ),
  ]


FLOOR = [
  workload
  for method, small in {
    "gaussian": {},
    "iforest": {},
    "knn": {},
    "ocsvm": {},
    "pca": {"n_components": 4},
  }.items()
  for workload in _floor(method, **small)
]

# The most asked for first.
ALL = [*DIFFERNET, *DRA, *GANS, *AUTOENCODERS, *OPEN_SET, *SCENES, *FLOOR]
WORKLOADS = {workload.name: workload for workload in ALL}

# Those that PyTorch has, too; see `torch_side.py`. The search of AnoGAN is
# rendered there, its training not.
RENDERED = {
  workload.name
  for workload in [*DIFFERNET, *DRA, *GANS]
  if workload.method
  in (
    *("differnet", "dra", "devnet", "ganomaly", "skip_ganomaly", "ocgan"),
    *("fanogan", "alad", "anogan"),
  )
} - {"anogan/train", "anogan/one_by_one", "differnet/rotated"}
# Of these, what is beyond torch.compile: the gradient of a gradient.
EAGER = {"fanogan/train"}
