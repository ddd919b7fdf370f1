"""``python -m smash``."""

from smash.cli.main import main

main()
