import numpy as np
import pytest
import torch

import smash
from smash.data import shrink


def data_of(shape, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (40, *shape), dtype=np.uint8)
    return smash.load_data((images, np.arange(40) % 4))


def test_neighbours_are_averaged():
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


def test_extents_that_do_not_divide_keep_the_mean():
    data = data_of((1, 9, 6))
    shrunk = shrink(data, 4)
    assert shrunk.task.size == (4, 4)
    before, after = data.train.images.float(), shrunk.train.images.float()
    assert after.mean().item() == pytest.approx(before.mean().item(), abs=4)
    assert after.std() < before.std()


@pytest.mark.parametrize("side", [None, 8, 20])
def test_what_is_small_enough_stays_as_it_is(side):
    data = data_of((3, 8, 8))
    assert shrink(data, side) is data


def test_what_augmentation_shifts_by_shrinks_alike():
    data = smash.load_data("digits", augment=True)
    assert shrink(data, 4).augmentation.padding == data.augmentation.padding * 4 // 8
