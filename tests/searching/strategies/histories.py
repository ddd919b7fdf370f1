"""Histories of candidates with given values."""

from __future__ import annotations

from typing import Any

import numpy as np

from smash.spaces import SearchSpace
from smash.study.candidate import Candidate
from tests.study.candidates import make_candidate


def make_history(
    space: SearchSpace[Any], losses: Any, strategy: str = "random", seed: int = 0
) -> list[Candidate]:
    """Makes candidates of random architectures with the given losses."""
    rng = np.random.default_rng(seed)
    return [
        make_candidate(
            f"{strategy}-{index}",
            float(loss),
            architecture=space.sample(rng),
            strategy=strategy,
            index=index,
        )
        for index, loss in enumerate(losses)
    ]
