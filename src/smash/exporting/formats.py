"""Formats of exported files, by the ending of their names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from smash.errors import InvalidValueError, NotFoundError
from smash.run.layout import check_child

INT8 = ".int8.onnx"
FORMATS = (".onnx", INT8, ".pte", ".pt2", ".py", ".safetensors")
"""Endings of exported files."""


def files_of(path: Path) -> tuple[Path, ...]:
    """Lists the files of an export, beginning with the one that was asked for.

    Raises:
        InvalidValueError: The suffix is no format.
    """
    if path.suffix not in FORMATS:
        raise InvalidValueError(
            f"to must end in a format, {', '.join(FORMATS)}, got {str(path)!r}: add one of these"
        )
    if path.name.endswith(f".int8{path.suffix}") and path.suffix != ".onnx":
        raise InvalidValueError(
            f"int8 is for {INT8} alone, got {str(path)!r}: export {INT8}, or leave .int8 out"
        )
    if path.suffix == ".py":
        return path, path.with_suffix(".safetensors")
    return (path,)


def check_model(path: Path) -> None:
    """Checks that a path is that of a model: an exported file, or the folder of a child.

    Raises:
        NotFoundError: The path does not exist.
        InvalidValueError: The suffix is no format.
    """
    if path.is_dir():
        check_child(path)
    elif not path.is_file():
        raise NotFoundError(f"model {str(path)!r} does not exist; create it with 'smash export'")
    elif not path.name.endswith(FORMATS):
        raise InvalidValueError(
            "model must be a .onnx, .pte, .pt2, .safetensors or .py that 'smash export' wrote, or "
            f"a folder RUN/children/NAME, got {str(path)!r}"
        )


def missing_files(files: Sequence[str | Path]) -> list[str]:
    """Finds files to predict that do not exist; gives a fault for each."""
    missing = [path for path in map(Path, files) if not path.is_file() and not path.is_dir()]
    return [f"{path} does not exist: check its name and folder" for path in missing]
