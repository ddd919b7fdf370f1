import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import smash.data.sources.image_cache
from smash.data import load_data
from smash.errors import DataError

COUNTS = {"train/a": 12, "train/b": 12, "test/a": 2, "test/b": 2}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SMASH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch):
    """Counts how often images are decoded."""
    calls: list[int] = []
    original = smash.data.sources.images.Decoder.chunks

    def chunks(self):
        calls.append(1)
        yield from original(self)

    monkeypatch.setattr(smash.data.sources.images.Decoder, "chunks", chunks)
    return calls


def pixels(cache: Path) -> Path:
    (path,) = cache.glob("*.u8")
    return path


def entry(cache: Path) -> Path:
    (path,) = cache.glob("*.json")
    return path


def every_image(data) -> bytes:
    splits = (data.train, data.val, data.test)
    return torch.cat([split.images for split in splits]).numpy().tobytes()


def test_load_data_twice_decodes_once(cache, make_folder, decoded):
    root = make_folder(COUNTS)
    first, second = load_data(root), load_data(root)
    assert len(decoded) == 1
    assert every_image(first) == every_image(second)
    assert first.settings.fingerprint == second.settings.fingerprint
    assert (first.mean, first.std, first.notes) == (second.mean, second.std, second.notes)
    files = sorted(root.glob("t*/*/*.png"), key=lambda path: (path.parts[-3] != "train", path))
    expected = b"".join(np.asarray(Image.open(path)).transpose(2, 0, 1).tobytes() for path in files)
    assert pixels(cache).read_bytes() == expected


def test_load_data_from_the_cache_maps_its_file(cache, make_folder):
    data = load_data(make_folder(COUNTS))
    start = data.train.stored.untyped_storage().data_ptr()
    assert data.val.stored.untyped_storage().data_ptr() == start
    assert data.test.stored.untyped_storage().data_ptr() == start


def test_load_data_with_another_cut_measures_it(cache, make_folder, decoded):
    root = make_folder(COUNTS)
    fresh = {}
    for fraction in (0.1, 0.3):
        fresh[fraction] = load_data(root, val_fraction=fraction)
    assert len(decoded) == 1
    assert fresh[0.1].settings.fingerprint != fresh[0.3].settings.fingerprint
    assert fresh[0.1].mean != fresh[0.3].mean
    pixels(cache).unlink()
    for fraction, before in fresh.items():
        again = load_data(root, val_fraction=fraction)
        assert again.settings.fingerprint == before.settings.fingerprint
        assert again.mean == before.mean


def test_load_data_with_other_options_adds_an_entry(cache, make_folder):
    root = make_folder(COUNTS)
    assert load_data(root, image_size=5).task.size == (5, 5)
    assert load_data(root).task.size == (8, 8)
    assert len(list(cache.glob("*.u8"))) == 2


def grow(path):
    path.write_bytes(path.read_bytes() + b"\0")


def cut(path):
    path.write_bytes(path.read_bytes()[:-7])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def forged(path, **changes):
    content = json.loads(path.read_text())
    content["entry"].update(changes)
    canonical = json.dumps(content["entry"], sort_keys=True).encode()
    content["sha256"] = hashlib.sha256(canonical).hexdigest()
    path.write_text(json.dumps(content))


DAMAGE = {
    "pixels gone": lambda cache: pixels(cache).unlink(),
    "pixels grown": lambda cache: grow(pixels(cache)),
    "pixels cut": lambda cache: cut(pixels(cache)),
    "a bit of the pixels": lambda cache: flip(pixels(cache)),
    "entry gone": lambda cache: entry(cache).unlink(),
    "entry cut": lambda cache: cut(entry(cache)),
    "entry empty": lambda cache: entry(cache).write_text(""),
    "entry a list": lambda cache: entry(cache).write_text("[]"),
    "entry no text": lambda cache: entry(cache).write_bytes(b"\xff\xfe\x00"),
    "entry too deep": lambda cache: entry(cache).write_text("[" * 100_000),
    "a bit of entry": lambda cache: flip(entry(cache)),
    "other shape": lambda cache: forged(entry(cache), shape=[28, 3, 8, 9]),
    "negative shape": lambda cache: forged(entry(cache), shape=[28, 3, -8, -8]),
    "no shape": lambda cache: forged(entry(cache), shape=None),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_load_data_with_a_damaged_entry_decodes_again(cache, make_folder, decoded, damage):
    root = make_folder(COUNTS)
    before = load_data(root)
    images = every_image(before)
    DAMAGE[damage](cache)
    after = load_data(root)
    assert len(decoded) == 2
    assert every_image(after) == images
    assert after.settings.fingerprint == before.settings.fingerprint
    load_data(root)
    assert len(decoded) == 2


def replaced(path):
    Image.fromarray(np.full((8, 8, 3), 7, np.uint8)).save(path)


def replaced_with_its_time(path):
    """What an archive does that is unpacked over an older copy."""
    before = path.stat()
    content = path.read_bytes()
    replaced(path)
    path.write_bytes(path.read_bytes().ljust(len(content), b"\0"))
    assert path.stat().st_size == before.st_size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        lambda root: replaced(root / "train" / "a" / "003.png"),
        lambda root: replaced_with_its_time(root / "train" / "a" / "003.png"),
        lambda root: replaced(root / "train" / "a" / "new.png"),
        lambda root: (root / "train" / "a" / "003.png").unlink(),
        lambda root: (root / "train" / "a" / "003.png").rename(root / "train" / "b" / "x.png"),
        lambda root: (root / "train" / "a").rename(root / "train" / "c"),
    ],
)
def test_load_data_with_a_stale_entry_decodes_again(cache, make_folder, decoded, change):
    root = make_folder(COUNTS)
    before = load_data(root)
    change(root)
    if not (root / "train" / "a").exists():
        (root / "test" / "a").rename(root / "test" / "c")
    after = load_data(root)
    assert len(decoded) == 2
    assert after.settings.fingerprint != before.settings.fingerprint
    assert len(list(cache.iterdir())) == 2


def test_load_data_of_images_that_change_meanwhile_is_refused(cache, make_folder, monkeypatch):
    root = make_folder(COUNTS)
    original = smash.data.sources.images.Decoder.chunks

    def chunks(self):
        yield from original(self)
        replaced(root / "train" / "a" / "000.png")

    monkeypatch.setattr(smash.data.sources.images.Decoder, "chunks", chunks)
    with pytest.raises(DataError, match="photos changed while it was read: read it again"):
        load_data(root)
    assert list(cache.iterdir()) == []


def test_load_data_with_a_read_only_cache_does_without(tmp_path, make_folder, monkeypatch):
    root = make_folder(COUNTS)
    kept = load_data(root)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SMASH_CACHE", str(tmp_path / "file" / "cache"))
    data = load_data(root)
    assert data.settings.fingerprint == kept.settings.fingerprint
    note = "decoded images are not cached: "
    assert any(line.startswith(note) and "SMASH_CACHE" in line for line in data.notes)


def test_load_data_on_a_full_disk_does_without_a_cache(cache, make_folder, monkeypatch):
    usage = shutil.disk_usage(cache.parent)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    data = load_data(make_folder(COUNTS))
    assert any("needs 5,376 bytes, but has 100 free" in note for note in data.notes)
    assert list(cache.iterdir()) == []


def test_load_data_of_unusable_images_leaves_no_entry(cache, make_folder):
    root = make_folder(COUNTS)
    (root / "train" / "a" / "003.png").write_text("no image")
    with pytest.raises(DataError, match=r"003\.png cannot be used"):
        load_data(root)
    assert list(cache.iterdir()) == []


def test_load_data_after_a_kill_removes_what_it_left(cache, make_folder):
    root = make_folder(COUNTS)
    load_data(root)
    old, new = (cache / f".{pixels(cache).stem}.{name}.tmp" for name in ("old", "new"))
    for path in (old, new):
        path.write_text("")
    os.utime(old, (0, 0))
    pixels(cache).unlink()
    load_data(root)
    assert not old.exists()
    assert new.exists()


def test_load_data_of_grey_images_in_colour_keeps_one_channel(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(
        smash.data.sources.image_cache, "_CHUNK", 500
    )  # several steps of 2 images each
    grey = np.random.default_rng(0).integers(0, 256, (10, 8, 8), dtype=np.uint8)
    for i, image in enumerate(grey):
        (tmp_path / "photos" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        path = tmp_path / "photos" / "ab"[i % 2] / f"{i}.png"
        Image.fromarray(np.dstack([image] * 3)).save(path)
    data = load_data(tmp_path / "photos")
    assert "all images are grey: read as 1 channel" in data.notes
    expected = np.concatenate([grey[::2], grey[1::2]])
    assert pixels(cache).read_bytes() == expected.tobytes()
    assert data.task.channels == 1


LARGER_THAN_MEMORY = """
import sys
from smash.data import epoch_order, load_data
from smash.data.batches import batches

def anonymous():
    status = open("/proc/self/status").read()
    return int(status.split("RssAnon:")[1].split()[0]) * 1024

import smash.data.sources.image_cache, smash.data.sources.images, smash.data.load
for module in (smash.data.sources.image_cache, smash.data.sources.images, smash.data.load):
    module._CHUNK = 2**21
before = anonymous()
peak = 0
original = smash.data.sources.images.Decoder.chunks
def chunks(self):
    global peak
    for chunk in original(self):
        peak = max(peak, anonymous())
        yield chunk
smash.data.sources.images.Decoder.chunks = chunks
for _ in range(2):  # decoding, and then from the file
    data = load_data(sys.argv[1])
    peak = max(peak, anonymous())
    total = 0
    for batch in batches(data.train, 4, epoch_order(len(data.train), 0, 0)):
        total += int(batch.images.numpy().sum(dtype="int64"))
        peak = max(peak, anonymous())
    for split in (data.val, data.test):
        for batch in batches(split, 4):
            total += int(batch.images.numpy().sum(dtype="int64"))
            peak = max(peak, anonymous())
    size = data.train.stored[0].nbytes * sum(map(len, (data.train, data.val, data.test)))
    print(size, peak - before, total)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="tells of memory on Linux")
def test_load_data_takes_less_memory_than_its_images(cache, tmp_path):
    side, n = 512, 150
    total = 0
    for i in range(n):
        folder = tmp_path / "photos" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        image = np.full((side, side, 3), (i % 256, 2 * i % 256, 7), np.uint8)
        total += int(image.sum(dtype=np.int64))
        Image.fromarray(image).save(folder / f"{i:03}.png", compress_level=1)
    result = subprocess.run(
        [sys.executable, "-c", LARGER_THAN_MEMORY, str(tmp_path / "photos")],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    for line in lines:
        size, peak, found = map(int, line.split())
        assert size == n * 3 * side**2
        assert found == total
        assert peak < size / 2, f"{peak / 2**20:.0f} MiB for {size / 2**20:.0f} MiB of images"
