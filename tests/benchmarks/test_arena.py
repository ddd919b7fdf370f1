"""The RAM that ExecuTorch plans for small graphs, whose counts by hand are tested elsewhere."""

from __future__ import annotations

import pytest
from benchmarks.arena import compare_memory

from tests.profiling.test_footprint import TASK, Chain, Dense, Residual

pytest.importorskip("executorch")


@pytest.mark.parametrize(
    "network",
    [Chain, lambda: Residual(before=False), lambda: Residual(before=True), Dense],
    ids=["chain", "residual", "norm before convolution", "dense"],
)
def test_memory_of_small_graphs_without_overwriting_equals_what_executorch_plans(network):
    found = compare_memory(network(), TASK)
    planned = found["planned"]
    assert planned == found["alive"] == found["counted_without_overwriting"] >= found["counted"]
