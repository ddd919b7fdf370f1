"""NASWOT: how differently an untrained child's ReLUs treat the images of a batch.

Mellor, Turner, Storkey and Crowley 2021, *Neural Architecture Search without Training*, arXiv
2006.04647.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from smash.scoring.proxies.base import Overheard, Proxy, Subject

_RECTIFIERS = frozenset(  # and what bends at 0 as they do
    {
        F.relu,
        F.relu6,
        F.hardtanh,  # as which nn.ReLU6 is computed
        F.leaky_relu,
        F.elu,
        F.gelu,
        F.hardswish,
        F.silu,
        torch.relu,
        torch.relu_,
        torch.Tensor.relu,
        torch.Tensor.relu_,
    }
)


class Naswot(Proxy):
    """log |det K|, where K counts for two images the ReLUs that are on for both or off for both.

    Images with a code of their own make K diagonal-heavy and its determinant large. The child
    takes the batch's own BatchNorm statistics.
    """

    name = "naswot"
    examples = 128

    @torch.no_grad()
    def __call__(
        self, subject: Subject, images: Tensor, generator: torch.Generator
    ) -> tuple[float, ...]:
        """Gives the logarithm; −∞ where two images have the same code."""
        codes = _Codes(images)
        with codes:
            subject.child.train()(images)
        sign, logarithm = torch.linalg.slogdet(codes.agreeing_NN)
        return (logarithm.item() if sign else -math.inf,)


class _Codes(Overheard):
    """Counts for each two images of a batch the rectifiers that treat them alike, N×N."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.agreeing_NN = torch.zeros(
            len(images), len(images), dtype=torch.float64, device=images.device
        )

    def answer(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if function in _RECTIFIERS:
            on_NU = (args[0] > 0).flatten(1).float()
            off_NU = 1 - on_NU
            self.agreeing_NN += (on_NU @ on_NU.T + off_NU @ off_NU.T).double()
        return function(*args, **kwargs)
