"""The handwritten digits that scikit-learn ships: 1,797 grey images of 8×8 pixels."""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits

from smash.data.base import Source, Split


def read_digits() -> Source:
    """Reads the digits; their 17 levels are spread over 0…255."""
    bunch = load_digits()
    images = torch.from_numpy(bunch.images)[:, None]
    return Source(
        classes=tuple(map(str, bunch.target_names)),
        train=Split(
            (images * (255 / 16)).round().to(torch.uint8), torch.from_numpy(bunch.target).long()
        ),
        flip=False,  # a mirrored 3 is no digit
        augmented=False,
    )
