"""The main effects of choices on a score: what each option does by itself.

Children that share weights have scores with a part of its own for each combination of options,
since a shared tensor suits some of its neighbours better than others. Trained alone, networks of
stages and layers differ mostly by the sum of what each option brings. So a score that is drawn half
way to that sum ranks such networks better (benchmarks/notes/functions.md). Cells, whose operations
act through each other, it ranks worse; for them the sum is of what their paths hold, which is the
same for cells that compute the same (benchmarks/notes/cells.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from smash.errors import InvalidValueError
from smash.scoring.proxy_names import PATHS
from smash.scoring.rank_aggregation import Floats
from smash.spaces.nas_bench_201.architecture import OPERATIONS, CellArchitecture, read_cell

Choices = Mapping[str, str]
"""The options of an architecture by the names of their choices, of those that it has; or, of a
cell, the counts of what its paths hold."""

_BLOCK = 10_000  # rows of ones and zeros at once: those of a million candidates take gigabytes
_PENALTIES = np.logspace(-2, 4, 25)


def smoothed(scores: Floats, choices: Sequence[Choices]) -> Floats:
    """Draws scores half way to the sum of the main effects of their choices.

    Args:
        scores: Shape (n,); those that are not finite stay, and say nothing about the others.
        choices: The choices of each of the n architectures.

    Returns:
        Shape (n,).

    Example:
        >>> choices = [{"kernel": kernel, "depth": depth} for kernel in "35" for depth in "12"]
        >>> smoothed(np.array([1.0, 2.0, 3.0, 4.8]), choices).round(1)
        array([0.9, 2.1, 3.1, 4.7])
    """
    drawn, finite = scores.copy(), np.flatnonzero(np.isfinite(scores))
    if len(finite):
        fitted = main_effects(scores[finite], [choices[at] for at in finite.tolist()])
        drawn[finite] = (scores[finite] + fitted) / 2
    return drawn


def choices_of(architecture: Any) -> Choices:
    """Gives the choices of an architecture of a network function, or of its JSON.

    Raises:
        InvalidValueError: It has none.
    """
    values = (
        architecture if isinstance(architecture, Mapping) else getattr(architecture, "values", None)
    )
    if not isinstance(values, Mapping):
        raise InvalidValueError(
            f"prior 'main-effects' is for spaces of choices, such as mobile or a function, got "
            f"{architecture!s:.60}: leave it out"
        )
    return {name: str(value) for name, value in values.items()}


def paths_of(architecture: Any) -> Choices:
    """Counts what the paths of a cell hold, given the cell or its JSON.

    Raises:
        InvalidValueError: It is no cell.
    """
    text = architecture.get("cell") if isinstance(architecture, Mapping) else architecture
    cell = read_cell(text) if isinstance(text, str) else text
    if not isinstance(cell, CellArchitecture):
        raise InvalidValueError(
            f"prior {PATHS!r} is for cells, as of nas-bench-201, got {architecture!s:.60}: leave "
            "it out"
        )
    held = Counter(chain.from_iterable(cell.paths))
    counts = {
        "paths": len(cell.paths),
        "empty": cell.paths.count(()),
        "longest": max(map(len, cell.paths), default=0),
        **{operation: held[operation] for operation in OPERATIONS},
    }
    return {name: str(count) for name, count in counts.items()}


def main_effects(scores: Floats, choices: Sequence[Choices]) -> Floats:
    """Fits the sum of an effect of each option, by ridge regression.

    The penalty is the one with the lowest error by generalised cross-validation (Golub, Heath and
    Wahba 1979).

    Args:
        scores: Shape (n,), finite.
        choices: The choices of each of the n architectures.

    Returns:
        The fitted scores, shape (n,).
    """
    columns: dict[tuple[str, str], int] = {}
    places = [[columns.setdefault(item, len(columns)) for item in each.items()] for each in choices]
    count, mean = len(scores), float(scores.mean())
    gram_FF, sums_F = np.zeros((len(columns), len(columns))), np.zeros(len(columns))
    means_F = np.zeros(len(columns))
    for start in range(0, count, _BLOCK):
        block = slice(start, start + _BLOCK)
        block_nF = _one_hot(places[block], len(columns))
        gram_FF += block_nF.T @ block_nF
        sums_F += block_nF.T @ (scores[block] - mean)
        means_F += block_nF.sum(0) / count
    eigenvalues_F, vectors_FF = np.linalg.eigh(gram_FF - count * np.outer(means_F, means_F))
    eigenvalues_F = eigenvalues_F.clip(0)
    along_F = vectors_FF.T @ sums_F
    squares = float(((scores - mean) ** 2).sum())

    def error(penalty: float) -> float:
        kept_F = 1 / (eigenvalues_F + penalty)
        residual = squares - (along_F**2 * kept_F * (2 - eigenvalues_F * kept_F)).sum()
        freedom = count - 1 - (eigenvalues_F * kept_F).sum()
        return float(residual / max(freedom, 1e-9) ** 2)

    penalty = min(_PENALTIES.tolist(), key=error)
    effects_F = vectors_FF @ (along_F / (eigenvalues_F + penalty))
    effects = np.array([effects_F[each].sum() for each in places], dtype=np.float64)
    return mean + effects - float(means_F @ effects_F)


def _one_hot(places: Sequence[Sequence[int]], width: int) -> Floats:
    block_nF = np.zeros((len(places), width))
    for row, each in zip(block_nF, places, strict=True):
        row[each] = 1
    return block_nF
