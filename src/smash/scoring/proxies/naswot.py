"""NASWOT: how differently the ReLUs of an untrained child respond to the images of a batch.

Mellor, Turner, Storkey and Crowley 2021, *Neural Architecture Search without Training*, arXiv
2006.04647.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from smash.scoring.proxies.base import Proxy, Subject
from smash.scoring.proxies.rectifiers import RectifierStates


class Naswot(Proxy):
    """Computes log |det K|; K counts, for each two images, the ReLUs in the same state.

    Images with different activation codes make K diagonally dominant and its determinant large.
    BatchNorms use the statistics of the batch.
    """

    name = "naswot"
    examples = 128

    @torch.no_grad()
    def __call__(
        self, subject: Subject, images: Tensor, generator: torch.Generator
    ) -> tuple[float, ...]:
        """Computes the logarithm; −∞ if two images have the same code."""
        codes = _Codes(images)
        with codes:
            subject.child.train()(images)
        sign, logarithm = torch.linalg.slogdet(codes.agreeing_NN)
        return (logarithm.item() if sign else -math.inf,)


class _Codes(RectifierStates):
    """Counts, for each two of N images, the rectifiers in the same state."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.agreeing_NN = torch.zeros(
            len(images), len(images), dtype=torch.float64, device=images.device
        )

    def record(self, on: Tensor) -> None:
        on_NU = on.float()
        off_NU = 1 - on_NU
        self.agreeing_NN += (on_NU @ on_NU.T + off_NU @ off_NU.T).double()
