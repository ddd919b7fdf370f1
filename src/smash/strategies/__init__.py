"""Which architecture to look at next."""

from smash.strategies.base import Scored, Strategy
from smash.strategies.markov import MarkovChain
from smash.strategies.perturbation import Perturbation
from smash.strategies.random import RandomSampling

__all__ = ["MarkovChain", "Perturbation", "RandomSampling", "Scored", "Strategy"]
