"""Shared weights plus architecture-conditioned low-rank changes, for any space.

A weight of a child is W = S + U · diag(g) · V: S is its shared tensor, U and V are learned factors
of rank r that go with the shared tensor, and g says how much of each of the r changes this
architecture takes at this place. A small network gives g; U and V are scaled and never generated,
so a 7×7 kernel costs no more generated values than a 1×1 one.

Legend: L weights of a child, r rank, F features of an architecture, P numbers about a place,
E numbers learned for a shared tensor, O out channels, I in channels, K kernel extents.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from smash.hypernet.shared import SharedWeights
from smash.spaces.base import SearchSpace, Shape, corner
from smash.spaces.task import Task

_RANK = 8
_HIDDEN = 64
_LEARNED = 16  # E
# Size of a change, where all of g is 1, against that of the shared weight, at the start. With 1, g
# went to its limits within an epoch of SGD at 0.05, and training was slower than plain sharing.
_SHARE = 0.25
_PERIODS = (2.0, 8.0, 32.0)  # of the waves that tell turns apart, in turns


class LowRankHypernetwork(nn.Module):
    """Gives changes of weights: U · diag(g(features, place)) · V for each shared tensor.

    Args:
        shapes: Shapes of the shared tensors that are changed, O×I×K by name.
        features: F, how many features an architecture has.
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
        self._keys = {name: name.replace(".", "/") for name in shapes}
        self.left = nn.ParameterDict(
            {
                self._keys[name]: _normal((shape[0], rank), _SHARE / math.sqrt(rank), generator)
                for name, shape in shapes.items()
            }
        )
        self.right = nn.ParameterDict(
            {
                self._keys[name]: _normal(
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
            self.exit.weight.zero_()  # no change at the start: training begins as plain sharing
            self.exit.bias.zero_()

    def forward(
        self, features: Tensor, places: Mapping[str, tuple[str, Shape]]
    ) -> dict[str, Tensor]:
        """Gives the change of each weight, by parameter.

        Args:
            features: The architecture's, (F,).
            places: Of each weight of the child, in their order, its shared tensor and its shape.
        """
        if not places:
            return {}
        numbers = [self._numbers[name] for name, _ in places.values()]
        places_LP = self.learned_TE.new_tensor(self._about(list(places.values())))
        features_LF = features.to(places_LP).expand(len(places), -1)
        learned_LE = self.learned_TE[numbers]
        hidden = torch.relu(self.entry(torch.cat([features_LF, learned_LE, places_LP], dim=1)))
        amounts_Lr = torch.tanh(self.exit(hidden))
        return {
            parameter: self._change(name, shape, amounts_r)
            for (parameter, (name, shape)), amounts_r in zip(
                places.items(), amounts_Lr, strict=True
            )
        }

    def _change(self, name: str, shape: Shape, amounts_r: Tensor) -> Tensor:
        out, *rest = corner(self.shapes[name], shape)
        left_Or = self.left[self._keys[name]][out] * amounts_r
        right_rIK = self.right[self._keys[name]][(slice(None), *rest)]
        change_OIK: Tensor = left_Or @ right_rIK.flatten(1)
        return change_OIK.view(shape)

    def _about(self, places: list[tuple[str, Shape]]) -> list[list[float]]:
        """P numbers a place: its turn among those of one shared tensor, and its share of that."""
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


class LowRankWeights(nn.Module):
    """Shared weights, of which those of convolutions and linear layers are changed.

    Args:
        space: The search space; it describes architectures by `features`.
        task: What children are for.
        generator: Source of the initial values.
        rank: Rank of the changes.
    """

    def __init__(
        self,
        space: SearchSpace[Any],
        task: Task,
        generator: torch.Generator,
        rank: int = _RANK,
    ) -> None:
        super().__init__()
        shapes = space.shared_shapes(task)
        self._space = space
        self.shared = SharedWeights(shapes, space.shared_name, generator)
        self.hypernetwork = LowRankHypernetwork(
            {name: shape for name, shape in shapes.items() if len(shape) > 1},
            len(space.features(space.smallest())),
            generator,
            rank,
        )

    def encode(self, architecture: Any) -> Tensor:
        """Gives the features, (F,)."""
        return self._space.features(architecture).to(self.hypernetwork.learned_TE)

    def difference(self, base: Any, other: Any) -> Tensor:
        """How the features of `other` differ from those of `base`."""
        return self.encode(other) - self.encode(base)

    def forward(
        self, architecture: Any, child: nn.Module, code: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Gives `{name: tensor}` for all parameters of `child`.

        Args:
            architecture: What the child is built from.
            child: The child.
            code: The features, (F,), where a gradient with respect to them is wanted.
        """
        weights: dict[str, Tensor] = self.shared(child)
        places = {
            name: (self._space.shared_name(name), tuple(weight.shape))
            for name, weight in weights.items()
            if weight.ndim > 1
        }
        changes = self.hypernetwork(self.encode(architecture) if code is None else code, places)
        return weights | {name: weights[name] + change for name, change in changes.items()}


def _normal(shape: Shape, spread: float, generator: torch.Generator) -> nn.Parameter:
    return nn.Parameter(spread * torch.randn(shape, generator=generator))
