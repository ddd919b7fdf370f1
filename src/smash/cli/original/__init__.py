"""The commands of the original program, ``train.py`` and ``evaluate.py``, on top of this package.

Whoever knows the original types the flags that it had; they are translated into settings of today.
"""

from smash.cli.original.commands import evaluate, train

__all__ = ["evaluate", "train"]
