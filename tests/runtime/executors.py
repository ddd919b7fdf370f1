"""The contract of executors."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from smash.runtime.executor import Executor


@dataclass(frozen=True)
class Weights:
    """A value that pieces of work share."""

    values: torch.Tensor

    def to(self, device: torch.device) -> Weights:
        return Weights(self.values.to(device))


def scale(weights: Weights, factor: int) -> torch.Tensor:
    return factor * weights.values


def fail() -> None:
    raise KeyError("failed")


def check_executor(executor: Executor) -> None:
    """Checks that an executor keeps the contract of `Executor`."""
    futures = {executor.submit(divmod, 17, by): by for by in (3, 5)}
    completed = {futures[future]: future.result() for future in executor.as_completed([*futures])}
    assert completed == {3: (5, 2), 5: (3, 2)}
    weights = executor.scatter(Weights(torch.arange(3)))
    scaled = executor.submit(scale, weights, 4)
    further = executor.submit(torch.sum, scaled)  # a future is an argument of further work
    assert further.result() == 12
    assert scaled.result().tolist() == scaled.result().tolist() == [0, 4, 8]
    with pytest.raises(KeyError, match="failed"):
        executor.submit(fail).result()
