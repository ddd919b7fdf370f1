"""The report of a run: figures and drawings of architectures on one page."""

from smash.reporting.page import report

__all__ = ["report"]
