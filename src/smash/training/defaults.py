"""Defaults of training that depend on the space or its preset."""

from __future__ import annotations

from typing import Any

SHARED_DEFAULTS: dict[str, Any] = {
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "schedule": "cosine",
    "batch_size": 64,
    "clip_norm": 2.0,
}
"""Settings of training for spaces without settings of their own: `mobile`, and functions.

Their children differ in depth, and so do their gradients: without the clipping the loss over
NAS-Bench-Macro rises above that of chance. See benchmarks/notes/functions.md.
"""

SHORT_DEFAULTS: dict[str, Any] = {"augment": False}
"""Settings of the same spaces for trainings of fewer than `SHORT_EPOCHS` epochs.

So short a training does not overfit, and augmentation only slows it down. See
benchmarks/notes/functions.md.
"""

SHORT_EPOCHS = 30
"""Epochs from which a training is long. Up to 27, networks ranked better without augmentation."""

_FAST: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.1}
DEFAULTS: dict[str, dict[str, Any]] = {
    "original": {},
    "v1": {},
    "v2": {},
    "small": {**_FAST, "fixed_norms": True, "growing": False},
    "tiny": _FAST,
    "nas-bench-201": {
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "schedule": "constant",
        "weight_decay": 5e-4,
        "batch_size": 32,
        "fixed_norms": True,
        "snapshots": 6,
        "proxy_size": 16,
        "proxy_space": True,
        "augment": False,
    },
}
"""Settings of training that differ from the published ones, by preset, or by space without one.

SGD trained faster than Adam in short single runs on small images; which ranks better is open.
Memory banks rank better with fixed norms, and with all sizes from the start, though the latter by
no more than chance may do, over three seeds. For cells a constant rate ranks better than a cosine,
over three seeds, and images of 16×16 than of 8×8, which gain nothing after 12 epochs. See
benchmarks/notes.
"""

LONG_DEFAULTS: dict[str, dict[str, Any]] = {"nas-bench-201": {"proxy_size": 32}}
"""Slower defaults for when the minutes allow `LONG_EPOCHS` epochs with them.

From 32×32 the score of cells goes on to gain for 30 epochs; joined with SynFlow it is behind that
from 16×16 after 8 epochs, and about level after 30.
"""

LONG_EPOCHS = 20

EPOCHS = {"nas-bench-201": 12}
"""Passes over the training split by space, where neither epochs nor minutes are given."""

PUBLISHED_EPOCHS = 100

SUITABLE = {"memory-bank": ("tiny", "small", "v2"), "mobile": ("tiny", "small", "base")}
"""Presets that are chosen by data, device and limits, the smallest first."""

OF_MEMORY_BANKS = ("original", "v1", "v2")
"""Presets that no other space has: they choose it."""


def suitable_presets(space: str, size: tuple[int, ...], device: str) -> tuple[str, ...]:
    """Gives the presets of a space that suit an input size and a device, the smallest first."""
    tiny, small, large = SUITABLE[space]
    if max(size) <= 12:
        return (tiny,)
    return (tiny, small, large) if device == "cuda" else (tiny, small)
