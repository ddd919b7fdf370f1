"""Which architecture to look at next."""

from smash.strategies.base import Scored, Strategy
from smash.strategies.gradient import GradientPerturbation
from smash.strategies.markov import MarkovChain
from smash.strategies.perturbation import Perturbation
from smash.strategies.random import RandomSampling

__all__ = [
    "GradientPerturbation",
    "MarkovChain",
    "Perturbation",
    "RandomSampling",
    "Scored",
    "Strategy",
]
