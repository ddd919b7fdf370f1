import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pillow_heif import register_heif_opener

import smash.data.sources.images
from smash.data.sources.images import IMAGE_EXTENSIONS, Decoder, picture_file, rgb
from smash.errors import DataError

Pixels = NDArray[Any]

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 8), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)


def read_images(paths: list[Path], image_size: int | None) -> tuple[torch.Tensor, tuple[str, ...]]:
    decoder = Decoder(list(map(picture_file, paths)), image_size)
    return decoder.in_memory(), decoder.notes


def read(path: Path, image_size: int | None = None) -> tuple[Pixels, tuple[str, ...]]:
    images, notes = read_images([path], image_size)
    return images[0].permute(1, 2, 0).numpy(), notes


def on_white(colour: Pixels, alpha: Pixels) -> Pixels:
    share = alpha.astype(float)[..., None] / 255
    return np.round(colour * share + 255 * (1 - share)).astype(int)


def rgba() -> tuple[Image.Image, Pixels]:
    alpha = RNG.integers(0, 256, (6, 8), dtype=np.uint8)
    image = Image.fromarray(np.dstack([COLOUR, alpha]))
    return image, on_white(COLOUR, alpha)


def la() -> tuple[Image.Image, Pixels]:
    alpha = RNG.integers(0, 256, (6, 8), dtype=np.uint8)
    image = Image.fromarray(np.dstack([GREY, alpha]), "LA")
    return image, on_white(GREY[..., None], alpha)


def palette() -> tuple[Image.Image, Pixels]:
    image = Image.fromarray(GREY % 16, "P")
    image.putpalette(COLOUR.flatten().tolist())
    return image, COLOUR.reshape(-1, 3)[GREY % 16]


def cmyk() -> tuple[Image.Image, Pixels]:
    image = Image.fromarray(np.dstack([COLOUR, np.zeros_like(GREY)]), "CMYK")
    return image, 255 - COLOUR


CASES: dict[str, tuple[str, Callable[[], tuple[Image.Image, Pixels]]]] = {
    "grey": (".png", lambda: (Image.fromarray(GREY), GREY[..., None])),
    "bits": (".png", lambda: (Image.fromarray(GREY > 99), 255 * (GREY > 99)[..., None])),
    "colour": (".png", lambda: (Image.fromarray(COLOUR), COLOUR)),
    "grey saved as colour": (
        ".png",
        lambda: (Image.fromarray(np.dstack([GREY] * 3)), GREY[..., None]),
    ),
    "grey with alpha": (".png", la),
    "colour with alpha": (".png", rgba),
    "palette": (".gif", palette),
    "palette png": (".png", palette),
    "cmyk": (".tif", cmyk),
    "16 bits": (
        ".png",
        lambda: (Image.fromarray(GREY.astype(np.uint16) * 257 + 100), GREY[..., None]),
    ),
    "16 bits tiff": (
        ".tiff",
        lambda: (Image.fromarray(GREY.astype(np.uint16) * 257 - (GREY > 0)), GREY[..., None]),
    ),
    "32 bits tiff": (
        ".tif",
        lambda: (Image.fromarray(GREY.astype(np.int32) * 257), GREY[..., None]),
    ),
    "16 bits pgm": (
        ".pgm",
        lambda: (Image.fromarray(GREY.astype(np.int32) * 257), GREY[..., None]),
    ),
    "bmp": (".bmp", lambda: (Image.fromarray(COLOUR), COLOUR)),
    "ppm": (".ppm", lambda: (Image.fromarray(COLOUR), COLOUR)),
}


@pytest.mark.parametrize("case", CASES)
def test_read_images_of_any_mode_converts_it(tmp_path, case):
    suffix, make = CASES[case]
    image, expected = make()
    path = tmp_path / f"image{suffix}"
    image.save(path)
    pixels, notes = read(path)
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).max() <= ("alpha" in case)
    assert ("1 images with transparency were put on white" in notes) == ("alpha" in case)
    assert ("all images are grey: read as 1 channel" in notes) == (expected.shape[-1] == 1)


def test_read_images_with_a_transparent_palette_colour_makes_it_white(tmp_path):
    image, expected = palette()
    image.save(tmp_path / "image.png", transparency=3)
    pixels, _ = read(tmp_path / "image.png")
    assert np.array_equal(pixels, np.where((GREY % 16 == 3)[..., None], 255, expected))


def test_read_images_of_an_animation_takes_the_first_frame(tmp_path):
    frames = [Image.fromarray(np.full((6, 6), value, np.uint8)) for value in (10, 200)]
    frames[0].save(tmp_path / "image.gif", save_all=True, append_images=frames[1:])
    assert (read(tmp_path / "image.gif")[0] == 10).all()


@pytest.mark.parametrize("suffix", sorted(IMAGE_EXTENSIONS - {".pgm", ".ppm"}))
def test_read_images_of_any_format_gives_nearly_its_pixels(tmp_path, suffix):
    register_heif_opener()
    image = Image.new("RGB", (8, 8), (200, 100, 50))
    image.save(tmp_path / f"image{suffix}")
    assert np.abs(read(tmp_path / f"image{suffix}")[0] - np.array([200, 100, 50])).max() <= 4


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_read_images_with_an_exif_orientation_turns_them(tmp_path, orientation, suffix):
    upright = Image.new("RGB", (24, 16), "white")
    upright.paste((200, 0, 0), (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x112] = orientation
    path = tmp_path / f"image{suffix}"
    # What a camera writes: the image as its sensor saw it, and how to turn it.
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    sensor = upright.transpose(undo[orientation]) if orientation in undo else upright
    sensor.save(path, exif=exif, quality=95, subsampling=0)
    pixels, notes = read(path)
    assert np.abs(pixels.astype(int) - np.asarray(upright)).max() < 30
    assert notes == ()


def save(path: Path, size: tuple[int, int]) -> Path:
    pixels = RNG.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize(
    ("sizes", "image_size", "shape", "note"),
    [
        ([(8, 6)] * 3, None, (6, 8), None),
        ([(70, 70)] * 3, None, (70, 70), None),
        ([(8, 8)] * 3, 8, (8, 8), None),
        ([(8, 6)] * 3, 16, (16, 16), "images resized to 16x16 (all were 8x6)"),
        ([(8, 8), (10, 12), (30, 20)], None, (10, 10), "images resized to 10x10 (3 different"),
        ([(8, 6), (6, 8)], None, (6, 6), "images resized to 6x6 (2 different sizes found)"),
        ([(80, 90), (100, 80)], None, (64, 64), "images resized to 64x64 (2 different sizes"),
        ([(200, 300), (300, 200)], None, (64, 64), "images resized to 64x64 (2 different sizes"),
    ],
)
def test_read_images_of_several_sizes_gives_a_common_size(tmp_path, sizes, image_size, shape, note):
    paths = [save(tmp_path / f"{i}.png", size) for i, size in enumerate(sizes)]
    images, notes = read_images(paths, image_size)
    assert images.shape == (len(sizes), 3, *shape)
    assert images.is_contiguous()
    assert len(notes) == (note is not None)
    assert note is None or notes[0].startswith(note)


def test_read_images_with_a_size_crops_the_centre_and_averages(tmp_path):
    pixels = np.zeros((8, 24, 3), np.uint8)
    pixels[:, 8:16] = np.indices((8, 8)).sum(0)[..., None] % 2 * 200  # a chess board
    pixels[..., 1] = 7
    Image.fromarray(pixels).save(tmp_path / "image.png")
    small = read(tmp_path / "image.png", 4)[0]
    assert np.abs(small[..., 0].astype(int) - 100).max() <= 15  # the black sides are gone
    assert (small[..., 1] == 7).all()


def test_read_images_with_any_number_of_threads_gives_the_same(tmp_path):
    paths = [save(tmp_path / f"{i}.png", (150, 150)) for i in range(4)]
    expected = [ImageOps.fit(Image.open(p), (32, 32), Image.Resampling.BILINEAR) for p in paths]
    images, _ = read_images(paths, 32)
    assert np.array_equal(
        images.permute(0, 2, 3, 1).numpy(), np.stack([np.asarray(image) for image in expected])
    )


def test_read_images_with_one_in_colour_gives_three_channels(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "grey.png")
    Image.fromarray(COLOUR).save(tmp_path / "colour.png")
    images, _ = read_images([tmp_path / "grey.png", tmp_path / "colour.png"], None)
    assert torch.equal(images[0], torch.from_numpy(GREY).expand(3, -1, -1))


def truncated(path: Path) -> None:
    save(path, (40, 40))
    path.write_bytes(path.read_bytes()[:-1000])


def floats(path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.float32)).save(path, format="TIFF")


def wide(path: Path) -> None:
    Image.fromarray(np.full((8, 8), 70_000, np.int32)).save(path, format="TIFF")


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (lambda path: path.write_text("no image"), "cannot identify"),
    "empty": (lambda path: path.write_bytes(b""), "cannot identify"),
    "truncated": (truncated, "truncated"),
    "tiny": (lambda path: save(path, (3, 9)), "its sides must be at least 4, got 3x9"),
    "bomb": (lambda path: save(path, (30, 30)), "900 pixels"),
    "floats": (floats, "its pixels are floats"),
    "32 bits": (wide, "its values must fit 16 bits, got 70000...70000"),
}


@pytest.mark.parametrize("image_size", [None, 8])
@pytest.mark.parametrize("fault", BROKEN)
def test_read_images_of_an_unusable_file_names_it(tmp_path, monkeypatch, fault, image_size):
    break_it, reason = BROKEN[fault]
    if fault == "bomb":
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    save(tmp_path / "good.png", (8, 8))
    break_it(tmp_path / "bad.png")
    with pytest.raises(DataError) as caught:
        read_images([tmp_path / "good.png", tmp_path / "bad.png"], image_size)
    (line,) = caught.value.faults
    assert line.startswith(f"{tmp_path / 'bad.png'} cannot be used (")
    assert reason in line
    assert "\n" not in line


def test_read_images_of_many_unusable_files_reports_all(tmp_path):
    truncated(tmp_path / "good.png")
    paths = [tmp_path / f"{i:02}.png" for i in range(14)]
    for path in paths:
        path.write_text("no image")
    with pytest.raises(DataError) as caught:
        read_images([*paths[:2], tmp_path / "good.png"], None)
    assert len(caught.value.faults) == 3
    with pytest.raises(DataError) as caught:
        read_images(paths, None)
    (fault,) = caught.value.faults
    assert fault.startswith("14 files cannot be used")


def test_read_images_of_formats_that_run_programs_is_refused(tmp_path):
    save(tmp_path / "good.png", (8, 8))
    Image.open(tmp_path / "good.png").save(tmp_path / "bad.eps")
    (tmp_path / "bad.eps").rename(tmp_path / "bad.png")
    with pytest.raises(DataError, match=r"bad\.png cannot be used \(cannot identify"):
        read_images([tmp_path / "good.png", tmp_path / "bad.png"], None)


def test_read_images_beyond_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(smash.data.sources.images, "main_memory", lambda: 500)
    with pytest.raises(DataError, match=r"shape 3x3x8x8 must fit in memory.*--image-size"):
        read_images([save(tmp_path / f"{i}.png", (8, 8)) for i in range(3)], None)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_read_images_of_large_transparent_images_equals_the_whole(mode):
    image = Image.fromarray(RNG.integers(0, 256, (700, 5, 4), dtype=np.uint8))
    if mode == "P":
        image = image.convert("RGB").quantize(16)
        image.info["transparency"] = bytes(range(0, 256, 16))
    else:
        image = image.convert(mode)
    white = Image.new("RGBA", image.size, "white")
    whole = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    assert np.array_equal(np.asarray(rgb(image)), np.asarray(whole))


def test_read_images_of_large_images_decodes_one_at_a_time(tmp_path, monkeypatch):
    """Four images of a few kilobytes may decode to gigabytes: two at once would be too much."""
    for number in range(6):
        Image.fromarray(np.full((600, 600), number, np.uint8)).save(tmp_path / f"{number}.png")
    active, most = 0, {}
    both = threading.Barrier(2)

    def counting(image, *white):
        nonlocal active
        active += 1
        if limit == 600 * 600:  # two threads decode three images each
            both.wait(60)
        else:
            time.sleep(0.02)  # for another to come in, if it may
        most[limit] = max(most.get(limit, 0), active)
        active -= 1
        return rgb(image, *white)

    monkeypatch.setattr(smash.data.sources.images, "rgb", counting)
    for limit in (600 * 600, 600 * 600 - 1):
        monkeypatch.setattr(smash.data.sources.images, "_LARGE", limit)
        read_images(sorted(tmp_path.iterdir()), 8)
    assert most == {600 * 600: 2, 600 * 600 - 1: 1}


def test_read_images_of_many_small_bombs_is_refused(tmp_path):
    paths = []
    for number in range(4):
        paths.append(tmp_path / f"{number}.png")
        Image.new("1", (9000, 9000)).save(paths[-1])
    files = sum(path.stat().st_size for path in paths)
    with pytest.raises(DataError) as caught:
        Decoder(list(map(picture_file, paths)), None)
    assert f"4 images of {files:,} bytes must decode to at most 200 times as many" in str(
        caught.value
    )
    assert Decoder(list(map(picture_file, paths)), 64).shape == (4, 1, 64, 64)
