"""Rank architectures with the original program's flags: see ``python evaluate.py --help``."""

from smash.cli.original import evaluate

if __name__ == "__main__":
    evaluate()
