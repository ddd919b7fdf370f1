from typing import Any

import torch
from torch import nn

from smash.spaces.layers import Part


def fill(module: Any) -> nn.Module:
    module.plain = 3
    module.absent = None
    module.layer = nn.Linear(2, 2)
    module.gone = nn.Linear(2, 2)
    module.gone = None
    module.later = None
    module.later = nn.ReLU()
    module.weight = nn.Parameter(torch.ones(2))
    module.weight = nn.Parameter(torch.zeros(2))
    module.without = nn.Parameter(torch.ones(2))
    module.without = None
    module.register_buffer("seen", torch.zeros(1))
    module.seen = torch.ones(1)
    filled: nn.Module = module.eval()
    return filled


def test_part_keeps_what_is_set_as_torch_does() -> None:
    ours, theirs = fill(Part()), fill(nn.Module())
    for kind in ("_modules", "_parameters", "_buffers"):
        mine, other = getattr(ours, kind), getattr(theirs, kind)
        assert {name: type(value) for name, value in mine.items()} == {
            name: type(value) for name, value in other.items()
        }
    assert vars(ours).keys() == vars(theirs).keys()
    assert not ours.training
    assert not ours.get_submodule("layer").training
    assert torch.equal(ours.get_buffer("seen"), torch.ones(1))
    assert torch.equal(ours.get_parameter("weight"), torch.zeros(2))
