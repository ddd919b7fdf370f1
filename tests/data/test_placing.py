import pytest
import torch

import smash.runtime.device
from smash.data import batches, load_data
from smash.runtime.device import place

CPU, META = torch.device("cpu"), torch.device("meta")


@pytest.fixture
def data(make_folder):
    return load_data(make_folder({"a": 20, "b": 20}))


def device_with(monkeypatch, free: int) -> None:
    monkeypatch.setattr(smash.runtime.device, "free_memory", lambda device: free)


def test_data_to_a_device_with_room_moves_images_once(data, monkeypatch):
    device_with(monkeypatch, 40 * 192 * 10 // 4)
    moved = data.to(META)
    assert moved.train.stored.device == moved.train.rows.device == META
    assert moved.train.stored is moved.val.stored is moved.test.stored
    assert len(moved.train.rows) == len(moved.train) == len(data.train)


def test_data_to_a_device_without_room_moves_batches(data, monkeypatch):
    device_with(monkeypatch, 40 * 192 * 10 // 4 - 1)
    moved = data.to(META)
    assert moved.train.stored is data.train.stored
    taken = [
        *batches(moved.val, 3),
        *batches(moved.train, 7, torch.tensor([3, 1])),
        moved.train.subset(torch.tensor([2])),
        moved.train.subset_of_views(torch.tensor([2]), torch.tensor([0])),
        moved.test.part(torch.tensor([1, 0])),
        moved.test.first_views,
    ]
    for batch in taken:
        assert batch.images.device == batch.labels.device == META
        assert len(batch.images) == len(batch)
    assert moved.settings == data.settings


def test_place_of_images_on_the_device_needs_no_room(monkeypatch):
    device_with(monkeypatch, 0)
    images = torch.zeros(3, 1, 8, device=META)
    assert place([images, images], META)[1] is images


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("share", [0.4, 0.0])
def test_batches_on_a_gpu_are_the_same(data, monkeypatch, share):
    monkeypatch.setattr(smash.runtime.device, "SHARE", share)
    moved = data.to("cuda")
    assert moved.train.stored.is_cuda == (share > 0)
    order = torch.randperm(len(data.train))
    for one, other in zip(
        batches(data.train, 7, order), batches(moved.train, 7, order), strict=True
    ):
        assert other.images.is_cuda
        assert torch.equal(one.images, other.images.cpu())
        assert torch.equal(one.labels, other.labels.cpu())
