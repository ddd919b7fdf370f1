import numpy as np
import pytest
import torch

from smash.data import Augmentation, normalise
from smash.data.transforms import channel_statistics


def reference(images: torch.Tensor, padding: int, flip: bool, seed: int) -> torch.Tensor:
    """One example after the other, with the draws in their documented order."""
    generator = torch.Generator().manual_seed(seed)
    n, _, *size = images.shape
    shifts = torch.randint(2 * padding + 1, (n, len(size)), generator=generator)
    mirrored = torch.randint(2, (n, 1), generator=generator)
    results = []
    for i, image in enumerate(images.numpy()):
        padded = np.pad(image, [(0, 0)] + [(padding, padding)] * len(size))
        crop = tuple(slice(s, s + e) for s, e in zip(shifts[i].tolist(), size, strict=True))
        cropped = padded[(slice(None), *crop)]
        results.append(cropped[..., ::-1] if flip and mirrored[i] else cropped)
    return torch.from_numpy(np.stack(results))


@pytest.mark.parametrize("size", [(9,), (6, 9), (5, 6, 7)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize(("padding", "flip"), [(0, True), (2, False), (3, True)])
def test_augmentation_equals_the_reference(size, dtype, padding, flip):
    images = torch.randint(1, 256, (20, 3, *size), generator=torch.Generator().manual_seed(1))
    images = images.to(dtype)
    augmented = Augmentation(padding, flip)(images, torch.Generator().manual_seed(7))
    assert augmented.dtype == dtype
    assert torch.equal(augmented, reference(images, padding, flip, seed=7))


def test_augmentation_draws_for_each_example():
    images = torch.arange(1, 65, dtype=torch.uint8).view(1, 1, 8, 8).expand(400, -1, -1, -1)
    augmented = Augmentation(1, True)(images, torch.Generator().manual_seed(0))
    assert len({tuple(image.flatten().tolist()) for image in augmented}) == 3 * 3 * 2


def test_augmentation_with_flip_mirrors_half():
    images = torch.tensor([[[1.0, 2.0]]]).expand(1000, 1, 2)
    augmented = Augmentation(flip=True)(images, torch.Generator().manual_seed(0))
    assert 450 < int((augmented[:, 0, 0] == 2).sum()) < 550


def test_augmentation_leaves_global_random_state():
    images = torch.rand(4, 1, 8, 8)
    before = torch.get_rng_state()
    first = Augmentation(2, True)(images, torch.Generator().manual_seed(3))
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(5)
    assert torch.equal(first, Augmentation(2, True)(images, torch.Generator().manual_seed(3)))


def test_augmentation_leaves_its_input():
    images = torch.rand(4, 1, 8, 8)
    copy = images.clone()
    Augmentation(2, True)(images, torch.Generator().manual_seed(3))
    assert torch.equal(images, copy)


def test_augmentation_of_nothing_returns_its_input():
    images = torch.rand(4, 1, 8, 8)
    assert Augmentation()(images, torch.Generator()) is images


@pytest.mark.parametrize(
    ("augmentation", "words"),
    [
        (Augmentation(), ""),
        (Augmentation(4), "random shifts by up to 4"),
        (Augmentation(0, True), "random mirroring"),
        (Augmentation(4, True), "random shifts by up to 4 and mirroring"),
    ],
)
def test_describe_words_each_change(augmentation, words):
    assert augmentation.describe() == words


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_augmentation_on_a_gpu_is_the_same():
    images = torch.rand(16, 3, 8, 8)
    augmentation = Augmentation(2, True)
    here = augmentation(images, torch.Generator().manual_seed(3))
    there = augmentation(images.cuda(), torch.Generator().manual_seed(3))
    assert torch.equal(here, there.cpu())


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
