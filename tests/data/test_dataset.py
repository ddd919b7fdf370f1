from __future__ import annotations

import pytest
import torch

import smash.data
import smash.runtime.device
from smash.data import Split, load_data
from smash.data.batches import batches
from smash.runtime.device import place
from tests.data.conftest import split_of_views

CPU, META = torch.device("cpu"), torch.device("meta")


def test_subset_and_batches_have_all_views_of_their_examples():
    split = split_of_views(4, 3)
    found = split.subset(torch.tensor([2, 0]))
    assert found.images.flatten().tolist() == [20, 21, 22, 0, 1, 2]
    assert found.labels.tolist() == [2, 0]
    for order in (None, torch.arange(4)):
        parts = list(batches(split, 3, order))
        assert [part.labels.tolist() for part in parts] == [[0, 1, 2], [3]]
        assert torch.equal(torch.cat([part.images for part in parts]), split.images)
        assert {part.views for part in parts} == {3}
    assert split.to("cpu").views == 3


def test_first_views_are_one_of_each_example_without_a_copy():
    split = split_of_views(3, 4)
    assert split.first_views.images.flatten().tolist() == [0, 10, 20]
    assert split.first_views.labels.tolist() == [0, 1, 2]
    assert split.first_views.views == 1
    assert split.first_views.images.data_ptr() == split.images.data_ptr()


def test_part_of_a_part_equals_a_copy_and_shares_images():
    images = torch.arange(24).view(12, 1, 2).to(torch.uint8)
    split = Split(images, torch.arange(6), views=2)
    part = split.part(torch.tensor([5, 0, 3, 4])).part(torch.tensor([3, 1, 0]))
    assert part.stored is images
    assert part.labels.tolist() == [4, 0, 5]
    assert torch.equal(part.images, images[[8, 9, 0, 1, 10, 11]])
    assert torch.equal(part.first_views.images, images[[8, 0, 10]])
    assert torch.equal(split.first_views.images, images[::2])
    assert torch.equal(part.subset(torch.tensor([1])).images, images[:2])
    assert torch.equal(part.subset(slice(1, 9)).images, images[[0, 1, 10, 11]])
    one_each = part.subset_of_views(torch.tensor([2, 0]), torch.tensor([1, 0]))
    assert torch.equal(one_each.images, images[[11, 8]])
    assert one_each.labels.tolist() == [5, 4]
    for (taken, labels), number in zip(
        ((b.images, b.labels) for b in batches(part, 2)), ([8, 9, 0, 1], [10, 11]), strict=True
    ):
        assert torch.equal(taken, images[number])
        assert labels.tolist() == ([4, 0] if len(number) == 4 else [5])


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


def test_data_to_a_device_moves_every_split(digits):
    moved = digits.to("meta")
    for split in (moved.train, moved.val, moved.test, digits.val.to("meta")):
        assert split.images.device.type == split.labels.device.type == "meta"
    assert moved.settings.fingerprint == digits.settings.fingerprint


def test_subset_has_the_named_examples(digits):
    subset = digits.train.subset(torch.tensor([5, 2]))
    assert len(subset) == 2
    assert torch.equal(subset.images[1], digits.train.images[2])
    assert subset.labels[0] == digits.train.labels[5]
