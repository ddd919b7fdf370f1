"""smash: one-shot neural architecture search through hypernetworks."""

__version__ = "0.1.0"
