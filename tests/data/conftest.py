from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from smash.data import Split

FolderMaker = Callable[..., Path]


def split_of_views(n: int, views: int) -> Split:
    """Examples whose pixels say which view of which example they are: 10 · example + view."""
    images = 10 * torch.arange(n)[:, None] + torch.arange(views)
    return Split(images.view(n * views, 1, 1), torch.arange(n), views)


@pytest.fixture
def make_folder(tmp_path: Path) -> FolderMaker:
    """Makes a folder of class folders: `make_folder({"train/cat": 3})` holds three 8×8 images."""

    def make(counts: dict[str, int], size: tuple[int, int] = (8, 8), colour: bool = True) -> Path:
        rng = np.random.default_rng(0)
        for name, count in counts.items():
            folder = tmp_path / "photos" / name
            folder.mkdir(parents=True)
            for i in range(count):
                shape = (size[1], size[0], 3) if colour else (size[1], size[0])
                pixels = rng.integers(0, 256, shape, dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i:03}.png")
        return tmp_path / "photos"

    return make
