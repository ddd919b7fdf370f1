"""SWAP: how many different patterns of responses the units of an untrained child have.

Peng, Song, Fayek, Ciesielski and Chang 2024, *SWAP-NAS: Sample-Wise Activation Patterns for
Ultra-fast NAS*, arXiv 2403.04161.
"""

from __future__ import annotations

import torch
from torch import Tensor

from smash.scoring.proxies.base import Proxy, Subject
from smash.scoring.proxies.rectifiers import RectifierStates


class Swap(Proxy):
    """Counts the different patterns among the units of all rectifiers.

    The pattern of a unit says for which images of the batch it is on. Where the units of NASWOT
    tell images apart, here the images tell units apart. BatchNorms use the statistics of the batch.
    """

    name = "swap"
    examples = 16  # with fewer all patterns occur in any child, with more nearly all units differ

    @torch.no_grad()
    def __call__(
        self, subject: Subject, images: Tensor, generator: torch.Generator
    ) -> tuple[float, ...]:
        """Counts the patterns."""
        patterns = _Patterns(images)
        with patterns:
            subject.child.train()(images)
        return (float(patterns.seen.sum()),)


class _Patterns(RectifierStates):
    """Remembers which of the 2^N patterns of N images occur."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self._bits_N = 2.0 ** torch.arange(len(images), device=images.device)
        self.seen = torch.zeros(2 ** len(images), dtype=torch.bool, device=images.device)

    def record(self, on: Tensor) -> None:
        # Floats, which are exact below 2^24: a GPU does not multiply matrices of integers.
        self.seen[(self._bits_N @ on.float()).long()] = True
