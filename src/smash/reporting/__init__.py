"""The report of a run: figures, drawings of architectures, and one page that holds them all."""

from smash.reporting.page import REPORT, report

__all__ = ["REPORT", "report"]
