import pytest
import torch

from smash.spaces.layers import batch_norm, convolution, fitting_stride
from smash.spaces.mobile import choose_options


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize(("dilation", "groups"), [(1, 1), (3, 2)])
def test_convolution_at_stride_1_keeps_the_extent(dims, dilation, groups) -> None:
    layer = convolution(4, 6, (3, 5, 1)[:dims], dilation=dilation, groups=groups)
    assert layer(torch.zeros(2, 4, *(7, 6, 5)[:dims])).shape == (2, 6, *(7, 6, 5)[:dims])
    assert layer.bias is None


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_batch_norm_normalises_inputs_of_any_dims(dims) -> None:
    x = torch.randn(8, 3, *(4,) * dims, generator=torch.Generator().manual_seed(0)) * 3 + 1
    y = batch_norm(3, dims)(x).transpose(0, 1).flatten(1)
    torch.testing.assert_close(y.mean(1), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.var(1, correction=0), torch.ones(3), atol=1e-4, rtol=0)


def test_stems_of_all_spaces_bring_inputs_down_to_the_same_extent():
    extent = dict(choose_options("tiny", {}).extent)
    for size, stride in (((1000,), (4,)), ((300, 40), (10, 2)), ((40, 40, 40), (3, 3, 3))):
        assert fitting_stride(size) == fitting_stride(size, extent) == stride
