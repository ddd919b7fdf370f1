"""SynFlow: how much flows through a child, over all its paths.

Tanaka, Kunin, Yamins and Ganguli 2020, arXiv 2006.05467, for pruning; summed over all parameters
to compare networks: Abdelfattah, Mehrotra, Dudziak and Lane 2021, arXiv 2101.08134.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from smash.scoring.proxies.base import Overheard, Proxy, Subject

_PASSED = frozenset(
    {
        F.batch_norm,
        F.group_norm,
        F.instance_norm,
        F.layer_norm,
        torch.tanh,
        torch.Tensor.tanh,
        F.tanh,
    }
)


class Synflow(Proxy):
    """Σ |θ| · ∂R/∂|θ|, where R sums the outputs for an input of ones, all parameters made positive.

    Normalisations and tanh are passed over, so that it is a sum over paths. A sigmoid stays: gates
    multiply by it, and what several gates multiply would leave any range. In double precision: so
    do the products of deep children in single.
    """

    name = "synflow"
    examples = 1

    def __call__(
        self, subject: Subject, images: Tensor, generator: torch.Generator
    ) -> tuple[float, ...]:
        """Gives the sum; of images only the shape matters."""
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
        if not flow.requires_grad:  # nothing that can be learned is on a path
            return (0.0,)
        gradients = torch.autograd.grad(flow, list(positive.values()), allow_unused=True)
        parts = [
            (value * gradient).sum()
            for value, gradient in zip(positive.values(), gradients, strict=True)
            if gradient is not None
        ]
        return (torch.stack(parts).sum().item(),)


class GeneratedSynflow(Synflow):
    """SynFlow of a child with the weights that the SMASH network gives it.

    So a path counts by what training made of it. It looks at no example, as SynFlow, and beside the
    score it ranks cells a little better: see benchmarks/notes/cells.md.
    """

    name = "generated-synflow"
    trained = True


class _PathsOnly(Overheard):
    """Passes over what is not linear along a path of positive numbers."""

    def answer(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return args[0] if function in _PASSED else function(*args, **kwargs)
