"""SynFlow: the synaptic saliency of a child, summed over all its parameters.

Tanaka, Kunin, Yamins and Ganguli 2020, arXiv 2006.05467, for pruning; as a score of networks
Abdelfattah, Mehrotra, Dudziak and Lane 2021, arXiv 2101.08134.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from smash.scoring.proxies.base import FunctionInterceptor, Proxy, Subject

_SKIPPED = frozenset(
    {
        F.batch_norm,
        F.group_norm,
        F.instance_norm,
        F.layer_norm,
        torch.tanh,
        torch.Tensor.tanh,
        F.tanh,
        F.relu6,  # these would bound or bend positive values
        F.hardtanh,
        F.hardswish,
        F.silu,
        F.gelu,
        F.elu,
    }
)


class Synflow(Proxy):
    """Computes Σ |θ| · ∂R/∂|θ|, where R sums the outputs for an input of ones with weights |θ|.

    Normalisations, and activations that are not the identity on positive values, are skipped, so
    that R is a sum over paths. Sigmoids stay: gates multiply by them, and products of several gates
    would overflow. So would the products of deep children in single precision; hence double.
    """

    name = "synflow"
    examples = 1

    def __call__(
        self, subject: Subject, images: Tensor, generator: torch.Generator
    ) -> tuple[float, ...]:
        """Computes the sum; only the shape of the images matters."""
        positive = {
            name: value.detach().abs().double().requires_grad_()
            for name, value in subject.child.named_parameters()
        }
        buffers = {
            name: value.double() if value.is_floating_point() else value
            for name, value in subject.child.named_buffers()
        }
        ones = torch.ones_like(images[:1], dtype=torch.float64)
        with _PathsOnly():
            flow = functional_call(subject.child.eval(), positive | buffers, (ones,)).sum()
        if not flow.requires_grad:  # no parameter is on a path
            return (0.0,)
        gradients = torch.autograd.grad(flow, list(positive.values()), allow_unused=True)
        parts = [
            (value * gradient).sum()
            for value, gradient in zip(positive.values(), gradients, strict=True)
            if gradient is not None
        ]
        return (torch.stack(parts).sum().item(),)


class GeneratedSynflow(Synflow):
    """Computes SynFlow with the weights that the SMASH network generates.

    A path then counts by what training made of it. As a prior beside the score it ranks cells
    slightly better (benchmarks/notes/cells.md).
    """

    name = "generated-synflow"
    trained = True


class _PathsOnly(FunctionInterceptor):
    """Skips functions that are not linear along a path of positive values."""

    def intercept(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return args[0] if function in _SKIPPED else function(*args, **kwargs)
