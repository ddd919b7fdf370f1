"""Train a SMASH network with the original program's flags: see ``python train.py --help``."""

from smash.cli.original import train

if __name__ == "__main__":
    train()
