"""``python -m smash``."""

from smash.cli.main import program

program()
