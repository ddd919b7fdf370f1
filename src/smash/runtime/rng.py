"""Random generators that depend only on the seed, a purpose and a number.

Each draw has a generator of its own, so that no draw depends on earlier ones or on the process that
made them: a resumed, a repeated and a distributed run draw the same numbers.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def generator(seed: int, purpose: str, number: int = 0) -> np.random.Generator:
    """Makes NumPy's generator for the `number`-th draw of a purpose."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), number])


def torch_generator(seed: int, purpose: str, number: int = 0) -> torch.Generator:
    """Makes torch's CPU generator for the `number`-th draw of a purpose."""
    return torch.Generator().manual_seed(_torch_seed(seed, purpose, number))


@contextmanager
def seeded(seed: int, purpose: str, number: int, device: torch.device) -> Iterator[None]:
    """Seeds torch's global generators for the `number`-th draw, and restores them afterwards.

    This is for modules that accept no generator, such as dropout, on a CPU or a CUDA device.
    """
    number = _torch_seed(seed, purpose, number)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        # `torch.manual_seed` takes ten times as long on a machine without a GPU.
        torch.default_generator.manual_seed(number)
        if device.type == "cuda":
            torch.cuda.default_generators[device.index or 0].manual_seed(number)
        yield


def global_states() -> tuple[Any, ...]:
    """Gives the states of the global generators, which code may not draw from."""
    return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()


def _torch_seed(seed: int, purpose: str, number: int) -> int:
    sequence = np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), number])
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)
