"""Samplers: which spans are stored, and how many each stands for."""

from processors.sampling.chain import SamplerChain
from processors.sampling.keep_everything import KeepEverything
from processors.sampling.probabilistic import ProbabilisticSampler
from processors.sampling.tail import TailSampler

__all__ = ["KeepEverything", "ProbabilisticSampler", "SamplerChain", "TailSampler"]
