from __future__ import annotations

import torch

from smash.cli.describe import describe_sizes, sizes_of
from smash.spaces import MemoryBankSpace, Task
from tests.spaces.cases import OPTIONS


def test_sizes_go_up_and_are_told_in_words():
    space = MemoryBankSpace(OPTIONS["one-bottleneck"])
    sizes = sizes_of(space, Task(channels=1, size=(8, 8), classes=3), torch.device("cpu"))
    assert [size.name for size in sizes] == ["smallest", "median", "largest"]
    params = [size.cost.params for size in sizes]
    assert params == sorted(params)
    assert params[0] < params[2]
    lines = describe_sizes(sizes)
    assert f"{sizes[1].cost.params:,} parameters, {sizes[1].cost.macs:,} MACs" in lines[1]
    assert f"{1000 * sizes[2].latency.seconds:.2f} ± " in lines[2]
    assert f"threads: {torch.get_num_threads()}" in lines[3]
