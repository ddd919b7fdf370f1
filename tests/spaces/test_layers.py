from typing import Any

import pytest
import torch
from torch import nn

from smash.spaces.layers import Part, batch_norm, convolution


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


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize(("stride", "dilation", "groups"), [(1, 1, 1), (2, 3, 2)])
def test_a_layer_on_the_meta_device_is_as_torch_makes_it(dims, stride, dilation, groups) -> None:
    made = [
        convolution(
            4, 6, (3, 5, 1)[:dims], device=device, stride=stride, dilation=dilation, groups=groups
        )
        for device in ("meta", "meta", "cpu")
    ]
    made += [batch_norm(5, dims, device=device) for device in ("meta", "meta", "cpu")]
    for first, second, torchs in (made[:3], made[3:]):
        ours, theirs = dict(vars(first)), dict(vars(torchs))
        for kind in ("_parameters", "_buffers"):
            mine, others, real = ours.pop(kind), vars(second)[kind], theirs.pop(kind)
            assert mine.keys() == real.keys()
            for name, tensor in real.items():
                assert (tensor is None) is (mine[name] is None)
                if tensor is not None:
                    assert (type(mine[name]), mine[name].shape) == (type(tensor), tensor.shape)
                    assert mine[name] is not others[name]
        assert ours == theirs
