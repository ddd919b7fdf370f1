from __future__ import annotations

import dataclasses

import pytest
import torch

from smash.cli.describe import announce_short, describe_sizes, sizes_of
from smash.config import ChildSettings
from smash.data import Augmentation
from smash.spaces import MemoryBankSpace, Task
from smash.training.train import begin
from tests.conftest import TINY
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


@pytest.mark.parametrize(
    ("padding", "given", "told"),
    [
        (1, {"epochs": 9}, True),
        (1, {"epochs": 10}, False),
        (1, {"epochs": 9, "augment": False}, False),
        (0, {"epochs": 9}, False),
    ],
)
def test_a_short_training_tells_that_it_leaves_out_the_augmentation_of_its_data(
    digits, tmp_path, capsys, padding, given, told
):
    data = dataclasses.replace(digits, augmentation=Augmentation(padding=padding))
    announce_short(begin(data, tmp_path / "run", **TINY), ChildSettings(**given))
    said = "".join(capsys.readouterr())
    assert ("learns without augmentation, which helps from 10 epochs on" in said) is told
