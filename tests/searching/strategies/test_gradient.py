from __future__ import annotations

import numpy as np
import pytest

from smash.errors import InvalidValueError
from smash.searching.strategies import GradientPerturbation, Perturbation, Scored
from smash.spaces import PRESETS, MemoryBankSpace

SPACE = MemoryBankSpace(PRESETS["tiny"])


def ops(architecture):
    return sum(len(block.ops) for block in architecture.blocks)


def test_of_a_pool_of_changes_the_steepest_is_proposed():
    base = SPACE.sample(np.random.default_rng(0))
    seen = []

    def slope(other):
        seen.append(other)
        return float(sum(op.outputs for block in other.blocks for op in block.ops))

    history = [
        Scored(SPACE.smallest(), 0.1, "markov"),  # better, but not drawn at random
        Scored(base, 0.5, "random", lambda: slope),
        Scored(SPACE.largest(), 0.9, "random"),
    ]
    proposed = GradientPerturbation(SPACE, 0.2, pool=8).propose(history, np.random.default_rng(1))
    assert len(seen) == 8
    drawn = list(seen)
    assert slope(proposed) == min(slope(one) for one in drawn)
    # The pool is what plain perturbation draws.
    rng = np.random.default_rng(1)
    assert drawn == [Perturbation(SPACE, 0.2).propose(history, rng) for _ in range(8)]


def test_scores_without_a_gradient_are_refused():
    history = [Scored(SPACE.smallest(), 0.1, "random")]
    with pytest.raises(InvalidValueError, match="carry a gradient"):
        GradientPerturbation(SPACE).propose(history, np.random.default_rng(0))
