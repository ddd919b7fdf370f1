"""Examples that are in two splits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from smash.data import Split, check_data, load_data
from smash.data.duplicates import count_duplicates, digests, near_duplicates
from smash.errors import DataError

RNG = np.random.default_rng(0)


def labelled(images: torch.Tensor) -> Split:
    return Split(images, torch.arange(len(images)) % 2)


def test_digests_depend_on_the_pixels_of_all_views():
    images = torch.arange(6 * 4).view(6, 1, 4)
    plain = digests(labelled(images))
    assert len(set(plain.tolist())) == 6
    assert digests(labelled(images.clone())).tolist() == plain.tolist()
    viewed = digests(Split(images, torch.zeros(3, dtype=torch.int64), views=2))
    assert len(viewed) == 3
    assert not set(viewed.tolist()) & set(plain.tolist())


def test_count_duplicates_counts_examples_of_the_later_split():
    images = torch.arange(10)[:, None, None].float()
    splits = {
        "train": labelled(images[:5]),
        "val": labelled(images[[4, 4, 6]]),
        "test": labelled(images[[0, 6, 7]]),
    }
    assert count_duplicates(splits) == {"val in train": 2, "test in train": 1, "test in val": 1}


@pytest.fixture
def tripled():
    """Each of 100 images three times."""
    images = RNG.integers(0, 256, (100, 8, 8), dtype=np.uint8)
    return np.concatenate([images] * 3), np.concatenate([np.arange(100) % 2] * 3)


def test_load_data_with_duplicates_has_a_note(tripled):
    data = load_data(tripled)
    train = {bytes(image) for image in data.train.images.numpy()}
    shared = sum(bytes(image) in train for image in data.test.images.numpy())
    assert shared > 30
    (note,) = (note for note in data.notes if "same pixels" in note)
    assert f"{shared} of {len(data.test)} test examples are in train" in note
    assert "--drop-duplicates" in note
    assert data.settings.duplicates == note
    assert not any("same pixels" in note for note in load_data("digits").notes)


def test_drop_duplicates_leaves_later_splits_complete(tripled):
    whole, data = load_data(tripled), load_data(tripled, drop_duplicates=True)
    assert torch.equal(data.test.images, whole.test.images)
    kept = {name: {bytes(i) for i in s.images.numpy()} for name, s in data.splits.items()}
    assert not kept["test"] & (kept["train"] | kept["val"])
    assert not kept["val"] & kept["train"]
    assert len(data.train) < len(whole.train)
    assert any("left out because their pixels are in a later split" in n for n in data.notes)
    assert not any("same pixels" in note for note in data.notes)
    assert data.settings.fingerprint != whole.settings.fingerprint


def test_drop_duplicates_that_leaves_no_example_is_refused():
    images = np.zeros((20, 8, 8), np.uint8)
    with pytest.raises(DataError, match="has no example left in the train split without dupl"):
        load_data((images, np.arange(20) % 2), drop_duplicates=True)


def photo(side: int = 40) -> np.ndarray:
    """A smooth random image."""
    coarse = RNG.random((6, 6, 3)) * 255
    return np.asarray(Image.fromarray(coarse.astype(np.uint8)).resize((side, side)))


def stack(photos: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2)


def test_near_duplicates_finds_shifted_and_recompressed_images_only(tmp_path):
    photos = [photo() for _ in range(30)]
    Image.fromarray(photos[3]).save(tmp_path / "x.jpg", quality=60)
    copies = [np.roll(photos[7], 1, axis=1), np.asarray(Image.open(tmp_path / "x.jpg")), photo()]
    found = near_duplicates(labelled(stack(copies)), labelled(stack(photos)))
    assert found == [(0, 7), (1, 3)]
    small = labelled(torch.zeros(3, 1, 8, 8))
    assert near_duplicates(small, small) == []


def test_check_data_of_images_that_look_alike_names_them(tmp_path):
    for label in "ab":
        for split in ("train", "test"):
            (tmp_path / "photos" / split / label).mkdir(parents=True)
        for number in range(24):
            image = photo()
            path = tmp_path / "photos" / "train" / label / f"{number}.png"
            Image.fromarray(image).save(path)
        test = tmp_path / "photos" / "test" / label / "again.png"
        Image.fromarray(image if label == "a" else np.roll(image, 1, axis=0)).save(test)
    warnings = check_data(tmp_path / "photos").warnings
    (alike,) = (line for line in warnings if "look like one in train" in line)
    assert alike.startswith("1 of 2 test examples")
    assert "test/b/again.png" in alike
    assert "train/b/23.png" in alike
    (same,) = (line for line in warnings if "the same example" in line)
    assert "train/a/23.png and" in same
