"""Image files into 8-bit images of one size, a chunk at a time."""

from __future__ import annotations

import hashlib
import logging
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median_low
from threading import Lock
from typing import NamedTuple, ParamSpec, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from smash.data.dataset import MIN_SIDE
from smash.errors import DataError, shortened
from smash.io.text import as_size
from smash.runtime.device import main_memory

EXTENSIONS = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
)
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""What Pillow may take a file for, whatever its name: some of its formats run other programs."""

MAX_SIDE = 4096
"""The longest side that images are resized to, in pixels."""

# What Pillow has to say of a damaged file, a fault says; a program may listen all the same.
logging.getLogger("PIL").addHandler(logging.NullHandler())

_LARGEST_COMMON_SIDE = 64
_THREADS = 2
_PIXELS_WORTH_A_THREAD = 128 * 128  # below, threads wait for each other longer than they decode
_CHUNK = 2**24  # bytes of decoded images at a time
_EXAMINED = 256  # images at a time
_LARGE = 2**24  # pixels of an image that is decoded while no other large one is
_ONE_LARGE = Lock()
_BAND = 256  # rows
_MODES_16_BITS = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
_GREY_MODES = _MODES_16_BITS | {"1", "L", "LA"}

P = ParamSpec("P")
T = TypeVar("T")
Pixels = NDArray[np.uint8]


class Picture(NamedTuple):
    """An image that is not decoded yet.

    Attributes:
        name: What a fault calls it.
        open: Opens it with Pillow, each time anew.
    """

    name: str
    open: Callable[[], Image.Image]


def picture_file(path: Path) -> Picture:
    """An image file."""
    return Picture(str(path), partial(Image.open, path, formats=FORMATS))


def read_images(paths: Sequence[Path], image_size: int | None) -> tuple[Tensor, tuple[str, ...]]:
    """Decodes image files into memory.

    Args:
        paths: The files.
        image_size: See `Decoder`.

    Returns:
        Images of shape ``(n, channels, height, width)``, uint8, with 1 channel if all of them are
        grey and 3 otherwise; and notes on what was done.

    Raises:
        DataError: Files that cannot be used, each named; or more images than memory can hold.
    """
    decoder = Decoder([picture_file(path) for path in paths], image_size)
    return decoder.in_memory(), decoder.notes


def read_image(path: Path, channels: int, size: tuple[int, int]) -> Tensor:
    """Decodes an image file as a network for such images takes it.

    Args:
        path: The file.
        channels: 1 for grey, 3 for red, green and blue.
        size: Height and width, in pixels; an image of another size is resized as by `Decoder`.

    Returns:
        Shape ``(channels, *size)``, uint8.

    Raises:
        DataError: It cannot be used.
    """
    pixels = np.zeros((channels, *size), np.uint8)
    with _strict():
        outcome = _attempt(_decode)(picture_file(path), pixels)
    if isinstance(outcome, str):
        raise DataError(outcome)
    return torch.from_numpy(pixels)


class Finding(NamedTuple):
    """What a sound image is like.

    Attributes:
        size: Width and height, in pixels.
        mode: Pillow's name for its kind of pixels.
        digest: The same for images that decode to the same pixels, and for no others.
    """

    size: tuple[int, int]
    mode: str
    digest: bytes


def examine(pictures: Iterable[Picture]) -> Iterator[Finding | str]:
    """Decodes each image, in order; a fault instead of a finding where it cannot be used."""
    remaining = iter(pictures)
    with ThreadPoolExecutor(_THREADS) as pool:
        while some := list(islice(remaining, _EXAMINED)):
            with _strict():
                found = list(pool.map(_attempt(_examine), some))
            yield from found


def _examine(picture: Picture) -> Finding:
    with _upright(picture) as image:
        size, mode = _checked_size(image), image.mode
        digest = hashlib.blake2b(repr(size).encode(), digest_size=16)
        digest.update(rgb(image).tobytes())
    return Finding(size, mode, digest.digest())


class Decoder:
    """Decodes images. It looks at their sizes when it is made, and decodes in `chunks`.

    Images of one size keep it; others are made square: resized (antialiased) so that the shorter
    side fits, and cropped at the centre.

    Args:
        pictures: The images; gone through twice, in the same order.
        image_size: Side of the result, in pixels; None for the common size or, where sizes
            differ, the median of the shorter sides, at most 64.

    Attributes:
        shape: Shape of all images, ``(n, channels, height, width)``.
        grey: Whether all images decoded so far are grey; where `shape` has 3 channels all the
            same, one of them is enough.

    Raises:
        DataError: No image can be used.
    """

    def __init__(self, pictures: Iterable[Picture], image_size: int | None) -> None:
        self._pictures = pictures
        with _strict():
            looks = [_attempt(_look)(picture) for picture in pictures]
        self._faults = {i: look for i, look in enumerate(looks) if isinstance(look, str)}
        usable = [look for look in looks if not isinstance(look, str)]
        if not usable:  # no faults either, if there are no pictures: for the caller to judge
            raise DataError(*shortened(self._faults.values()))
        sizes = [look.size for look in usable]
        width, height = _common_size(sizes, image_size)
        channels = 1 if all(look.grey for look in usable) else 3
        self.shape = (len(usable), channels, height, width)
        self.grey = True
        self._transparent = 0
        self._resized = _resizing(set(sizes), (width, height))
        self._threads = sum(w * h for w, h in sizes) >= _PIXELS_WORTH_A_THREAD * len(sizes)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done, once all is decoded."""
        notes = list(self._resized)
        if self._transparent:
            notes.append(f"{self._transparent} images with transparency laid on white")
        if self.grey:
            notes.append("all images are grey: read as 1 channel")
        return tuple(notes)

    def chunks(self) -> Iterator[Pixels]:
        """Decodes, in order; each chunk is of shape ``(k, channels, height, width)``.

        Raises:
            DataError: Files that cannot be used, each named; after the last chunk.
        """
        _, channels, height, width = self.shape
        size = max(1, _CHUNK // (channels * height * width))
        usable = (p for i, p in enumerate(self._pictures) if i not in self._faults)
        faults = list(self._faults.values())
        self.grey, self._transparent = True, 0
        with ThreadPoolExecutor(_THREADS) as pool:
            each = pool.map if self._threads else map
            while some := list(islice(usable, size)):
                pixels = np.zeros((len(some), channels, height, width), np.uint8)
                with _strict():
                    outcomes = list(each(_attempt(_decode), some, pixels))
                faults += [outcome for outcome in outcomes if isinstance(outcome, str)]
                self._transparent += sum(outcome is True for outcome in outcomes)
                self.grey = self.grey and bool((pixels == pixels[:, :1]).all())
                yield pixels
        if faults:
            raise DataError(*shortened(faults))

    def check(self) -> None:
        """Decodes all images and keeps none.

        Raises:
            DataError: See `chunks`.
        """
        for _ in self.chunks():
            pass

    def in_memory(self) -> Tensor:
        """All images in memory, in as many channels as they need.

        Raises:
            DataError: See `chunks`; or they are more than memory can hold.
        """
        memory, size = main_memory(), int(np.prod(self.shape, dtype=np.int64))
        if memory is not None and size > memory:
            raise DataError(
                f"images of shape {as_size(self.shape)} must fit in memory, and take "
                f"{size / 2**30:,.1f} GiB of {memory / 2**30:,.1f}: choose a smaller --image-size, "
                "or a cache folder with room for them (SMASH_CACHE)"
            )
        images = np.zeros(self.shape, np.uint8)
        done = 0
        for chunk in self.chunks():
            images[done : done + len(chunk)] = chunk
            done += len(chunk)
        return torch.from_numpy(np.ascontiguousarray(images[:, :1]) if self.grey else images)


def _common_size(sizes: Sequence[tuple[int, int]], image_size: int | None) -> tuple[int, int]:
    if image_size is None:
        if len(set(sizes)) == 1:
            return sizes[0]
        image_size = min(median_low(map(min, sizes)), _LARGEST_COMMON_SIDE)
    return image_size, image_size


def _resizing(found: set[tuple[int, int]], size: tuple[int, int]) -> list[str]:
    if found == {size}:
        return []
    origin = (
        f"{len(found)} different sizes found" if len(found) > 1 else f"all were {as_size(*found)}"
    )
    return [f"images resized to {as_size(size)} ({origin})"]


@contextmanager
def _strict() -> Iterator[None]:
    """Pillow warns of images that are suspiciously large and decodes them all the same.

    What else it warns of, such as odd EXIF data, changes no pixel: nothing is said of it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _attempt(read: Callable[P, T]) -> Callable[P, T | str]:
    """Turns what `read` raises about a picture, its first argument, into a fault."""

    def attempt(*args: P.args, **kwargs: P.kwargs) -> T | str:
        try:
            return read(*args, **kwargs)
        except Exception as error:  # decoders raise whatever a damaged file leads them to
            picture: Picture = args[0]  # type: ignore[assignment]
            reason = " ".join(str(error).split())
            return f"{picture.name} cannot be used ({reason}): replace or remove it"

    return attempt


@contextmanager
def _upright(picture: Picture) -> Iterator[Image.Image]:
    """Opens an image, the way its camera was held; large ones one at a time, to bound memory."""
    with picture.open() as image, _ONE_LARGE if math.prod(image.size) > _LARGE else nullcontext():
        # Asked first, because `exif_transpose` decodes even where there is nothing to do.
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            ImageOps.exif_transpose(image, in_place=True)
        yield image


class _Look(NamedTuple):
    """Width and height, and whether the kind of image has no colours."""

    size: tuple[int, int]
    grey: bool


def _look(picture: Picture) -> _Look:
    """Looks at an image, without decoding it where the format allows."""
    with _upright(picture) as image:
        return _Look(_checked_size(image), image.mode in _GREY_MODES)


def _checked_size(image: Image.Image) -> tuple[int, int]:
    if min(image.size) < MIN_SIDE:
        raise ValueError(f"its sides must be at least {MIN_SIDE}, got {as_size(image.size)}")
    return image.size


def _decode(picture: Picture, pixels: Pixels) -> bool:
    """Decodes an image into `pixels`, C×H×W; says whether it was transparent."""
    with _upright(picture) as image:
        transparent = image.has_transparency_data
        image = rgb(image)
        channels, height, width = pixels.shape
        if image.size != (width, height):
            image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
        if channels == 1:
            pixels[0] = np.asarray(image.convert("L"))  # of grey pixels their own value
        else:
            pixels[:] = np.asarray(image).transpose(2, 0, 1)
    return transparent


def rgb(image: Image.Image) -> Image.Image:
    """An image as 8 bits of red, green and blue; what is transparent is laid on white.

    Raises:
        ValueError: Its pixels have no known range.
    """
    if image.mode in _MODES_16_BITS:
        grey = np.asarray(image).astype(np.int32)
        if grey.min() < 0 or grey.max() > 0xFFFF:
            raise ValueError(f"its values must fit 16 bits, got {grey.min()}...{grey.max()}")
        # 65535 is 255 · 257; Pillow's own conversion cuts everything above 255 off.
        grey += 128
        grey //= 257
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("its pixels are floats, which have no known range; save it with 8 bits")
    if image.has_transparency_data:
        width, height = image.size
        flat = Image.new("RGB", image.size)
        for top in range(0, height, _BAND):  # In bands, so that copies of all of it are not needed.
            band = image.crop((0, top, width, min(top + _BAND, height))).convert("RGBA")
            white = Image.new("RGBA", band.size, "white")
            flat.paste(Image.alpha_composite(white, band).convert("RGB"), (0, top))
        return flat
    return image if image.mode == "RGB" else image.convert("RGB")
