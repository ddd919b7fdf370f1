"""The cell space of NAS-Bench-201, as a search space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from smash.errors import InvalidValueError
from smash.spaces.base import Definition, SearchSpace, Shape
from smash.spaces.nas_bench_201.architecture import (
    CONVOLUTIONS,
    EDGES,
    OPERATIONS,
    CellArchitecture,
    first_cells,
    read_cell,
)
from smash.spaces.nas_bench_201.network import Cell, CellNetwork, Reduction
from smash.spaces.nas_bench_201.operations import NODES
from smash.spaces.nas_bench_201.options import NasBench201Options
from smash.spaces.task import Task

# Options that change what an architecture computes, in its id unless at their default.
_STRUCTURAL = ("cells", "channels", "stem_stride")
_PUBLISHED = NasBench201Options()
_SOURCES = (
    "smash.spaces.task",
    "smash.spaces.layers",
    "smash.spaces.nas_bench_201.operations",
    "smash.spaces.nas_bench_201.network",
)
# Probability of each of `OPERATIONS` in training, chosen by benchmarks.ranking on the first half of
# a table of 1,000 cells.
_IN_TRAINING = (0.1, 0.15, 0.25, 0.35, 0.15)


class NasBench201Space(SearchSpace[CellArchitecture]):
    """Cells of four nodes and five operations (Dong and Yang 2020), 15,625 in all.

    The options `connected` and `distinct` restrict sampling; every cell can be built and scored.

    Args:
        options: Options of the space; by default the published ones.

    Example:
        >>> space = NasBench201Space()
        >>> str(space.sample(np.random.default_rng(0)))
        '|avg_pool_3x3~0|+|nor_conv_3x3~0|nor_conv_1x1~1|+|skip_connect~0|skip_connect~1|none~2|'
    """

    name = "nas-bench-201"

    def __init__(self, options: NasBench201Options = _PUBLISHED) -> None:
        self.options = options

    def sample(self, rng: np.random.Generator, progress: float = 1.0) -> CellArchitecture:
        """Samples a cell uniformly from those that the options allow."""
        return self._draw(rng, None)

    def sample_for_training(self, rng: np.random.Generator, progress: float) -> CellArchitecture:
        """Samples a cell with more convolutions than `sample` does, since only they have weights.

        With uniform draws, a convolution trains in a fifth of the steps, seldom after another one,
        and cells with many convolutions in sequence rank too low.
        """
        return self._draw(rng, _IN_TRAINING if self.options.weighted else None)

    def _draw(self, rng: np.random.Generator, odds: Sequence[float] | None) -> CellArchitecture:
        while True:
            drawn = rng.choice(len(OPERATIONS), size=len(EDGES), p=odds)
            cell = CellArchitecture(tuple(OPERATIONS[index] for index in drawn))
            if self._allowed(cell) and self._settled(cell) == cell:
                return cell

    def mutate(
        self, architecture: CellArchitecture, rng: np.random.Generator, rate: float = 0.05
    ) -> CellArchitecture:
        """Gives each edge, and at least one, another operation with probability `rate`.

        Raises:
            InvalidValueError: `rate` is not within 0…1.
        """
        if not 0 < rate <= 1:
            raise InvalidValueError(f"rate must be more than 0 and at most 1, got {rate:g}")
        while True:
            chosen = rng.random(len(EDGES)) < rate
            if not chosen.any():
                chosen[rng.integers(len(EDGES))] = True
            changed = CellArchitecture(
                tuple(
                    _another(operation, rng) if change else operation
                    for operation, change in zip(architecture.operations, chosen, strict=True)
                )
            )
            if self._allowed(changed) and (
                not self.options.distinct or changed.canonical != architecture.canonical
            ):
                return self._settled(changed)

    def _allowed(self, cell: CellArchitecture) -> bool:
        return cell.connected or not self.options.connected

    def _settled(self, cell: CellArchitecture) -> CellArchitecture:
        """Maps a cell to the one that represents all cells of the same function."""
        return first_cells()[cell.canonical] if self.options.distinct else cell

    def network(self, architecture: CellArchitecture, task: Task) -> nn.Module:
        """Builds the child network."""
        return self.definition(architecture, task).build()

    def definition(self, architecture: CellArchitecture, task: Task) -> Definition:
        """Gives the source code of the child network."""
        arguments = {
            "edges": list(architecture.edges()),
            **self.options.model_dump(include={"channels", "cells", "stem_stride"}),
            "task": task,
        }
        return Definition(_SOURCES, CellNetwork, arguments)

    def proxy(self) -> NasBench201Space:
        """Gives the space with one cell per stage; more cells learn slowly, and rank no better."""
        if self.options.cells == 1:
            return self
        return NasBench201Space(self.options.replaced(cells=1))

    def stages(self, child: nn.Module) -> Sequence[nn.Module]:
        """Gives the cells and the reductions between them."""
        return [part for part in child.modules() if isinstance(part, Cell | Reduction)]

    def features(self, architecture: CellArchitecture) -> Tensor:
        """Gives the operation of each edge, one-hot (30 numbers), and which edges are live (6)."""
        chosen = [float(op == each) for op in architecture.operations for each in OPERATIONS]
        return torch.tensor([*chosen, *map(float, architecture.live)])

    def readable(self, architecture: CellArchitecture) -> dict[str, float]:
        """Gives the depth (most convolutions on a path) and the count of each operation."""
        counts = {each: float(architecture.operations.count(each)) for each in OPERATIONS}
        return {"depth": float(_depth(architecture)), **counts}

    def to_json(self, architecture: CellArchitecture) -> dict[str, Any]:
        """Gives the published text form, as ``{"cell": "|…|"}``."""
        return {"cell": str(architecture)}

    def from_json(self, value: Mapping[str, Any]) -> CellArchitecture:
        """Reads what `to_json` gave."""
        if set(value) != {"cell"} or not isinstance(value["cell"], str):
            raise InvalidValueError(
                f"a cell must have the form {{'cell': '|…|'}}, got {dict(value)!r}"
            )
        return read_cell(value["cell"])

    def parse(self, text: str) -> CellArchitecture:
        """Reads the published text form, or JSON."""
        return super().parse(text) if text.lstrip().startswith("{") else read_cell(text)

    def structure(self) -> dict[str, Any]:
        """Gives the structural options that differ from the published ones."""
        values, published = self.options.model_dump(), _PUBLISHED.model_dump()
        return {name: values[name] for name in _STRUCTURAL if values[name] != published[name]}

    def largest(self) -> CellArchitecture:
        """Gives a 3×3 convolution on each edge."""
        return CellArchitecture(("nor_conv_3x3",) * len(EDGES))

    def smallest(self) -> CellArchitecture:
        """Gives no operation on any edge, or if `connected` the identity on one."""
        last = "skip_connect" if self.options.connected else "none"
        return self._settled(
            CellArchitecture(tuple(last if edge == (0, NODES - 1) else "none" for edge in EDGES))
        )

    def shared_shapes(self, task: Task) -> dict[str, Shape]:
        """Gives the shapes of the shared tensors: one set per cell, edge and operation."""
        return {
            name: tuple(parameter.shape)
            for operation in CONVOLUTIONS
            for name, parameter in self.build(
                CellArchitecture((operation,) * len(EDGES)), task
            ).named_parameters()
        }


def _another(operation: str, rng: np.random.Generator) -> str:
    others = [each for each in OPERATIONS if each != operation]
    return others[rng.integers(len(others))]


def _depth(architecture: CellArchitecture) -> int:
    """Counts the convolutions on the path from input to output that has most of them."""
    depths = [0] * NODES
    for (source, target, operation), live in zip(
        architecture.edges(), architecture.live, strict=True
    ):
        if live:
            depths[target] = max(depths[target], depths[source] + (operation in CONVOLUTIONS))
    return depths[-1]
