# Copyright 2026 The jaxad authors. Licensed under the Apache License, 2.0.
# What `__init__.py` imports when it is first used, for type checkers.

from jaxad.detector import Detector as Detector
from jaxad.detector import Official as Official
from jaxad.detector import Phase as Phase
from jaxad.detector import Scores as Scores
from jaxad.detector import Search as Search
from jaxad.detector import State as State
from jaxad.detector import Stream as Stream
from jaxad.distributed import Layout as Layout
from jaxad.errors import InputError as InputError
from jaxad.layers.augmentation import Augmentation as Augmentation
from jaxad.loop import Callback as Callback
from jaxad.loop import fit as fit
from jaxad.loop import make_plan as make_plan
from jaxad.losses import Criterion as Criterion
from jaxad.methods import METHODS as METHODS
from jaxad.methods.adae import adae as adae
from jaxad.methods.advae import advae as advae
from jaxad.methods.alad import alad as alad
from jaxad.methods.alae import alae as alae
from jaxad.methods.alocc import alocc as alocc
from jaxad.methods.anogan import anogan as anogan
from jaxad.methods.baselines import gaussian as gaussian
from jaxad.methods.baselines import iforest as iforest
from jaxad.methods.baselines import knn as knn
from jaxad.methods.baselines import ocsvm as ocsvm
from jaxad.methods.baselines import pca as pca
from jaxad.methods.caae import caae as caae
from jaxad.methods.cavga import cavga as cavga
from jaxad.methods.devnet import devnet as devnet
from jaxad.methods.devnet import flos as flos
from jaxad.methods.differnet import differnet as differnet
from jaxad.methods.dra import dra as dra
from jaxad.methods.egbad import egbad as egbad
from jaxad.methods.fanogan import fanogan as fanogan
from jaxad.methods.ganomaly import ganomaly as ganomaly
from jaxad.methods.hadgan import hadgan as hadgan
from jaxad.methods.kdad import kdad as kdad
from jaxad.methods.mlep import mlep as mlep
from jaxad.methods.ocgan import ocgan as ocgan
from jaxad.methods.rsrae import rsrae as rsrae
from jaxad.methods.rx import rx as rx
from jaxad.methods.saoe import saoe as saoe
from jaxad.methods.skip_ganomaly import skip_ganomaly as skip_ganomaly
from jaxad.methods.vae import vae as vae
from jaxad.networks.pyramid import Trunk as Trunk
from jaxad.optim import ClippedAdam as ClippedAdam
from jaxad.plan import Plan as Plan
from jaxad.preprocess import Preprocess as Preprocess
from jaxad.scorer import load_scorer as load_scorer
from jaxad.trained import Run as Run
from jaxad.trained import load as load

__version__: str
