"""Image files into one tensor of 8-bit images of one size."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median_low
from typing import ParamSpec, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from smash.data.base import MIN_SIDE, first_lines, times
from smash.errors import DataError

EXTENSIONS = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
)

_LARGEST_COMMON_SIDE = 64
_THREADS = 2
_PIXELS_WORTH_A_THREAD = 128 * 128  # below, threads wait for each other longer than they decode
_MODES_16_BITS = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})

P = ParamSpec("P")
T = TypeVar("T")


def read_images(paths: Sequence[Path], image_size: int | None) -> tuple[Tensor, tuple[str, ...]]:
    """Decodes image files.

    Images of one size keep it; others are made square: resized (antialiased) so that the shorter
    side fits, and cropped at the centre.

    Args:
        paths: The files.
        image_size: Side of the result, in pixels; None for the common size or, where sizes
            differ, the median of the shorter sides, at most 64.

    Returns:
        Images of shape ``(n, channels, height, width)``, uint8, with 1 channel if all of them are
        grey and 3 otherwise; and notes on what was done.

    Raises:
        DataError: Files that cannot be used, each named.
    """
    # Pillow warns of images that are suspiciously large and decodes them all the same.
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        sizes = [_attempt(_size)(path) for path in paths]
        faults = [size for size in sizes if isinstance(size, str)]
        readable = {p: s for p, s in zip(paths, sizes, strict=True) if not isinstance(s, str)}
        if not readable:  # no faults either, if there are no paths: for the caller to judge
            raise DataError(*first_lines(faults))
        width, height = _common_size(list(readable.values()), image_size)
        pixels_NHWC = np.zeros((len(readable), height, width, 3), np.uint8)
        area = sum(w * h for w, h in readable.values()) / len(readable)
        with ThreadPoolExecutor(_THREADS) as pool:
            each = pool.map if area >= _PIXELS_WORTH_A_THREAD else map
            outcomes = list(each(_attempt(_decode), readable, pixels_NHWC))
    faults += [outcome for outcome in outcomes if isinstance(outcome, str)]
    if faults:
        raise DataError(*first_lines(faults))

    notes = []
    if (found := set(readable.values())) != {(width, height)}:
        origin = (
            f"{len(found)} different sizes found" if len(found) > 1 else f"all were {times(*found)}"
        )
        notes.append(f"images resized to {width}x{height} ({origin})")
    if transparent := sum(outcome is True for outcome in outcomes):
        notes.append(f"{transparent} images with transparency laid on white")
    images_NCHW = torch.from_numpy(pixels_NHWC).permute(0, 3, 1, 2)
    red, green, blue = images_NCHW.unbind(1)
    if torch.equal(red, green) and torch.equal(red, blue):
        notes.append("all images are grey: read as 1 channel")
        images_NCHW = images_NCHW[:, :1]
    return images_NCHW.contiguous(), tuple(notes)


def _common_size(sizes: Sequence[tuple[int, int]], image_size: int | None) -> tuple[int, int]:
    if image_size is None:
        if len(set(sizes)) == 1:
            return sizes[0]
        image_size = min(median_low(map(min, sizes)), _LARGEST_COMMON_SIDE)
    return image_size, image_size


def _attempt(read: Callable[P, T]) -> Callable[P, T | str]:
    """Turns what `read` raises about a file, its first argument, into a fault."""

    def attempt(*args: P.args, **kwargs: P.kwargs) -> T | str:
        try:
            return read(*args, **kwargs)
        except Exception as error:  # decoders raise whatever a damaged file leads them to
            reason = " ".join(str(error).split())
            return f"{args[0]} cannot be used ({reason}): replace or remove it"

    return attempt


@contextmanager
def _upright(path: Path) -> Iterator[Image.Image]:
    """Opens an image, the way its camera was held."""
    with Image.open(path) as image:
        # Asked first, because `exif_transpose` decodes even where there is nothing to do.
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            ImageOps.exif_transpose(image, in_place=True)
        yield image


def _size(path: Path) -> tuple[int, int]:
    """Width and height of an image, without decoding it where the format allows."""
    with _upright(path) as image:
        if min(image.size) < MIN_SIDE:
            raise ValueError(f"its sides must be at least {MIN_SIDE}, got {times(image.size)}")
        return image.size


def _decode(path: Path, pixels: NDArray[np.uint8]) -> bool:
    """Decodes an image into `pixels`, H×W×3; says whether it was transparent."""
    with _upright(path) as image:
        transparent = image.has_transparency_data
        image = _rgb(image)
        height, width, _ = pixels.shape
        if image.size != (width, height):
            image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
        pixels[:] = np.asarray(image)
    return transparent


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in _MODES_16_BITS:
        grey = np.asarray(image).astype(np.int64)
        if grey.min() < 0 or grey.max() > 0xFFFF:
            raise ValueError(f"its values must fit 16 bits, got {grey.min()}...{grey.max()}")
        # 65535 is 255 · 257; Pillow's own conversion cuts everything above 255 off.
        return Image.fromarray(((grey + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("its pixels are floats, which have no known range; save it with 8 bits")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("RGB")
