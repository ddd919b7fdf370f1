"""Small data sets for the benchmarks: the digits, or a part of a folder of photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import smash
from smash.data import Data


def load(source: str, per_class: int, side: int, **fractions: float) -> Data:
    """Loads a registered data set whole, or the first images of each class of a folder.

    Args:
        source: A name such as ``digits``, or a folder with ``train/CLASS`` and ``test/CLASS``.
        per_class: Training images of each class; as many images are tested on in all classes
            together as half of the training images, but at most all there are.
        side: Images of a folder are averaged over squares of pixels to side×side.
        fractions: ``test_fraction`` and ``val_fraction`` of `smash.load_data`, of a data set that
            is loaded whole.
    """
    folder = Path(source)
    if not (folder / "train").is_dir():
        return smash.load_data(source, **fractions)
    data, labels = _read(folder / "train", per_class, side)
    test_data, test_labels = _read(folder / "test", per_class // 2, side)
    return smash.load_data(
        {"data": data, "labels": labels, "test_data": test_data, "test_labels": test_labels}
    )


def _read(folder: Path, per_class: int, side: int) -> tuple[NDArray[Any], NDArray[Any]]:
    images, labels = [], []
    for label, of_class in enumerate(sorted(folder.iterdir())):
        for path in sorted(of_class.iterdir())[:per_class]:
            with Image.open(path) as image:
                small = image.convert("RGB").resize((side, side), Image.Resampling.BOX)
            images.append(np.asarray(small))
            labels.append(label)
    return np.stack(images).transpose(0, 3, 1, 2), np.array(labels)
