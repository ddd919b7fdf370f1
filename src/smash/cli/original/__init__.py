"""The original program's commands: its flags, translated into settings of this package."""

from smash.cli.original.commands import evaluate, train

__all__ = ["evaluate", "train"]
