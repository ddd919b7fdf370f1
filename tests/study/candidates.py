"""Made-up candidates."""

from __future__ import annotations

from typing import Any

from smash.scoring.score import Score
from smash.study.candidate import Candidate


def make_candidate(identity: str = "a", loss: float = 0.5, **fields: Any) -> Candidate:
    """Makes a settled candidate; fields of `Score` go into its score."""
    score: dict[str, Any] = {
        "error": 0.1, "top5_error": 0.0, "rank_by": "loss", "split": "val", "examples": 10,
    }  # fmt: skip
    score |= {name: fields.pop(name) for name in score.keys() & fields.keys()}
    values: dict[str, Any] = {
        "architecture": {}, "strategy": "random", "index": 0, "params": 100, "macs": 1000,
        "memory": 64, "flash": 100,
    }  # fmt: skip
    return Candidate(**{"id": identity, "score": Score(loss=loss, **score), **values, **fields})
