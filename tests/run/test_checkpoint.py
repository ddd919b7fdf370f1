from __future__ import annotations

import pytest
import torch
from torch import nn

from smash.errors import RunStateError
from smash.run.checkpoint import Checkpoint


@pytest.mark.parametrize("make", [torch.optim.Adam, torch.optim.SGD])
def test_checkpoint_loaded_continues_exactly(tmp_path, make):
    def begin():
        module = nn.Linear(3, 2)
        options = {} if make is torch.optim.Adam else {"momentum": 0.9}
        return module, make(module.parameters(), lr=0.1, **options)

    def step(module, optimizer, number):
        optimizer.zero_grad()
        (module(torch.full((1, 3), float(number))) ** 2).sum().backward()
        optimizer.step()

    torch.manual_seed(0)
    module, optimizer = begin()
    checkpoint = Checkpoint(tmp_path / "state.safetensors")
    for number in range(3):
        step(module, optimizer, number)
    checkpoint.save(module, optimizer, {"step": 3})
    other, its_optimizer = begin()
    assert checkpoint.load(other, its_optimizer) == {"step": 3}
    for number in range(3, 6):
        step(module, optimizer, number)
        step(other, its_optimizer, number)
    assert torch.equal(module.weight, other.weight)


def test_checkpoint_of_another_module_is_refused(tmp_path):
    checkpoint = Checkpoint(tmp_path / "state.safetensors")
    module = nn.Linear(3, 2)
    checkpoint.save(module, torch.optim.SGD(module.parameters()), {})
    other = nn.Linear(4, 2)
    with pytest.raises(RunStateError, match="does not fit this run"):
        checkpoint.load(other, torch.optim.SGD(other.parameters()))
