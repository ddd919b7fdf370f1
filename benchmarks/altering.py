"""Alters files at random: bits, pieces, values of another kind, numbers beyond all bounds."""

from __future__ import annotations

import io
import json
import random
import struct
import tomllib
import zipfile
from typing import Any

import tomli_w

_ODD: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 10**30, 10**400, 0.5, -0.0, 1e308),
    *(float("nan"), float("inf"), -float("inf"), "", "a", "\0", "é", "../../x", "/etc/passwd"),
    *("../../../decoys/file", "\x1b[31mred\x1b[0m", "[/]", "[link=file:///]x[/link]", "<script>"),
    *("\u202egnp", "\ud800", "{x}", "%s"),
    *(
        "a" * 5000,
        [],
        {},
        [[]],
        [0] * 1000,
        {"": {}},
        {"self": 1},
        {"value": 1},
        [None],
        [1.5, "x"],
    ),
]
_TOKENS = [
    *(b"\0", b"\xff", b"\n", b"\r", b"\r\n", b",", b'"', b"'", b"=", b"[", b"]", b"{", b"}", b":"),
    *(b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-1", b"0", b"\xef\xbb\xbf", b"#", b"\\"),
    *(b"9" * 5000, b"[" * 3000, b'{"a":' * 3000, b"../", b"__class__", b"\x80\x04", b"\xf0\x9f"),
]


def alter(content: bytes, draw: random.Random) -> bytes:
    """Alters bytes at one place or at a few."""
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4, 16))):
        if not data:
            data += draw.choice(_TOKENS)
        at = draw.randrange(len(data))
        end = min(len(data), at + draw.choice((1, 2, 8, 40, 400)))
        kind = draw.randrange(8)
        if kind == 0:
            data[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            data[at] = draw.randrange(256)
        elif kind == 2:
            del data[at:end]
        elif kind == 3:
            data[at:at] = data[at:end]
        elif kind == 4:
            data[at:at] = draw.choice(_TOKENS)
        elif kind == 5:
            data[at:end] = draw.choice(_TOKENS)
        elif kind == 6:
            del data[at:]
        else:
            other = draw.randrange(len(data))
            data[at:end] = data[other : other + end - at]
    return bytes(data)


def alter_value(value: Any, draw: random.Random) -> Any:
    """Puts another kind of value somewhere into a value of JSON."""
    if draw.random() < 0.25 or not isinstance(value, dict | list) or not value:
        return draw.choice(_ODD)
    if isinstance(value, list):
        at = draw.randrange(len(value))
        if draw.random() < 0.2:
            return [*value[:at], *value[at + 1 :]]
        return [*value[:at], alter_value(value[at], draw), *value[at + 1 :]]
    key = draw.choice(sorted(value))
    if draw.random() < 0.2:
        return {name: each for name, each in value.items() if name != key}
    if draw.random() < 0.1:
        odd = draw.choice(_ODD)
        return {**value, odd if isinstance(odd, str) else "self": value[key]}
    return {**value, key: alter_value(value[key], draw)}


def alter_json(content: bytes, draw: random.Random) -> bytes:
    """Alters a value of JSON."""
    return json.dumps(alter_value(json.loads(content), draw)).encode()


def alter_lines(content: bytes, draw: random.Random) -> bytes:
    """Alters a value in one of several lines of JSON."""
    lines = content.splitlines(keepends=True)
    at = draw.randrange(len(lines))
    lines[at] = alter_json(lines[at], draw) + b"\n"
    return b"".join(lines)


def alter_toml(content: bytes, draw: random.Random) -> bytes:
    """Alters a value of TOML."""
    try:
        return tomli_w.dumps(alter_value(tomllib.loads(content.decode()), draw)).encode()
    except (TypeError, ValueError, AttributeError):  # TOML has no such value
        return alter(content, draw)


def alter_csv(content: bytes, draw: random.Random) -> bytes:
    """Alters a field."""
    rows = [line.split(b",") for line in content.splitlines()]
    row = draw.choice(rows)
    at = draw.randrange(len(row))
    row[at] = draw.choice((alter(row[at], draw), draw.choice(_TOKENS), b"", b"0.1", b"nan"))
    return b"\n".join(b",".join(row) for row in rows)


def alter_safetensors(content: bytes, draw: random.Random) -> bytes:
    """Alters the header or its metadata, and corrects the length."""
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    if draw.random() < 0.5:
        said = json.loads(header["__metadata__"]["about"])
        del said["sha256"]  # the reader would stop at a checksum that does not match
        metadata = {"about": json.dumps(alter_value(said, draw))}
        altered = json.dumps({**header, "__metadata__": metadata}).encode()
    else:
        altered = json.dumps(alter_value(header, draw)).encode()
    return struct.pack("<Q", len(altered)) + altered + content[8 + size :]


def alter_npz(content: bytes, draw: random.Random) -> bytes:
    """Alters one array of an archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as given, zipfile.ZipFile(out, "w") as made:
        names = given.namelist()
        wrong = draw.choice(names)
        for name in names:
            array = given.read(name)
            if name == wrong:
                head = alter(array[:128], draw)
                array = head + array[128:]
            made.writestr(name if draw.random() < 0.99 else "../" + name, array)
    return out.getvalue()
