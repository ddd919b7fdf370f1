"""``python -m smash``."""

from smash.cli import main

main()
