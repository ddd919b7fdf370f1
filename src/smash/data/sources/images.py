"""Decoding of image files to 8-bit images of one size, a chunk at a time."""

from __future__ import annotations

import hashlib
import logging
import math
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import islice, repeat
from pathlib import Path
from statistics import median_low
from typing import NamedTuple, ParamSpec, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, features
from torch import Tensor

from smash.data.dataset import MIN_SIDE
from smash.errors import DataError, MissingExtraError, Unusable, describe_unusable, reason_of
from smash.io.text import as_size
from smash.runtime.memory import main_memory

_HEIF = frozenset({".heic", ".heif"})
_AVIF = frozenset({".avif"})
IMAGE_EXTENSIONS = (
    _HEIF
    | _AVIF
    | {*(".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")}
)
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""The only formats that Pillow may recognise, because it opens some others with other programs."""

WHITE = 0xFFFF
"""Value of 16-bit pixels that is white, unless a data set says otherwise."""

# A fault reports what Pillow logs about a damaged file; programs may still listen to the log.
logging.getLogger("PIL").addHandler(logging.NullHandler())

_LARGEST_DEFAULT_SIDE = 64
_THREADS = 2
_SMALLEST_IN_THREADS = 128 * 128  # pixels; smaller images are decoded faster than threads switch
_LARGE = 2**24  # pixels; larger images are decoded one at a time
_CHUNK = 2**24  # bytes of decoded images
_EXAMINED = 256  # images at a time
_BAND = 256  # rows
_MOST_EXPANDED = 200  # times; photographs and drawings expand less
_ALWAYS_ALLOWED = 2**28  # bytes of decoded images that may expand more
_MODES_16_BITS = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
_GREY_MODES = _MODES_16_BITS | {"1", "L", "LA"}

_large_images = threading.Lock()

P = ParamSpec("P")
T = TypeVar("T")
Pixels = NDArray[np.uint8]


class Picture(NamedTuple):
    """An image that is not decoded yet.

    Attributes:
        name: Its name in faults.
        open: Opens it with Pillow, anew each time.
        file_size: Gives the size of its file in bytes; None for an image in memory.
    """

    name: str
    open: Callable[[], Image.Image]
    file_size: Callable[[], int] | None = None


def picture_file(path: Path) -> Picture:
    """Makes a picture of an image file.

    Raises:
        MissingExtraError: A package that reads such a file is not installed.
    """
    suffix = path.suffix.lower()
    formats: tuple[str, ...] = FORMATS
    if suffix in _HEIF:
        formats += (_register_heif(path),)
    elif suffix in _AVIF:
        if not features.check("avif"):
            raise MissingExtraError(
                f"{path} is AVIF, which this Pillow does not read: pip install --upgrade pillow"
            )
        formats += ("AVIF",)
    return Picture(
        str(path), partial(Image.open, path, formats=formats), lambda: path.stat().st_size
    )


def _register_heif(path: Path) -> str:
    try:
        import pillow_heif
    except ImportError:
        raise MissingExtraError(
            f"{path} is HEIF, and reading it needs the package 'pillow-heif', which is not "
            "installed: pip install 'smash-nas[heif]'"
        ) from None
    pillow_heif.register_heif_opener()
    return "HEIF"


def read_image(path: Path, channels: int, size: tuple[int, int], white: int = WHITE) -> Tensor:
    """Decodes an image file for a network.

    Args:
        path: The file.
        channels: 1 for grey, 3 for red, green and blue.
        size: Height and width in pixels; an image of another size is resized as by `Decoder`.
        white: Value of 16-bit pixels that is white.

    Returns:
        Shape ``(channels, *size)``, uint8.

    Raises:
        DataError: The file cannot be used.
    """
    pixels = np.zeros((channels, *size), np.uint8)
    with _strict():
        outcome = _attempt(_decode)(picture_file(path), pixels, white)
    if isinstance(outcome, Unusable):
        raise DataError(*describe_unusable([outcome]))
    return torch.from_numpy(pixels)


class ImageInfo(NamedTuple):
    """Properties of an image.

    Attributes:
        size: Width and height, in pixels.
        mode: Pillow's name for its kind of pixels.
        file_size: Size of its file in bytes; None for an image in memory.
        digest: Hash of its pixels; empty where these were not decoded.
        highest: Largest value of its pixels if they have 16 bits, else 0.
        animated: Whether it has several frames or pages.
    """

    size: tuple[int, int]
    mode: str
    file_size: int | None
    digest: bytes = b""
    highest: int = 0
    animated: bool = False


def examine(pictures: Iterable[Picture]) -> Iterator[ImageInfo | Unusable]:
    """Decodes each image, in order, and yields its properties, or why it cannot be used."""
    remaining = iter(pictures)
    with ThreadPoolExecutor(_THREADS) as pool:
        while some := list(islice(remaining, _EXAMINED)):
            with _strict():
                found = list(pool.map(_attempt(partial(_inspect, decode=True)), some))
            yield from found


class Decoder:
    """Decodes images to one size. It reads their sizes at once, and decodes them in `chunks`.

    Images of a common size keep it. Others become square: resized, antialiased, so that the shorter
    side fits, and cropped at the centre.

    Args:
        pictures: The images; iterated over twice, in the same order.
        image_size: Side of the result in pixels; None for the common size or, where sizes differ,
            the median of the shorter sides, at most 64.

    Attributes:
        shape: Shape of all images, ``(n, channels, height, width)``.
        grey: Whether all images decoded so far are grey, although `shape` may have 3 channels.
        white: Value of 16-bit pixels that is white: the largest one of as many bits as they use.

    Raises:
        DataError: No image can be used, or they decode to far more than their files hold.
    """

    def __init__(self, pictures: Iterable[Picture], image_size: int | None) -> None:
        self._pictures = pictures
        with _strict():
            found = [_attempt(_inspect)(picture) for picture in pictures]
        self._unusable = {i: each for i, each in enumerate(found) if isinstance(each, Unusable)}
        usable = [info for info in found if not isinstance(info, Unusable)]
        if not usable:
            raise DataError(*describe_unusable(self._unusable.values()))
        sizes = [info.size for info in usable]
        width, height = _common_size(sizes, image_size)
        channels = 1 if all(info.mode in _GREY_MODES for info in usable) else 3
        self.shape = (len(usable), channels, height, width)
        _check_expansion(usable, self.shape)
        self.grey = True
        self._transparent = 0
        highest = max(info.highest for info in usable)
        self.white = max(255, 2 ** highest.bit_length() - 1) if highest else WHITE
        self._notes = [
            *_describe_resizing(set(sizes), (width, height)),
            *_describe_depth([info for info in usable if info.highest], self.white),
        ]
        if animated := sum(info.animated for info in usable):
            self._notes.append(f"{animated:,} images have several frames, and the first one counts")
        pixels = sum(width * height for width, height in sizes)
        self._in_threads = pixels >= _SMALLEST_IN_THREADS * len(sizes)

    @property
    def notes(self) -> tuple[str, ...]:
        """Decisions made, complete once all images are decoded."""
        notes = list(self._notes)
        if self._transparent:
            notes.append(f"{self._transparent:,} images with transparency were put on white")
        if self.grey:
            notes.append("all images are grey: read as 1 channel")
        return tuple(notes)

    def chunks(self) -> Iterator[Pixels]:
        """Yields decoded images, in order, in arrays of shape ``(k, channels, height, width)``.

        Raises:
            DataError: Files cannot be used, after the last chunk; each is named.
        """
        _, channels, height, width = self.shape
        size = max(1, _CHUNK // (channels * height * width))
        usable = (p for i, p in enumerate(self._pictures) if i not in self._unusable)
        unusable = list(self._unusable.values())
        self.grey, self._transparent = True, 0
        with ThreadPoolExecutor(_THREADS) as pool:
            apply = pool.map if self._in_threads else map
            while some := list(islice(usable, size)):
                pixels = np.zeros((len(some), channels, height, width), np.uint8)
                with _strict():
                    outcomes = list(apply(_attempt(_decode), some, pixels, repeat(self.white)))
                unusable += [outcome for outcome in outcomes if isinstance(outcome, Unusable)]
                self._transparent += sum(outcome is True for outcome in outcomes)
                self.grey = self.grey and bool((pixels == pixels[:, :1]).all())
                yield pixels
        if unusable:
            raise DataError(*describe_unusable(unusable))

    def in_memory(self) -> Tensor:
        """Decodes all images into memory, in as many channels as they need.

        Returns:
            Shape ``(n, channels, height, width)``, uint8, with one channel if all are grey.

        Raises:
            DataError: See `chunks`; or the images do not fit in memory.
        """
        memory, size = main_memory(), int(np.prod(self.shape, dtype=np.int64))
        if memory is not None and size > memory:
            raise DataError(
                f"images of shape {as_size(self.shape)} must fit in memory, but take "
                f"{size / 2**30:,.1f} GiB of {memory / 2**30:,.1f}: choose a smaller --image-size, "
                "or a cache folder with enough space (SMASH_CACHE)"
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
        image_size = min(median_low(map(min, sizes)), _LARGEST_DEFAULT_SIDE)
    return image_size, image_size


def _check_expansion(infos: Sequence[ImageInfo], shape: tuple[int, ...]) -> None:
    """Refuses small files that decode to a lot, each within Pillow's limit."""
    files = sum(info.file_size or 0 for info in infos)
    size = int(np.prod(shape, dtype=np.int64))
    if files and size > max(_ALWAYS_ALLOWED, _MOST_EXPANDED * files):
        raise DataError(
            f"{len(infos):,} images of {files:,} bytes must decode to at most {_MOST_EXPANDED} "
            f"times as many, but decode to {size:,} ({as_size(shape)}): choose a smaller "
            "--image-size, or remove those that are damaged"
        )


def _describe_resizing(found: set[tuple[int, int]], size: tuple[int, int]) -> list[str]:
    if found == {size}:
        return []
    origin = (
        f"{len(found):,} different sizes found" if len(found) > 1 else f"all were {as_size(*found)}"
    )
    return [f"images resized to {as_size(size)} ({origin})"]


def _describe_depth(infos: Sequence[ImageInfo], white: int) -> list[str]:
    if not infos:
        return []
    highest = max(info.highest for info in infos)
    return [
        f"{len(infos):,} images of 16 bits use {white.bit_length()} of them (values up to "
        f"{highest:,}): all are divided by {white:,}, one scale for the whole data set"
    ]


@contextmanager
def _strict() -> Iterator[None]:
    """Makes an error of Pillow's warning about suspiciously large images.

    Its other warnings, such as those about odd EXIF data, concern no pixel and are ignored.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _attempt(read: Callable[P, T]) -> Callable[P, T | Unusable]:
    """Turns errors about a picture, the first argument, into a result."""

    def attempt(*args: P.args, **kwargs: P.kwargs) -> T | Unusable:
        try:
            return read(*args, **kwargs)
        except Exception as error:  # decoders raise anything on a damaged file
            picture: Picture = args[0]  # type: ignore[assignment]
            return Unusable(picture.name, reason_of(error))

    return attempt


@contextmanager
def _upright(picture: Picture) -> Iterator[Image.Image]:
    """Opens an image and turns it as its EXIF orientation says; large ones one at a time."""
    with (
        picture.open() as image,
        _large_images if math.prod(image.size) > _LARGE else nullcontext(),
    ):
        # `exif_transpose` decodes the image even if there is nothing to turn.
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            ImageOps.exif_transpose(image, in_place=True)
        yield image


def _inspect(picture: Picture, decode: bool = False) -> ImageInfo:
    """Reads the properties of an image, without decoding it unless asked or necessary."""
    file_size = picture.file_size() if picture.file_size else None
    with _upright(picture) as image:
        size, mode, digest, highest = image.size, image.mode, b"", 0
        if min(size) < MIN_SIDE:
            raise ValueError(f"its sides must be at least {MIN_SIDE}, got {as_size(size)}")
        animated = getattr(image, "n_frames", 1) > 1  # which images of one frame lack
        deep = mode in _MODES_16_BITS
        if deep:
            highest = int(_deep_pixels(image).max())
        if decode:
            content = hashlib.blake2b(repr(size).encode(), digest_size=16)
            content.update(_deep_pixels(image).tobytes() if deep else rgb(image).tobytes())
            digest = content.digest()
    return ImageInfo(size, mode, file_size, digest, highest, animated)


def _decode(picture: Picture, pixels: Pixels, white: int) -> bool:
    """Decodes an image into `pixels`, C×H×W, and says whether it was transparent."""
    with _upright(picture) as image:
        transparent = image.has_transparency_data
        image = rgb(image, white)
        channels, height, width = pixels.shape
        if image.size != (width, height):
            image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
        if channels == 1:
            pixels[0] = np.asarray(image.convert("L"))  # keeps the value of a grey pixel
        else:
            pixels[:] = np.asarray(image).transpose(2, 0, 1)
    return transparent


def _deep_pixels(image: Image.Image) -> NDArray[np.int32]:
    """Reads pixels of 16 bits, height×width.

    Raises:
        ValueError: They have more.
    """
    grey = np.asarray(image).astype(np.int32)
    if grey.min() < 0 or grey.max() > WHITE:
        raise ValueError(f"its values must fit 16 bits, got {grey.min()}...{grey.max()}")
    return grey


def rgb(image: Image.Image, white: int = WHITE) -> Image.Image:
    """Converts an image to 8 bits of red, green and blue, with white behind transparency.

    Args:
        image: The image.
        white: Value of 16-bit pixels that becomes 255; larger ones do too.

    Raises:
        ValueError: The range of its pixels is not known.
    """
    if image.mode in _MODES_16_BITS:
        # Rounded to the nearest. Pillow's own conversion clips values above 255.
        grey = (_deep_pixels(image) * 255 + white // 2) // white
        return Image.fromarray(grey.clip(max=255).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("its pixels are floats of unknown range; save it with 8 bits")
    if image.has_transparency_data:
        width, height = image.size
        flat = Image.new("RGB", image.size)
        for top in range(0, height, _BAND):  # in bands, to need no copies of the whole image
            band = image.crop((0, top, width, min(top + _BAND, height))).convert("RGBA")
            behind = Image.new("RGBA", band.size, "white")
            flat.paste(Image.alpha_composite(behind, band).convert("RGB"), (0, top))
        return flat
    return image if image.mode == "RGB" else image.convert("RGB")
