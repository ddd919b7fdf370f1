"""Racing: candidates that can no longer be among the best are dropped before all is scored.

A candidate is scored on growing nested parts of the validation examples, each twice the one before.
After each part it is compared, example by example, with the last of the best few of earlier
cohorts; all are easy or hard on the same examples, so the differences vary far less than the
losses. (Maron and Moore 1994; paired as Moore and Lee 1994.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from scipy.stats import norm
from torch import Tensor

KEEP = 10
CONFIDENCE = 0.99


class Race:
    """Says when a candidate is out.

    With a normal approximation of the mean difference, a candidate that is in truth as good as the
    one it is compared with is dropped with a probability of at most 1 − confidence, over all parts
    together (Bonferroni).

    Args:
        rungs: Examples that have been seen after each part; the last is all.
        keep: How many of the best are to be told apart with certainty.
        confidence: 0…1.
    """

    def __init__(
        self,
        rungs: Sequence[int],
        keep: int = KEEP,
        confidence: float = CONFIDENCE,
    ) -> None:
        self._all = rungs[-1]
        self._keep = keep
        looks = max(1, len(rungs) - 1)  # after the last part nothing is left to save
        self._bound = float(norm.isf((1 - confidence) / looks))

    def rival(self, values: Sequence[float]) -> int | None:
        """Which candidate of a history to compare with: the last of the best few.

        Args:
            values: Full scores, lower is better; infinite for who was dropped.

        Returns:
            Its position; None where there are too few to compare with.
        """
        ranked = sorted(range(len(values)), key=lambda index: values[index])
        last = self._keep - 1
        if last >= len(ranked) or not math.isfinite(values[ranked[last]]):
            return None
        return ranked[last]

    def run(
        self,
        parts: Iterable[Tensor],
        judge: Callable[[Tensor, int], Tensor],
        rival: Tensor,
    ) -> Tensor:
        """Takes predictions part by part until the candidate is out or has seen all.

        Args:
            parts: Logits of the examples of each part, computed when asked for.
            judge: Gives what ranks for each example, lower is better, from logits and the number
                of the first of these examples.
            rival: That of the one to compare with, of all examples.

        Returns:
            Logits of the examples that were seen.
        """
        seen: list[Tensor] = []
        ahead: list[Tensor] = []
        begin = 0
        for logits in parts:
            seen.append(logits)
            end = begin + len(logits)
            ahead.append(judge(logits, begin) - rival[begin:end])
            if self.is_out(torch.cat(ahead)):
                break
            begin = end
        return torch.cat(seen)

    def is_out(self, differences: Tensor) -> bool:
        """Whether these differences say that a candidate is worse, with confidence.

        Args:
            differences: Its values minus those of the one to compare with, (examples,).
        """
        if len(differences) == self._all:
            return False
        mean = differences.mean().item()
        error = differences.std().item() / math.sqrt(len(differences))
        return mean > self._bound * error
