import numpy as np
import pytest
import torch

import smash
from smash.data import shrink


def data_of(shape, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (40, *shape), dtype=np.uint8)
    return smash.load_data((images, np.arange(40) % 4))


def test_shrink_by_a_whole_factor_averages_neighbours():
    data = data_of((3, 8, 8))
    shrunk = shrink(data, 4)
    for split in ("train", "val", "test"):
        before = getattr(data, split).images.numpy().astype(float)
        blocks = before.reshape(len(before), 3, 4, 2, 4, 2).mean((3, 5))
        after = getattr(shrunk, split)
        assert after.images.dtype == torch.uint8
        assert np.abs(after.images.numpy() - blocks).max() <= 0.5
        assert torch.equal(after.labels, getattr(data, split).labels)
    assert shrunk.task.size == (4, 4)


def test_shrink_by_another_factor_keeps_the_mean():
    data = data_of((1, 9, 6))
    shrunk = shrink(data, 4)
    assert shrunk.task.size == (4, 4)
    before, after = data.train.images.float(), shrunk.train.images.float()
    assert after.mean().item() == pytest.approx(before.mean().item(), abs=4)
    assert after.std() < before.std()


@pytest.mark.parametrize("side", [None, 8, 20])
def test_shrink_of_small_images_changes_nothing(side):
    data = data_of((3, 8, 8))
    assert shrink(data, side) is data


def test_shrink_with_augmentation_shortens_its_shifts():
    data = smash.load_data("digits", augment=True)
    assert shrink(data, 4).augmentation.padding == data.augmentation.padding * 4 // 8
