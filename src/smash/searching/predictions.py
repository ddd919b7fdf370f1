"""Predicting candidates rung by rung on an executor."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from smash.runtime.executor import Executor, Future
from smash.runtime.memory import main_memory
from smash.runtime.signals import Interruption
from smash.scoring.scorer import GeneratedChild, Scorer
from smash.study.candidate import Candidate

# Limits on the weights of the children that wait for the next rung: in bytes, and as a share of the
# memory that the process may use.
_MOST_BYTES = 2**30
_MOST_SHARE = 1 / 16
_BYTES = 4  # of a parameter


class Predictor:
    """Predicts candidates rung by rung; a child is built once and waits for the next rung.

    A child that does not fit into the memory for waiting ones is built again for each rung, with
    the same weights.

    Args:
        scorer: Predicts children.
        executor: Does the work.
        interruption: Ends the wait for a prediction at once: nothing is lost by it.
    """

    def __init__(self, scorer: Scorer, executor: Executor, interruption: Interruption) -> None:
        self._scorer, self._executor = scorer, executor
        self._interruption = interruption
        self._shared_scorer = executor.scatter(scorer)
        self._limit = min(_MOST_BYTES, _MOST_SHARE * (main_memory() or math.inf))
        self._waiting: dict[str, tuple[Future[GeneratedChild], int]] = {}  # by candidate's id

    def predict(self, candidates: Sequence[Candidate], rung: int) -> Iterator[Tensor]:
        """Predicts the examples of a rung for one candidate after the other.

        All are submitted before the first is waited for, so that several machines have work.

        Args:
            candidates: The candidates.
            rung: Number of the rung in `Scorer.rungs`.

        Yields:
            Log-probabilities, (examples of the rung, classes).
        """
        futures = deque(self._submit(each, rung) for each in candidates)
        while futures:
            yield self._receive(futures.popleft())

    def predict_all(self, candidates: Sequence[Candidate], rung: int = 0) -> Iterator[Tensor]:
        """Predicts all examples in one piece of work per candidate, as `predict` does a rung."""
        futures = deque(
            self._executor.submit(_predict_all, self._shared_scorer, each.architecture)
            for each in candidates
        )
        while futures:
            yield self._receive(futures.popleft())

    def release(self, candidate: Candidate) -> None:
        """Forgets the child of a candidate that has settled."""
        self._waiting.pop(candidate.id, None)

    def _submit(self, candidate: Candidate, rung: int) -> Future[Tensor]:
        child, _ = self._waiting.get(candidate.id, (None, 0))
        if child is None:
            child = self._executor.submit(_generate, self._shared_scorer, candidate.architecture)
            size = candidate.params * self._scorer.networks * _BYTES
            if size + sum(waiting for _, waiting in self._waiting.values()) <= self._limit:
                self._waiting[candidate.id] = child, size
        return self._executor.submit(_predict, self._shared_scorer, child, rung)

    def _receive(self, future: Future[Tensor]) -> Tensor:
        with self._interruption.at_once():
            return future.result().to(self._scorer.device)


def _generate(scorer: Scorer, architecture: Any) -> GeneratedChild:
    return scorer.generate(architecture)


def _predict(scorer: Scorer, child: GeneratedChild, rung: int) -> Tensor:
    return scorer.predict_rung(child, rung)


def _predict_all(scorer: Scorer, architecture: Any) -> Tensor:
    return scorer.predict(architecture)
