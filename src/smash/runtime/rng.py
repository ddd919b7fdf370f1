"""Random numbers as a function of what they are for.

Every draw has a generator of its own, made from the seed, a name and a number. So nothing depends
on what was drawn before, or where: a resumed, a repeated and a spread run draw alike.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def generator(seed: int, purpose: str, number: int = 0) -> np.random.Generator:
    """NumPy's generator for the `number`-th draw of one purpose."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), number])


def torch_generator(seed: int, purpose: str, number: int = 0) -> torch.Generator:
    """Torch's generator, on the CPU, for the `number`-th draw of one purpose."""
    return torch.Generator().manual_seed(_torch_seed(seed, purpose, number))


@contextmanager
def seeded(seed: int, purpose: str, number: int, device: torch.device) -> Iterator[None]:
    """Torch's global generators are those of the `number`-th draw inside, and as before after it.

    For what takes no generator: a child's own dropout, on a CPU or a CUDA device.
    """
    number = _torch_seed(seed, purpose, number)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        # Not by `torch.manual_seed`, which takes ten times as long where there is no GPU.
        torch.default_generator.manual_seed(number)
        if device.type == "cuda":
            torch.cuda.default_generators[device.index or 0].manual_seed(number)
        yield


def _torch_seed(seed: int, purpose: str, number: int) -> int:
    sequence = np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), number])
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)
