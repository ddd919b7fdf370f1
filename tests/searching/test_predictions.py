from __future__ import annotations

import numpy as np
import pytest
import torch

from smash.runtime.executor import SerialExecutor
from smash.runtime.signals import hear_interruption
from smash.scoring.scorer import GeneratedChild
from smash.searching import predictions
from smash.searching.predictions import Predictor
from tests.study.candidates import make_candidate

RUNGS = 3


class CountingScorer:
    """Predicts the number of its rung, and counts what is built."""

    networks = 1
    device = torch.device("cpu")

    def __init__(self):
        self.generated = []

    def generate(self, architecture):
        self.generated.append(architecture)
        return GeneratedChild(architecture, [])

    def predict_rung(self, child, rung):
        return torch.tensor([child.architecture, rung])


@pytest.mark.parametrize("memory", [False, True], ids=["fixed limit", "share of the memory"])
@pytest.mark.parametrize(
    ("params", "times"),
    [(1, [1] * 4), (10, [1, 1, RUNGS, RUNGS]), (21, [RUNGS] * 4)],
    ids=["all fit", "two fit", "none fits"],
)
def test_predictor_generates_a_child_once_if_it_fits(params, times, memory, monkeypatch):
    # 80 bytes, of four a parameter; or a sixteenth of the memory.
    if memory:
        monkeypatch.setattr(predictions, "main_memory", lambda: 16 * 80)
    else:
        monkeypatch.setattr(predictions, "_MOST_BYTES", 80)
    scorer = CountingScorer()
    cohort = [make_candidate(str(n), architecture=n, params=params) for n in range(4)]
    with hear_interruption() as interruption:
        predictor = Predictor(scorer, SerialExecutor(), interruption)
        for rung in range(RUNGS):
            found = list(predictor.predict(cohort, rung))
            assert [each.tolist() for each in found] == [[n, rung] for n in range(4)]
    assert np.bincount(scorer.generated).tolist() == times


def test_predictor_has_room_again_for_what_is_released(monkeypatch):
    monkeypatch.setattr(predictions, "_MOST_BYTES", 4)
    scorer = CountingScorer()
    first, second = (make_candidate(str(n), architecture=n, params=1) for n in range(2))
    with hear_interruption() as interruption:
        predictor = Predictor(scorer, SerialExecutor(), interruption)
        list(predictor.predict([first], 0))
        predictor.release(first)
        for rung in range(RUNGS):
            list(predictor.predict([second], rung))
    assert scorer.generated == [0, 1]
