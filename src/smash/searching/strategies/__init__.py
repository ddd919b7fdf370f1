"""Strategies: which architecture to score next."""

from smash.searching.strategies.base import Strategy, best
from smash.searching.strategies.evolution import RegularisedEvolution
from smash.searching.strategies.local_search import GradientPerturbation, MarkovChain, Perturbation
from smash.searching.strategies.nsga2 import Nsga2
from smash.searching.strategies.random import RandomSampling

__all__ = [
    "GradientPerturbation",
    "MarkovChain",
    "Nsga2",
    "Perturbation",
    "RandomSampling",
    "RegularisedEvolution",
    "Strategy",
    "best",
]
