"""Random numbers as a function of what they are for.

Every draw has a generator of its own, made from the seed, a name and a number. So nothing depends
on what was drawn before, or where: a resumed, a repeated and a spread run draw alike.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch


def generator(seed: int, purpose: str, number: int = 0) -> np.random.Generator:
    """NumPy's generator for the `number`-th draw of one purpose."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), number])


def torch_generator(seed: int, purpose: str, number: int = 0) -> torch.Generator:
    """Torch's generator, on the CPU, for the `number`-th draw of one purpose."""
    sequence = np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), number])
    return torch.Generator().manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> 1))
