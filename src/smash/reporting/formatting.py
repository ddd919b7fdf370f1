"""Numbers and settings as text for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def percent(value: float) -> str:
    """Formats a share 0…1: ``3.27%``."""
    return f"{100 * value:.2f}%" if math.isfinite(value) else "–"


def interval(ends: Sequence[float]) -> str:
    """Formats the two ends of an interval of shares, such as ``1.3…5.3%``."""
    low, high = ends
    return f"{100 * low:.1f}…{100 * high:.1f}%"


def short_percent(value: float) -> str:
    """Formats a share on an axis: ``5%``, ``2.5%``."""
    return f"{100 * value:.4g}%"


def decimal(value: float) -> str:
    """Formats a loss to four significant digits."""
    return f"{value:.4g}" if math.isfinite(value) else "–"


def coefficient(value: float) -> str:
    """Formats a correlation coefficient: ``0.61``."""
    return f"{value:.2f}" if math.isfinite(value) else "–"


def count(value: float) -> str:
    """Formats a whole number: ``46,474``."""
    return f"{value:,.0f}"


def short_count(value: float) -> str:
    """Formats a large number on an axis or a tile: ``46.5k``, ``1.2M``."""
    for size, prefix in _PREFIXES:
        if abs(value) >= size:
            return f"{value / size:.3g}{prefix}"
    return f"{value:.4g}"


def size(value: float) -> str:
    """Formats a number of bytes: ``640 B``, ``46.1 kB``, ``1.2 MB``."""
    text = short_count(value)
    return f"{text[:-1]} {text[-1]}B" if text[-1].isalpha() else f"{text} B"


def seconds(value: float) -> str:
    """Formats a time in seconds: ``3.2 ms``, ``41 s``, ``12 min``."""
    if value < 1e-3:
        return f"{value * 1e6:.3g} µs"
    if value < 1:
        return f"{value * 1e3:.3g} ms"
    return f"{value:.3g} s" if value < 120 else f"{value / 60:.3g} min"


def plain(value: Any) -> str:
    """Formats a setting: short floats, joined lists, absolute paths by name, nothing as a dash."""
    if value is None or value == "" or value == {} or value == []:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain(each) for each in value)
    return Path(value).name if Path(str(value)).is_absolute() else str(value)


def encoded(html: str) -> bytes:
    """Encodes HTML as UTF-8; lone surrogates, which JSON may hold, become question marks."""
    return html.encode(errors="replace")


def several(number: int, singular: str, plural: str | None = None) -> str:
    """Formats a number of things: ``1 op``, ``3 ops``."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"
