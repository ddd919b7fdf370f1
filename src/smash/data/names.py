"""Names of data sets, without the readers: torch is imported when one is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from smash.errors import InvalidValueError, NotFoundError, unknown

if TYPE_CHECKING:
    from smash.data.dataset import Source

_SOURCES = "smash.data.sources"

DATASETS: dict[str, Callable[..., Source] | str] = {
    "digits": f"{_SOURCES}.packaged:read_digits",
    "mnist-5k": f"{_SOURCES}.packaged:read_mnist_5k",
    "cifar10": f"{_SOURCES}.torchvision:read_cifar10",
    "cifar100": f"{_SOURCES}.torchvision:read_cifar100",
    "stl10": f"{_SOURCES}.torchvision:read_stl10",
    "imagenet32": f"{_SOURCES}.imagenet32:read_imagenet32",
    "modelnet10": f"{_SOURCES}.modelnet:read_modelnet10",
    "modelnet40": f"{_SOURCES}.modelnet:read_modelnet40",
}
"""Readers of data sets by name, or where they are, as MODULE:FUNCTION; add your own.

A reader gets the settings ``data_dir``, ``image_size`` and ``fold`` if it has such parameters.
"""


def reader_of(name: str) -> Callable[..., Source]:
    """Gives the reader of a named data set."""
    reader = DATASETS[name]
    found: Callable[..., Source] = resolve_name(reader) if isinstance(reader, str) else reader
    return found


def check_source(source: str | Path) -> None:
    """Checks that data exists: a path, or a name in `DATASETS`.

    Raises:
        NotFoundError: The path does not exist.
        InvalidValueError: The name is not known.
    """
    if str(source) in DATASETS or Path(source).exists():
        return
    check_exists(source)
    fault = unknown("data set", str(source), DATASETS)
    raise InvalidValueError(f"{fault} (or give the path of a folder or an .npz file)")


def check_exists(source: str | Path) -> None:
    """Checks that a data source that is given as a path exists.

    Args:
        source: A path, or the name of a data set, which is not checked.

    Raises:
        NotFoundError: The path does not exist.
    """
    path = Path(source)
    is_name = isinstance(source, str) and not path.suffix and source == path.name
    if not is_name and not path.exists():
        raise NotFoundError(f"{source} does not exist; name a folder or an .npz file")
