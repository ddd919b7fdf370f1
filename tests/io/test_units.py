from __future__ import annotations

import pytest

from smash.errors import InvalidValueError
from smash.io.units import parse_size, parse_time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5ms", 0.005), ("0.005s", 0.005), (" 800 us ", 8e-4), ("1e-3s", 1e-3), ("1.5 ms", 0.0015)],
)
def test_parse_time_with_unit_gives_seconds(text, seconds):
    assert parse_time(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["5", "", "ms", "-5ms", "0ms", "1.2.3ms", "5 min", "nan s"])
def test_parse_time_of_other_text_fails(text):
    with pytest.raises(InvalidValueError, match=r"max_latency must be .* such as 5ms.*got"):
        parse_time(text, "max_latency")


@pytest.mark.parametrize(
    ("text", "size"),
    [("65536", 65536), ("64KiB", 65536), ("64 kib", 65536), ("100KB", 10**5), ("1.5MB", 1_500_000),
     ("2MiB", 2**21), ("7 B", 7), ("0.0011KiB", 1)],
)  # fmt: skip
def test_parse_size_gives_bytes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "KiB", "0", "0.5", "-1KB", "64 parsecs", "1e30", "64K iB", "١"]
)
def test_parse_size_of_other_text_fails(text):
    with pytest.raises(InvalidValueError, match=r"max_flash must be .* such as 64KiB, got"):
        parse_size(text, "max_flash")
