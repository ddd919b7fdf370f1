import numpy as np
import pytest
import torch

from smash.data import normalise
from smash.data.transforms import channel_statistics


def test_normalise_uint8_divides_by_255():
    images = torch.tensor([[[[0, 255]], [[51, 102]]]], dtype=torch.uint8)
    expected = torch.tensor([[[[-1.0, 1.0]], [[0.0, 2.0]]]])
    torch.testing.assert_close(normalise(images, (0.5, 0.2), (0.5, 0.1)), expected)


def test_normalise_float_keeps_its_unit_and_its_input():
    images = torch.tensor([[[0.0, 255.0]]])
    torch.testing.assert_close(normalise(images, (5,), (2,)), torch.tensor([[[-2.5, 125.0]]]))
    assert images.tolist() == [[[0.0, 255.0]]]


@pytest.mark.parametrize("size", [(7,), (4, 5), (4, 5, 6)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_channel_statistics_equal_numpy(size, dtype):
    images = torch.randint(256, (300, 3, *size), generator=torch.Generator().manual_seed(0))
    images = images.to(dtype)
    numbers = images.numpy().astype(np.float64) / (255 if dtype == torch.uint8 else 1)
    axes = (0, *range(2, images.ndim))
    mean, std = channel_statistics(images)
    np.testing.assert_allclose(mean, numbers.mean(axes), rtol=1e-12)
    np.testing.assert_allclose(std, numbers.std(axes), rtol=1e-12)
    normal = normalise(images, mean, std).numpy()
    np.testing.assert_allclose(normal.mean(axes), 0, atol=1e-5)
    np.testing.assert_allclose(normal.std(axes), 1, rtol=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_channel_statistics_of_a_constant_channel_have_deviation_one(value):
    assert channel_statistics(torch.full((10, 1, 8), value))[1] == (1.0,)


@pytest.mark.parametrize(("scale", "shift"), [(1e-9, 0.0), (1.0, 1e4)])
def test_channel_statistics_of_small_and_distant_signals_keep_precision(scale, shift):
    signals = torch.randn(50, 1, 64, generator=torch.Generator().manual_seed(0)) * scale + shift
    assert channel_statistics(signals)[1][0] == pytest.approx(scale, rel=0.1)
