# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
# What `__init__.py` imports when it is first used, for type checkers.

from jaxad.detector import Detector as Detector
from jaxad.detector import Official as Official
from jaxad.detector import Phase as Phase
from jaxad.detector import Scores as Scores
from jaxad.detector import Search as Search
from jaxad.detector import State as State
from jaxad.detector import Stream as Stream
from jaxad.errors import InputError as InputError
from jaxad.layers.augmentation import Augmentation as Augmentation
from jaxad.loop import Callback as Callback
from jaxad.loop import fit as fit
from jaxad.loop import make_plan as make_plan
from jaxad.losses import Criterion as Criterion
from jaxad.methods import METHODS as METHODS
from jaxad.methods import adae as adae
from jaxad.methods import advae as advae
from jaxad.methods import alad as alad
from jaxad.methods import alae as alae
from jaxad.methods import alocc as alocc
from jaxad.methods import anogan as anogan
from jaxad.methods import caae as caae
from jaxad.methods import cavga as cavga
from jaxad.methods import devnet as devnet
from jaxad.methods import differnet as differnet
from jaxad.methods import dra as dra
from jaxad.methods import egbad as egbad
from jaxad.methods import fanogan as fanogan
from jaxad.methods import flos as flos
from jaxad.methods import ganomaly as ganomaly
from jaxad.methods import gaussian as gaussian
from jaxad.methods import hadgan as hadgan
from jaxad.methods import iforest as iforest
from jaxad.methods import kdad as kdad
from jaxad.methods import knn as knn
from jaxad.methods import mlep as mlep
from jaxad.methods import ocgan as ocgan
from jaxad.methods import ocsvm as ocsvm
from jaxad.methods import pca as pca
from jaxad.methods import rsrae as rsrae
from jaxad.methods import rx as rx
from jaxad.methods import saoe as saoe
from jaxad.methods import skip_ganomaly as skip_ganomaly
from jaxad.methods import vae as vae
from jaxad.networks.pyramid import Trunk as Trunk
from jaxad.optim import ClippedAdam as ClippedAdam
from jaxad.plan import Plan as Plan
from jaxad.preprocess import Preprocess as Preprocess
from jaxad.scorer import load_scorer as load_scorer
from jaxad.trained import Run as Run
from jaxad.trained import load as load

__version__: str
