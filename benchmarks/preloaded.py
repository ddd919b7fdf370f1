"""Imports what commands need, so that processes can be forked that begin at once.

For `multiprocessing.set_forkserver_preload`.
"""

from __future__ import annotations

import gc
from importlib import import_module

for _name in (
    *("torch._dynamo", "sklearn.datasets"),
    *("smash.cli.main", "smash.cli.describe", "smash.training.train", "smash.training.retrain"),
    *("smash.searching.search", "smash.correlation.correlate", "smash.data.sources.torchvision"),
):
    import_module(_name)
gc.freeze()  # the garbage collector would copy into each process what all of them share
