"""The states of a child's rectifiers: which units respond to which images."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from smash.scoring.proxies.base import FunctionInterceptor

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


class RectifierStates(FunctionInterceptor):
    """Records the states of all rectifiers while a child predicts a batch."""

    def intercept(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Records the states of a rectifier, and calls it."""
        if function in _RECTIFIERS:
            self.record((args[0] > 0).flatten(1))
        return function(*args, **kwargs)

    @abstractmethod
    def record(self, on: Tensor) -> None:
        """Records which units of a rectifier are on for each image, shape (images, units)."""
