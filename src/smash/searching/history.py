"""The history of a search: the settled candidates of its study."""

from __future__ import annotations

import math
from collections.abc import Sequence

from smash.study.candidate import Candidate
from smash.study.study import Study


class History:
    """The settled candidates of a study, in the order of their commits.

    Args:
        study: The study; if it is shared, other searches extend it too.

    Attributes:
        candidates: The candidates.
        best: The best score on all examples; ∞ without candidates.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self.candidates: list[Candidate] = []
        self.best = math.inf
        self._by_id: dict[str, Candidate] = {}
        self._by_index: dict[tuple[str, int], Candidate] = {}
        self._take(study.candidates())

    @property
    def ids(self) -> set[str]:
        """Ids of the candidates."""
        return set(self._by_id)

    def count(self, strategy: str) -> int:
        """Counts the candidates of a strategy."""
        return sum(candidate.strategy == strategy for candidate in self.candidates)

    def find(self, strategy: str, indices: Sequence[int]) -> list[Candidate]:
        """Returns the candidates of some proposals of a strategy, of those that have settled."""
        found = (self._by_index.get((strategy, index)) for index in indices)
        return [candidate for candidate in found if candidate is not None]

    def refresh(self) -> None:
        """Takes in what other searches have committed."""
        if self._study.shared:
            self._take(self._study.candidates(after=len(self.candidates)))

    def commit(self, candidate: Candidate) -> None:
        """Commits a settled candidate, unless another search has committed its architecture."""
        self.refresh()
        if candidate.id in self._by_id:
            return
        self._study.add(candidate)
        # If two searches commit it in the same instant, the study decides which one counts.
        new = self._study.candidates(after=len(self.candidates)) if self._study.shared else None
        self._take([candidate] if new is None else new)
        self._by_id[candidate.id].values = candidate.values

    def _take(self, candidates: Sequence[Candidate]) -> None:
        for candidate in candidates:
            if candidate.id not in self._by_id:
                self._by_id[candidate.id] = candidate
                self._by_index[candidate.strategy, candidate.index] = candidate
                self.candidates.append(candidate)
                if not candidate.partial:
                    self.best = min(self.best, candidate.value)
