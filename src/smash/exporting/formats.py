"""Formats of exported files, by the ending of their names."""

from __future__ import annotations

from pathlib import Path

from smash.errors import InvalidValueError
from smash.run.layout import ARCHITECTURE

INT8 = ".int8.onnx"
FORMATS = (".onnx", INT8, ".pt2", ".py", ".safetensors")
"""Endings of exported files."""


def files_of(path: Path) -> tuple[Path, ...]:
    """Lists the files of an export, beginning with the one that was asked for.

    Raises:
        InvalidValueError: The suffix is no format.
    """
    others = {
        ".onnx": (),
        ".pt2": (),
        ".py": (path.with_suffix(".safetensors"),),
        ".safetensors": (path.with_name(ARCHITECTURE),),
    }
    if path.suffix not in others:
        raise InvalidValueError(
            f"to must end in a format, {', '.join(FORMATS)}, got {str(path)!r}: add one of these"
        )
    return path, *others[path.suffix]
