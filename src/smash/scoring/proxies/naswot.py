"""NASWOT: how differently the ReLUs of an untrained child respond to the images of a batch.

Mellor, Turner, Storkey and Crowley 2021, *Neural Architecture Search without Training*, arXiv
2006.04647.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from smash.scoring.proxies.base import FunctionInterceptor, Proxy, Subject

_RECTIFIERS = frozenset(  # functions that bend at 0 as ReLU does
    {
        F.relu,
        F.relu6,
        F.hardtanh,  # which nn.ReLU6 calls
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


class _Codes(FunctionInterceptor):
    """Counts, for each two of N images, the rectifiers in the same state."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.agreeing_NN = torch.zeros(
            len(images), len(images), dtype=torch.float64, device=images.device
        )

    def intercept(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if function in _RECTIFIERS:
            on_NU = (args[0] > 0).flatten(1).float()
            off_NU = 1 - on_NU
            self.agreeing_NN += (on_NU @ on_NU.T + off_NU @ off_NU.T).double()
        return function(*args, **kwargs)
