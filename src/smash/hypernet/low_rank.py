"""Shared weights plus low-rank changes that depend on the architecture, for any space.

A weight of a child is W = S + U · diag(g) · V: S is its shared tensor, U and V are learned factors
of rank r that belong to the shared tensor, and g says how much of each of the r changes this
architecture takes at this place. A small network computes g; U and V are scaled and never
generated, so a 7×7 kernel needs no more generated values than a 1×1 one.

Legend: L weights of a child, T shared tensors, r rank, F features of an architecture, P numbers
about a place, E numbers learned for a shared tensor, O out channels, I in channels, K kernel
extents.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from smash.hypernet.cutting import cut
from smash.hypernet.shared import SharedWeights, tensor_key
from smash.hypernet.source import Encoding, WeightSource, send_like
from smash.spaces.base import SearchSpace, Shape, corner
from smash.spaces.task import Task

_RANK = 8
_HIDDEN = 64
_LEARNED = 16  # E
# Initial size of a change where all of g is 1, relative to that of the shared weight. With 1, g
# saturated within an epoch of SGD at 0.05, and training was slower than plain sharing.
_SHARE = 0.25
_PERIODS = (2.0, 8.0, 32.0)  # of the waves that encode a turn, in turns


class LowRankHypernetwork(nn.Module):
    """Computes changes of weights: U · diag(g(features, place)) · V for each shared tensor.

    Args:
        shapes: Shapes of the shared tensors that are changed, O×I×K, by name.
        features: F, the number of features of an architecture.
        generator: Source of the initial values.
        rank: r.
    """

    def __init__(
        self,
        shapes: Mapping[str, Shape],
        features: int,
        generator: torch.Generator,
        rank: int = _RANK,
    ) -> None:
        super().__init__()
        self.shapes = dict(shapes)
        self._numbers = {name: number for number, name in enumerate(shapes)}
        self.left = nn.ParameterDict(
            {
                tensor_key(name): _normal((shape[0], rank), _SHARE / math.sqrt(rank), generator)
                for name, shape in shapes.items()
            }
        )
        self.right = nn.ParameterDict(
            {
                tensor_key(name): _normal(
                    (rank, *shape[1:]), math.sqrt(2 / math.prod(shape[1:])), generator
                )
                for name, shape in shapes.items()
            }
        )
        self.learned_TE = _normal((len(shapes), _LEARNED), 1.0, generator)
        inputs = features + _LEARNED + 2 * len(_PERIODS) + 3
        self.entry = nn.Linear(inputs, _HIDDEN)
        self.exit = nn.Linear(_HIDDEN, rank)
        with torch.no_grad():
            self.entry.weight.copy_(
                torch.randn(_HIDDEN, inputs, generator=generator) / math.sqrt(inputs)
            )
            self.entry.bias.zero_()
            self.exit.weight.zero_()  # no change at first: training begins as plain sharing
            self.exit.bias.zero_()

    def forward(
        self, features: Tensor, places: Mapping[str, tuple[str, Shape]]
    ) -> dict[str, Tensor]:
        """Computes the change of each weight, by the name of the parameter.

        Args:
            features: Features of the architecture, (F,).
            places: For each weight of the child, in order, its shared tensor and its shape.
        """
        if not places:
            return {}
        numbers = [self._numbers[name] for name, _ in places.values()]
        places_LP = self.learned_TE.new_tensor(self._describe(list(places.values())))
        features_LF = features.expand(len(places), -1)
        learned_LE = self.learned_TE[numbers]
        hidden = torch.relu(self.entry(torch.cat([features_LF, learned_LE, places_LP], dim=1)))
        amounts_Lr = torch.tanh(self.exit(hidden))
        corners = {
            parameter: (tensor_key(name), corner(self.shapes[name], shape))
            for parameter, (name, shape) in places.items()
        }
        out = {parameter: (key, part[:1]) for parameter, (key, part) in corners.items()}
        rest = {
            parameter: (key, (slice(None), *part[1:])) for parameter, (key, part) in corners.items()
        }
        left_Or, right_rIK = cut(self.left, out), cut(self.right, rest)
        return {
            name: ((left_Or[name] * amounts_r) @ right_rIK[name].flatten(1)).view(shape)
            for (name, (_, shape)), amounts_r in zip(places.items(), amounts_Lr, strict=True)
        }

    def _describe(self, places: list[tuple[str, Shape]]) -> list[list[float]]:
        """Describes each place by P numbers: its turn in its shared tensor, and its part of it."""
        turns: Counter[str] = Counter()
        rows = []
        for name, shape in places:
            turn, whole = turns[name], self.shapes[name]
            turns[name] += 1
            angles = [2 * math.pi * turn / period for period in _PERIODS]
            waves = [wave(angle) for angle in angles for wave in (math.sin, math.cos)]
            kernel = math.prod(shape[2:]) / math.prod(whole[2:])
            rows.append([*waves, shape[0] / whole[0], shape[1] / whole[1], kernel])
        return rows


class FeatureEncoding(Encoding[Any]):
    """Encodes an architecture by the features of its space, (F,)."""

    def __init__(self, space: SearchSpace[Any]) -> None:
        self._space = space

    def encode(self, architecture: Any) -> Tensor:
        """Gives the features, (F,)."""
        return self._space.features(architecture)


class LowRankWeights(WeightSource[Any]):
    """Shared weights, plus changes of those of convolutions and linear layers.

    Args:
        space: The search space, which describes architectures by `features`.
        task: The task of the children.
        generator: Source of the initial values.
        rank: Rank of the changes.
    """

    encoding: FeatureEncoding
    hypernetwork: LowRankHypernetwork

    def __init__(
        self,
        space: SearchSpace[Any],
        task: Task,
        generator: torch.Generator,
        rank: int = _RANK,
    ) -> None:
        shapes = space.shared_shapes(task)
        shared = SharedWeights(shapes, space.shared_name, generator)
        features = FeatureEncoding(space)
        changed = {name: shape for name, shape in shapes.items() if len(shape) > 1}
        inputs = len(features.encode(space.smallest()))
        hypernetwork = LowRankHypernetwork(changed, inputs, generator, rank)
        super().__init__(shared, features, hypernetwork)
        self._shared_name = space.shared_name

    def forward(
        self, architecture: Any, child: nn.Module, code: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Gives a tensor for each parameter of a child, by name.

        Args:
            architecture: The architecture that the child is built from.
            child: The child network.
            code: Features of the architecture, (F,), if a gradient with respect to them is wanted.
        """
        weights: dict[str, Tensor] = self.shared(child)
        places = {
            name: (self._shared_name(name), tuple(weight.shape))
            for name, weight in weights.items()
            if weight.ndim > 1
        }
        if code is None:
            code = self.encoding.encode(architecture)
        code = send_like(code, self.hypernetwork.learned_TE)
        changes = self.hypernetwork(code, places)
        return weights | {name: weights[name] + change for name, change in changes.items()}


def _normal(shape: Shape, spread: float, generator: torch.Generator) -> nn.Parameter:
    return nn.Parameter(spread * torch.randn(shape, generator=generator))
