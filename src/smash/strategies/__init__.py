"""Which architecture to look at next."""

from smash.strategies.base import Scored, Strategy
from smash.strategies.evolution import RegularisedEvolution
from smash.strategies.gradient import GradientPerturbation
from smash.strategies.markov import MarkovChain
from smash.strategies.nsga2 import Nsga2
from smash.strategies.perturbation import Perturbation
from smash.strategies.random import RandomSampling

__all__ = [
    "GradientPerturbation",
    "MarkovChain",
    "Nsga2",
    "Perturbation",
    "RandomSampling",
    "RegularisedEvolution",
    "Scored",
    "Strategy",
]
