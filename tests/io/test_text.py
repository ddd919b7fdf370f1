from __future__ import annotations

import pytest

from smash.io.text import printable


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain words", "plain words"),
        ("Straße 日本\u3000語 👩\u200d💻 💥", "Straße 日本\u3000語 👩\u200d💻 💥"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("a\r\nb\tc\x7f\x9b", r"a\r\nb\tc\x7f\x9b"),
        ("\u2028\u202egnp.exe", r"\u2028\u202egnp.exe"),
        ("caf\udce9", r"caf\udce9"),
        (r"C:\new", r"C:\new"),
    ],
)
def test_printable_escapes_control_characters_only(given, shown):
    assert printable(given) == shown
